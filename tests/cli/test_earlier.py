#!/usr/bin/python3
"""Replica directories as an earlier version left them, closed or killed in the
midst of something, open with what they had. Their store is of an earlier format,
too: that is refused by its version, and then nothing that waits for it is
forgotten: no commit, no intent, no doubt.

tests/fixtures/earlier has each as a folder: a database `a.db` (100 rows of 200
bytes; ten of them changed where something is pending), its replica, in two of
them `b.db`, a clone, and the store of the remote; state of version 2. Those that
end in -3 have a state of version 3, and no remote."""
import glob
import os
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

import support

FIXTURES = os.path.join(support.HERE, "..", "fixtures", "earlier")
RESEAL = os.environ["RAMET_TEST_RESEAL"]
MADE_IN = "/tmp/ramet-earlier-00000000"
HOW_MANY = "print(db.execute('SELECT count(*) FROM t WHERE v=\"%s\"').fetchone()[0])"


class Earlier(support.CliTest):
    def unpack(self, name, reseal=True):
        self.dir = tempfile.mkdtemp(prefix="ramet-earlier-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.assertEqual(len(self.dir), len(MADE_IN))
        subprocess.run(["tar", "-C", self.dir, "--no-same-owner", "-xJf",
                        os.path.join(FIXTURES, name + ".tar.xz")], check=True)
        for state in glob.glob(self.path("*-ramet", "state")) if reseal else []:
            subprocess.run([RESEAL, state, MADE_IN, self.dir], check=True)
        return self.path("a.db")

    def count(self, path, text):
        return int(self.sql(path, HOW_MANY % text))

    def commits(self):
        return len(glob.glob(self.path("store", "volumes", "*", "commits",
                                       "*")))

    def kept(self, path):
        """What may have been sent: the bytes, by name."""
        return {name: self.read(path + "-ramet/" + name)
                for name in ("intent", "commit")
                if os.path.exists(path + "-ramet/" + name)}

    def assert_waits(self, path, text, rows):
        """Each verb that needs the store is refused by its version, and what is
        here, and what is kept, is as before; also after one more open."""
        kept, commits = self.kept(path), self.commits()
        for verb in ("push", "pull", "sync"):
            self.assertIn("format version 1", self.run_ramet(verb, path).stderr)
        self.assertEqual(self.kept(path), kept)
        self.assertEqual(self.commits(), commits)
        self.assertEqual(self.count(path, text), rows)
        self.ramet("export", path, "here.db")
        with sqlite3.connect(self.path("here.db")) as db:
            self.assertEqual(
                db.execute("SELECT count(*) FROM t WHERE v=?",
                           (text,)).fetchone()[0], rows)
        return self.status(path)

    def assert_whole(self, path, rows):
        self.assertEqual(int(self.sql(
            path, "print(db.execute('SELECT count(*) FROM t').fetchone()[0])")),
            rows)
        self.assertEqual(self.sql(
            path, "print(db.execute('PRAGMA integrity_check').fetchone()[0])"),
            "ok\n")

    def test_closed_cleanly__opens_as_it_was(self):
        self.unpack("clean")
        b = self.path("b.db")
        self.assertTrue(self.read(b).startswith(b"SQLite format 3"))
        self.assert_whole(b, 100)
        self.assertEqual(self.json("verify", b)["damaged"], 0)

    def test_killed_with_commits_in_the_log__has_them(self):
        a = self.unpack("dirty")
        self.assert_whole(a, 101)
        self.assertEqual(self.count(a, "changed"), 10)
        self.assertGreater(
            self.assert_waits(a, "changed", 10)["local_commits"], 0)

    def test_intent__is_not_overlooked(self):
        for name in ("intent-unsent", "intent-landed"):
            a = self.unpack(name)
            self.assertIn("intent", self.kept(a))
            self.assert_whole(a, 100)
            self.assertGreater(
                self.assert_waits(a, "changed", 10)["local_commits"], 0)

    def test_killed_after_a_pull__is_that_commits(self):
        self.unpack("pull")
        b = self.path("b.db")
        status = self.status(b)
        self.assertEqual(status["local_commits"], 0)
        self.assertIn(3, status.values())  # the LSN that it was pulled to
        self.assertIn("format version 1", self.run_ramet("hydrate", b).stderr)

    def test_commit_in_doubt__is_here_and_its_object_is_kept(self):
        """That version of the log knew no doubt: what was complete counts."""
        for name in ("doubt-unsent", "doubt-landed"):
            a = self.unpack(name)
            self.assertIn("commit", self.kept(a))
            self.assertGreater(
                self.assert_waits(a, "doubt", 10)["local_commits"], 0)

    def state_version(self, path):
        with open(path + "-ramet/state", "rb") as state:
            return state.read(8)[7]

    def test_state_of_version_3__opens_as_it_was_and_is_written_anew(self):
        for name, rows, changed in (("clean-3", 100, 0), ("dirty-3", 100, 10)):
            a = self.unpack(name, reseal=False)
            self.assertEqual(self.state_version(a), 3)
            self.assert_whole(a, rows)
            self.assertEqual(self.count(a, "changed"), changed)
            self.sql(a, "db.execute('UPDATE t SET v=\"now\" WHERE id=7')")
            self.assertEqual(self.state_version(a), 4)
            self.assert_whole(a, rows)
            self.assertEqual(self.count(a, "now"), 1)
            self.assertEqual(self.json("verify", a)["damaged"], 0)


if __name__ == "__main__":
    unittest.main()
