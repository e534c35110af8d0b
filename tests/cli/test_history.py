#!/usr/bin/python3
"""A database that grows, shrinks and grows again across pushes and pulls in
every order; what is exported equals what was committed, at every LSN."""
import os
import random
import sqlite3

import support

GROW = """
db.execute('BEGIN')
db.executemany('INSERT INTO t(v) VALUES(?)',
               (('grown %06d ' % i + 'y' * 200,) for i in range(@N@)))
db.execute('COMMIT')
"""
SHRINK = """
db.execute('DELETE FROM t WHERE id > @N@')
db.execute('VACUUM')
"""
UPDATE = """
db.execute('BEGIN')
db.execute("UPDATE t SET v = 'updated ' || v WHERE id % 7 = @N@")
db.execute('COMMIT')
"""


class History(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=300)
        self.versions = {}  # lsn -> path of what it must be
        self.exports = 0

    def push(self, path):
        """Push; remember what was here as that LSN's truth."""
        self.exports += 1
        truth = self.path("truth-%d.db" % self.exports)
        self.ramet("export", path, truth)
        lsn = self.json("push", path)["durable_lsn"]
        self.versions[lsn] = truth
        return lsn

    def assert_every_lsn(self):
        for lsn, truth in self.versions.items():
            out = self.path("out.db")
            if os.path.exists(out):
                os.remove(out)
            self.ramet("export", self.url() + "@%d" % lsn, out)
            self.assert_same_file(out, truth)

    def test_export__equals_what_was_committed_at_every_lsn(self):
        self.ramet("init", self.a, "--remote", self.url())
        self.push(self.a)
        for code in (GROW.replace("@N@", "2000"), SHRINK.replace("@N@", "50"),
                     GROW.replace("@N@", "700"), UPDATE.replace("@N@", "3"),
                     SHRINK.replace("@N@", "1"), GROW.replace("@N@", "3000")):
            self.sql(self.a, code)
            self.push(self.a)
        self.assertEqual(sorted(self.versions), list(range(1, 8)))
        self.assert_every_lsn()

    def test_two_replicas__in_random_order_agree_at_every_lsn(self):
        """Whoever is behind pulls, whoever wrote pushes; some readers are
        lazy, some have hydrated, some pull many commits at once."""
        self.ramet("init", self.a, "--remote", self.url())
        self.push(self.a)
        paths = [self.a]
        for name in ("b.db", "c.db"):
            self.ramet("clone", self.url(), name)
            paths.append(self.path(name))
        rnd = random.Random(7)
        for step in range(14):
            path = rnd.choice(paths)
            self.ramet("pull", path)
            code = rnd.choice((GROW, SHRINK, UPDATE, GROW))
            self.sql(path, code.replace("@N@", str(rnd.choice(
                (1, 5, 40, 600)))))
            self.push(path)
            if rnd.random() < 0.3:
                self.ramet("hydrate", rnd.choice(paths))
        self.assert_every_lsn()
        newest = self.versions[max(self.versions)]
        for number, path in enumerate(paths):
            self.ramet("pull", path)
            out = self.path("end%d.db" % number)
            self.ramet("export", path, out)
            self.assert_same_file(out, newest)
            with sqlite3.connect(out) as db:
                self.assertEqual(
                    db.execute("PRAGMA integrity_check").fetchone()[0], "ok")

    def test_page_sizes__all_are_carried(self):
        for size in (512, 1024, 8192, 65536):
            name = "p%d" % size
            path = self.make_database(self.path(name), rows=200,
                                      page_size=size)
            original = self.read(path)
            self.ramet("init", path, "--remote", self.url(name))
            self.assertEqual(self.json("info", self.url(name))["page_size"],
                             size)
            self.ramet("clone", self.url(name), name + ".clone", "--hydrate")
            self.assertTrue(self.read(self.path(name + ".clone")) == original)

    def test_page_size__changed_by_vacuum_arrives(self):
        self.ramet("init", self.a, "--remote", self.url())
        self.ramet("clone", self.url(), "b.db")
        for size in (1024, 16384, 4096):
            self.sql(self.a, "db.execute('PRAGMA page_size=%d')\n"
                             "db.execute('VACUUM')" % size)
            self.push(self.a)
            self.ramet("pull", "b.db")
            self.assertEqual(self.sql(self.path("b.db"),
                                      "print(db.execute('PRAGMA page_size')"
                                      ".fetchone()[0])"), "%d\n" % size)
        self.assert_every_lsn()

    def test_many_commits__past_several_page_maps(self):
        self.ramet("init", self.a, "--remote", self.url())
        self.sql(self.a, "for i in range(150):\n"
                         "    db.execute('INSERT INTO t(v) VALUES(?)', (i,))\n"
                         "    db.execute('SELECT ramet_push()').fetchall()")
        info = self.json("info", self.url())
        self.assertEqual(info["lsn"], 151)
        self.assertLessEqual(info["lsn"] - info["map_lsn"], 64)
        self.ramet("export", self.a, "here.db")
        self.ramet("export", self.url(), "there.db")
        self.assert_same_file(self.path("here.db"), self.path("there.db"))
        self.ramet("export", self.url() + "@77", "then.db")
        with sqlite3.connect(self.path("then.db")) as db:
            self.assertEqual(
                db.execute("SELECT count(*) FROM t").fetchone()[0], 376)
        self.assertEqual(self.json("verify", self.url())["damaged"], 0)


if __name__ == "__main__":
    support.main()
