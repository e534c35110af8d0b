#!/usr/bin/python3
"""`ramet doctor`: what it finds of a remote that is well, and of one that is
not, in words and by its exit code."""
import collections
import email.utils
import os
import threading
import time
import unittest

import support
from proxy import Proxy

ALL = ["reach", "version", "credentials", "list", "clock", "volume",
       "retention", "write", "listing", "conditional", "latency", "throughput",
       "delete"]
if support.KIND == "s3":
    ALL.insert(ALL.index("write"), "rules")


class Doctor(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=20)
        self.ramet("init", self.a, "--remote", self.url())

    def found(self, *words, expect=support.DONE):
        """The checks by name, as JSON tells them."""
        done = self.json("doctor", *words, expect=expect)
        self.assertEqual(done["ok"], expect == support.DONE)
        return {check["name"]: check for check in done["checks"]}

    def problems(self, *words, expect):
        return {name: check for name, check in
                self.found(*words, expect=expect).items()
                if check["state"] == "problem"}

    def test_remote_that_is_well__has_no_problem_and_is_left_as_it_was(self):
        before = self.keys()
        checks = self.found(self.url())
        self.assertEqual(list(checks), ALL)
        for name, check in checks.items():
            self.assertEqual(check["todo"], "", name)
        self.assertIn("LSN 1", checks["volume"]["text"])
        self.assertIn("storage format 5 there", checks["version"]["text"])
        self.assertEqual(self.keys(), before)
        self.assertEqual(self.ramet("ls", self.store_url()).count("\n"), 1)

    def test_words__are_a_line_each(self):
        lines = self.ramet("doctor", self.url()).splitlines()
        self.assertEqual([line.split()[1] for line in lines], ALL)
        self.assertEqual(self.ramet("doctor", self.url(), "--quiet"), "")

    def test_store_without_a_name__is_tried_out_as_well(self):
        checks = self.found(self.store_url() + "/")
        self.assertNotIn("volume", checks)
        self.assertEqual(checks["write"]["state"], "ok")

    def test_read_only__writes_nothing(self):
        before = self.keys()
        checks = self.found(self.url(), "--read-only")
        self.assertEqual(checks["write"]["state"], "skipped")
        self.assertNotIn("conditional", checks)
        self.assertEqual(self.keys(), before)

    def test_volume_that_is_not_there__is_told(self):
        found = self.problems(self.url("nosuch"), expect=support.NOT_FOUND)
        self.assertEqual(list(found), ["volume"])
        self.assertIn("ramet ls", found["volume"]["todo"])

    def test_commit_that_was_cleaned_away__is_told(self):
        for _ in range(3):
            self.sql(self.a, "db.execute(\"INSERT INTO t(v) VALUES('more')\")")
            self.ramet("push", self.a)
        self.remove_object(max(self.keys("/commits/")))  # LSN 1
        if self.server:
            self.server.stop()
            self.server.start()
        done = self.run_ramet("doctor", self.url(), "--read-only")
        self.assertNotEqual(done.returncode, support.DONE)
        self.assertRegex(done.stdout, r"(?m)^problem  retention .*lifecycle")

    def test_place_that_is_no_store__is_told(self):
        os.mkdir(self.path("empty"))
        found = self.problems("file://" + self.path("empty") + "/app",
                              expect=support.NOT_FOUND)
        self.assertEqual(list(found), ["store"])

    @unittest.skipUnless(support.KIND == "s3", "of a bucket")
    def test_lifecycle_rule_that_takes_objects__is_told(self):
        def give_rules(prefix):
            self.bucket.request("PUT", "", (
                "<LifecycleConfiguration><Rule><ID>by age</ID><Prefix>%s"
                "</Prefix><Status>Enabled</Status><Expiration><Days>3650</Days>"
                "</Expiration></Rule></LifecycleConfiguration>" % prefix)
                .encode(), query={"lifecycle": ""})

        try:
            give_rules("elsewhere/")
        except AssertionError:
            self.skipTest("this service has no lifecycle rules")
        self.addCleanup(self.bucket.request, "DELETE", "",
                        query={"lifecycle": ""})
        self.found(self.url(), "--read-only")
        give_rules(self.bucket.prefix)
        found = self.problems(self.url(), "--read-only",
                              expect=support.FAILED)
        self.assertEqual(list(found), ["rules"])
        self.assertIn("by age", found["rules"]["text"])

    def test_nobody_there__is_told(self):
        found = self.problems("http://127.0.0.1:%d/app" % support.free_port(),
                              expect=support.UNREACHABLE)
        self.assertEqual(list(found), ["reach"])

    def test_wrong_address__is_told(self):
        found = self.problems("nosuch://x/app", expect=support.USAGE)
        self.assertEqual(list(found), ["address"])


@unittest.skipUnless(support.KIND == "http", "of a server")
class DoctorOfServers(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=20)

    problems = Doctor.problems
    found = Doctor.found

    def served(self, hook):
        if not os.path.exists(self.a + "-ramet"):
            self.ramet("init", self.a, "--remote", self.url())
        proxy = Proxy(self.server.port, hook)
        self.addCleanup(proxy.close)
        return proxy.url("app")

    def test_two_winners__are_found(self):
        """Whether all are told that they were first, or one too many in a race."""
        for lies in 1, 100:
            with self.subTest(lies=lies):
                lock, told = threading.Lock(), collections.Counter()

                def hook(method, path, forward):
                    status, headers, body = forward()
                    with lock:
                        told[path] += status == 412
                        if status == 412 and told[path] <= lies:
                            status = 201
                    return status, headers, body

                found = self.problems(self.served(hook),
                                      expect=support.FAILED)
                self.assertEqual(list(found), ["conditional"])
                self.assertIn("can not be a remote",
                              found["conditional"]["todo"])

    def test_list_that_lags__is_found(self):
        def hook(method, path, forward):
            status, headers, body = forward()
            if path.startswith("/v1/keys?prefix=volumes"):
                body = b'{"keys":[],"more":false}'
            return status, headers, body

        found = self.problems(self.served(hook), expect=support.DAMAGED)
        self.assertIn("listing", found)

    def test_clock_that_is_off__is_found(self):
        def hook(method, path, forward):
            status, headers, body = forward()
            date = email.utils.formatdate(time.time() - 1200, usegmt=True)
            return status, [(name, date if name == "Date" else value)
                            for name, value in headers], body

        found = self.problems(self.served(hook), expect=support.FAILED)
        self.assertEqual(list(found), ["clock"])
        self.assertIn("20 min", found["clock"]["text"])

    def test_write_that_changes_bytes__is_found(self):
        def hook(method, path, forward):
            status, headers, body = forward()
            if method == "GET" and "/segments/" in path:
                body = bytes(len(body))
            return status, headers, body

        found = self.problems(self.served(hook), expect=support.DAMAGED)
        self.assertEqual(list(found), ["write"])

    def test_rights__are_told_apart(self):
        tokens = self.write(self.path("tokens"),
                            b"secret-for-writers\nro:secret-for-readers\n")
        self.server.stop()
        server = support.Server(self.store, "--token-file", tokens)
        self.addCleanup(server.stop)
        url = server.url() + "/app"
        os.environ["RAMET_TOKEN"] = "secret-for-writers"
        self.addCleanup(os.environ.pop, "RAMET_TOKEN")
        self.ramet("init", self.a, "--remote", url)
        self.assertIn("a token is sent",
                      self.found(url)["credentials"]["text"])
        os.environ["RAMET_TOKEN"] = "secret-for-readers"
        found = self.problems(url, expect=support.NOT_PERMITTED)
        self.assertEqual(list(found), ["write"])
        self.assertIn("--read-only", found["write"]["todo"])
        self.found(url, "--read-only")
        os.environ["RAMET_TOKEN"] = "of-another-place"
        found = self.problems(url, expect=support.NOT_PERMITTED)
        self.assertEqual(list(found), ["credentials"])


if __name__ == "__main__":
    support.main()
