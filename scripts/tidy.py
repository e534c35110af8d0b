#!/usr/bin/python3
"""clang-tidy with the checks of .clang-tidy over product code.

usage: tidy.py [--quick] [BUILD [FOLDER...]]

  --quick  without clang's analyzer, which takes twenty times as long as all the rest;
           CI has gcc's (analyze.py)

Takes the commands that BUILD (build) compiles with, of the FOLDERs given, all of the
product's unless named. Ends with 1 if there is a finding.
"""
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("core", "sqliteformat", "pagestore", "metastore", "client", "prefetch",
           "server", "vfs", "cli")
AT_ONCE = 8  # files that one clang-tidy reads


def commands(build, folders):
    """Each source once: the simulator compiles some of them twice."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    found = {}
    for entry in entries:
        name = os.path.relpath(entry["file"], ROOT)
        if name.startswith(tuple(folder + "/" for folder in folders)):
            found.setdefault(name, entry)
    return [found[name] for name in sorted(found)]


def tidy(options, names):
    done = subprocess.run(["clang-tidy", "--quiet", *options, *names], cwd=ROOT,
                          capture_output=True, text=True)
    return done.returncode, done.stdout


def main(words):
    options = []
    if words[:1] == ["--quick"]:
        options.append("--checks=-clang-analyzer-*")
        words = words[1:]
    build = os.path.abspath(words[0] if words else os.path.join(ROOT, "build"))
    entries = commands(build, words[1:] or FOLDERS)
    names = [entry["file"] for entry in entries]
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="ramet-tidy-") as folder:
        with open(os.path.join(folder, "compile_commands.json"), "w",
                  encoding="utf-8") as file:
            json.dump(entries, file)
        options += ["-p", folder]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for code, said in pool.map(
                    lambda at: tidy(options, names[at:at + AT_ONCE]),
                    range(0, len(names), AT_ONCE)):
                if code != 0:
                    wrong += 1
                    print(said, flush=True)
    print("%d files looked at, %s" % (len(names), "with findings" if wrong else
                                      "nothing found"))
    return wrong != 0 or not names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
