"""A machine whose clock is wrong: it is told before it commits, nothing is
lost, and when the clock is right again all goes on.

RAMET_TEST_CLOCK names the shim that moves the clock of one command.
"""
import json
import os
import signal
import subprocess

import support
from proxy import Proxy
from support import DONE, FAILED, main

SHIM = os.environ["RAMET_TEST_CLOCK"]
INSERT = "db.execute(\"INSERT INTO t(v) VALUES('%s')\")"
HOUR = 3600


class ClockTest(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=20)

    def wrong(self, seconds, *words):
        return self.run_ramet(*words, env=dict(os.environ, LD_PRELOAD=SHIM,
                                               CLOCK_AHEAD_S=str(seconds)))

    def without_date(self):
        """A client that can't know what the server's clock says."""
        def hook(method, path, forward):
            status, headers, body = forward()
            return status, [(name, value) for name, value in headers
                            if name.lower() != "date"], body

        proxy = Proxy(self.server.port, hook)
        self.addCleanup(proxy.close)
        return proxy

    def commits(self, url):
        return [entry["lsn"] for entry in self.json("log", url)
                if not entry["fence"]]

    def test_clock_ahead__is_told_before_anything_is_sent(self):
        proxy = Proxy(self.server.port)
        self.addCleanup(proxy.close)
        self.ramet("init", self.a, "--remote", proxy.url("app"))
        self.sql(self.a, INSERT % "waits")
        sent = len(proxy.requests)
        done = self.wrong(HOUR, "push", self.a)
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.assertIn("clock is 60 minutes ahead", done.stderr)
        self.assertNotIn("damage", done.stderr)
        self.assertEqual({method for method, _, _ in proxy.requests[sent:]},
                         {"GET"})
        self.assertEqual(self.status(self.a)["local_commits"], 1)
        self.ramet("push", self.a)
        self.assertEqual(self.status(self.a)["durable_lsn"], 2)

    def commit_waiting(self, ahead=0):
        """With sync=commit; what came of it."""
        if ahead:
            os.environ.update(LD_PRELOAD=SHIM, CLOCK_AHEAD_S=str(ahead))
        try:
            return self.sql(self.a, """
try:
    db.execute("INSERT INTO t(v) VALUES('x')")
    print('committed')
except sqlite3.Error as e:
    print(e.sqlite_errorname, db.execute('SELECT ramet_errmsg()').fetchone()[0])
""", sync="commit")
        finally:
            os.environ.pop("LD_PRELOAD", None)
            os.environ.pop("CLOCK_AHEAD_S", None)

    def test_clock_ahead__for_a_commit_that_waits_is_told(self):
        self.ramet("init", self.a, "--remote", self.url())
        seen = self.commit_waiting(HOUR)
        self.assertIn("clock is 60 minutes ahead", seen)
        self.assertNotIn("CORRUPT", seen)
        self.assertEqual(self.commit_waiting(), "committed\n")
        self.assertEqual(self.status(self.a)["durable_lsn"], 2)

    def test_clock_ahead__a_commit_that_waits_is_refused_by_the_server(self):
        proxy = self.without_date()
        self.ramet("init", self.a, "--remote", proxy.url("app"))
        for _ in range(2):
            seen = self.commit_waiting(HOUR)
            self.assertIn("minutes ahead of the clock here", seen)
            self.assertNotIn("CORRUPT", seen)
        self.assertEqual(self.commit_waiting(), "committed\n")
        self.assertEqual(self.sql(self.a, "print(db.execute(\"SELECT count(*) "
                                  "FROM t WHERE v = 'x'\").fetchone()[0])"),
                         "1\n")
        self.ramet("status", self.a, "--check", "--max-lag", "1ms")

    def test_clock_ahead__refused_by_the_server__is_made_anew(self):
        proxy = self.without_date()
        self.ramet("init", self.a, "--remote", proxy.url("app"))
        self.sql(self.a, INSERT % "refused")
        for _ in range(2):
            done = self.wrong(HOUR, "push", self.a)
            self.assertEqual(done.returncode, FAILED, done.stderr)
            self.assertIn("minutes ahead of the clock here", done.stderr)
        self.assertEqual(self.json("info", self.url())["lsn"], 1)
        self.sql(self.a, INSERT % "on top")
        self.ramet("push", self.a)
        # A fence in the slot of the old bytes, and what was refused behind it.
        self.assertEqual(self.json("info", self.url())["lsn"], 3)
        self.assertEqual(self.commits(self.url()), [3, 1])
        self.ramet("clone", self.url(), self.path("b.db"))
        self.assertEqual(self.sql(
            self.path("b.db"), "print(db.execute(\"SELECT count(*) FROM t WHERE "
            "v IN ('refused', 'on top')\").fetchone()[0])"), "2\n")
        self.ramet("status", self.a, "--check", "--max-lag", "1ms")

    def test_clock_ahead__refused_by_the_server__can_be_reset(self):
        proxy = self.without_date()
        self.ramet("init", self.a, "--remote", proxy.url("app"))
        self.sql(self.a, INSERT % "refused")
        self.assertEqual(self.wrong(HOUR, "push", self.a).returncode, FAILED)
        kept = json.loads(self.wrong(HOUR, "reset", self.a,
                                     "--json").stdout)["kept"]
        self.assertTrue(os.path.exists(kept))
        self.assertEqual(self.status(self.a)["state"], "clean")

    def test_clock_ahead__a_commit_in_doubt_that_is_refused_is_given_up(self):
        """Its writer was killed when it sent it, and nobody was told."""
        child = []

        def hook(method, path, forward):
            if child and path.endswith("/commits") and method == "POST":
                os.kill(child.pop().pid, signal.SIGKILL)
                return None
            status, headers, body = forward()
            return status, [(name, value) for name, value in headers
                            if name.lower() != "date"], body

        proxy = Proxy(self.server.port, hook)
        self.addCleanup(proxy.close)
        self.ramet("init", self.a, "--remote", proxy.url("app"))
        process = subprocess.Popen(
            ["/usr/bin/python3", "-c", "import sys; sys.stdin.readline()\n" +
             support.SQL_CHILD, support.EXTENSION,
             "file:%s?vfs=ramet&sync=commit" % self.a,
             "db.execute(\"INSERT INTO t(v) VALUES('x')\")"],
            stdin=subprocess.PIPE, env=dict(os.environ, LD_PRELOAD=SHIM,
                                            CLOCK_AHEAD_S=str(HOUR)))
        child.append(process)
        process.communicate(b"go\n", timeout=60)
        self.assertEqual(process.returncode, -signal.SIGKILL)
        self.assertTrue(self.status(self.a)["in_doubt"])
        self.assertEqual(self.commit_waiting(), "committed\n")
        self.assertEqual(self.sql(self.a, "print(db.execute(\"SELECT count(*) "
                                  "FROM t WHERE v = 'x'\").fetchone()[0])"),
                         "1\n")
        self.ramet("status", self.a, "--check", "--max-lag", "1ms")

    def test_clock_behind__commits_all_the_same(self):
        self.ramet("init", self.a, "--remote", self.url())
        self.sql(self.a, INSERT % "early")
        done = self.wrong(-24 * HOUR, "push", self.a)
        self.assertEqual(done.returncode, DONE, done.stderr)
        times = [entry["time"] for entry in self.json("log", self.url())]
        self.assertGreater(times[0], times[1])  # history goes forward


if __name__ == "__main__":
    main()
