"""What the tests of the command share: a directory each, a remote of the kind
that RAMET_TEST_REMOTE names (file, http or s3), the command, and SQLite on Ramet.

RAMET_BUILD names the build directory.
"""
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
import unittest
import urllib.parse
import urllib.request

BUILD = os.path.abspath(os.environ.get("RAMET_BUILD", "build"))
RAMET = os.path.join(BUILD, "bin", "ramet")
EXTENSION = os.path.join(BUILD, "lib", "ramet.so")
KIND = os.environ.get("RAMET_TEST_REMOTE", "file")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import s3  # noqa: E402

if KIND == "s3":
    s3.need()

DONE, FAILED, USAGE, CONFLICT, NOT_FOUND, NOT_PERMITTED, UNREACHABLE, DAMAGED \
    = range(8)

SQL_CHILD = """
import sqlite3, sys
loader = sqlite3.connect(':memory:')
loader.enable_load_extension(True)
loader.load_extension(sys.argv[1])
db = sqlite3.connect(sys.argv[2], uri=True, isolation_level=None, timeout=20)
exec(sys.argv[3])
db.close()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`ramet serve` on a directory, or on the bucket that a URL names."""

    def __init__(self, data, *options, port=None, log=None, env=None):
        self.data, self.options, self.env = data, options, env
        self.log_path = log or data + ".server.log"
        self.port = port or free_port()
        self.process = None
        self.start()

    def start(self):
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [RAMET, "serve", "--listen", "127.0.0.1:%d" % self.port,
             "--store" if "://" in self.data else "--data", self.data,
             *self.options], stdout=self.log, stderr=self.log, env=self.env)
        for _ in range(400):
            try:
                urllib.request.urlopen(self.url() + "/healthz",
                                       timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.02)
        raise AssertionError("the server did not start: " +
                             open(self.log.name).read())

    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def metric(self, name):
        """A counter without labels."""
        with urllib.request.urlopen(self.url() + "/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return next(int(line.split()[1]) for line in lines
                    if line.startswith(name + " "))

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)
        self.log.close()


class CliTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="ramet-cli-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.store = self.path("store")
        self.server = None
        self.bucket = None
        if KIND == "s3":
            self.bucket = s3.Bucket(os.path.basename(self.dir))
            self.addCleanup(self.bucket.clear)
        if KIND == "http":
            self.server = Server(self.store)
            self.addCleanup(lambda: self.server.stop())

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def url(self, name="app"):
        return self.store_url() + "/" + name

    def store_url(self):
        if self.bucket:
            return self.bucket.url()
        return self.server.url() if self.server else "file://" + self.store

    # ---- the command

    def run_ramet(self, *words, **options):
        """The finished process, whatever its exit code."""
        options.setdefault("timeout", 120)
        options.setdefault("text", True)
        return subprocess.run([RAMET, *words], cwd=self.dir,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              **options)

    def ramet(self, *words, expect=DONE):
        """Standard output; the exit code must be `expect`. An error must be
        one line that begins with "ramet: "."""
        done = self.run_ramet(*words)
        self.assertEqual(done.returncode, expect,
                         "ramet %s: %s" % (" ".join(words), done.stderr))
        if expect not in (DONE,) and "--json" not in words:
            self.assertRegex(done.stderr, r"\Aramet: [^\n]+\n\Z")
        return done.stdout

    def refused(self, code, *words):
        """The one line of the error."""
        done = self.run_ramet(*words)
        self.assertEqual(done.returncode, code,
                         "ramet %s: %s%s" % (" ".join(words), done.stdout,
                                             done.stderr))
        self.assertRegex(done.stderr, r"\Aramet: [^\n]+\n\Z")
        return done.stderr

    def json(self, *words, expect=DONE):
        return json.loads(self.ramet(*words, "--json", expect=expect))

    def status(self, path):
        return self.json("status", path)

    # ---- files and databases

    def write(self, path, data):
        with open(path, "wb") as out:
            out.write(data)
        return path

    def read(self, path):
        with open(path, "rb") as data:
            return data.read()

    def make_database(self, path, rows=500, page_size=4096):
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA page_size=%d" % page_size)
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
        db.execute("CREATE INDEX t_v ON t(v)")
        db.execute("BEGIN")
        db.executemany("INSERT INTO t(v) VALUES(?)",
                       (("row %06d " % i + "x" * 100,) for i in range(rows)))
        db.execute("COMMIT")
        db.close()
        return path

    def make_scattered(self, path):
        """Some 7,000 pages of trees that grew side by side, in no order: each has its
        pages all over the file."""
        db = sqlite3.connect(path, isolation_level=None)
        db.executescript("""
            CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT, v TEXT);
            CREATE INDEX t_k ON t(k);
            CREATE TABLE w(k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID;
            CREATE TABLE docs(id INTEGER PRIMARY KEY, body BLOB);
            BEGIN""")
        for i in range(60000):
            n = i * 7919 % 60013
            k = "%08x" % (n * 2654435761 % 2**32)
            db.execute("INSERT INTO t VALUES(?, ?, ?)", (n, k, k * 20))
            db.execute("INSERT INTO w VALUES(?, ?)", (k, k * 10))
            if i % 60 == 0:
                db.execute("INSERT INTO docs VALUES(?, ?)", (n, k * 900))
        db.execute("COMMIT")
        db.close()
        return path

    def sql(self, path, code, **params):
        """Run Python on `db`, a connection through the VFS, in a process of
        its own; what it prints."""
        params = dict({"vfs": "ramet", "sync": "manual"}, **params)
        uri = "file:%s?%s" % (urllib.parse.quote(path), "&".join(
            "%s=%s" % (k, urllib.parse.quote(str(v), safe=""))
            for k, v in params.items()))
        done = subprocess.run(
            ["/usr/bin/python3", "-c", SQL_CHILD, EXTENSION, uri, code], text=True,
            cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def assert_same_file(self, path, other):
        self.assertEqual(os.path.getsize(path), os.path.getsize(other))
        with open(path, "rb") as a, open(other, "rb") as b:
            at = 0
            while True:
                ours, theirs = a.read(1 << 20), b.read(1 << 20)
                self.assertTrue(ours == theirs, "%s and %s differ in the "
                                "MiB at %d" % (path, other, at))
                if not ours:
                    return
                at += len(ours)

    # ---- the store, past whatever stands before it

    def keys(self, part=""):
        """Of the store's objects: those that contain `part`."""
        if self.bucket:
            return self.bucket.keys(part)
        return sorted(path[len(self.store) + 1:] for path in
                      self.objects(part))

    def get_object(self, key):
        return self.bucket.get(key) if self.bucket else \
            self.read(os.path.join(self.store, key))

    def put_object(self, key, data):
        """Also over what is there."""
        if self.bucket:
            self.bucket.put(key, data)
        else:
            self.write(os.path.join(self.store, key), data)

    def remove_object(self, key):
        if self.bucket:
            self.bucket.remove(key)
        else:
            os.remove(os.path.join(self.store, key))

    def objects(self, part):
        """Paths of the objects in the store's directory whose key contains
        `part`."""
        assert self.bucket is None
        return sorted(os.path.join(folder, name)
                      for folder, _, names in os.walk(self.store)
                      for name in names
                      if part in os.path.join(folder, name)[len(self.store):])


def main():
    unittest.main(verbosity=2)
