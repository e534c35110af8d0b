#!/usr/bin/python3
"""Plant faults in a private copy of the product, one at a time, and see whether
the tests notice.

usage: mutants.py [--check] [--wide] [--seconds N] [--jobs N] [NAME...]

Each tests/mutants/NAME.patch is a fault that would break a promise of
docs/invariants.md. Its first lines say which, and which tests are to catch it:

    promise: 1
    caught by: test_store_crash vfs_test_sql
    What is wrong with it, in a line or more.

  --check      only see whether each patch applies still; builds nothing
  --wide       where the named tests see nothing, run all others until one fails
  --seconds N  longest time for the tests of one mutant (600)
  --jobs N     how much is built and tested at once (as many as there are cores)

Ends with "N caught, N survived"; exits with 0 only if none survived. The copy
and its build are kept in build-mutants/.
"""
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


class Mutant:
    def __init__(self, path):
        self.path = os.path.join(COPY, os.path.relpath(path, ROOT))
        self.name = os.path.basename(path)[:-len(".patch")]
        with open(path, encoding="utf-8") as file:
            head = file.read().split("\n--- ", 1)[0]
        self.promise = self.field(head, "promise")
        self.tests = self.field(head, "caught by").split()

    def field(self, head, name):
        found = re.search("^%s: *(.+)$" % name, head, re.M)
        if found is None:
            sys.exit("mutants: %s: no line '%s: …'" % (self.name, name))
        return found.group(1)

    def patch(self, *options):
        """Apply it to the copy, or with --reverse take it out again."""
        done = subprocess.run(
            ["patch", "-p1", "--fuzz=3", "--no-backup-if-mismatch",
             "--reject-file=-", "--batch", *options, "-d", COPY, "-i",
             self.path], capture_output=True, text=True)
        return done.returncode == 0, done.stdout + done.stderr


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, **more)


def copy_product():
    """The tree as git knows it, with what is changed and not committed; files
    that are the same keep their times, so that little is built."""
    files = run("git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z",
                check=True).stdout.split("\0")
    wanted = {name for name in files
              if name and os.path.isfile(os.path.join(ROOT, name))}
    for folder, _, names in os.walk(COPY):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.relpath(path, COPY) not in wanted:
                os.remove(path)
    for name in wanted:
        source, target = os.path.join(ROOT, name), os.path.join(COPY, name)
        if not os.path.exists(target) or read(source) != read(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def programs():
    """Names of what can be built by itself."""
    shown = run("cmake", "--build", BUILD, "--target", "help", check=True).stdout
    return set(re.findall(r"^(\w+): phony", shown, re.M))


def build(options, tests=()):
    """The last lines of what went wrong, or None. Where all of `tests` are
    programs of their own, no more than these is built."""
    words = ["cmake", "--build", BUILD, "-j", str(options["jobs"])]
    if tests and set(tests) <= options["programs"]:
        words += ["--target", *tests]
    done = run(*words)
    return None if done.returncode == 0 else done.stdout[-2000:]


def configure(options):
    done = run("cmake", "-S", COPY, "-B", BUILD, "-G", "Ninja",
               "-DCMAKE_BUILD_TYPE=Dev", "-DCMAKE_C_FLAGS_DEV=-O1 -g",
               "-DRAMET_WERROR=OFF")
    if done.returncode != 0:
        sys.exit("mutants: %s" % done.stderr)
    broken = build(options)
    if broken is not None:
        sys.exit("mutants: without any fault it does not build:\n" + broken)


def known_tests():
    shown = run("ctest", "-N", "--test-dir", BUILD, check=True).stdout
    return set(re.findall(r"Test +#\d+: (\S+)", shown))


def failed_test(tests, options):
    """The first of `tests`, or of all, that fails; or None."""
    words = ["ctest", "--test-dir", BUILD, "-j", str(options["jobs"]),
             "--stop-on-failure", "--timeout", str(options["seconds"])]
    if tests:
        words += ["-R", "^(%s)$" % "|".join(map(re.escape, tests))]
    else:
        words += ["-E", "^(sqlite_suite|fuzz|oracle)_"]
    shown = run(*words).stdout
    found = re.search(r"Test +#\d+: (\S+) [. ]*\**(Failed|Timeout|Exception|"
                      r"SEGFAULT|Subprocess aborted)", shown)
    if found is None and "100% tests passed" not in shown:
        sys.exit("mutants: ctest could not run:\n" + shown[-2000:])
    return found.group(1) if found else None


def check(mutants):
    wrong = 0
    for mutant in mutants:
        applies, why = mutant.patch("--dry-run")
        if not applies:
            print("%s does not apply any more:\n%s" % (mutant.name, why))
            wrong += 1
    return wrong


def check_tests(mutants, tests):
    for mutant in mutants:
        for name in set(mutant.tests) - tests:
            sys.exit("mutants: %s: there is no test %s" % (mutant.name, name))


def try_mutant(mutant, options):
    """True: it was caught."""
    began = time.monotonic()
    applied, why = mutant.patch()
    if not applied:
        sys.exit("mutants: %s does not apply any more:\n%s" % (mutant.name, why))
    try:
        broken = build(options, mutant.tests)
        if broken is not None:
            print("BROKEN    %s does not build:\n%s" % (mutant.name, broken),
                  flush=True)
            return False
        caught = failed_test(mutant.tests, options)
        if caught is None and options["wide"]:
            build(options)
            caught = failed_test([], options)
    finally:
        mutant.patch("--reverse")
    print("%-9s promise %-3s %-40s %5.0f s  %s" %
          ("caught" if caught else "SURVIVED", mutant.promise, mutant.name,
           time.monotonic() - began, caught or ""), flush=True)
    return caught is not None


def main(words):
    options = {"wide": False, "check": False, "seconds": 600,
               "jobs": os.cpu_count()}
    names = []
    while words:
        word = words.pop(0)
        if word in ("--wide", "--check"):
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
    os.makedirs(COPY, exist_ok=True)
    copy_product()
    wrong = check(mutants)
    if options["check"] or wrong:
        print("%d mutants, %d wrong" % (len(mutants), wrong))
        return wrong != 0
    configure(options)
    check_tests(mutants, known_tests())
    options["programs"] = programs()
    caught = sum(try_mutant(mutant, options) for mutant in mutants)
    print("%d caught, %d survived" % (caught, len(mutants) - caught))
    return caught != len(mutants)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
