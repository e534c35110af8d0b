"""The command on a bucket: how many requests things cost, whose keys go where,
and what comes of a service that goes wrong (tests/support/fake_s3.py)."""
import contextlib
import json
import os
import re
import resource
import sqlite3
import sys
import threading
import time
import unittest
import urllib.request

import support
from support import CONFLICT, DAMAGED, DONE, NOT_FOUND, NOT_PERMITTED, \
    UNREACHABLE, FAILED

from fake_s3 import Fault, FakeS3

KEYS = {"AWS_ACCESS_KEY_ID": "AKTEST", "AWS_SECRET_ACCESS_KEY": "SKTEST"}
COMMIT = "db.execute(\"UPDATE t SET v='new' || hex(randomblob(8)) WHERE id=7\")"


class BucketTest(support.CliTest):
    def setUp(self):
        super().setUp()
        self.fakes = []
        self.addCleanup(lambda: [fake.stop() for fake in self.fakes])
        self.fake = self.new_fake()
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("AWS_", "RAMET_"))}
        self.environment.update(
            KEYS, HOME=self.dir, XDG_CACHE_HOME=self.path("cache"),
            AWS_EC2_METADATA_DISABLED="true", RAMET_S3_HEDGE="off",
            AWS_ENDPOINT_URL_S3=self.fake.url)

    def new_fake(self, **options):
        fake = FakeS3(**options)
        self.fakes.append(fake)
        return fake

    def run_ramet(self, *words, **options):
        options.setdefault("env", self.environment)
        return super().run_ramet(*words, **options)

    def sql(self, path, code, keys=False, **params):
        """Without any right to the bucket, unless `keys`."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
                     "AWS_ENDPOINT_URL_S3", "XDG_CACHE_HOME"):
            os.environ[name] = self.environment.get(name, "") if keys else ""
        return super().sql(path, code, **params)

    def url(self, name="app", fake=None):
        return "s3://bucket/a/b/%s?endpoint=%s" % (name,
                                                   (fake or self.fake).url)

    def bound(self, rows=500):
        self.a = self.make_database(self.path("a.db"), rows)
        self.ramet("init", self.a, "--remote", self.url())
        return self.a

    def what_is_left(self):
        """Kinds of the objects of volumes."""
        return [key.split("/")[-2] for key in self.fake.objects
                if "/volumes/" in key]

    def counted(self, *words):
        """Requests by kind, as the service saw them; what the command says of
        them must be the same."""
        self.fake.forget()
        told = self.json(*words).get("store_requests", {})
        seen = self.fake.kinds()
        self.assertEqual({kind: told.get(kind, 0) for kind in
                          ("put", "post", "get", "head", "list", "delete")
                          if told.get(kind, 0) > 0}, seen)
        return seen


class Counts(BucketTest):
    """These must not grow: a request is 20 ms and money."""

    def test_first_push__is_three_requests(self):
        """The store's version, the name, the commit."""
        self.bound()  # and the store was tried
        b = self.make_database(self.path("b.db"))
        self.assertEqual(self.counted("init", b, "--remote", self.url("b")),
                         {"get": 1, "put": 2})

    def test_first_push_to_a_name_that_is_taken__is_refused(self):
        self.bound()
        b = self.make_database(self.path("b.db"))
        self.assertIn("is there already",
                      self.refused(FAILED, "init", b, "--remote", self.url()))
        self.ramet("delete", self.url(), "--yes")
        self.ramet("init", b, "--remote", self.url())
        self.ramet("export", self.url(), self.path("out.db"))
        self.assertEqual(self.read(self.path("out.db")), self.read(b))

    def test_small_push_of_a_running_process__is_one_put(self):
        self.bound()
        self.fake.forget()
        self.sql(self.a, "for _ in range(5):\n    %s\n    "
                 "db.execute('SELECT ramet_push()').fetchone()" % COMMIT,
                 keys=True)
        self.assertEqual(self.fake.kinds(), {"get": 1, "put": 5})

    def test_small_push_of_a_fresh_process__is_a_read_of_the_slot_and_a_put(
            self):
        self.bound()
        for _ in range(3):
            self.sql(self.a, COMMIT)
            self.assertEqual(self.counted("push", self.a),
                             {"get": 1, "put": 1})

    def test_small_push_of_a_volume_with_a_dictionary__does_without(self):
        """What a request and the dictionary cost is more than they save."""
        self.bound(20000)
        for _ in range(3):
            self.sql(self.a, COMMIT)
            self.assertEqual(self.counted("push", self.a),
                             {"get": 1, "put": 1})

    def test_push_that_a_dictionary_makes_smaller__brings_it_once(self):
        self.bound(20000)
        self.fake.forget()
        self.sql(self.a, """for n in range(4):
    db.execute("UPDATE t SET v='%d' || hex(randomblob(30)) WHERE id %% 20 = %d"
               % (n, n))
    db.execute('SELECT ramet_push()').fetchone()""", keys=True)
        asked = [request.key for request in self.fake.log
                 if request.kind == "get" and "/segments/" in request.key
                 and request.headers["range"].startswith("bytes=32-")]
        self.assertEqual(len(asked), 1)

    def test_push_of_nothing__asks_nothing(self):
        self.bound()
        self.assertEqual(self.counted("push", self.a), {})

    def test_name__is_read_while_it_is_listed(self):
        """Neither is answered before the other came, so who asks for one after
        the other waits in vain."""
        self.bound()
        came = {"list": threading.Event(), "get": threading.Event()}
        alone = []

        def hook(request):
            if "names/app" not in request.key + request.query.get("prefix", "") \
                    or request.kind not in came:
                return
            came[request.kind].set()
            for kind, event in came.items():
                if not event.wait(20):
                    alone.append(kind)

        self.fake.hooks.append(hook)
        self.assertEqual(self.json("info", self.url())["lsn"], 1)
        self.assertEqual(alone, [])

    def test_name__that_was_given_again_is_read_as_it_is_now(self):
        self.bound()
        self.ramet("delete", self.url(), "--yes")
        b = self.make_database(self.path("b.db"), 700)
        self.ramet("init", b, "--remote", self.url())
        self.ramet("export", self.url(), self.path("out.db"))
        self.assertEqual(self.read(self.path("out.db")), self.read(b))

    def test_clone__resolves_a_name_once(self):
        """What the name says and whether it was given again, the newest commit,
        its head; and with that page 1, for the commit is small."""
        self.bound()
        self.assertEqual(self.counted("clone", self.url(), self.path("b.db")),
                         {"get": 2, "list": 2})

    def test_opening__is_four_requests_at_any_size_and_age(self):
        """What the name says and whether it was given again, which is asked at
        once; the newest commit, and its head."""
        self.bound()
        big = self.make_database(self.path("big.db"), 30000)
        self.ramet("init", big, "--remote", self.url("big"))
        for age in (1, 40):
            for name in ("app", "big"):
                self.fake.forget()
                self.ramet("log", self.url(name), "--limit", "1")
                self.assertEqual(self.fake.kinds(), {"get": 2, "list": 2})
            self.commit(age)
        # A program's, with all that leads to page 1, and page 1: a table of two
        # levels, and a dictionary.
        self.fake.forget()
        self.sql(self.path("c.db"), "db.execute('PRAGMA schema_version')",
                 keys=True, remote=self.url("big"))
        self.assertEqual(self.fake.kinds(), {"get": 2 + 3, "list": 2})
        self.assertEqual(self.asked_twice(), [])

    def test_opening__waits_four_times_with_page_1(self):
        """For the name; for the newest commit; for the heads, all at once; for the
        part of the table, the dictionary, and where page 1 must lie, all at once: none
        of either is answered before the others came. Of page 1 the newest commit has
        a delta, which came with its head."""
        big = self.make_database(self.path("big.db"), 30000)
        self.ramet("init", big, "--remote", self.url("big"))
        for commits in (0, 3):
            self.sql(big, "for _ in range(%d):\n    %s\n    "
                     "db.execute('SELECT ramet_push()').fetchone()" %
                     (commits, COMMIT), keys=True)
            heads = self.fake.gate("/commits/", 1 + commits)
            rest = self.fake.gate("/segments/", 3)
            self.fake.forget()
            self.sql(self.path("c%d.db" % commits),
                     "db.execute('PRAGMA schema_version')", keys=True,
                     remote=self.url("big"))
            self.fake.hooks.clear()
            self.assertTrue(heads.opened and rest.opened)
            self.assertEqual(self.fake.kinds(),
                             {"get": 1 + 1 + commits + 3, "list": 2})

    def test_opening__has_connections_before_it_asks_for_the_heads(self):
        """The newest commit is told once there are as many as there may be heads."""
        self.bound(20000)
        seen = []

        def hook(request):
            if request.kind == "list" and \
                    "/commits/" in request.query["prefix"]:
                seen.append(self.fake.server.wait_for_accepted(before + 8) -
                            before)

        before = self.fake.server.accepted
        self.fake.hooks.append(hook)
        self.sql(self.path("c.db"), "db.execute('PRAGMA schema_version')",
                 keys=True, remote=self.url())
        self.assertEqual(seen[0], 8)
        # And then one for each spare one that was of use, of three parts at a time.
        self.assertLessEqual(self.fake.server.accepted - before, 8 + 3)

    def schema_of(self, name):
        self.fake.forget()
        self.sql(self.path(name), "db.execute('PRAGMA schema_version')",
                 keys=True, remote=self.url("big"))
        asked = [request.key for request in self.fake.log
                 if "/volumes/" in request.key and request.kind == "get"]
        return sum("/commits/" in key for key in asked), len(asked)

    def test_opening_that_has_a_map__waits_four_times(self):
        """The same with a map in the way, however old: the newest heads say where page 1
        lies, eight of them at most, all at once; then it, what it needs, other
        heads and the map's root, all at once."""
        big = self.make_database(self.path("big.db"), 30000)
        self.ramet("init", big, "--remote", self.url("big"))
        self.a, age = big, 0
        for more in (17, 1, 6, 5, 12):
            self.commit(more)
            age += more
            heads, asked = self.schema_of("a%d.db" % age)
            self.assertGreater(asked, heads)  # and not of the heads alone
            first = self.fake.gate("/commits/", min(heads, 8))
            then = self.fake.gate("/volumes/", asked - 8, skip=8)
            self.assertEqual(self.schema_of("b%d.db" % age), (heads, asked))
            self.fake.hooks.clear()
            self.assertTrue(first.opened and then.opened)
            self.assertEqual(self.asked_twice(), [])

    def test_opening__where_no_volume_is_asks_what_it_is_then(self):
        self.bound()
        done = self.run_ramet("info", self.url("none"))
        self.assertIn("no volume", done.stderr)
        self.fake.objects["a/b/ramet.json"] = \
            b'{"format":"ramet","version":6}\n'
        done = self.run_ramet("info", self.url("none"))
        self.assertIn("version 6", done.stderr)
        del self.fake.objects["a/b/ramet.json"]
        done = self.run_ramet("info", self.url("none"))
        self.assertIn("not a Ramet store", done.stderr)

    def test_point_read_of_a_fresh_process__has_its_number(self):
        """The head, of the table the top and two parts, the dictionary, and of the
        tree three pages; with its interior pages here the page alone."""
        self.bound(20000)
        b = self.path("b.db")
        self.ramet("clone", self.url(), b)
        counts = []
        for row in (9000, 19000):
            self.fake.forget()
            self.sql(b, "db.execute('SELECT v FROM t WHERE id=%d').fetchall()"
                     % row, keys=True)
            self.assertEqual(self.asked_twice(), [])
            counts.append(self.fake.kinds())
        self.assertEqual(counts, [{"get": 8}, {"get": 4}])

    def test_pull__of_nothing_is_a_list_and_a_read(self):
        self.bound()
        b = self.path("b.db")
        self.ramet("clone", self.url(), b)
        self.assertEqual(self.counted("pull", b), {"get": 1, "list": 1})

    def commit(self, times):
        self.sql(self.a, "for _ in range(%d):\n    %s\n    "
                 "db.execute('SELECT ramet_push()').fetchone()" %
                 (times, COMMIT), keys=True)

    def asked_twice(self):
        """What was asked for more than once since forget()."""
        asked = [(request.kind, request.key, request.query.get("prefix"),
                  request.headers.get("range")) for request in self.fake.log]
        return [what for what in asked if asked.count(what) > 1]

    def test_pull__reads_each_head_once(self):
        self.bound()
        b = self.path("b.db")
        self.ramet("clone", self.url(), b)
        for commits in (1, 5):
            self.commit(commits)
            seen = self.counted("pull", b)
            self.assertEqual(seen["list"], 1)
            # and page 1: a delta, and what it is based on
            self.assertLessEqual(seen["get"], commits + 4)
            self.assertEqual(self.asked_twice(), [])

    def test_pull__of_many_commits_costs_a_map_and_its_heads(self):
        self.bound()
        b = self.path("b.db")
        self.ramet("clone", self.url(), b)
        self.commit(200)
        seen = self.counted("pull", b)
        self.assertEqual(seen["list"], 1)
        self.assertLessEqual(seen["get"], 16 + 8)
        self.assertEqual(self.asked_twice(), [])

    def test_maps__are_made_beside_the_commits(self):
        """Each 16th commit is followed by one; no commit waits for a list."""
        self.bound()
        self.commit(16)
        self.fake.forget()
        self.commit(64)
        seen = self.fake.kinds()
        self.assertEqual(seen["put"], 64 + 4)
        self.assertLessEqual(seen.get("list", 0), 1)

    def opened(self, name):
        self.fake.forget()
        self.sql(self.path(name), "db.execute('PRAGMA schema_version')",
                 keys=True, remote=self.url())
        return self.fake.kinds()

    def test_opening__asks_the_same_whatever_the_age(self):
        """But for the heads since the newest map, which are asked for at once:
        16 at most, 24 where each commit is another process's."""
        self.bound(20000)
        young = self.opened("young.db")
        for age in (5, 15, 16, 100, 7):
            self.commit(age)
            old = self.opened("old%d.db" % age)
            self.assertLessEqual(old["get"] - young["get"], 24)
            self.assertEqual(old["list"], young["list"])
        for turn in range(26):
            self.sql(self.a, COMMIT)
            self.ramet("push", self.a)
            if turn > 20:
                old = self.opened("turn%d.db" % turn)
                self.assertLessEqual(old["get"] - young["get"], 24)

    def test_first_query_of_a_process__asks_for_nothing_twice(self):
        self.bound(20000)
        b = self.path("b.db")
        self.ramet("clone", self.url(), b)
        self.fake.forget()
        self.sql(b, "db.execute('SELECT v FROM t WHERE id=9000').fetchall()",
                 keys=True)
        self.assertEqual(self.asked_twice(), [])
        self.assertEqual(set(self.fake.kinds()), {"get"})

    def test_heads_since_the_map__are_asked_for_at_once(self):
        self.bound(20000)
        self.commit(7)
        # The newest comes first; of the seven before it none is answered until
        # all were asked for.
        gate = self.fake.gate("/commits/", 7, skip=1)
        self.ramet("clone", self.url(), self.path("b.db"))
        self.assertTrue(gate.opened)

    def test_log__reads_ever_more_heads_at_a_time(self):
        """The newest, then 2, 4, 8: of these none is answered until all were
        asked for; each is read once, and none below the limit."""
        self.bound()
        self.commit(30)
        gate = self.fake.gate("/commits/", 8, skip=1 + 2 + 4)
        self.fake.forget()
        told = self.ramet("log", self.url()).splitlines()
        self.assertTrue(gate.opened)
        self.assertEqual([int(line.split()[0]) for line in told],
                         list(range(31, 0, -1)))
        self.assertEqual(self.fake.kinds(), {"list": 2, "get": 1 + 31})
        self.fake.forget()
        self.ramet("log", self.url(), "--limit", "5")
        self.assertEqual(self.fake.kinds(), {"list": 2, "get": 1 + 5})

    def test_large_push__is_parts_of_five_mebibytes(self):
        self.bound()
        big = self.path("big.bin")
        self.write(big, os.urandom(12 << 20))
        seen = self.counted("init", big, "--remote", self.url("big"))
        # The format; the upload's beginning and end, its three parts, and a look
        # whether it is there; the name and the commit.
        self.assertEqual(seen, {"get": 1, "post": 2, "put": 3 + 2, "head": 1})
        self.assertEqual(self.fake.uploads, {})
        copy = self.path("copy.bin")
        self.ramet("export", self.url("big"), copy)
        self.assertEqual(self.read(copy), self.read(big))

    def test_hydrate__reads_ranges_of_hundreds_of_kibibytes(self):
        size = 24 << 20
        path = self.write(self.path("big.bin"), os.urandom(size))
        self.ramet("init", path, "--remote", self.url("big"))
        self.fake.forget()
        self.ramet("clone", self.url("big"), self.path("copy.bin"))
        self.assertLessEqual(self.fake.kinds()["get"], size // (384 << 10) + 12)
        self.assertEqual(self.read(self.path("copy.bin")), self.read(path))

    def test_hydrate__reads_as_much_at_once_of_what_is_compressed(self):
        pages = 12 << 10
        path = self.write(self.path("half.bin"), b"".join(
            os.urandom(2048) + bytes(2048) for _ in range(pages)))
        self.ramet("init", path, "--remote", self.url("half"))
        self.fake.forget()
        self.ramet("clone", self.url("half"), self.path("copy.bin"))
        self.assertLessEqual(self.fake.kinds()["get"],
                             2048 * pages // (768 << 10) + 28)
        self.assertEqual(self.read(self.path("copy.bin")), self.read(path))

    def scattered(self):
        path = self.make_scattered(self.path("scattered.db"))
        self.ramet("init", path, "--remote", self.url("scattered"))
        return path

    def gets_of(self, question):
        """Requests for the answer in a new replica, and the pages that came."""
        clone = self.path("clone-%d.db" % len(os.listdir(self.dir)))
        self.ramet("clone", self.url("scattered"), clone)
        self.fake.forget()
        pages = self.sql(clone, "db.execute(%r).fetchall(); print(db.execute("
                         "'SELECT fetched_pages FROM ramet_status')"
                         ".fetchone()[0])" % question, keys=True)
        self.assertEqual(set(self.fake.kinds()), {"get"})
        return self.fake.kinds()["get"], int(pages)

    def test_scan_of_scattered_pages__is_few_ranges(self):
        """The pages of a tree lie side by side in each group of 4,096."""
        self.scattered()
        for question, least in (
                ("SELECT count(*) FROM t", 250),
                ("SELECT sum(length(v)) FROM t", 3000),
                ("SELECT sum(length(v)) FROM w", 1500),
                ("SELECT sum(length(body)) FROM docs", 1900)):
            with self.subTest(question):
                gets, pages = self.gets_of(question)
                self.assertGreater(pages, least)
                # Each its own: as many as pages. On a busy machine less is
                # asked for at a time.
                self.assertLess(gets, pages // 8 + 40)

    def test_hydrate_of_scattered_pages__is_few_ranges(self):
        """And so is an export, which goes by page number."""
        path = self.scattered()
        self.fake.forget()
        self.ramet("clone", self.url("scattered"), self.path("copy.db"),
                   "--hydrate")
        self.assertGreater(os.path.getsize(path), 6000 * 4096)
        self.assertLess(self.fake.kinds()["get"], 40)
        self.assertEqual(self.read(self.path("copy.db")), self.read(path))
        self.fake.forget()
        self.ramet("export", self.url("scattered"), self.path("exported.db"))
        self.assertLess(self.fake.kinds()["get"], 40)
        self.assertEqual(self.read(self.path("exported.db")), self.read(path))

    def test_large_range__that_goes_wrong__is_asked_for_again(self):
        """In each way; beyond 256 KiB what comes goes straight to where it is wanted."""
        class OfLargeRange(Fault):
            def fits(self, request):
                found = re.match(r"bytes=(\d+)-(\d+)$",
                                 request.headers.get("range", ""))
                return super().fits(request) and found is not None and \
                    int(found.group(2)) - int(found.group(1)) >= 256 << 10

        path = self.write(self.path("big.bin"), os.urandom(6 << 20))
        self.ramet("init", path, "--remote", self.url("big"))
        for kind in ("half", "reset", "short", "lost", "500", "503",
                     "403", "416", "all", "long"):
            with self.subTest(kind):
                fault = OfLargeRange(kind, method="GET", skip=1)
                self.fake.plan(fault)
                copy = self.path(kind + ".bin")
                self.ramet("clone", self.url("big"), copy)
                self.assertEqual(self.read(copy), self.read(path))
                self.assertEqual(fault.times, 0)

    def test_next_segment__is_sent_while_one_is_completed(self):
        """The completion of the first is answered when a part of the second has
        come."""
        self.bound()
        path = self.write(self.path("big.bin"), os.urandom(72 << 20))
        uploads, changed, met = [], threading.Condition(), []

        def hook(request):
            upload = request.query.get("uploadId")
            with changed:
                if upload and upload not in uploads:
                    uploads.append(upload)
                    changed.notify_all()
                if upload and request.method == "POST" and not met:
                    met.append(changed.wait_for(lambda: len(uploads) > 1, 180))

        self.fake.hooks.append(hook)
        self.ramet("init", path, "--remote", self.url("big"))
        self.assertEqual(met, [True])

    def test_dictionary__goes_out_beside_what_is_compressed_with_it(self):
        """Its answer comes when the segment is there."""
        self.bound()
        sent, changed, met = [], threading.Condition(), []

        def hook(request):
            if request.method != "PUT" or "/segments/" not in request.key:
                return
            with changed:
                sent.append(request.key)
                changed.notify_all()
                if len(sent) == 1:
                    met.append(changed.wait_for(lambda: len(sent) > 1, 180))

        self.fake.hooks.append(hook)
        b = self.make_database(self.path("b.db"), 20000)
        self.ramet("init", b, "--remote", self.url("b"))
        self.assertEqual(met, [True])
        self.ramet("export", self.url("b"), self.path("out.db"))
        self.assertEqual(self.read(self.path("out.db")), self.read(b))

    def test_deletion__removes_many_objects_by_one_request(self):
        self.bound()
        for _ in range(6):
            self.sql(self.a, COMMIT)
            self.ramet("push", self.a)
        self.fake.forget()
        self.ramet("delete", self.url(), "--yes")
        seen = self.fake.kinds()
        self.assertEqual((seen["post"], seen["delete"]), (1, 1))
        self.assertEqual(self.what_is_left(), ["commits"])  # its end

    def test_store__is_tried_once_by_each_user(self):
        self.bound()
        self.assertGreater(len([r for r in self.fake.log
                                if r.key.startswith("a/b/probe/")]), 300)
        self.sql(self.a, COMMIT)
        self.fake.forget()
        self.ramet("push", self.a)
        self.assertEqual([r for r in self.fake.log if "probe" in r.key], [])
        # Another user, who has no cache of it: the bucket knows.
        self.environment["XDG_CACHE_HOME"] = self.path("other")
        self.sql(self.a, COMMIT)
        self.fake.forget()
        self.ramet("push", self.a)
        self.assertEqual([r for r in self.fake.log if "probe" in r.key], [])

    def test_mark_that_was_tampered_with__proves_nothing(self):
        """Neither the user's nor the bucket's."""
        self.bound()
        mark = next(key for key in self.fake.objects if "/proven-" in key)
        for text in (b"", b"of two writers one wins\nor so", b"yes"):
            with open(self.path("cache", "ramet", mark.rsplit("/")[-1]),
                      "wb") as file:
                file.write(text)
            self.fake.objects[mark] = text
            self.sql(self.a, COMMIT)
            self.fake.forget()
            self.ramet("push", self.a)
            self.assertGreater(len([r for r in self.fake.log
                                    if "/probe/" in r.key]), 300)

    def new_server(self):
        """One on the bucket."""
        kept = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(kept)))
        os.environ.update(self.environment)
        server = support.Server("s3://bucket/a/b?endpoint=" + self.fake.url,
                                log=self.path("server.log"))
        self.addCleanup(server.stop)
        return server

    def test_server__tells_what_it_asked_of_its_bucket(self):
        self.bound()
        server = self.new_server()
        self.fake.forget()
        self.ramet("clone", server.url() + "/app", self.path("c.db"),
                   "--hydrate")
        with urllib.request.urlopen(server.url() + "/metrics") as answer:
            text = answer.read().decode()
        told = dict(re.findall(r"(?m)^ramet_bucket_(\w+)_total (\d+)$", text))
        seen = self.fake.kinds()
        self.assertGreater(seen["get"], 0)
        self.assertGreaterEqual(int(told["get"]), seen["get"])
        self.assertGreaterEqual(int(told["list"]), seen["list"])
        self.assertGreaterEqual(int(told["nano_usd"]),
                                400 * seen["get"] + 5000 * seen["list"])

    def test_server__asks_for_a_profile_once_for_all_who_open_with_it(self):
        """A list and a read; each opening costs the name's list and a look for
        what is new."""
        self.bound()
        self.sql(self.path("first.db"), "db.execute('SELECT * FROM t')"
                 ".fetchall()", keys=True, remote=self.url(), profile="web")
        self.assertTrue(any("/profiles/web/" in key
                            for key in self.fake.objects))
        server = self.new_server()

        def opened(profile):
            self.fake.forget()
            with urllib.request.urlopen(
                    server.url() + "/v1/volumes/app/open" + profile) as answer:
                body = answer.read()
            asked = [request for request in self.fake.log if "/profiles/" in
                     request.key + request.query.get("prefix", "")]
            return len(body), len(asked), len(self.fake.log) - len(asked)

        size, asked, _ = opened("?profile=web")
        self.assertEqual(asked, 2)
        without, asked, least = opened("")
        self.assertEqual(asked, 0)
        self.assertGreater(size, without)
        for _ in range(5):
            self.assertEqual(opened("?profile=web"), (size, 0, least))
        _, asked, _ = opened("?profile=none")
        self.assertEqual(asked, 1)
        for _ in range(5):
            self.assertEqual(opened("?profile=none"), (without, 0, least))

    def test_copied_bucket__is_tried_anew(self):
        self.bound()
        other = self.new_fake()
        other.objects = dict(self.fake.objects)
        self.environment["AWS_ENDPOINT_URL_S3"] = other.url
        b = self.make_database(self.path("b.db"))
        self.ramet("init", b, "--remote", self.url("b", other))
        self.assertGreater(len([r for r in other.log if "probe" in r.key]), 300)

    def test_reader__causes_no_test_and_needs_no_rights_to_write(self):
        self.bound()
        self.environment["XDG_CACHE_HOME"] = self.path("other")
        self.fake.plan(Fault("403", method="PUT", times=99))
        self.fake.forget()
        self.ramet("clone", self.url(), self.path("b.db"), "--hydrate")
        self.assertEqual(set(self.fake.kinds()), {"get", "list"})


MANY_CHILD = """
import json, os, resource, sqlite3, sys
so, url, count, limit = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5])
most = int(sys.argv[5]) if len(sys.argv) > 5 else limit
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
first = sqlite3.connect(":memory:")
first.enable_load_extension(True)
first.load_extension(so)

def used():
    return [len(os.listdir("/proc/self/" + what)) for what in ("fd", "task")]

before = used()
dbs = []
for i in range(count):
    remote = "&sync=auto&remote=" + (url % i).replace("?", "%3f") if url else ""
    db = sqlite3.connect("file:d%d.db?vfs=ramet%s" % (i, remote), uri=True,
                         isolation_level=None, timeout=60)
    db.execute("CREATE TABLE t(i)")
    db.execute("INSERT INTO t VALUES(?)", (i,))
    dbs.append(db)
at_most = used()
for i, db in enumerate(dbs):
    db.execute("INSERT INTO t VALUES(?)", (i + count,))
    if url:
        db.execute("SELECT ramet_push()").fetchone()
    assert db.execute("SELECT count(*) FROM t").fetchone()[0] == 2
    at_most = [max(pair) for pair in zip(at_most, used())]
while dbs:
    dbs.pop().close()
print(json.dumps({"before": before, "at_most": at_most, "after": used(),
                  "limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}))
"""


TOO_MANY_CHILD = """
import json, resource, sqlite3, sys
limit = int(sys.argv[2])
loader = sqlite3.connect(":memory:")
loader.enable_load_extension(True)
loader.load_extension(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
dbs, said = [], None
while said is None:
    try:
        db = sqlite3.connect("file:d%d.db?vfs=ramet" % len(dbs), uri=True,
                             isolation_level=None, timeout=60)
        db.execute("CREATE TABLE t(i)")
        dbs.append(db)
    except sqlite3.OperationalError as error:
        said = str(error)
for db in dbs:
    db.execute("INSERT INTO t VALUES(1)")
count = len(dbs)
while dbs:
    dbs.pop().close()
db = sqlite3.connect("file:d%d.db?vfs=ramet" % count, uri=True)
db.execute("CREATE TABLE IF NOT EXISTS t(i)")
db.close()
print(json.dumps([count, said]))
"""


class Many(BucketTest):
    def many(self, url, count, limit, *more):
        """So many databases in a process; what it tells of itself."""
        done = support.subprocess.run(
            ["/usr/bin/python3", "-c", MANY_CHILD, support.EXTENSION,
             url, str(count), str(limit), *map(str, more)],
            text=True, cwd=self.dir,
            env=self.environment, stdout=support.subprocess.PIPE,
            stderr=support.subprocess.PIPE, timeout=900)
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout)
        self.assertLessEqual(told["at_most"][1], told["before"][1] + 34)
        self.assertEqual(told["after"], told["before"])
        return told

    def test_databases__are_more_than_the_limit_has_room_for(self):
        """A process has as many descriptors as it is told, 1,024 mostly, and may
        have far more if it asks: 220 databases are more than 640 are enough for."""
        count, limit = 220, 640
        most = 4 * count + 1024
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < most:
            self.skipTest("may not have so many")
        told = self.many("", count, limit, most)
        self.assertGreater(told["limit"], limit)
        self.assertLess(told["limit"], most)

    def test_database__that_is_one_too_many_is_told_and_harms_no_other(self):
        """Where the hard limit is reached as well."""
        limit = 256
        done = support.subprocess.run(
            ["/usr/bin/python3", "-c", TOO_MANY_CHILD, support.EXTENSION,
             str(limit)], text=True, cwd=self.dir, env=self.environment,
            stdout=support.subprocess.PIPE, stderr=support.subprocess.PIPE,
            timeout=900)
        self.assertEqual(done.returncode, 0, done.stderr)
        count, said = json.loads(done.stdout)
        self.assertGreater(count, limit // 6)
        self.assertIn("Too many open files", said)
        self.assertIn("d%d.db" % count, said)

    def test_databases__are_many_in_a_process_of_few_descriptors(self):
        """Three descriptors each, where there may be no more: at 1,024 that is
        300. RAMET_TEST_MANY has how many."""
        count = int(os.environ.get("RAMET_TEST_MANY", "100"))
        told = self.many(self.url("d%d"), count, 3 * count + 124)
        self.assertEqual(told["limit"], 3 * count + 124)
        names = {key.split("/")[3] for key in self.fake.objects
                 if key.startswith("a/b/names/")}
        self.assertEqual(len(names), count)
        for i in (0, count // 2, count - 1):
            out = self.path("out%d.db" % i)
            self.ramet("export", self.url("d%d" % i), out)
            with contextlib.closing(sqlite3.connect(out)) as db:
                self.assertEqual(db.execute(
                    "SELECT i FROM t ORDER BY 1").fetchall(),
                    [(i,), (i + count,)])


class Keys(BucketTest):
    def signers(self, fake):
        return {request.signer for request in fake.log}

    def test_endpoint_that_only_a_url_names__gets_no_signature(self):
        self.bound()
        other = self.new_fake()
        other.objects = dict(self.fake.objects)
        self.ramet("clone", self.url(fake=other), self.path("b.db"))
        self.assertEqual(self.signers(other), {None})
        self.assertTrue(all("x-amz-security-token" not in request.headers
                            for request in other.log))
        self.assertEqual(self.signers(self.fake), {"AKTEST"})

    def test_endpoint_that_only_a_replica_names__gets_no_signature(self):
        self.bound()
        self.sql(self.a, COMMIT)
        self.fake.forget()
        del self.environment["AWS_ENDPOINT_URL_S3"]
        self.fake.signers = {"AKTEST"}
        text = self.refused(NOT_PERMITTED, "push", self.a)
        self.assertIn("only a URL names", text)
        self.assertEqual(self.signers(self.fake), {None})

    def test_endpoint_of_ramet_conf__gets_them(self):
        del self.environment["AWS_ENDPOINT_URL_S3"]
        self.write(self.path("ramet.conf"), (
            "[remote work]\nurl = s3://bucket/x?endpoint=%s\n" %
            self.fake.url).encode())
        self.fake.signers = {"AKTEST"}
        self.bound()
        self.assertEqual(self.signers(self.fake), {"AKTEST"})

    def test_session_token__goes_with_the_keys(self):
        self.environment["AWS_SESSION_TOKEN"] = "session"
        self.bound()
        self.assertTrue(all(
            request.headers["x-amz-security-token"] == "session" and
            "x-amz-security-token" in request.headers["authorization"]
            for request in self.fake.log))

    def drop_environment_keys(self):
        del self.environment["AWS_ACCESS_KEY_ID"]
        del self.environment["AWS_SECRET_ACCESS_KEY"]

    def test_profile__gives_them(self):
        self.drop_environment_keys()
        os.mkdir(self.path(".aws"))
        self.write(self.path(".aws", "credentials"),
                   b"[work]\naws_access_key_id = AKWORK\n"
                   b"aws_secret_access_key = s\n")
        self.environment["AWS_PROFILE"] = "work"
        self.bound()
        self.assertEqual(self.signers(self.fake), {"AKWORK"})

    def test_tls__is_checked_against_the_named_authorities(self):
        key = self.path("key.pem")
        support.subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out",
             self.path("cert.pem"), "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1"], check=True,
            stderr=support.subprocess.DEVNULL)
        both = self.write(self.path("both.pem"), self.read(
            self.path("cert.pem")) + self.read(key))
        secure = self.new_fake(certificate=both)
        self.environment["AWS_ENDPOINT_URL_S3"] = secure.url
        a = self.make_database(self.path("a.db"))
        text = self.refused(UNREACHABLE, "init", a, "--remote",
                            self.url(fake=secure))
        self.assertIn("certificate", text)
        self.assertEqual(secure.log, [])
        self.environment["AWS_CA_BUNDLE"] = self.path("cert.pem")
        self.ramet("init", a, "--remote", self.url(fake=secure))
        self.assertEqual(self.signers(secure), {"AKTEST"})

    def test_no_keys_anywhere__is_said(self):
        self.drop_environment_keys()
        self.make_database(self.path("a.db"))
        text = self.refused(NOT_PERMITTED, "init", self.path("a.db"),
                            "--remote", self.url())
        self.assertIn("AWS_ACCESS_KEY_ID", text)
        self.assertEqual(self.fake.log, [])

    def credentials(self, key, minutes=60):
        return json.dumps({
            "Code": "Success", "AccessKeyId": key, "SecretAccessKey": "s",
            "Token": "t-" + key,
            "Expiration": time.strftime(
                "%Y-%m-%dT%H:%M:%SZ",
                time.gmtime(time.time() + minutes * 60))}).encode()

    def test_machine__gives_them_by_its_second_version(self):
        self.drop_environment_keys()
        seen = []

        def role(request, _):
            seen.append(request.headers.get("x-aws-ec2-metadata-token"))
            return self.credentials("AKMACHINE")

        machine = self.new_fake()
        path = "/latest/meta-data/iam/security-credentials/"
        machine.extra = {
            ("PUT", "/latest/api/token"): lambda *_: b"imds-token",
            ("GET", path): lambda *_: b"the-role\n",
            ("GET", path + "the-role"): role}
        del self.environment["AWS_EC2_METADATA_DISABLED"]
        self.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = machine.url
        self.bound()
        self.assertEqual(self.signers(self.fake), {"AKMACHINE"})
        self.assertEqual(seen, ["imds-token"])

    def test_container__gives_them_to_who_has_its_token(self):
        self.drop_environment_keys()
        seen = []

        def answer(request, _):
            seen.append(request.headers.get("authorization"))
            return self.credentials("AKCONTAINER")

        container = self.new_fake()
        container.extra = {("GET", "/creds"): answer}
        token = self.write(self.path("token"), b"secret-token\n")
        self.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = \
            container.url + "/creds"
        self.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = token
        self.bound()
        self.assertEqual(self.signers(self.fake), {"AKCONTAINER"})
        self.assertEqual(seen, ["secret-token"])

    NO_KEYS = (b"", b"no JSON", b"[]", b"{}", b'{"AccessKeyId": 7}',
               b'{"AccessKeyId": "", "SecretAccessKey": "s"}',
               b'{"AccessKeyId": "AK"}',
               b'{"AccessKeyId": "A K", "SecretAccessKey": "s"}',
               b'{"AccessKeyId": "AK", "SecretAccessKey": "s\\n"}',
               b'{"AccessKeyId": "%s", "SecretAccessKey": "s"}' % (b"A" * 9000),
               b'{"AccessKeyId": "AK", "SecretAccessKey": "s", "Token": "t t"}',
               b'{"AccessKeyId": "AK", "SecretAccessKey": "s",'
               b' "Expiration": "soon"}',
               b'{"AccessKeyId": "AK", "SecretAccessKey": "s",'
               b' "Expiration": "1969-01-01T00:00:00Z"}')

    def told_without_keys(self, status):
        """Of a store that is asked by who has none; nothing goes to it."""
        text = self.refused(status, "ls", self.url(""))
        self.assertEqual(self.fake.log, [])
        return text

    def test_container_that_answers_otherwise__gives_no_keys(self):
        self.drop_environment_keys()
        container = self.new_fake()
        self.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = \
            container.url + "/creds"

        def of(answer, status):
            container.extra = {("GET", "/creds"): lambda *_: answer}
            return self.told_without_keys(status)

        for answer in self.NO_KEYS:
            self.assertIn("answered without credentials", of(answer, DAMAGED))
        self.assertIn("the container's endpoint: HTTP status 403",
                      of(403, NOT_PERMITTED))
        self.assertIn("the container's endpoint: HTTP status 500",
                      of(500, UNREACHABLE))
        self.assertIn("the container's endpoint: ", of(None, UNREACHABLE))
        self.assertIn("the container's endpoint: ",
                      of(b"x" * (65 << 10), UNREACHABLE))

    def test_container_elsewhere__is_not_told_the_token(self):
        self.drop_environment_keys()
        self.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "secret"
        for url in ("http://192.0.2.1/creds", "http://169.254.170.22/creds",
                    "ftp://127.0.0.1/", "nonsense"):
            self.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url
            self.assertIn("only this machine is asked",
                          self.told_without_keys(support.USAGE))

    def test_container_token_that_is_none__is_not_sent(self):
        self.drop_environment_keys()
        container = self.new_fake()
        seen = []
        container.extra = {("GET", "/creds"): lambda *_: seen.append(_)}
        self.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = \
            container.url + "/creds"
        self.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "two\nlines"
        self.assertIn("token is malformed",
                      self.told_without_keys(NOT_PERMITTED))
        self.environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = \
            self.path("none")
        self.assertIn("can't be read", self.told_without_keys(NOT_PERMITTED))
        self.assertEqual(seen, [])

    def test_machine_that_answers_otherwise__gives_no_keys(self):
        self.drop_environment_keys()
        machine = self.new_fake()
        roles = "/latest/meta-data/iam/security-credentials/"
        del self.environment["AWS_EC2_METADATA_DISABLED"]
        self.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = machine.url
        for token, role, keys, why in (
                (404, None, None, "HTTP status 404"),
                (None, None, None, "the machine's metadata service: "),
                (b"token", 404, None, "HTTP status 404"),
                (b"token", None, None, "the machine's metadata service: "),
                (b"token", b"r", 500, "HTTP status 500"),
                (b"token", b"r", b"<html>", "answered without credentials")):
            machine.extra = {
                ("PUT", "/latest/api/token"): lambda *_, say=token: say,
                ("GET", roles): lambda *_, say=role: say,
                ("GET", roles + "r"): lambda *_, say=keys: say}
            text = self.told_without_keys(NOT_PERMITTED)
            self.assertIn("there are none", text)
            self.assertIn(why, text)

    def test_web_identity_that_is_refused__gives_no_keys(self):
        self.drop_environment_keys()
        sts = self.new_fake()
        self.environment.update(
            AWS_ROLE_ARN="arn:aws:iam::1:role/r",
            AWS_WEB_IDENTITY_TOKEN_FILE=self.path("jwt"),
            AWS_ENDPOINT_URL_STS=sts.url)
        self.assertIn("can't be read", self.told_without_keys(NOT_PERMITTED))
        self.write(self.path("jwt"), b"token\n")
        for answer, status, why in (
                (b"<html>", DAMAGED, "answered without credentials"),
                (b"<AssumeRoleWithWebIdentityResponse/>", DAMAGED,
                 "answered without credentials"),
                (403, NOT_PERMITTED, "token service: HTTP status 403"),
                (503, UNREACHABLE, "token service: HTTP status 503"),
                (None, UNREACHABLE, "token service: ")):
            sts.extra = {("POST", "/"): lambda *_, say=answer: say}
            self.assertIn(why, self.told_without_keys(status))

    def test_half_of_the_keys_in_the_environment__are_none(self):
        for name, value in (("AWS_SECRET_ACCESS_KEY", ""),
                            ("AWS_SECRET_ACCESS_KEY", "with a blank"),
                            ("AWS_SESSION_TOKEN", "two\nlines"),
                            ("AWS_ACCESS_KEY_ID", "A" * 9000)):
            before = dict(self.environment)
            self.environment[name] = value
            self.assertIn("has to go with it",
                          self.told_without_keys(NOT_PERMITTED))
            self.environment = before

    def test_profile_of_a_kind_that_is_not_known__is_named(self):
        self.drop_environment_keys()
        os.mkdir(self.path(".aws"))
        for line, what in ((b"credential_process = /bin/true", "credential_process"),
                           (b"sso_session = s", "sso")):
            self.write(self.path(".aws", "config"), b"[default]\n" + line + b"\n")
            text = self.told_without_keys(NOT_PERMITTED)
            self.assertIn("which Ramet does not know", text)
            self.assertIn(what, text)

    def test_web_identity__is_exchanged_for_them(self):
        self.drop_environment_keys()
        seen = []

        def answer(_, body):
            seen.append(body.decode())
            return (b"<AssumeRoleWithWebIdentityResponse>"
                    b"<AssumeRoleWithWebIdentityResult><Credentials>"
                    b"<AccessKeyId>AKWEB</AccessKeyId>"
                    b"<SecretAccessKey>s</SecretAccessKey>"
                    b"<SessionToken>t</SessionToken>"
                    b"<Expiration>2099-01-01T00:00:00Z</Expiration>"
                    b"</Credentials></AssumeRoleWithWebIdentityResult>"
                    b"</AssumeRoleWithWebIdentityResponse>")

        sts = self.new_fake()
        sts.extra = {("POST", "/"): answer}
        self.environment.update(
            AWS_ROLE_ARN="arn:aws:iam::1:role/r",
            AWS_WEB_IDENTITY_TOKEN_FILE=self.write(self.path("jwt"), b"a+b"),
            AWS_ENDPOINT_URL_STS=sts.url)
        self.bound()
        self.assertEqual(self.signers(self.fake), {"AKWEB"})
        self.assertIn("WebIdentityToken=a%2Bb", seen[0])
        self.assertIn("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr", seen[0])

    def test_keys_that_expire_soon__are_asked_for_once_in_a_while(self):
        self.drop_environment_keys()
        given = []

        def answer(*_):
            given.append(True)
            return self.credentials("AKSOON", minutes=3)

        container = self.new_fake()
        container.extra = {("GET", "/creds"): answer}
        self.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = \
            container.url + "/creds"
        self.make_database(self.path("a.db"), 500)
        self.ramet("init", self.path("a.db"), "--remote", self.url())
        self.assertGreater(len(self.fake.log), 20)
        self.assertEqual(len(given), 1)

    def test_keys_that_expired__are_asked_for_again_without_a_restart(self):
        self.drop_environment_keys()
        given = []

        def answer(*_):
            given.append("AK%d" % (len(given) + 1))
            return self.credentials(given[-1])

        container = self.new_fake()
        container.extra = {("GET", "/creds"): answer}
        self.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = \
            container.url + "/creds"
        self.bound()
        server = support.free_port()
        process = support.subprocess.Popen(
            [support.RAMET, "serve", "--listen", "127.0.0.1:%d" % server,
             "--store", "s3://bucket/a/b?endpoint=" + self.fake.url],
            env=self.environment, stdout=support.subprocess.DEVNULL,
            stderr=support.subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        url = "http://127.0.0.1:%d" % server
        for _ in range(200):
            try:
                support.urllib.request.urlopen(url + "/healthz").close()
                break
            except OSError:
                time.sleep(0.02)
        given_before = len(given)
        self.fake.signers = {"AK%d" % (given_before + 1)}  # the old: expired
        self.ramet("clone", url + "/app", self.path("b.db"), "--hydrate")
        self.assertEqual(len(given), given_before + 1)


class Faults(BucketTest):
    def lsn(self):
        return self.json("info", self.url())["lsn"]

    def pushed(self, **environment):
        """A small commit, pushed; the result."""
        self.sql(self.a, COMMIT)
        self.environment.update(environment)
        return self.json("push", self.a)

    def test_slow_down__is_obeyed_and_the_push_goes_through(self):
        self.bound()
        self.fake.plan(Fault("503", method="PUT", key="commits/", times=2,
                             headers={"Retry-After": "1"}))
        begun = time.monotonic()
        told = self.pushed()["store_requests"]
        self.assertGreaterEqual(time.monotonic() - begun, 2)
        self.assertEqual((told["slowdowns"], told["repeats"]), (2, 2))
        self.assertEqual(self.lsn(), 2)

    def test_internal_error__is_tried_again(self):
        self.bound()
        self.fake.plan(Fault("500", times=1, method="GET"),
                       Fault("500", times=1, method="PUT"))
        self.pushed()
        self.assertEqual(self.lsn(), 2)

    def test_answer_of_a_commit_that_was_lost__is_found_out_by_reading(self):
        self.bound()
        self.fake.plan(Fault("lost", method="PUT", key="commits/"))
        self.assertEqual(self.pushed()["durable_lsn"], 2)
        self.assertEqual(self.lsn(), 2)
        self.assertEqual(len([key for key in self.fake.objects
                              if "/commits/" in key]), 2)

    def test_commit_of_somebody_else_in_between__is_not_taken_for_ours(self):
        self.bound()
        b = self.path("b.db")
        self.ramet("clone", self.url(), b)
        self.sql(b, COMMIT)
        self.ramet("push", b)
        key = min(key for key in self.fake.objects if "/commits/" in key)
        theirs = self.fake.objects.pop(key)
        self.sql(self.a, COMMIT)

        def lands(request):
            if request.method == "PUT" and request.key == key:
                self.fake.objects.setdefault(key, theirs)

        # It comes after the look. Of the first try it is not known whether it was done,
        # the second is told 412.
        self.fake.hooks.append(lands)
        self.fake.plan(Fault("500", method="PUT", key="commits/"))
        self.fake.forget()
        text = self.refused(CONFLICT, "push", self.a)
        self.assertIn("diverged", text)
        self.assertEqual([request.key for request in self.fake.log
                          if request.method == "PUT"], 2 * [key])
        self.assertEqual(self.fake.objects[key], theirs)
        self.assertEqual(self.lsn(), 2)

    def test_service_that_is_gone_for_longer__loses_nothing(self):
        self.bound()
        self.sql(self.a, COMMIT)
        self.fake.plan(Fault("cut", times=500))
        self.refused(UNREACHABLE, "push", self.a)
        self.fake.faults.clear()
        self.ramet("push", self.a)
        self.assertEqual(self.lsn(), 2)

    def test_read_that_is_slow__is_not_asked_for_twice_under_slow_down(self):
        """Once the store asked for less, until it has answered for long."""
        self.bound()
        self.sql(self.a, "for _ in range(120):\n    %s\n    "
                 "db.execute('SELECT ramet_push()').fetchone()" % COMMIT,
                 keys=True)
        self.environment["RAMET_S3_HEDGE"] = "on"
        self.fake.plan(Fault("503", method="GET", key="/commits/", skip=1))
        slow, again = [], []

        def asked_for(request):
            with self.fake.lock:
                return sum(other.method == "GET" and other.key == request.key and
                           other.headers.get("range") ==
                           request.headers.get("range")
                           for other in self.fake.log)

        def hook(request):
            if request.method == "GET" and "/commits/" in request.key:
                slow.append(request.key)
                if len(slow) in (100, 110):
                    before = asked_for(request)
                    self.fake.stopped.wait(1)
                    again.append(asked_for(request) - before)

        self.fake.hooks.append(hook)
        done = self.run_ramet("verify", self.url(), "--stats")
        self.assertEqual(done.returncode, DONE, done.stderr)
        self.assertGreater(len(slow), 110)
        self.assertIn("1 repeated", done.stderr)
        self.assertEqual(again, [0, 0])

    def hang_one_read(self, usual_s):
        """The first of a head that may be asked for twice: of 33 reads one may, and on
        a machine that is busy another may have been slow enough before. The others
        take `usual_s`, so that a busy machine makes few of them late. Returns what is
        set once it is asked for again."""
        seen, hung, again = [], [], threading.Event()
        lock = threading.Lock()

        def hook(request):
            if (request.method != "GET" or "/commits/" not in request.key or
                    request.headers["range"] != "bytes=0-8191"):
                return
            with lock:
                known = set(seen)
                seen.append(request.key)
                twice = len(seen) - 1 - len(known)
                is_first = (request.key not in known and not hung and
                            len(known) >= 64 and
                            len(known) >= 33 * (twice + 1))
                if is_first:
                    hung.append(request.key)
                elif request.key in hung:
                    again.set()
            if is_first:
                again.wait(20)
                self.fake.stopped.wait(1)
            else:
                self.fake.stopped.wait(usual_s)

        self.fake.hooks.append(hook)
        return again

    def assert_a_read_that_hangs_is_asked_for_twice(self, usual_s, *words):
        """Where the machine is so busy that others are late, too, one of those is asked
        for again in its place: then it is tried anew. What it says when it was."""
        self.environment["RAMET_S3_HEDGE"] = "on"
        for _ in range(4):
            again = self.hang_one_read(usual_s)
            done = self.run_ramet(*words, "--stats")
            self.fake.hooks.pop()
            self.assertEqual(done.returncode, DONE, done.stderr)
            gets = int(re.search(r"(\d+) get\b", done.stderr).group(1))
            twice = re.search(r"; (\d+) asked twice", done.stderr)
            twice = int(twice.group(1)) if twice else 0
            self.assertLessEqual(twice, gets / 33 + 1, done.stderr)
            if again.is_set() and twice > 0 and "repeated" not in done.stderr:
                return done.stdout
        self.fail(done.stderr)

    def test_read_that_hangs__is_asked_for_a_second_time(self):
        self.bound()
        self.sql(self.a, "for _ in range(160):\n    %s\n    "
                 "db.execute('SELECT ramet_push()').fetchone()" % COMMIT,
                 keys=True)
        self.assert_a_read_that_hangs_is_asked_for_twice(0.01, "verify",
                                                         self.url())
        self.assertEqual(self.lsn(), 161)

    def test_read_of_many_at_once_that_hangs__is_asked_for_a_second_time(self):
        """The log's heads are asked for up to 64 at a time; one of them hangs."""
        self.bound()
        self.sql(self.a, "for _ in range(100):\n    %s\n    "
                 "db.execute('SELECT ramet_push()').fetchone()" % COMMIT,
                 keys=True)
        log = self.assert_a_read_that_hangs_is_asked_for_twice(0.05, "log",
                                                               self.url())
        self.assertEqual(len(log.splitlines()), 101)

    def test_half_a_body__is_asked_for_again(self):
        self.bound()
        self.fake.plan(Fault("half", method="GET", key="commits/"),
                       Fault("half", method="GET", key="segments/", times=2),
                       Fault("half", method="GET", key=""))
        out = self.path("out.db")
        self.ramet("export", self.url(), out)
        self.assertEqual(self.read(out), self.read(self.a))

    def test_body_that_a_reset_ends__is_asked_for_again(self):
        self.bound()
        self.fake.plan(Fault("reset", method="GET", key="commits/"),
                       Fault("reset", method="GET", key="segments/", times=2))
        out = self.path("out.db")
        self.ramet("export", self.url(), out)
        self.assertEqual(self.read(out), self.read(self.a))

    def test_body_that_comes_slowly__is_waited_for(self):
        self.of_bytes("a", 1 << 20)
        self.fake.plan(Fault("slow", method="GET", times=5))
        done = self.run_ramet("export", self.url("a"), self.path("out"),
                              "--stats")
        self.assertEqual(done.returncode, DONE, done.stderr)
        self.assertNotIn("repeated", done.stderr)
        self.assertEqual(self.read(self.path("out")),
                         self.read(self.path("a")))

    def two_that_a_list_hides_the_newest_from(self):
        """a at LSN 2, b at 1, and no list shows commit 2."""
        self.bound()
        b = self.path("b.db")
        self.ramet("clone", self.url(), b)
        self.sql(self.a, COMMIT)
        self.ramet("push", self.a)
        self.fake.unlisted = ("commits/fffffffffffffffd",)
        return b

    def test_list_without_the_newest_commit__loses_nothing_of_it(self):
        """An old proxy's, say. Who stands on that commit says so and changes
        nothing; who does not is told when he commits."""
        b = self.two_that_a_list_hides_the_newest_from()
        told = self.run_ramet("pull", self.a)
        self.assertNotEqual(told.returncode, DONE)
        self.assertIn("went back", told.stderr)
        self.ramet("pull", b)  # to LSN 1, on which it stands
        self.sql(b, COMMIT)
        self.assertIn("diverged", self.refused(CONFLICT, "push", b))
        self.fake.unlisted = ()
        self.ramet("pull", self.a)
        self.assertEqual(self.lsn(), 2)
        self.assertEqual(self.json("verify", self.url())["damaged"], 0)
        self.assertIn("diverged", self.refused(CONFLICT, "push", b))

    def test_list_without_a_name__makes_no_second_volume_of_it(self):
        self.bound()
        self.fake.unlisted = ("/names/",)
        b = self.make_database(self.path("b.db"))
        self.assertNotEqual(self.run_ramet(
            "init", b, "--remote", self.url()).returncode, DONE)
        self.fake.unlisted = ()
        self.assertEqual(self.lsn(), 1)
        self.ramet("pull", self.a)

    def of_bytes(self, name, size):
        """A volume of random bytes, so in a segment of its own."""
        path = self.write(self.path(name), os.urandom(size))
        self.ramet("init", path, "--remote", self.url(name))
        return path

    def export_of_what_is_damaged(self, kind, key):
        out = self.path("out")
        self.fake.plan(Fault(kind, method="GET", key=key, times=1000))
        done = self.run_ramet("export", self.url("a"), out)
        self.assertEqual(done.returncode, DAMAGED, done.stderr)
        self.assertFalse(os.path.exists(out))
        self.fake.faults.clear()

    def test_wrong_bytes__are_never_taken_for_right_ones(self):
        a = self.of_bytes("a", 1 << 20)
        self.export_of_what_is_damaged("wrong", "commits/")
        self.export_of_what_is_damaged("wrong", "segments/")
        self.ramet("export", self.url("a"), self.path("out"))
        self.assertEqual(self.read(self.path("out")), self.read(a))

    def test_body_of_another_key__is_never_taken_for_the_right_one(self):
        self.of_bytes("a", 1 << 20)
        self.of_bytes("b", 2 << 20)
        self.export_of_what_is_damaged("other", "segments/")

    def test_bucket_that_is_gone__is_said_and_is_no_empty_store(self):
        self.bound()
        self.fake.bucket = "renamed"
        text = self.refused(UNREACHABLE, "pull", self.a)
        self.assertIn("NoSuchBucket", text)
        self.assertEqual(self.status(self.a)["state"], "offline")

    def test_denied__says_what_to_look_at(self):
        self.bound()
        self.sql(self.a, COMMIT)
        self.fake.plan(Fault("403", times=9, method="PUT"))
        self.assertIn("rights of these keys",
                      self.refused(NOT_PERMITTED, "push", self.a))

    def test_clock_that_is_off__is_told_as_that(self):
        self.bound()
        self.fake.plan(Fault("403", code="RequestTimeTooSkewed", times=9))
        self.sql(self.a, COMMIT)
        self.assertIn("clock", self.refused(FAILED, "push", self.a))

    def test_other_region__is_named(self):
        self.bound()
        self.fake.plan(Fault("301", code="PermanentRedirect", times=9,
                             headers={"x-amz-bucket-region": "eu-west-9"}))
        done = self.run_ramet("pull", self.a)
        self.assertIn("?region=eu-west-9", done.stderr)

    def test_web_server_that_is_no_s3__is_told_as_that(self):
        self.bound()
        self.fake.extra = {
            ("GET", path): lambda *_: b"<html>It works!</html>" for path in (
                "/bucket", "/bucket/", "/bucket/a/b/ramet.json",
                "/bucket/a/b/names/app/fffffffffffffffe")}
        done = self.run_ramet("clone", self.url(), self.path("b.db"))
        self.assertNotEqual(done.returncode, DONE)
        self.assertIn("ramet.json", done.stderr)

    def test_store_on_which_two_writers_win__is_refused_each_time(self):
        racy = self.new_fake(racy=True)
        self.environment["AWS_ENDPOINT_URL_S3"] = racy.url
        a = self.make_database(self.path("a.db"))
        for _ in range(2):
            text = self.refused(FAILED, "init", a, "--remote",
                                self.url(fake=racy))
            self.assertIn("can't be a store for Ramet", text)
            self.assertIn("two writers", text)
        self.assertEqual([key for key in racy.objects
                          if "/probe/" not in key], [])
        self.assertFalse(os.path.exists(self.path("cache", "ramet")))

    def test_upload_that_fails__is_taken_back(self):
        self.bound()
        big = self.path("big.bin")
        self.write(big, os.urandom(12 << 20))
        self.fake.plan(Fault("403", method="PUT", key="segments/", times=99))
        self.refused(NOT_PERMITTED, "init", big, "--remote", self.url("big"))
        self.assertEqual(self.fake.uploads, {})
        self.assertEqual([key for key in self.fake.objects
                          if "/segments/" in key], [])

    def test_store_that_replaces_what_a_writer_wrote__is_refused(self):
        a = self.make_database(self.path("a.db"))
        for lie, why in ((b"of somebody else", "the second replaced"),
                         (404, "is not there")):
            self.fake.instead = lambda request, _, say=lie: \
                say if request.method == "GET" and "/probe/" in request.key \
                else ...
            text = self.refused(FAILED, "init", a, "--remote", self.url())
            self.assertIn("can't be a store for Ramet", text)
            self.assertIn(why, text)
        self.assertEqual(self.what_is_left(), [])

    def test_store_that_answers_a_race_too_seldom__is_not_taken_for_proven(self):
        a = self.make_database(self.path("a.db"))
        for answer, status, why in (
                (500, UNREACHABLE, "answers too seldom"),
                (403, NOT_PERMITTED, "AsPlanned")):
            self.fake.instead = lambda request, _, say=answer: \
                say if request.method == "PUT" and "/probe/" in request.key \
                else ...
            self.assertIn(why, self.refused(status, "init", a, "--remote",
                                            self.url()))
        self.assertEqual(self.what_is_left(), [])
        self.fake.instead = None
        self.ramet("init", a, "--remote", self.url())

    def large(self, **options):
        """An upload in parts of what was not there; what is told of it."""
        big = self.path("big.bin")
        if not os.path.exists(big):
            self.write(big, os.urandom(7 << 20))
        return self.run_ramet("init", big, "--remote", self.url("big"),
                              **options)

    def test_large_object_that_is_told_to_have_failed__is_not_there(self):
        self.bound()
        error = b"<Error><Code>InternalError</Code><Message>m</Message></Error>"
        begun = b"<InitiateMultipartUploadResult><UploadId>%s</UploadId>" \
            b"</InitiateMultipartUploadResult>"
        for kind, answer, status, why in (
                ("uploads", b"<html>", DAMAGED, "no id for an upload"),
                ("uploads", begun % b"", DAMAGED, "no id for an upload"),
                ("uploads", 403, NOT_PERMITTED, "AsPlanned"),
                ("partNumber", b"", DAMAGED, "a part without an ETag"),
                ("uploadId", error, UNREACHABLE, "InternalError"),
                ("uploadId", 404, NOT_FOUND, "AsPlanned")):
            self.fake.instead = lambda request, _, kind=kind, say=answer: \
                say if kind in request.query and \
                request.method in ("POST", "PUT") and \
                ("partNumber" in request.query) == (kind == "partNumber") \
                else ...
            done = self.large()
            self.assertEqual(done.returncode, status, (kind, answer, done.stderr))
            self.assertIn(why, done.stderr)
            self.assertEqual([key for key in self.fake.objects
                              if "/segments/" in key], [], (kind, answer))
        self.fake.instead = None
        self.assertEqual(self.large().returncode, DONE)

    def test_segment_that_cannot_be_completed__keeps_its_commit_away(self):
        """It is the first of two, and the second is there."""
        path = self.write(self.path("big.bin"), os.urandom(66 << 20))
        first = []

        def refuse_first(request, _):
            upload = request.query.get("uploadId")
            if not upload or request.method != "POST":
                return ...
            first.append(upload)
            return 403 if upload == first[0] else ...

        self.fake.instead = refuse_first
        self.refused(NOT_PERMITTED, "init", path, "--remote", self.url("big"))
        self.assertNotIn("commits", self.what_is_left())
        self.fake.instead = None
        self.ramet("push", path)
        self.ramet("export", self.url("big"), self.path("out"))
        self.assertEqual(self.read(self.path("out")), self.read(path))

    def test_large_object_whose_key_is_taken__replaces_nothing(self):
        """Not every service looks at a condition where an upload is completed."""
        self.bound()
        taken = []

        def somebody_is_first(request, _):
            if "uploads" in request.query and not taken:
                taken.append(request.key)
                self.fake.objects[request.key] = b"of somebody else"
            return ...

        self.fake.instead = somebody_is_first
        done = self.large()
        self.assertEqual(self.fake.objects[taken[0]], b"of somebody else")
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.assertIn("is there already", done.stderr)
        self.assertEqual(self.fake.uploads, {})

    def test_large_object_that_another_completed_otherwise__is_not_ours(self):
        self.bound()

        def completed(request, _):
            if request.method == "POST" and "uploadId" in request.query:
                self.fake.objects[request.key] = b"of somebody else"
                return None
            return ...

        self.fake.instead = completed
        done = self.large()
        self.assertEqual(done.returncode, FAILED, done.stderr)
        self.assertIn("is there already", done.stderr)

    def test_range_that_comes_short__is_no_end_of_the_object(self):
        """Its length says so; but that the object is longer says the total alone.
        Of many at once it is asked for again, by itself."""
        self.bound()
        b = self.of_bytes("b", 3 << 20)
        out = self.path("out")
        self.fake.plan(Fault("short", method="GET", key="commits/"))
        self.assertIn("are not the range that was asked for",
                      self.refused(DAMAGED, "export", self.url("b"), out))
        self.fake.plan(Fault("short", method="GET", key="segments/", skip=4))
        self.ramet("export", self.url("b"), out)
        self.assertEqual(self.read(out), self.read(b))
        for _ in range(12):
            self.sql(self.a, COMMIT)
            self.ramet("push", self.a)
        whole = self.ramet("log", self.url())
        self.fake.plan(Fault("short", method="GET", key="commits/", skip=4))
        self.assertEqual(self.ramet("log", self.url()), whole)
        self.assertEqual([fault.times for fault in self.fake.faults], [0, 0, 0])

    def test_who_may_not_delete__can_push(self):
        self.fake.plan(Fault("403", method="DELETE", times=1000))
        self.bound()
        self.sql(self.a, COMMIT)
        self.ramet("push", self.a)
        self.assertEqual(self.lsn(), 2)

    def test_part_of_an_upload_that_was_lost__is_sent_again(self):
        self.bound()
        big = self.path("big.bin")
        self.write(big, os.urandom(12 << 20))
        self.fake.plan(Fault("lost", method="PUT", key="segments/"),
                       Fault("500", method="PUT", key="segments/"),
                       Fault("lost", method="POST", key="segments/"))
        self.ramet("init", big, "--remote", self.url("big"))
        copy = self.path("copy.bin")
        self.ramet("export", self.url("big"), copy)
        self.assertEqual(self.read(copy), self.read(big))

    def test_completion_whose_answer_was_lost__is_found_out_by_looking(self):
        self.bound()
        big = self.path("big.bin")
        self.write(big, os.urandom(12 << 20))
        self.fake.plan(Fault("none", method="POST", key="segments/"),
                       Fault("lost", method="POST", key="segments/"))
        self.ramet("init", big, "--remote", self.url("big"))
        copy = self.path("copy.bin")
        self.ramet("export", self.url("big"), copy)
        self.assertEqual(self.read(copy), self.read(big))

    def test_completion_that_fails_after_its_status__is_not_taken_for_done(self):
        """200 at first, and in the body that it came to nothing."""
        self.bound()
        big = self.path("big.bin")
        self.write(big, os.urandom(12 << 20))
        failed = []

        def fails_once(request, _):
            if request.method != "POST" or "uploadId" not in request.query or failed:
                return ...
            failed.append(request.key)
            return b"<Error><Code>InternalError</Code><Message>no</Message></Error>"

        self.fake.instead = fails_once
        self.refused(UNREACHABLE, "init", big, "--remote", self.url("big"))
        self.assertEqual(len(failed), 1)
        self.assertNotIn(failed[0], self.fake.objects)
        self.ramet("init", big, "--remote", self.url("big"))
        copy = self.path("copy.bin")
        self.ramet("export", self.url("big"), copy)
        self.assertEqual(self.read(copy), self.read(big))

    def test_deletion_where_only_single_ones_are_known__is_done_all_the_same(
            self):
        self.bound()
        self.sql(self.a, COMMIT)
        self.ramet("push", self.a)
        self.fake.plan(Fault("501", code="NotImplemented", method="POST",
                             times=9))
        self.ramet("delete", self.url(), "--yes")
        self.assertEqual(self.what_is_left(), ["commits"])  # its end

    def test_lists_in_pages__are_read_to_their_end(self):
        self.bound()
        self.fake.page = 2
        for i in range(5):
            self.ramet("init", self.make_database(self.path("%d.db" % i), 10),
                       "--remote", self.url("v%d" % i))
        listed = self.ramet("ls", self.url(""))
        for i in range(5):
            self.assertIn("v%d" % i, listed)

    def test_list_that_does_not_go_on__ends_as_damage(self):
        self.bound()
        self.fake.lists_stuck = True
        self.fake.forget()
        done = self.run_ramet("ls", self.url(""))
        self.assertNotEqual(done.returncode, DONE)
        self.assertIn("repeats itself", done.stderr)
        self.assertLess(len(self.fake.log), 20)

    def test_list_that_passes_over_its_prefix__costs_no_other_volume(self):
        self.bound()
        self.of_bytes("b", 1 << 20)
        before = set(key for key in self.fake.objects)
        self.fake.lists_all = True
        for words in (("ls", self.url("")), ("info", self.url()),
                      ("log", self.url()), ("profiles", self.url()),
                      ("verify", self.url()),
                      ("delete", self.url(), "--yes")):
            done = self.run_ramet(*words)
            self.assertEqual(done.returncode, DAMAGED,
                             (words, done.stderr))
            self.assertIn("keys outside of its prefix", done.stderr)
        self.assertEqual(before - set(self.fake.objects), set())
        self.fake.lists_all = False
        self.ramet("export", self.url("b"), self.path("out"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
