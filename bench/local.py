#!/usr/bin/python3
"""Local speed against SQLite's own WAL mode: ./dev bench local [--rounds N]

One-row commits, point reads, range scans, a bulk load and connections that come
and go, by bench/local.c, in rounds that alternate between the two engines; what
is printed is the median of the rounds' ratios (above 1: Ramet is quicker). Where
tests/sqlite/setup.sh has fetched SQLite's source, its speedtest1 as well, built
with the same library as the rest. Nothing here asserts: a clock proves nothing
on a busy machine.
"""
import argparse
import json
import os
import re
import shutil
import subprocess

import common

MODES = (
    ("commit-full", 300, "one-row commits, synchronous=FULL"),
    ("commit-normal", 20000, "one-row commits, synchronous=NORMAL"),
    ("commit-normal-remote", 20000, "the same, bound to a remote"),
    ("read-auto", 300000, "point reads, autocommit"),
    ("read-txn", 500000, "point reads in one transaction"),
    ("scan", 2000, "range scans of 1,000 rows"),
    ("bulk", 200000, "bulk load, 10,000 rows a transaction"),
    ("open-read", 1000, "open, read a row, close"),
    ("open-commit", 300, "open, commit a row, close"),
    ("open-fresh", 200, "make a database with a table, delete it"),
)
ENGINES = ("native", "ramet")
SPEEDTEST_SIZE = 50


def compile_program(name, *sources):
    """These with the system's SQLite; the program's path."""
    out = os.path.join(common.BUILD, "bench", name)
    os.makedirs(os.path.dirname(out), exist_ok=True)
    if (not os.path.exists(out) or
            os.path.getmtime(out) < max(map(os.path.getmtime, sources))):
        subprocess.run(["cc", "-O2", "-o", out, *sources,
                        "-lsqlite3"], check=True)
    return out


def remove_database(target):
    for path in (target, target + "-wal", target + "-shm"):
        if os.path.exists(path):
            os.remove(path)
    shutil.rmtree(target + "-ramet", ignore_errors=True)


def fresh_copy(template, target):
    remove_database(target)
    shutil.copyfile(template, target)


def bind_to_remote(target, store):
    """A replica whose volume is new in a directory."""
    shutil.rmtree(store, ignore_errors=True)
    common.timed(common.RAMET, "init", target, "--remote",
                 "file://%s/bench" % store)


def measure(program, work, mode, engine, count):
    """{"ops", "seconds", "cpu_us"} of one run on a fresh copy."""
    target = os.path.join(work, engine + ".db")
    fresh_copy(os.path.join(work, "template.db"), target)
    if mode.endswith("-remote") and engine == "ramet":
        bind_to_remote(target, os.path.join(work, "store"))
    os.sync()
    done = common.timed(program, mode, engine, common.EXTENSION, target, count)
    return json.loads(done.output)


def report(name, runs):
    """One line: medians of both, the ratio of each round."""
    rate = {engine: [run["ops"] / run["seconds"] for run in runs[engine]]
            for engine in ENGINES}
    cpu = {engine: common.median([run["cpu_us"] for run in runs[engine]])
           for engine in ENGINES}
    ratios = [ours / theirs
              for ours, theirs in zip(rate["ramet"], rate["native"])]
    print("%-40s %11.0f/s %11.0f/s   %-20s %8.2f %8.2f" %
          (name, common.median(rate["native"]), common.median(rate["ramet"]),
           common.spread(ratios), cpu["native"], cpu["ramet"]), flush=True)


# ---- speedtest1 -------------------------------------------------------------


def compile_speedtest():
    """SQLite's own program; None where its source was not fetched."""
    suite = os.environ.get("RAMET_SUITE_DIR", "/var/tmp/ramet-sqlite-suite-%d" %
                           os.getuid())
    source = os.path.join(suite, "src", "test", "speedtest1.c")
    if not os.path.exists(source):
        return None
    return compile_program("speedtest1", source,
                           os.path.join(common.HERE, "speedtest.c"))


def speedtest(program, work, engine):
    """TOTAL of one run, and its CPU time, both in seconds."""
    target = os.path.join(work, "speedtest.db")
    remove_database(target)
    env = dict(os.environ)
    if engine == "native":
        words = ["--journal", "wal"]
    else:
        words = ["--vfs", "ramet"]
        env["RAMET_EXTENSION"] = common.EXTENSION
    done = common.timed(program, "--size", SPEEDTEST_SIZE, *words, target,
                        env=env)
    return (float(re.search(r"TOTAL\W+([0-9.]+)s", done.output)[1]),
            done.cpu_seconds)


def run_speedtest(program, work, rounds):
    runs = {engine: [] for engine in ENGINES}
    for number in range(rounds):
        for engine in ENGINES[::-1 if number % 2 else 1]:
            runs[engine].append(speedtest(program, work, engine))
    total = {engine: [run[0] for run in runs[engine]] for engine in ENGINES}
    cpu = {engine: common.median([run[1] for run in runs[engine]])
           for engine in ENGINES}
    ratios = [theirs / ours
              for ours, theirs in zip(total["ramet"], total["native"])]
    print("%-40s %11.2f s  %11.2f s    %-20s %6.2f s %6.2f s" %
          ("speedtest1 --size %d" % SPEEDTEST_SIZE,
           common.median(total["native"]), common.median(total["ramet"]),
           common.spread(ratios), cpu["native"], cpu["ramet"]), flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="one mode, such as read-auto")
    options = parser.parse_args()
    common.need(common.EXTENSION, common.RAMET)
    program = compile_program("local", os.path.join(common.HERE, "local.c"))

    with common.Workspace() as work:
        common.timed(program, "prepare", "native", "-",
                     os.path.join(work, "template.db"), 0)
        print("%d rounds, interleaved; %s" % (options.rounds,
                                              common.load_average()))
        print("%-40s %13s %13s   %-20s %8s %8s" %
              ("", "SQLite WAL", "Ramet", "ratio", "CPU us", "CPU us"))
        for mode, count, name in MODES:
            if options.only not in (None, mode):
                continue
            runs = {engine: [] for engine in ENGINES}
            for number in range(options.rounds):
                for engine in ENGINES[::-1 if number % 2 else 1]:
                    runs[engine].append(
                        measure(program, work, mode, engine, count))
            report(name, runs)
        if options.only in (None, "speedtest1"):
            program = compile_speedtest()
            if program is None:
                print("speedtest1 is left out: tests/sqlite/setup.sh fetches "
                      "its source")
            else:
                run_speedtest(program, work, options.rounds)


if __name__ == "__main__":
    main()
