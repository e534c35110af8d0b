"""An S3 service in memory that does what it is told, and goes wrong when it is
told to: for what no real gateway can be made to do. Beside them, not in their
place.

    fake = FakeS3()              # serves on 127.0.0.1 until fake.stop()
    fake.plan(Fault("503", method="PUT", key="commits/", times=2))
    fake.log                     # [Request], as they came

It honours `If-None-Match: *` under races, unless `racy`; looks at the SHA-256 of
bodies, and at who signed, but not at the signature itself.
"""
import base64
import hashlib
import http.server
import re
import socket
import socketserver
import ssl
import struct
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape


class Request:
    def __init__(self, method, key, query, headers):
        self.method, self.key, self.query = method, key, query
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.kind = self._kind()
        found = re.search(r"Credential=([^/]+)/",
                          self.headers.get("authorization", ""))
        self.signer = found.group(1) if found else None

    def _kind(self):
        if self.method == "GET" and "list-type" in self.query:
            return "list"
        return self.method.lower()

    def __repr__(self):
        return "%s %s %s" % (self.kind, self.key, self.query)


class Fault:
    """What is done to the next `times` requests that fit, after `skip` of them. Kinds: a status ("503",
    "403", …) with an S3 code; "lost": done, and the connection cut; "cut":
    not done, and the connection cut; "half": half the body; "reset": the same, and
    a reset in place of an end; "short": the first part of a range, said to be
    so; "long": more than the range; "all": the whole object for a range; "slow": the
    body in small pieces; "wrong": a byte of the body flipped; "other": the body of another object; "hang"."""

    def __init__(self, kind, method=None, key="", code="", times=1, headers=(),
                 skip=0):
        self.skip = skip
        self.kind, self.method, self.key = kind, method, key
        self.code, self.times, self.headers = code, times, dict(headers)

    def fits(self, request):
        return self.times > 0 and self.key in request.key and \
            self.method in (None, request.method)


class Gate:
    """Requests for keys with `key` in them, after `skip` of these, are answered
    once `count` of them wait at the same time, or after `patience_s`; it stays open
    then."""

    def __init__(self, key, count, skip, patience_s):
        self.key, self.count, self.skip = key, count, skip
        self.patience_s = patience_s
        self.waiting, self.opened = 0, False
        self.condition = threading.Condition()

    def pass_through(self, request):
        if self.key not in request.key:
            return
        with self.condition:
            if self.skip > 0:
                self.skip -= 1
                return
            self.waiting += 1
            self.opened = self.opened or self.waiting >= self.count
            self.condition.notify_all()
            self.condition.wait_for(lambda: self.opened, self.patience_s)
            self.waiting -= 1


CODES = {"503": "SlowDown", "500": "InternalError", "403": "AccessDenied",
         "404": "NoSuchBucket"}


class FakeS3:
    def __init__(self, bucket="bucket", racy=False, page=1000, signers=None,
                 certificate=None):
        self.bucket, self.racy, self.page = bucket, racy, page
        self.signers = signers  # None: anybody, signed or not
        self.objects, self.uploads, self.log, self.faults = {}, {}, [], []
        self.unlisted = ()  # parts of keys that no list shows
        self.lists_stuck = False  # a page without keys, and another like it
        self.lists_all = False  # whatever the prefix
        self.hooks = []  # functions of a request that is to be answered
        # (method, path): function(request, body) -> bytes; or a status, or None:
        # the connection is cut
        self.extra = {}
        self.instead = None  # function(request, body): such an answer, or ...: as usual
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        fake = self

        class Handler(_Handler):
            service = fake

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        if certificate:  # a file with it and its key
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True,
                do_handshake_on_connect=False)
            self.url = self.url.replace("http://", "https://")
        threading.Thread(target=self.server.serve_forever, daemon=True,
                         kwargs={"poll_interval": 0.05}).start()

    def stop(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()

    def plan(self, *faults):
        with self.lock:
            self.faults += faults

    def gate(self, key, count, skip=0, patience_s=10):
        gate = Gate(key, count, skip, patience_s)
        self.hooks.append(gate.pass_through)
        return gate

    def forget(self):
        with self.lock:
            self.log.clear()

    def kinds(self):
        """How many requests of each kind came since forget()."""
        counts = {}
        with self.lock:
            for request in self.log:
                counts[request.kind] = counts.get(request.kind, 0) + 1
        return counts

    def note(self, request):
        with self.lock:
            self.log.append(request)
            for fault in self.faults:
                if fault.fits(request):
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def put(self, key, body, if_absent):
        if self.racy and if_absent:
            there = key in self.objects
            time.sleep(0.002)
            if there:
                return False
            self.objects[key] = body
            return True
        with self.lock:
            if if_absent and key in self.objects:
                return False
            self.objects[key] = body
            return True


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128
    accepted = 0  # connections so far
    more = threading.Condition()

    def get_request(self):
        found = super().get_request()
        with self.more:
            self.accepted += 1
            self.more.notify_all()
        return found

    def wait_for_accepted(self, count, patience_s=20):
        with self.more:
            self.more.wait_for(lambda: self.accepted >= count, patience_s)
            return self.accepted

    def handle_error(self, request, client_address):
        pass  # a peer that left


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_any(self):
        split = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        extra = self.service.extra.get((self.command, split.path))
        query = dict(urllib.parse.parse_qsl(split.query,
                                            keep_blank_values=True))
        path = urllib.parse.unquote(split.path).lstrip("/")
        bucket, _, key = path.partition("/")
        request = Request(self.command, key, query, self.headers)
        if extra is not None:
            self.answer_extra(extra(request, body))
            return
        fault = self.service.note(request)
        other = self.service.instead(request, body) if self.service.instead else ...
        if other is not ...:
            self.answer_extra(other)
            return
        for hook in self.service.hooks:
            hook(request)
        if fault is not None and self.go_wrong(fault, request):
            return
        self.fault = fault
        self.act(bucket, request, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def answer_extra(self, answer):
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(2)
        elif isinstance(answer, int):
            self.fail(answer, "AsPlanned")
        else:
            self.answer(200, answer)

    def go_wrong(self, fault, request):
        """True: that is all."""
        if fault.kind == "cut":
            self.close_connection = True
            self.connection.shutdown(2)
        elif fault.kind == "hang":
            self.service.stopped.wait(60)
            self.close_connection = True
        elif fault.kind.isdigit():
            self.fail(int(fault.kind),
                      fault.code or CODES.get(fault.kind, "Unknown"),
                      fault.headers)
        else:
            return False
        return True

    def act(self, bucket, request, body):
        service = self.service
        sent = request.headers.get("x-amz-content-sha256")
        if bucket != service.bucket:
            self.fail(404, "NoSuchBucket")
        elif service.signers is not None and \
                request.signer not in service.signers:
            self.fail(403, "ExpiredToken" if request.signer else "AccessDenied")
        elif sent and sent != hashlib.sha256(body).hexdigest():
            self.fail(400, "XAmzContentSHA256Mismatch")
        elif request.kind == "list":
            self.list(request.query)
        elif request.method in ("GET", "HEAD"):
            self.get(request)
        elif request.method == "PUT":
            self.put(request, body)
        elif request.method == "POST":
            self.post(request, body)
        else:
            service.uploads.pop(request.query.get("uploadId"), None) \
                if "uploadId" in request.query else \
                service.objects.pop(request.key, None)
            self.answer(204, b"")

    def get(self, request):
        data = self.service.objects.get(request.key)
        if data is None:
            self.fail(404, "NoSuchKey")
            return
        if self.fault is not None and self.fault.kind == "other":
            data = next(other for key, other in
                        sorted(self.service.objects.items())
                        if key != request.key and len(other) >= len(data))
        found = re.match(r"bytes=(\d+)-(\d+)$", request.headers.get("range",
                                                                    ""))
        headers, status = {"ETag": '"x"'}, 200
        if found and (self.fault is None or self.fault.kind != "all"):
            first, last = int(found.group(1)), int(found.group(2))
            if first >= len(data):
                self.fail(416, "InvalidRange",
                          {"Content-Range": "bytes */%d" % len(data)})
                return
            part = data[first:last + 1]
            if self.fault is not None and self.fault.kind == "short":
                part = part[:len(part) // 8]
            if self.fault is not None and self.fault.kind == "long":
                part += b"x" * 70000
            headers["Content-Range"] = "bytes %d-%d/%d" % (
                first, first + len(part) - 1, len(data))
            data, status = part, 206
        self.answer(status, data, headers)

    def put(self, request, body):
        if "uploadId" in request.query:
            upload = self.service.uploads.get(request.query["uploadId"])
            if upload is None:
                self.fail(404, "NoSuchUpload")
                return
            number = int(request.query["partNumber"])
            upload[number] = body
            self.answer(200, b"", {"ETag": '"%d"' % number})
        elif self.service.put(request.key, body,
                              request.headers.get("if-none-match") == "*"):
            self.answer(200, b"", {"ETag": '"x"'})
        else:
            self.fail(412, "PreconditionFailed")

    def post(self, request, body):
        service = self.service
        if "delete" in request.query:
            self.delete_many(request, body)
            return
        if "uploads" in request.query:
            name = "up/%d+=" % len(service.log)
            service.uploads[name] = {}
            self.answer(200, ("<InitiateMultipartUploadResult><UploadId>%s"
                              "</UploadId></InitiateMultipartUploadResult>" %
                              name).encode())
            return
        parts = service.uploads.pop(request.query.get("uploadId"), None)
        if parts is None:
            self.fail(404, "NoSuchUpload")
            return
        numbers = re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)
        service.put(request.key, b"".join(parts[int(number)]
                                          for number in numbers), False)
        self.answer(200, b"<CompleteMultipartUploadResult/>")

    def delete_many(self, request, body):
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        if request.headers.get("content-md5") != md5:
            self.fail(400, "BadDigest")
            return
        for key in re.findall(rb"<Key>([^<]*)</Key>", body):
            self.service.objects.pop(key.decode(), None)
        self.answer(200, b"<DeleteResult/>")

    def list(self, query):
        if self.service.lists_stuck:
            self.answer(200, b"<ListBucketResult><IsTruncated>true</IsTruncated>"
                        b"<NextContinuationToken>more</NextContinuationToken>"
                        b"</ListBucketResult>")
            return
        prefix = "" if self.service.lists_all else query.get("prefix", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        most = min(int(query.get("max-keys", 1000)), self.service.page)
        with self.service.lock:
            keys = sorted(key for key in self.service.objects
                          if key.startswith(prefix) and key > after and
                          not any(part in key
                                  for part in self.service.unlisted))
            rows = "".join("<Contents><Key>%s</Key><Size>%d</Size></Contents>" %
                           (escape(key), len(self.service.objects[key]))
                           for key in keys[:most])
        more = len(keys) > most
        self.answer(200, (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3">%s'
            "<IsTruncated>%s</IsTruncated>%s</ListBucketResult>" % (
                rows, "true" if more else "false",
                "<NextContinuationToken>%s</NextContinuationToken>" %
                escape(keys[most - 1]) if more else "")).encode())

    def fail(self, status, code, headers=()):
        self.answer(status, ("<Error><Code>%s</Code><Message>as planned"
                             "</Message></Error>" % code).encode(),
                    dict(headers))

    def answer(self, status, body, headers=()):
        fault = getattr(self, "fault", None)
        kind = fault.kind if fault is not None else None
        if kind == "lost":
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind == "wrong" and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if self.command == "HEAD":
            return
        if kind in ("half", "reset"):
            self.wfile.write(body[:len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            if kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                           struct.pack("ii", 1, 0))
                self.connection.close()
            else:
                self.connection.shutdown(2)
            return
        if kind == "slow":
            for at in range(0, len(body), 1 + len(body) // 20):
                self.wfile.write(body[at:at + 1 + len(body) // 20])
                self.wfile.flush()
                time.sleep(0.02)
            return
        self.wfile.write(body)
