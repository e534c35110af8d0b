"""A server as a process of its own, for the tests in Python: start, stop,
kill, requests over urllib and over raw sockets. It works on a directory or, with
RAMET_TEST_REMOTE=s3, on a bucket (docs/testing.md)."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..",
                             "support"))
import s3  # noqa: E402

ON_S3 = os.environ.get("RAMET_TEST_REMOTE") == "s3"
if ON_S3:
    s3.need()


class Server:
    def __init__(self, serve, data=None, port=0, env=None, store=None,
                 **options):
        self.serve, self.store = serve, store
        self.owned = None if data else tempfile.mkdtemp(prefix="ramet-served-")
        self.data = data or os.path.join(self.owned, "data")
        self.bucket = None
        if ON_S3 and not store:
            self.bucket = s3.Bucket("served%s" % self.data.replace("/", "-"))
        self.options = options
        self.env = dict(os.environ, **(env or {}))
        self.port = port
        self.process = None
        self.start()

    def start(self):
        scheme_host = "127.0.0.1:%d" % self.port
        command = [self.serve, "--listen", scheme_host,
                   *(["--store", self.store or self.bucket.url()]
                     if self.store or self.bucket else
                     ["--data", self.data])]
        options = dict({"access_log": "off"}, **self.options)
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self.env)
        line = self.process.stdout.readline().decode()
        found = re.match(r"listening on (https?)://.*:(\d+)$", line.strip())
        if not found:
            raise AssertionError("server did not start: %r %r" % (
                line, self.process.stderr.read()))
        self.port = int(found.group(2))

    def stop(self, number=signal.SIGTERM, expect=0, timeout=180):
        """Returns what it wrote to standard error."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=timeout)
        if expect is not None and self.process.returncode != expect:
            raise AssertionError("server ended with %r: %s" % (
                self.process.returncode, err.decode(errors="replace")))
        return err

    def close(self):
        if self.process.poll() is None:
            self.stop()
        if self.owned:
            shutil.rmtree(self.owned)
            if self.bucket:
                self.bucket.clear()

    def store_url(self):
        """Where it is, for who goes there straight."""
        return self.bucket.url() if self.bucket else "file://" + self.data

    def alive(self):
        return self.process.poll() is None

    def rss_kib(self):
        with open("/proc/%d/status" % self.process.pid) as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))

    def request(self, method, path, body=None, headers=None, timeout=120):
        """(status, headers, body); one connection a request."""
        conn = http.client.HTTPConnection("127.0.0.1", self.port,
                                          timeout=timeout)
        try:
            conn.request(method, path, body, headers or {})
            answer = conn.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            conn.close()

    def json(self, path, **kw):
        status, _, body = self.request("GET", path, **kw)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def raw(self, data, timeout=10, shut=False):
        """Send bytes as they are; what comes back until the end or silence."""
        with socket.create_connection(("127.0.0.1", self.port),
                                      timeout=timeout) as sock:
            try:
                sock.sendall(data)
                if shut:
                    sock.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            got = b""
            try:
                while True:
                    more = sock.recv(65536)
                    if not more:
                        break
                    got += more
            except (socket.timeout, ConnectionResetError):
                pass
            return got

    def metric(self, name):
        text = self.request("GET", "/metrics")[2].decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.split("\n")
                   if line.split("{")[0].split(" ")[0] == name)


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
