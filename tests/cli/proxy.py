"""A server between the client and the real one, in which a test decides what
becomes of each request."""
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEPT = ("range", "content-type", "if-none-match", "accept", "authorization")


class Proxy:
    """`hook(method, path, forward)` answers: `forward()` passes the request on
    and gives (status, headers, body); None cuts the connection off. A body that is
    a function is called when the headers are out, and ends with the connection."""

    def __init__(self, upstream_port, hook=None):
        self.upstream_port = upstream_port
        self.hook = hook or (lambda method, path, forward: forward())
        self.requests = []  # (method, path, authorization)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def body(self):
                if "chunked" in self.headers.get("transfer-encoding", ""):
                    out = b""
                    while True:
                        n = int(self.rfile.readline(), 16)
                        out += self.rfile.read(n)
                        self.rfile.readline()
                        if n == 0:
                            return out
                return self.rfile.read(int(self.headers.get("content-length",
                                                            "0")))

            def answer(self):
                body = self.body()
                proxy.requests.append((self.command, self.path,
                                       self.headers.get("authorization")))
                reply = proxy.hook(self.command, self.path,
                                   lambda: self.forward(body))
                if reply is None:
                    self.close_connection = True
                    return
                status, headers, data = reply
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "connection",
                                            "content-length"):
                        self.send_header(name, value)
                if callable(data):
                    self.send_header("Connection", "close")
                    self.end_headers()
                    self.wfile.flush()
                    data()
                    return
                length = dict((n.lower(), v) for n, v in headers).get(
                    "content-length", "0") if self.command == "HEAD" \
                    else str(len(data))
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def forward(self, body):
                if "/events" in self.path or self.path.endswith("/news"):
                    return 503, [], b""
                conn = http.client.HTTPConnection("127.0.0.1",
                                                  proxy.upstream_port,
                                                  timeout=30)
                conn.request(self.command, self.path, body or None,
                             {name: value for name, value
                              in self.headers.items() if name.lower() in KEPT})
                reply = conn.getresponse()
                result = reply.status, reply.getheaders(), reply.read()
                conn.close()
                return result

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *args: None
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       args=(0.05,), daemon=True)
        self.thread.start()

    def url(self, name=""):
        return "http://127.0.0.1:%d/%s" % (self.port, name)

    def count(self, part):
        return sum(1 for _, path, _ in self.requests if part in path)

    def tokens(self):
        return {token for _, _, token in self.requests}

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
