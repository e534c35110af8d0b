#!/usr/bin/python3
"""Plant faults in a private copy of the product, one at a time, and see whether
the tests notice.

usage: mutants.py [--check] [--wide] [--again] [--seconds N] [--jobs N] [NAME...]

Each tests/mutants/NAME.patch is a fault that would break a promise of
docs/invariants.md. Its first lines say which, and which tests are to catch it:

    promise: 1
    caught by: test_store_crash vfs_test_sql
    What is wrong with it, in a line or more.

  --check      only see whether each patch applies still; builds nothing
  --wide       where the named tests see nothing, run all others until one fails
  --again      try also what was tried with these sources before
  --seconds N  longest time for the tests of one mutant, all together (600)
  --jobs N     how much is built at once (as many as there are cores)

The named tests are run one after another, the shortest first, until one fails; before
any fault is planted all of them must pass. What came of it is kept in
build-mutants/results.json beside a digest of the patch and of all sources, so that a
run that was cut goes on where it was. Ends with "N caught, N survived"; exits with 0
only if none survived. The copy and its build are kept in build-mutants/.
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATCHES = os.path.join(ROOT, "tests", "mutants")
COPY = os.path.join(ROOT, "build-mutants", "source")
BUILD = os.path.join(ROOT, "build-mutants", "build")
RESULTS = os.path.join(ROOT, "build-mutants", "results.json")


class Mutant:
    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)[:-len(".patch")]
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        head = text.split("\n--- ", 1)[0]
        self.promise = self.field(head, "promise")
        self.tests = self.field(head, "caught by").split()

    def field(self, head, name):
        found = re.search("^%s: *(.+)$" % name, head, re.M)
        if found is None:
            sys.exit("mutants: %s: no line '%s: …'" % (self.name, name))
        return found.group(1)

    def patch(self, *options, tree=COPY):
        """Apply it to the copy, or with --reverse take it out again. With --forward
        one that seems to be there already does not apply."""
        done = subprocess.run(
            ["patch", "-p1", "--fuzz=3", "--no-backup-if-mismatch",
             "--reject-file=-", "--batch", *options, "-d", tree, "-i",
             self.path], capture_output=True, text=True)
        return done.returncode == 0, done.stdout + done.stderr


class Results:
    """What came of each trial with these sources: {key: {...}}, in a file."""

    def __init__(self, sources):
        self.sources, self.kept = sources, {}
        if os.path.exists(RESULTS):
            with open(RESULTS, encoding="utf-8") as file:
                found = json.load(file)
            if found["sources"] == sources:
                self.kept = found["kept"]

    def of(self, name, digest=""):
        found = self.kept.get(name)
        return found if found and found["digest"] == digest else None

    def keep(self, name, result, digest=""):
        self.kept[name] = {"digest": digest, **result}
        with open(RESULTS + ".new", "w", encoding="utf-8") as file:
            json.dump({"sources": self.sources, "kept": self.kept}, file, indent=1)
        os.replace(RESULTS + ".new", RESULTS)


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, **more)


def copy_product():
    """The tree as git knows it, with what is changed and not committed; files
    that are the same keep their times, so that little is built. Returns a digest of
    what is built and tested of them."""
    files = run("git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z",
                check=True).stdout.split("\0")
    wanted = {name for name in files
              if name and os.path.isfile(os.path.join(ROOT, name))}
    for folder, _, names in os.walk(COPY):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.relpath(path, COPY) not in wanted:
                os.remove(path)
    digest = hashlib.sha256()
    for name in sorted(wanted):
        source, target = os.path.join(ROOT, name), os.path.join(COPY, name)
        if not os.path.exists(target) or read(source) != read(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)
        if not name.startswith(("docs/", "tests/mutants/", "bench/", "packaging/")):
            digest.update(b"%s\0%s\0" % (name.encode(), read(source)))
    return digest.hexdigest()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def programs():
    """{test: target} of the tests that are programs of their own."""
    shown = run("cmake", "--build", BUILD, "--target", "help", check=True).stdout
    targets = set(re.findall(r"^(\w+): phony", shown, re.M))
    shown = run("ctest", "--show-only=json-v1", "--test-dir", BUILD, check=True).stdout
    found = {}
    for test in json.loads(shown)["tests"]:
        target = os.path.basename(test.get("command", [""])[0])
        if target in targets and target != "ramet_sim": # which needs its image
            found[test["name"]] = target
    return found


def build(options, targets=()):
    """The last lines of what went wrong, or None; all is built unless told."""
    words = ["cmake", "--build", BUILD, "-j", str(options["jobs"])]
    if targets:
        words += ["--target", *targets]
    done = run(*words)
    return None if done.returncode == 0 else done.stdout[-2000:]


def configure(options):
    """Each mutant is built twice, with the fault and without it: ccache, where there
    is one, builds once."""
    words = ["cmake", "-S", COPY, "-B", BUILD, "-G", "Ninja",
             "-DCMAKE_BUILD_TYPE=Dev", "-DCMAKE_C_FLAGS_DEV=-O1 -g",
             "-DRAMET_WERROR=OFF"]
    if shutil.which("ccache"):
        os.environ.update(CCACHE_BASEDIR=COPY, CCACHE_NOHASHDIR="1")
        words.append("-DCMAKE_C_COMPILER_LAUNCHER=ccache")
    done = run(*words)
    if done.returncode != 0:
        sys.exit("mutants: %s" % done.stderr)
    broken = build(options)
    if broken is not None:
        sys.exit("mutants: without any fault it does not build:\n" + broken)


def known_tests():
    shown = run("ctest", "-N", "--test-dir", BUILD, check=True).stdout
    return set(re.findall(r"Test +#\d+: (\S+)", shown))


def run_tests(seconds, *chosen):
    """The first test that fails and how, or None."""
    shown = run("ctest", "--test-dir", BUILD, "--stop-on-failure", "--timeout",
                str(max(1, int(seconds))), *chosen).stdout
    found = re.search(r"Test +#\d+: (\S+) [. ]*\**(Failed|Timeout|Exception|"
                      r"SEGFAULT|Subprocess aborted)", shown)
    if found is None and "100% tests passed" not in shown:
        sys.exit("mutants: ctest could not run:\n" + shown[-2000:])
    return found.groups() if found else None


def passes(test, seconds):
    """Whether one test does, and how it did not."""
    return run_tests(seconds, "-R", "^%s$" % re.escape(test))


def try_tests(mutant, options):
    """What came of the named tests, the shortest first; those that are programs of
    their own before anything else is built."""
    alone = options["programs"]
    end = time.monotonic() + options["seconds"]
    built = False
    tests = sorted(mutant.tests, key=lambda test: (
        test not in alone, options["results"].of(test)["seconds"]))
    for test in tests:
        if not built:
            broken = build(options, [alone[test]] if test in alone else [])
            if broken is not None:
                return {"outcome": "BROKEN", "by": broken}
            built = test not in alone
        failure = passes(test, end - time.monotonic())
        if failure:
            return {"outcome": "caught", "by": test, "how": failure[1]}
        if time.monotonic() >= end:
            break
    if options["wide"]:
        build(options)
        failure = run_tests(options["seconds"], "-j", str(options["jobs"]), "-E",
                            "^(sqlite_suite|fuzz|oracle)_")
        if failure:
            return {"outcome": "caught", "by": failure[0], "how": failure[1]}
    return {"outcome": "SURVIVED", "by": ""}


def check_base(mutants, results):
    """A test that fails without any fault catches none."""
    for test in sorted({test for mutant in mutants for test in mutant.tests}):
        if results.of(test) is None:
            began = time.monotonic()
            failure = passes(test, 1800)
            if failure:
                sys.exit("mutants: without any fault %s: %s" % failure)
            results.keep(test, {"seconds": time.monotonic() - began})


def check(mutants):
    wrong = 0
    for mutant in mutants:
        applies, why = mutant.patch("--forward", "--dry-run", tree=ROOT)
        if not applies:
            print("%s does not apply any more:\n%s" % (mutant.name, why))
            wrong += 1
    return wrong


def check_tests(mutants, tests):
    for mutant in mutants:
        for name in set(mutant.tests) - tests:
            sys.exit("mutants: %s: there is no test %s" % (mutant.name, name))


def try_mutant(mutant, options):
    """What came of it: of an earlier run, if that is known."""
    results = options["results"]
    result = results.of(mutant.name, mutant.digest)
    if result is None or options["again"]:
        began = time.monotonic()
        applied, why = mutant.patch("--forward")
        if not applied:
            sys.exit("mutants: %s does not apply any more:\n%s" % (mutant.name, why))
        try:
            result = try_tests(mutant, options)
        finally:
            mutant.patch("--reverse")
        result["seconds"] = time.monotonic() - began
        results.keep(mutant.name, result, mutant.digest)
    print("%-9s promise %-3s %-44s %5.0f s  %s %s" %
          (result["outcome"], mutant.promise, mutant.name, result["seconds"],
           result["by"], result.get("how", "")), flush=True)
    return result["outcome"] == "caught"


def main(words):
    options = {"wide": False, "check": False, "again": False, "seconds": 600,
               "jobs": os.cpu_count()}
    names = []
    while words:
        word = words.pop(0)
        if word in ("--wide", "--check", "--again"):
            options[word[2:]] = True
        elif word in ("--seconds", "--jobs") and words and words[0].isdigit():
            options[word[2:]] = int(words.pop(0))
        elif word.startswith("-"):
            sys.exit(__doc__)
        else:
            names.append(word)
    paths = sorted(os.path.join(PATCHES, name) for name in os.listdir(PATCHES)
                   if name.endswith(".patch"))
    mutants = [m for m in map(Mutant, paths) if not names or m.name in names]
    if len(mutants) < max(1, len(names)):
        sys.exit("mutants: there are: " + " ".join(
            os.path.basename(path)[:-6] for path in paths))
    wrong = check(mutants)
    if options["check"] or wrong:
        print("%d mutants, %d wrong" % (len(mutants), wrong))
        return wrong != 0
    os.makedirs(COPY, exist_ok=True)
    sources = copy_product()
    configure(options)
    check_tests(mutants, known_tests())
    options["programs"] = programs()
    options["results"] = Results(sources)
    check_base(mutants, options["results"])
    caught = sum(try_mutant(mutant, options) for mutant in mutants)
    print("%d caught, %d survived" % (caught, len(mutants) - caught))
    return caught != len(mutants)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
