#!/usr/bin/python3
"""Each verb does what its help says, on a database."""
import datetime
import errno
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

import support
import faults

READER = os.path.join(os.path.dirname(__file__), "..", "..", "scripts",
                      "read-volume.py")
COUNT = "print(db.execute('SELECT count(*) FROM t').fetchone()[0])"
INSERT = "db.execute(\"INSERT INTO t(v) VALUES('%s')\")"


class Verbs(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"))
        self.original = self.path("original.db")
        self.write(self.original, self.read(self.a))

    def bound(self):
        """a.db is a pushed replica."""
        return self.json("init", self.a, "--remote", self.url())

    def cloned(self, name="b.db"):
        path = self.path(name)
        self.ramet("clone", self.url(), path)
        return path

    def diverged(self):
        """a.db with a local commit, the remote with another's."""
        self.bound()
        b = self.cloned()
        self.sql(b, INSERT % "from b")
        self.ramet("push", b)
        self.sql(self.a, INSERT % "from a")
        return b

    # ---- init, clone

    def test_init__pushes_everything_as_lsn_1(self):
        result = self.bound()
        self.assertEqual(result["verb"], "init")
        self.assertEqual(result["durable_lsn"], 1)
        self.assertEqual(result["pages"], os.path.getsize(self.a) // 4096)
        self.assertGreater(result["bytes"], 0)
        self.assertEqual(self.status(self.a)["state"], "clean")

    def test_init__again_does_nothing(self):
        self.bound()
        before = self.keys()
        self.assertEqual(self.bound()["durable_lsn"], 1)
        self.assertEqual(self.keys(), before)

    def test_init__leaves_the_file_a_database_for_all(self):
        self.bound()
        self.assert_same_file(self.a, self.original)

    def test_init__of_a_bound_replica_elsewhere_is_refused(self):
        self.bound()
        self.refused(support.FAILED, "init", self.a, "--remote",
                     self.url("other"))
        self.assertEqual(self.status(self.a)["durable_lsn"], 1)

    def test_init__to_a_name_that_is_taken_is_refused(self):
        self.bound()
        other = self.make_database(self.path("other.db"), rows=10)
        self.assertIn("is there already", self.refused(support.FAILED, "init", other,
                                               "--remote", self.url()))
        self.assertEqual(self.json("info", self.url())["lsn"], 1)

    def count_remote(self, where):
        out = self.path("out.db")
        self.ramet("export", self.url(), out)
        with sqlite3.connect(out) as plain:
            return plain.execute(
                "SELECT count(*) FROM t WHERE " + where).fetchone()[0]

    def test_init__with_a_wal_of_a_killed_program_takes_what_is_in_it(self):
        db = sqlite3.connect(self.a, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("INSERT INTO t(v) VALUES('in the wal')")
        wal = self.read(self.a + "-wal")
        base = self.read(self.a)
        db.close()
        self.write(self.a, base)
        self.write(self.a + "-wal", wal)
        self.bound()
        self.assertFalse(os.path.exists(self.a + "-wal"))
        self.assertEqual(self.count_remote("v='in the wal'"), 1)

    def test_init__of_a_wal_database_in_use_is_refused(self):
        db = sqlite3.connect(self.a, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("INSERT INTO t(v) VALUES('in the wal')")
        self.assertIn("open; close it there", self.refused(
            support.FAILED, "init", self.a, "--remote", self.url()))
        db.execute("INSERT INTO t(v) VALUES('in the wal')")
        db.close()
        self.bound()
        self.assertEqual(self.count_remote("v='in the wal'"), 2)

    def test_init__with_a_hot_journal_rolls_back(self):
        db = sqlite3.connect(self.a, isolation_level=None)
        db.execute("PRAGMA cache_size=1")
        db.execute("BEGIN")
        db.execute("UPDATE t SET v = 'half done ' || id")
        journal = self.read(self.a + "-journal")
        base = self.read(self.a)
        db.execute("ROLLBACK")
        db.close()
        self.assertIn(b"half done", base)
        self.write(self.a, base)
        self.write(self.a + "-journal", journal)
        self.bound()
        self.assertFalse(os.path.exists(self.a + "-journal"))
        self.assert_same_file(self.a, self.original)
        self.assertEqual(self.count_remote("v LIKE 'half done%'"), 0)

    def test_init__with_a_finished_journal_takes_the_file(self):
        for mode in ("persist", "truncate"):
            path = self.make_database(self.path(mode + ".db"))
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("PRAGMA journal_mode=" + mode)
            db.execute("INSERT INTO t(v) VALUES('one more')")
            db.close()
            self.assertTrue(os.path.exists(path + "-journal"))
            self.ramet("init", path, "--remote", self.url(mode))
            self.sql(path, "db.execute(\"DELETE FROM t WHERE id=1\")")
            with sqlite3.connect(path) as plain: # rolls nothing back
                self.assertEqual(plain.execute(
                    "SELECT min(id), max(v) FROM t").fetchone(),
                    (2, "row 000499 " + "x" * 100))

    def test_adopt__with_a_wal_of_a_killed_program(self):
        self.bound()
        db = sqlite3.connect(self.a, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("INSERT INTO t(v) VALUES('in the wal')")
        wal = self.read(self.a + "-wal")
        base = self.read(self.a)
        db.close()
        self.write(self.a, base)
        self.write(self.a + "-wal", wal)
        self.refused(support.CONFLICT, "push", self.a)
        self.ramet("adopt", self.a)
        self.ramet("push", self.a)
        self.assertEqual(self.count_remote("v='in the wal'"), 1)

    def test_init__of_a_database_in_use_is_refused(self):
        db = sqlite3.connect(self.a, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        self.refused(support.FAILED, "init", self.a, "--remote", self.url())
        db.execute("ROLLBACK")
        db.close()
        self.bound()

    def test_clone__is_lazy(self):
        self.bound()
        b = self.cloned()
        status = self.status(b)
        self.assertLess(status["cached_pages"], status["pages"])
        self.assertEqual(self.sql(b, COUNT), "500\n")

    def test_clone__hydrated_is_the_database(self):
        self.bound()
        b = self.path("b.db")
        self.ramet("clone", self.url(), b, "--hydrate")
        self.assert_same_file(b, self.original)

    def test_clone__onto_a_file_is_refused_unless_if_absent(self):
        self.bound()
        self.write(self.path("b.db"), b"mine")
        self.refused(support.FAILED, "clone", self.url(), "b.db")
        self.assertEqual(self.json("clone", self.url(), "b.db",
                                   "--if-absent")["present"], True)
        self.assertEqual(self.read(self.path("b.db")), b"mine")

    def test_clone__of_a_past_snapshot_names_what_brings_one(self):
        self.bound()
        done = self.run_ramet("clone", self.url() + "@1", "b.db")
        self.assertEqual(done.returncode, support.USAGE)
        self.assertIn("ramet export", done.stderr)
        self.assertFalse(os.path.exists(self.path("b.db")))
        self.assertFalse(os.path.exists(self.path("b.db-ramet")))

    def test_clone__of_no_volume_is_not_found(self):
        self.bound()
        self.refused(support.NOT_FOUND, "clone", self.url("nothing"), "b.db")
        self.assertFalse(os.path.exists(self.path("b.db")))
        self.assertFalse(os.path.exists(self.path("b.db-ramet")))

    # ---- push, pull, fetch, sync

    def test_push_and_pull__carry_a_commit(self):
        self.bound()
        b = self.cloned()
        self.sql(self.a, INSERT % "one more")
        self.assertEqual(self.status(self.a)["state"], "ahead")
        pushed = self.json("push", self.a)
        self.assertEqual(pushed["durable_lsn"], 2)
        self.assertLess(pushed["pages"], 20)
        self.assertEqual(self.json("pull", b)["durable_lsn"], 2)
        self.assertEqual(self.sql(b, COUNT), "501\n")

    def test_push__with_nothing_to_push_is_done(self):
        self.bound()
        self.assertEqual(self.json("push", self.a)["durable_lsn"], 1)
        self.assertEqual(self.json("info", self.url())["lsn"], 1)

    def test_pull__waits_for_what_a_push_named(self):
        self.bound()
        b = self.cloned()
        self.sql(self.a, INSERT % "named")
        token = self.ramet("push", self.a, "--token").strip()
        self.assertRegex(token, r"\A[0-9a-f-]{36}:2:[0-9a-f]{32}\Z")
        self.assertEqual(self.json("push", self.a, "--token")["token"], token)
        self.ramet("pull", b, "--wait", token)
        self.assertEqual(self.status(b)["durable_lsn"], 2)
        self.assertEqual(self.status(b)["lag_lsns"], 0)
        done = self.run_ramet("pull", b, "--wait", "3", "--timeout", "50ms")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("not here after 50 ms", done.stderr)
        self.refused(2, "pull", b, "--wait", "3", "--timeout", "soon")
        self.refused(2, "pull", b, "--timeout", "50ms")

    def test_push__batches_local_commits_into_one(self):
        self.bound()
        self.sql(self.a, "\n".join(INSERT % i for i in range(20)))
        self.assertEqual(self.status(self.a)["local_commits"], 20)
        self.assertEqual(self.json("push", self.a)["durable_lsn"], 2)

    def test_fetch__tells_and_changes_nothing(self):
        self.bound()
        b = self.cloned()
        self.sql(self.a, INSERT % "one more")
        self.ramet("push", self.a)
        fetched = self.json("fetch", b)
        self.assertEqual((fetched["durable_lsn"], fetched["remote_lsn"]),
                         (1, 2))
        self.assertEqual(self.sql(b, COUNT), "500\n")
        self.assertEqual(self.status(b)["state"], "behind")

    def test_sync__pulls_then_pushes(self):
        self.bound()
        b = self.cloned()
        self.sql(self.a, INSERT % "from a")
        self.ramet("push", self.a)
        self.json("sync", b)
        self.sql(b, INSERT % "from b")
        self.assertEqual(self.json("sync", b)["durable_lsn"], 3)
        self.json("sync", self.a)
        self.assertEqual(self.sql(self.a, COUNT), "502\n")

    def test_sync_follow__carries_commits_until_sigterm(self):
        self.bound()
        b = self.cloned()
        followers = [subprocess.Popen(
            [support.RAMET, "sync", "--follow", "--interval", "100ms", path],
            cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for path in (self.a, b)]
        try:
            self.sql(self.a, INSERT % "followed")
            for _ in range(300):
                if self.sql(b, COUNT) == "501\n":
                    break
                time.sleep(0.05)
            self.assertEqual(self.sql(b, COUNT), "501\n")
        finally:
            for follower in followers:
                follower.send_signal(signal.SIGTERM)
        for follower in followers:
            out, err = follower.communicate(timeout=30)
            self.assertEqual(follower.returncode, 0, err)

    # ---- diverged

    def test_push__diverged_exits_with_3_and_loses_nothing(self):
        self.diverged()
        self.assertIn("ramet reset", self.refused(support.CONFLICT, "push",
                                                  self.a))
        self.refused(support.CONFLICT, "pull", self.a)
        self.refused(support.CONFLICT, "sync", self.a)
        self.assertEqual(self.status(self.a)["state"], "diverged")
        self.assertEqual(self.sql(self.a, COUNT), "501\n")
        self.sql(self.a, INSERT % "writes go on")
        self.assertEqual(self.sql(self.a, COUNT), "502\n")

    def test_reset__adopts_the_remote_and_keeps_what_was_here(self):
        self.diverged()
        kept = self.json("reset", self.a)["kept"]
        self.assertIn("a.db-ramet/lost/", kept)
        with sqlite3.connect(os.path.join(self.dir, kept)) as lost:
            self.assertEqual(lost.execute(
                "SELECT count(*) FROM t WHERE v='from a'").fetchone()[0], 1)
        self.assertEqual(self.sql(self.a, "print(db.execute("
                         "\"SELECT count(*) FROM t WHERE v='from b'\")"
                         ".fetchone()[0])"), "1\n")
        self.assertEqual(self.status(self.a)["state"], "clean")

    def test_reset__discard_keeps_nothing(self):
        self.diverged()
        self.assertIsNone(self.json("reset", self.a, "--discard")["kept"])
        self.assertEqual(self.sql(self.a, COUNT), "501\n")
        lost = self.path("a.db-ramet", "lost")
        self.assertEqual(os.listdir(lost) if os.path.isdir(lost) else [], [])

    # ---- status

    def test_status__has_every_field(self):
        self.bound()
        status = self.status(self.a)
        self.assertEqual(
            set(status) - {"store_requests"},  # a bucket's alone
            {"file", "state", "remote", "volume", "replica",
                          "local_commits", "durable_lsn", "remote_lsn",
                          "pages", "cached_pages", "dirty_pages", "page_size",
                          "lag_lsns", "lag_ms", "age_ms", "last_contact",
                          "last_error",
                          "never_pushed", "in_doubt", "unpushed_since",
                          "bases_bytes", "delta_lsn", "delta_pages",
                          "delta_bytes", "delta_saved_bytes"})
        self.assertEqual(status["remote"], self.url())
        self.assertEqual(status["pages"], os.path.getsize(self.a) // 4096)
        self.assertEqual(status["cached_pages"], status["pages"])
        self.assertRegex(status["volume"], r"^[0-9a-f-]{36}$")

    def test_status_check__is_0_when_all_is_well(self):
        self.bound()
        self.ramet("status", self.a, "--check", "--max-lag", "10m")

    def test_status_check__is_3_when_diverged(self):
        self.diverged()
        done = self.run_ramet("status", self.a, "--check")
        self.assertEqual(done.returncode, support.CONFLICT, done.stderr)

    def test_status_check__is_1_past_max_lag(self):
        self.bound()
        b = self.cloned()
        self.sql(self.a, INSERT % "late")
        self.ramet("push", self.a)
        time.sleep(0.05)
        done = self.run_ramet("status", b, "--check", "--max-lag", "1ms")
        self.assertEqual(done.returncode, support.FAILED, done.stderr)
        self.assertEqual(
            self.run_ramet("status", b, "--check", "--max-lag",
                           "1h").returncode, support.DONE)

    # ---- log, ls, info

    def test_log__lists_commits_newest_first(self):
        self.bound()
        self.sql(self.a, INSERT % "two")
        self.ramet("push", self.a)
        for target in (self.a, self.url()):
            log = self.json("log", target)
            self.assertEqual([entry["lsn"] for entry in log], [2, 1])
            self.assertEqual(log[1]["changed_pages"], log[1]["page_count"])
            self.assertGreater(log[0]["time"], log[1]["time"])
        self.assertEqual(len(self.json("log", self.url(), "--limit", "1")), 1)
        self.assertEqual(self.json("log", self.url() + "@1")[0]["lsn"], 1)
        self.assertIn("2 ", self.ramet("log", self.url()).splitlines()[0])

    def test_ls__lists_volumes(self):
        self.bound()
        self.make_database(self.path("c.db"), rows=5)
        self.ramet("init", "c.db", "--remote", self.url("second"))
        for url in (self.store_url(), self.store_url() + "/"):
            names = {v["name"]: v for v in self.json("ls", url)}
            self.assertEqual(set(names), {"app", "second"})
            self.assertEqual(names["app"]["lsn"], 1)
            self.assertEqual(names["app"]["byte_length"],
                             os.path.getsize(self.a))

    def test_info__describes_a_volume_by_name_and_by_id(self):
        self.bound()
        info = self.json("info", self.url())
        self.assertEqual((info["lsn"], info["kind"], info["page_size"]),
                         (1, "sqlite", 4096))
        self.assertEqual(info["byte_length"], os.path.getsize(self.a))
        by_id = self.json("info", self.url(info["volume"]))
        self.assertEqual(by_id["volume"], info["volume"])

    def test_info__tells_of_deltas_and_of_the_map(self):
        self.make_database(self.path("wide.db"), rows=20000)
        self.ramet("init", self.path("wide.db"), "--remote", self.url())
        info = self.json("info", self.url())
        self.assertEqual((info["map_rollups"], info["delta_pages"]), (0, 0))
        self.sql(self.path("wide.db"), """
for i in range(150):
    db.execute("UPDATE t SET v = 'x' || ? WHERE rowid = ?", (i, 1 + i * 97))
    db.execute("SELECT ramet_push()").fetchone()
""")
        info = self.json("info", self.url())
        self.assertGreater(info["map_rollups"], 0)
        self.assertGreater(info["map_rollup_bytes"], 100)
        self.assertLess(info["map_tree_lsn"], info["map_lsn"])
        self.assertGreater(info["delta_pages"], 0)
        self.assertLess(info["delta_bytes"], 1000)
        text = self.ramet("info", self.url())
        self.assertRegex(text, r"\nmap       of LSN \d+: \d roll-ups? \(.*\) "
                               r"over the tree of LSN \d+\n")
        self.assertRegex(text, r"\ndeltas    \d+ of LSN 151, .* of pages: .* saved\n")
        deltas = sum(c["delta_pages"] for c in self.json("log", self.url()))
        self.assertEqual(self.json("verify", self.url())["deltas"], deltas)
        self.assertRegex(self.ramet("verify", self.url()),
                         r"^\d[\d,]* pages made of deltas and checked\n")

    def test_push__of_a_small_commit_by_who_runs_on_is_one_request(self):
        self.make_database(self.path("large.db"), rows=60000)
        self.ramet("init", self.path("large.db"), "--remote", self.url())
        counts = self.sql(self.path("large.db"), """
for i in range(6):
    db.execute("INSERT INTO t(v) VALUES('small')")
    db.execute("SELECT ramet_push()").fetchone()
    print(db.execute("SELECT requests FROM ramet_status").fetchone()[0])
""").split()
        each = [int(b) - int(a) for a, b in zip(counts, counts[1:])]
        # Straight on a directory, where nobody else checks: is it still what
        # the commit is based on, is none there already, and was the volume not
        # deleted meanwhile? In a bucket only the last. And the bases of two
        # pages are read there, each from among those of its tree.
        self.assertEqual(each, [{"http": 1, "s3": 1, "file": 7}[support.KIND]]
                         * 5)

    def test_push__of_small_changes_sends_deltas(self):
        path = self.path("large.db")
        self.make_database(path, rows=20000)
        self.ramet("init", path, "--remote", self.url("large"))
        self.sql(path, """
for push in range(70):  # past a page map
    db.execute("BEGIN")
    for i in range(3):
        db.execute("UPDATE t SET v = v || 'x' WHERE rowid = ?",
                   (push % 40 * 31 + i * 5000 + 1,))
    db.execute("COMMIT")
    db.execute("SELECT ramet_push()").fetchone()
""")
        log = self.json("log", self.url("large"), "--limit", "100")
        self.assertEqual(len(log), 71)
        deltas = sum(c["delta_pages"] for c in log)
        self.assertEqual(log[-1]["delta_pages"], 0)
        self.assertGreater(deltas, 150)
        self.assertLess(log[0]["stored_bytes"], 1000)
        self.assertIn(log[0]["delta_bytes"], range(1, 1000))
        self.assertEqual(log[-1]["delta_bytes"], 0)
        for c in log:
            self.assertEqual(c["delta_saved_bytes"],
                             4096 * c["delta_pages"] - c["delta_bytes"])
        # The newest, as the others who tell of it say.
        info = self.json("info", self.url("large"))
        status = self.json("status", path)
        for member in "delta_pages", "delta_bytes", "delta_saved_bytes":
            self.assertEqual(info[member], log[0][member])
            self.assertEqual(status[member], log[0][member])
        self.assertEqual(status["delta_lsn"], log[0]["lsn"])
        self.assertEqual(self.json("status", path, "--offline")["delta_lsn"], 0)
        for words in (("log", self.url("large"), "--limit", "1"),
                      ("info", self.url("large")), ("status", path)):
            self.assertRegex(self.ramet(*words), r"deltas.* [0-9.]+ kB saved")
        self.assertIn("as deltas", self.ramet("log", self.url("large"),
                                              "--limit", "1"))
        # A directory is asked for its bases, others are not.
        self.assertEqual(self.json("status", path)["bases_bytes"] > 0,
                         support.KIND != "file")
        if support.KIND == "http":
            for name, member in (("pages", "changed_pages"),
                                 ("delta_pages", "delta_pages"),
                                 ("delta_bytes", "delta_bytes"),
                                 ("delta_saved_bytes", "delta_saved_bytes")):
                self.assertEqual(
                    self.server.metric("ramet_commit_%s_total" % name),
                    sum(c[member] for c in log))
        self.ramet("export", self.url("large"), self.path("out.db"))
        self.ramet("export", path, self.path("own.db"))
        self.assert_same_file(self.path("out.db"), self.path("own.db"))
        self.ramet("verify", self.url("large"))
        b = self.path("b.db")
        self.ramet("clone", self.url("large"), b)
        self.ramet("hydrate", b)
        self.ramet("export", b, self.path("b_out.db"))
        self.assert_same_file(self.path("b_out.db"), self.path("own.db"))

    @unittest.skipUnless(support.KIND == "file", "reads a directory")
    def test_second_reader__agrees_with_export(self):
        for page_size in 512, 4096:  # frames of several pages, and of one
            name = "v%d" % page_size
            path = self.path(name + ".db")
            self.make_database(path, rows=1500, page_size=page_size)
            self.ramet("init", path, "--remote", self.url(name))
            self.sql(path, """
for push in range(75):  # past a page map
    db.execute("UPDATE t SET v = v || 'x' WHERE rowid %% 97 = ?", (push % 7,))
    if push == 20:
        db.execute("DELETE FROM t WHERE rowid > 750")
        db.execute("VACUUM")
    if push == 30:
        db.execute("INSERT INTO t(v) SELECT v || 'y' FROM t")
    db.execute("SELECT ramet_push()").fetchone()
""".replace("%%", "%"))
            store = self.url(name)[len("file://"):].rsplit("/", 1)[0]
            for lsn in 1, 22, 32, 64, 76:
                own, other = self.path("own.db"), self.path("other.db")
                self.ramet("export", "%s@%d" % (self.url(name), lsn), own)
                subprocess.run([sys.executable, READER, store, name, str(lsn),
                                other], check=True, timeout=60)
                self.assert_same_file(own, other)
                os.unlink(own)

    @unittest.skipUnless(support.KIND == "file", "reads a directory")
    def test_second_reader__agrees_where_roll_ups_are_in_the_way(self):
        path = self.path("wide.db")
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA page_size=512")
        db.execute("PRAGMA auto_vacuum=2")
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, v TEXT)")
        db.execute("BEGIN")
        db.executemany("INSERT INTO t(n, v) VALUES(?, ?)",
                       ((i, "row %06d " % i + "x" * 100) for i in range(16000)))
        db.execute("COMMIT")
        db.close()
        self.ramet("init", path, "--remote", self.url("wide"))
        self.sql(path, """
for push in range(2, 200):
    if push == 140:
        db.execute("UPDATE t SET n = n + 1 WHERE id % 60 = 5")
    db.execute("UPDATE t SET n = n + 1 WHERE id = ?", (push * 7919 % 15000,))
    if push == 100:
        db.execute("DELETE FROM t WHERE id > 15900")
        db.execute("PRAGMA incremental_vacuum")
    db.execute("SELECT ramet_push()").fetchone()
""")
        self.ramet("verify", self.url("wide"))
        store = self.url("wide")[len("file://"):].rsplit("/", 1)[0]
        for lsn in 130, 198:
            own, other = self.path("own.db"), self.path("other.db")
            self.ramet("export", "%s@%d" % (self.url("wide"), lsn), own)
            subprocess.run([sys.executable, READER, store, "wide", str(lsn),
                            other], check=True, timeout=60)
            self.assert_same_file(own, other)
            os.unlink(own)
        tops = []
        for folder, _, names in os.walk(store):
            for name in sorted(names) if folder.endswith("/maps") else ():
                with open(os.path.join(folder, name), "rb") as file:
                    raw = file.read()
                at = int.from_bytes(raw[-48:-40], "little")
                tops.append(raw[at] == 6)
        self.assertEqual(tops, [False, True, True])

    # ---- hydrate, export, restore

    def test_hydrate__asks_for_many_pages_at_once(self):
        self.make_database(self.path("large.db"), rows=60000)
        self.ramet("init", self.path("large.db"), "--remote",
                   self.url("large"))
        self.ramet("clone", self.url("large"), "b.db")
        result = self.json("hydrate", "b.db")
        self.assertGreater(result["pages"], 3000)
        a_request = 150 if self.server else 100  # pages; without: each read
        self.assertLess(result["requests"], result["pages"] // a_request)
        self.assert_same_file(self.path("b.db"), self.path("large.db"))

    def test_hydrate__of_scattered_pages_reads_what_lies_together(self):
        """Nothing between them, which is other trees' and comes anyway."""
        path = self.make_scattered(self.path("large.db"))
        self.ramet("init", path, "--remote", self.url("large"))
        self.ramet("clone", self.url("large"), "b.db")
        result = self.json("hydrate", "b.db")
        self.assertGreater(result["pages"], 6000)
        self.assertLess(result["requests"], result["pages"] // 100)
        if not self.server:
            stored = max(len(self.get_object(key))
                         for key in self.keys("/segments/"))
            self.assertLess(result["bytes"], stored * 1.1)
        self.assert_same_file(self.path("b.db"), path)

    def test_hydrate__brings_every_page(self):
        self.bound()
        b = self.cloned()
        self.assertGreater(self.json("hydrate", b)["pages"], 0)
        status = self.status(b)
        self.assertEqual(status["cached_pages"], status["pages"])
        self.assert_same_file(b, self.original)
        self.assertEqual(self.json("hydrate", b)["pages"], 0)

    def test_export__equals_the_original(self):
        self.bound()
        b = self.cloned()
        for number, source in enumerate((self.a, self.url(), b)):
            out = self.path("out%d.db" % number)
            result = self.json("export", source, out)
            self.assertEqual(result["byte_length"],
                             os.path.getsize(self.original))
            self.assert_same_file(out, self.original)

    def test_export__to_standard_output_is_the_same_file(self):
        self.bound()
        for source in (self.a, self.url()):
            with open(self.path("out.db"), "wb") as out:
                done = support.subprocess.run(
                    [support.RAMET, "export", source, "-"], stdout=out,
                    stderr=support.subprocess.PIPE)
            self.assertEqual(done.returncode, support.DONE, done.stderr)
            self.assertEqual(done.stderr, b"")
            self.assert_same_file(self.path("out.db"), self.original)
        with open("/dev/full", "wb") as full:
            done = support.subprocess.run(
                [support.RAMET, "export", self.a, "-"], stdout=full,
                stderr=support.subprocess.PIPE)
        self.assertEqual(done.returncode, support.FAILED)
        self.assertIn(b"standard output", done.stderr)
        self.refused(support.USAGE, "export", self.a, "-", "--json")

    def test_export__has_local_commits(self):
        self.bound()
        self.sql(self.a, INSERT % "local")
        self.ramet("export", self.a, "out.db")
        with sqlite3.connect(self.path("out.db")) as db:
            self.assertEqual(
                db.execute("SELECT count(*) FROM t").fetchone()[0], 501)

    def test_export__over_a_file_keeps_it_or_replaces_it_whole(self):
        self.bound()
        self.write(self.path("out.db"), b"old")
        code = self.run_ramet("export", self.a, "out.db").returncode
        if code == support.DONE:
            self.assert_same_file(self.path("out.db"), self.original)
        else:
            self.assertEqual(self.read(self.path("out.db")), b"old")

    def test_restore__goes_back_by_lsn_and_by_time(self):
        self.bound()
        time.sleep(0.05)
        then = datetime.datetime.now(datetime.timezone.utc).strftime(
            "%Y-%m-%dT%H:%M:%S.%fZ")
        time.sleep(0.05)
        self.sql(self.a, INSERT % "later")
        self.ramet("push", self.a)
        for number, when in enumerate(("1", then)):
            out = "then%d.db" % number
            self.assertEqual(self.json("restore", self.url() + "@" + when,
                                       out)["lsn"], 1)
            self.assert_same_file(self.path(out), self.original)
        self.ramet("restore", self.url(), "now.db")
        with sqlite3.connect(self.path("now.db")) as db:
            self.assertEqual(
                db.execute("SELECT count(*) FROM t").fetchone()[0], 501)

    def test_restore__of_an_lsn_to_come_is_not_found(self):
        self.bound()
        self.refused(support.NOT_FOUND, "restore", self.url() + "@9", "x.db")
        self.assertFalse(os.path.exists(self.path("x.db")))

    def test_restore__over_a_file_is_refused_or_moves_it_aside(self):
        self.bound()
        self.write(self.path("x.db"), b"mine")
        self.refused(support.FAILED, "restore", self.url() + "@1", "x.db")
        self.ramet("restore", self.url() + "@1", "x.db", "--if-absent")
        self.assertEqual(self.read(self.path("x.db")), b"mine")
        self.ramet("restore", self.url() + "@1", "x.db", "--replace")
        self.assert_same_file(self.path("x.db"), self.original)
        aside = [name for name in os.listdir(self.dir)
                 if re.match(r"x\.db\.before-\d+$", name)]
        self.assertEqual(len(aside), 1)
        self.assertEqual(self.read(self.path(aside[0])), b"mine")

    def test_restore__that_can_move_only_the_file_aside__moves_neither(self):
        """A name that is too long with the replica's directory's end at it."""
        path = self.make_database(self.path("x" * 229 + ".db"), rows=300)
        self.ramet("init", path, "--remote", self.url("long"))
        self.sql(path, INSERT % "later")
        before = self.read(path)
        self.refused(support.FAILED, "restore", self.url("long"), path,
                     "--replace")
        self.assertEqual(self.read(path), before)
        self.assertEqual(self.status(path)["local_commits"], 1)
        self.ramet("push", path)

    @unittest.skipUnless(os.path.exists(faults.SHIM), "needs the shim")
    def test_restore__that_can_not_sync_between_its_moves__moves_neither(self):
        """The directory's new name is on disk before the file moves: else the power
        could leave the directory without the file, which is cleared away."""
        self.bound()
        self.sql(self.a, INSERT % "later")
        before, shim = self.read(self.a), faults.Faults(self.path("faults"))
        shim.arm("sync", 0, errno.EIO)
        done = self.run_ramet("restore", self.url(), self.a, "--replace",
                              env=shim.env())
        self.assertTrue(shim.disarm())
        self.assertEqual(done.returncode, support.FAILED)
        self.assertIn("folder", done.stderr)
        self.assertEqual(self.read(self.a), before)
        self.assertEqual(self.status(self.a)["local_commits"], 1)
        self.assertEqual([name for name in os.listdir(self.dir)
                          if ".before-" in name], [])
        self.ramet("push", self.a)

    # ---- adopt, verify

    def edit_behind_our_back(self):
        with sqlite3.connect(self.a, isolation_level=None) as db:
            db.execute("UPDATE t SET v = 'edited' WHERE id = 7")

    def test_adopt__takes_a_foreign_edit_as_a_commit(self):
        self.bound()
        self.edit_behind_our_back()
        text = self.refused(support.CONFLICT, "push", self.a)
        self.assertIn("ramet adopt", text)
        self.assertGreater(self.json("adopt", self.a)["pages"], 0)
        self.assertEqual(self.json("push", self.a)["durable_lsn"], 2)
        b = self.cloned()
        self.assertEqual(self.sql(b, "print(db.execute('SELECT v FROM t WHERE "
                                     "id=7').fetchone()[0])"), "edited\n")

    def test_adopt__of_no_replica_is_not_found(self):
        self.assertIn("ramet init",
                      self.refused(support.NOT_FOUND, "adopt", self.a))

    def test_restore__gives_up_a_foreign_edit_and_keeps_it_aside(self):
        self.bound()
        self.edit_behind_our_back()
        self.ramet("restore", self.url(), self.a, "--replace")
        self.assert_same_file(self.a, self.original)
        aside = [name for name in os.listdir(self.dir)
                 if re.match(r"a\.db\.before-\d+$", name)]
        with sqlite3.connect(self.path(aside[0])) as db:
            self.assertEqual(db.execute(
                "SELECT v FROM t WHERE id=7").fetchone()[0], "edited")

    def test_verify__finds_nothing_wrong_where_nothing_is(self):
        self.bound()
        self.sql(self.a, INSERT % "two")
        self.ramet("push", self.a)
        self.assertEqual(self.json("verify", self.url())["damaged"], 0)
        result = self.json("verify", self.a)
        self.assertEqual(result["damaged"], 0)
        self.assertGreater(result["checked"], 0)

    def test_verify__names_a_damaged_object(self):
        self.bound()
        self.make_database(self.path("big.db"), rows=20000)
        self.ramet("init", "big.db", "--remote", self.url("big"))
        self.assertTrue(self.keys("/segments/"))
        key = self.keys("/segments/")[0]
        data = bytearray(self.get_object(key))
        data[len(data) // 2] ^= 1
        self.put_object(key, bytes(data))
        done = self.run_ramet("verify", self.url("big"), "--json")
        self.assertEqual(done.returncode, support.DAMAGED, done.stderr)
        self.assertGreater(support.json.loads(done.stdout)["damaged"], 0)


if __name__ == "__main__":
    support.main()
