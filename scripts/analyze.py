#!/usr/bin/python3
"""Static analysis of product code: gcc's analyzer, which follows each path for
leaks, uses after free and null pointers.

usage: analyze.py [BUILD [FOLDER...]]

Takes the commands that BUILD (build) compiles with, of the FOLDERs given: those that
read foreign bytes or keep what must not be lost, unless named. Ends with 1 if there is
a finding. One that is none is answered in the source, so that it is seen to be none.
"""
import concurrent.futures
import json
import os
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("core", "sqliteformat", "pagestore", "metastore", "client/store",
           "client/remote", "vfs")
KNOWN = os.path.join(ROOT, "scripts", "analyze.h")


def commands(build, folders):
    with open(os.path.join(build, "compile_commands.json")) as file:
        entries = json.load(file)
    seen = set()
    for entry in entries:
        name = os.path.relpath(entry["file"], ROOT)
        if name in seen or not name.startswith(tuple(f + "/" for f in folders)):
            continue
        seen.add(name)
        words = shlex.split(entry["command"])
        if os.path.basename(words[0]) == "ccache":
            words.pop(0)
        kept, skip = [], False
        for word in words:
            if skip or word in ("-MD", "-c", "-g"):
                skip = False
                continue
            skip = word in ("-o", "-MT", "-MF")
            if not skip:
                kept.append(word)
        yield name, entry["directory"], kept


def analyze(job):
    name, directory, words = job
    done = subprocess.run([*words, "-include", KNOWN, "-fanalyzer", "-Werror", "-c",
                           "-o", os.devnull], cwd=directory, capture_output=True,
                          text=True)
    return name, done.returncode, done.stderr


def main(words):
    build = os.path.abspath(words[0] if words else os.path.join(ROOT, "build"))
    jobs = list(commands(build, words[1:] or FOLDERS))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, code, said in pool.map(analyze, jobs):
            if code != 0:
                failed += 1
                print("%s:\n%s" % (name, said), flush=True)
    print("%d files analyzed, %d with findings" % (len(jobs), failed))
    return failed != 0 or not jobs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
