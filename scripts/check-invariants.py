#!/usr/bin/python3
"""Each test that docs/invariants.md names must exist.

A name is `subject__behaviour` (a cmocka test) or `test_…` (one in Python), in
backticks. Prints those that no file under tests/ defines, and exits with 1.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAME = re.compile(r"`([a-z0-9_]+__[a-z0-9_]+|test_[a-z0-9_]+)`")


def sources():
    for folder, _, names in os.walk(os.path.join(ROOT, "tests")):
        for name in names:
            if name.endswith((".c", ".py", ".sh", ".tcl")):
                with open(os.path.join(folder, name), encoding="utf-8",
                          errors="replace") as source:
                    yield source.read()


def main():
    with open(os.path.join(ROOT, "docs", "invariants.md"),
              encoding="utf-8") as document:
        named = set(NAME.findall(document.read()))
    if not named:
        print("docs/invariants.md names no test")
        return 1
    words = set()
    for text in sources():
        words.update(re.findall(r"\b[a-z0-9_]+\b", text))
    missing = sorted(named - words)
    for name in missing:
        print("docs/invariants.md names `%s`, which no test is called" % name)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
