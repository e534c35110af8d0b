"""Replicas that follow a server's volume: what it costs, and what they see. They
live in processes of their own, as they would on machines of their own.

usage: following.py SERVE   (RAMET_SO: the extension; RAMET_DELAYPROXY: bench's)
"""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(1, os.path.join(os.path.dirname(__file__), "..", "cli"))
from served import Server, wait_for  # noqa: E402
from proxy import Proxy  # noqa: E402

SERVE = sys.argv[1]
SO = os.environ["RAMET_SO"]

if sys.argv[2:3] == ["--replica"]:  # one: statements come in, rows go out
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(SO.removesuffix(".so"))
    db = sqlite3.connect(sys.argv[3], uri=True, isolation_level=None)
    for line in sys.stdin:
        try:
            sql, args = json.loads(line)
            reply = [list(row) for row in db.execute(sql, args)]
        except sqlite3.Error as e:
            reply = "%s: %s" % (type(e).__name__, e)
        print(json.dumps(reply), flush=True)
    db.close()
    sys.exit(0)


class Replica:
    def __init__(self, test, url, **options):
        self.dir = tempfile.TemporaryDirectory()
        options = dict({"vfs": "ramet", "remote": url}, **options)
        uri = "file:%s/db?%s" % (self.dir.name,
                                 urllib.parse.urlencode(options))
        self.process = subprocess.Popen(
            [sys.executable, __file__, SERVE, "--replica", uri], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        test.addCleanup(self.close)

    def ask(self, sql, *args):
        self.process.stdin.write(json.dumps([sql, args]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __call__(self, sql, *args):
        reply = self.ask(sql, *args)
        if isinstance(reply, str):
            raise AssertionError(reply)
        return reply

    def one(self, sql, *args):
        return self(sql, *args)[0][0]

    def status(self, column):
        return self.one("SELECT %s FROM ramet_status" % column)

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(60)
        self.process.stdout.close()
        self.dir.cleanup()


class Counted:
    """What comes to who goes to `url` instead of the server is counted."""

    def __init__(self, test, port):
        folder = tempfile.TemporaryDirectory()
        self.stats = os.path.join(folder.name, "stats")
        self.process = subprocess.Popen(
            [os.environ["RAMET_DELAYPROXY"], "0", str(port), "0", "0",
             self.stats], stdout=subprocess.PIPE, text=True)
        self.url = "http://127.0.0.1:%s/app" % (
            self.process.stdout.readline().split()[1])
        test.addCleanup(folder.cleanup)
        test.addCleanup(self.close)

    def close(self):
        self.process.terminate()
        self.process.communicate()

    def came(self):
        if os.path.exists(self.stats):
            os.remove(self.stats)
        self.process.send_signal(signal.SIGUSR1)
        assert wait_for(lambda: os.path.exists(self.stats))
        with open(self.stats, encoding="ascii") as file:
            return json.load(file)["down"]


class Following(unittest.TestCase):
    def setUp(self):
        self.server = Server(SERVE)
        self.addCleanup(self.server.close)
        self.url = "http://127.0.0.1:%d/app" % self.server.port

    def asked(self, *but):
        """Requests by route, but for commits and for this."""
        text = self.server.request("GET", "/metrics")[2].decode()
        out = {}
        for line in text.split("\n"):
            if line.startswith("ramet_requests_total{"):
                route = line.split('route="')[1].split('"')[0]
                if route not in ("metrics", "commits") + but:
                    out[route] = out.get(route, 0) + int(line.rsplit(" ", 1)[1])
        return out

    def writer(self, rows=300, **options):
        a = Replica(self, self.url, **options)
        a("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
        a("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
          "WHERE i < ?) INSERT INTO t SELECT i, hex(randomblob(100)) FROM n",
          rows)
        a("SELECT ramet_push()")
        return a

    def whole(self, url=None):
        """A replica that has every page."""
        b = Replica(self, url or self.url)
        b("SELECT count(*), sum(length(v)) FROM t")
        b("SELECT ramet_hydrate()")
        return b

    def first_comes(self, b, a):
        """To `b`, which alone follows."""
        self.assertTrue(wait_for(
            lambda: self.server.metric("ramet_news_streams") == 1))
        a("UPDATE t SET v = 'first' WHERE id = 1")
        a("SELECT ramet_push()")
        self.sees(b, "first")

    def follower(self):
        """A replica that has every page, and follows."""
        b = self.whole()
        self.assertTrue(wait_for(
            lambda: self.server.metric("ramet_news_streams") >= 2))
        return b

    def sees(self, replica, value, key=1):
        self.assertTrue(wait_for(
            lambda: replica.one("SELECT v FROM t WHERE id = ?", key) == value),
            replica.status("last_error"))

    def has(self, replica, writer, held):
        """The writer's commit, with the pages that came along: who reads between
        the two asks for them."""
        lsn = writer.status("durable_lsn")
        self.assertTrue(wait_for(
            lambda: replica.status("durable_lsn") == lsn and
            replica.status("cached_pages") >= held),
            replica.status("last_error"))

    def test_a_small_commit_costs_a_follower_no_request(self):
        a = self.writer(sync="manual")
        # One that pushes by itself has a stream, too.
        b = self.whole()
        self.first_comes(b, a)
        before = self.asked()
        requests = b.status("requests")
        held = b.status("cached_pages")
        for i in range(20):
            a("UPDATE t SET v = ? WHERE id = 1", "new %d" % i)
            a("SELECT ramet_push()")
            self.has(b, a, held)
            self.sees(b, "new %d" % i)
        self.assertEqual(b.status("requests"), requests)
        self.assertEqual(self.asked("head"), {k: v for k, v in before.items()
                                              if k != "head"})
        self.assertEqual(b("PRAGMA integrity_check"), [["ok"]])
        self.assertEqual(b("SELECT id, v FROM t"), a("SELECT id, v FROM t"))

    def test_held_pages_are_made_of_the_deltas_that_come(self):
        a = self.writer(rows=3000, sync="manual")
        b = self.whole()
        self.first_comes(b, a)
        requests = b.status("requests")
        held = b.status("cached_pages")
        for i in range(40):  # each page several times, over images from before
            row = 1 + i * 577 % 3000 // 400 * 400
            a("UPDATE t SET v = ? WHERE id = ?", "new %d" % i, row)
            a("SELECT ramet_push()")
            self.has(b, a, held)
            self.sees(b, "new %d" % i, row)
        self.assertEqual(b.status("requests"), requests)
        self.assertEqual(b("PRAGMA integrity_check"), [["ok"]])
        self.assertEqual(b("SELECT id, v FROM t"), a("SELECT id, v FROM t"))

    def test_commits_that_nobody_waits_for_cost_a_follower_no_request(self):
        a = self.writer(rows=3000, sync="manual")
        b = self.whole()
        self.first_comes(b, a)
        requests, held = b.status("requests"), b.status("cached_pages")
        for i in range(200):  # past several maps
            a("UPDATE t SET v = ? WHERE id = ?", "new %d" % i,
              i * 577 % 3000 + 1)
            a("SELECT ramet_push()")
        self.has(b, a, held)
        self.sees(b, "new 199", 199 * 577 % 3000 + 1)
        self.assertEqual(b.status("requests"), requests)
        self.assertEqual(b("SELECT id, v FROM t"), a("SELECT id, v FROM t"))

    def stored(self):
        return sum(os.path.getsize(os.path.join(folder, name))
                   for folder, _, names in os.walk(self.server.data)
                   for name in names if os.path.basename(folder) == "commits")

    def test_a_follower_receives_what_was_stored_and_asks_for_nothing(self):
        a = self.writer(rows=3000, sync="manual")
        link = Counted(self, self.server.port)
        b = self.whole(link.url)
        self.first_comes(b, a)
        requests, held = b.status("requests"), b.status("cached_pages")
        came, stored = link.came(), self.stored()
        for i in range(300):
            a("UPDATE t SET v = ? WHERE id = ?", "new %d" % i,
              i * 577 % 3000 + 1)
            a("SELECT ramet_push()")
            if i % 20 == 0:  # so many as a machine that is busy keeps up with
                self.has(b, a, held)
        self.has(b, a, held)
        came, stored = link.came() - came, self.stored() - stored
        self.assertEqual(b.status("requests"), requests)
        self.assertLess(came, 1.3 * stored, (came, stored))
        self.assertGreater(came, stored)
        self.assertEqual(b("SELECT id, v FROM t"), a("SELECT id, v FROM t"))
        self.assertEqual(b.status("requests"), requests)

    def test_pages_that_are_not_here_cost_a_pull_no_request(self):
        a = self.writer(rows=20000, sync="manual")
        b = Replica(self, self.url)
        self.sees(b, a.one("SELECT v FROM t WHERE id = 1"))
        self.first_comes(b, a)
        requests = b.status("requests")
        held = b.status("cached_pages")
        for i in range(10):  # the second page is a delta over one that b never read
            a("UPDATE t SET v = ? WHERE id IN (1, ?)", "new %d" % i,
              1900 * (i + 1))
            a("SELECT ramet_push()")
            self.has(b, a, held)
            self.sees(b, "new %d" % i)
        self.assertEqual(b.status("requests"), requests)
        self.assertEqual(b("SELECT id, v FROM t"), a("SELECT id, v FROM t"))

    def test_what_was_written_is_read_by_its_token(self):
        a = self.writer(push_interval_ms=0)
        b = self.follower()
        for i in range(10):
            a("UPDATE t SET v = ? WHERE id = 1", "round %d" % i)
            token = a.one("SELECT ramet_wait_durable(20000)")
            volume, lsn, _ = token.split(":")
            self.assertEqual(volume, a.status("volume"))
            self.assertGreaterEqual(b.one("SELECT ramet_wait(?, 20000)", token),
                                    int(lsn))
            self.assertEqual(b.one("SELECT v FROM t WHERE id = 1"),
                             "round %d" % i)
            self.assertEqual(b.one("SELECT ramet_wait(?)", lsn), int(lsn))
        self.assertEqual(b.status("lag_lsns"), 0)
        # One that follows nobody asks for itself.
        c = Replica(self, self.url, sync="manual")
        c("SELECT 1 FROM t")
        a("UPDATE t SET v = 'last' WHERE id = 1")
        token = a.one("SELECT ramet_wait_durable()")
        c("SELECT ramet_wait(?, 20000)", token)
        self.assertEqual(c.one("SELECT v FROM t WHERE id = 1"), "last")
        d = Replica(self, self.url, replica="none")
        self.assertEqual(d.one("SELECT v FROM t WHERE id = 1"), "last")
        a("UPDATE t SET v = 'newer' WHERE id = 1")
        d("SELECT ramet_wait(?, 20000)", a.one("SELECT ramet_wait_durable()"))
        self.assertEqual(d.one("SELECT v FROM t WHERE id = 1"), "newer")

    def test_a_wait_ends_in_words(self):
        a = self.writer()
        lsn = a.one("SELECT ramet_push()")
        self.assertIn("neither an LSN nor a token",
                      a.ask("SELECT ramet_wait('yesterday')"))
        self.assertIn("not here after 50 ms",
                      a.ask("SELECT ramet_wait(?, 50)", lsn + 1))
        for call in ("ramet_wait(1, 'main')", "ramet_wait_durable('main')"):
            self.assertIn("timeout_ms must be a number",
                          a.ask("SELECT " + call))
        token = a.one("SELECT ramet_wait_durable()")
        volume, at, digest = token.split(":")
        self.assertIn("another volume", a.ask(
            "SELECT ramet_wait(?, 50)", ":".join((volume[::-1].replace(
                "-", "0")[:8] + volume[8:], at, digest))))
        self.assertIn("went back in time", a.ask(
            "SELECT ramet_wait(?, 50)",
            ":".join((volume, at, digest[::-1]))))
        a("BEGIN")
        self.assertIn("inside a transaction",
                      a.ask("SELECT ramet_wait(?)", token))
        a("COMMIT")
        self.server.stop()
        a("UPDATE t SET v = 'kept' WHERE id = 1")
        self.assertIn("not all commits are in the remote after 300 ms",
                      a.ask("SELECT ramet_wait_durable(300)"))
        self.assertEqual(a.one("SELECT v FROM t WHERE id = 1"), "kept")
        self.server.start()
        self.assertTrue(a.one("SELECT ramet_wait_durable(30000)"))

    def test_an_answer_is_no_older_than_asked_for(self):
        a = self.writer(sync="manual")
        for options in {}, {"sync": "manual"}, {"replica": "none"}:
            b = Replica(self, self.url, max_stale_ms=0, **options)
            b("SELECT count(*) FROM t")
            for i in range(5):
                a("UPDATE t SET v = ? WHERE id = 1", "%s %d" % (options, i))
                a("SELECT ramet_push()")
                self.assertEqual(b.one("SELECT v FROM t WHERE id = 1"),
                                 "%s %d" % (options, i))
            b.close()

    def test_too_old_an_answer_is_none(self):
        a = self.writer(sync="manual")
        strict = Replica(self, self.url, max_stale_ms=1000,
                         fetch_timeout_ms=500)
        easy = Replica(self, self.url, fetch_timeout_ms=500)
        for b in strict, easy:
            b("SELECT count(*), sum(length(v)) FROM t")
            b("SELECT ramet_hydrate()")
            self.assertLess(b.status("age_ms"), 60000)
        self.server.stop()
        before = easy.one("SELECT v FROM t WHERE id = 1")
        self.assertTrue(wait_for(lambda: isinstance(
            strict.ask("SELECT v FROM t WHERE id = 1"), str)))
        self.assertIn("max_stale_ms", strict.one("SELECT ramet_errmsg()"))
        self.assertEqual(easy.one("SELECT v FROM t WHERE id = 1"), before)
        self.server.start()
        a("UPDATE t SET v = 'back' WHERE id = 1")
        a("SELECT ramet_push()")
        # It may have asked before the push, and that answer is good for a second.
        self.assertTrue(wait_for(lambda: strict.ask(
            "SELECT v FROM t WHERE id = 1") == [["back"]]))
        self.sees(easy, "back")

    def test_without_the_remote_all_that_is_here_goes_on(self):
        a = self.writer()
        a("SELECT ramet_wait_durable()")
        b = Replica(self, self.url, fetch_timeout_ms=5000)
        here = b.one("SELECT v FROM t WHERE id = 1")
        self.server.stop(9, expect=-9)
        self.assertEqual(b.one("SELECT v FROM t WHERE id = 1"), here)
        b("UPDATE t SET v = 'by b' WHERE id = 1")
        self.assertEqual(b.one("SELECT v FROM t WHERE id = 1"), "by b")
        # What is missing fails, and from then on at once.
        misses = 0
        requests = b.status("requests")
        for key in range(100, 300, 5):
            misses += isinstance(
                b.ask("SELECT v FROM t WHERE id = ?", key), str)
        self.assertGreater(misses, 5)
        self.assertLess(b.status("requests") - requests, 3 * misses)  # tries
        self.assertEqual(b.status("state"), "offline")
        self.server.start()
        self.sees(a, "by b")
        self.assertEqual(b.one("SELECT count(*) FROM t"), 300)
        a("UPDATE t SET v = 'by a' WHERE id = 2")
        self.sees(b, "by a", 2)

    def test_a_store_that_went_back_is_noticed_by_who_follows(self):
        a = self.writer(sync="manual")
        copy = self.server.data + ".copy"
        shutil.copytree(self.server.data, copy)
        b = Replica(self, self.url, push_interval_ms=0)
        b("SELECT count(*), sum(length(v)) FROM t")
        a("UPDATE t SET v = 'lost' WHERE id = 1")
        a("SELECT ramet_push()")
        self.sees(b, "lost")
        self.server.stop()
        shutil.rmtree(self.server.data)
        os.rename(copy, self.server.data)
        self.server.start()
        self.assertTrue(wait_for(lambda: b.status("state") == "wentback"))
        self.assertEqual(b.one("SELECT v FROM t WHERE id = 1"), "lost")

    def test_news_of_another_line_make_no_old_answer_a_fresh_one(self):
        a = self.writer(sync="manual")
        copy = self.server.data + ".copy"
        shutil.copytree(self.server.data, copy)
        b = Replica(self, self.url, max_stale_ms=1000, fetch_timeout_ms=500)
        b("SELECT count(*), sum(length(v)) FROM t")
        a("UPDATE t SET v = 'lost' WHERE id = 1")
        a("SELECT ramet_push()")
        self.sees(b, "lost")
        self.server.stop()
        shutil.rmtree(self.server.data)
        os.rename(copy, self.server.data)
        self.server.start()
        c = Replica(self, self.url, sync="manual")
        c("UPDATE t SET v = 'theirs' WHERE id = 1")
        c("SELECT ramet_push()")
        self.assertEqual(c.status("durable_lsn"), a.status("durable_lsn"))
        # The server goes on to tell of a newest commit, of the number that b
        # stands on. What b had is ever older all the same, and then no answer.
        for _ in range(10):
            self.assertTrue(wait_for(lambda: isinstance(
                b.ask("SELECT v FROM t WHERE id = 1"), str) and
                "back in time" in b.one("SELECT ramet_errmsg()")))
        for _ in range(10):
            self.assertIsInstance(b.ask("SELECT v FROM t WHERE id = 1"), str)

    def test_a_stream_that_is_cut_or_kept_back_costs_no_commit(self):
        a = self.writer(sync="manual")
        b = Replica(self, self.url)
        b("SELECT count(*), sum(length(v)) FROM t")
        for i in range(3):
            self.server.stop(9, expect=-9)
            self.server.start()
            a("UPDATE t SET v = ? WHERE id = 1", "life %d" % i)
            a("SELECT ramet_push()")
            self.sees(b, "life %d" % i)

    def test_a_proxy_that_swallows_streams_costs_no_commit(self):
        """Nothing of a stream comes through, or only that there is one: then the
        remote is asked as if there were none."""
        done = threading.Event()
        streams = []

        def hook(_method, path, forward):
            if not path.endswith("/news"):
                return forward()
            streams.append(path)
            if len(streams) % 2 == 1:
                return 200, [("Content-Type", "application/vnd.ramet.news")], \
                    done.wait
            done.wait()
            return None

        proxy = Proxy(self.server.port, hook)
        self.addCleanup(proxy.close)
        self.addCleanup(done.set)
        a = self.writer(sync="manual")
        followers = [Replica(self, proxy.url("app")) for _ in range(2)]
        for b in followers:
            b("SELECT count(*), sum(length(v)) FROM t")
        self.assertTrue(wait_for(lambda: len(streams) >= 2))
        for i in range(3):
            a("UPDATE t SET v = ? WHERE id = 1", "told %d" % i)
            a("SELECT ramet_push()")
            for b in followers:
                self.sees(b, "told %d" % i)
                self.assertIsNone(b.status("last_error"))

    def cost_of(self, sql, a):
        """Requests and bytes of a question by a process that has read the schema."""
        b = Replica(self, self.url, sync="manual")
        b("SELECT count(*) FROM sqlite_schema")
        requests, octets = b.status("requests"), b.status("fetched_bytes")
        self.assertEqual(b(sql), a(sql))
        return b.status("requests") - requests, b.status("fetched_bytes") - octets

    def test_a_page_with_a_delta_is_read_by_as_many_requests(self):
        a = self.writer(rows=3000, sync="manual")
        point = "SELECT v FROM t WHERE id = 1500"
        requests, octets = self.cost_of(point, a)
        for i in range(5):
            a("UPDATE t SET v = ? WHERE id % 40 = 20", "new %d" % i)
            a("SELECT ramet_push()")
        self.assertEqual(
            self.server.metric("ramet_commit_delta_bytes_total") > 0, True)
        now_requests, now_octets = self.cost_of(point, a)
        self.assertEqual(now_requests, requests)
        self.assertLess(now_octets - octets, 4096)

    def test_a_scan_of_pages_with_deltas_takes_a_tenth_more_bytes(self):
        a = self.writer(rows=20000, sync="manual")
        scan = "SELECT count(*), sum(length(v)) FROM t"
        octets = self.cost_of(scan, a)[1]
        a("UPDATE t SET v = 'new' || substr(v, 4) WHERE id % 18 = 9")
        a("SELECT ramet_push()")
        self.assertLess(self.cost_of(scan, a)[1], 1.1 * octets)


if __name__ == "__main__":
    del sys.argv[1:2]
    unittest.main(verbosity=1)
