#!/usr/bin/python3
"""Cold reads over a link with delay: ./dev bench cold

Databases on a server, reached through a proxy that holds every byte for half a
round trip and lets so many through a second (20 ms, 100 Mbit/s): users, of 100 MB;
the same rows inserted in no order, so that neighbours in a tree are none in the file;
shapes, of 180 MB: a table without rowids, long documents whose overflow pages lie in
order and not, full text; and trees of 4 GB and of 1 TB, five levels deep, of which only
what is asked for exists.
Each question is asked by a process of its own with an empty directory: seconds,
exchanges that had to wait for one another (at most: what bytes at the link's rate do
not explain), requests, bytes, what part of the link they are, and pages: those that
were read, and all that came, with what was still on its way then. Beside it each mark,
and whether it is kept. In the same run and over the same link: the whole file as zstd
by curl, a VFS that reads each page by a range of HTTP, and Litestream's restore from a
bucket. Nothing here asserts. On a
busy machine `--rtt 100 --mbit 20` holds as much under way, and processors count for a
fifth.
"""
import argparse
import http.server
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import urllib.parse

import common
import plot
import hollow
from parts import front
from peers import ranges, restore

WORKLOAD = os.path.join(common.HERE, "workload.py")
PROXY = os.path.join(common.BUILD, "tests", "delayproxy")
SPARSE = os.path.join(common.BUILD, "tests", "sparsevolume")
HOLLOW = {"hollow": hollow.SMALL, "vast": hollow.LARGE}

OSLO = ("FROM users WHERE city = 'Oslo' ORDER BY created LIMIT %d)")


# Each row leads to others, twice, and on to the pages of a long value.
JOIN = ("SELECT sum(length(docs.body) + length(torn.body)) FROM (SELECT kind "
        "FROM kv WHERE k > 'a' LIMIT 60) AS some JOIN docs ON docs.id = "
        "some.kind * 7 + 1 JOIN torn ON torn.id = some.kind * 9 + 1")


class Case:
    """A question to a database; `before`: what was asked before. Marks: exchanges
    at most, the link's rate at least in per cent, pages that may come for each that
    is read and pages more, KiB at most. From 50 MB on a scan's mark is the rate."""

    def __init__(self, name, question, before=("schema",), base="users",
                 trips=None, rate=None, brought=None, spare=0, kib=None,
                 peer=False, profile=None):
        self.name, self.question, self.before = name, question, before
        self.base, self.trips, self.rate = base, trips, rate
        self.brought, self.spare, self.kib = brought, spare, kib
        self.peer = peer
        self.profile = profile  # a process with that name asked it before

    def judge(self, row):
        """Each mark with what was measured, and "over" where it is not kept."""
        said = []

        def mark(text, value, is_kept):
            said.append("%s %s" % (text % value, "ok" if is_kept else "OVER"))

        if self.trips is not None:
            mark("trips <= %d", self.trips, row["trips"] < self.trips + 1)
        if self.rate is not None:
            mark("rate >= %d %%", self.rate, 100 * row["fill"] >= self.rate)
        if self.brought is not None:
            most = self.brought * row["needed"] + self.spare
            mark("pages <= %d", most, row["pages"] <= most)
        if self.kib is not None:
            mark("KiB <= %d", self.kib, row["moved"] / 1024 <= self.kib)
        return "; ".join(said)


def hollow_cases(size, base):
    middle = HOLLOW[base].middle
    return (
        Case(size + ": open, and the schema",
             "SELECT count(*) FROM sqlite_schema", (), base=base, trips=1,
             kib=60),
        Case(size + ": point by rowid, the first",
             "SELECT v FROM t WHERE id = %d" % middle, base=base, trips=4,
             kib=16),
        Case(size + ": 1,000 rows by rowid",
             "SELECT sum(length(v)) FROM t WHERE id BETWEEN %d AND %d" %
             (middle, middle + 999), base=base, trips=4 + 5, brought=2,
             spare=6))


CASES = (
    Case("open, and the schema", "SELECT count(*) FROM sqlite_schema", (),
         trips=1, kib=60),
    Case("point by rowid, the first",
         "SELECT * FROM users WHERE id = 250000", trips=2, kib=16, peer=True),
    Case("point by rowid, interior pages here",
         "SELECT * FROM users WHERE id = 250999", ("schema", "point"),
         trips=1, kib=16, peer=True),
    Case("point by an index",
         "SELECT id FROM users INDEXED BY users_email WHERE email >= 'm' "
         "LIMIT 1", ("schema", "point", "email"), trips=2, kib=16, peer=True),
    Case("1,000 rows by a covering index",
         "SELECT count(*) FROM (SELECT created " + OSLO % 1000,
         trips=3 + 5, brought=1.5, spare=6, peer=True),
    Case("1,000 rows by an index, looked up",
         "SELECT sum(balance) FROM (SELECT balance " + OSLO % 1000,
         trips=6 + 9, brought=1.4, peer=True),
    Case("20 rows by an index, looked up",
         "SELECT sum(balance) FROM (SELECT balance " + OSLO % 20,
         trips=6 + 9, brought=2, spare=60),
    Case("count(*) by an index", "SELECT count(*) FROM users",
         trips=12, brought=1.05, peer=True),
    Case("scan of the table", "SELECT sum(length(bio)) FROM users",
         trips=12, brought=1.05, peer=True),
    Case("hydrate", "SELECT ramet_hydrate()", rate=90),
    Case("no order: 1,000 rows by a covering index",
         "SELECT count(*) FROM (SELECT created " + OSLO % 1000,
         base="torn", trips=3 + 5, brought=1.5, spare=6),
    Case("no order: 1,000 rows by an index, looked up",
         "SELECT sum(balance) FROM (SELECT balance " + OSLO % 1000,
         base="torn", trips=6 + 9, brought=1.4),
    Case("no order: count(*) by an index", "SELECT count(*) FROM users",
         base="torn", trips=12, brought=1.05),
    Case("no order: scan of the table", "SELECT sum(length(bio)) FROM users",
         base="torn", trips=12, brought=1.05),
    Case("1,000 random points, interior pages here",
         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
         "WHERE i < 1000) SELECT sum((SELECT length(bio) FROM users WHERE id "
         "= i * 7919 %% 500000 + 1)) FROM n".replace("%%", "%"),
         ("schema", "interiors"), trips=1000, brought=1.02),
    Case("WITHOUT ROWID: scan", "SELECT sum(length(v)) FROM kv",
         base="shapes", trips=12, brought=1.05),
    Case("WITHOUT ROWID: 1,000 by key",
         "SELECT sum(length(v)) FROM (SELECT v FROM kv WHERE k > 'a' "
         "LIMIT 1000)", base="shapes", trips=4 + 9, brought=1.4, spare=6),
    Case("WITHOUT ROWID: 1,000 by another index",
         "SELECT sum(length(v)) FROM kv WHERE kind = 7", base="shapes",
         trips=4 + 16, brought=1.3),
    Case("overflow chains in order", "SELECT sum(length(body)) FROM docs",
         base="shapes", rate=80, brought=1.1),
    Case("overflow chains in no order", "SELECT sum(length(body)) FROM torn",
         base="shapes", rate=65, brought=1.1),
    *hollow_cases("4 GB", "hollow"),
    *hollow_cases("1 TB", "vast"),
    Case("full text, rank LIMIT 10",
         "SELECT rowid FROM words WHERE words MATCH 'w17 w23' ORDER BY rank "
         "LIMIT 10", base="shapes", trips=35, brought=3),
    Case("full text, after ramet_prefetch",
         "SELECT rowid FROM words WHERE words MATCH 'w17 w23' ORDER BY rank "
         "LIMIT 10", ("ask words",), base="shapes", trips=2, brought=3),
    Case("1,000 rows looked up, after ramet_prefetch",
         "SELECT sum(balance) FROM (SELECT balance " + OSLO % 1000,
         ("ask Oslo",), trips=2, brought=1.1),
    Case("join of three tables, after ramet_prefetch", JOIN, ("ask join",),
         base="shapes", trips=2, brought=1.1),
    Case("five questions, with a warm profile",
         ["SELECT * FROM users WHERE id = 250000",
          "SELECT id FROM users INDEXED BY users_email WHERE email >= 'm' "
          "LIMIT 1",
          "SELECT sum(balance) FROM (SELECT balance " + OSLO % 50,
          "SELECT max(created) FROM users WHERE city = 'Oslo'",
          "SELECT count(*) FROM users WHERE id BETWEEN 1000 AND 3000"], (),
         trips=2, brought=1.2, profile="bench"),
)
BEFORE = {
    "ask join": "SELECT ramet_prefetch('%s')" % JOIN.replace("'", "''"),
    "ask words": "SELECT ramet_prefetch('SELECT rowid FROM words WHERE words "
                 "MATCH ''w17 w23'' ORDER BY rank LIMIT 10')",
    "ask Oslo": "SELECT ramet_prefetch('SELECT sum(balance) FROM (SELECT "
                "balance " + (OSLO % 1000).replace("'", "''") + "')",
    "schema": "SELECT count(*) FROM sqlite_schema",
    "point": "SELECT * FROM users WHERE id = 250000",
    "email": "SELECT id FROM users INDEXED BY users_email WHERE email >= 'k' "
             "LIMIT 1",
    "interiors": "SELECT sum((SELECT id FROM users WHERE id >= value * 5000 "
                 "LIMIT 1)) FROM json_each('[" +
                 ",".join(str(i) for i in range(100)) + "]')",
}

SHAPES = """
CREATE TABLE kv(k TEXT PRIMARY KEY, kind, v) WITHOUT ROWID;
CREATE INDEX kv_kind ON kv(kind);
CREATE TABLE docs(id INTEGER PRIMARY KEY, body);
CREATE TABLE torn(id INTEGER PRIMARY KEY, body);
CREATE VIRTUAL TABLE words USING fts5(body);
"""

ASK = """
import json, sqlite3, sys, time
extension, uri, before, question = json.loads(sys.argv[1])
loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension(extension)
def counts():
    return db.execute("SELECT requests, fetched_bytes, fetched_pages, "
                      "prefetched_pages - prefetch_used FROM ramet_status"
                      ).fetchone()
began = time.perf_counter()
db = sqlite3.connect(uri, uri=True)
at = (0, 0, 0, 0)
for sql in before:
    db.execute(sql).fetchall()
if before and not before[0].startswith("SELECT ramet_prefetch"):
    at = counts()
    began = time.perf_counter()
for sql in [question] if isinstance(question, str) else question:
    db.execute(sql).fetchall()
seconds = time.perf_counter() - began
now = after = counts()
still = 0
while still < 10: # what was still on its way
    time.sleep(0.05)
    before, after = after, counts()
    still = still + 1 if after == before else 0
db.close()
print(json.dumps([seconds] + [b - a for a, b in zip(at, now)][:2] +
                 [after[2] - at[2], after[3] - at[3]]))
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


def make_shapes(path):
    """Deterministic: the same pages each time."""
    draw = random.Random(7)
    db = sqlite3.connect(path)
    db.executescript("PRAGMA journal_mode = off; PRAGMA synchronous = off;" +
                     SHAPES)
    db.executemany("INSERT OR IGNORE INTO kv VALUES (?, ?, ?)",
                   (("%016x" % draw.getrandbits(64), draw.randrange(200),
                     draw.randbytes(120).hex()) for _ in range(200000)))
    db.executemany("INSERT INTO docs(body) VALUES (?)",
                   ((draw.randbytes(10000).hex(),) for _ in range(2000)))
    # Pages that were freed in no order are used again from the list's end.
    db.execute("CREATE TABLE gone(id INTEGER PRIMARY KEY, body)")
    db.executemany("INSERT INTO gone(body) VALUES (zeroblob(3000))",
                   (() for _ in range(11000)))
    ids = list(range(1, 11001))
    draw.shuffle(ids)
    db.executemany("DELETE FROM gone WHERE id = ?", ((i,) for i in ids))
    db.executemany("INSERT INTO torn(body) VALUES (?)",
                   ((draw.randbytes(10000).hex(),) for _ in range(2000)))
    db.executemany("INSERT INTO words(body) VALUES (?)",
                   ((" ".join("w%d" % int(draw.paretovariate(.7) % 5000)
                              for _ in range(60)),) for _ in range(20000)))
    db.commit()
    db.close()


def make_torn(path, base):
    """The rows of `base`, inserted in no order."""
    db = sqlite3.connect(path)
    db.executescript("PRAGMA journal_mode = off; PRAGMA synchronous = off; "
                     "PRAGMA cache_size = -400000;")
    db.execute("ATTACH ? AS base", (base,))
    for kind in "table", "index":
        for sql, in db.execute("SELECT sql FROM base.sqlite_schema WHERE type "
                               "= ? AND sql NOT NULL", (kind,)).fetchall():
            db.execute(sql)
    db.execute("INSERT INTO users SELECT * FROM base.users ORDER BY "
               "id * 40503 % 500009")
    db.commit()
    db.close()


def made(name, make):
    """The database of that name in the cache."""
    path = os.path.join(common.CACHE, "cold-%s.db" % name)
    if not os.path.exists(path):
        print("making the %s ..." % name, flush=True)
        if os.path.exists(path + ".partial"):
            os.remove(path + ".partial")
        make(path + ".partial")
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
        self.environment = dict(os.environ)
        self.gateway = restore.Gateway(work) if options.bucket else None
        self.front = None
        base = database(options.rows)
        store = os.path.join(work, "store")
        url = "file://" + store
        if self.gateway:
            if self.gateway.environment is None:
                raise SystemExit("bench cold: no gateway can be had")
            self.environment.update(self.gateway.environment)
            url = "s3://%s/cold" % self.environment["RAMET_TEST_S3_BUCKET"]
        self.url = url
        makers = {"torn": lambda path: make_torn(path, base),
                  "shapes": make_shapes}
        for name in ("users", *makers):
            if self.is_asked(name):
                copy = os.path.join(work, name + ".db")
                shutil.copyfile(
                    base if name == "users" else
                    made("%s-%d" % (name, options.rows), makers[name]), copy)
                common.timed(common.RAMET, "init", copy, "--remote",
                             "%s/%s" % (url, name), env=self.environment)
        for name, tree in HOLLOW.items():
            if self.is_asked(name):
                hollow.build(SPARSE, store, name, tree)
        self.server = Process(common.RAMET, "serve", "--data", store,
                              "--listen", "127.0.0.1:0", "--access-log",
                              "off", "--prefetch-queries")
        port = self.server.said.strip().rsplit(":", 1)[-1].strip("/")
        if self.gateway:
            port = self.gateway.port()
            if options.front:
                self.front = front.Front(work, port, work)
                port = self.front.port
        self.link = self.proxy(port)
        self.environment["AWS_ENDPOINT_URL_S3"] = \
            "http://127.0.0.1:%d" % self.link.port
        self.files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
        self.files.folder = work
        threading.Thread(target=self.files.serve_forever, daemon=True).start()
        self.files_link = self.proxy(self.files.server_address[1])
        subprocess.run(["zstd", "-q", "-3", "-T2", base, "-o",
                        os.path.join(work, "users.zst")], check=True)

    def cases(self):
        """Those that were asked for; a bucket makes no trees and runs nothing."""
        return [case for case in CASES
                if (self.options.only is None or
                    any(part in case.name
                        for part in self.options.only.split("|"))) and
                not (self.options.bucket and
                     (case.base in HOLLOW or
                      any(name.startswith("ask") for name in case.before)))]

    def is_asked(self, base):
        return any(case.base == base for case in self.cases())

    def proxy(self, port, *stats):
        process = Process(PROXY, 0, port, self.options.rtt / 2,
                          self.options.mbit, *stats)
        process.port = int(process.said.split()[-1])
        return process

    def end(self):
        for process in (self.link, self.files_link, self.server):
            process.end()
        if self.front:
            self.front.end()
        if self.gateway:
            self.gateway.end()
        self.files.shutdown()

    def note(self, name, seconds, requests, moved, pages=0, unread=0,
             case=None):
        """A line of the table; what it took in exchanges, and of the link."""
        busy = moved * 8 / 1e6 / self.options.mbit if self.options.mbit else 0
        is_first = case is not None and (
            not case.before or case.before[0].startswith("ask"))  # it connects
        row = {"name": name, "seconds": seconds, "moved": moved,
               "trips": (seconds - busy) * 1000 / self.options.rtt -
                        is_first if self.options.rtt else 0,
               "fill": busy / seconds, "pages": pages,
               "needed": pages - unread}
        self.rows.append(row)
        print("%-44s %7.3f s %6.1f trips %5d req %8.1f KiB %4.0f %%  %6s %6s  "
              "%s" % (name, seconds, row["trips"], requests, moved / 1024,
                      100 * row["fill"], row["needed"] or "", pages or "",
                      case.judge(row) if case else ""), flush=True)

    def ask(self, case):
        if case.profile:
            self.ask_once(case)
        return self.ask_once(case)

    def ask_once(self, case):
        self.count += 1
        folder = os.path.join(self.work, "ask%d" % self.count)
        os.mkdir(folder)
        remote = "%s/%s" % (self.url if self.gateway else
                            "http://127.0.0.1:%d" % self.link.port, case.base)
        uri = "file:%s/app.db?vfs=ramet&sync=manual&remote=%s%s" % (
            folder, urllib.parse.quote(remote, safe=""), self.options.uri)
        if case.profile:
            uri += "&profile=" + case.profile
        done = subprocess.run(
            [common.PYTHON, "-c", ASK, json.dumps(
                [common.EXTENSION, uri, [BEFORE[b] for b in case.before],
                 case.question])], stdout=subprocess.PIPE, check=False,
            text=True, env=self.environment, timeout=self.options.timeout)
        shutil.rmtree(folder, ignore_errors=True)
        if done.returncode != 0:
            raise SystemExit("bench cold: %s failed" % case.question)
        return json.loads(done.stdout)

    def run(self):
        print(common.load_average())
        print("%-44s %9s %12s %9s %12s %6s  %6s %6s  %s" %
              ("", "seconds", "waited for", "requests", "bytes", "rate",
               "needed", "came", "marks"))
        for case in self.cases():
            try:
                answer = self.ask(case)
            except subprocess.TimeoutExpired:
                print("%-44s more than %d s" % (case.name,
                                                self.options.timeout))
                continue
            self.note(case.name, *answer, case=case)
        if not self.options.only and not self.gateway:
            self.whole_file()
            self.restore()
            self.ranges()

    def whole_file(self):
        out = os.path.join(self.work, "whole.db")
        began = time.perf_counter()
        subprocess.run("curl -sf http://127.0.0.1:%d/users.zst | "
                       "zstd -dq -o %s" % (self.files_link.port, out),
                       shell=True, check=True)
        self.note("whole file, zstd by curl", time.perf_counter() - began, 1,
                  os.path.getsize(os.path.join(self.work, "users.zst")))

    def restore(self):
        """Litestream's, of the users, from a bucket."""
        name = "Litestream's restore"
        copy = os.path.join(self.work, "litestream.db")
        stats = os.path.join(self.work, "restore.stats")
        gateway = restore.Gateway()
        try:
            if gateway.environment is None:
                print(name + ": no gateway can be had")
                return
            shutil.copyfile(database(self.options.rows), copy)
            if not restore.replicate(self.work, copy, gateway):
                print(name + ": it can't be had")
                return
            link = self.proxy(gateway.port(), stats)
            seconds = restore.restore(self.work, copy, gateway, link.port,
                                      self.options.timeout)
            link.end()
            with open(stats, encoding="ascii") as file:
                moved = json.load(file)["down"]
            self.note(name, seconds, 0, moved)
        finally:
            gateway.end()

    def ranges(self):
        python = ranges.find(common.CACHE)
        if python is None:
            print("ranges: apsw can't be had")
            return
        for case in CASES:
            if not case.peer:
                continue
            name = "ranges: " + case.name
            try:
                done = subprocess.run(
                    [python, ranges.__file__, json.dumps(
                        ["127.0.0.1", self.files_link.port, "/users.db",
                         case.question])], stdout=subprocess.PIPE, check=True,
                    text=True, timeout=self.options.timeout)
            except subprocess.TimeoutExpired:
                print("%-42s more than %d s" % (name, self.options.timeout))
                self.rows.append({"name": name,
                                  "seconds": self.options.timeout})
                continue
            self.note(name, *json.loads(done.stdout))

    def plot(self, path):
        took = {row["name"]: row["seconds"] for row in self.rows}
        whole = took.get("whole file, zstd by curl")
        plot.bars(path, "Seconds until the answer, cold: %g ms, %g Mbit/s "
                  "(ranges: at most %d s)" %
                  (self.options.rtt, self.options.mbit, self.options.timeout),
                  ("Ramet", "whole file, zstd by curl", "Litestream's restore",
                   "a range a page"),
                  [(case.name, (took.get(case.name), whole,
                                took.get("Litestream's restore"),
                                took.get("ranges: " + case.name)))
                   for case in CASES if case.peer or case.name == "hydrate"],
                  "s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=500000)
    parser.add_argument("--rtt", type=float, default=20, help="ms")
    parser.add_argument("--mbit", type=float, default=100)
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--uri", default="", help="more parameters: &a=b")
    parser.add_argument("--bucket", action="store_true",
                        help="straight from one, versitygw's, not from a server")
    parser.add_argument("--front", action="store_true",
                        help="with nginx before it, which is no limit")
    parser.add_argument("--plot", help="an SVG to be written")
    parser.add_argument("--only", help="questions whose name has this, A|B")
    options = parser.parse_args()
    if options.front and not options.bucket:
        parser.error("--front stands before a bucket: it goes with --bucket")
    with tempfile.TemporaryDirectory(prefix="ramet-cold-") as work:
        bench = Bench(work, options)
        try:
            bench.run()
            if options.plot and not options.only:
                bench.plot(options.plot)
        finally:
            bench.end()


if __name__ == "__main__":
    main()
