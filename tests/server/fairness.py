"""Clients that take and do not give back: silent readers, event streams without
end, many connections. The server keeps within its memory, others are served,
who is slow is waited for, and who is silent is not.

usage: fairness.py SERVE MAKE_VOLUME MAKE_BIGHEAD
"""
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from served import Server, wait_for  # noqa: E402

SERVE, MAKE, BIGHEAD = sys.argv[1:4]
SANITIZED = b"__asan_init" in open(SERVE, "rb").read()


def make(server, name, pages, commits, token=None):
    env = dict(os.environ)
    env.pop("RAMET_TOKEN", None)
    if token:
        env["RAMET_TOKEN"] = token
    with tempfile.NamedTemporaryFile() as expected:
        out = subprocess.run(
            [MAKE, str(server.port), name, str(pages), str(commits),
             expected.name], check=True, stdout=subprocess.PIPE, env=env)
        return out.stdout.decode().split()[0], expected.read()


class Fairness(unittest.TestCase):
    def setUp(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
        self.socks = []

    def start(self, **options):
        self.server = Server(SERVE, **options)
        self.addCleanup(self.end)

    def end(self):
        for sock in self.socks:
            sock.close()
        if self.server.alive():
            self.server.stop()
        self.server.close()

    def silent(self, path, token=None, method="GET", body=b""):
        """A client that asks, and does not read the answer."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.connect(("127.0.0.1", self.server.port))
        sock.settimeout(15)
        auth = "Authorization: Bearer %s\r\n" % token if token else ""
        sock.sendall(("%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n"
                      "Connection: close\r\n\r\n" % (method, path, auth, len(body))).encode() + body)
        self.socks.append(sock)
        return sock

    def status(self, sock):
        got = b""
        while b"\r\n" not in got:
            more = sock.recv(100)
            if not more:
                return None
            got += more
        return int(got.split(b" ")[1])

    def get(self, path, token=None, **kw):
        headers = {"Authorization": "Bearer " + token} if token else {}
        headers.update(kw)
        return self.server.request("GET", path, headers=headers, timeout=15)

    def fill_memory(self, path, token=None):
        """Silent readers until one is refused."""
        for _ in range(300):
            if self.status(self.silent(path, token)) == 503:
                return
        self.fail("no bound")

    @unittest.skipIf(SANITIZED, "memory is not what it is")
    def test_silent_readers_of_a_large_head_hold_a_piece_of_it(self):
        self.start()
        out = subprocess.run([BIGHEAD, str(self.server.port), "4000000"],
                             check=True, stdout=subprocess.PIPE)
        path = "/v1/volumes/%s" % out.stdout.decode().strip()
        whole = self.get(path + "/commits")[2]
        self.assertEqual(len(whole), 12 + int.from_bytes(whole[8:12],
                                                         "little"))
        idle = self.server.rss_kib()
        highest = 0
        for _ in range(60):
            self.silent(path + "/commits")
            highest = max(highest, self.server.rss_kib())
        for sock in self.socks:  # some of the body is there: it was made
            if self.status(sock) == 200:
                self.assertTrue(sock.recv(1000))
                time.sleep(0.01)
        highest = max(highest, self.server.rss_kib())
        self.assertLess(highest, idle + (64 << 10))
        self.assertEqual(self.get(path + "/head")[0], 200)

    def test_short_answers_are_given_while_the_memory_is_taken(self):
        self.start(max_bodies="1M", max_commit="256K")
        make(self.server, "app", 2000, 0)
        self.fill_memory("/v1/volumes/app/content")
        self.assertGreater(len(self.get("/metrics")[2]), 4096)
        self.assertEqual(self.get("/v1/volumes")[0], 200)
        self.assertEqual(self.get("/v1/volumes/app/content",
                                  Range="bytes=4096-40000")[0], 206)

    def test_no_client_takes_what_others_need(self):
        with tempfile.NamedTemporaryFile("w") as tokens:
            tokens.write("greedy\nmodest\nro:third\n")
            tokens.flush()
            self.start(max_bodies="2M", max_commit="256K",
                       token_file=tokens.name)
            _, content = make(self.server, "app", 2000, 0, "modest")
            self.fill_memory("/v1/volumes/app/content", "greedy")
            for token in ("modest", "third"):
                answer = self.get("/v1/volumes/app/content", token)
                self.assertEqual((answer[0], len(answer[2])),
                                 (200, len(content)), token)
            self.assertEqual(self.get("/v1/volumes/app/content",
                                      "greedy")[0], 503)

    def test_event_streams_leave_places(self):
        self.start(max_connections=64)
        make(self.server, "app", 10, 0)
        got = []
        for _ in range(150):
            sock = self.silent("/v1/volumes/app/events")
            try:
                got.append(self.status(sock))
            except OSError:
                got.append(None)
            if got[-1] != 200:
                sock.close()
        self.assertGreater(got.count(200), 20)
        self.assertLess(got.count(200), 60)
        self.assertEqual(set(got), {200, 503})
        self.assertEqual(self.get("/healthz")[0], 200)
        self.assertEqual(self.get("/v1/volumes/app/content")[0], 200)

    def test_health_answers_when_all_places_are_taken(self):
        """Connections past the limit get that, and else a refusal."""
        self.start(max_connections=16, header_timeout=60, idle_timeout=60)
        make(self.server, "app", 10, 0)
        for _ in range(16):
            self.silent("/v1/volumes/app/events")
            sock = socket.create_connection(("127.0.0.1", self.server.port))
            sock.sendall(b"GET /v1/volumes HTTP/1.1\r\nHost: x\r\nX: ")
            self.socks.append(sock)
        for path in ("/healthz", "/readyz", "/metrics"):
            self.assertEqual(self.get(path)[0], 200, path)

    def read_slowly(self, sock, rate):
        """All of an answer, at a rate."""
        began, got = time.monotonic(), b""
        while True:
            due = (time.monotonic() - began + 0.1) * rate - len(got)
            if due < 1:
                time.sleep(0.02)
                continue
            more = sock.recv(min(int(due), 8192))
            if not more:
                return got
            got += more

    def test_slow_readers_are_waited_for_and_silent_ones_are_not(self):
        self.start(max_bodies="2300K", max_commit="256K")
        vid, _ = make(self.server, "app", 512, 0)
        # 512 pages with what leads to them, on a server whose memory is short.
        path, body = "/v1/volumes/%s/pages" % vid, b"\1\1\1\1\0\xff\3"
        whole = self.server.request("POST", path, body)
        self.assertEqual(whole[0], 200)
        self.assertGreater(len(whole[2]), 500000)
        # More than lies in a socket's buffer.
        _, content = make(self.server, "long", 4000, 0)
        silent = [self.silent("/v1/volumes/long/content") for _ in range(7)]
        slow = self.silent(path, None, "POST", body)
        got = self.read_slowly(slow, len(whole[2]) // 8)
        self.assertGreater(len(got), len(whole[2]))
        self.assertTrue(got.endswith(b"0\r\n\r\n"), got[-20:])
        self.assertTrue(wait_for(lambda: self.server.metric(
            "ramet_connections_cut_total") >= 1, 10))
        # When some are gone the others have time again.
        self.assertLess(min(self.drain(sock) for sock in silent),
                        len(content))

    def drain(self, sock):
        """How much comes before the end."""
        length = 0
        try:
            while True:
                more = sock.recv(65536)
                length += len(more)
                if not more:
                    return length
        except ConnectionResetError:
            return length

    def test_a_revoked_token_ends_its_streams(self):
        with tempfile.NamedTemporaryFile("w") as tokens:
            tokens.write("stays\nro:goes\n")
            tokens.flush()
            self.start(token_file=tokens.name)
            make(self.server, "app", 3000, 0, "stays")
            streams = {}
            for token in ("stays", "goes"):
                streams[token] = self.silent("/v1/volumes/app/events", token)
                self.assertEqual(self.status(streams[token]), 200)
            content = self.silent("/v1/volumes/app/content", "goes")
            self.assertEqual(self.status(content), 200)
            with open(tokens.name, "w") as f:
                f.write("stays\n")
            self.server.process.send_signal(signal.SIGHUP)
            self.assertTrue(wait_for(lambda: self.get(
                "/v1/volumes", "goes")[0] == 401))
            while streams["goes"].recv(65536):
                pass  # ends
            self.assertLess(self.drain(content), 3000 * 4096)
            # The other's goes on, to the word that ends it.
            self.server.request("DELETE", "/v1/volumes/app", headers={
                "Authorization": "Bearer stays"})
            got = b""
            while b"event: gone" not in got:
                more = streams["stays"].recv(65536)
                self.assertTrue(more, got)
                got += more

    def test_a_bad_page_ends_no_stream_of_its_volume(self):
        self.start()
        vid, _ = make(self.server, "app", 600, 0)
        events = self.silent("/v1/volumes/app/events")
        self.assertEqual(self.status(events), 200)
        folder = os.path.join(self.server.data, "volumes", vid, "segments")
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            os.chmod(path, 0o600)
            with open(path, "r+b") as f:
                f.seek(100)
                f.write(b"\xff" * (os.path.getsize(path) - 200))
        answer = self.get("/v1/volumes/app/content", Range="bytes=40960-40970")
        self.assertEqual(answer[0], 500)
        self.assertEqual(json.loads(answer[2])["code"], "corrupt")
        self.assertNotIn(self.server.data.encode(), answer[2])
        self.assertGreaterEqual(self.server.metric("ramet_damaged_total"), 1)
        self.server.request("DELETE", "/v1/volumes/app")
        got = b""
        while b"event: gone" not in got:
            more = events.recv(65536)
            self.assertTrue(more, got)
            got += more


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
