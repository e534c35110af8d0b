"""Where a request ends is beyond doubt: what a proxy might read otherwise is
refused with 400, and the connection ends, so that nothing behind it is taken
for another request.

usage: framing.py SERVE MAKE_VOLUME
"""
import os
import random
import re
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from served import Server  # noqa: E402

SERVE = sys.argv[1]
SEED = int(os.environ.get("RAMET_SEED", "1"))
# What is hidden behind a doubtful request; its answer would give it away.
INNER = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def length(n, name=b"Content-Length:"):
    return name + b" %d\r\n" % n


N = len(INNER)
# name, request line's end and headers, body
DOUBTFUL = [
    ("both lengths, the coding ends earlier",
     length(N + 5) + CHUNKED, b"0\r\n\r\n" + INNER),
    ("both lengths, the coding first",
     CHUNKED + length(N + 5), b"0\r\n\r\n" + INNER),
    ("two lengths, 0 first", length(0) + length(N), INNER),
    ("two lengths, 0 last", length(N) + length(0), INNER),
    ("two lengths, the same", length(N) + length(N), INNER),
    ("a list of lengths", b"Content-Length: %d, %d\r\n" % (N, N), INNER),
    ("a signed length", b"Content-Length: +%d\r\n" % N, INNER),
    ("a negative length", b"Content-Length: -1\r\n", INNER),
    ("a length in hex", b"Content-Length: 0x%x\r\n" % N, INNER),
    ("an empty length", b"Content-Length:\r\n", INNER),
    ("a length with a tab behind", b"Content-Length: 0\t\r\n", INNER),
    ("a length beyond 64 bits", b"Content-Length: 18446744073709551616\r\n",
     INNER),
    ("space before the colon", length(N, b"Content-Length :"), INNER),
    ("tab before the colon", length(N, b"Content-Length\t:"), INNER),
    ("space before the coding's colon",
     b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + INNER),
    ("a first line that begins with a space",
     b" Content-Length: %d\r\n" % N, INNER),
    ("an unknown coding", b"Transfer-Encoding: gzip\r\n", b"x"),
    ("chunked and another", b"Transfer-Encoding: gzip, chunked\r\n",
     b"0\r\n\r\n" + INNER),
    ("identity", b"Transfer-Encoding: identity\r\n", INNER),
    ("a coding twice", CHUNKED + CHUNKED, b"0\r\n\r\n" + INNER),
    ("a coding and a second one", CHUNKED + b"Transfer-Encoding: x\r\n",
     b"0\r\n\r\n" + INNER),
    ("an empty coding", b"Transfer-Encoding:\r\n", INNER),
    ("a quoted coding", b"Transfer-Encoding: \"chunked\"\r\n", INNER),
    ("a coding with a vertical tab", b"Transfer-Encoding: \x0bchunked\r\n",
     b"0\r\n\r\n" + INNER),
    ("a folded value", b"X-A: b\r\n c\r\n" + length(0), INNER),
    ("a name completed by a fold",
     b"Transfer: chunked\r\n -Encoding\r\n", b"0\r\n\r\n" + INNER),
    ("a folded length", b"Content-Length: 0\r\n %d\r\n" % N, INNER),
    ("a folded last header", b"X-A: b\r\n\tc\r\n", INNER),
    ("bare LF behind a header", b"X-A: b\n" + length(0), INNER),
    ("bare LF that hides a length", b"X-A: b\nContent-Length: %d\r\n" % N,
     INNER),
    ("bare CR in a value", b"X-A: b\rContent-Length: %d\r\n" % N, INNER),
    ("NUL in a value", b"X-A: b\0c\r\n" + length(0), INNER),
    ("NUL behind a length", b"Content-Length: 0\0%d\r\n" % N, INNER),
    ("a control character in a value", b"X-A: \x1b[31m\r\n", INNER),
    ("no colon", b"Content-Length %d\r\n" % N, INNER),
    ("an empty name", b": x\r\n", INNER),
    ("a name with a bracket", b"X[A]: x\r\n", INNER),
    ("a name with a high byte", b"X\xff: x\r\n", INNER),
    ("Host twice", b"Host: y\r\n", INNER),
]


def request(headers, body, line=b"POST /v1/volumes HTTP/1.1\r\n",
            host=b"Host: x\r\n"):
    return line + host + headers + b"\r\n" + body


class Framing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(SERVE)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.close()

    def refused(self, data, name):
        """400 (or 413 for a number too large) and nothing else, then the end.
        The library says what it refuses by itself twice."""
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.server.port),
                                      timeout=10) as sock:
            sock.sendall(data)
            got = b""
            while True:
                try:
                    more = sock.recv(65536)
                except ConnectionResetError:
                    more = b""
                except socket.timeout:
                    self.fail("%s: the connection stays open: %r" % (name, got))
                if not more:
                    break
                got += more
            self.assertTrue(got, name)
        self.assertNotIn(b'"ok"', got, name)
        said = set(re.findall(rb"HTTP/1.1 (\d+)", got))
        self.assertIn(said, ({b"400"}, {b"413"}), (name, got))
        self.assertLess(time.monotonic() - began, 9, name)

    def test_doubtful_requests_are_refused_and_the_connection_ends(self):
        for name, headers, body in DOUBTFUL:
            with self.subTest(name):
                self.refused(request(headers, body), name)

    def test_also_when_the_doubtful_one_comes_second(self):
        first = request(length(0), b"", b"GET /healthz HTTP/1.1\r\n")
        for name, headers, body in DOUBTFUL[:4] + DOUBTFUL[12:13]:
            got = self.server.raw(first + request(headers, body))
            self.assertEqual(got.count(b'"ok"'), 1, (name, got))
            self.assertEqual(got.count(b"HTTP/1.1 400"), 1, (name, got))
            self.assertEqual(got.count(b"HTTP/1."), 2, (name, got))

    def test_a_coding_needs_http_1_1(self):
        self.refused(request(CHUNKED, b"0\r\n\r\n" + INNER,
                             b"POST /v1/volumes HTTP/1.0\r\n"), "HTTP/1.0")

    def test_the_request_line_ends_with_cr_lf(self):
        self.refused(request(b"", INNER, b"GET /healthz HTTP/1.1\n"),
                     "bare LF behind the request line")

    def test_a_method_is_a_token(self):
        self.refused(request(b"", b"", b"G\x1b[31mT /healthz HTTP/1.1\r\n"),
                     "a control character in the method")

    def test_nothing_follows_a_chunked_body(self):
        """Chunks' lines and trailers are read by the library, leniently."""
        post = b"POST /v1/volumes HTTP/1.1\r\n"
        for body in (b"2\r\n{}\r\n0\r\n\r\n", b"2\n{}\n0\r\n\r\n",
                     b"2;x\n{}\r\n0\r\n\r\n",
                     b"2\r\n{}\r\n0\r\nContent-Length: 9\n\r\n",
                     b"2\r\n{}\r\n0\r\nX: y\r\n z\r\n\r\n"):
            got = self.server.raw(request(CHUNKED, body + INNER, post),
                                  timeout=5)
            self.assertNotIn(b'"ok"', got, body)
            self.assertEqual(got.count(b"HTTP/1."), 1, (body, got))

    def test_what_is_right_is_answered_however_it_is_cut(self):
        """No request is taken for a doubtful one by the way it arrives."""
        rand = random.Random(SEED)
        print("seed", SEED, file=sys.stderr)
        for round_no in range(40):
            headers = b"".join(
                b"X-%d:%s%s\r\n" % (i, b" \t"[:rand.randrange(3)],
                                    b"v" * rand.choice((0, 1, 30, 400)))
                for i in range(rand.randrange(12)))
            body = b'{"name":"v%d"}' % round_no
            one = request(headers + length(len(body)), body)
            last = request(headers + b"Connection: close\r\n", b"",
                           b"GET /v1/volumes?limit=%d HTTP/1.1\r\n" % round_no)
            data = b"\r\n" * rand.randrange(2) + one + last
            with socket.create_connection(("127.0.0.1", self.server.port),
                                          timeout=10) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while data:
                    n = rand.choice((1, 2, 3, 17, 100, 5000))
                    sock.sendall(data[:n])
                    data = data[n:]
                got = b""
                while True:
                    more = sock.recv(65536)
                    if not more:
                        break
                    got += more
            self.assertEqual(got.count(b"HTTP/1.1 201"), 1, got)
            self.assertEqual(got.count(b"HTTP/1.1 200"), 1, got)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
