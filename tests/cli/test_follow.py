#!/usr/bin/python3
"""`ramet sync` of several files, and of directories, once and for as long as it
runs."""
import json
import os
import pty
import queue
import re
import signal
import subprocess
import threading
import unittest

import support

INSERT = "db.execute(\"INSERT INTO t(v) VALUES('%s')\")"
COUNT = "print(db.execute('SELECT count(*) FROM t').fetchone()[0])"


class Follower:
    """`ramet sync --follow`; its lines as they come."""

    def __init__(self, test, *words):
        self.process = subprocess.Popen(
            [support.RAMET, "sync", "--follow", "--interval", "100ms", *words],
            cwd=test.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        self.lines = queue.Queue()
        self.passed_by = []
        self.errors = []
        self.readers = [threading.Thread(target=self.read_lines),
                        threading.Thread(target=self.read_errors)]
        for reader in self.readers:
            reader.start()
        test.addCleanup(self.end)

    def read_lines(self):
        for line in self.process.stdout:
            self.lines.put(line)

    def read_errors(self):
        for line in self.process.stderr:
            self.errors.append(line)

    def line(self, pattern):
        """The first line that the pattern is found in and that was not had yet:
        who follows one file knows nothing of who follows another."""
        seen = [line for line in self.passed_by if re.search(pattern, line)]
        if seen:
            self.passed_by.remove(seen[0])
            return seen[0]
        while True:
            line = self.lines.get(timeout=60)
            if re.search(pattern, line):
                return line
            self.passed_by.append(line)

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        for reader in self.readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.returncode


class Follow(support.CliTest):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("data"))
        for name in ("a", "b"):
            self.make_database(self.path("data", name + ".db"), rows=100)
            self.ramet("init", "data/%s.db" % name, "--remote", self.url(name))

    def test_follow__tells_time_file_and_direction_in_each_line(self):
        self.ramet("clone", self.url("a"), "other.db")
        follower = Follower(self, "data/a.db", "data/b.db")
        for _ in "ab":
            follower.line(r"^\d\d:\d\d:\d\d data/[ab].db  follows .*, LSN 1$")
        self.sql("data/a.db", INSERT % "one" + "\n" + INSERT % "two",
                 close_wait_ms=0)
        lines = [follower.line(r"^\d\d:\d\d:\d\d data/a.db  pushed \d commits?,"
                               r" \d+ pages?, .*, LSN [23]$")]
        while "LSN 3" not in lines[-1] and "2 commits" not in lines[-1]:
            lines.append(follower.line("a.db  pushed"))
        self.ramet("pull", "other.db")
        self.sql("other.db", INSERT % "from elsewhere")
        self.ramet("push", "other.db")
        follower.line(r"^\d\d:\d\d:\d\d data/a.db  pulled 1 commit, .*, LSN "
                      r"\d$")
        self.assertEqual(self.sql("data/a.db", COUNT), "103\n")
        self.assertEqual(follower.end(), support.DONE, follower.errors)

    def test_follow__of_a_directory_takes_what_appears_there_later(self):
        follower = Follower(self, "data")
        for _ in "ab":
            follower.line("data/[ab].db  follows")
        self.ramet("clone", self.url("a"), "data/later.db")
        follower.line("data/later.db  follows")
        self.sql("data/later.db", INSERT % "later", close_wait_ms=0)
        follower.line("data/later.db  pushed 1 commit, .*LSN 2$")
        follower.line("data/a.db  pulled 1 commit, .*LSN 2$")
        # What is no replica, or has no remote, is nobody's failure.
        self.make_database(self.path("data", "plain.db"))
        self.sql("data/own.db", "db.execute('CREATE TABLE t(v)')")
        self.sql("data/b.db", INSERT % "on and on", close_wait_ms=0)
        follower.line("data/b.db  pushed 1 commit")
        self.assertEqual(follower.end(), support.DONE)
        self.assertEqual(follower.errors, [])

    def test_follow__one_that_fails_stops_no_other(self):
        follower = Follower(self, "data/a.db", "data/missing.db", "data/b.db")
        for _ in "ab":
            follower.line("data/[ab].db  follows")
        for name in "ab":
            self.sql("data/%s.db" % name, INSERT % "x", close_wait_ms=0)
            follower.line("data/%s.db  pushed 1 commit" % name)
        self.assertEqual(follower.end(), support.NOT_FOUND)
        self.assertEqual(len(follower.errors), 1, follower.errors)
        self.assertRegex(follower.errors[0],
                         r"\Aramet: sync data/missing.db: does not exist")

    def test_follow__of_a_file_that_is_deleted_and_comes_back_goes_on(self):
        follower = Follower(self, "data")
        for _ in "ab":
            follower.line("follows")
        os.unlink(self.path("data", "b.db"))
        self.sql("data/a.db", INSERT % "x", close_wait_ms=0)
        follower.line("data/a.db  pushed 1 commit")
        self.ramet("clone", self.url("b"), "data/b.db")
        follower.line("data/b.db  follows")
        self.sql("data/b.db", INSERT % "x", close_wait_ms=0)
        follower.line("data/b.db  pushed 1 commit")
        self.assertEqual(follower.end(), support.DONE)

    def test_follow__with_json_is_one_object_a_line(self):
        follower = Follower(self, "--json", "data")
        for _ in "ab":
            self.assertEqual(json.loads(follower.line("."))["durable_lsn"], 1)
        self.sql("data/a.db", INSERT % "x", close_wait_ms=0)
        told = json.loads(follower.line("."))
        self.assertEqual((told["verb"], told["file"], told["durable_lsn"],
                          told["pushed_commits"], told["pulled_commits"]),
                         ("sync", "data/a.db", 2, 1, 0))
        self.assertRegex(told["time"], r"^\d{4}-\d\d-\d\dT")
        self.assertEqual(follower.end(signal.SIGINT), support.DONE)

    def test_follow__tells_a_terminal_how_the_files_are_opened_meanwhile(self):
        try:
            ours, theirs = pty.openpty()
        except OSError as error:  # a chroot without devpts
            self.skipTest(str(error))
        process = subprocess.Popen(
            [support.RAMET, "sync", "--follow", "data"], cwd=self.dir,
            stdout=subprocess.DEVNULL, stderr=theirs)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        os.close(theirs)
        self.assertIn(b"vfs=ramet", os.read(ours, 4096))
        os.close(ours)

    def test_follow__of_a_directory_that_is_not_there_is_refused(self):
        self.refused(support.NOT_FOUND, "sync", "--follow", "nowhere")

    def test_sync__of_several_files_names_each_and_fails_for_one(self):
        for name in "ab":
            self.sql("data/%s.db" % name, INSERT % "x")
        done = self.run_ramet("sync", "data/a.db", "data/missing.db",
                              "data/b.db")
        self.assertEqual(done.returncode, support.NOT_FOUND)
        self.assertRegex(done.stdout, r"data/a.db: synced .*LSN 2 .*\n"
                         r"data/b.db: synced .*LSN 2 ")
        self.assertRegex(done.stderr, r"\Aramet: sync data/missing.db: [^\n]*\n"
                         r"\Z")

    def test_sync__of_a_directory_syncs_the_replicas_in_it(self):
        for name in "ab":
            self.sql("data/%s.db" % name, INSERT % "x")
        self.make_database(self.path("data", "plain.db"))
        told = [json.loads(line) for line in
                self.ramet("sync", "data", "--json").splitlines()]
        self.assertEqual([(t["file"], t["durable_lsn"]) for t in told],
                         [("data/a.db", 2), ("data/b.db", 2)])


if __name__ == "__main__":
    unittest.main(verbosity=2)
