#!/usr/bin/python3
"""One file has one replica, by whatever name it is opened."""
import os
import subprocess

import support

INSERT = "db.execute(\"INSERT INTO t(v) VALUES('%s')\")"
COUNT = "print(db.execute('SELECT count(*) FROM t').fetchone()[0])"


class Links(support.CliTest):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("disk"))
        self.file = self.make_database(self.path("disk", "app.db"), rows=10)
        self.link = self.path("app.db")
        os.symlink("disk/app.db", self.link)

    def directories(self):
        return sorted(os.path.relpath(os.path.join(folder, name), self.dir)
                      for folder, names, _ in os.walk(self.dir)
                      for name in names if name.endswith("-ramet"))

    def test_link__command_and_sql_have_one_replica(self):
        self.ramet("init", "app.db", "--remote", self.url())
        self.assertEqual(self.directories(), ["disk/app.db-ramet"])
        self.sql(self.link, INSERT % "by the link")
        self.sql(self.file, INSERT % "by the file")
        self.ramet("push", "app.db")
        self.assertEqual(self.status("app.db")["durable_lsn"], 2)
        self.assertEqual(self.status("disk/app.db")["durable_lsn"], 2)
        self.assertEqual(self.sql(self.link, COUNT), "12\n")
        self.assertEqual(self.directories(), ["disk/app.db-ramet"])

    def test_link__made_by_sql_is_known_to_the_command(self):
        self.sql(self.link, "db.execute('SELECT ramet_push()').fetchone()",
                 remote=self.url())
        self.assertEqual(self.status("app.db")["durable_lsn"], 1)
        self.ramet("verify", "app.db")

    def test_clone__to_a_link_whose_end_is_not_there(self):
        self.ramet("init", "app.db", "--remote", self.url())
        os.symlink("disk/new.db", self.path("new.db"))
        self.ramet("clone", self.url(), "new.db", "--hydrate")
        self.assertTrue(os.path.islink(self.path("new.db")))
        self.assertEqual(self.directories(),
                         ["disk/app.db-ramet", "disk/new.db-ramet"])
        self.assert_same_file(self.path("new.db"), self.file)
        self.refused(support.FAILED, "clone", self.url(), "new.db")

    def test_export_and_restore__write_what_a_link_leads_to(self):
        self.ramet("init", "app.db", "--remote", self.url())
        os.symlink("disk/out.db", self.path("out.db"))
        self.ramet("export", "app.db", "out.db")
        self.assertTrue(os.path.islink(self.path("out.db")))
        self.assert_same_file(self.path("disk/out.db"), self.file)
        self.refused(support.FAILED, "export", self.url(), "app.db")
        self.write(self.path("disk/out.db"), b"something else")
        self.ramet("restore", self.url() + "@1", "out.db", "--replace")
        self.assertTrue(os.path.islink(self.path("out.db")))
        self.assert_same_file(self.path("disk/out.db"), self.file)
        kept = [name for name in os.listdir(self.path("disk"))
                if name.startswith("out.db.before-")]
        self.assertEqual(len(kept), 1)

    def test_init__finishes_what_stands_beside_the_file_not_the_link(self):
        code = ("import sqlite3, os, sys\n"
                "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
                "db.execute('PRAGMA journal_mode=WAL')\n"
                "db.execute(\"INSERT INTO t(v) VALUES('in the wal')\")\n"
                "os.kill(os.getpid(), 9)\n")
        subprocess.run(["/usr/bin/python3", "-c", code, self.link])
        self.assertTrue(os.path.exists(self.file + "-wal"))
        self.ramet("init", "app.db", "--remote", self.url())
        self.assertEqual(self.sql(self.link, COUNT), "11\n")

    def test_directory_beside_a_link__is_refused_with_the_way_out(self):
        """There the command kept it, once."""
        self.ramet("init", "app.db", "--remote", self.url())
        self.sql(self.file, INSERT % "one more")
        os.rename(self.file + "-ramet", self.link + "-ramet")
        for words in (("push", "app.db"), ("status", "app.db"),
                      ("init", "app.db", "--remote", self.url())):
            self.assertIn("beside the link",
                          self.refused(support.FAILED, *words))
        self.assertEqual(self.directories(), ["app.db-ramet"])
        os.rename(self.link + "-ramet", self.file + "-ramet")
        self.ramet("push", "app.db")
        self.assertEqual(self.status("app.db")["durable_lsn"], 2)

    def test_directory_beside_a_link__is_refused_by_sql_too(self):
        """SQLite resolves the link before the extension sees it."""
        self.ramet("init", "app.db", "--remote", self.url())
        os.rename(self.file + "-ramet", self.link + "-ramet")
        for vfs in "ramet", "ramet-auto":
            for path in self.link, "app.db", "disk/../app.db":
                self.sql(self.path("other.db"), """
def refused(name):
    try:
        sqlite3.connect(name, uri=True)
    except sqlite3.Error as error:
        assert "beside the link" in str(error), error
        return
    raise AssertionError("opened")
refused("file:%s?vfs=%s")
""" % (path, vfs))
        self.assertEqual(self.directories(),
                         ["app.db-ramet", "other.db-ramet"])
        os.rename(self.link + "-ramet", self.file + "-ramet")
        self.assertEqual(self.sql(self.link, COUNT), "10\n")

    def test_hard_link__makes_no_second_replica(self):
        self.ramet("init", self.file, "--remote", self.url())
        other = self.path("other.db")
        os.link(self.file, other)
        self.assertIn("hard link", self.refused(
            support.FAILED, "init", "other.db", "--remote", self.url("other")))
        self.assertIn("is not a replica", self.refused(
            support.NOT_FOUND, "adopt", "other.db"))
        self.sql(self.file, """
try:
    sqlite3.connect("file:other.db?vfs=ramet", uri=True)
    raise AssertionError("opened")
except sqlite3.Error as error:
    assert "hard link" in str(error), error
""")
        self.assertEqual(self.directories(), ["disk/app.db-ramet"])
        # And the first goes on.
        self.sql(self.file, INSERT % "on")
        self.ramet("push", self.file)
        self.assertEqual(self.status(self.file)["durable_lsn"], 2)

    def test_circle_of_links__is_told(self):
        os.symlink("b.db", self.path("c.db"))
        os.symlink("c.db", self.path("b.db"))
        self.assertIn("circle", self.refused(support.USAGE, "clone",
                                             self.url(), "b.db"))


if __name__ == "__main__":
    support.main()
