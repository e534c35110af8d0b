#!/usr/bin/python3
"""Plain files that become replicas, or take a replica's place: what is taken
can be pushed, and what comes back is the same to a plain SQLite."""
import os
import sqlite3

import support

# Bytes past the last whole page: what a database is, and its tail.
TAILS = {
    "a byte": b"x",
    "a sector": b"\xff" * 511,
    "nearly a page": b"y" * 4095,
    "pages and a part": b"z" * 9000,
}


def content(path):
    db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    found = (db.execute("PRAGMA integrity_check").fetchone(),
             db.execute("SELECT * FROM t ORDER BY id").fetchall())
    db.close()
    return found


class Adoption(support.CliTest):
    def make_with_tail(self, name, tail):
        path = self.make_database(self.path(name), rows=300)
        with open(path, "ab") as out:
            out.write(tail)
        return path

    def assert_comes_back(self, path, name, expected):
        """From the remote, into a clone, and as the plain file itself."""
        self.ramet("export", self.url(name), path + ".out")
        self.assertEqual(content(path + ".out"), expected)
        self.ramet("clone", self.url(name), path + ".clone", "--hydrate")
        self.assertEqual(content(path + ".clone"), expected)
        self.assertEqual(content(path), expected)
        self.assertEqual(self.json("verify", path)["damaged"], 0)

    def test_init__of_a_file_that_ends_within_a_page__can_be_pushed(self):
        for n, (what, tail) in enumerate(TAILS.items()):
            with self.subTest(what):
                path = self.make_with_tail("a%d.db" % n, tail)
                expected = content(path)
                self.ramet("init", path, "--remote", self.url("a%d" % n))
                self.assert_comes_back(path, "a%d" % n, expected)

    def test_sql__on_a_file_that_ends_within_a_page__can_be_pushed(self):
        for n, (what, tail) in enumerate(TAILS.items()):
            with self.subTest(what):
                path = self.make_with_tail("b%d.db" % n, tail)
                self.sql(path, "db.execute(\"INSERT INTO t(v) VALUES('n')\")\n"
                         "db.execute('SELECT ramet_push()').fetchone()",
                         remote=self.url("b%d" % n))
                expected = content(path)
                self.assertEqual(expected[0], ("ok",))
                self.assertEqual(len(expected[1]), 301)
                self.assert_comes_back(path, "b%d" % n, expected)

    def test_sql__that_changes_nothing__leaves_the_tail(self):
        path = self.make_with_tail("c.db", b"tail")
        before = self.read(path)
        for code in ("db.execute('SELECT count(*) FROM t').fetchone()",
                     "db.execute('BEGIN IMMEDIATE'); db.execute('ROLLBACK')",
                     "db.execute('SELECT count(*) FROM t').fetchone()"):
            self.sql(path, code)
        self.assertTrue(self.read(path).startswith(before))
        self.assertEqual(content(path)[0], ("ok",))

    def test_adopt__of_a_file_that_ends_within_a_page__can_be_pushed(self):
        path = self.make_database(self.path("d.db"), rows=300)
        self.ramet("init", path, "--remote", self.url("d"))
        with open(path, "ab") as out:
            out.write(b"x")
        self.ramet("adopt", path)
        expected = content(path)
        self.ramet("push", path)
        self.assert_comes_back(path, "d", expected)

    def test_adopt__of_what_is_no_database__is_refused(self):
        path = self.make_database(self.path("e.db"), rows=300)
        self.ramet("init", path, "--remote", self.url("e"))
        for garbage in (os.urandom(30000), b"x", b"x" * 8192):
            self.write(path, garbage)
            told = self.refused(support.USAGE, "adopt", path)
            self.assertIn("ramet restore", told)
            self.assertEqual(self.read(path), garbage)
        self.ramet("restore", self.url("e"), path, "--replace")
        self.assertEqual(content(path)[0], ("ok",))

    def test_sql__on_what_is_no_database__is_bound_to_no_remote(self):
        path = self.path("l.db")
        opened = "try: db.execute('SELECT 1 FROM sqlite_schema').fetchall()\n" \
            "except sqlite3.Error as e: print(e)"
        for garbage in (os.urandom(30000), b"x", os.urandom(8192)):
            self.write(path, garbage)
            with self.assertRaisesRegex(AssertionError, "unable to open"):
                self.sql(path, opened, remote=self.url("l"))
            self.assertEqual(self.read(path), garbage)
            self.assertFalse(os.path.exists(path + "-ramet"))
        self.assertIn("not a database", self.sql(path, opened))
        self.assertEqual(self.read(path), garbage)

    def test_adopt__of_another_page_size_or_nothing__can_be_pushed(self):
        path = self.make_database(self.path("f.db"), rows=300)
        self.ramet("init", path, "--remote", self.url("f"))
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA page_size=1024")
        db.execute("VACUUM")
        db.close()
        self.ramet("adopt", path)
        expected = content(path)
        self.ramet("push", path)
        self.assert_comes_back(path, "f", expected)
        self.write(path, b"")
        self.ramet("adopt", path)
        self.ramet("push", path)
        self.ramet("export", self.url("f"), "empty.db")
        self.assertEqual(os.path.getsize(self.path("empty.db")), 0)

    def test_adopt__after_init__takes_the_pages_that_differ(self):
        path = self.make_database(self.path("h.db"), rows=3000)
        self.ramet("init", path, "--remote", self.url("h"))
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("UPDATE t SET v = v || 'edited' WHERE id = 1500")
        db.close()
        pages = self.json("adopt", path)["pages"]
        self.assertLess(pages, 10) # of some two hundred
        self.ramet("push", path)
        self.assert_comes_back(path, "h", content(path))

    def test_verify__after_init__finds_a_byte_that_rots(self):
        path = self.make_database(self.path("i.db"), rows=3000)
        self.ramet("init", path, "--remote", self.url("i"))
        good = self.read(path)
        times = os.stat(path)
        with open(path, "r+b") as out:
            out.seek(40 * 4096 + 100)
            out.write(b"rotten")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        done = self.run_ramet("verify", path, "--json")
        self.assertEqual(done.returncode, support.DAMAGED, done.stderr)
        self.assertEqual(self.json("verify", path)["damaged"], 0)
        self.assertTrue(self.read(path) == good)

    def test_replaced_file__is_told_by_status_and_refused(self):
        """By one of another content that looks the same: size, header, time."""
        path = self.make_database(self.path("j.db"), rows=3000)
        self.ramet("init", path, "--remote", self.url("j"))
        times = os.stat(path)
        with open(path, "r+b") as out:
            for page in range(3, 30):
                out.seek(page * 4096 + 2000)
                out.write(b"another")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        replaced = self.read(path)
        for verb in (["status", "--check"], ["status"], ["push"], ["hydrate"]):
            told = self.refused(support.CONFLICT, *verb, path)
            self.assertIn("ramet adopt", told)
            self.assertIn("ramet restore", told)
        done = self.run_ramet("status", path, "--json")
        self.assertEqual(support.json.loads(done.stdout)["state"], "foreign")
        self.assertTrue(self.read(path) == replaced)
        self.ramet("restore", self.url("j"), path, "--replace")
        self.assertEqual(content(path)[0], ("ok",))

    def test_marked_copy_of_another_time__can_be_restored_over(self):
        path = self.make_database(self.path("k.db"), rows=3000)
        self.ramet("init", path, "--remote", self.url("k"))
        kill = "import os; db.execute(\"UPDATE t SET v = v || '%d' WHERE id" \
            " %% 100 = 0\"); os.system('cp k.db k.%d'); os._exit(0)"
        for n in (1, 2):
            self.sql(path, kill % (n, n))
            self.ramet("push", path) # and a checkpoint at its close
        self.sql(path, "db.execute(\"INSERT INTO t(v) VALUES('x')\");"
                 "import os; os._exit(0)")
        os.replace(self.path("k.1"), path)
        told = self.refused(support.CONFLICT, "push", path)
        self.assertIn("ramet restore", told)
        self.refused(support.CONFLICT, "adopt", path)
        self.ramet("restore", self.url("k"), path, "--replace")
        self.assertEqual(content(path)[0], ("ok",))

    def test_init__of_a_header_that_counts_other_pages__is_carried(self):
        """As it is: SQLite says of the copy what it says of the original."""
        for n, count in enumerate((1, 0, 100000)):
            path = self.make_database(self.path("g%d.db" % n), rows=300)
            with open(path, "r+b") as out:
                out.seek(28)
                out.write(count.to_bytes(4, "big"))
            original = self.read(path)
            self.ramet("init", path, "--remote", self.url("g%d" % n))
            self.ramet("export", self.url("g%d" % n), path + ".out")
            self.assertTrue(self.read(path + ".out") == original)


if __name__ == "__main__":
    support.main()
