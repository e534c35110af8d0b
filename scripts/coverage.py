#!/usr/bin/python3
"""Branch coverage, by folder, of what ran in build-coverage.

usage: coverage.py [--list] [FOLDER...]

Counts the branches that gcov knows of, but for those of assert(), which no test
may take. With --list every line of which a branch was not taken. FOLDERs are of
the product; pagestore, metastore, client and vfs unless named.
"""
import collections
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build-coverage")
USUAL = ("pagestore", "metastore", "client", "vfs")


def notes():
    """Files of gcov's data, of product code that ran: in the product's own folders,
    and where a test or the simulator has compiled a source of it anew."""
    for folder, _, names in os.walk(BUILD):
        parts = os.path.relpath(folder, BUILD).split(os.sep)
        if parts[0] in ("tests", "fuzz") and "__" not in parts:
            continue
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".gcda") and os.path.getsize(path) > 0:
                yield path


def assert_lines(path):
    """Numbers of the lines that an assert() or static_assert() stands on."""
    found, depth = set(), 0
    with open(path, encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            if depth == 0 and re.match(r"\s*(static_)?assert\(", line):
                depth = 0
                depth += line.count("(") - line.count(")")
                found.add(number)
            elif depth > 0:
                found.add(number)
                depth += line.count("(") - line.count(")")
            depth = max(depth, 0)
    return found


def add(branches, file):
    path = os.path.normpath(os.path.join(BUILD, file["file"]))
    name = os.path.relpath(path, ROOT)
    if not name.endswith(".c") or name.startswith(("..", "tests/")):
        return
    for line in file["lines"]:
        counts = [b["count"] for b in line["branches"]]
        known = branches[name].setdefault(line["line_number"], [0] * len(counts))
        if len(known) == len(counts):
            branches[name][line["line_number"]] = [
                a + b for a, b in zip(known, counts)]


def measure():
    """{file: {line: [counts of its branches]}}, added over all objects."""
    branches = collections.defaultdict(dict)
    paths = list(notes())
    for at in range(0, len(paths), 100):
        done = subprocess.run(["gcov", "--branch-probabilities", "--json-format",
                               "--stdout"] + paths[at:at + 100],
                              capture_output=True, text=True, cwd=BUILD)
        for text in done.stdout.splitlines():
            for file in json.loads(text)["files"]:
                add(branches, file)
    for name in branches:
        for number in assert_lines(os.path.join(ROOT, name)):
            branches[name].pop(number, None)
    return branches


def main(words):
    listing = "--list" in words
    folders = [word for word in words if not word.startswith("-")] or USUAL
    branches = measure()
    for folder in folders:
        taken = total = 0
        for name in sorted(branches):
            if not name.startswith(folder.rstrip("/") + "/") and name != folder:
                continue
            counts = [c for line in branches[name].values() for c in line]
            taken += sum(c > 0 for c in counts)
            total += len(counts)
            if listing and counts:
                print("%-48s %4d of %4d" % (name, sum(c > 0 for c in counts),
                                            len(counts)))
                for number, line in sorted(branches[name].items()):
                    if 0 in line:
                        print("    %s:%d" % (name, number))
        print("%-12s %5d of %5d branches, %.1f %%" % (
            folder, taken, total, 100.0 * taken / total if total else 0))


if __name__ == "__main__":
    main(sys.argv[1:])
