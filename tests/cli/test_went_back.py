"""A store that was restored from an older backup while programs have its
replicas open: they are told in words of its own, and come out of it without
being started anew."""
import os
import shutil
import sqlite3

import support
from support import DONE, CONFLICT, EXTENSION, main


def load_extension():
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(EXTENSION)
    return loader


class WentBackTest(support.CliTest):
    @classmethod
    def setUpClass(cls):
        cls.loader = load_extension()

    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=50)
        self.ramet("init", self.a, "--remote", self.url())
        self.backup()

    def backup(self):
        shutil.rmtree(self.store + ".old", ignore_errors=True)
        shutil.copytree(self.store, self.store + ".old")

    def restore(self, restart=True):
        """The store as it was at the backup."""
        if not restart:  # a server stays in its directory
            for name in os.listdir(self.store):
                shutil.rmtree(self.path("store", name), ignore_errors=True)
            shutil.copytree(self.store + ".old", self.store,
                            dirs_exist_ok=True)
            return
        if self.server:
            self.server.stop()
        shutil.rmtree(self.store)
        shutil.copytree(self.store + ".old", self.store)
        if self.server:
            self.server.start()

    def open(self, path):
        db = sqlite3.connect("file:%s?vfs=ramet&sync=manual" % path, uri=True,
                             isolation_level=None, timeout=10)
        self.addCleanup(db.close)
        return db

    def one(self, db, sql):
        return db.execute(sql).fetchone()[0]

    def refused(self, db, sql):
        with self.assertRaises(sqlite3.Error) as caught:
            db.execute(sql).fetchone()
        self.assertNotEqual(caught.exception.sqlite_errorname,
                            "SQLITE_CORRUPT", str(caught.exception))
        return str(caught.exception)

    def insert(self, db, text):
        db.execute("INSERT INTO t(v) VALUES(?)", (text,))

    def rows(self, path, text):
        self.ramet("export", path, self.path("out.db"))
        with sqlite3.connect(self.path("out.db")) as out:
            return out.execute("SELECT count(*) FROM t WHERE v = ?",
                               (text,)).fetchone()[0]

    def lose_a_commit(self):
        """A running program whose commit the store forgot."""
        db = self.open(self.a)
        self.insert(db, "forgotten there")
        self.assertEqual(self.one(db, "SELECT ramet_push()"), 2)
        self.restore()
        return db

    def test_running_program__is_told_and_resets_itself(self):
        db = self.lose_a_commit()
        self.insert(db, "local")
        self.assertIn("went back in time",
                      self.refused(db, "SELECT ramet_push()"))
        self.assertEqual(self.one(db, "SELECT state FROM ramet_status"),
                         "wentback")
        self.assertEqual(self.one(db, "SELECT remote_lsn FROM ramet_status"),
                         1)
        kept = self.one(db, "SELECT ramet_reset()")
        with sqlite3.connect(kept) as lost:
            self.assertEqual(lost.execute(
                "SELECT count(*) FROM t WHERE v IN "
                "('forgotten there', 'local')").fetchone()[0], 2)
        self.assertEqual(self.one(db, "SELECT state FROM ramet_status"),
                         "clean")
        self.insert(db, "goes on")
        self.assertEqual(self.one(db, "SELECT ramet_push()"), 2)
        self.ramet("clone", self.url(), self.path("b.db"))
        self.assertEqual(self.rows(self.path("b.db"), "goes on"), 1)
        self.assertEqual(self.rows(self.path("b.db"), "forgotten there"), 0)

    def test_running_program__goes_on_when_another_process_reset(self):
        db = self.lose_a_commit()
        self.refused(db, "SELECT ramet_pull()")
        self.ramet("reset", self.a)
        self.assertNotEqual(self.one(db, "SELECT state FROM ramet_status"),
                            "wentback")
        self.insert(db, "goes on")
        self.assertEqual(self.one(db, "SELECT ramet_push()"), 2)

    def test_running_program__that_knew_more_than_it_stood_on_goes_on(self):
        """It fetched word of a commit that it never pulled."""
        db = self.open(self.a)
        self.ramet("clone", self.url(), self.path("b.db"))
        other = self.open(self.path("b.db"))
        self.insert(other, "forgotten there")
        self.one(other, "SELECT ramet_push()")
        self.assertEqual(self.one(db, "SELECT ramet_fetch()"), 2)
        self.restore()
        self.insert(db, "on the first")
        self.assertEqual(self.one(db, "SELECT ramet_push()"), 2)
        self.assertEqual(self.rows(self.a, "on the first"), 1)

    def test_running_program__notices_another_commit_of_the_same_number(self):
        db = self.lose_a_commit()
        self.ramet("clone", self.url(), self.path("b.db"))
        other = self.open(self.path("b.db"))
        self.insert(other, "another line")
        self.assertEqual(self.one(other, "SELECT ramet_push()"), 2)
        for verb in ("pull", "fetch", "push"):
            self.insert(db, "local, before " + verb)
            self.assertIn("went back in time",
                          self.refused(db, "SELECT ramet_%s()" % verb), verb)
        self.assertEqual(self.one(db, "SELECT state FROM ramet_status"),
                         "wentback")
        self.one(db, "SELECT ramet_reset()")
        self.assertEqual(self.one(
            db, "SELECT count(*) FROM t WHERE v = 'another line'"), 1)
        self.insert(db, "goes on")
        self.assertEqual(self.one(db, "SELECT ramet_push()"), 3)

    def test_stateless_reader_that_follows__is_told_of_another_commit_in_its_place(self):
        self.insert(self.open(self.a), "forgotten there")
        self.ramet("push", self.a)
        view = sqlite3.connect("file:view.db?vfs=ramet&replica=none&remote=%s"
                               % self.url(), uri=True, isolation_level=None)
        self.addCleanup(view.close)
        self.assertEqual(self.one(view, "SELECT count(*) FROM t"), 51)
        self.restore()
        self.ramet("clone", self.url(), self.path("b.db"))
        other = self.open(self.path("b.db"))
        self.insert(other, "another line")
        self.one(other, "SELECT ramet_push()")
        self.assertIn("went back in time",
                      self.refused(view, "SELECT ramet_fetch()"))

    def test_status__calls_it_by_its_name(self):
        self.lose_a_commit().close()
        self.assertEqual(self.status(self.a)["state"], "wentback")
        done = self.run_ramet("status", self.a, "--check")
        self.assertEqual(done.returncode, CONFLICT, done.stderr)
        self.assertIn("WENT BACK", done.stdout)
        self.assertNotIn("DIVERGED", done.stdout)
        self.assertIn("went back in time", done.stderr)
        self.assertEqual(self.run_ramet("push", self.a).returncode, DONE,
                         "nothing to push")
        self.assertEqual(self.run_ramet("pull", self.a).returncode, CONFLICT)
        self.ramet("reset", self.a)
        self.assertEqual(self.status(self.a)["state"], "clean")
        self.ramet("status", self.a, "--check")

    def test_server__whose_store_was_replaced_under_it_serves_what_is_there(
            self):
        if not self.server:
            return
        db = self.open(self.a)
        self.insert(db, "forgotten there")
        self.assertEqual(self.one(db, "SELECT ramet_push()"), 2)
        self.restore(restart=False)
        self.insert(db, "local")
        self.assertIn("went back in time",
                      self.refused(db, "SELECT ramet_push()"))
        self.one(db, "SELECT ramet_reset()")
        self.insert(db, "goes on")
        self.assertEqual(self.one(db, "SELECT ramet_push()"), 2)


if __name__ == "__main__":
    main()
