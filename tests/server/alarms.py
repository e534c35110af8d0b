"""The alarms of docs/runbook.md: each names metrics that a server has, each
goes off when it should, and the log says why.

usage: alarms.py SERVE MAKE_VOLUME
"""
import os
import re
import signal
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
RUNBOOK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..",
                       "docs", "runbook.md")


def alarms():
    """{name: expression} of the table."""
    with open(RUNBOOK) as f:
        table = f.read().split("## Alarms")[1].split("###")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|", 1)]
            for line in table.split("\n") if line.startswith("| ")]
    return {row[0]: row[1] for row in rows[1:] if not row[0].startswith("-")}


class Alarms(unittest.TestCase):
    def setUp(self):
        self.server = None

    def start(self, **options):
        self.log = tempfile.TemporaryFile()
        self.addCleanup(self.log.close)
        self.server = Server(SERVE, **options)
        pump = threading.Thread(target=self.pump, daemon=True,
                                args=(self.server.process.stderr,))
        pump.start()
        self.addCleanup(self.end, pump)

    def pump(self, source):
        for line in source:
            self.log.write(line)
            self.log.flush()

    def end(self, pump):
        if self.server.alive():
            self.server.process.send_signal(signal.SIGTERM)
            self.server.process.wait(40)
        pump.join()
        self.server.process.stdout.close()
        self.server.process.stderr.close()
        self.server.close()

    def logged(self, pattern):
        def seen():
            self.log.seek(0)
            return re.search(pattern, self.log.read())
        return wait_for(seen)

    def make(self, name, pages, commits):
        with tempfile.NamedTemporaryFile() as expected:
            out = subprocess.run(
                [MAKE, str(self.server.port), name, str(pages), str(commits),
                 expected.name], check=True, stdout=subprocess.PIPE)
            return out.stdout.decode().split()[0]

    def status(self, path, **kw):
        return self.server.request("GET", path, headers=kw)[0]

    def count(self, status):
        text = self.server.request("GET", "/metrics")[2].decode()
        return sum(float(n) for n in re.findall(
            r'ramet_requests_total\{[^}]*status="%s"\} (\S+)' % status, text))

    def damage(self, vid):
        folder = os.path.join(self.server.data, "volumes", vid, "segments")
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            os.chmod(path, 0o600)
            with open(path, "r+b") as f:
                f.seek(100)
                f.write(b"\xff" * (os.path.getsize(path) - 200))

    def test_each_names_what_a_server_has(self):
        self.start()
        vid = self.make("app", 20, 1)
        with socket.create_connection(("127.0.0.1", self.server.port)) as s:
            s.sendall(b"GET /v1/volumes/app/events?after=0 HTTP/1.1\r\n"
                      b"Host: x\r\n\r\n")
            s.settimeout(10)
            self.assertIn(b"200", s.recv(100))
            self.server.request("POST", "/v1/volumes/%s/pages" % vid,
                                b"\1\0\1\1\0\0")
            text = self.server.request("GET", "/metrics")[2].decode()
        names = set(re.findall(r"^(ramet_\w+)", text, re.M))
        wanted = set(re.findall(r"ramet_\w+", " ".join(alarms().values())))
        self.assertGreater(len(wanted), 8)
        self.assertEqual(wanted - names, set())
        self.assertIn('ramet_request_duration_seconds_bucket{route="pages"',
                      text)
        self.assertEqual(set(alarms()), {
            "not ready", "errors", "damage", "store errors", "busy",
            "connections", "maps", "disk", "late events", "slow"})

    def test_not_ready(self):
        self.start()
        self.assertEqual(self.status("/readyz"), 200)
        key = os.path.join(self.server.data, "ramet.json")
        os.rename(key, key + ".away")
        self.assertTrue(wait_for(lambda: self.status("/readyz") == 503))
        self.assertEqual(self.status("/healthz"), 200)
        self.assertTrue(self.logged(
            rb'level=error msg="the store does not answer" detail='))
        os.rename(key + ".away", key)
        self.assertTrue(wait_for(lambda: self.status("/readyz") == 200))
        self.assertTrue(self.logged(rb'level=info msg="the store answers"'))

    def test_errors_and_damage(self):
        self.start()
        vid = self.make("app", 600, 0)
        self.assertEqual(self.count("5.."), 0)
        self.damage(vid)
        self.assertEqual(self.status("/v1/volumes/app/content",
                                     Range="bytes=4096-4100"), 500)
        self.assertEqual(self.count("5.."), 1)
        self.assertEqual(self.server.metric("ramet_damaged_total"), 1)
        self.assertTrue(self.logged(
            rb'level=error msg="request failed" method=GET '
            rb'path=/v1/volumes/app/content status=500 code=corrupt detail='))
        # One that began, and is cut off.
        with self.assertRaises(Exception):
            self.server.request("GET", "/v1/volumes/app/content")
        self.assertTrue(self.logged(rb'level=error msg="answer cut off"'))
        self.assertEqual(self.server.metric("ramet_damaged_total"), 2)

    def test_a_missing_object_is_damage(self):
        self.start()
        vid = self.make("app", 600, 0)
        folder = os.path.join(self.server.data, "volumes", vid, "segments")
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        self.assertEqual(self.status("/v1/volumes/app/content",
                                     Range="bytes=4096-4100"), 500)
        self.assertEqual(self.server.request(
            "POST", "/v1/volumes/%s/pages" % vid, b"\1\0\1\1\0\0")[0], 500)
        self.assertEqual(self.server.metric("ramet_damaged_total"), 2)

    def test_store_errors(self):
        self.start()
        vid = self.make("app", 600, 0)
        folder = os.path.join(self.server.data, "volumes", vid, "segments")
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
            os.symlink(name, os.path.join(folder, name))  # to itself
        self.assertEqual(self.server.metric("ramet_store_errors_total"), 0)
        self.assertEqual(self.status("/v1/volumes/app/content",
                                     Range="bytes=4096-4100"), 500)
        self.assertGreater(self.server.metric("ramet_store_errors_total"), 0)
        self.assertTrue(self.logged(rb'level=error msg="request failed"'))

    def test_busy(self):
        self.start(workers=1, queue=1)
        self.make("app", 600, 0)

        def crowd():
            socks = []
            for _ in range(60):
                sock = socket.create_connection(
                    ("127.0.0.1", self.server.port))
                sock.sendall(b"GET /v1/volumes/app/content HTTP/1.1\r\n"
                             b"Host: x\r\nConnection: close\r\n\r\n")
                socks.append(sock)
            for sock in socks:
                sock.close()
            return self.count("429") > 0

        self.assertTrue(wait_for(crowd))
        self.assertGreaterEqual(self.server.metric("ramet_queue_length"), 0)

    def test_connections(self):
        self.start()
        socks = [socket.create_connection(("127.0.0.1", self.server.port))
                 for _ in range(40)]
        self.assertTrue(wait_for(
            lambda: self.server.metric("ramet_connections") > 40))
        for sock in socks:
            sock.close()

    def test_maps(self):
        self.start()
        root = os.path.join(self.server.data, "volumes")
        os.makedirs(root, exist_ok=True)
        seen = set()

        def in_the_way():
            """A file where a new volume's maps belong."""
            end = time.monotonic() + 180
            while time.monotonic() < end and not seen:
                for vid in os.listdir(root):
                    try:
                        with open(os.path.join(root, vid, "maps"), "x"):
                            seen.add(vid)
                    except OSError:
                        pass

        blocker = threading.Thread(target=in_the_way)
        blocker.start()
        self.make("app", 20, 40)
        blocker.join()
        self.assertTrue(seen)
        self.assertTrue(wait_for(
            lambda: self.server.metric("ramet_map_failures_total") > 0))
        self.assertTrue(self.logged(
            rb'level=error msg="no page map could be made" detail='))
        # And committing went on.
        self.assertEqual(self.server.json("/v1/volumes/app/head")["lsn"], 41)

    def test_late_events(self):
        self.start()
        self.make("app", 20, 2)
        with socket.create_connection(("127.0.0.1", self.server.port)) as s:
            s.settimeout(10)
            s.sendall(b"GET /v1/volumes/app/events HTTP/1.1\r\nHost: x\r\n"
                      b"\r\n")
            self.assertIn(b"200", s.recv(1000))
            newest = self.server.request("GET", "/v1/volumes/app/commits/3")[2]
            self.assertEqual(self.server.request(
                "POST", "/v1/volumes/app/commits", newest)[0], 201)
        for name in ("ramet_event_lag_seconds_sum", "ramet_events_total"):
            self.assertGreaterEqual(self.server.metric(name), 0)

    def test_a_reload_that_fails_is_told(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "tokens")
            with open(path, "w") as f:
                f.write("good\n")
            self.start(token_file=path)
            self.assertTrue(self.logged(rb"level=info msg=serving "))
            with open(path, "w") as f:
                f.write("good\nro:\n")
            self.server.process.send_signal(signal.SIGHUP)
            self.assertTrue(self.logged(
                rb'level=error msg="not reloaded" detail="[^"]*line 2: '))
            os.unlink(path)
            self.server.process.send_signal(signal.SIGHUP)
            self.assertTrue(self.logged(
                rb'level=error msg="not reloaded" detail="[^"]*No such file'))

    def test_no_peer_writes_to_the_log_but_as_data(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "access")
            self.start(access_log=path)
            self.server.raw(b"GET /a\x1b[31m\xc2\x9b\xe2\x80\xaeb\xff\" x=\xe2"
                            b"\x80\xa8 HTTP/1.1\r\nHost: x\r\n\r\n", timeout=2)
            self.server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nUser-Agent: "
                            b"u\xc2\x9bv\xe2\x80\xae \"level=error\r\n"
                            b"Connection: close\r\n\r\n")
            self.server.raw(b"GET=x\"status=200 /hidden HTTP/1.1\r\nHost: x"
                            b"\r\n\r\n", timeout=2)
            self.server.raw(b"M" * 740 + b" /long HTTP/1.1\r\nHost: x\r\n"
                            b"Connection: close\r\n\r\n")
            self.end_now()
            with open(path, "rb") as f:
                log = f.read()
        lines = log.decode("ascii").rstrip("\n").split("\n")
        for line in lines:
            self.assertRegex(line, r'^ts=\S+ level=info msg=request peer=\S+ '
                             r'method="([^"\\]|\\.)*" path="([^"\\]|\\.)*" '
                             r'status=\d+ in=\d+ out=\d+ us=\d+ '
                             r'agent="([^"\\]|\\.)*"$')
        self.assertIn(r'agent="u\u009bv\u202e \"level=error"', log.decode())
        self.assertIn('path="/long"', log.decode())

    def end_now(self):
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(40)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
