#!/usr/bin/python3
"""Ramet's main job on real data, as a story in separate processes.

    demo.py [--build DIR] [--remote URL | --store s3] [--keep DIR]

A database of Debian's packages is bound to a remote. An application commits
to it; a second machine, with an empty directory and nothing but the URL, runs
queries and fetches only what they read. Every answer is compared with plain
SQLite's, and at the end every copy with the plain file, byte for byte. Exits
with 1 at the first thing that is not equal.

Without --remote it starts `ramet serve` on a free port (or, with --remote
file, uses a directory directly). With --store s3 the volume lives in a bucket of
Ceph's gateway, which is brought up for that: machine A reaches it through one
server, machine B through another that knows nothing of the first, and in the end
the bucket is read without either.
"""
import argparse
import filecmp
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import demo_data  # noqa: E402

QUERIES = (
    ("point query: one package by its name",
     "SELECT name, version, section, installed_size FROM packages"
     " WHERE name = ?", ["sqlite3"]),
    ("join: what it depends on",
     "SELECT d.kind, d.target, d.relation, d.version FROM packages p"
     " JOIN dependencies d ON d.package_id = p.id WHERE p.name = ?"
     " ORDER BY d.id", ["sqlite3"]),
    ("range query: 1,000 rows in an index's order",
     "SELECT name, installed_size FROM packages WHERE section = 'libs'"
     " ORDER BY installed_size DESC, id LIMIT 1000", []),
    ("full-text query: 'replication database'",
     "SELECT name, summary FROM search WHERE search MATCH ?"
     " ORDER BY rank, name LIMIT 20", ["replication database"]),
    ("aggregate over the whole table of packages",
     "SELECT section, count(*), sum(installed_size) FROM packages"
     " GROUP BY section ORDER BY 2 DESC, 1", []),
    ("the point query again, now warm",
     "SELECT name, version, section, installed_size FROM packages"
     " WHERE name = ?", ["sqlite3"]),
)

FIRST_COMMITS = (
    [("UPDATE packages SET version = version || '+demo1' WHERE section = ?",
      ["database"])],
    [("INSERT INTO packages VALUES(1000001,'ramet-demo','1.0','all','database',"
      "'optional','A. Demo <demo@example.com>','ramet-demo',NULL,NULL,NULL,"
      "4096,12)", []),
     ("INSERT INTO descriptions VALUES(1000001,'page-level replication',"
      "'A package that exists only in this replicated database.')", []),
     ("INSERT INTO search(rowid,name,summary,body) VALUES(1000001,'ramet-demo',"
      "'page-level replication',"
      "'A package that exists only in this replicated database.')", []),
     ("INSERT INTO events(package_id, what) VALUES(1000001,'published')", [])],
    [("DELETE FROM files WHERE package_id IN (SELECT id FROM packages"
      " WHERE name = ?)", ["openssl"])],
)
SECOND_COMMITS = (
    [("UPDATE packages SET version = '2.0' WHERE name = 'ramet-demo'", []),
     ("INSERT INTO events(package_id, what) VALUES(1000001,'upgraded')", [])],
)
SEEN_QUERY = ("SELECT p.version, e.what FROM packages p JOIN events e"
              " ON e.package_id = p.id WHERE p.name = 'ramet-demo'"
              " ORDER BY e.id")


def fail(text):
    print("\ndemo: FAILED: " + text, file=sys.stderr, flush=True)
    sys.exit(1)


def say(text):
    print(text, flush=True)


class Worker:
    """A process with one connection, as a program on some machine."""

    def __init__(self, name, extension, uri, cwd):
        self.name = name
        self.process = subprocess.Popen(
            ["/usr/bin/python3", os.path.join(HERE, "sqlworker.py"), extension,
             uri], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)
        self.open_seconds = self.reply()["seconds"]

    def reply(self):
        line = self.process.stdout.readline()
        if not line:
            fail(self.name + ": the process died")
        reply = json.loads(line)
        if "error" in reply:
            fail(self.name + ": " + reply["error"])
        return reply

    def run(self, sql, params=()):
        self.process.stdin.write(
            json.dumps({"sql": sql, "params": list(params)}) + "\n")
        self.process.stdin.flush()
        return self.reply()

    def commit(self, statements):
        """One transaction; seconds."""
        seconds = self.run("BEGIN IMMEDIATE")["seconds"]
        for sql, params in statements:
            seconds += self.run(sql, params)["seconds"]
        return seconds + self.run("COMMIT")["seconds"]

    def traffic(self):
        """(pages, bytes, requests) that this process has fetched so far."""
        reply = self.run("SELECT * FROM ramet_status")
        status = dict(zip(reply["names"], reply["rows"][0]))
        return (status["fetched_pages"], status["fetched_bytes"],
                status["requests"])

    def close(self):
        self.process.stdin.close()
        if self.process.wait(60) != 0:
            fail(self.name + ": ended with status %d" %
                 self.process.returncode)


class Table:
    """What each step took, for the end."""

    def __init__(self, database_bytes):
        self.database_bytes = database_bytes
        self.rows = []

    def add(self, step, seconds, pages=None, octets=None, requests=None):
        self.rows.append((step, seconds, pages, octets, requests))

    def show(self):
        say("\n%-52s %9s %8s %10s %9s %9s" %
            ("step", "time", "pages", "bytes", "share", "requests"))
        say("-" * 102)
        for step, seconds, pages, octets, requests in self.rows:
            share = ("" if octets is None else
                     "%.3f %%" % (100 * octets / self.database_bytes))
            say("%-52s %9s %8s %10s %9s %9s" %
                (step, show_time(seconds), show(pages), show_bytes(octets),
                 share, show(requests)))
        say("\n'bytes' are what went over the wire or was stored, compressed; "
            "'share' is\ntheir part of the database's %s."
            % show_bytes(self.database_bytes))


def show(number):
    return "" if number is None else "{:,}".format(number)


def show_time(seconds):
    return "%.1f ms" % (seconds * 1e3) if seconds < 1 else "%.2f s" % seconds


def show_bytes(octets):
    if octets is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if octets < 1000:
            break
        octets /= 1000
    return ("%d %s" if unit == "B" else "%.1f %s") % (octets, unit)


class Demo:
    def __init__(self, options, work):
        self.build = os.path.abspath(options.build)
        self.ramet = os.path.join(self.build, "bin", "ramet")
        self.extension = os.path.join(self.build, "lib", "ramet.so")
        self.work = work
        self.store = os.path.join(work, "store")
        self.servers = []
        self.workers = []
        self.bucket = None
        if options.store == "s3":
            self.bucket = "s3://%s/demo-%d" % (
                os.environ["RAMET_TEST_S3_BUCKET"], os.getpid())
            self.store = None  # no directory to measure
            self.remote = self.start_server("--store", self.bucket)
            self.remote_of_b = self.start_server("--store", self.bucket)
        else:
            self.remote = self.open_remote(options.remote)
            self.remote_of_b = self.remote

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def open_remote(self, wanted):
        if wanted and wanted != "file":
            self.store = None  # not ours to measure
            return wanted
        has_server = subprocess.run([self.ramet, "help", "serve"],
                                    stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL).returncode == 0
        if wanted == "file" or not has_server:
            return "file://" + urllib.parse.quote(self.store) + "/packages"
        return self.start_server("--data", self.store)

    def start_server(self, *store):
        """The URL of the volume at a server of its own."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = open(self.path("server-%d.log" % len(self.servers)), "ab")
        server = subprocess.Popen(
            [self.ramet, "serve", "--listen", "127.0.0.1:%d" % port, *store],
            stdout=log, stderr=log)
        self.servers.append(server)
        for _ in range(200):
            try:
                urllib.request.urlopen(
                    "http://127.0.0.1:%d/healthz" % port, timeout=1).close()
                return "http://127.0.0.1:%d/packages" % port
            except OSError:
                if server.poll() is not None:
                    break
                time.sleep(0.05)
        return fail("the server did not start; see " + log.name)

    def stored(self):
        """Bytes that the remote's objects take, if they are ours to see."""
        if self.store is None:
            return 0
        return sum(os.path.getsize(os.path.join(folder, name))
                   for folder, _, names in os.walk(self.store)
                   for name in names)

    def command(self, *words):
        """Run the command with --json; its answer and the seconds."""
        began = time.perf_counter()
        done = subprocess.run([self.ramet, *words, "--json"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            fail("ramet %s: exit %d: %s" % (" ".join(words), done.returncode,
                                            done.stderr.strip()))
        return json.loads(done.stdout), time.perf_counter() - began

    def worker(self, name, folder, query):
        uri = "file:app.db?vfs=ramet&sync=manual" + query
        worker = Worker(name, self.extension, uri, self.path(folder))
        self.workers.append(worker)
        return worker

    def plain_worker(self):
        worker = Worker("plain SQLite", "-", "file:plain.db", self.work)
        self.workers.append(worker)
        return worker

    def stop(self):
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
        for server in self.servers:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def same_rows(name, ours, plain):
    if ours["rows"] != plain["rows"]:
        fail("%s: the replica answers\n%s\nand plain SQLite\n%s" %
             (name, ours["rows"][:3], plain["rows"][:3]))


def same_file(name, path, plain):
    if not filecmp.cmp(path, plain, shallow=False):
        fail("%s: %s differs from %s" % (name, path, plain))


def application_commits(demo, table, app, plain, transactions, label):
    """Commit on both, then push."""
    seconds = sum(app.commit(t) for t in transactions)
    for transaction in transactions:
        plain.commit(transaction)
    table.add("application: %s" % label, seconds)
    before = demo.stored()
    push = app.run("SELECT ramet_push()")
    table.add("application: push, LSN %s" % push["rows"][0][0],
              push["seconds"], None, demo.stored() - before or None)


def query_replica(table, replica, plain):
    for name, sql, params in QUERIES:
        before = replica.traffic()
        ours = replica.run(sql, params)
        after = replica.traffic()
        same_rows(name, ours, plain.run(sql, params))
        table.add("replica: " + name, ours["seconds"],
                  *(b - a for a, b in zip(before, after)))


def replica_opens(demo, table):
    os.mkdir(demo.path("machine-b"))
    replica = demo.worker("replica", "machine-b", "&remote=" +
                          urllib.parse.quote(demo.remote_of_b, safe=""))
    table.add("replica: open by URL in an empty directory",
              replica.open_seconds, *replica.traffic())
    return replica


def replica_follows(table, replica, plain):
    before = replica.traffic()
    pull = replica.run("SELECT ramet_pull()")
    middle = replica.traffic()
    table.add("replica: hears of the new commit", pull["seconds"],
              *(b - a for a, b in zip(before, middle)))
    ours = replica.run(SEEN_QUERY)
    same_rows("what was committed", ours, plain.run(SEEN_QUERY))
    if [row[1] for row in ours["rows"]] != ["published", "upgraded"]:
        fail("the replica does not see the second commit: %s" % ours["rows"])
    table.add("replica: reads what changed", ours["seconds"],
              *(b - a for a, b in zip(middle, replica.traffic())))


def compare_files(demo, table, original):
    """Every copy, and every way to a plain file, byte for byte."""
    plain = demo.path("plain.db")
    places = [("machine-a", demo.path("machine-a", "app.db")),
              ("machine-b", demo.path("machine-b", "app.db")),
              ("remote", demo.remote)]
    if demo.bucket:
        places.append(("bucket", demo.bucket + "/packages"))
    for name, source in places:
        out = demo.path("export-of-%s.db" % name)
        _, seconds = demo.command("export", source, out)
        same_file("export of " + name, out, plain)
        table.add("export of %s: equal, byte for byte" % name, seconds)
    past = demo.path("past.db")
    _, seconds = demo.command("restore", demo.remote + "@1", past)
    same_file("LSN 1", past, original)
    table.add("restore of LSN 1: equal to the original", seconds)


def hydrate(demo, table):
    result, seconds = demo.command("hydrate",
                                   demo.path("machine-b", "app.db"))
    table.add("replica: hydrate (all that is missing)", seconds,
              result["pages"], result["bytes"], result["requests"])
    # Whole, clean and closed, it is a database for any tool.
    same_file("the hydrated replica itself", demo.path("machine-b", "app.db"),
              demo.path("plain.db"))
    with sqlite3.connect(demo.path("machine-b", "app.db")) as db:
        verdict = db.execute("PRAGMA quick_check").fetchone()[0]
    if verdict != "ok":
        fail("plain SQLite on the hydrated replica: " + verdict)


def play(demo, original):
    size = os.path.getsize(original)
    table = Table(size)
    os.mkdir(demo.path("machine-a"))
    shutil.copyfile(original, demo.path("machine-a", "app.db"))
    shutil.copyfile(original, demo.path("plain.db"))
    say("demo: database of %s packages' data, %s; remote %s"
        % (show(count_packages(original)), show_bytes(size), demo.remote))
    if demo.bucket:
        say("demo: both servers are on %s, of %s" %
            (demo.bucket, os.environ["RAMET_TEST_S3_KIND"]))

    say("demo: machine A makes its database a replica, and pushes it ...")
    result, seconds = demo.command("init", demo.path("machine-a", "app.db"),
                                   "--remote", demo.remote)
    table.add("init: the database becomes a volume", seconds, result["pages"],
              demo.stored() or result["bytes"], result["requests"])

    say("demo: an application on A commits through SQLite and pushes ...")
    plain = demo.plain_worker()
    app = demo.worker("application", "machine-a", "")
    application_commits(demo, table, app, plain, FIRST_COMMITS,
                        "3 transactions committed")

    say("demo: machine B opens it by URL, and runs queries ...")
    replica = replica_opens(demo, table)
    query_replica(table, replica, plain)

    say("demo: A commits again, and B sees it ...")
    application_commits(demo, table, app, plain, SECOND_COMMITS,
                        "1 transaction committed")
    replica_follows(table, replica, plain)
    for worker in (app, replica, plain):
        worker.close()

    say("demo: B brings the rest; all copies are compared ...")
    hydrate(demo, table)
    compare_files(demo, table, original)
    table.show()
    say("\ndemo: every answer was plain SQLite's; every copy is the plain "
        "file, byte for byte.")


def count_packages(path):
    with sqlite3.connect("file:%s?mode=ro" % urllib.parse.quote(path),
                         uri=True) as db:
        return db.execute("SELECT count(*) FROM packages").fetchone()[0]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get(
        "RAMET_BUILD", os.path.join(HERE, "..", "build")))
    parser.add_argument("--remote", help="URL, or 'file' for a directory")
    parser.add_argument("--store", choices=["s3"],
                        help="a bucket, of a gateway that is brought up")
    parser.add_argument("--keep", help="work here, and leave the files")
    options = parser.parse_args()
    if options.store and options.remote:
        parser.error("--remote or --store, not both")
    if options.store and "RAMET_TEST_S3" not in os.environ:
        gateway = os.path.join(HERE, "s3-gateway.sh")
        say("demo: bringing up Ceph's gateway ...")
        os.execv(gateway, [gateway, "rgw", sys.executable, *sys.argv])
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    original = os.path.join(cache, "ramet-demo", "packages-2.db")

    demo_data.make(original)
    work = options.keep or tempfile.mkdtemp(prefix="ramet-demo-")
    os.makedirs(work, exist_ok=True)
    demo = None
    try:
        demo = Demo(options, os.path.abspath(work))
        play(demo, original)
    finally:
        if demo is not None:
            demo.stop()
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
