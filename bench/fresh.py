#!/usr/bin/python3
"""How soon a commit is read elsewhere: ./dev bench fresh

A commits, B reads, each a process with a replica of its own, through a server on
this machine: from the return of A's COMMIT to B's first read of it, with
push_interval_ms=0 and with the default, against what one sync of the disk takes
in the same run. What a follower spends on each commit of a fast writer, in CPU and
in bytes against what was stored; how it keeps up with a line of small commits that
comes at a thousand a second, and as fast as the server takes it. 2,000 subscribers
of one server: until all are told, memory of the server for each, its CPU while nothing
happens. Nothing here asserts.
"""
import argparse
import json
import os
import re
import selectors
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import uuid

import common
import server as serving
from parts import replay

TESTS = os.path.join(common.BUILD, "tests")
SERVE = os.path.join(TESTS, "ramet_serve")


def connect(path, **options):
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(common.EXTENSION[:-3])
    return sqlite3.connect("file:%s?%s" % (path, urllib.parse.urlencode(
        dict({"vfs": "ramet"}, **options))), uri=True, isolation_level=None)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


# ---- the reader's process ------------------------------------------------------

def read_until(path, url, last):
    """When each id was first seen, as it goes; a read about every 0.2 ms."""
    db = connect(path, remote=url)
    db.execute("SELECT count(*), sum(length(v)) FROM t").fetchone()
    db.execute("SELECT ramet_hydrate()").fetchone()
    print("ready", flush=True)
    seen, times = 0, {}
    cpu = time.process_time()
    requests = None
    while seen < last:
        now_id = db.execute("SELECT v FROM n").fetchone()[0]
        now = time.monotonic()
        if now_id != seen:
            times[now_id] = now
            seen = now_id
            if requests is None:
                requests = db.execute(
                    "SELECT requests FROM ramet_status").fetchone()[0]
        time.sleep(0.0002)
    after = db.execute("SELECT requests FROM ramet_status").fetchone()[0]
    print(json.dumps({"times": times, "requests": after - requests,
                      "cpu": time.process_time() - cpu}), flush=True)
    db.close()


def hold_all(path, url, last):
    """A follower that nobody asks anything: when it had all, and what that took."""
    db = connect(path, remote=url)
    db.execute("SELECT ramet_hydrate()").fetchone()
    ask = "SELECT durable_lsn, requests, cached_pages FROM ramet_status"
    _, requests, held = db.execute(ask).fetchone()
    cpu = time.process_time()
    print("ready", flush=True)
    lsn = 0
    while lsn < last:
        time.sleep(0.01)
        lsn = db.execute(ask).fetchone()[0]
    done = time.monotonic()
    cpu = time.process_time() - cpu
    _, requests_now, held_now = db.execute(ask).fetchone()
    print(json.dumps({"done": done, "requests": requests_now - requests,
                      "cpu": cpu, "lost": held - held_now}), flush=True)
    db.close()


class Reader:
    def __init__(self, work, url, last, role="--reader"):
        path = os.path.join(work, "b-%s.db" % uuid.uuid4().hex[:8])
        self.process = subprocess.Popen(
            [common.PYTHON, __file__, role, path, url, str(last)],
            stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def result(self):
        out = json.loads(self.process.stdout.readline())
        self.process.wait()
        return out


# ---- the runs --------------------------------------------------------------------

class Server:
    def __init__(self, work, name="store", **options):
        self.data = os.path.join(work, name)
        command = [SERVE, "--listen", "127.0.0.1:0", "--data", self.data,
                   "--access-log", "off"]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().decode().rsplit(":")[-1])
        self.url = "http://127.0.0.1:%d/" % self.port

    def metric(self, name):
        text = urllib.request.urlopen(self.url + "metrics").read().decode()
        return float(re.search(r"^%s (\S+)$" % name, text, re.M).group(1))

    def rss_bytes(self):
        with open("/proc/%d/status" % self.process.pid) as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) << 10

    def cpu(self):
        return serving.cpu_seconds([self.process.pid])

    def close(self):
        self.process.terminate()
        self.process.wait()


def syncs(work, count=300):
    """Seconds that a page and its sync take."""
    taken = []
    fd = os.open(os.path.join(work, "sync"), os.O_RDWR | os.O_CREAT)
    for i in range(count):
        began = time.monotonic()
        os.pwrite(fd, bytes(4096), i * 4096)
        os.fdatasync(fd)
        taken.append(time.monotonic() - began)
    os.close(fd)
    return taken


def make_writer(work, url, **options):
    db = connect(os.path.join(work, "a-%s.db" % uuid.uuid4().hex[:8]),
                 remote=url, **options)
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
    db.execute("CREATE TABLE n(v INTEGER)")
    db.execute("INSERT INTO n VALUES(0)")
    db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
               "WHERE i < 5000) INSERT INTO t SELECT i, hex(randomblob(60)) "
               "FROM n")
    db.execute("SELECT ramet_push()").fetchone()
    return db


def commit_to_read(work, server, count, pause, **options):
    url = server.url + "v" + uuid.uuid4().hex[:8]
    a = make_writer(work, url, **options)
    b = Reader(work, url, count)
    committed = {}
    for i in range(1, count + 1):
        time.sleep(pause)
        a.execute("UPDATE n SET v = ?", (i,))
        committed[i] = time.monotonic()
    got = b.result()
    a.close()
    return [got["times"][str(i)] - at for i, at in committed.items()
            if str(i) in got["times"]], got


def tell(what, values, disk):
    print("%-28s %6.1f ms median, %6.1f p99 (%d commits); the disk's sync %.2f, "
          "%.2f: median - 4 syncs %.1f, p99 - the disk's %.1f" % (
              what, 1e3 * common.median(values), 1e3 * percentile(values, 0.99),
              len(values), 1e3 * common.median(disk),
              1e3 * percentile(disk, 0.99),
              1e3 * (common.median(values) - 4 * common.median(disk)),
              1e3 * (percentile(values, 0.99) - percentile(disk, 0.99))))


def follow(work, server, count):
    """A writer that pushes each commit, as fast as it can."""
    url = server.url + "fast"
    a = make_writer(work, url, sync="manual")
    b = Reader(work, url, count)
    sent = server.metric("ramet_sent_bytes_total")
    stored = common.stored_bytes(os.path.join(work, "store"))
    began = time.monotonic()
    for i in range(1, count + 1):
        a.execute("UPDATE n SET v = ?", (i,))
        a.execute("SELECT ramet_push()").fetchone()
    took = time.monotonic() - began
    got = b.result()
    a.close()
    print("%-28s %.0f commits/s by the writer; the follower made %d requests, "
          "and took %.2f ms of CPU a commit, its reading included" % (
              "a fast writer", count / took, got["requests"],
              1e3 * got["cpu"] / count))
    print("%-28s %d bytes a commit stored; %d sent to both when the streams "
          "ended" % ("", (common.stored_bytes(os.path.join(
              work, "store")) - stored) / count, (server.metric(
                  "ramet_sent_bytes_total") - sent) / count))


def keep_up(work, count):
    """A line of small commits, at a thousand a second and as fast as it goes."""
    line = replay.Line(work, lambda name: Server(work, "store-" + name),
                       lambda url: make_writer(work, url, sync="manual"), count)
    stored = sum(len(commit) for commit in line.commits)
    for rate in 1000, None:
        name = "store-%s" % (rate or "fast")
        line.copy(os.path.join(work, name))
        server = Server(work, name)
        link = replay.Counted(work, server.port)
        try:
            b = Reader(work, link.url + "line", line.last, "--holder")
            came, used = link.came(), server.cpu()
            began = time.monotonic()
            sent = line.send(server.port, rate)
            got = b.result()
            came, used = link.came() - came, server.cpu() - used
        finally:
            link.close()
            server.close()
        print("%-28s %d sent at %.0f a second; the follower had all %.0f ms after the "
              "last: %d requests, %d bytes a commit for %d stored (%.2f), %.2f ms of "
              "CPU a commit (the server's %.2f), %d pages lost" % (
                  "a line of small commits", count, count / sent,
                  1e3 * (got["done"] - began - sent), got["requests"],
                  came / count, stored / count, came / stored,
                  1e3 * got["cpu"] / count, 1e3 * used / count, got["lost"]),
              flush=True)


def watch_request(vid):
    body = b"\1\0\1" + uuid.UUID(vid).bytes + b"\0"
    return (b"POST /v1/news HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" %
            len(body)) + body


def subscribers(work, server, count, idle):
    url = server.url + "many"
    a = make_writer(work, url, sync="manual")
    vid = a.execute("SELECT volume FROM ramet_status").fetchone()[0]
    a.execute("SELECT ramet_push()").fetchone()
    before = server.rss_bytes()
    socks = []
    poll = selectors.DefaultSelector()
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.sendall(watch_request(vid))
        sock.setblocking(False)
        socks.append(sock)
        poll.register(sock, selectors.EVENT_READ)
    while server.metric("ramet_news_streams") < count:
        time.sleep(0.05)
    time.sleep(0.5)
    for key, _ in poll.select(0):
        key.fileobj.recv(1 << 20)
    memory = (server.rss_bytes() - before) / count
    began = server.cpu()
    time.sleep(idle)
    used = (server.cpu() - began) / idle
    for key, _ in poll.select(0):
        key.fileobj.recv(1 << 20)
    taken = []
    for i in range(5):
        a.execute("UPDATE n SET v = ?", (i + 1,))
        began = time.monotonic()
        a.execute("SELECT ramet_push()").fetchone()
        pushed = time.monotonic()
        left = set(socks)
        while left:
            for key, _ in poll.select(10):
                if key.fileobj.recv(1 << 20):
                    left.discard(key.fileobj)
        taken.append((time.monotonic() - began, time.monotonic() - pushed))
    print("%-28s all told %.0f ms after the push began, %.0f after it ended "
          "(medians of %d); %.1f KiB each in the server; %.2f %% of a CPU while "
          "nothing happened" % (
              "%d subscribers" % count,
              1e3 * common.median([t for t, _ in taken]),
              1e3 * common.median([t for _, t in taken]), len(taken),
              memory / 1024, 100 * used))
    for sock in socks:
        sock.close()
    a.close()


def all_commits(work, server, count):
    disk = syncs(work)
    at_once, _ = commit_to_read(work, server, count, 0.05, push_interval_ms=0)
    by_default, _ = commit_to_read(work, server, count // 4, 0.4)
    disk += syncs(work)
    tell("push_interval_ms=0", at_once, disk)
    tell("by default (50)", by_default, disk)
    follow(work, server, count * 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--holder", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=("commits", "line", "subscribers"))
    parser.add_argument("--commits", type=int, default=200)
    parser.add_argument("--line", type=int, default=5000,
                        help="small commits that a follower is told of")
    parser.add_argument("--subscribers", type=int, default=2000)
    parser.add_argument("--idle", type=float, default=5)
    args = parser.parse_args()
    if args.reader:
        read_until(args.reader[0], args.reader[1], int(args.reader[2]))
        return
    if args.holder:
        hold_all(args.holder[0], args.holder[1], int(args.holder[2]))
        return
    common.need(SERVE, common.EXTENSION, replay.PROXY)
    print(common.load_average())
    with common.Workspace() as work:
        if args.only in (None, "line"):
            keep_up(work, args.line)
        server = Server(work, max_connections=20000)
        try:
            if args.only in (None, "commits"):
                all_commits(work, server, args.commits)
            if args.only in (None, "subscribers"):
                subscribers(work, server, args.subscribers, args.idle)
        finally:
            server.close()
    print(common.load_average())


if __name__ == "__main__":
    sys.exit(main())
