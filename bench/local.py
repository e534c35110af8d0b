#!/usr/bin/python3
"""Local speed against SQLite's own WAL mode: ./dev bench local [--rounds N]

One-row commits, point reads, range scans and a bulk load, by bench/local.c,
in rounds that alternate between the two engines; what is printed is the median
of the rounds' ratios (above 1: Ramet is quicker). With a built speedtest1 (see
tests/sqlite) that as well. Nothing here asserts: a clock proves nothing on a
busy machine.
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
    ("read-auto", 300000, "point reads, autocommit"),
    ("read-txn", 500000, "point reads in one transaction"),
    ("scan", 2000, "range scans of 1,000 rows"),
    ("bulk", 200000, "bulk load, 10,000 rows a transaction"),
)
ENGINES = ("native", "ramet")


def compile_program():
    """bench/local.c with the system's SQLite; its path."""
    out = os.path.join(common.BUILD, "bench", "local")
    source = os.path.join(common.HERE, "local.c")
    os.makedirs(os.path.dirname(out), exist_ok=True)
    if (not os.path.exists(out) or
            os.path.getmtime(out) < os.path.getmtime(source)):
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", out, source,
                        "-lsqlite3"], check=True)
    return out


def fresh_copy(template, target):
    for path in (target, target + "-wal", target + "-shm"):
        if os.path.exists(path):
            os.remove(path)
    shutil.rmtree(target + "-ramet", ignore_errors=True)
    shutil.copyfile(template, target)


def measure(program, work, mode, engine, count):
    """{"ops", "seconds", "cpu_us"} of one run on a fresh copy."""
    target = os.path.join(work, engine + ".db")
    fresh_copy(os.path.join(work, "template.db"), target)
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


def speedtest_seconds(program, work, engine):
    """TOTAL of one run of speedtest1."""
    target = os.path.join(work, "speedtest.db")
    for path in (target, target + "-wal", target + "-shm"):
        if os.path.exists(path):
            os.remove(path)
    shutil.rmtree(target + "-ramet", ignore_errors=True)
    options = (["--journal", "wal"] if engine == "native" else
               ["--vfs", "ramet"])
    done = common.timed(program, "--size", "50", *options, target)
    return float(re.search(r"TOTAL\W+([0-9.]+)s", done.output)[1])


def run_speedtest(program, work, rounds):
    runs = {engine: [] for engine in ENGINES}
    for _ in range(rounds):
        for engine in ENGINES:
            runs[engine].append(speedtest_seconds(program, work, engine))
    ratios = [theirs / ours
              for ours, theirs in zip(runs["ramet"], runs["native"])]
    print("%-40s %11.2f s  %11.2f s    %-20s" %
          ("speedtest1 --size 50", common.median(runs["native"]),
           common.median(runs["ramet"]), common.spread(ratios)))


def find_speedtest():
    for folder in ("tests/sqlite", "tests", "bin", "sqlite-suite"):
        path = os.path.join(common.BUILD, folder, "speedtest1")
        if os.path.exists(path):
            return path
    return None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="one mode, such as read-auto")
    options = parser.parse_args()
    common.need(common.EXTENSION)
    program = compile_program()
    speedtest = find_speedtest()

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
        if speedtest and options.only in (None, "speedtest1"):
            run_speedtest(speedtest, work, options.rounds)


if __name__ == "__main__":
    main()
