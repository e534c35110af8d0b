#!/usr/bin/python3
"""A bucket against what one would do by hand: ./dev bench store

A database of 200 MB into a bucket of Ceph's gateway, which is brought up for
that, and back: `ramet init` against `zstd -3` and then `rclone`, `ramet clone
--hydrate` against `rclone` and then `zstd -d`, in rounds that alternate. Then the
same of Ramet through a link of 20 ms there and back and 200 Mbit/s (delayproxy.c):
what part of the link it fills. Nothing here asserts.
"""
import argparse
import os
import shutil
import subprocess
import sys
import time
import urllib.parse

import common
from push import base_database, remove

GATEWAY = os.path.join(common.HERE, "..", "scripts", "s3-gateway.sh")
PROXY = os.path.join(common.BUILD, "tests", "delayproxy")
ROUND_TRIP_MS, LINK_MBIT = 20, 200


class Link:
    """A proxy before the gateway; the environment of who goes through it."""

    def __init__(self, work):
        self.stats = os.path.join(work, "link")
        port = urllib.parse.urlsplit(os.environ["RAMET_TEST_S3"]).port
        self.process = subprocess.Popen(
            [PROXY, "0", str(port), str(ROUND_TRIP_MS / 2), str(LINK_MBIT),
             self.stats], stdout=subprocess.PIPE, text=True)
        at = "http://127.0.0.1:" + self.process.stdout.readline().split()[1]
        self.environment = dict(os.environ, AWS_ENDPOINT_URL_S3=at)

    def close(self):
        self.process.terminate()
        self.process.communicate()


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

    def rclone(self, source, target):
        env = {name: value for name, value in os.environ.items()
               if name != "AWS_CA_BUNDLE"}
        return common.timed(
            "rclone", "--config", os.devnull, "--s3-provider", "Ceph",
            "--s3-env-auth", "--s3-endpoint", os.environ["RAMET_TEST_S3"],
            "--s3-no-check-bucket", "copyto", source, target, env=env)

    def up_by_hand(self):
        remove(self.packed)
        os.sync()
        began = time.perf_counter()
        common.timed("zstd", "-q", "-3", "-T1", self.base, "-o", self.packed)
        # rclone leaves alone what is there already, with the same time.
        self.rclone(self.packed, self.by_hand)
        return time.perf_counter() - began

    def down_by_hand(self):
        remove(self.packed, self.unpacked)
        os.sync()
        began = time.perf_counter()
        self.rclone(self.by_hand, self.packed)
        common.timed("zstd", "-q", "-d", self.packed, "-o", self.unpacked)
        return time.perf_counter() - began


def line(name, seconds, ratio="", memory=""):
    print("%-38s %9.2f   %-24s %12s" % (name, common.median(seconds), ratio,
                                        memory), flush=True)


def against_by_hand(bench, rounds):
    runs = {"up by hand": [], "up": [], "down by hand": [], "down": []}
    for _ in range(rounds):
        runs["up by hand"].append(bench.up_by_hand())
        runs["up"].append(bench.init())
        runs["down by hand"].append(bench.down_by_hand())
        runs["down"].append(bench.hydrate())
    print("%-38s %9s   %-24s %12s" % ("", "seconds", "times that by hand",
                                      "peak memory"))
    for way, by_hand, ours in (
            ("up", "zstd -3, then rclone", "ramet init"),
            ("down", "rclone, then zstd -d", "ramet clone --hydrate")):
        theirs = runs[way + " by hand"]
        seconds = [run.seconds for run in runs[way]]
        line(by_hand, theirs)
        line(ours, seconds,
             common.spread([a / b for a, b in zip(seconds, theirs)]),
             common.megabytes(max(run.peak_bytes for run in runs[way])))


def through_a_link(bench, rounds):
    """The stored bytes at the link's rate are 100 %."""
    size = os.path.getsize(bench.packed)
    at_best = size * 8 / (LINK_MBIT * 1e6)
    print("\nthrough %d ms and %d Mbit/s, where %s take %.1f s at best:" %
          (ROUND_TRIP_MS, LINK_MBIT, common.megabytes(size), at_best))
    link = Link(bench.work)
    try:
        up, down = [], []
        for _ in range(rounds):
            up.append(bench.init(link.environment).seconds)
            down.append(bench.hydrate(link.environment).seconds)
    finally:
        link.close()
    for name, seconds in (("ramet init", up), ("ramet clone --hydrate", down)):
        line(name, seconds, "%.0f %% of the link" %
             (100 * at_best / common.median(seconds)))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gateway", choices=["rgw", "versitygw"],
                        default="rgw")
    options = parser.parse_args()
    common.need(common.RAMET, PROXY)
    if "RAMET_TEST_S3" not in os.environ:
        os.execv(GATEWAY, [GATEWAY, options.gateway, sys.executable,
                           *sys.argv])
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
