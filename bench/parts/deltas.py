"""Bytes and CPU of a push through a server, by what was done: part of bench/push.

One transaction of each kind on a copy of the database, pushed by the process that
made it; what the server's directory grew by, what came over the wire (bodies), and
the CPU of the push. The same with `bases_limit=0`, which sends whole pages, and by
Litestream into a directory.
"""
import json
import os
import re
import shutil
import subprocess
import urllib.request

import common
from peers import litestream

WORKLOAD = os.path.join(os.path.dirname(os.path.abspath(common.__file__)),
                        "workload.py")
KINDS = (
    ("an integer in 1 row", "integer", 1), ("100 rows", "integer", 100),
    ("10,000 rows", "integer", 10000),
    ("ten words in 1 row", "update", 1), ("100 rows", "update", 100),
    ("10,000 rows", "update", 10000),
    ("random inserts, 100", "random", 100), ("10,000 rows", "random", 10000),
    ("ascending inserts, 1,000", "ascending", 1000),
    ("deletes, 100", "delete", 100), ("10,000 rows", "delete", 10000),
    ("growing rows, 100", "grow", 100), ("10,000 rows", "grow", 10000),
    ("FTS5, 100 documents", "fts", 100), ("100 of 20 words", "fts-short", 100), ("JSON edits, 1,000", "json", 1000))


def workload(*words):
    return json.loads(common.timed(common.PYTHON, WORKLOAD, *words).output)


def prepared(base):
    """A copy of the database with the tables that the kinds need."""
    path = os.path.join(common.CACHE, "users-prepared.db")
    if not os.path.exists(path):
        shutil.copyfile(base, path + ".partial")
        workload("prepare", path + ".partial", "--synchronous", "OFF",
                 "--journal", "off")
        os.rename(path + ".partial", path)
    return path


class Ours:
    """A server over a directory, and a database that was pushed to it."""

    def __init__(self, work, base, name, *params):
        self.params = params
        self.store = os.path.join(work, "store-" + name)
        self.db = os.path.join(work, name + ".db")
        self.server = subprocess.Popen(
            [common.RAMET, "serve", "--data", self.store, "--listen",
             "127.0.0.1:0", "--access-log", "off"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = re.search(r"http://\S+[0-9]",
                             self.server.stdout.readline())[0]
        if base is not None:
            shutil.copyfile(base, self.db)
        common.timed(common.RAMET, "init", self.db, "--remote",
                     self.url + "/app")

    def received(self):
        text = urllib.request.urlopen(self.url + "/metrics").read().decode()
        return int(re.search(r"^ramet_received_bytes_total (\d+)", text,
                             re.MULTILINE)[1])

    def run(self, kind, count, seed):
        """(stored bytes, bytes on the wire, seconds of CPU)."""
        stored, wire = common.stored_bytes(self.store), self.received()
        words = [kind, self.db, "--count", count, "--seed", seed, "--extension",
                 common.EXTENSION, "--push"]
        for param in ("sync=manual", *self.params):
            words += ["--param", param]
        done = workload(*words)
        return (common.stored_bytes(self.store) - stored,
                self.received() - wire, done["push_cpu_seconds"])

    def end(self):
        self.server.terminate()
        self.server.wait(30)
        shutil.rmtree(self.store, ignore_errors=True)
        shutil.rmtree(self.db + "-ramet", ignore_errors=True)
        os.remove(self.db)


class Theirs:
    def __init__(self, work, base, binary):
        self.db = os.path.join(work, "theirs.db")
        shutil.copyfile(base, self.db)
        subprocess.run([common.PYTHON, "-c",
                        "import sqlite3, sys; sqlite3.connect(sys.argv[1])"
                        ".execute('PRAGMA journal_mode=WAL')", self.db],
                       check=True)
        self.peer = litestream.Litestream(binary, work, self.db, "1s")
        self.peer.wait()

    def run(self, kind, count, seed):
        before = common.stored_bytes(self.peer.store)
        workload(kind, self.db, "--count", count, "--seed", seed)
        self.peer.wait()
        return common.stored_bytes(self.peer.store) - before

    def end(self):
        self.peer.stop()


def number(octets):
    return "{:,}".format(int(octets)) if octets is not None else "-"


def bench(work, base, rounds):
    base = prepared(base)
    binary = litestream.find()
    if binary is None:
        print("(npm can't install Litestream here: no peer)")
    deltas = Ours(work, base, "deltas")
    pages = Ours(work, base, "pages", "bases_limit=0")
    theirs = Theirs(work, base, binary) if binary is not None else None
    print("%-26s %12s %12s %12s %12s %9s %9s" %
          ("bytes of one commit", "stored", "on the wire", "whole pages",
           "Litestream", "CPU, ms", "pages'"))
    try:
        for each in (deltas, pages):  # the first map is of the whole volume
            each.run("integer", 10000, 99)
        for label, kind, count in KINDS:
            ours, whole, peers = [], [], []
            for seed in range(rounds):
                ours.append(deltas.run(kind, count, seed))
                whole.append(pages.run(kind, count, seed))
                if theirs is not None:
                    peers.append(theirs.run(kind, count, seed))
            print("%-26s %12s %12s %12s %12s %9.1f %9.1f" % (
                label, number(common.median([o[0] for o in ours])),
                number(common.median([o[1] for o in ours])),
                number(common.median([w[0] for w in whole])),
                number(common.median(peers) if peers else None),
                1e3 * common.median([o[2] for o in ours]),
                1e3 * common.median([w[2] for w in whole])), flush=True)
    finally:
        deltas.end()
        pages.end()
        if theirs is not None:
            theirs.end()


def each(work, base, commits, *params):
    """Without `base` on what is there as each.db."""
    ours = Ours(work, base, "each", *params)
    try:
        pages = os.path.getsize(ours.db) // 4096
        stored, wire = common.stored_bytes(ours.store), ours.received()
        words = ["each", ours.db, "--count", commits, "--extension",
                 common.EXTENSION]
        for param in ("sync=manual", *params):
            words += ["--param", param]
        done = common.timed(common.PYTHON, WORKLOAD, *words)
        print("%s one-row commits on %s pages, each pushed%s: %d bytes stored and "
              "%d on the wire a commit, %.1f ms, %d us of CPU" %
              ("{:,}".format(commits), "{:,}".format(pages),
               ", ".join(("",) + params),
               (common.stored_bytes(ours.store) - stored) / commits,
               (ours.received() - wire) / commits,
               1e3 * done.seconds / commits, 1e6 * done.cpu_seconds / commits),
              flush=True)
    finally:
        ours.end()


def bench_each(work, base, commits):
    """Many commits of one row by one process, each pushed: bytes a commit, maps and
    all, and CPU; a tenth of them in whole pages."""
    each(work, base, commits)
    each(work, base, commits // 10, "bases_limit=0")


def bench_long(work, rows, commits):
    """The same on 10 GB."""
    workload("wide", os.path.join(work, "each.db"), "--rows", rows,
             "--synchronous", "OFF", "--journal", "off")
    each(work, None, commits)
