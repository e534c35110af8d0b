"""A bucket behind a front that speaks HTTP/2: nginx, with TLS and without, before
tests/support/fake_s3.py, which shares connections in none of its ways."""
import os
import shutil
import socket
import subprocess
import sys
import time
import unittest

import support
from test_bucket import BucketTest, COMMIT

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
CONF = """
daemon off;
master_process off;
%(user)s
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log;
events { worker_connections 512; }
http {
    log_format plain '$server_protocol $connection $request_method $status';
    access_log %(dir)s/access.log plain;
    client_body_temp_path %(dir)s/body;
    proxy_temp_path %(dir)s/proxy;
    fastcgi_temp_path %(dir)s/fastcgi;
    uwsgi_temp_path %(dir)s/uwsgi;
    scgi_temp_path %(dir)s/scgi;
    client_max_body_size 0;
    keepalive_requests %(requests)d;
    server {
        listen 127.0.0.1:%(port)d%(how)s;
        ssl_certificate %(dir)s/cert.pem;
        ssl_certificate_key %(dir)s/key.pem;
        location / {
            proxy_pass %(behind)s;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_request_buffering off;
        }
    }
}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


class Front:
    """nginx before `behind`, for as long as the test runs."""

    def __init__(self, test, behind, tls, requests=100000):
        self.dir = test.path("front")
        os.mkdir(self.dir)
        self.log = os.path.join(self.dir, "access.log")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
             self.dir + "/key.pem", "-out", self.dir + "/cert.pem", "-days",
             "2", "-subj", "/CN=127.0.0.1", "-addext",
             "subjectAltName=IP:127.0.0.1"], check=True,
            stderr=subprocess.DEVNULL)
        test.environment["AWS_CA_BUNDLE"] = self.dir + "/cert.pem"
        self.options = {"dir": self.dir, "behind": behind,
                        "user": "user root;" if os.geteuid() == 0 else "",
                        "requests": requests,
                        "how": " ssl http2" if tls else ""}
        while not self.start():  # the port was somebody else's meanwhile
            pass
        test.addCleanup(self.stop)
        self.url = "%s://127.0.0.1:%d" % ("https" if tls else "http", self.port)

    def start(self):
        self.port = free_port()
        conf = os.path.join(self.dir, "nginx.conf")
        with open(conf, "w") as out:
            out.write(CONF % dict(self.options, port=self.port))
        self.process = subprocess.Popen([NGINX, "-p", self.dir, "-c", conf],
                                        stderr=subprocess.PIPE, text=True)
        while True:
            if self.process.poll() is not None:
                why = self.process.stderr.read()
                self.process.stderr.close()
                if "Address already in use" not in why:
                    raise AssertionError(why)
                return False
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return True
            except ConnectionRefusedError:
                time.sleep(0.01)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()

    def requests(self):
        """[(protocol, connection, method, status)] so far. nginx notes a request
        when it is done with it, which may be after its answer was read."""
        with open(self.log) as log:
            return [tuple(line.split()) for line in log]


class Http2(BucketTest):
    def front(self, **options):
        front = Front(self, self.fake.url, **options)
        self.environment["AWS_ENDPOINT_URL_S3"] = front.url
        self.fronted = front
        return front

    def url(self, name="app", fake=None):
        return "s3://bucket/a/b/%s?endpoint=%s" % (name, self.fronted.url)

    def whole_life(self):
        """A first push with its trial of the store, a small one, one of several
        parts, and all of it back."""
        a = self.make_database(self.path("a.db"), 20000)
        self.ramet("init", a, "--remote", self.url())
        self.sql(a, COMMIT)
        self.ramet("push", a)
        big = self.write(self.path("big.bin"), os.urandom(24 << 20))
        self.ramet("init", big, "--remote", self.url("big"))
        self.ramet("clone", self.url("big"), self.path("copy.bin"))
        self.assertEqual(self.read(self.path("copy.bin")), self.read(big))
        self.ramet("export", self.url(), self.path("out.db"))
        self.assertEqual(self.read(self.path("out.db")), self.read(a))

    def seen(self, front):
        seen = front.requests()
        self.assertGreater(len(seen), 400)  # the trial alone is 384 writes
        return seen

    def test_tls__speaks_version_2_over_few_connections(self):
        front = self.front(tls=True)
        self.whole_life()
        seen = self.seen(front)
        self.assertEqual({protocol for protocol, *_ in seen}, {"HTTP/2.0"})
        # Six commands; where one begins with many requests at once it may open
        # more than one connection before it knows that they can be shared.
        self.assertLess(len({connection for _, connection, *_ in seen}), 20)

    def test_connection_that_the_server_ends__is_replaced(self):
        """GOAWAY after each 20th request, with others under way."""
        front = self.front(tls=True, requests=20)
        self.whole_life()
        seen = self.seen(front)
        self.assertEqual({protocol for protocol, *_ in seen}, {"HTTP/2.0"})
        self.assertGreater(len({connection for _, connection, *_ in seen}), 20)

    def test_plain__speaks_version_1(self):
        front = self.front(tls=False)
        self.whole_life()
        self.assertEqual({protocol for protocol, *_ in self.seen(front)},
                         {"HTTP/1.1"})


if __name__ == "__main__":
    if NGINX is None:
        print("SKIPPED: there is no nginx here")
        sys.exit(77)
    unittest.main(verbosity=2)
