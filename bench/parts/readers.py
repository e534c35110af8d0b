"""What deltas cost those who read: part of bench/push.

A volume of 150,000 rows (7,356 pages), then commits of random rows, once with deltas
and once in whole pages; read through a server and a link with delay by a process that
has nothing: a scan of the table, `clone --hydrate`, and point reads. Bytes are those of
the bodies that the server sent.
"""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import urllib.request

import common

WORKLOAD = os.path.join(os.path.dirname(os.path.abspath(common.__file__)),
                        "workload.py")
PROXY = os.path.join(common.BUILD, "tests", "delayproxy")
ROWS = 150000
LINK = (10, 100)  # ms one way, Mbit/s
# commits, rows of each, and what is done to them: an integer, or ten words
LINES = ((8, 2000, "integer"), (8, 2000, "update"), (100, 70, "integer"))
ASK = """
import json, os, sqlite3, sys, time
extension, uri, questions = json.loads(sys.argv[1])
loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)
db = sqlite3.connect(uri, uri=True)
began = time.perf_counter()
for sql in questions:
    db.execute(sql).fetchall()
seconds = time.perf_counter() - began
db.close()
print(seconds)
"""
SCAN = ["SELECT sum(length(bio)) FROM users NOT INDEXED"]
POINTS = ["SELECT bio FROM users WHERE id = %d" % (i * 7919 % ROWS + 1)
          for i in range(20)]


class Process:
    def __init__(self, *words):
        self.process = subprocess.Popen(
            [str(word) for word in words], stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL)
        self.port = int(re.search(r"(\d+)/?$",
                                  self.process.stdout.readline().strip())[1])

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Reads:
    """Volumes on a server, and who reads them over a link."""

    def __init__(self, work):
        self.work, self.count = work, 0
        self.server = Process(common.RAMET, "serve", "--data",
                              os.path.join(work, "store"), "--listen",
                              "127.0.0.1:0", "--access-log", "off")
        self.link = (Process(PROXY, 0, self.server.port, *LINK)
                     if os.path.exists(PROXY) else self.server)

    def end(self):
        if self.link is not self.server:
            self.link.end()
        self.server.end()

    def url(self, name, port):
        return "http://127.0.0.1:%d/%s" % (port, name)

    def make(self, name, commits, rows, kind, *params):
        db = os.path.join(self.work, name + ".db")
        common.timed(common.PYTHON, WORKLOAD, "generate", db, "--rows", ROWS,
                     "--synchronous", "OFF", "--journal", "off")
        common.timed(common.RAMET, "init", db, "--remote",
                     self.url(name, self.server.port))
        for seed in range(commits):
            words = [kind, db, "--count", rows, "--seed", seed,
                     "--extension", common.EXTENSION, "--push"]
            for param in ("sync=manual", *params):
                words += ["--param", param]
            common.timed(common.PYTHON, WORKLOAD, *words)
        os.remove(db)
        shutil.rmtree(db + "-ramet", ignore_errors=True)

    def metric(self, name):
        url = "http://127.0.0.1:%d/metrics" % self.server.port
        text = urllib.request.urlopen(url).read().decode()
        return sum(int(value) for value in
                   re.findall(r"^%s(?:\{[^}]*\})? (\d+)" % name, text,
                              re.MULTILINE))

    def read(self, name, how):
        """(requests, bytes, seconds, of CPU, of the server's) of a process that has
        nothing."""
        self.count += 1
        db = os.path.join(self.work, "reader-%d.db" % self.count)
        url = self.url(name, self.link.port)
        before = [self.metric(m) for m in ("ramet_requests_total",
                                           "ramet_sent_bytes_total")]
        cpu = self.server.cpu_seconds()
        if how == "hydrate":
            done = common.timed(common.RAMET, "clone", url, db, "--hydrate")
            seconds = done.seconds
        else:
            uri = "file:%s?vfs=ramet&sync=manual&remote=%s" % (db, url)
            done = common.timed(
                common.PYTHON, "-c", ASK, json.dumps(
                    [common.EXTENSION, uri, SCAN if how == "scan" else POINTS]))
            seconds = float(done.output)
        cpu = self.server.cpu_seconds() - cpu
        after = [self.metric(m) for m in ("ramet_requests_total",
                                          "ramet_sent_bytes_total")]
        shutil.rmtree(db + "-ramet", ignore_errors=True)
        for path in (db, db + "-wal", db + "-shm"):
            if os.path.exists(path):
                os.remove(path)
        return (after[0] - before[0], after[1] - before[1], seconds,
                done.cpu_seconds, cpu)


def print_ratios(runs):
    """Of seconds and of the server's CPU: round by round, since what else a machine does
    is alike for two that follow each other."""
    for index, what in ((2, "seconds"), (4, "server's CPU")):
        ratios = sorted(deltas[index] / max(pages[index], 0.001)
                        for deltas, pages in zip(runs["deltas"], runs["pages"]))
        print("    %s: %.2f times those of whole pages (%.2f to %.2f)" % (
            what, statistics.median(ratios), ratios[0], ratios[-1]), flush=True)


def bench(work, rounds):
    print("%-34s %10s %11s %6s %9s %9s %11s" %
          ("a reader that has nothing", "requests", "bytes", "times",
           "seconds", "CPU, s", "server's, s"))
    reads = Reads(work)
    try:
        for commits, rows, kind in LINES:
            line = "%d-%s" % (commits, kind)
            names = {"deltas": (), "pages": ("bases_limit=0",)}
            for name, params in names.items():
                reads.make("%s-%s" % (name, line), commits, rows, kind,
                           *params)
            for how in ("scan", "hydrate", "points"):
                runs = {name: [] for name in names}
                for _ in range(rounds):
                    for name in names:
                        runs[name].append(
                            reads.read("%s-%s" % (name, line), how))
                middle = {name: [statistics.median(values)
                                 for values in zip(*runs[name])]
                          for name in names}
                for name in names:
                    requests, octets, seconds, cpu, servers = middle[name]
                    print("%-34s %10d %11s %6.3f %9.2f %9.2f %11.3f" % (
                        "%s, %s: %s" % (line, name, how), requests,
                        "{:,}".format(int(octets)),
                        octets / middle["pages"][1], seconds, cpu, servers),
                        flush=True)
                print_ratios(runs)
    finally:
        reads.end()
