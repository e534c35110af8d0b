#!/usr/bin/python3
"""What reaches the remote, how soon, in how much memory: ./dev bench push

On a database of 200 MB: `ramet init` against `zstd -3` of the same file, on
one CPU and on two; hydrate; peak memory. Updates of 1, 100 and 10,000 rows:
bytes stored, and the time from the commit until the remote has it, against
Litestream where npm can install it. What transactions of several kinds, and
10,000 of one row, cost in bytes through a server. Medians of interleaved rounds;
nothing here asserts.
"""
import argparse
import json
import os
import shutil
import sqlite3
import time

import common
from parts import deltas, readers
from peers import litestream

WORKLOAD = os.path.join(common.HERE, "workload.py")
UPDATES = (1, 100, 10000)


def workload(*words):
    return json.loads(common.timed(common.PYTHON, WORKLOAD, *words).output)


def base_database():
    """The 200 MB database, made once."""
    path = os.path.join(common.CACHE, "users.db")
    if not os.path.exists(path):
        os.makedirs(common.CACHE, exist_ok=True)
        print("making the 200 MB database ...", flush=True)
        partial = path + ".partial"
        if os.path.exists(partial):
            os.remove(partial)
        workload("generate", partial, "--synchronous", "OFF", "--journal",
                 "off")
        os.rename(partial, path)
    return path


def remove(*paths):
    for path in paths:
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.remove(path)


class Bench:
    def __init__(self, work, base):
        self.work, self.base = work, base
        self.db = os.path.join(work, "app.db")
        self.store = os.path.join(work, "store")
        self.url = "file://%s/app" % self.store

    def fresh(self):
        remove(self.db, self.db + "-wal", self.db + "-shm", self.db + "-ramet",
               self.store)
        shutil.copyfile(self.base, self.db)
        os.sync()

    def init(self, cpus):
        self.fresh()
        return common.timed(common.RAMET, "init", self.db, "--remote",
                            self.url, cpus=cpus)

    def zstd(self, cpus=1):
        out = os.path.join(self.work, "out.zst")
        remove(out)
        os.sync()
        done = common.timed("zstd", "-q", "-3", "-T1", self.base, "-o", out,
                            cpus=cpus)
        self.zstd_bytes = os.path.getsize(out)
        return done

    def hydrate(self):
        clone = os.path.join(self.work, "clone.db")
        remove(clone, clone + "-ramet")
        return common.timed(common.RAMET, "clone", self.url, clone,
                            "--hydrate")

    def update(self, count):
        """(seconds from the commit until pushed, bytes stored)."""
        before = common.stored_bytes(self.store)
        done = workload("update", self.db, "--count", count, "--extension",
                        common.EXTENSION, "--param", "sync=manual", "--push",
                        "--seed", time.monotonic_ns() % 100000)
        return (done["push_seconds"],
                common.stored_bytes(self.store) - before)


def bench_init(bench, rounds):
    runs = {"zstd": [], "one": [], "two": [], "hydrate": []}
    for _ in range(rounds):
        runs["zstd"].append(bench.zstd())
        runs["one"].append(bench.init(1))
        runs["two"].append(bench.init(2))
        runs["hydrate"].append(bench.hydrate())
    seconds = {name: [run.seconds for run in runs[name]] for name in runs}
    ratios = {name: [ours / theirs for ours, theirs in
                     zip(seconds[name], seconds["zstd"])] for name in runs}
    print("%-38s %9s   %-20s %12s %12s" %
          ("", "seconds", "times zstd's", "stored", "peak memory"))
    for name, label in (("zstd", "zstd -3, one thread"),
                        ("one", "ramet init, one CPU"),
                        ("two", "ramet init, two CPUs"),
                        ("hydrate", "ramet clone --hydrate")):
        stored = (bench.zstd_bytes if name == "zstd" else
                  common.stored_bytes(bench.store))
        peak = max(run.peak_bytes for run in runs[name])
        print("%-38s %9.2f   %-20s %12s %12s" %
              (label, common.median(seconds[name]),
               common.spread(ratios[name]), common.megabytes(stored),
               common.megabytes(peak)), flush=True)


def print_update(name, count, samples):
    print("%-38s %9s rows %12.1f ms %14s bytes" %
          (name, "{:,}".format(count),
           1e3 * common.median([seconds for seconds, _ in samples]),
           "{:,.0f}".format(common.median([octets for _, octets in samples]))),
          flush=True)


def bench_updates(bench, rounds):
    bench.init(2)
    for count in UPDATES:
        print_update("ramet: until the remote has it", count,
                     [bench.update(count) for _ in range(rounds)])


def litestream_update(peer, database, count, seed):
    before = common.stored_bytes(peer.store)
    done = workload("update", database, "--count", count, "--seed", seed)
    peer.wait()
    return (max(0.0, time.time() - done["committed_unix"]),
            common.stored_bytes(peer.store) - before)


def bench_litestream(work, base, rounds, interval):
    binary = litestream.find()
    if binary is None:
        print("(npm can't install Litestream here: no peer for the updates)")
        return
    database = os.path.join(work, "litestream.db")
    remove(database, os.path.join(work, "litestream-store"),
           os.path.join(work, ".litestream.db-litestream"))
    shutil.copyfile(base, database)
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA journal_mode=WAL")
    peer = litestream.Litestream(binary, work, database, interval)
    try:
        peer.wait()
        for count in UPDATES:
            print_update("litestream (%s)" % interval, count,
                         [litestream_update(peer, database, count, seed)
                          for seed in range(rounds)])
    finally:
        peer.stop()
    remove(database, database + "-wal", database + "-shm",
           os.path.join(work, "litestream-store"),
           os.path.join(work, ".litestream.db-litestream"))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("init", "update", "bytes",
                                           "commits", "readers"))
    parser.add_argument("--commits", type=int, default=10000)
    parser.add_argument("--long", action="store_true",
                        help="nothing but 100,000 commits on a database of 10 GB")
    parser.add_argument("--rows", type=int, default=10000000,
                        help="of that: four a page")
    options = parser.parse_args()
    common.need(common.RAMET, common.EXTENSION)
    if options.long:
        with common.Workspace() as work:
            print(common.load_average())
            deltas.bench_long(work, options.rows, 10 * options.commits)
        return
    if options.only == "readers":
        with common.Workspace() as work:
            print("%d rounds; %s" % (options.rounds, common.load_average()))
            readers.bench(work, options.rounds)
        return
    base = base_database()
    with common.Workspace() as work:
        bench = Bench(work, base)
        print("%d rounds; %s of %s; %s" %
              (options.rounds, os.path.basename(base),
               common.megabytes(os.path.getsize(base)),
               common.load_average()))
        if options.only in (None, "init"):
            bench_init(bench, options.rounds)
        if options.only in (None, "update"):
            bench_updates(bench, options.rounds)
            for interval in ("1s", "10ms"):
                bench_litestream(work, base, min(3, options.rounds), interval)
        if options.only in (None, "bytes"):
            deltas.bench(work, base, min(3, options.rounds))
        if options.only in (None, "commits"):
            deltas.bench_each(work, base, options.commits)
        if options.only is None:
            readers.bench(work, min(3, options.rounds))


if __name__ == "__main__":
    main()
