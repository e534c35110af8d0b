#!/usr/bin/python3
"""Files that are no database, lazily: for programs that go through the library.
What is counted are requests, at a bucket in this process (tests/support/fake_s3.py)."""
import ctypes
import os
import random

import support
from test_bucket import BucketTest

LENGTH = 5_000_000
PAGE = 4096


class Options(ctypes.Structure):
    _fields_ = ([("size", ctypes.c_size_t)] +
                [(name, ctypes.c_char_p) for name in ("remote", "at", "sync")] +
                [(name, ctypes.c_int) for name in
                 ("create", "readonly", "stateless")] +
                [("page_size", ctypes.c_uint32),
                 ("cache_limit_bytes", ctypes.c_uint64)] +
                [(name, ctypes.c_uint32) for name in
                 ("fetch_timeout_ms", "commit_timeout_ms", "close_wait_ms")] +
                [("allow_pull", ctypes.c_int)] +
                [(name, ctypes.c_uint32) for name in
                 ("push_interval_ms", "max_stale_ms")])


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("system_errno", ctypes.c_int),
                ("text", ctypes.c_char * 512)]


class Library:
    """The C interface."""

    def __init__(self, path):
        self.calls = ctypes.CDLL(path)
        self.calls.ramet_read.restype = ctypes.c_int64
        self.calls.ramet_read.argtypes = (
            ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_size_t,
            ctypes.c_void_p)
        self.calls.ramet_write.argtypes = self.calls.ramet_read.argtypes
        self.calls.ramet_close.argtypes = (ctypes.c_void_p,)

    def do(self, name, *words):
        error = Error()
        if getattr(self.calls, name)(*words, ctypes.byref(error)) < 0:
            raise AssertionError("%s: %s" % (name, error.text.decode()))

    def open(self, path, **options):
        volume = ctypes.c_void_p()
        given = Options(size=ctypes.sizeof(Options), sync=b"manual",
                        fetch_timeout_ms=60000, **options)
        self.do("ramet_open", os.fsencode(path), ctypes.byref(given),
                ctypes.byref(volume))
        return volume

    def read(self, volume, offset, length):
        out = ctypes.create_string_buffer(length)
        self.do("ramet_read", volume, offset, out, length)
        return out.raw


class Lazy(BucketTest):
    def setUp(self):
        super().setUp()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
                     "AWS_ENDPOINT_URL_S3", "XDG_CACHE_HOME",
                     "AWS_EC2_METADATA_DISABLED", "RAMET_S3_HEDGE"):
            os.environ[name] = self.environment[name]
        self.data = random.Random(1).randbytes(LENGTH)
        self.write(self.path("model.bin"), self.data)
        self.ramet("init", self.path("model.bin"), "--remote",
                   self.url("model"))
        self.library = Library(os.path.join(support.BUILD, "lib",
                                            "libramet.so"))

    def test_clone__is_lazy_where_that_is_said(self):
        here = {}
        for name, words, value in (("whole", (), "0"), ("lazy", ("--lazy",), ""),
                                   ("told", (), "1"),
                                   ("brought", ("--lazy", "--hydrate"), "")):
            self.environment["RAMET_LAZY"] = value
            self.ramet("clone", self.url("model"), self.path(name), *words)
            here[name] = self.json("status", self.path(name))["cached_pages"]
        pages = -(-LENGTH // PAGE)
        self.assertEqual(here, {"whole": pages, "lazy": 0, "told": 0,
                                "brought": pages})
        for name in ("whole", "brought"):
            self.assertEqual(self.read(self.path(name)), self.data)
        self.assertEqual(os.stat(self.path("lazy")).st_size, LENGTH)
        self.assertLess(os.stat(self.path("lazy")).st_blocks * 512, 100_000)

    def test_lazy_clone__is_read_and_written_by_the_library(self):
        lazy = self.path("lazy")
        self.ramet("clone", self.url("model"), lazy, "--lazy")
        volume = self.library.open(lazy)
        for offset in (0, 4095, 3_000_000, LENGTH - 100):
            self.assertEqual(self.library.read(volume, offset, 100),
                             self.data[offset:offset + 100])
        self.library.do("ramet_begin", volume, 1)
        self.library.do("ramet_write", volume, 2_000_005, b"changed", 7)
        self.library.do("ramet_commit", volume)
        self.library.do("ramet_push", volume, None)
        self.library.calls.ramet_close(volume)
        self.assertLess(self.json("status", lazy)["cached_pages"], 200)
        self.ramet("export", self.url("model"), self.path("out"))
        self.assertEqual(self.read(self.path("out")),
                         self.data[:2_000_005] + b"changed" +
                         self.data[2_000_012:])

    def test_lazy_clone__stays_so_until_it_is_hydrated(self):
        lazy, pages = self.path("lazy"), -(-LENGTH // PAGE)
        self.ramet("clone", self.url("model"), lazy, "--lazy")
        self.ramet("clone", self.url("model"), self.path("other"))
        for offset in (0, 1_000_000):
            self.write(self.path("other"), self.data[:offset] + b"!" +
                       self.data[offset + 1:])
            self.ramet("push", self.path("other"))
            self.ramet("pull", lazy)
            self.assertLess(self.json("status", lazy)["cached_pages"], 100)
        self.ramet("hydrate", lazy)
        self.assertEqual(self.read(lazy), self.read(self.path("other")))
        self.write(self.path("other"), self.data)
        self.ramet("push", self.path("other"))
        self.ramet("pull", lazy)
        self.assertEqual(self.json("status", lazy)["cached_pages"], pages)
        self.assertEqual(self.read(lazy), self.data)

    def test_lazy_clone__that_others_write_to_keeps_what_the_remote_has(self):
        lazy = self.path("lazy")
        self.ramet("clone", self.url("model"), lazy, "--lazy")
        with open(lazy, "r+b") as file:
            file.seek(3_000_005)
            file.write(b"lost")
        self.ramet("push", lazy)
        self.ramet("export", self.url("model"), self.path("out"))
        self.assertEqual(self.read(self.path("out")), self.data)

    def test_volumes_of_a_process__share_what_was_brought(self):
        url = self.url("model").encode()
        first = self.library.open("a", remote=url, stateless=1,
                                  cache_limit_bytes=64 << 20)
        self.assertEqual(self.library.read(first, 1_000_000, 300_000),
                         self.data[1_000_000:1_300_000])
        self.assertGreater(self.asked(), 0)
        second = self.library.open("b", remote=url, stateless=1,
                                   cache_limit_bytes=64 << 20)
        third = self.library.open(self.path("c"), remote=url)
        self.fake.forget()
        for volume in second, third:
            self.assertEqual(self.library.read(volume, 1_000_000, 300_000),
                             self.data[1_000_000:1_300_000])
        self.assertEqual(self.asked(), 0)
        for volume in first, second, third:
            self.library.calls.ramet_close(volume)

    def asked(self):
        """Reads of pages since forget()."""
        with self.fake.lock:
            return sum(request.kind == "get" and "/segments/" in request.key
                       for request in self.fake.log)


if __name__ == "__main__":
    support.main()
