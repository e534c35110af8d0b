"""What a server meets on a bad day: broken HTTP, slow clients, too many of
them, bodies of nonsense. It answers 4xx or hangs up, keeps within its memory,
and serves honest clients all the while.

usage: hostile.py SERVE MAKE_VOLUME
"""
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from served import Server, wait_for  # noqa: E402

SERVE, MAKE = sys.argv[1:3]
SEED = int(os.environ.get("RAMET_SEED", "1"))
SANITIZED = b"__asan_init" in open(SERVE, "rb").read()
# Memory that a server may take over what it takes when idle.
MEMORY_KIB = 64 << 10

MALFORMED = [
    b"\r\n\r\n",
    b"\0" * 1000,
    b"GET\r\n\r\n",
    b"GET /v1/volumes\r\n\r\n",
    b"GET /v1/volumes HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /v1/volumes HTTP/1.1\r\n\r\n",  # no Host
    b"get /v1/volumes HTTP/1.1\r\nHost: x\r\n\r\n",
    b"G\0T /v1/volumes HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/\0volumes HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/volumes/app%00/head HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://other/v1/volumes HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/volumes HTTP/1.1\r\nHost: x\r\nNo colon here\r\n\r\n",
    b"GET /v1/volumes HTTP/1.1\r\nHost: x\r\n : empty\r\n\r\n",
    b"GET /v1/volumes HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 100000),
    b"GET /?%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a=b&" * 20000),
    b"GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"a" * 100000),
    b"GET / HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"X: y\r\n" * 50000),
    b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"%" * 50),
    b"GET /%zz/%1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 500,
    b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nx",
    b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\nx",
    b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Content-Length: 6\r\n\r\nabcdef",
    b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\n"
    b"Content-Length: 99999999999999999999999\r\n\r\nx",
    b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615"
    b"\r\n\r\nx",
    b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"\r\nzz\r\nabc",
    b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"\r\nffffffffffffffffff\r\nabc",
    b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"\r\n5\r\nabcdeXX\r\n0\r\n\r\n",
    b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nx",
    b"GET /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" +
    b"x" * 200000,
    b"GET /v1/volumes/app/content HTTP/1.1\r\nHost: x\r\nRange: bytes=%s\r\n\r\n"
    % (b"0-1," * 1500),
    b"GET /v1/volumes/app/content HTTP/1.1\r\nHost: x\r\n"
    b"Range: bytes=99999999999999999999-\r\n\r\n",
    b"GET /v1/volumes/app/events HTTP/1.1\r\nHost: x\r\n"
    b"Last-Event-ID: 99999999999999999999999\r\n\r\n",
    b"GET /v1/volumes/app/content?at=18446744073709551615 HTTP/1.1\r\nHost: x"
    b"\r\n\r\n",
]


class Honest(threading.Thread):
    """Reads pages and heads all the while, and notes how long it took."""

    def __init__(self, server):
        super().__init__()
        self.server, self.ended = server, False
        self.slowest = 0.0
        self.count = 0
        self.failure = None
        self.start()

    def run(self):
        while not self.ended and self.failure is None:
            began = time.monotonic()
            try:
                status, _, body = self.server.request(
                    "GET", "/v1/volumes/app/content",
                    headers={"Range": "bytes=4096-8191"}, timeout=30)
                if status != 206 or len(body) != 4096:
                    self.failure = "%d %r" % (status, body[:200])
            except OSError as error:
                self.failure = repr(error)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.count += 1
            time.sleep(0.01)

    def end(self, test, slowest):
        self.ended = True
        self.join()
        test.assertIsNone(self.failure)
        test.assertGreater(self.count, 0)
        test.assertLess(self.slowest, slowest)


class Hostile(unittest.TestCase):
    options = {}

    def setUp(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
        self.server = Server(SERVE, header_timeout=2, idle_timeout=4)
        with tempfile.NamedTemporaryFile() as expected:
            out = subprocess.run(
                [MAKE, str(self.server.port), "app", "200", "5",
                 expected.name], check=True, stdout=subprocess.PIPE)
            self.vid = out.stdout.decode().split()[0]
        self.server.request("GET", "/v1/volumes/app/content")
        self.idle_kib = self.server.rss_kib()
        self.random = random.Random(SEED)
        print("seed", SEED, file=sys.stderr)

    def tearDown(self):
        self.assertTrue(self.server.alive())
        self.server.stop()  # a sanitizer's finding is not status 0
        self.server.close()

    def check_memory(self):
        if not SANITIZED:
            self.assertLess(self.server.rss_kib(), self.idle_kib + MEMORY_KIB)

    def test_malformed(self):
        honest = Honest(self.server)
        for data in MALFORMED:
            got = self.server.raw(data, timeout=1)
            status = got.split(b" ")[1][:1] if b" " in got else b""
            self.assertIn(status, (b"", b"2", b"4", b"5"), (data[:100], got))
            if status == b"2":  # only what is right after all
                self.assertTrue(data.startswith(b"GET"), (data[:100], got))
            if status == b"5":
                self.assertIn(got.split(b" ")[1], (b"501", b"505"), data[:100])
        honest.end(self, 10)
        self.assertEqual(self.server.json("/v1/volumes")["volumes"],
                         [{"name": "app", "id": self.vid}])
        self.check_memory()

    def test_cut_everywhere(self):
        whole = (b"POST /v1/volumes/%s/pages HTTP/1.1\r\nHost: x\r\n"
                 b"Content-Length: 6\r\n\r\n\1\0\1\1\0\0" % self.vid.encode())
        for cut in range(0, len(whole) + 1, 2):
            self.server.raw(whole[:cut], timeout=0.2, shut=True)
        put = (b"PUT /v1/volumes/%s/segments/%s HTTP/1.1\r\nHost: x\r\n"
               b"If-None-Match: *\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"20\r\n%s\r\n0\r\n\r\n" % (
                   self.vid.encode(), self.vid.encode(), b"x" * 32))
        for cut in range(0, len(put), 3):
            self.server.raw(put[:cut], timeout=0.2, shut=True)
        self.assertEqual(self.server.request("GET", "/v1/volumes")[0], 200)

    def test_random_bytes(self):
        honest = Honest(self.server)
        routes = [b"POST /v1/volumes", b"POST /v1/volumes/app/commits",
                  b"POST /v1/volumes/%s/pages" % self.vid.encode(),
                  b"PUT /v1/volumes/%s/segments/%s" % (self.vid.encode(),
                                                       self.vid.encode()),
                  b"PUT /v1/names/x/fffffffffffffffe",
                  b"PUT /v1/volumes/%s/maps/0000000000000001.%s" % (
                      self.vid.encode(), self.vid.encode())]
        for _ in range(150):
            body = self.random.randbytes(self.random.choice(
                (0, 1, 7, 100, 5000, 70000)))
            got = self.server.raw(
                self.random.choice(routes) + b" HTTP/1.1\r\nHost: x\r\n"
                b"Connection: close\r\nIf-None-Match: *\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body, timeout=15)
            self.assertIn(got[:11], (b"HTTP/1.1 400", b"HTTP/1.1 413"[:11],
                                     b"HTTP/1.1 42"[:11], b"HTTP/1.1 40",
                                     b"HTTP/1.1 50"), got[:300])
        for _ in range(100):
            self.server.raw(self.random.randbytes(2000), timeout=0.05)
        honest.end(self, 10)
        self.check_memory()

    def test_mutated_requests(self):
        commit = self.server.request("GET", "/v1/volumes/app/commits/6")[2]
        head = self.server.json("/v1/volumes/app/head")
        for _ in range(300):
            body = bytearray(commit)
            for _ in range(self.random.choice((1, 2, 8))):
                body[self.random.randrange(min(len(body), 400))] = \
                    self.random.randrange(256)
            status, _, answer = self.server.request(
                "POST", "/v1/volumes/%s/commits" % self.vid, bytes(body))
            self.assertIn(status, (201, 409, 422, 501), answer)
        self.assertEqual(self.server.json("/v1/volumes/app/head"), head)

    def test_half_open_connections(self):
        socks = []
        honest = Honest(self.server)
        for i in range(3800):
            sock = socket.socket()
            sock.setblocking(False)
            try:
                sock.connect(("127.0.0.1", self.server.port))
            except BlockingIOError:
                pass
            socks.append(sock)
            if i % 200 == 199:
                time.sleep(0.05)
        for sock in socks[::2]:
            try:
                sock.send(b"GET /v1/volumes HTTP/1.1\r\nHost: x\r\nX: ")
            except OSError:
                pass
        time.sleep(1)
        self.check_memory()
        honest.end(self, 15)
        # They are ended, though each says a byte now and then.
        self.assertTrue(wait_for(lambda: self.drip(socks) < 100, 30))
        for sock in socks:
            sock.close()

    def drip(self, socks):
        for sock in socks[::50]:
            try:
                sock.send(b"a")
            except OSError:
                pass
        time.sleep(0.3)
        return self.server.metric("ramet_connections")

    def test_slow_bodies_and_readers(self):
        # Without a minimum rate these would hold connections for ever; the
        # grace is 30 s, so here only that they disturb nobody.
        honest = Honest(self.server)
        socks = []
        for i in range(200):
            sock = socket.create_connection(("127.0.0.1", self.server.port))
            if i % 2:
                sock.sendall(b"POST /v1/volumes/app/commits HTTP/1.1\r\n"
                             b"Host: x\r\nContent-Length: 1000000\r\n\r\nx")
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.sendall(b"GET /v1/volumes/app/content HTTP/1.1\r\n"
                             b"Host: x\r\n\r\n")
            socks.append(sock)
        for _ in range(20):
            for sock in socks[1::2]:
                sock.send(b"y")
            time.sleep(0.1)
        self.check_memory()
        honest.end(self, 10)
        for sock in socks:
            sock.close()

    def test_many_who_do_not_read(self):
        # Each keeps an answer in the server's memory, until it is cut.
        socks = []
        body = (b"\1\0\1\1\0\x7f", b"\1\0\1\1\0\x3f")
        highest = 0
        for i in range(1500):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.connect(("127.0.0.1", self.server.port))
            if i % 3 == 0:
                sock.sendall(b"GET /v1/volumes/app/content HTTP/1.1\r\n"
                             b"Host: x\r\n\r\n")
            else:
                sock.sendall(b"POST /v1/volumes/%s/pages HTTP/1.1\r\n"
                             b"Host: x\r\nContent-Length: 6\r\n\r\n%s" % (
                                 self.vid.encode(), body[i % 2]))
            socks.append(sock)
            if i % 20 == 0:
                highest = max(highest, self.server.rss_kib())
        time.sleep(1)
        highest = max(highest, self.server.rss_kib())
        if not SANITIZED:
            self.assertLess(highest, self.idle_kib + MEMORY_KIB)
        # Those who do not read are cut, and others served again.
        self.assertTrue(wait_for(lambda: self.server.request(
            "GET", "/v1/volumes/app/content")[0] == 200, 60))
        for sock in socks:
            sock.close()

    def test_many_large_bodies(self):
        honest = Honest(self.server)

        def send():
            try:
                self.server.request("POST", "/v1/volumes/app/commits",
                                    b"R" * (15 << 20), timeout=60)
            except OSError:
                pass

        threads = [threading.Thread(target=send) for _ in range(12)]
        highest = 0
        for thread in threads:
            thread.start()
        while any(t.is_alive() for t in threads):
            highest = max(highest, self.server.rss_kib())
            time.sleep(0.01)
        if not SANITIZED:
            self.assertLess(highest, self.idle_kib + MEMORY_KIB)
        honest.end(self, 20)

    def test_pipelined(self):
        one = b"GET /v1/volumes/app/head HTTP/1.1\r\nHost: x\r\n\r\n"
        last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        got = self.server.raw(one * 200 + last, timeout=20)
        self.assertEqual(got.count(b"HTTP/1.1 200"), 201)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
