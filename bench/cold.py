#!/usr/bin/python3
"""Cold reads over a link with delay: ./dev bench cold

A database of 100 MB on a server, reached through a proxy that holds every byte
for half a round trip and lets so many through a second (20 ms, 100 Mbit/s).
Each question is asked by a process of its own with an empty directory: seconds,
requests, bytes. Beside it, in the same run and over the same link: the whole file
as zstd by curl, and, where apsw is installed, a VFS that reads each page by a
range of HTTP. Nothing here asserts.
"""
import argparse
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import common

WORKLOAD = os.path.join(common.HERE, "workload.py")
PROXY = os.path.join(common.BUILD, "tests", "delayproxy")

# name, questions that are asked before, the one that is measured
CASES = (
    ("open, and the schema", (), "SELECT count(*) FROM sqlite_schema"),
    ("point by rowid, the first", ("schema",),
     "SELECT * FROM users WHERE id = 250000"),
    ("point by rowid, interior pages here", ("schema", "point"),
     "SELECT * FROM users WHERE id = 250999"),
    ("point by an index", ("schema", "point", "email"),
     "SELECT id FROM users INDEXED BY users_email WHERE email >= 'm' LIMIT 1"),
    ("1,000 rows by a covering index", ("schema",),
     "SELECT count(*) FROM (SELECT created FROM users WHERE city = 'Oslo' "
     "ORDER BY created LIMIT 1000)"),
    ("1,000 rows by an index, looked up", ("schema",),
     "SELECT sum(balance) FROM (SELECT balance FROM users WHERE city = 'Oslo' "
     "ORDER BY created LIMIT 1000)"),
    ("count(*) by an index", ("schema",), "SELECT count(*) FROM users"),
    ("scan of the table", ("schema",), "SELECT sum(length(bio)) FROM users"),
    ("hydrate", ("schema",), "SELECT ramet_hydrate()"),
)
BEFORE = {
    "schema": "SELECT count(*) FROM sqlite_schema",
    "point": "SELECT * FROM users WHERE id = 250000",
    "email": "SELECT id FROM users INDEXED BY users_email WHERE email >= 'k' "
             "LIMIT 1",
}

ASK = """
import json, sqlite3, sys, time
extension, uri, before, question = json.loads(sys.argv[1])
loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)
def counts():
    return db.execute("SELECT requests, fetched_bytes FROM ramet_status"
                      ).fetchone()
began = time.perf_counter()
db = sqlite3.connect(uri, uri=True)
at = (0, 0)
for sql in before:
    db.execute(sql).fetchall()
if before:
    at = counts()
    began = time.perf_counter()
db.execute(question).fetchall()
seconds = time.perf_counter() - began
now = counts()
print(json.dumps([seconds, now[0] - at[0], now[1] - at[1]]))
"""

RANGES = """
import json, sys, time, http.client
import apsw
host, port, path, question = json.loads(sys.argv[1])
requests = moved = 0
connection = http.client.HTTPConnection(host, port)
def get(first, last):
    global requests, moved
    connection.request("GET", path, headers={"Range": "bytes=%d-%d" %
                                             (first, last)})
    answer = connection.getresponse()
    data = answer.read()
    requests += 1
    moved += len(data)
    return data, answer
size = int(get(0, 0)[1].getheader("Content-Range").rsplit("/")[-1])
class File:
    def xRead(self, amount, offset):
        return get(offset, min(offset + amount, size) - 1)[0]
    def xFileSize(self): return size
    def xClose(self): pass
    def xLock(self, level): pass
    def xUnlock(self, level): pass
    def xCheckReservedLock(self): return False
    def xFileControl(self, op, ptr): return False
    def xSectorSize(self): return 4096
    def xDeviceCharacteristics(self): return 0
class VFS(apsw.VFS):
    def __init__(self): apsw.VFS.__init__(self, "ranges", "")
    def xOpen(self, name, flags): return File()
    def xAccess(self, name, flags): return False
vfs = VFS()
began = time.perf_counter()
db = apsw.Connection("file:x?immutable=1", vfs="ranges",
                     flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
for row in db.cursor().execute(question): pass
print(json.dumps([time.perf_counter() - began, requests, moved]))
"""


def database(rows):
    path = os.path.join(common.CACHE, "cold-%d.db" % rows)
    if not os.path.exists(path):
        os.makedirs(common.CACHE, exist_ok=True)
        print("making the database ...", flush=True)
        if os.path.exists(path + ".partial"):
            os.remove(path + ".partial")
        common.timed(common.PYTHON, WORKLOAD, "generate", path + ".partial",
                     "--rows", rows, "--synchronous", "OFF", "--journal",
                     "off")
        os.rename(path + ".partial", path)
    return path


class Process:
    """One that says where it listens, and is ended at the end."""

    def __init__(self, *words, **options):
        self.process = subprocess.Popen([str(word) for word in words],
                                        stdout=subprocess.PIPE, text=True,
                                        **options)
        self.said = self.process.stdout.readline()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Files, whole and in ranges, on connections that are kept."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = os.path.join(self.server.folder, self.path.lstrip("/"))
        size = os.path.getsize(path)
        first, last, status = 0, size - 1, 200
        if "Range" in self.headers:
            first, last = map(int, self.headers["Range"][6:].split("-"))
            status = 206
        self.send_response(status)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", "bytes %d-%d/%d" %
                         (first, last, size))
        self.end_headers()
        with open(path, "rb") as file:
            file.seek(first)
            left = last - first + 1
            while left > 0:
                data = file.read(min(left, 1 << 20))
                self.wfile.write(data)
                left -= len(data)

    def log_message(self, *words):
        pass


class Bench:
    def __init__(self, work, options):
        self.work, self.options = work, options
        self.count = 0
        self.rows = []
        base = database(options.rows)
        store = os.path.join(work, "store")
        shutil.copyfile(base, os.path.join(work, "app.db"))
        common.timed(common.RAMET, "init", os.path.join(work, "app.db"),
                     "--remote", "file://%s/app" % store)
        self.server = Process(common.RAMET, "serve", "--data", store,
                              "--listen", "127.0.0.1:0", "--access-log",
                              "off")
        port = self.server.said.strip().rsplit(":", 1)[-1].strip("/")
        self.link = self.proxy(port)
        self.files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
        self.files.folder = work
        threading.Thread(target=self.files.serve_forever, daemon=True).start()
        self.files_link = self.proxy(self.files.server_address[1])
        subprocess.run(["zstd", "-q", "-3", "-T2", base, "-o",
                        os.path.join(work, "app.zst")], check=True)

    def proxy(self, port):
        process = Process(PROXY, 0, port, self.options.rtt / 2,
                          self.options.mbit)
        process.port = int(process.said.split()[-1])
        return process

    def end(self):
        for process in (self.link, self.files_link, self.server):
            process.end()
        self.files.shutdown()

    def note(self, name, seconds, requests, moved):
        """A line of the table; what it takes in round trips and at the link's
        rate."""
        trips = seconds * 1000 / self.options.rtt if self.options.rtt else 0
        rate = moved * 8 / 1e6 / seconds if seconds else 0
        self.rows.append({"name": name, "seconds": seconds,
                          "requests": requests, "bytes": moved})
        print("%-44s %8.3f s %7.1f RTT %6d req %9.1f KiB %6.1f Mbit/s" %
              (name, seconds, trips, requests, moved / 1024, rate),
              flush=True)

    def ask(self, question, before):
        self.count += 1
        folder = os.path.join(self.work, "ask%d" % self.count)
        os.mkdir(folder)
        remote = "http://127.0.0.1:%d/app" % self.link.port
        uri = "file:%s/app.db?vfs=ramet&sync=manual&remote=%s%s" % (
            folder, urllib.parse.quote(remote, safe=""), self.options.uri)
        done = subprocess.run(
            [common.PYTHON, "-c", ASK, json.dumps(
                [common.EXTENSION, uri, [BEFORE[b] for b in before],
                 question])], stdout=subprocess.PIPE, check=False, text=True,
            timeout=self.options.timeout)
        shutil.rmtree(folder, ignore_errors=True)
        if done.returncode != 0:
            raise SystemExit("bench cold: %s failed" % question)
        return json.loads(done.stdout)

    def run(self):
        for name, before, question in CASES:
            if self.options.only and self.options.only not in name:
                continue
            try:
                self.note(name, *self.ask(question, before))
            except subprocess.TimeoutExpired:
                print("%-44s more than %d s" % (name, self.options.timeout))
        if self.options.only:
            return
        self.whole_file()
        self.ranges()

    def whole_file(self):
        out = os.path.join(self.work, "whole.db")
        began = time.perf_counter()
        subprocess.run("curl -sf http://127.0.0.1:%d/app.zst | zstd -dq -o %s"
                       % (self.files_link.port, out), shell=True, check=True)
        self.note("peer: the whole file, zstd by curl",
                  time.perf_counter() - began, 1,
                  os.path.getsize(os.path.join(self.work, "app.zst")))

    def ranges(self):
        for name, _, question in CASES[1:7]:
            words = [sys.executable, "-c", RANGES, json.dumps(
                ["127.0.0.1", self.files_link.port, "/app.db", question])]
            try:
                done = subprocess.run(words, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, check=True,
                                      text=True, timeout=self.options.timeout)
            except subprocess.TimeoutExpired:
                print("%-44s more than %d s" % ("peer: ranges: " + name,
                                                self.options.timeout))
                continue
            except subprocess.CalledProcessError:
                print("peer: ranges: needs apsw")
                return
            self.note("peer: ranges: " + name, *json.loads(done.stdout))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=500000)
    parser.add_argument("--rtt", type=float, default=20, help="ms")
    parser.add_argument("--mbit", type=float, default=100)
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--uri", default="", help="more parameters: &a=b")
    parser.add_argument("--only", help="questions whose name has this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ramet-cold-") as work:
        bench = Bench(work, options)
        try:
            bench.run()
        finally:
            bench.end()


if __name__ == "__main__":
    main()
