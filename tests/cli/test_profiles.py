#!/usr/bin/python3
"""`ramet profiles`: a warm profile is recorded, listed, copied, verified, read by the
second reader, and deleted."""
import glob
import os
import subprocess
import sys
import unittest

import support

READER = os.path.join(support.HERE, "..", "..", "scripts", "read-volume.py")


class Profiles(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=2000)
        self.ramet("init", self.a, "--remote", self.url())
        self.starts = 0

    def start(self, name):
        """A process that begins with nothing and reads a bit."""
        self.starts += 1
        self.sql(self.path("start%d.db" % self.starts),
                 "db.execute('SELECT count(*), sum(length(v)) FROM t WHERE id < 200')"
                 ".fetchall()", remote=self.url(), profile=name)

    def listed(self, url=None):
        return {entry["name"]: entry
                for entry in self.json("profiles", url or self.url())}

    def test_profiles__are_listed_and_deleted(self):
        self.assertEqual(self.listed(), {})
        self.start("web")
        self.start("ci")
        found = self.listed()
        self.assertEqual(sorted(found), ["ci", "web"])
        self.assertEqual((found["web"]["number"], found["web"]["lsn"]), (1, 1))
        self.assertGreater(found["web"]["pages"], 2)
        self.assertIn("web  ", self.ramet("profiles", self.url()))
        self.ramet("profiles", "--delete", "web", self.url())
        self.assertEqual(sorted(self.listed()), ["ci"])
        self.ramet("profiles", "--delete", "web", self.url(),
                   expect=support.NOT_FOUND)
        self.ramet("profiles", "--delete", ".web", self.url(),
                   expect=support.USAGE)
        self.start("web")
        self.assertEqual(sorted(self.listed()), ["ci", "web"])

    def test_copy__brings_profiles(self):
        self.start("web")
        target = "file://" + self.path("elsewhere") + "/app"
        self.ramet("copy", self.url(), target)
        self.assertEqual(self.listed(target)["web"]["pages"],
                         self.listed()["web"]["pages"])
        self.assertEqual(self.json("verify", target)["damaged"], 0)

    @unittest.skipUnless(support.KIND == "file", "looks into a directory")
    def test_damaged_profile__is_told_and_hurts_nobody(self):
        self.start("web")
        path, = glob.glob(self.store + "/volumes/*/profiles/web/*")
        os.chmod(path, 0o600)
        with open(path, "r+b") as file:
            file.seek(58)
            file.write(b"\xff")
        self.assertIn("error", self.listed()["web"])
        told = self.run_ramet("verify", self.url())
        self.assertEqual(told.returncode, support.DAMAGED)
        self.assertIn("--delete web", told.stdout + told.stderr)
        self.start("web")
        self.assertEqual(self.listed()["web"]["number"], 2)
        self.ramet("verify", self.url())

    @unittest.skipUnless(support.KIND == "file", "reads a directory")
    def test_second_reader__agrees_on_a_profile(self):
        self.start("web")
        done = subprocess.run([sys.executable, READER, "--profile", "web",
                               self.store, "app"], check=True, text=True,
                              stdout=subprocess.PIPE, timeout=60)
        recent = done.stdout.splitlines()[0].split()
        pages = sum(int(last) - int(first) + 1 for first, last in
                    (run.split("-") for run in recent))
        self.assertEqual(pages, self.listed()["web"]["pages"])


if __name__ == "__main__":
    support.main()
