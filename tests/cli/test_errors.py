#!/usr/bin/python3
"""Bad input and a bad world: a clear error each, nothing lost, nothing hangs."""
import os
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

import support

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
ROOT = os.geteuid() == 0 and shutil.which("setpriv") is not None
INSERT = "db.execute(\"INSERT INTO t(v) VALUES('%s')\")"


class Errors(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"))
        self.original = self.read(self.a)

    def init(self):
        self.ramet("init", self.a, "--remote", self.url())

    # ---- URLs and paths

    def test_url__that_is_wrong_is_refused_in_words(self):
        for url in ("nonsense", "ftp://host/name", "file://", "file:///",
                    "file:///x/.hidden", "file:///x/na me", "http://",
                    "http:///name", self.url("x") + "@yesterday",
                    self.url("x") + "@", "file:///x/" + "n" * 129):
            done = self.run_ramet("init", self.a, "--remote", url)
            self.assertIn(done.returncode,
                          (support.USAGE, support.NOT_FOUND), url)
            self.assertRegex(done.stderr, r"\Aramet: init [^\n]+\n\Z")
        self.assertEqual(self.read(self.a), self.original)

    def test_url__of_a_store_alone_makes_no_store(self):
        self.refused(support.USAGE, "init", self.a, "--remote",
                     "file://" + self.path("new") + "/")
        self.assertFalse(os.path.exists(self.path("new")))

    def test_file__that_is_not_there_is_not_found(self):
        for verb in ("push", "pull", "fetch", "sync", "status", "log",
                     "hydrate", "reset", "adopt", "verify"):
            self.refused(support.NOT_FOUND, verb, "missing.db")
        self.refused(support.NOT_FOUND, "init", "missing.db", "--remote",
                     self.url())
        self.refused(support.NOT_FOUND, "export", "missing.db", "out.db")

    def test_plain_file__is_no_replica_and_stays_untouched(self):
        for verb in ("push", "pull", "status", "hydrate"):
            self.refused(support.NOT_FOUND, verb, self.a)
        self.assertEqual(self.read(self.a), self.original)
        self.assertFalse(os.path.exists(self.a + "-ramet"))

    def test_directory__in_place_of_a_file_is_refused(self):
        os.mkdir(self.path("dir"))
        done = self.run_ramet("init", "dir", "--remote", self.url())
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"\Aramet: init [^\n]+\n\Z")

    def test_config__with_an_unknown_key_names_it(self):
        self.write(self.path("ramet.conf"), b"[remote x]\ncolour = blue\n")
        self.assertIn("colour", self.refused(support.USAGE, "ls", "x:"))

    def test_config__names_remotes(self):
        self.write(self.path("ramet.conf"),
                   ("[remote work]\nurl = %s\n" % self.store_url()).encode())
        self.ramet("init", self.a, "--remote", "work:app")
        self.assertEqual(self.json("info", "work:app")["lsn"], 1)
        self.assertEqual(len(self.json("ls", "work:")), 1)
        self.assertEqual(len(self.json("ls", "work")), 1)
        self.refused(support.NOT_FOUND, "info", "play:app")

    # ---- permissions

    def as_nobody(self, *words):
        environment = dict(os.environ, HOME="/nonexistent")
        return subprocess.run([*NOBODY, support.RAMET, *words], text=True,
                              cwd=self.dir, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60)

    @unittest.skipUnless(ROOT, "needs root, to become nobody")
    def test_store__that_may_not_be_written_exits_with_5(self):
        if support.KIND != "file":
            self.skipTest("a directory's matter")
        self.init()
        os.chmod(self.dir, 0o755)
        mine = self.path("mine")
        os.mkdir(mine)
        shutil.copyfile(self.a, mine + "/b.db")
        for path in (mine, mine + "/b.db"):
            os.chown(path, 65534, 65534)
        done = self.as_nobody("init", mine + "/b.db", "--remote",
                              self.url("b"))
        self.assertEqual(done.returncode, support.NOT_PERMITTED, done.stderr)
        self.assertRegex(done.stderr, r"\Aramet: init [^\n]+\n\Z")
        with sqlite3.connect(mine + "/b.db") as db:
            self.assertEqual(
                db.execute("SELECT count(*) FROM t").fetchone()[0], 500)

    @unittest.skipUnless(ROOT, "needs root, to become nobody")
    def test_replica__in_a_read_only_directory_is_read_and_not_pushed(self):
        self.init()
        self.sql(self.a, INSERT % "to push")
        os.chmod(self.dir, 0o755)
        done = self.as_nobody("status", self.a, "--json")
        self.assertEqual(done.returncode, support.DONE, done.stderr)
        self.assertEqual(support.json.loads(done.stdout)["local_commits"], 1)
        done = self.as_nobody("push", self.a)
        self.assertEqual(done.returncode, support.NOT_PERMITTED, done.stderr)
        self.assertRegex(done.stderr, r"\Aramet: push[^\n]+\n\Z")
        self.assertEqual(self.json("push", self.a)["durable_lsn"], 2)

    @unittest.skipUnless(ROOT, "needs root, to become nobody")
    def test_clone__in_a_read_only_directory_is_verified_and_not_hydrated(self):
        self.init()
        clone = self.path("clone.db")
        self.ramet("clone", self.url(), clone)
        for folder, names, files in os.walk(self.dir):
            for name in names:
                os.chmod(os.path.join(folder, name), 0o755)
            for name in files:
                os.chmod(os.path.join(folder, name), 0o644)
        os.chmod(self.dir, 0o755)
        done = self.as_nobody("verify", clone)
        self.assertEqual(done.returncode, support.DONE, done.stderr)
        done = self.as_nobody("hydrate", clone)  # 60 s at most
        self.assertEqual(done.returncode, support.NOT_PERMITTED, done.stderr)
        self.assertIn("can't be written", done.stderr)

    # ---- space

    @unittest.skipUnless(ROOT, "needs root, to mount a small tmpfs")
    def test_full_disk__fails_clearly_and_loses_nothing(self):
        small = self.path("small")
        os.mkdir(small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs",
                           small], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("mount is not permitted here")
        self.addCleanup(subprocess.run, ["umount", small])
        self.make_database(self.path("big.db"), rows=40000)
        self.ramet("init", "big.db", "--remote", self.url("big"))
        out = os.path.join(small, "out.db")
        self.refused(support.FAILED, "export", self.url("big"), out)
        self.assertEqual(os.listdir(small), [])  # whole or not at all
        self.run_ramet("clone", self.url("big"), os.path.join(small, "b.db"),
                       "--hydrate")
        # A remote that is full: the replica keeps what it could not send.
        shutil.copyfile(self.path("big.db"), self.path("huge.db"))
        self.refused(support.FAILED, "init", "huge.db", "--remote",
                     "file://" + small + "/store/huge")
        self.assertEqual(self.json("verify", self.path("huge.db"))["damaged"],
                         0)
        self.assert_same_file(self.path("huge.db"), self.path("big.db"))

    # ---- the remote

    def take_remote_away(self):
        if self.server:
            self.server.stop()
        else:
            os.rename(self.store, self.store + ".away")

    def bring_remote_back(self):
        if self.server:
            self.server.start()
        else:
            os.rename(self.store + ".away", self.store)

    def test_remote_gone__is_told_and_local_work_goes_on(self):
        self.init()
        self.ramet("clone", self.url(), "b.db")
        self.take_remote_away()
        self.sql(self.a, INSERT % "offline")
        for words in (("push", self.a), ("pull", self.a), ("fetch", self.a),
                      ("log", self.a), ("info", self.url()),
                      ("hydrate", "b.db")):
            done = self.run_ramet(*words, timeout=60)
            self.assertIn(done.returncode,
                          (support.UNREACHABLE, support.NOT_FOUND), done)
            self.assertRegex(done.stderr, r"\Aramet: [^\n]+\n\Z")
        status = self.status(self.a)
        self.assertEqual(status["local_commits"], 1)
        self.assertNotEqual(self.run_ramet("status", self.a,
                                           "--check").returncode, 0)
        self.bring_remote_back()
        self.assertEqual(self.json("push", self.a)["durable_lsn"], 2)
        self.assertEqual(self.sql(self.path("b.db"), "print(db.execute('SELECT"
                         " count(*) FROM t').fetchone()[0])"), "500\n")

    def go_back_in_time(self):
        """The store as it was when self.store.old was made."""
        if self.server:
            self.server.stop()
        shutil.rmtree(self.store)
        shutil.copytree(self.store + ".old", self.store)
        if self.server:
            self.server.start()

    def test_remote_that_went_back_in_time__is_refused(self):
        self.init()
        shutil.copytree(self.store, self.store + ".old")
        self.sql(self.a, INSERT % "lost at the remote")
        self.ramet("push", self.a)
        self.go_back_in_time()
        self.sql(self.a, INSERT % "on what the remote forgot")
        for verb in ("push", "pull", "sync"):
            self.assertIn("went back in time",
                          self.refused(support.CONFLICT, verb, self.a))
        self.ramet("export", self.a, "out.db")
        with sqlite3.connect(self.path("out.db")) as db:
            self.assertEqual(
                db.execute("SELECT count(*) FROM t").fetchone()[0], 502)

    def test_remote_that_went_another_way__is_refused(self):
        """The same LSN, another commit: a backup that was written to."""
        self.init()
        self.ramet("clone", self.url(), "b.db")
        shutil.copytree(self.store, self.store + ".old")
        self.sql(self.a, INSERT % "one line")
        self.ramet("push", self.a)
        self.go_back_in_time()
        self.sql(self.path("b.db"), INSERT % "another line")
        self.ramet("push", "b.db")
        self.sql(self.a, INSERT % "on the first line")
        for verb in ("push", "pull"):
            self.assertIn("on which this replica stands",
                          self.refused(support.CONFLICT, verb, self.a))
        self.assertEqual(self.sql(self.a, "print(db.execute('SELECT count(*) "
                                  "FROM t').fetchone()[0])"), "502\n")
        self.assertEqual(self.json("info", self.url())["lsn"], 2)

    # ---- damage

    def damage(self, part, change):
        """Apply `change` to the bytes of each object whose key has `part`."""
        paths = self.objects(part)
        self.assertTrue(paths, part)
        for path in paths:
            data = bytearray(self.read(path))
            data = change(data)
            os.chmod(path, 0o644)
            self.write(path, bytes(data))
        if self.server:  # it may have verified them before
            self.server.stop()
            self.server.start()

    def assert_damage_is_told(self):
        for words in (("export", self.url("big"), "out.db"),
                      ("clone", self.url("big"), "b.db", "--hydrate"),
                      ("verify", self.url("big"))):
            done = self.run_ramet(*words, timeout=60)
            self.assertEqual(done.returncode, support.DAMAGED,
                             "%s: %s" % (words, done.stderr))
            self.assertFalse(os.path.exists(self.path("out.db")))

    def make_big(self):
        self.make_database(self.path("big.db"), rows=20000)
        self.ramet("init", "big.db", "--remote", self.url("big"))
        self.ramet("export", "big.db", "truth.db")

    def flip(self, data):
        data[len(data) // 2] ^= 0x10
        return data

    def test_segment_damaged__is_told_and_never_read(self):
        self.make_big()
        self.damage("/segments/", self.flip)
        self.assert_damage_is_told()

    def test_segment_cut_short__is_told(self):
        self.make_big()
        self.damage("/segments/", lambda data: data[:len(data) // 2])
        self.assert_damage_is_told()

    def test_segment_of_another_volume__is_told(self):
        """A right body for the wrong key."""
        self.make_big()
        segments = self.objects("/segments/")
        bodies = [self.read(path) for path in segments]
        self.make_database(self.path("other.db"), rows=21000)
        self.ramet("init", "other.db", "--remote", self.url("other"))
        others = [path for path in self.objects("/segments/")
                  if path not in segments]
        self.assertTrue(others and bodies)
        largest = max(others, key=os.path.getsize)
        for path in segments:
            os.chmod(path, 0o644)
            shutil.copyfile(largest, path)
        if self.server:
            self.server.stop()
            self.server.start()
        self.assert_damage_is_told()

    def test_commit_damaged__is_told(self):
        self.make_big()
        self.damage("/commits/", self.flip)
        done = self.run_ramet("export", self.url("big"), "out.db")
        self.assertEqual(done.returncode, support.DAMAGED, done.stderr)

    def test_damage_that_was_put_right__is_none_any_more(self):
        """A server that was running meanwhile has it in memory."""
        self.make_big()
        truth = self.read(self.path("truth.db"))
        for part in ("/segments/", "/commits/"):
            good = {path: self.read(path) for path in self.objects(part)}
            self.damage(part, self.flip)
            self.assert_damage_is_told()
            for path, data in good.items():
                self.write(path, data)
            self.ramet("export", self.url("big"), "out.db")
            self.assertTrue(self.read(self.path("out.db")) == truth)
            os.remove(self.path("out.db"))
            shutil.rmtree(self.path("b.db-ramet"), ignore_errors=True)
            if os.path.exists(self.path("b.db")):
                os.remove(self.path("b.db"))

    def test_commit_emptied__is_told(self):
        self.make_big()
        self.damage("/commits/", lambda data: bytearray())
        done = self.run_ramet("export", self.url("big"), "out.db")
        self.assertEqual(done.returncode, support.DAMAGED, done.stderr)

    def test_page_here_damaged__is_told_by_verify_and_brought_again(self):
        """By bit rot: the file's time does not change."""
        self.make_big()
        self.ramet("clone", self.url("big"), "b.db", "--hydrate")
        path = self.path("b.db")
        times = os.stat(path)
        with open(path, "r+b") as out:
            out.seek(40 * 4096 + 100)
            out.write(b"rotten")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        done = self.run_ramet("verify", path, "--json")
        self.assertEqual(done.returncode, support.DAMAGED, done.stderr)
        told = support.json.loads(done.stdout)
        self.assertEqual((told["damaged"], told["left"]), (1, 0))
        self.assertIn("was mended", done.stderr)
        self.ramet("hydrate", path)
        self.assertEqual(self.json("verify", path)["damaged"], 0)
        self.assert_same_file(path, self.path("truth.db"))

    def test_page_here_damaged__that_nobody_else_has__is_left(self):
        path = self.make_database(self.path("own.db"))
        self.ramet("init", path, "--remote", self.url("own"))
        self.sql(path, "db.execute('UPDATE t SET v = v || 1')")
        times = os.stat(path)
        with open(path, "r+b") as out:
            out.seek(20 * 4096 + 100)
            out.write(b"rotten")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        for _ in range(2):
            done = self.run_ramet("verify", path, "--json")
            self.assertEqual(done.returncode, support.DAMAGED, done.stderr)
            told = support.json.loads(done.stdout)
            self.assertEqual((told["damaged"], told["left"]), (1, 1))
            self.assertIn("1 page is damaged still", done.stderr)
        self.ramet("adopt", path)
        self.assertEqual(self.json("verify", path)["left"], 0)

    def test_page_here_edited__is_refused(self):
        self.make_big()
        self.ramet("clone", self.url("big"), "b.db", "--hydrate")
        with open(self.path("b.db"), "r+b") as out:
            out.seek(40 * 4096 + 100)
            out.write(b"edited")
        self.refused(support.CONFLICT, "push", "b.db")


if __name__ == "__main__":
    support.main()
