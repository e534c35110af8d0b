"""Every route of docs/protocol.md, from outside, with nothing but Python.

usage: api.py SERVE MAKE_VOLUME
"""
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
import uuid

sys.path.insert(0, os.path.dirname(__file__))
from served import ON_S3, Server, wait_for  # noqa: E402

SERVE, MAKE = sys.argv[1:3]


def make(server, name, pages, commits, token=None):
    """A volume; (id, newest LSN, content)."""
    with tempfile.NamedTemporaryFile() as expected:
        env = dict(os.environ)
        env.pop("RAMET_TOKEN", None)
        if token:
            env["RAMET_TOKEN"] = token
        out = subprocess.run(
            [MAKE, str(server.port), name, str(pages), str(commits),
             expected.name], check=True, stdout=subprocess.PIPE, env=env)
        vid, lsn = out.stdout.decode().split()
        return vid, int(lsn), expected.read()


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def zigzag(value):
    return varint(value * 2 if value >= 0 else -value * 2 - 1)


def pages_body(lsn, pgnos, flags=0, commit=b""):
    out = bytes([1, flags]) + varint(lsn) + commit + varint(len(pgnos))
    previous = 0
    for pgno in pgnos:
        out += zigzag(pgno - previous - 1) + b"\0"
        previous = pgno
    return out


def read_varint(data, pos):
    value = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, pos


def parse_frames(data):
    """[(object, id, offset, bytes)], error or None."""
    ranges, pos = [], 0
    while True:
        kind, pos = data[pos], pos + 1
        if kind == 0:
            count, pos = read_varint(data, pos)
            assert count == len(ranges) and pos == len(data)
            return ranges, None
        if kind == 2:
            return ranges, data[pos]
        assert kind == 1
        obj, pos = data[pos], pos + 1
        if obj & 32:
            pos += 16
        lsn = sid = None
        if obj & 3:
            lsn, pos = read_varint(data, pos)
        if obj & 3 != 1:
            sid, pos = data[pos:pos + 16], pos + 16
        offset, pos = read_varint(data, pos)
        length, pos = read_varint(data, pos)
        ranges.append((obj & 3, sid if sid else lsn, offset,
                       data[pos:pos + length]))
        pos += length


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(SERVE)
        cls.vid, cls.lsn, cls.content = make(cls.server, "app", 300, 90)
        cls.base = "/v1/volumes/app"

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def get(self, path, headers=None):
        return self.server.request("GET", path, headers=headers)

    def metrics_with(self, pattern):
        """A request is counted when its answer has gone out, which who has it may be
        ahead of."""
        end = time.monotonic() + 120
        while True:
            metrics = self.get("/metrics")[2].decode()
            if re.search(pattern, metrics) or time.monotonic() > end:
                self.assertRegex(metrics, pattern)
                return metrics

    def problem(self, answer, status, code):
        self.assertEqual(answer[0], status, answer[2])
        self.assertEqual(answer[1]["Content-Type"], "application/problem+json")
        body = json.loads(answer[2])
        self.assertEqual(body["status"], status)
        self.assertEqual(body["code"], code)
        self.assertTrue(body["detail"])
        return body

    def test_operation(self):
        self.assertEqual(self.get("/healthz")[0], 200)
        self.assertEqual(self.get("/readyz")[0], 200)
        self.get("/v1/volumes")
        metrics = self.metrics_with(r'ramet_requests_total\{route="volumes",'
                                    r'status="200"\} \d+')
        self.assertRegex(metrics, r'ramet_request_duration_seconds_bucket'
                                  r'\{route="commits",le="\+Inf"\} \d+')
        for line in metrics.strip().split("\n"):
            self.assertRegex(line, r"^(# (TYPE|HELP) .*|"
                                   r"ramet_[a-z_]+(\{[^}]*\})? [0-9.e+]+)$")
        self.assertGreaterEqual(self.server.metric("ramet_commits_total"), 91)

    def test_volumes(self):
        listed = self.server.json("/v1/volumes")
        self.assertIn({"name": "app", "id": self.vid}, listed["volumes"])
        made = [self.server.request(
            "POST", "/v1/volumes", json.dumps({"name": "v%d" % i}))
            for i in range(3)]
        self.assertEqual([m[0] for m in made], [201] * 3)
        again = self.server.request("POST", "/v1/volumes", made[0][2])
        self.assertEqual(again[0], 200)
        other = self.server.request("POST", "/v1/volumes", json.dumps(
            {"name": "v0", "id": str(uuid.uuid4())}))
        self.problem(other, 409, "exists")
        page = self.server.json("/v1/volumes?after=uz&limit=2")
        self.assertEqual([v["name"] for v in page["volumes"]], ["v0", "v1"])
        self.assertTrue(page["more"])
        for bad in (b"", b"{", b"[]", b"{}", b'{"name":""}', b'{"name":".x"}',
                    b'{"name":"a/b"}', b'{"name":"%s"}' % (b"a" * 129),
                    b'{"name":"x","id":"y"}', b"\xff" * 20,
                    b'{"name":5}', b"[" * 5000):
            self.problem(self.server.request("POST", "/v1/volumes", bad),
                         400, "invalid")
        one = self.server.json("/v1/volumes/app")
        self.assertEqual(one["id"], self.vid)
        self.assertEqual(one["head"]["lsn"], self.lsn)
        self.problem(self.get("/v1/volumes/nosuch"), 404, "notfound")
        self.problem(self.get("/v1/volumes/" + str(uuid.uuid4())), 404,
                     "notfound")

    def test_delete(self):
        vid, _, _ = make(self.server, "doomed", 20, 3)
        self.assertEqual(self.get("/v1/volumes/doomed/content")[0], 200)
        with socket.create_connection(("127.0.0.1", self.server.port)) as s:
            s.settimeout(10)
            s.sendall(b"GET /v1/volumes/doomed/events HTTP/1.1\r\n"
                      b"Host: x\r\n\r\n")
            self.assertIn(b"200", s.recv(4096))
            self.assertEqual(
                self.server.request("DELETE", "/v1/volumes/doomed")[0], 204)
            got = b""
            while b"event: gone" not in got:
                more = s.recv(4096)
                self.assertTrue(more)
                got += more
        self.problem(self.get("/v1/volumes/doomed"), 404, "notfound")
        self.problem(self.get("/v1/volumes/%s/head" % vid), 404, "notfound")
        self.problem(self.get("/v1/volumes/%s/commits/1" % vid), 404,
                     "notfound")

    def test_head(self):
        status, headers, body = self.get(self.base + "/head")
        head = json.loads(body)
        self.assertEqual(status, 200)
        self.assertEqual(head["lsn"], self.lsn)
        self.assertEqual(head["byte_length"], len(self.content))
        self.assertEqual(headers["Cache-Control"], "no-cache")
        status, _, body = self.get(self.base + "/head",
                                   {"If-None-Match": headers["ETag"]})
        self.assertEqual((status, body), (304, b""))
        self.assertEqual(self.get(self.base + "/head", {
            "If-None-Match": '"nope"'})[0], 200)
        self.server.request("POST", "/v1/volumes", b'{"name":"empty"}')
        self.assertEqual(self.server.json("/v1/volumes/empty/head"),
                         {"lsn": 0})

    def test_commits(self):
        body = self.get(self.base + "/commits?after=80")[2]
        pos, lsns = 0, []
        while pos < len(body):
            lsns.append(int.from_bytes(body[pos:pos + 8], "little"))
            length = int.from_bytes(body[pos + 8:pos + 12], "little")
            head = body[pos + 12:pos + 12 + length]
            self.assertEqual(head[:8], b"RAMTCMT\x04")
            whole = self.get(self.base + "/commits/%d" % lsns[-1])[2]
            self.assertEqual(whole[:length], head)
            pos += 12 + length
        self.assertEqual(lsns, list(range(81, self.lsn + 1)))
        lines = self.get(self.base + "/commits?after=5&limit=4", {
            "Accept": "application/x-ndjson"})[2].decode().split("\n")
        self.assertEqual([json.loads(x)["lsn"] for x in lines if x],
                         [6, 7, 8, 9])
        self.assertEqual(self.get(self.base + "/commits?after=100000")[2], b"")
        for bad in ("after=x", "after=-1", "limit=1e3", "after=99999999999999"
                    "99999999"):
            self.problem(self.get(self.base + "/commits?" + bad), 400,
                         "invalid")

    def test_objects(self):
        keys = self.server.json(
            "/v1/keys?prefix=volumes/%s/&limit=1000" % self.vid)["keys"]
        self.assertEqual([k for k, _ in keys], sorted(k for k, _ in keys))
        seen = set()
        for key, size in keys:
            kind, last = key.split("/")[2:]
            seen.add(kind)
            if kind == "commits":
                last = str(2**64 - 1 - int(last, 16))
            path = "/v1/volumes/%s/%s/%s" % (self.vid, kind, last)
            status, headers, body = self.get(path)
            self.assertEqual((status, len(body)), (200, size))
            self.assertIn("immutable", headers["Cache-Control"])
            part = self.get(path, {"Range": "bytes=8-23"})
            self.assertEqual((part[0], part[2]), (206, body[8:24]))
            self.assertEqual(part[1]["Content-Range"],
                             "bytes 8-23/%d" % size)
            self.assertEqual(self.get(path, {
                "If-None-Match": headers["ETag"]})[0], 304)
        self.assertEqual(seen, {"commits", "maps", "segments"})
        self.assertEqual(json.loads(self.get("/v1/ramet.json")[2]),
                         {"format": "ramet", "version": 5})
        names = self.server.json("/v1/keys?prefix=names/app/")["keys"]
        self.assertEqual(names, [["names/app/fffffffffffffffe", 48]])
        name = self.get("/v1/names/app/fffffffffffffffe")
        self.assertEqual(name[2][:8], b"RAMTNAM\x01")
        for prefix in ("", "x", "names", "../", "names/../volumes/",
                       "names//", "tmp/", "volumes/%2e%2e/", "names/\x01"):
            got = self.get("/v1/keys?prefix=" + urllib.request.quote(prefix))
            self.problem(got, 400, "invalid")
        first = self.server.json("/v1/keys?prefix=volumes/&limit=5")
        self.assertTrue(first["more"])
        then = self.server.json("/v1/keys?prefix=volumes/&limit=5&after=" +
                                first["keys"][-1][0])
        self.assertGreater(then["keys"][0][0], first["keys"][-1][0])

    def test_put_segment(self):
        sid = str(uuid.UUID(int=uuid.uuid4().int & ~(0xf << 76) | 7 << 76))
        path = "/v1/volumes/%s/segments/%s" % (self.vid, sid)
        body = (b"RAMTSEG\x02" + uuid.UUID(sid).bytes +
                (4096).to_bytes(4, "little") + b"\0" * 4)
        put = lambda p, b, h={"If-None-Match": "*"}: \
            self.server.request("PUT", p, b, h)
        self.problem(put(path, body, {}), 428, "invalid")
        self.problem(put(path, body[:-1]), 422, "corrupt")
        self.problem(put(path, b""), 422, "corrupt")
        self.problem(put(path, b"x" * 100000), 422, "corrupt")
        self.problem(put(path.replace(self.vid, "app"), body), 400, "invalid")
        self.assertEqual(self.get(path)[0], 404)
        long = body + os.urandom(3000000)
        self.assertEqual(put(path, long)[0], 201)
        self.problem(put(path, long), 412, "exists")
        self.problem(put(path, body), 412, "exists")
        self.assertEqual(self.get(path)[2], long)
        # Declared larger than it may be; and a body that stops halfway.
        got = self.server.raw(
            b"PUT %s HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n"
            b"Content-Length: 99999999999\r\n\r\n" % path.encode())
        self.assertIn(b" 413 ", got.split(b"\r\n")[0])
        other = path[:-1] + ("0" if path[-1] != "0" else "1")
        self.server.raw(
            b"PUT %s HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n"
            b"Content-Length: 100000\r\n\r\n" % other.encode() + body,
            timeout=1)
        self.assertEqual(self.get(other)[0], 404)

    def test_put_map_of_another_volume(self):
        maps = self.server.json("/v1/keys?prefix=volumes/%s/maps/" %
                                self.vid)["keys"]
        name = maps[0][0].split("/")[-1]
        body = self.get("/v1/volumes/%s/maps/%s" % (self.vid, name))[2]
        other, _, _ = make(self.server, "other", 10, 2)
        path = "/v1/volumes/%s/maps/" % other
        put = lambda name, body: self.server.request(
            "PUT", path + name, body, {"If-None-Match": "*"})
        self.problem(put(name, body), 422, "corrupt")
        own = body[:8] + uuid.UUID(other).bytes + body[24:]
        another = "%016x%s" % (int(name[:16], 16) + 1, name[16:])
        self.problem(put(another, own), 422, "corrupt")
        self.assertEqual(self.get(path + name)[0], 404)
        self.assertEqual(put(name, own)[0], 201)
        self.assertEqual(self.get(path + name)[2], own)

    def test_put_name_takes_the_next_number_alone(self):
        """Objects that are right, of a store in which the name was given twice."""
        source = Server(SERVE)
        path = "/v1/names/numbered/%016x"
        objects = {}
        for seq in (1, 3):
            made = source.request("POST", "/v1/volumes", b'{"name":"numbered"}')
            self.assertEqual(made[0], 201)
            self.assertEqual(source.request("DELETE", "/v1/volumes/numbered")[0],
                             204)
            for number in (seq, seq + 1):
                objects[number] = source.request(
                    "GET", path % (2**64 - 1 - number))[2]
        source.close()
        put = lambda seq: self.server.request(
            "PUT", path % (2**64 - 1 - seq), objects[seq],
            {"If-None-Match": "*"})
        for seq in (2, 3, 4):
            self.problem(put(seq), 409, "conflict")
        self.assertEqual(put(1)[0], 201)
        self.problem(put(1), 412, "exists")
        for seq in (3, 4):
            self.problem(put(seq), 409, "conflict")
        self.assertEqual(put(2)[0], 201)
        self.assertEqual(self.get(path % (2**64 - 1 - 3))[0], 404)

    def test_no_volume_has_the_nil_id(self):
        sid = str(uuid.UUID(int=uuid.uuid4().int & ~(0xf << 76) | 7 << 76))
        nil = "/v1/volumes/" + str(uuid.UUID(int=0))
        body = (b"RAMTSEG\x02" + uuid.UUID(sid).bytes +
                (4096).to_bytes(4, "little") + b"\0" * 4)
        self.problem(self.server.request("PUT", nil + "/segments/" + sid, body,
                                         {"If-None-Match": "*"}),
                     404, "notfound")
        self.problem(self.server.request("DELETE", nil), 404, "notfound")
        self.assertEqual(self.get(self.base + "/head")[0], 200)

    def test_commit_on_nothing_is_no_conflict(self):
        """Of a volume that begins later here, or ends earlier: nobody was first."""
        source, target = Server(SERVE), Server(SERVE)
        self.addCleanup(source.close)
        self.addCleanup(target.close)
        vid = make(source, "app", 3, 5)[0]
        commits = "/v1/volumes/%s/commits" % vid
        objects = {lsn: source.request("GET", "%s/%d" % (commits, lsn))[2]
                   for lsn in range(1, 7)}
        put = lambda lsn: target.request("POST", commits, objects[lsn])
        for newest in range(3):
            if newest:
                self.assertEqual(put(newest)[0], 201)
            for lsn in range(newest + 2, 7):
                told = self.problem(put(lsn), 409, "wentback")
                self.assertIn("ends at LSN %d here" % newest, told["detail"])
        self.assertEqual(put(3)[0], 201)

    def test_commit_refused(self):
        path = self.base + "/commits"
        newest = self.get(self.base + "/commits/%d" % self.lsn)[2]
        # The same commit again is the same commit.
        status, _, body = self.server.request("POST", path, newest)
        self.assertEqual(status, 201, body)
        self.assertEqual(json.loads(body)["lsn"], self.lsn)
        older = bytearray(self.get(self.base + "/commits/3")[2])
        for i in range(0, len(older), 3):
            bad = bytearray(older)
            bad[i] ^= 1 << i % 8
            status, _, body = self.server.request("POST", path, bytes(bad))
            self.assertIn(status, (409, 422, 501), body)
        for cut in (0, 1, 31, 195, 196, len(older) - 1):
            status, _, body = self.server.request("POST", path,
                                                  bytes(older[:cut]))
            self.assertEqual(status, 422, body)
        for bad in (b"\0" * 1000, os.urandom(5000), b"RAMTCMT\x04" * 100):
            self.assertIn(self.server.request("POST", path, bad)[0],
                          (422, 501))
        self.assertEqual(self.server.json(self.base + "/head")["lsn"],
                         self.lsn)

    def test_changes(self):
        got = self.server.json(self.base + "/changes?after=%d" %
                               (self.lsn - 1))
        self.assertEqual(got["head"]["lsn"], self.lsn)
        self.assertEqual(got["count"], sum(b - a + 1 for a, b in
                                           got["changed"]))
        self.assertTrue(1 <= got["count"] <= 3)
        all_pages = self.server.json(self.base + "/changes?after=0")
        self.assertEqual(all_pages["changed"], [[1, 300]])
        none = self.server.json(self.base + "/changes?after=%d" % self.lsn)
        self.assertEqual((none["count"], none["changed"]), (0, []))
        old = self.server.json(self.base + "/changes?after=1&at=2")
        self.assertEqual(old["head"]["lsn"], 2)
        self.problem(self.get(self.base + "/changes?after=9999"), 400,
                     "invalid")
        self.problem(self.get(self.base + "/changes?at=9999"), 404, "notfound")

    def post_pages(self, body, name="app"):
        return self.server.request("POST", "/v1/volumes/%s/pages" % name, body)

    def test_pages(self):
        order = [7, 300, 2, 3, 1, 150]
        status, _, body = self.post_pages(pages_body(self.lsn, order))
        self.assertEqual(status, 200, body)
        first, error = parse_frames(body)
        self.assertIsNone(error)
        self.assertEqual(len(first), len(order))
        for kind, ident, offset, data in first:
            path = ("/v1/volumes/app/segments/%s" % uuid.UUID(bytes=ident)
                    if kind == 0 else "/v1/volumes/app/commits/%d" % ident)
            part = self.get(path, {"Range": "bytes=%d-%d" % (
                offset, offset + len(data) - 1)})
            self.assertEqual(part[2], data)
        # By id it may come out of memory: the same bytes.
        for _ in range(3):
            self.assertEqual(self.post_pages(pages_body(self.lsn, order),
                                             self.vid)[2], body)
        self.assertGreater(
            self.server.metric("ramet_pages_from_memory_total"), 0)
        # Each page alone gives the frame that stood in its place.
        for pgno, want in zip(order, first):
            one, _ = parse_frames(self.post_pages(
                pages_body(self.lsn, [pgno]))[2])
            self.assertEqual(one, [want])
        with_maps, _ = parse_frames(self.post_pages(
            pages_body(self.lsn, order, 3))[2])
        self.assertEqual([r for r in with_maps if r in first], first)
        self.assertTrue(any(kind == 2 for kind, _, _, _ in with_maps))
        self.assertTrue(any(kind == 1 for kind, _, _, _ in with_maps))
        many = list(range(300, 0, -1))
        ranges, error = parse_frames(self.post_pages(
            pages_body(self.lsn, many))[2])
        self.assertIsNone(error)
        self.assertEqual(len(ranges), 300)

    @unittest.skipIf(ON_S3, "the object's file is edited")
    def test_a_corrupt_frame_is_no_answer_and_does_not_stay_in_the_cache(self):
        server = Server(SERVE)

        def pages(*pgnos):
            return server.request("POST", "/v1/volumes/%s/pages" % vid,
                                  pages_body(lsn, pgnos))

        try:
            vid, lsn, _ = make(server, "app", 300, 1)
            want = pages(150)
            (kind, ident, offset, data), = parse_frames(want[2])[0]
            self.assertEqual(kind, 0)
            server.stop()  # it has the object in memory
            path = os.path.join(server.data, "volumes", vid, "segments",
                                str(uuid.UUID(bytes=ident)))
            with open(path, "rb") as file:
                good = file.read()
            at = offset + len(data) // 2
            os.chmod(path, 0o600)
            with open(path, "r+b") as file:
                file.seek(at)
                file.write(bytes([good[at] ^ 4]))
            server.start()
            for _ in range(3):
                self.problem(pages(150), 500, "corrupt")
            self.assertEqual(pages(149)[0], 200)  # that has it in memory
            with open(path, "r+b") as file:
                file.write(good)
            self.assertEqual(pages(150)[::2], want[::2])
            self.assertGreater(server.metric("ramet_damaged_total"), 0)
            # An object goes out as it was read: who finds it wrong says so.
            path = "/v1/volumes/%s/segments/%s" % (vid, uuid.UUID(bytes=ident))
            with open(file.name, "r+b") as file:
                file.seek(at)
                file.write(bytes([good[at] ^ 4]))
            server.stop()
            server.start()
            span = {"Range": "bytes=%d-%d" % (at, at)}
            for _ in range(2):
                self.assertEqual(server.request("GET", path, headers=span)[2],
                                 bytes([good[at] ^ 4]))
                with open(file.name, "r+b") as file:
                    file.write(good)
            doubt = dict(span, **{"Cache-Control": "no-cache"})
            for headers in (doubt, span):
                self.assertEqual(
                    server.request("GET", path, headers=headers)[2],
                    good[at:at + 1])
        finally:
            server.close()

    def test_pages_refused(self):
        good = pages_body(self.lsn, [1, 2])
        for body in (b"", b"\1", b"\2" + good[1:], b"\1\40" + good[2:],
                     b"\1\4" + good[2:],
                     good + b"\0", good[:-1], b"\1\0\0\1\0\0",
                     b"\1\0\1\0", b"\1\0\1\xff\xff\xff\xff\xff\xff\xff\xff"
                     b"\xff\1", b"\1\0\1\1\xff\xff\xff\xff\xff\x7f\0",
                     b"\1\0\1\1\0\xff\xff\x7f", os.urandom(100)):
            self.problem(self.post_pages(body), 400, "invalid")
        self.problem(self.post_pages(pages_body(self.lsn, [301])), 400,
                     "invalid")
        self.problem(self.post_pages(pages_body(self.lsn, [5, 5])), 400,
                     "invalid")
        self.problem(self.post_pages(pages_body(9999, [1])), 404, "notfound")
        self.problem(self.post_pages(b"x" * 300000), 413, "toobig")
        for i in range(len(good) * 8):
            bad = bytearray(good)
            bad[i // 8] ^= 1 << i % 8
            self.assertIn(self.post_pages(bytes(bad))[0], (200, 400, 404))

    def test_pages_of_another_commit_are_refused(self):
        head = json.loads(self.get(self.base + "/head")[2])
        commit = bytes.fromhex(head["hash"])
        plain = self.post_pages(pages_body(self.lsn, [5, 6]), self.vid)[2]
        # Twice: the second may come out of memory.
        for _ in range(2):
            self.assertEqual(self.post_pages(pages_body(
                self.lsn, [5, 6], 4, commit), self.vid)[2], plain)
            for at in range(len(commit)):
                other = bytearray(commit)
                other[at] ^= 1
                self.problem(self.post_pages(pages_body(
                    self.lsn, [5, 6], 4, bytes(other)), self.vid),
                    409, "wentback")
        self.problem(self.post_pages(pages_body(
            9999, [1], 4, commit)), 409, "wentback")

    def test_content(self):
        url = "http://127.0.0.1:%d%s/content" % (self.server.port, self.base)
        whole = urllib.request.urlopen(url)
        self.assertEqual(whole.read(), self.content)
        etag = whole.headers["ETag"]
        self.assertEqual(whole.headers["Accept-Ranges"], "bytes")
        size = len(self.content)
        for first, last in ((0, 0), (0, 15), (1, 4096), (4095, 4096),
                            (size - 1, size - 1), (5, size + 100),
                            (100000, 900000), (0, size - 1)):
            request = urllib.request.Request(url, headers={
                "Range": "bytes=%d-%d" % (first, last)})
            answer = urllib.request.urlopen(request)
            self.assertEqual(answer.status, 206)
            self.assertEqual(answer.read(), self.content[first:last + 1])
            self.assertEqual(answer.headers["Content-Range"],
                             "bytes %d-%d/%d" % (first, min(last, size - 1),
                                                 size))
        path = self.base + "/content"
        for text, want in (("bytes=100-", self.content[100:]),
                           ("bytes=-100", self.content[-100:]),
                           ("bytes=-%d" % (size * 2), self.content)):
            status, _, body = self.get(path, {"Range": text})
            self.assertEqual((status, body), (206, want))
        for text in ("bytes=%d-" % size, "bytes=-0", "bytes=%d-%d" %
                     (size + 5, size + 9)):
            got = self.get(path, {"Range": text})
            self.problem(got, 416, "invalid")
            self.assertEqual(got[1]["Content-Range"], "bytes */%d" % size)
        for text in ("bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6",
                     "bytes=", "bytes=-", "bytes=1", "bytes=0-1x"):
            status, _, body = self.get(path, {"Range": text})
            self.assertEqual((status, body), (200, self.content), text)
        part = {"Range": "bytes=0-9"}
        self.assertEqual(self.get(path, dict(part, **{"If-Range": etag}))[0],
                         206)
        self.assertEqual(self.get(path, dict(part, **{"If-Range": '"x"'}))[0],
                         200)
        date = whole.headers["Last-Modified"]
        self.assertEqual(self.get(path, {"If-Modified-Since": date})[0], 304)
        self.assertEqual(self.get(path, {"If-None-Match": etag})[0], 304)
        self.assertEqual(self.get(path, {"If-Modified-Since":
                                         "Mon, 01 Jan 2001 00:00:00 GMT"})[0],
                         200)
        status, headers, body = self.server.request("HEAD", path)
        self.assertEqual((status, body, headers["Content-Length"]),
                         (200, b"", str(size)))

    def test_content_at(self):
        path = self.base + "/content?at="
        old = self.get(path + "1")
        self.assertIn("immutable", old[1]["Cache-Control"])
        self.assertEqual(old[1]["Ramet-Lsn"], "1")
        self.assertEqual(len(old[2]), len(self.content))
        self.assertNotEqual(old[2], self.content)
        now = self.get(path + str(self.lsn))
        self.assertEqual(now[2], self.content)
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(
            time.time() + 60))
        self.assertEqual(self.get(path + when)[2], self.content)
        self.problem(self.get(path + "2001-01-01T00:00:00Z"), 404, "notfound")
        self.problem(self.get(path + "0"), 404, "notfound")
        self.problem(self.get(path + "99999"), 404, "notfound")
        for bad in ("x", "1x", "2026-01-01", "-1", ""):
            self.problem(self.get(path + bad), 400, "invalid")

    def read_events(self, query, headers, count):
        conn = http.client.HTTPConnection("127.0.0.1", self.server.port,
                                          timeout=15)
        conn.request("GET", "/v1/volumes/live/events" + query,
                     headers=headers)
        answer = conn.getresponse()
        self.assertEqual(answer.headers["Content-Type"], "text/event-stream")
        got, ids = b"", []
        # Comment lines come for ever: silence alone is no end of waiting.
        until = time.monotonic() + 180
        while len(ids) < count:
            self.assertLess(time.monotonic(), until, got)
            more = answer.read1(65536)
            self.assertTrue(more, got)
            got += more
            ids = re.findall(rb"id: (\d+)\nevent: commit\ndata: (\{.*\})\n\n",
                             got)
        conn.close()
        for number, data in ids:
            self.assertEqual(json.loads(data)["lsn"], int(number))
        return [int(n) for n, _ in ids]

    def test_events(self):
        make(self.server, "live", 10, 99)
        self.assertEqual(self.read_events("?after=97", {}, 3), [98, 99, 100])
        self.assertEqual(self.read_events(
            "?after=3", {"Last-Event-ID": "99"}, 1), [100])
        self.assertEqual(self.read_events("?after=3", {}, 64),
                         list(range(37, 101)))  # the newest 64 of 97
        self.problem(self.get("/v1/volumes/live/events?after=x"), 400,
                     "invalid")
        self.problem(self.get("/v1/volumes/nosuch/events"), 404, "notfound")

    def test_paths(self):
        for path in ("/", "//", "/v1", "/v1/", "/v1/volumes/", "/v2/volumes",
                     "/v1/volumes/a/b", "/v1/volumes/.hidden/head",
                     "/v1/volumes/../../etc/passwd",
                     "/v1/volumes/%2e%2e/head", "/v1/volumes/a%2fb/head",
                     "/v1/volumes/app%00/head", "/v1/volumes/app/head/",
                     "/v1/volumes/app/head/x", "/v1/volumes/app/segments/x",
                     "/v1/volumes/app/commits/0", "/v1/volumes/app/commits/01",
                     "/v1/volumes/app/commits/-1",
                     "/v1/volumes/app/commits/99999999999999999999",
                     "/v1/volumes/app/maps/../../../ramet.json",
                     "/v1/volumes/app/maps/0000000000000001.x",
                     "/v1/names/app/1", "/v1/names/../x",
                     "/v1/volumes/%s/head" % ("a" * 129),
                     "/v1/volumes/app/SEGMENTS", "/HEALTHZ",
                     "/v1/volumes/app\\head", "/a" * 500):
            answer = self.get(path)
            self.problem(answer, 404, "notfound")
        # A %-escape of what needs none is the same path.
        self.assertEqual(self.get("/v1/volumes/%61pp/head")[0], 200)
        for method, path, allow in (
                ("POST", self.base + "/head", "GET, HEAD"),
                ("DELETE", self.base + "/content", "GET, HEAD"),
                ("GET", self.base + "/pages", "POST"),
                ("PATCH", "/v1/volumes", "GET, HEAD, POST"),
                ("PUT", self.base + "/commits/1", "GET, HEAD"),
                ("OPTIONS", "/healthz", "GET, HEAD")):
            answer = self.server.request(method, path)
            self.problem(answer, 405, "invalid")
            self.assertEqual(answer[1]["Allow"], allow)


class Tokens(unittest.TestCase):
    def test_tokens(self):
        with tempfile.NamedTemporaryFile("w") as tokens:
            tokens.write("# for the tests\n\nwrite-token\nro:read-token\n")
            tokens.flush()
            server = Server(SERVE, token_file=tokens.name)
            try:
                self.check(server, tokens)
            finally:
                server.close()

    def check(self, server, tokens):
        bearer = lambda t: {"Authorization": "Bearer " + t}
        self.assertEqual(server.request("GET", "/healthz")[0], 200)
        self.assertEqual(server.request("GET", "/readyz")[0], 200)
        for headers in ({}, bearer("x"), bearer("write-toke"),
                        bearer("write-token2"), bearer("ro:read-token"),
                        bearer(""), bearer("x" * 300),
                        {"Authorization": "Basic write-token"},
                        {"Authorization": "write-token"}):
            for path in ("/v1/volumes", "/metrics", "/nosuch"):
                status, got, _ = server.request("GET", path, headers=headers)
                self.assertEqual(status, 401, headers)
                self.assertIn("Bearer", got["WWW-Authenticate"])
        self.assertEqual(server.request("GET", "/v1/volumes", headers=bearer(
            "read-token"))[0], 200)
        body = b'{"name":"x"}'
        self.assertEqual(server.request("POST", "/v1/volumes", body,
                                        bearer("read-token"))[0], 403)
        self.assertEqual(server.request("POST", "/v1/volumes", body,
                                        bearer("write-token"))[0], 201)
        make(server, "app", 10, 2, token="write-token")
        self.assertEqual(server.request(
            "POST", "/v1/volumes/app/pages", pages_body(1, [1]),
            bearer("read-token"))[0], 200)
        status, headers, _ = server.request(
            "GET", "/v1/volumes/app/content?at=1", headers=bearer("read-token"))
        self.assertTrue(headers["Cache-Control"].startswith("private"))
        # SIGHUP reads the file again; a file that is wrong changes nothing.
        with open(tokens.name, "w") as f:
            f.write("new-token\n")
        server.process.send_signal(1)
        self.assertTrue(wait_for(lambda: server.request(
            "GET", "/v1/volumes", headers=bearer("new-token"))[0] == 200))
        self.assertEqual(server.request("GET", "/v1/volumes", headers=bearer(
            "write-token"))[0], 401)
        with open(tokens.name, "w") as f:
            f.write("new-token\nro:\n")
        server.process.send_signal(1)
        time.sleep(0.3)
        self.assertEqual(server.request("GET", "/v1/volumes", headers=bearer(
            "new-token"))[0], 200)

    def test_a_token_that_may_only_read_writes_by_no_route(self):
        with tempfile.NamedTemporaryFile("w") as tokens:
            tokens.write("write-token\nro:read-token\n")
            tokens.flush()
            server = Server(SERVE, token_file=tokens.name)
            self.addCleanup(server.close)
            self.only_reads(server)

    def only_reads(self, server):
        vid, _, _ = make(server, "app", 10, 2, token="write-token")
        volume = "/v1/volumes/" + vid
        read = {"Authorization": "Bearer read-token", "If-None-Match": "*"}
        everything = lambda: [server.json("/v1/keys?prefix=" + prefix, headers=read)
                              ["keys"]
                              for prefix in ("volumes/", "names/app/")]
        before = everything()
        sid = str(uuid.UUID(int=uuid.uuid4().int & ~(0xf << 76) | 7 << 76))
        for method, path in (
                ("POST", "/v1/volumes"), ("DELETE", "/v1/volumes/app"),
                ("DELETE", volume), ("POST", volume + "/commits"),
                ("PUT", volume + "/segments/" + sid),
                ("PUT", "%s/maps/%016x.%s" % (volume, 1, sid)),
                ("PUT", volume + "/profiles/web/fffffffffffffffe"),
                ("DELETE", volume + "/profiles/web/fffffffffffffffe"),
                ("PUT", "/v1/names/x/fffffffffffffffe")):
            status, _, body = server.request(method, path, b"x" * 100, read)
            self.assertEqual((status, json.loads(body)["code"]),
                             (403, "readonly"), (method, path, body))
        self.assertEqual(everything(), before)

    def test_a_bad_line_is_no_start(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "tokens")
            for line in ("ro:", "ro: x", "RO:x", "rw:x", "x y"):
                with open(path, "w") as f:
                    f.write("good\n%s\n" % line)
                run = subprocess.run(
                    [SERVE, "--listen", "127.0.0.1:0", "--data", d + "/data",
                     "--token-file", path], stderr=subprocess.PIPE,
                    timeout=20)
                self.assertEqual(run.returncode, 1)
                self.assertIn(b"line 2", run.stderr)

    def test_beyond_loopback(self):
        with tempfile.TemporaryDirectory() as d:
            run = subprocess.run(
                [SERVE, "--listen", "0.0.0.0:0", "--data", d + "/data"],
                stderr=subprocess.PIPE, timeout=20)
            self.assertEqual(run.returncode, 1)
            self.assertIn(b"--token-file", run.stderr)


class Stopping(unittest.TestCase):
    def test_sigterm_ends_streams_and_exits(self):
        server = Server(SERVE)
        make(server, "app", 10, 2)
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.settimeout(10)
        sock.sendall(b"GET /v1/volumes/app/events HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"200", sock.recv(4096))
        began = time.monotonic()
        server.stop()
        self.assertLess(time.monotonic() - began, 5)
        sock.close()
        server.close()

    def test_a_request_under_way_is_finished(self):
        server = Server(SERVE)
        _, _, content = make(server, "app", 3000, 0)
        got = []

        def read():
            got.append(server.request("GET", "/v1/volumes/app/content")[2])

        thread = threading.Thread(target=read)
        thread.start()
        wait_for(lambda: server.metric("ramet_requests_in_flight") > 1, 2)
        server.stop()
        thread.join()
        self.assertEqual(got, [content])
        server.close()


class Configuration(unittest.TestCase):
    def test_file_and_errors(self):
        with tempfile.TemporaryDirectory() as d:
            conf = os.path.join(d, "ramet.conf")
            for text, said in (("[server]\nnonsense = 1\n", b"nonsense"),
                               ("[server]\nworkers = 0\n", b"workers"),
                               ("[server]\ncache_memory = 5X\n", b"5X"),
                               ("[server]\nlisten\n", b"line 2")):
                with open(conf, "w") as f:
                    f.write(text)
                run = subprocess.run([SERVE, "--config", conf],
                                     stderr=subprocess.PIPE, timeout=20)
                self.assertEqual(run.returncode, 1, text)
                self.assertIn(said, run.stderr)
            with open(conf, "w") as f:
                f.write("[remote x]\nurl = file:///x\n[server]\n"
                        "cache_memory = 8M\nworkers = 2\n")
            server = Server(SERVE, config=conf)
            self.assertEqual(server.request("GET", "/healthz")[0], 200)
            server.close()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
