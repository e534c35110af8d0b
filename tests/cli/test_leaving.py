#!/usr/bin/python3
"""Leaving a remote: detach, delete, rebind."""
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import threading
import unittest

import support
from proxy import Proxy

COUNT = "SELECT count(*) FROM t"


class Detach(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=300)
        self.ramet("init", self.a, "--remote", self.url())

    def plain_count(self, path):
        db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
        self.assertEqual(db.execute("PRAGMA integrity_check").fetchone(),
                         ("ok",))
        count = db.execute(COUNT).fetchone()[0]
        db.close()
        return count

    def test_detach__of_a_whole_replica__leaves_the_plain_file_alone(self):
        told = self.json("detach", self.a)
        self.assertEqual(told["remote"], self.url())
        self.assertEqual((told["unpushed_commits"], told["has_lost"]),
                         (0, False))
        self.assertEqual(os.listdir(self.dir).count("a.db-ramet"), 0)
        self.assertEqual(self.plain_count(self.a), 300)
        self.assertIn("is not a replica", self.refused(
            support.NOT_FOUND, "push", self.a))
        self.assertEqual(self.json("info", self.url())["lsn"], 1)

    def test_detach__keeps_commits_that_were_not_pushed(self):
        self.sql(self.a, "db.execute(\"INSERT INTO t(v) VALUES('new')\")\n"
                 "db.execute(\"INSERT INTO t(v) VALUES('newer')\")")
        told = self.ramet("detach", "a.db")
        self.assertIn("2 commits that the remote does not have are in it",
                      told)
        self.assertEqual(self.plain_count(self.a), 302)

    def test_detach__of_a_partial_replica__is_refused_and_names_hydrate(self):
        self.ramet("clone", self.url(), "b.db")
        self.assertIn("ramet hydrate", self.refused(support.FAILED, "detach",
                                                    "b.db"))
        self.assertEqual(self.status("b.db")["remote"], self.url())
        self.ramet("hydrate", "b.db")
        self.ramet("detach", "b.db")
        self.assertEqual(self.plain_count(self.path("b.db")), 300)
        self.assertFalse(os.path.exists(self.path("b.db-ramet")))

    def test_detach__after_a_pull_that_made_pages_absent__is_refused(self):
        self.ramet("clone", self.url(), "b.db", "--hydrate")
        self.sql(self.a, "db.execute('UPDATE t SET v = hex(randomblob(500))')")
        self.ramet("push", self.a)  # more than comes along with a commit
        self.ramet("pull", "b.db")
        self.assertIn("ramet hydrate", self.refused(support.FAILED, "detach",
                                                    "b.db"))
        self.ramet("hydrate", "b.db")
        self.ramet("detach", "b.db")
        self.assertEqual(self.plain_count(self.path("b.db")), 300)

    def test_detach__while_a_program_has_it_open__is_refused(self):
        reader = subprocess.Popen(
            ["/usr/bin/python3", "-c", support.SQL_CHILD, support.EXTENSION,
             "file:%s?vfs=ramet&sync=manual" % self.a,
             "db.execute('%s').fetchall()\n"
             "print('open', flush=True)\nimport sys\nsys.stdin.read()" % COUNT],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(reader.stdout.readline(), "open\n")
        self.assertIn("open elsewhere", self.refused(support.FAILED, "detach",
                                                     "a.db"))
        reader.communicate("")
        self.ramet("detach", "a.db")
        self.assertEqual(self.plain_count(self.a), 300)

    def test_detach__keeps_what_was_set_aside_and_tells_where(self):
        self.ramet("clone", self.url(), "b.db", "--hydrate")
        self.sql("b.db", "db.execute(\"INSERT INTO t(v) VALUES('b')\")")
        self.sql(self.a, "db.execute(\"INSERT INTO t(v) VALUES('a')\")")
        self.ramet("push", self.a)
        self.ramet("pull", "b.db", expect=support.CONFLICT)
        self.ramet("reset", "b.db")
        self.ramet("hydrate", "b.db")
        self.assertIn("b.db-ramet/lost/", self.ramet("detach", "b.db"))
        self.assertEqual(os.listdir(self.path("b.db-ramet")), ["lost"])
        self.assertEqual(len(self.json("lost", "b.db")), 1)

    def test_detached_file__can_become_a_replica_again(self):
        self.ramet("detach", self.a)
        db = sqlite3.connect(self.a)
        db.execute("INSERT INTO t(v) VALUES('in between')")
        db.commit()
        db.close()
        self.ramet("init", self.a, "--remote", self.url("again"))
        self.ramet("export", self.url("again"), "out.db")
        self.assertEqual(self.plain_count(self.path("out.db")), 301)

    def test_detach__cut_off_after_it_was_decided__is_a_plain_file(self):
        os.rename(self.path("a.db-ramet", "state"),
                  self.path("a.db-ramet", "detached"))
        self.assertIn("is not a replica", self.refused(
            support.NOT_FOUND, "push", self.a))
        shutil.copytree(self.dir, self.dir + ".copy")
        self.addCleanup(shutil.rmtree, self.dir + ".copy")
        self.ramet("detach", self.a)  # finishes it
        self.assertFalse(os.path.exists(self.path("a.db-ramet")))
        # Whoever makes a replica there finishes it, too.
        again = os.path.join(self.dir + ".copy", "a.db")
        self.ramet("init", again, "--remote", self.url("again"))
        self.assertEqual(self.json("info", self.url("again"))["lsn"], 1)
        self.assertNotIn("detached", os.listdir(again + "-ramet"))

    def test_detach__of_a_blob__keeps_its_bytes(self):
        data = os.urandom(300001)
        self.write(self.path("blob"), data)
        self.ramet("init", "blob", "--remote", self.url("blob"))
        self.ramet("detach", "blob")
        self.assertEqual(self.read(self.path("blob")), data)
        self.assertFalse(os.path.exists(self.path("blob-ramet")))

    def test_detach__of_no_replica__is_told(self):
        self.write(self.path("plain"), b"x")
        self.refused(support.NOT_FOUND, "detach", "plain")
        self.refused(support.NOT_FOUND, "detach", "nothing")


class Rebind(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=300)
        self.ramet("init", self.a, "--remote", self.url())
        self.insert("one")
        self.ramet("push", self.a)

    def insert(self, value, path=None):
        self.sql(path or self.a,
                 "db.execute(\"INSERT INTO t(v) VALUES('%s')\")" % value)

    def copy_store(self, name="copy"):
        """The URL of the volume in a copy of the store."""
        to = self.path(name)
        shutil.copytree(self.store, to)
        if self.server is None:
            return "file://%s/app" % to
        server = support.Server(to)
        self.addCleanup(server.stop)
        return server.url() + "/app"

    def assert_stays(self, path=None):
        self.assertEqual(self.status(path or self.a)["remote"], self.url())

    def test_rebind__to_a_copy__pushes_there_from_then_on(self):
        copy = self.copy_store()
        self.insert("two")
        told = self.json("rebind", self.a, copy)
        self.assertEqual((told["from"], told["to"], told["durable_lsn"],
                          told["local_commits"]), (self.url(), copy, 2, 1))
        self.assertEqual(self.status(self.a)["remote"], copy)
        self.ramet("push", self.a)
        self.assertEqual(self.json("info", copy)["lsn"], 3)
        self.assertEqual(self.json("info", self.url())["lsn"], 2)
        self.ramet("rebind", self.a, copy)  # there already

    def test_rebind__to_what_copy_made__and_back(self):
        copy = "file://%s/app" % self.path("made")
        self.ramet("copy", self.url(), copy)
        self.ramet("rebind", self.a, copy)
        self.insert("two")
        self.ramet("push", self.a)
        self.assertIn("ramet copy", self.refused(
            support.CONFLICT, "rebind", self.a, self.url()))  # is behind now
        self.ramet("copy", copy, self.url())
        self.ramet("rebind", self.a, self.url())
        self.assert_stays()
        self.assertEqual(self.json("info", self.url())["lsn"], 3)

    def test_rebind__to_a_copy_that_went_on__is_followed_by_a_pull(self):
        self.ramet("clone", self.url(), "b.db")
        self.insert("two")
        self.ramet("push", self.a)
        copy = self.copy_store()
        self.assertIn("LSN 2 of 3", self.ramet("rebind", "b.db", copy))
        self.ramet("pull", "b.db")
        self.assertEqual(self.sql("b.db", "print(db.execute(\"%s\").fetchone()"
                                  "[0])" % COUNT), "302\n")

    def test_rebind__to_a_copy_that_is_behind__is_refused(self):
        copy = self.copy_store()
        self.insert("two")
        self.ramet("push", self.a)
        self.assertIn("is behind, at LSN 2", self.refused(
            support.CONFLICT, "rebind", self.a, copy))
        self.assert_stays()

    def test_rebind__to_what_went_another_way__is_refused(self):
        copy = self.copy_store()
        self.ramet("clone", copy, "b.db")
        for path in (self.a, "b.db"):
            self.insert("from " + path, path)
            self.ramet("push", path)
        self.assertIn("its LSN 3 is another commit", self.refused(
            support.CONFLICT, "rebind", self.a, copy))
        self.assert_stays()

    def test_rebind__to_another_volume__is_refused(self):
        self.ramet("init", self.make_database(self.path("b.db")), "--remote",
                   self.url("other"))
        self.assertIn("another volume", self.refused(
            support.CONFLICT, "rebind", self.a, self.url("other")))
        self.refused(support.NOT_FOUND, "rebind", self.a, self.url("none"))
        self.assert_stays()

    def test_rebind__of_local_commits_that_would_diverge__is_refused(self):
        self.ramet("clone", self.url(), "b.db")
        self.insert("two")
        self.ramet("push", self.a)
        self.insert("two of b", "b.db")
        self.refused(support.CONFLICT, "rebind", "b.db", self.copy_store())
        self.assert_stays("b.db")

    def test_rebind__while_a_program_has_it_open__is_refused(self):
        copy = self.copy_store()
        reader = subprocess.Popen(
            ["/usr/bin/python3", "-c", support.SQL_CHILD, support.EXTENSION,
             "file:%s?vfs=ramet&sync=manual" % self.a,
             "db.execute('%s').fetchall()\n"
             "print('open', flush=True)\nimport sys\nsys.stdin.read()" % COUNT],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(reader.stdout.readline(), "open\n")
        self.assertIn("open elsewhere", self.refused(
            support.FAILED, "rebind", "a.db", copy))
        reader.communicate("")
        self.ramet("rebind", "a.db", copy)

    def test_rebind__of_what_was_never_pushed__names_init(self):
        self.sql("new.db", "db.execute('CREATE TABLE t(v)')")
        self.assertIn("ramet init", self.refused(
            support.USAGE, "rebind", "new.db", self.url()))

    @unittest.skipUnless(support.KIND == "http", "needs answers that are lost")
    def test_rebind__while_a_push_is_in_doubt__is_refused(self):
        cut = []

        def hook(method, path, forward):
            if cut and method == "POST" and path.endswith("/commits"):
                return None  # it never comes to the server
            return forward()
        proxy = Proxy(self.server.port, hook)
        self.addCleanup(proxy.close)
        self.ramet("init", self.make_database(self.path("b.db")), "--remote",
                   proxy.url("b"))
        self.insert("b", "b.db")
        cut.append(True)
        self.ramet("push", "b.db", expect=support.UNREACHABLE)
        self.assertIn("ramet push", self.refused(
            support.UNREACHABLE, "rebind", "b.db", self.url("b")))
        cut.clear()
        self.ramet("push", "b.db")
        self.ramet("rebind", "b.db", self.url("b"))
        self.assertEqual(self.status("b.db")["remote"], self.url("b"))

    def losing_answers(self, then=lambda: None):
        """The replica goes over to where answers to commits are lost while the list that
        is returned has something; `then` is called as one is."""
        lost = []

        def hook(method, path, forward):
            reply = forward()
            if lost and method == "POST" and path.endswith("/commits"):
                then()
                return None
            return reply
        proxy = Proxy(self.server.port, hook)
        self.addCleanup(proxy.close)
        self.ramet("rebind", self.a, proxy.url("app"))
        return lost

    def count_of(self, value):
        return int(self.sql(self.a, "print(db.execute(\"SELECT count(*) FROM t "
                                    "WHERE v = '%s'\").fetchone()[0])" % value))

    @unittest.skipUnless(support.KIND == "http", "needs answers that are lost")
    def test_rebind__while_a_commit_is_in_doubt__is_refused(self):
        """sync=commit, by who died as it had landed."""
        began, writers = threading.Event(), []

        def kill():
            began.wait(60)
            writers[0].kill()
            writers[0].wait()

        lost = self.losing_answers(kill)
        copy = self.copy_store()
        lost.append(True)
        writers.append(subprocess.Popen(
            ["/usr/bin/python3", "-c", support.SQL_CHILD, support.EXTENSION,
             "file:%s?vfs=ramet&sync=commit" % self.a,
             "db.execute(\"INSERT INTO t(v) VALUES('who knows')\")"]))
        began.set()
        self.assertEqual(writers[0].wait(60), -signal.SIGKILL)
        self.assertTrue(self.status(self.a)["in_doubt"])
        self.assertIn("ramet push", self.refused(
            support.UNREACHABLE, "rebind", self.a, copy))
        lost.clear()
        self.ramet("push", self.a)
        self.assertIn("is behind", self.refused(
            support.CONFLICT, "rebind", self.a, copy))
        self.ramet("rebind", self.a, self.url())
        self.assertEqual(self.json("info", self.url())["lsn"], 3)
        self.assertEqual(self.count_of("who knows"), 1)

    def rebind_without_an_answer(self, landed):
        """sync=commit, rolled back here as no answer came: what became of it is what the
        copy says."""
        lost = self.losing_answers()
        before = None if landed else self.copy_store()
        lost.append(True)
        self.sql(self.a, """
try:
    db.execute("INSERT INTO t(v) VALUES('who knows')")
    print('committed')
except sqlite3.Error as e:
    print(e.sqlite_errorname)""", sync="commit")
        self.assertTrue(self.status(self.a)["in_doubt"])
        copy = before or self.copy_store()
        self.ramet("rebind", self.a, copy)
        self.ramet("sync", self.a)
        self.assertEqual(self.count_of("who knows"), landed)
        self.sql(self.a, "db.execute(\"INSERT INTO t(v) VALUES('then')\")",
                 sync="commit")
        self.assertFalse(self.status(self.a)["in_doubt"])
        self.ramet("export", copy, "out.db")
        db = sqlite3.connect(self.path("out.db"))
        self.assertEqual(db.execute(
            "SELECT v, count(*) FROM t WHERE v IN ('who knows', 'then') "
            "GROUP BY v ORDER BY v").fetchall(),
            [("then", 1)] + [("who knows", 1)] * landed)
        db.close()

    @unittest.skipUnless(support.KIND == "http", "needs answers that are lost")
    def test_rebind__without_an_answer__to_a_copy_that_has_the_commit(self):
        self.rebind_without_an_answer(True)

    @unittest.skipUnless(support.KIND == "http", "needs answers that are lost")
    def test_rebind__without_an_answer__to_a_copy_without_the_commit(self):
        self.rebind_without_an_answer(False)


class Delete(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=300)
        self.ramet("init", self.a, "--remote", self.url())
        self.ramet("init", self.make_database(self.path("b.db")), "--remote",
                   self.url("other"))

    def names(self):
        return sorted(v["name"] for v in self.json("ls", self.store_url()))

    def test_delete__with_yes__deletes_that_volume_and_says_which(self):
        volume = self.status(self.a)["volume"]
        told = self.json("delete", self.url(), "--yes")
        self.assertEqual((told["url"], told["volume"], told["lsn"]),
                         (self.url(), volume, 1))
        self.assertEqual(self.names(), ["other"])
        # What is left says that it ended, if the format has such a commit.
        self.assertEqual([path for path in self.objects(volume)
                          if "/commits/" not in path], [])
        self.assertLessEqual(len(self.objects(volume)), 1)
        self.refused(support.NOT_FOUND, "info", self.url())
        self.refused(support.NOT_FOUND, "delete", self.url(), "--yes")
        # A replica keeps what it has.
        self.ramet("export", self.a, "out.db")

    def test_delete__by_id__takes_the_names_too(self):
        volume = self.status(self.a)["volume"]
        self.assertIn("deleted %s, volume %s, LSN 1 of" % (volume, volume),
                      self.ramet("delete", self.url(volume), "--yes"))
        self.assertEqual(self.names(), ["other"])

    def test_delete__not_on_a_terminal__needs_yes(self):
        done = self.run_ramet("delete", self.url(), stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, support.USAGE)
        self.assertIn("--yes", done.stderr)
        self.assertEqual(self.names(), ["app", "other"])

    def answer(self, text):
        """The exit code and what a terminal was shown."""
        try:
            ours, theirs = pty.openpty()
        except OSError as error:  # a chroot without devpts
            self.skipTest(str(error))
        child = subprocess.Popen([support.RAMET, "delete", self.url()],
                                 stdin=theirs, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        os.close(theirs)
        os.write(ours, text.encode())
        shown = child.communicate(timeout=60)[0]
        os.close(ours)
        return child.returncode, shown

    def test_delete__on_a_terminal__wants_the_name_typed(self):
        code, shown = self.answer("yes\n")
        self.assertEqual(code, support.FAILED, shown)
        self.assertIn("not deleted", shown)
        self.assertEqual(self.names(), ["app", "other"])
        code, shown = self.answer("app\n")
        self.assertEqual(code, support.DONE, shown)
        self.assertIn("LSN 1", shown)
        self.assertEqual(self.names(), ["other"])

    def test_delete__cut_short__is_finished_by_doing_it_again(self):
        commits = self.objects(self.status(self.a)["volume"] + "/commits/")
        os.unlink(commits[-1])  # as the first step of a deletion leaves it
        self.ramet("delete", self.url(), "--yes")
        self.assertEqual(self.names(), ["other"])

    def test_delete__of_a_snapshot_or_a_store__is_refused(self):
        self.refused(support.USAGE, "delete", self.url() + "@1", "--yes")
        self.refused(support.USAGE, "delete", self.store_url() + "/", "--yes")
        self.refused(support.NOT_FOUND, "delete", self.url("no"), "--yes")
        self.assertEqual(self.names(), ["app", "other"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
