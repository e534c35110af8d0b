#!/usr/bin/python3
"""`ramet copy`: a volume with its history from the remote of this run into a
directory and through a server, again, after a cut, and where it may not."""
import os
import random
import shutil
import signal
import subprocess
import time

import support

ROUNDS = int(os.environ.get("RAMET_KILL_ROUNDS", "6"))


class Copy(support.CliTest):
    def setUp(self):
        super().setUp()
        self.targets = 0

    def make_volume(self, commits=70, rows=2000):
        """Large enough for segments of its own and page maps."""
        self.a = self.make_database(self.path("a.db"), rows=rows)
        self.ramet("init", self.a, "--remote", self.url())
        self.commit(commits)

    def commit(self, count):
        self.sql(self.a, "for n in range(%d):\n"
                         "    db.execute('UPDATE t SET v = ? WHERE id = ?',"
                         " ('new %%d' %% n, 1 + n * 7))\n"
                         "    db.execute('SELECT ramet_push()').fetchall()\n"
                 % count)

    def target(self, kind):
        """The directory and the URL of a store that is not there yet."""
        self.targets += 1
        folder = self.path("elsewhere-%d" % self.targets)
        if kind == "file":
            return folder, "file://" + folder
        server = support.Server(folder)
        self.addCleanup(server.stop)
        return folder, server.url()

    def objects_in(self, folder):
        """Key and bytes of each object."""
        found = {}
        for at, _, names in os.walk(folder):
            for name in names:
                key = os.path.relpath(os.path.join(at, name), folder)
                if not key.startswith(("tmp/", "ramet.json", "names/")):
                    found[key] = self.read(os.path.join(at, name))
        return found

    def assert_same_volume(self, url, lsns):
        self.assertEqual(self.json("verify", url)["damaged"], 0)
        for lsn in lsns:
            for number, source in enumerate((self.url(), url)):
                out = self.path("out-%d" % number)
                if os.path.exists(out):
                    os.remove(out)
                self.ramet("export", "%s@%d" % (source, lsn), out)
            self.assert_same_file(self.path("out-0"), self.path("out-1"))

    def test_copy__is_the_same_volume_with_all_of_its_history(self):
        self.make_volume()
        for kind in ("file", "http"):
            with self.subTest(to=kind):
                folder, store = self.target(kind)
                done = self.json("copy", self.url(), store + "/again")
                self.assertEqual(done["lsn"], 71)
                self.assertEqual(done["commits"], 71)
                self.assertEqual(done["volume"],
                                 self.json("info", self.url())["volume"])
                self.assert_same_volume(store + "/again", (1, 2, 40, 71))
                ours = self.keys("volumes/")
                for key, data in self.objects_in(folder).items():
                    if key in ours: # a server makes maps of its own
                        self.assertEqual(data, self.get_object(key), key)
                self.ramet("clone", store + "/again", "b-%s.db" % kind)

    def test_copy_again__brings_what_came_since_and_nothing_twice(self):
        self.make_volume(commits=5)
        _, store = self.target("file")
        self.ramet("copy", self.url(), store + "/app")
        done = self.json("copy", self.url(), store + "/app")
        self.assertEqual((done["commits"], done["objects"]), (0, 0))
        self.commit(40)
        done = self.json("copy", self.url(), store + "/app")
        self.assertEqual(done["commits"], 40)
        self.assert_same_volume(store + "/app", (6, 46))

    def test_copy_of_a_snapshot__ends_there_and_goes_on_later(self):
        self.make_volume(commits=9)
        _, store = self.target("file")
        done = self.json("copy", self.url() + "@4", store + "/app")
        self.assertEqual(done["lsn"], 4)
        self.assertEqual(self.json("info", store + "/app")["lsn"], 4)
        self.assertEqual(self.json("copy", self.url(), store + "/app")["lsn"],
                         10)
        self.assert_same_volume(store + "/app", (4, 10))

    def test_store_as_target__gives_the_same_name(self):
        self.make_volume(commits=1)
        _, store = self.target("file")
        self.ramet("copy", self.url(), store + "/")
        self.assertEqual(self.json("info", store + "/app")["lsn"], 2)

    def test_copy_killed__goes_on_where_it_was(self):
        self.make_volume(commits=60, rows=20000)
        _, other = self.target("file")
        began = time.monotonic()
        self.ramet("copy", self.url(), other + "/app")
        limit = time.monotonic() - began
        folder, store = self.target("file")
        seed = random.randrange(1 << 30)
        print("seed", seed)
        rng = random.Random(seed)
        before = cut = 0
        while cut < ROUNDS:
            process = subprocess.Popen(
                [support.RAMET, "copy", self.url(), store + "/app"],
                cwd=self.dir, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            try:
                process.wait(rng.uniform(0, limit * 0.9))
            except subprocess.TimeoutExpired:
                process.send_signal(rng.choice((signal.SIGKILL,
                                                signal.SIGINT)))
            if process.wait(60) == 0: # it was done before: once more
                shutil.rmtree(folder)
                before = 0
                limit *= 0.9
                continue
            cut += 1
            # What is there is whole, and never less than it was.
            commits = len([key for key in self.objects_in(folder)
                           if "/commits/" in key])
            self.assertGreaterEqual(commits, before)
            before = commits
        self.ramet("copy", self.url(), store + "/app")
        self.assertEqual(self.json("info", store + "/app")["lsn"], 61)
        self.assert_same_volume(store + "/app", (1, 30, 61))

    def test_cut_copy__is_a_volume_that_ends_earlier(self):
        self.make_volume(commits=6)
        folder, store = self.target("file")
        volume = self.json("copy", self.url(), store + "/app")["volume"]
        # As if it had been killed before the last two commits and the name.
        commits = sorted(os.listdir(os.path.join(folder, "volumes", volume,
                                                 "commits")))
        for name in commits[:2]:
            os.remove(os.path.join(folder, "volumes", volume, "commits", name))
        shutil.rmtree(os.path.join(folder, "names"))
        self.assertEqual(self.json("verify", store + "/" + volume)["damaged"],
                         0)
        self.assertEqual(self.json("info", store + "/" + volume)["lsn"], 5)
        done = self.json("copy", self.url(), store + "/app")
        self.assertEqual((done["commits"], done["objects"]), (2, 2))
        self.assert_same_volume(store + "/app", (5, 7))

    def test_target_with_other_commits__is_refused_and_left_alone(self):
        self.make_volume(commits=2)
        for kind in ("file", "http"):
            with self.subTest(to=kind):
                folder, store = self.target(kind)
                self.ramet("copy", self.url(), store + "/app")
                b = "b-%s.db" % kind
                self.ramet("clone", store + "/app", b)
                self.sql(self.path(b), "db.execute(\"INSERT INTO t(v) "
                                       "VALUES('theirs')\")")
                self.ramet("push", b)
                before = self.objects_in(folder)
                # Ahead: it has commits that the source lacks.
                self.assertIn("ahead", self.refused(
                    support.CONFLICT, "copy", self.url(), store + "/app"))
                # Elsewhere: the source went on as well.
                self.commit(1)
                self.assertIn("went another way", self.refused(
                    support.CONFLICT, "copy", self.url(), store + "/app"))
                self.assertEqual(self.objects_in(folder), before)

    def test_name_of_another_volume__is_refused(self):
        self.make_volume(commits=1)
        folder, store = self.target("file")
        other = self.make_database(self.path("other.db"))
        self.ramet("init", other, "--remote", store + "/app")
        before = self.objects_in(folder)
        self.assertIn("another volume", self.refused(
            support.CONFLICT, "copy", self.url(), store + "/app"))
        self.assertEqual(self.objects_in(folder), before)

    def test_damage_at_the_source__goes_no_further(self):
        self.make_volume(commits=3, rows=4000)
        segment = self.keys("/segments/")[-1]
        data = bytearray(self.get_object(segment))
        data[len(data) // 2] ^= 1
        self.put_object(segment, bytes(data))
        _, store = self.target("file")
        error = self.refused(support.DAMAGED, "copy", self.url(),
                             store + "/app")
        self.assertIn(os.path.basename(segment), error)
        volume = self.json("info", self.url())["volume"]
        self.assertFalse(os.path.exists(os.path.join(
            store[len("file://"):], "volumes", volume, "segments",
            os.path.basename(segment))))
        # Mended, it goes on.
        data[len(data) // 2] ^= 1
        self.put_object(segment, bytes(data))
        if self.server: # keeps in memory what it has read
            self.server.stop()
            self.server.start()
        self.ramet("copy", self.url(), store + "/app")
        self.assert_same_volume(store + "/app", (1, 4))

    def test_damage_at_the_target__is_found_before_a_commit_names_it(self):
        self.make_volume(commits=1, rows=4000)
        folder, store = self.target("file")
        self.ramet("copy", self.url(), store + "/app")
        commits = sorted(key for key in self.objects_in(folder)
                         if "/commits/" in key)
        for key in commits:
            os.remove(os.path.join(folder, key))
        segment = [key for key in self.objects_in(folder)
                   if "/segments/" in key][-1]
        data = bytearray(self.read(os.path.join(folder, segment)))
        data[-1] ^= 1
        self.write(os.path.join(folder, segment), data)
        error = self.refused(support.DAMAGED, "copy", self.url(),
                             store + "/app")
        self.assertIn(os.path.basename(segment), error)
        self.assertEqual([key for key in self.objects_in(folder)
                          if "/commits/" in key], [])

    def test_wrong_words__are_refused(self):
        self.make_volume(commits=0)
        _, store = self.target("file")
        self.refused(support.USAGE, "copy", self.url())
        self.refused(support.USAGE, "copy", self.url(), store + "/app@3")
        self.refused(support.NOT_FOUND, "copy", self.url("nosuch"),
                     store + "/app")
        self.assertFalse(os.path.exists(self.path("elsewhere-1", "volumes")))


if __name__ == "__main__":
    support.main()
