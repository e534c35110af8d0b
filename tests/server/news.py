"""The stream of news (docs/protocol.md, "News"), from outside.

usage: news.py SERVE MAKE_VOLUME
"""
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

sys.path.insert(0, os.path.dirname(__file__))
from served import Server, wait_for  # noqa: E402
from fake_s3 import FakeS3  # noqa: E402

SERVE, MAKE = sys.argv[1:3]
OBJECT_MAX = 8192
PAGES_OF_A_LARGE_COMMIT = 20


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def watch(*volumes):
    return b"\1\0" + varint(len(volumes)) + b"".join(
        uuid.UUID(vid).bytes + varint(lsn) for vid, lsn in volumes)


class Stream:
    """Records as they come; every read ends, since beats come every 15 s."""

    def __init__(self, server, *volumes, token=None):
        self.conn = http.client.HTTPConnection("127.0.0.1", server.port,
                                               timeout=120)
        headers = {"Content-Type": "application/vnd.ramet.watch"}
        if token:
            headers["Authorization"] = "Bearer " + token
        self.conn.request("POST", "/v1/news", watch(*volumes), headers)
        self.answer = self.conn.getresponse()
        self.buf, self.pos, self.read = b"", 0, 0
        self.told = {}  # LSN and hash, by volume

    def close(self):
        self.answer.close()
        self.conn.close()

    def bytes(self, count):
        while len(self.buf) - self.pos < count:
            more = self.answer.read1(65536)
            if not more:
                raise EOFError
            self.buf = self.buf[self.pos:] + more
            self.pos = 0
            self.read += len(more)
        self.pos += count
        return self.buf[self.pos - count:self.pos]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.bytes(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def record(self):
        """The next, but for beats that tell of nothing new: one comes every 15
        seconds, however slow the machine is."""
        while True:
            record = self.any_record()
            told = record[2:4]
            if record[0] != 2 or self.told.get(record[1]) != told:
                self.told[record[1]] = told
                return record

    def any_record(self):
        """(type, volume, LSN, hash, time, object)"""
        kind = self.bytes(1)[0]
        if kind == 0:
            return 0, None, None, None, self.varint(), None
        volume = self.varint()
        if kind in (3, 4):
            return kind, volume, None, None, None, None
        lsn, digest, at = self.varint(), self.bytes(16), self.varint()
        if kind == 2:
            return 2, volume, lsn, digest, at, None
        assert kind == 1, kind
        length = self.varint()
        return 1, volume, lsn, digest, at, self.bytes(length)

    def until(self, lsn, volume=0):
        """Commits of a volume up to this one."""
        got = []
        while not got or got[-1][2] < lsn:
            record = self.record()
            if record[0] == 1 and record[1] == volume:
                got.append(record)
        return got


class Volume:
    """A volume of one server, to be committed again to another one, a commit
    at a time."""

    def __init__(self, origin, name, pages, commits):
        with tempfile.NamedTemporaryFile() as expected:
            out = subprocess.run(
                [MAKE, str(origin.port), name, str(pages), str(commits),
                 expected.name], check=True, stdout=subprocess.PIPE)
        vid, lsn = out.stdout.decode().split()
        self.origin, self.vid, self.lsn = origin, vid, int(lsn)
        self.at = 0

    def object(self, lsn):
        return self.origin.request(
            "GET", "/v1/volumes/%s/commits/%d" % (self.vid, lsn))[2]

    def prepare(self, server):
        """Everything but the commits."""
        for kind in ("segments", "maps"):
            prefix = "volumes/%s/%s/" % (self.vid, kind)
            for key, _ in self.origin.json("/v1/keys?prefix=" + prefix)["keys"]:
                body = self.origin.request("GET", "/v1/" + key)[2]
                status = server.request("PUT", "/v1/" + key, body,
                                        {"If-None-Match": "*"})[0]
                assert status == 201, (key, status)

    def commit(self, server, count=1):
        for _ in range(count):
            self.at += 1
            status, _, body = server.request(
                "POST", "/v1/volumes/%s/commits" % self.vid,
                self.object(self.at))
            assert status == 201, (status, body)


class News(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Server(SERVE)

    @classmethod
    def tearDownClass(cls):
        cls.origin.close()

    def setUp(self):
        self.server = Server(SERVE)
        self.addCleanup(self.server.close)

    def volume(self, name, commits=20, pages=20, server=None):
        made = Volume(self.origin, name, pages, commits)
        made.prepare(server or self.server)
        return made

    def open(self, *volumes, **kw):
        stream = Stream(self.server, *volumes, **kw)
        self.addCleanup(stream.close)
        self.assertEqual(stream.answer.status, 200)
        self.assertEqual(stream.answer.headers["Content-Type"],
                         "application/vnd.ramet.news")
        self.assertEqual(stream.record()[0], 0)
        return stream

    def asked(self):
        """Requests so far, but for commits and for this."""
        text = self.server.request("GET", "/metrics")[2].decode()
        return sum(int(line.rsplit(" ", 1)[1]) for line in text.split("\n")
                   if line.startswith("ramet_requests_total{") and
                   'route="metrics"' not in line and
                   'route="commits"' not in line)

    def test_commits_come_with_their_objects(self):
        a, b = self.volume("a"), self.volume("b")
        a.commit(self.server, 4)
        b.commit(self.server, 1)
        stream = self.open((a.vid, 2), (b.vid, 1))
        self.assertEqual(sorted(stream.record()[:3] for _ in range(3)),
                         [(1, 0, 3), (1, 0, 4), (2, 1, 1)])
        before = self.asked()
        told = self.server.metric("ramet_news_commits_total")
        for lsn in range(5, 15):
            a.commit(self.server)
            record = stream.record()
            self.assertEqual(record[:3], (1, 0, lsn))
            self.assertEqual(record[5], a.object(lsn))
        b.commit(self.server)
        self.assertEqual(stream.record()[:3], (1, 1, 2))
        self.assertEqual(self.asked(), before)
        self.assertEqual(
            self.server.metric("ramet_news_commits_total") - told, 11)
        self.assertEqual(self.server.metric("ramet_news_streams"), 1)

    def test_bytes_sent_are_those_that_were_stored(self):
        v = self.volume("bytes", commits=60)
        v.commit(self.server)
        stream = self.open((v.vid, 1))
        stored = sum(len(v.object(lsn)) for lsn in range(2, 61))
        before = stream.read
        v.commit(self.server, 59)
        stream.until(60)
        self.assertLess(stream.read - before, 1.1 * stored)

    def test_a_large_commit_is_told_without_its_object(self):
        v = self.volume("large", commits=1, pages=PAGES_OF_A_LARGE_COMMIT)
        self.assertGreater(len(v.object(1)), OBJECT_MAX)
        stream = self.open((v.vid, 0))
        self.assertEqual(stream.record()[:3], (2, 0, 0))
        v.commit(self.server)
        self.assertEqual(stream.record()[5], b"")
        self.assertEqual(self.server.metric("ramet_news_bare_total"), 1)

    def test_who_is_far_behind_gets_the_newest(self):
        v = self.volume("far", commits=90)
        v.commit(self.server, 90)
        stream = self.open((v.vid, 1))
        self.assertEqual([r[2] for r in stream.until(90)],
                         list(range(27, 91)))

    def test_commits_of_another_server_come_with_objects(self):
        other = Server(SERVE, data=self.server.data)
        self.addCleanup(other.close)
        v = self.volume("shared", server=other)
        v.commit(other)
        stream = self.open((v.vid, 1))
        v.commit(other, 3)
        got = stream.until(4)
        self.assertEqual([r[2] for r in got], [2, 3, 4])
        self.assertEqual([r[5] for r in got],
                         [v.object(lsn) for lsn in (2, 3, 4)])

    def test_who_listens_is_told_before_who_comes(self):
        other = Server(SERVE, data=self.server.data)
        self.addCleanup(other.close)
        v = self.volume("before", server=other)
        v.commit(other)
        stream = self.open((v.vid, 1))
        self.assertEqual(stream.record()[:3], (2, 0, 1))
        for lsn in range(2, 7):
            v.commit(other)
            late = self.open((v.vid, lsn))
            self.assertEqual(stream.record()[:3], (1, 0, lsn))
            late.close()

    def test_one_that_never_stops_keeps_no_other_from_its_turn(self):
        a, b = self.volume("busy", commits=64), self.volume("quiet")
        a.commit(self.server, 64)
        b.commit(self.server, 2)
        stream = self.open((a.vid, 0), (b.vid, 0))
        before = 0  # until the other was looked at
        record = stream.record()
        while record[1] == 0:
            before = record[2]
            record = stream.record()
        self.assertEqual(record[:3], (1, 1, 1))
        if before < 64:
            self.assertEqual([stream.record()[:3] for _ in range(2)],
                             [(1, 0, before + 1), (1, 1, 2)])

    def test_one_that_is_slow_to_look_at_keeps_none_waiting(self):
        fake = FakeS3()
        self.addCleanup(fake.stop)
        server = Server(
            SERVE, store="s3://bucket/x?endpoint=" + fake.url,
            env={"AWS_ACCESS_KEY_ID": "AKTEST", "RAMET_S3_HEDGE": "off",
                 "AWS_SECRET_ACCESS_KEY": "SKTEST",
                 "AWS_ENDPOINT_URL_S3": fake.url})
        self.addCleanup(server.close)
        quick, slow = [self.volume(name, server=server)
                       for name in ("prompt", "held-up")]
        quick.commit(server)
        slow.commit(server)
        freed = threading.Event()
        self.addCleanup(freed.set)
        fake.hooks.append(lambda request: slow.vid in request.key and
                          freed.wait(60))
        stream = Stream(server, (quick.vid, 0), (slow.vid, 0))
        self.addCleanup(stream.close)
        self.assertEqual(stream.record()[0], 0)
        self.assertEqual(stream.record()[:3], (1, 0, 1))
        quick.commit(server)
        self.assertEqual(stream.record()[:3], (1, 0, 2))
        freed.set()
        self.assertEqual(stream.record()[:3], (1, 1, 1))

    def test_one_that_cannot_be_read_is_unknown_and_the_others_stay(self):
        sound, damaged = self.volume("sound"), self.volume("damaged")
        sound.commit(self.server)
        damaged.commit(self.server)
        folder = os.path.join(self.server.data, "volumes", damaged.vid,
                              "commits")
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "r+b") as file:
                file.write(b"no commit")
        other = Server(SERVE, self.server.data)  # that has nothing of it
        self.addCleanup(other.close)
        for volumes in ((damaged, sound), (sound, damaged)):
            stream = Stream(other, *[(v.vid, 0) for v in volumes])
            self.addCleanup(stream.close)
            self.assertEqual(stream.record()[0], 0)
            first = sorted(stream.record()[:2] for _ in range(2))
            self.assertEqual(first, [(1, volumes.index(sound)),
                                     (4, volumes.index(damaged))])

    def set_back(self, volume, lsn):
        """The store, to before that commit."""
        folder = os.path.join(self.server.data, "volumes", volume.vid,
                              "commits")
        for name in sorted(os.listdir(folder)):
            if len(name) == 16 and 2 ** 64 - 1 - int(name, 16) >= lsn:
                os.unlink(os.path.join(folder, name))

    def test_a_volume_that_was_set_back_is_not_gone(self):
        v = self.volume("back")
        v.commit(self.server, 4)
        stream = self.open((v.vid, 4))
        self.assertEqual(stream.record()[:3], (2, 0, 4))
        self.set_back(v, 3)
        kinds = set()
        with self.assertRaises(EOFError):
            while True:
                kinds.add(stream.record()[0])
        self.assertNotIn(3, kinds)
        again = self.open((v.vid, 4))  # who knew more is told what comes next
        self.assertEqual(again.record()[:3], (2, 0, 2))
        v.at = 2
        v.commit(self.server)
        self.assertEqual(again.record()[:3], (1, 0, 3))
        again.close()
        self.set_back(v, 2)  # and the first who asks finds out
        again = self.open((v.vid, 1))
        self.assertEqual(again.record()[:3], (2, 0, 1))

    def test_what_was_the_newest_is_told_by_one_clock(self):
        v = self.volume("clock")
        v.commit(self.server)
        stream = Stream(self.server, (v.vid, 1))
        self.addCleanup(stream.close)
        begin, beat = stream.record(), stream.record()
        self.assertGreaterEqual(beat[4], begin[4])
        v.commit(self.server)
        self.assertGreaterEqual(stream.record()[4], beat[4])

    def test_a_volume_that_is_deleted_is_gone_and_the_others_stay(self):
        a, b = self.volume("stays"), self.volume("goes")
        a.commit(self.server)
        b.commit(self.server)
        stream = self.open((b.vid, 1), (a.vid, 1), (str(uuid.uuid4()), 0))
        first = sorted(stream.record()[:3] for _ in range(3))
        self.assertEqual(first, [(2, 0, 1), (2, 1, 1), (2, 2, 0)])
        self.assertEqual(
            self.server.request("DELETE", "/v1/volumes/" + b.vid)[0], 204)
        self.assertEqual(stream.record()[:2], (3, 0))
        a.commit(self.server)
        self.assertEqual(stream.record()[:3], (1, 1, 2))

    def test_a_stream_ends_with_its_token(self):
        with tempfile.NamedTemporaryFile("w") as tokens:
            tokens.write("stays\nro:goes\n")
            tokens.flush()
            self.server = Server(SERVE, token_file=tokens.name)
            self.addCleanup(self.server.close)
            vid = str(uuid.uuid4())
            self.assertEqual(Stream(self.server, (vid, 0)).answer.status, 401)
            goes = self.open((vid, 0), token="goes")
            stays = self.open((vid, 0), token="stays")
            self.assertEqual(goes.record()[0], 2)
            self.assertEqual(stays.record()[0], 2)
            tokens.seek(0)
            tokens.truncate()
            tokens.write("stays\n")
            tokens.flush()
            self.server.process.send_signal(signal.SIGHUP)
            self.assertRaises(EOFError, goes.record)
            self.assertTrue(wait_for(
                lambda: self.server.request(
                    "GET", "/metrics",
                    headers={"Authorization": "Bearer stays"})[2].find(
                        b"ramet_news_streams 1\n") >= 0))

    def test_who_does_not_read_holds_no_memory(self):
        v = self.volume("slow", commits=100)
        v.commit(self.server)
        streams = [self.open((v.vid, 1)) for _ in range(40)]
        v.commit(self.server, 89)
        self.assertLess(self.server.metric("ramet_news_object_bytes"),
                        (64 + 40) * (OBJECT_MAX + 64))
        # Each catches up all the same.
        for stream in streams:
            self.assertEqual(stream.until(90)[-1][2], 90)
        for stream in streams:
            stream.close()

        def all_are_gone():
            if v.at < 100:
                v.commit(self.server)  # a send tells that nobody is there
            return self.server.metric("ramet_news_streams") == 0
        self.assertTrue(wait_for(all_are_gone))

    def test_many_wait_and_all_are_told(self):
        v = self.volume("many")
        v.commit(self.server)
        streams = [self.open((v.vid, 1)) for _ in range(100)]
        got = []
        threads = [threading.Thread(
            target=lambda s=s: got.append(s.until(6)[-1][5])) for s in streams]
        for thread in threads:
            thread.start()
        v.commit(self.server, 5)
        for thread in threads:
            thread.join()
        self.assertEqual(got, [v.object(6)] * 100)

    def test_malformed_requests_are_refused(self):
        vid = str(uuid.uuid4())
        good = watch((vid, 0))
        for bad in (b"", good[:-1], good + b"\0", b"\2" + good[1:],
                    b"\1\1" + good[2:], b"\1\0\0", watch((vid, 0), (vid, 1)),
                    b"\1\0" + varint(1025) + bytes(1025 * 17),
                    b"\1\0\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1"):
            status, _, body = self.server.request("POST", "/v1/news", bad)
            self.assertEqual(status, 400, (bad, body))
        self.assertEqual(self.server.request(
            "POST", "/v1/news", bytes(50000))[0], 413)
        self.assertEqual(self.server.request("GET", "/v1/news")[0], 405)


if __name__ == "__main__":
    del sys.argv[1:3]
    started = time.monotonic()
    unittest.main(verbosity=1)
