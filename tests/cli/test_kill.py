#!/usr/bin/python3
"""SIGKILL in the midst of init, push, clone, pull and hydrate, at many
moments; what goes on afterwards ends as if nothing had happened. And SIGINT,
which stops cleanly."""
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time

import support

ROUNDS = int(os.environ.get("RAMET_KILL_ROUNDS", "12"))
GROW = ("db.execute('BEGIN')\ndb.executemany('INSERT INTO t(v) VALUES(?)',"
        " (('%s %%d ' %% i + 'z' * 300,) for i in range(8000)))\n"
        "db.execute('COMMIT')")


class Kill(support.CliTest):
    def setUp(self):
        super().setUp()
        self.random = random.Random(11)
        self.a = self.make_database(self.path("a.db"), rows=20000)
        self.original = self.path("original.db")
        shutil.copyfile(self.a, self.original)

    def started(self, *words):
        return subprocess.Popen([support.RAMET, *words], cwd=self.dir,
                                stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)

    def seconds_of(self, *words):
        """How long it takes when it is left alone."""
        began = time.monotonic()
        self.ramet(*words)
        return time.monotonic() - began

    def kill_midway(self, limit, *words):
        """SIGKILL at a random moment within `limit` seconds. True: it was
        still at work."""
        process = self.started(*words)
        time.sleep(self.random.uniform(0, limit))
        process.kill()
        process.communicate()
        return process.returncode == -signal.SIGKILL

    def assert_volume_is(self, path):
        out = self.path("volume.db")
        if os.path.exists(out):
            os.remove(out)
        self.ramet("export", self.url(), out)
        self.assert_same_file(out, path)

    def test_init_killed__goes_on_where_it_was(self):
        shutil.copyfile(self.original, self.path("other.db"))
        limit = self.seconds_of("init", "other.db", "--remote",
                                self.url("other")) * 0.9
        # Early at first: once it was done there is nothing left to kill.
        killed = sum(self.kill_midway(limit * (n + 1) / ROUNDS, "init", self.a,
                                      "--remote", self.url())
                     for n in range(ROUNDS))
        self.assertGreater(killed, 0)
        self.ramet("init", self.a, "--remote", self.url())
        self.assertEqual(self.json("info", self.url())["lsn"], 1)
        self.assert_volume_is(self.original)
        self.assertEqual(self.json("verify", self.url())["damaged"], 0)

    def test_push_killed__commits_once(self):
        self.ramet("init", self.a, "--remote", self.url())
        for number in range(ROUNDS):
            self.sql(self.a, GROW % ("round %d" % number))
            before = self.json("info", self.url())["lsn"]
            for _ in range(2):
                self.kill_midway(0.15, "push", self.a)
            self.ramet("push", self.a)
            self.assertIn(self.json("info", self.url())["lsn"],
                          (before + 1, before + 2))  # +1, or + a fence
        self.ramet("export", self.a, "here.db")
        self.assert_volume_is(self.path("here.db"))
        with sqlite3.connect(self.path("here.db")) as db:
            self.assertEqual(
                db.execute("SELECT count(*) FROM t").fetchone()[0],
                20000 + 8000 * ROUNDS)
            self.assertEqual(
                db.execute("PRAGMA integrity_check").fetchone()[0], "ok")

    def test_clone_and_hydrate_killed__end_whole(self):
        self.ramet("init", self.a, "--remote", self.url())
        limit = self.seconds_of("clone", self.url(), "free.db", "--hydrate")
        for _ in range(ROUNDS):
            self.kill_midway(limit, "clone", self.url(), "b.db", "--hydrate")
            if os.path.exists(self.path("b.db")):
                # No half of it passes for the database.
                if self.read(self.path("b.db")).startswith(b"SQLite format"):
                    self.assert_same_file(self.path("b.db"), self.original)
                    break
                self.kill_midway(limit, "hydrate", "b.db")
        self.ramet("clone", self.url(), "b.db", "--if-absent")
        self.ramet("hydrate", "b.db")
        self.assert_same_file(self.path("b.db"), self.original)

    def test_clone_cut_off_before_its_state__is_made_by_the_next(self):
        self.ramet("init", self.a, "--remote", self.url())
        for flags in ([], ["--if-absent"]):
            self.ramet("clone", self.url(), "b.db")
            for name in os.listdir(self.path("b.db-ramet")):
                if name != "lock":
                    os.remove(self.path(os.path.join("b.db-ramet", name)))
            self.ramet("clone", self.url(), "b.db", *flags)
            self.ramet("hydrate", "b.db")
            self.assert_same_file(self.path("b.db"), self.original)
            shutil.rmtree(self.path("b.db-ramet"))
            os.remove(self.path("b.db"))

    def test_pull_killed__ends_at_the_newest(self):
        self.ramet("init", self.a, "--remote", self.url())
        self.ramet("clone", self.url(), "b.db", "--hydrate")
        for number in range(ROUNDS):
            self.sql(self.a, GROW % ("round %d" % number))
            self.ramet("push", self.a)
            self.kill_midway(0.05, "pull", "b.db")
            self.kill_midway(0.1, "hydrate", "b.db")
            self.ramet("pull", "b.db")
            self.assertEqual(self.status("b.db")["durable_lsn"], number + 2)
        self.ramet("export", "b.db", "there.db")
        self.ramet("export", self.a, "here.db")
        self.assert_same_file(self.path("there.db"), self.path("here.db"))

    def test_export_killed__leaves_all_or_nothing(self):
        self.ramet("init", self.a, "--remote", self.url())
        limit = self.seconds_of("export", self.url(), "whole.db") * 0.9
        killed = 0
        for _ in range(ROUNDS):
            killed += self.kill_midway(limit, "export", self.url(), "out.db")
            if os.path.exists(self.path("out.db")):
                self.assert_same_file(self.path("out.db"), self.original)
                os.remove(self.path("out.db"))
        self.assertGreater(killed, 0)

    def test_sigint__stops_cleanly(self):
        self.ramet("init", self.a, "--remote", self.url())
        process = subprocess.Popen(
            [support.RAMET, "sync", "--follow", self.a], cwd=self.dir,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertIn(b"LSN 1", process.stdout.readline())  # it is at work
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, support.DONE, err)

    def test_sigint__in_the_midst_of_a_push_is_mended_by_the_next(self):
        self.make_database(self.path("big.db"), rows=150000)
        process = self.started("init", "big.db", "--remote", self.url("big"))
        while process.poll() is None and not os.path.exists(
                self.path("big.db-ramet")):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertIn(process.returncode, (support.DONE, support.FAILED), err)
        self.ramet("init", "big.db", "--remote", self.url("big"))
        self.assertEqual(self.json("verify", self.url("big"))["damaged"], 0)


if __name__ == "__main__":
    support.main()
