"""The delay proxy of the benchmarks: what it delays, caps and counts. Of times
only lower bounds are looked at: a busy machine breaks every other.

    test_delayproxy.py PROXY
"""
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROXY = sys.argv.pop(1)
ONE_WAY_MS = 20
WAIT_S = 60  # for what must come, on however busy a machine


class Target(threading.Thread):
    """Sends back what it gets."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return  # closed: the test is over
            threading.Thread(target=self.answer, args=(peer,),
                             daemon=True).start()

    @staticmethod
    def answer(peer):
        with peer:
            while True:
                try:
                    data = peer.recv(65536)
                except ConnectionResetError:
                    return
                if not data:
                    return
                peer.sendall(data)


class DelayProxy(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="delayproxy-")
        self.stats = os.path.join(self.folder.name, "stats")
        self.target = Target()
        self.proxy = None

    def tearDown(self):
        if self.proxy is not None:
            self.proxy.kill()
            self.proxy.communicate()
        self.target.listener.close()
        self.folder.cleanup()

    def start(self, mbit, one_way_ms=ONE_WAY_MS, target=None):
        self.proxy = subprocess.Popen(
            [PROXY, "0", str(target or self.target.port), str(one_way_ms),
             str(mbit), self.stats], stdout=subprocess.PIPE, text=True)
        words = self.proxy.stdout.readline().split()
        self.assertEqual(words[0], "listening")
        self.port = int(words[1])

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port),
                                        timeout=WAIT_S)

    def stop(self):
        """The counters that it leaves."""
        self.proxy.send_signal(signal.SIGTERM)
        self.assertEqual(self.proxy.wait(WAIT_S), 0)
        with open(self.stats, encoding="ascii") as file:
            return json.load(file)

    def receive(self, peer, count):
        data = bytearray()
        while len(data) < count:
            more = peer.recv(count - len(data))
            self.assertTrue(more, "the stream ended after %d" % len(data))
            data += more
        return bytes(data)

    def echo(self, peer, data):
        """Send and read at once: neither way may wait for the other."""
        sender = threading.Thread(target=peer.sendall, args=(data,))
        sender.start()
        back = self.receive(peer, len(data))
        sender.join()
        return back

    def test_bytes__travel_one_way_each_and_a_round_trip_more_at_first(self):
        self.start(mbit=0)
        with self.connect() as peer:
            for round_trips in (2, 1, 1):
                began = time.monotonic()
                self.assertEqual(self.echo(peer, b"ping"), b"ping")
                self.assertGreaterEqual(time.monotonic() - began,
                                        round_trips * 2 * ONE_WAY_MS / 1000)

    def test_bytes__are_no_more_a_second_than_the_cap(self):
        self.start(mbit=80, one_way_ms=0)
        data = random.Random(1).randbytes(4_000_000)
        began = time.monotonic()
        with self.connect() as peer:
            self.assertEqual(self.echo(peer, data), data)
        # 10 bytes a microsecond, each way at the same time.
        self.assertGreaterEqual(time.monotonic() - began, 0.4)

    def test_cap__is_one_for_all_connections(self):
        self.start(mbit=80, one_way_ms=0)
        data = random.Random(2).randbytes(1_000_000)
        answers = []

        def one():
            with self.connect() as peer:
                answers.append(self.echo(peer, data) == data)
        threads = [threading.Thread(target=one) for _ in range(4)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [True] * 4)
        self.assertGreaterEqual(time.monotonic() - began, 0.4)

    def test_counters__are_exact(self):
        self.start(mbit=0, one_way_ms=1)
        for size in (1, 100_000, 0):
            with self.connect() as peer:
                self.echo(peer, b"x" * size)
        # The last was accepted before anything that comes after it.
        with self.connect() as peer:
            self.echo(peer, b"y")
        self.proxy.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + WAIT_S
        while not os.path.exists(self.stats):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        counters = self.stop()
        self.assertEqual(counters["conns"], 4)
        self.assertEqual(counters["up"], 100_002)
        self.assertEqual(counters["down"], 100_002)

    def test_end__comes_behind_the_last_byte_and_the_answer_still_comes(self):
        self.start(mbit=80)
        data = random.Random(3).randbytes(300_000)
        with self.connect() as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(self.receive(peer, len(data)), data)
            self.assertEqual(peer.recv(1), b"")

    def test_slow_reader__holds_up_nobody_else(self):
        self.start(mbit=0, one_way_ms=1)
        with self.connect() as slow, self.connect() as other:
            # More than all buffers on the way hold; nothing of it is read.
            slow.setblocking(False)
            sent = 0
            while sent < 64 << 20:
                try:
                    sent += slow.send(b"z" * 65536)
                except BlockingIOError:
                    break
            self.assertEqual(self.echo(other, b"ping"), b"ping")

    def test_connections__are_served_by_the_hundred(self):
        self.start(mbit=0, one_way_ms=1)
        peers = [self.connect() for _ in range(200)]
        for n, peer in enumerate(peers):
            peer.sendall(b"%4d" % n)
        for n, peer in enumerate(peers):
            self.assertEqual(self.receive(peer, 4), b"%4d" % n)
            peer.close()

    def test_no_target__closes_the_connection(self):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        self.start(mbit=0, target=port)
        with self.connect() as peer:
            try:
                self.assertEqual(peer.recv(1), b"")
            except ConnectionResetError:
                pass

    def test_arguments__that_are_no_numbers_are_refused(self):
        for words in (["0", "1", "x", "0"], ["0", "1", "-1", "0"],
                      ["0", "70000", "1", "0"], ["0", "1", "1"]):
            with self.subTest(words=words):
                done = subprocess.run([PROXY, *words], stderr=subprocess.PIPE)
                self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()
