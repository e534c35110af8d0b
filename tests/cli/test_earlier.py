#!/usr/bin/python3
"""Replica directories as an earlier version left them, closed or killed in the
midst of something, open with what they had, and no commit of theirs is lost, or
sent twice.

tests/fixtures/earlier has each as a folder: a database `a.db` (100 rows of 200
bytes; ten of them changed where something is pending), its replica, in two of
them `b.db`, a clone, and the store of the remote; state of version 2."""
import glob
import os
import shutil
import subprocess
import tempfile
import unittest

import support

FIXTURES = os.path.join(support.HERE, "..", "fixtures", "earlier")
RESEAL = os.environ["RAMET_TEST_RESEAL"]
MADE_IN = "/tmp/ramet-earlier-00000000"
HOW_MANY = "print(db.execute('SELECT count(*) FROM t WHERE v=\"%s\"').fetchone()[0])"


class Earlier(support.CliTest):
    def unpack(self, name):
        self.dir = tempfile.mkdtemp(prefix="ramet-earlier-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.assertEqual(len(self.dir), len(MADE_IN))
        subprocess.run(["tar", "-C", self.dir, "--no-same-owner", "-xJf",
                        os.path.join(FIXTURES, name + ".tar.xz")], check=True)
        for state in glob.glob(self.path("*-ramet", "state")):
            subprocess.run([RESEAL, state, MADE_IN, self.dir], check=True)
        return self.path("a.db")

    def count(self, path, text):
        return int(self.sql(path, HOW_MANY % text))

    def commits(self):
        return len(glob.glob(self.path("store", "volumes", "*", "commits",
                                       "*")))

    def volume(self):
        return "file://" + self.path("store", "vol")

    def assert_volume_is(self, path, lsn):
        """The remote has what is here, by `lsn` commits and no more."""
        self.assertEqual(self.json("info", self.volume())["lsn"], lsn)
        self.assertEqual(self.commits(), lsn)
        self.ramet("export", path, "here.db")
        self.ramet("export", self.volume(), "there.db")
        self.assert_same_file(self.path("here.db"), self.path("there.db"))
        self.assertEqual(self.json("verify", path)["damaged"], 0)

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
        self.ramet("push", b)
        self.assert_volume_is(b, 2)

    def test_killed_with_commits_in_the_log__has_them(self):
        a = self.unpack("dirty")
        self.assert_whole(a, 101)
        self.assertEqual(self.count(a, "changed"), 10)
        self.ramet("push", a)
        self.assert_volume_is(a, 3)

    def test_intent_that_was_not_sent__is_sent_as_it_was(self):
        a = self.unpack("intent-unsent")
        with open(a + "-ramet/intent", "rb") as kept:
            intent = kept.read()[8:]
        self.assertEqual(self.count(a, "changed"), 10)
        self.ramet("push", a)
        newest = min(glob.glob(self.path("store", "volumes", "*", "commits",
                                         "*")))
        self.assertEqual(self.read(newest), intent)
        self.assert_volume_is(a, 3)

    def test_intent_that_landed__is_known_to_have(self):
        a = self.unpack("intent-landed")
        self.assertEqual(self.count(a, "changed"), 10)
        self.ramet("push", a)
        self.assert_volume_is(a, 3)
        self.sql(a, "db.execute('UPDATE t SET v=''next'' WHERE id=50')"
                 .replace("''", "\\'"))
        self.ramet("push", a)
        self.assert_volume_is(a, 4)

    def test_intent__is_not_overlooked_by_a_pull(self):
        for name in ("intent-unsent", "intent-landed"):
            a = self.unpack(name)
            self.ramet("pull", a)
            self.assertEqual(self.count(a, "changed"), 10)
            self.assert_volume_is(a, 3)

    def test_killed_after_a_pull__has_the_pages_of_the_commit(self):
        self.unpack("pull")
        b = self.path("b.db")
        self.assertEqual(self.count(b, "pulled"), 50)
        self.assert_whole(b, 100)
        self.ramet("hydrate", b)
        self.assert_volume_is(b, 3)

    def test_commit_in_doubt__is_a_local_one_and_its_object_is_fenced(self):
        """Version 2 of the log knew no doubt: what was complete counts."""
        a = self.unpack("doubt-unsent")
        self.assertEqual(self.count(a, "doubt"), 10)
        self.ramet("push", a)
        self.assert_volume_is(a, 4)

    def test_commit_in_doubt_that_landed__is_told_and_lost_nowhere(self):
        a = self.unpack("doubt-landed")
        self.assertEqual(self.count(a, "doubt"), 10)
        self.assertIn("diverged", self.refused(support.CONFLICT, "push", a))
        self.ramet("export", a, "here.db")
        self.ramet("export", self.volume(), "there.db")
        self.assertEqual(self.count(a, "doubt"), 10)
        self.ramet("reset", a)
        self.assertEqual(self.count(a, "doubt"), 10)
        self.assert_volume_is(a, 3)


if __name__ == "__main__":
    unittest.main()
