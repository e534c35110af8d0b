#!/usr/bin/python3
"""Files that are no database: any length, holes, edits in place."""
import os
import random
import re

import support


class Blobs(support.CliTest):
    def setUp(self):
        super().setUp()
        self.blob = self.path("model.bin")
        self.random = random.Random(1)

    def init(self, data):
        self.write(self.blob, data)
        return self.json("init", self.blob, "--remote", self.url("model"))

    def assert_remote_is(self, data):
        """By clone and by export."""
        clone, out = self.path("clone.bin"), self.path("out.bin")
        for path in (clone, out):
            if os.path.exists(path):
                os.remove(path)
        support.shutil.rmtree(clone + "-ramet", ignore_errors=True)
        self.ramet("clone", self.url("model"), clone)
        self.assertTrue(self.read(clone) == data, "the clone differs")
        self.ramet("export", self.url("model"), out)
        self.assertTrue(self.read(out) == data, "the export differs")

    def test_blob__of_any_length_arrives_whole(self):
        for number, length in enumerate((0, 1, 99, 100, 4095, 4096, 4097,
                                         12345, 65536, 65537)):
            name = "blob%d" % number
            data = self.random.randbytes(length)
            self.write(self.path(name), data)
            self.ramet("init", name, "--remote", self.url(name))
            self.assertEqual(self.read(self.path(name)), data)
            self.ramet("clone", self.url(name), name + ".clone")
            self.assertEqual(self.read(self.path(name + ".clone")), data)
            self.assertEqual(self.json("info", self.url(name))["byte_length"],
                             length)

    def test_blob__of_ten_megabytes_arrives_whole(self):
        data = self.random.randbytes(5_000_000) + b"text " * 1_000_000
        self.init(data)
        self.assert_remote_is(data)

    def cat(self, *words):
        return self.run_ramet("cat", *words, text=False).stdout

    def test_cat__prints_any_range_and_brings_no_more(self):
        data = self.random.randbytes(3_000_000)
        self.init(data)
        url = self.url("model")
        self.assertEqual(self.cat(url), data)
        for words, piece in (("0-9", data[:10]), ("4090-4100", data[4090:4101]),
                             ("2999990-", data[2999990:]),
                             ("-7", data[-7:]), ("-9999999", data),
                             ("2999999-5000000", data[2999999:]),
                             ("3000000-", b"")):
            self.assertEqual(self.cat(url, "--range", words), piece, words)
        self.ramet("clone", url, "lazy.bin")
        self.assertEqual(self.cat("lazy.bin", "--range", "100-199"),
                         data[100:200])
        for words in ("9-3", "x", "5", "-"):
            self.assertEqual(self.run_ramet("cat", url, "--range",
                                            words).returncode, 2)

    def test_stats__tell_what_was_brought_ahead_and_in_vain(self):
        """A blob read in order is brought ahead, all of it; what nobody reads on
        from is in vain."""
        self.init(self.random.randbytes(1_000_000))
        done = self.run_ramet("cat", self.url("model"), "--stats", text=False)
        found = re.search(rb"prefetch: (\d+) pages brought ahead of reads; "
                          rb"(\d+) in vain", done.stderr)
        self.assertTrue(found, done.stderr)
        self.assertGreater(int(found[1]), 200)
        self.assertLess(int(found[2]), 8)
        done = self.run_ramet("cat", self.url("model"), "--stats", "--range",
                              "0-99999", text=False)
        found = re.search(rb"; (\d+) in vain", done.stderr)
        self.assertGreater(int(found[1]), 0)

    def test_blob__sparse_arrives_equal(self):
        with open(self.blob, "wb") as out:
            out.truncate(8_000_001)
            out.seek(3_000_000)
            out.write(b"an island")
        data = self.read(self.blob)
        self.ramet("init", self.blob, "--remote", self.url("model"))
        self.assert_remote_is(data)
        self.assertLess(self.json("info", self.url("model"),
                                  "--objects")["stored_bytes"], 100_000)

    def test_clone__of_a_sparse_blob_keeps_its_holes(self):
        with open(self.blob, "wb") as out:
            out.truncate(256 << 20)
            out.seek(100 << 20)
            out.write(b"an island")
        self.ramet("init", self.blob, "--remote", self.url("model"))
        copy = self.path("copy.bin")
        self.ramet("clone", self.url("model"), copy)
        self.assertEqual(os.stat(copy).st_size, 256 << 20)
        self.assertLess(os.stat(copy).st_blocks * 512, 1 << 20)
        with open(copy, "rb") as file:
            file.seek(100 << 20)
            self.assertEqual(file.read(10), b"an island\0")

    def test_pull__that_makes_holes_gives_the_blocks_back(self):
        self.init(self.random.randbytes(8 << 20))
        copy = self.path("copy.bin")
        self.ramet("clone", self.url("model"), copy)
        with open(self.blob, "r+b") as out:
            out.seek(1 << 20)
            out.write(bytes(6 << 20))
        self.ramet("push", self.blob)
        self.ramet("pull", copy)
        self.assertEqual(self.read(copy), self.read(self.blob))
        self.assertLess(os.stat(copy).st_blocks * 512, 3 << 20)

    def test_push__takes_what_was_changed_in_place(self):
        data = bytearray(self.random.randbytes(1_000_000))
        self.init(bytes(data))
        data[500_000:500_010] = b"0123456789"
        with open(self.blob, "r+b") as out:
            out.seek(500_000)
            out.write(b"0123456789")
        pushed = self.json("push", self.blob)
        self.assertEqual(pushed["durable_lsn"], 2)
        self.assertLessEqual(pushed["pages"], 2)
        self.assert_remote_is(bytes(data))

    def test_push__of_a_corrupt_blob__is_refused_until_it_is_repaired(self):
        data = self.random.randbytes(1_000_000)
        self.init(data)
        times = os.stat(self.blob)
        with open(self.blob, "r+b") as out:
            out.seek(500_000)
            out.write(b"rotten")
        os.utime(self.blob, ns=(times.st_atime_ns, times.st_mtime_ns))
        told = self.refused(support.CONFLICT, "push", self.blob)
        self.assertIn("ramet verify", told)
        self.assert_remote_is(data)
        self.run_ramet("verify", self.blob)
        self.assertEqual(self.json("push", self.blob)["durable_lsn"], 1)
        self.assertTrue(self.read(self.blob) == data)

    def test_push__takes_growth_and_shrinkage(self):
        data = self.random.randbytes(100_001)
        self.init(data)
        for lsn, length in enumerate((200_003, 5, 0, 70_000, 70_001), 2):
            data = self.random.randbytes(length)
            self.write(self.blob, data)
            self.assertEqual(self.json("push", self.blob)["durable_lsn"], lsn)
            self.assert_remote_is(data)

    def test_push__of_a_replaced_file_by_rename_takes_it(self):
        self.init(b"first" * 1000)
        data = b"second" * 2000
        self.write(self.blob + ".new", data)
        os.rename(self.blob + ".new", self.blob)
        self.ramet("push", self.blob)
        self.assert_remote_is(data)

    def test_pull__brings_a_clone_up_to_date(self):
        self.init(b"one" * 10000)
        self.ramet("clone", self.url("model"), "clone.bin")
        for data in (b"two" * 12000, b"3" * 100, b"", b"four" * 9999):
            self.write(self.blob, data)
            self.ramet("push", self.blob)
            self.ramet("pull", "clone.bin")
            self.assertTrue(self.read(self.path("clone.bin")) == data)

    def test_export__at_every_lsn_is_what_was_pushed(self):
        versions = [self.random.randbytes(n) for n in
                    (10_000, 50_001, 3, 0, 8192, 60_000)]
        self.init(versions[0])
        for data in versions[1:]:
            self.write(self.blob, data)
            self.ramet("push", self.blob)
        for lsn, data in enumerate(versions, 1):
            out = self.path("at%d" % lsn)
            self.ramet("export", self.url("model") + "@%d" % lsn, out)
            self.assertTrue(self.read(out) == data, "LSN %d differs" % lsn)

    def test_push__with_no_change_makes_no_commit(self):
        self.init(b"same" * 5000)
        self.assertEqual(self.json("push", self.blob)["durable_lsn"], 1)
        os.utime(self.blob)
        self.assertEqual(self.json("push", self.blob)["durable_lsn"], 1)
        self.assertEqual(self.json("info", self.url("model"))["lsn"], 1)


if __name__ == "__main__":
    support.main()
