#!/usr/bin/python3
"""A bucket against what one would do by hand: ./dev bench store

A database of 200 MB into a bucket of Ceph's gateway, which is brought up for
that, and back: `ramet init` against `zstd -3` and then `rclone`, `ramet clone
--hydrate` against `rclone` and then `zstd -d`, in rounds that alternate: seconds, and
those of CPU (but the gateway's). Then the same through a link of 20 ms there and back
and 200 Mbit/s (delayproxy.c), and what part of it Ramet fills: of the whole time, and
from its first page to its last.
With `--pulls N` something else: N commits of one row by one process, and what a pull
of the first, of all others, and a clone ask the bucket for.
Nothing here asserts.
"""
import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.parse

import common
from push import base_database, remove

GATEWAY = os.path.join(common.HERE, "..", "scripts", "s3-gateway.sh")
PROXY = os.path.join(common.BUILD, "tests", "delayproxy")
ROUND_TRIP_MS, LINK_MBIT = 20, 200


SLOT_MS = 10  # of the proxy's trace
BUSY_SLOT = 0.8  # of what a slot holds: pages are moving


class Link:
    """A proxy before the gateway; the environment of who goes through it. It has
    the same port each time: a bucket is tried once for each endpoint."""

    port = "0"

    def __init__(self, work):
        self.stats = os.path.join(work, "link")
        self.trace = os.path.join(work, "trace")
        gateway = urllib.parse.urlsplit(os.environ["RAMET_TEST_S3"]).port
        self.process = subprocess.Popen(
            [PROXY, Link.port, str(gateway), str(ROUND_TRIP_MS / 2),
             str(LINK_MBIT), self.stats, self.trace], stdout=subprocess.PIPE,
            text=True)
        Link.port = self.process.stdout.readline().split()[1]
        self.url = "http://127.0.0.1:" + Link.port
        self.environment = dict(os.environ, AWS_ENDPOINT_URL_S3=self.url)

    def close(self):
        self.process.terminate()
        self.process.communicate()

    def moved(self, way):
        """Bytes that went "up" or "down"; and what part of the link they filled
        while pages were moving. Once it is closed."""
        with open(self.stats, encoding="ascii") as file:
            moved = json.load(file)[way]
        with open(self.trace, encoding="ascii") as file:
            rows = [tuple(map(int, row.split())) for row in file]
        slot = LINK_MBIT * 1e6 / 8 * SLOT_MS / 1000
        passed = {row[0]: row[1 if way == "up" else 2] for row in rows}
        busy = [ms for ms in passed if passed[ms] >= BUSY_SLOT * slot]
        if not busy:
            return moved, 0
        span = (max(busy) - min(busy)) / SLOT_MS + 1
        between = sum(size for ms, size in passed.items()
                      if min(busy) <= ms <= max(busy))
        return moved, between / (span * slot)


class Bench:
    def __init__(self, work, base):
        self.work, self.base = work, base
        self.db = os.path.join(work, "app.db")
        self.clone = os.path.join(work, "clone.db")
        self.packed = os.path.join(work, "base.zst")
        self.unpacked = os.path.join(work, "unpacked.db")
        self.runs = 0
        self.bucket = os.environ["RAMET_TEST_S3_BUCKET"]
        self.by_hand = ":s3:%s/by-hand/base.zst" % self.bucket

    def url(self):
        return "s3://%s/bench-%d-%d/app" % (self.bucket, os.getpid(),
                                            self.runs)

    def init(self, env=None):
        self.runs += 1
        remove(self.db, self.db + "-ramet")
        shutil.copyfile(self.base, self.db)
        os.sync()
        return common.timed(common.RAMET, "init", self.db, "--remote",
                            self.url(), env=env)

    def hydrate(self, env=None):
        remove(self.clone, self.clone + "-ramet")
        os.sync()
        return common.timed(common.RAMET, "clone", self.url(), self.clone,
                            "--hydrate", env=env)

    def rclone(self, source, target, endpoint=None):
        env = {name: value for name, value in os.environ.items()
               if name != "AWS_CA_BUNDLE"}
        return common.timed(
            "rclone", "--config", os.devnull, "--s3-provider", "Ceph",
            "--s3-env-auth", "--s3-endpoint",
            endpoint or os.environ["RAMET_TEST_S3"],
            "--s3-no-check-bucket", "--ignore-times", "copyto", source, target, env=env)

    def up_by_hand(self, endpoint=None):
        remove(self.packed)
        os.sync()
        # rclone leaves alone what is there already, with the same time.
        return one_run(
            common.timed("zstd", "-q", "-3", "-T1", self.base, "-o",
                         self.packed),
            self.rclone(self.packed, self.by_hand, endpoint))

    def down_by_hand(self, endpoint=None):
        remove(self.packed, self.unpacked)
        os.sync()
        return one_run(
            self.rclone(self.by_hand, self.packed, endpoint),
            common.timed("zstd", "-q", "-d", self.packed, "-o",
                         self.unpacked))


def one_run(*parts):
    """Commands one after the other, as one."""
    return common.Timed(sum(part.seconds for part in parts),
                        sum(part.cpu_seconds for part in parts),
                        max(part.peak_bytes for part in parts), "")


def ratios(runs, others, what):
    return common.spread([getattr(a, what) / getattr(b, what)
                          for a, b in zip(runs, others)])


def line(name, runs, by_hand=None):
    print("%-24s %8.2f  %-20s %6.2f  %-20s %9s" % (
        name, common.median([run.seconds for run in runs]),
        ratios(runs, by_hand, "seconds") if by_hand else "",
        common.median([run.cpu_seconds for run in runs]),
        ratios(runs, by_hand, "cpu_seconds") if by_hand else "",
        common.megabytes(max(run.peak_bytes for run in runs))), flush=True)


WAYS = (("up", "zstd -3, then rclone", "ramet init"),
        ("down", "rclone, then zstd -d", "ramet clone --hydrate"))


def print_heading():
    print("%-24s %8s  %-20s %6s  %-20s %9s" % (
        "", "seconds", "times that by hand", "CPU", "times that by hand",
        "memory"))


def against_by_hand(bench, rounds):
    runs = {"up by hand": [], "up": [], "down by hand": [], "down": []}
    for _ in range(rounds):
        runs["up by hand"].append(bench.up_by_hand())
        runs["up"].append(bench.init())
        runs["down by hand"].append(bench.down_by_hand())
        runs["down"].append(bench.hydrate())
    print_heading()
    for way, by_hand, ours in WAYS:
        line(by_hand, runs[way + " by hand"])
        line(ours, runs[way], runs[way + " by hand"])


def on_link(bench, run):
    """One run through a link of its own: what `run` gives, and the link."""
    link = Link(bench.work)
    try:
        return run(link), link
    finally:
        link.close()


def through_a_link(bench, rounds):
    """What goes over the wire, at the link's rate, is 100 %."""
    on_link(bench, lambda link: bench.init(link.environment))  # the proof
    runs = {"up by hand": [], "up": [], "down by hand": [], "down": []}
    fills = {"up": [], "down": []}
    for _ in range(rounds):
        for way, by_hand, ours in (("up", bench.up_by_hand, bench.init),
                                   ("down", bench.down_by_hand,
                                    bench.hydrate)):
            runs[way + " by hand"].append(
                on_link(bench, lambda link, do=by_hand: do(link.url))[0])
            run, link = on_link(bench,
                                lambda link, do=ours: do(link.environment))
            moved, between = link.moved(way)
            runs[way].append(run)
            fills[way].append((moved * 8 / (LINK_MBIT * 1e6) / run.seconds,
                               between, moved))
    print("\nthrough %d ms and %d Mbit/s:" % (ROUND_TRIP_MS, LINK_MBIT))
    print_heading()
    for way, by_hand, ours in WAYS:
        line(by_hand, runs[way + " by hand"])
        line(ours, runs[way], runs[way + " by hand"])
        whole, between, moved = (common.median(values)
                                 for values in zip(*fills[way]))
        print("  %s; %.0f %% of the link, from the first page to the last "
              "%.0f %%" % (common.megabytes(moved), 100 * whole,
                           100 * between), flush=True)


COMMITS = """
import random, sqlite3, sys
loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension(sys.argv[1])
db = sqlite3.connect("file:%s?vfs=ramet" % sys.argv[2], uri=True,
                     isolation_level=None)
for _ in range(int(sys.argv[3])):
    db.execute("UPDATE t SET v = hex(randomblob(8)) WHERE id = ?",
               (random.randrange(1, 20000),))
    db.execute("SELECT ramet_push()").fetchone()
"""


def pulls(work, count):
    """A table of 20,000 rows; a replica that is behind by one commit, then by all
    others."""
    a, b, c = (os.path.join(work, name + ".db") for name in "abc")
    url = "s3://%s/pulls-%d/app" % (os.environ["RAMET_TEST_S3_BUCKET"],
                                    os.getpid())
    with contextlib.closing(sqlite3.connect(a)) as db, db:
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        db.executemany("INSERT INTO t VALUES(?, hex(randomblob(100)))",
                       ((i,) for i in range(1, 20000)))
    common.timed(common.RAMET, "init", a, "--remote", url)
    common.timed(common.RAMET, "clone", url, b)

    def commit(times):
        common.timed(sys.executable, "-c", COMMITS,
                     common.EXTENSION, a,
                     str(times))

    def ask(what, *words):
        began = time.perf_counter()
        told = json.loads(subprocess.run(
            [common.RAMET, *words, "--json"], check=True, text=True,
            stdout=subprocess.PIPE).stdout)["store_requests"]
        print("%-24s %6.0f ms   %s" % (
            what, 1000 * (time.perf_counter() - began), ", ".join(
                "%s %d" % (kind, told[kind]) for kind in
                ("get", "list", "put", "bytes_received") if told[kind])),
              flush=True)

    commit(1)
    ask("pull of 1 commit", "pull", b)
    commit(count - 1)
    ask("pull of %d commits" % (count - 1), "pull", b)
    ask("clone of %d commits" % count, "clone", url, c)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gateway", choices=["rgw", "versitygw"],
                        default="rgw")
    parser.add_argument("--pulls", type=int, metavar="N")
    options = parser.parse_args()
    common.need(common.RAMET, PROXY)
    if "RAMET_TEST_S3" not in os.environ:
        os.execv(GATEWAY, [GATEWAY, options.gateway, sys.executable,
                           *sys.argv])
    if options.pulls:
        with common.Workspace() as work:
            pulls(work, options.pulls)
        return
    base = base_database()
    with common.Workspace() as work:
        bench = Bench(work, base)
        print("%d rounds; %s of %s; %s; %s" %
              (options.rounds, os.path.basename(base),
               common.megabytes(os.path.getsize(base)),
               os.environ["RAMET_TEST_S3_KIND"], common.load_average()))
        against_by_hand(bench, options.rounds)
        through_a_link(bench, min(3, options.rounds))


if __name__ == "__main__":
    main()
