#!/usr/bin/python3
"""What a tool that knows nothing of Ramet sees: no database while a replica
is partial or dirty, exactly the database when it is whole and clean."""
import os
import shutil
import sqlite3
import subprocess
import unittest

import support


class PlainTools(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=2000)
        self.original = self.read(self.a)
        self.ramet("init", self.a, "--remote", self.url())

    def assert_no_database(self, path):
        db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
        with self.assertRaisesRegex(sqlite3.DatabaseError,
                                    "not a database"):
            db.execute("SELECT * FROM sqlite_master").fetchall()
        db.close()
        self.assertFalse(self.read(path).startswith(b"SQLite format 3"))
        if shutil.which("file"):
            told = subprocess.run(["file", "-b", path], text=True,
                                  stdout=subprocess.PIPE).stdout
            self.assertNotIn("SQLite", told)

    def test_partial_replica__is_no_database(self):
        self.ramet("clone", self.url(), "b.db")
        self.assert_no_database(self.path("b.db"))
        self.assertIn(b"Ramet", self.read(self.path("b.db"))[:100])

    def test_copy_of_a_partial_replica__is_no_database(self):
        self.ramet("clone", self.url(), "b.db")
        shutil.copyfile(self.path("b.db"), self.path("copy.db"))
        self.assert_no_database(self.path("copy.db"))

    def test_replica_in_use__is_no_database_once_written(self):
        writer = subprocess.Popen(
            ["/usr/bin/python3", "-c", support.SQL_CHILD,
             support.EXTENSION, "file:%s?vfs=ramet&sync=manual" % self.a,
             "db.execute(\"INSERT INTO t(v) VALUES('dirty')\")\n"
             "print('written', flush=True)\nimport sys\nsys.stdin.read()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(writer.stdout.readline(), "written\n")
        self.assert_no_database(self.a)
        writer.kill()
        writer.wait()
        writer.stdin.close()
        writer.stdout.close()
        # Dirty still, after a kill; and nothing acknowledged is lost.
        self.assert_no_database(self.a)
        self.assertEqual(self.sql(self.a, "print(db.execute(\"SELECT count(*)"
                                  " FROM t WHERE v='dirty'\").fetchone()[0])"),
                         "1\n")

    def test_whole_clean_replica__is_exactly_the_database(self):
        self.ramet("clone", self.url(), "b.db", "--hydrate")
        for path in (self.a, self.path("b.db")):
            self.assertTrue(self.read(path) == self.original)
            with sqlite3.connect(path) as db:
                self.assertEqual(
                    db.execute("PRAGMA integrity_check").fetchone()[0], "ok")

    def test_after_writes_and_the_last_close__it_is_a_database_again(self):
        self.sql(self.a, "db.execute(\"INSERT INTO t(v) VALUES('more')\")")
        self.ramet("push", self.a)
        self.ramet("export", self.a, "out.db")
        self.assert_same_file(self.a, self.path("out.db"))
        with sqlite3.connect(self.a) as db:
            self.assertEqual(
                db.execute("SELECT count(*) FROM t").fetchone()[0], 2001)

    def test_copied_replica__works_on_as_another_replica(self):
        self.ramet("clone", self.url(), "b.db")
        shutil.copy2(self.path("b.db"), self.path("copy.db"))
        shutil.copytree(self.path("b.db-ramet"), self.path("copy.db-ramet"))
        ids = {self.status("b.db")["replica"], self.status("copy.db")["replica"]}
        self.assertEqual(len(ids), 2)
        self.assertEqual(self.sql(self.path("copy.db"), "print(db.execute("
                         "'SELECT count(*) FROM t').fetchone()[0])"), "2000\n")

    def test_deleted_base__is_refused_with_the_ways_out(self):
        os.remove(self.a)
        done = self.run_ramet("status", self.a)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"\Aramet: [^\n]+\n\Z")
        self.assertTrue(os.path.isdir(self.a + "-ramet"))


if __name__ == "__main__":
    support.main()
