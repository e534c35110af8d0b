#!/usr/bin/python3
"""A server that forges deltas: between it and its client stands a proxy that puts other
fronts and loose deltas into answers for pages, which fit each other and give an older
version of the page. The client reads what was committed, or fails.

usage: forged.py SERVE [TEST …]
"""
import ctypes
import glob
import http.client
import http.server
import os
import random
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "vfs")]
SERVE = sys.argv.pop(1)

import common  # noqa: E402
from common import one  # noqa: E402
from served import Server  # noqa: E402

PAGE = 4096
Z = ctypes.CDLL("libzstd.so.1")
Z.ZSTD_findFrameCompressedSize.restype = ctypes.c_size_t
Z.ZSTD_findFrameCompressedSize.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
X = ctypes.CDLL("libxxhash.so.0")
X.XXH3_64bits.restype = ctypes.c_uint64
X.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def sum64(data):
    return X.XXH3_64bits(data, len(data)).to_bytes(8, "big")


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def raw_frame(content):
    """One that is not compressed."""
    return b"\x28\xb5\x2f\xfd\xa0" + len(content).to_bytes(4, "little") + \
        (len(content) << 3 | 1).to_bytes(3, "little") + content


def loose(pages, steps):
    """A record of the same steps for each of these pages."""
    runs, last = [], 0
    for page in pages:
        if runs and page == last + 1:
            runs[-1][1] += 1
        else:
            runs.append([page - last - 1, 0])
        last = page
    body = varint(len(runs)) + b"".join(varint(gap) + varint(more)
                                        for gap, more in runs)
    body += raw_frame(varint(len(steps) * len(pages)) + steps * len(pages))
    return b"\x05" + varint(len(body)) + body


SAME = b"\0\0\0"  # all of the base


class Records:
    def __init__(self, data):
        self.data, self.at = data, 0

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def __iter__(self):
        """(type, what stands before the length of a range, its bytes, the record)"""
        while self.at < len(self.data):
            start = self.at
            kind = self.data[self.at]
            self.at += 1
            before = self.at
            if kind == 0:
                self.varint()
            elif kind == 1:
                what = self.data[self.at]
                self.at += 1 + (16 if what & 32 else 0)
                if what & 3:
                    self.varint()
                if what & 3 != 1:
                    self.at += 16
                self.varint()
            before = self.data[start:self.at]
            body = b""
            if kind:
                assert kind in (1, 5), kind
                length = self.varint()
                body = self.data[self.at:self.at + length]
                self.at += length
            yield kind, before, body, self.data[start:self.at]


class Forger(http.server.ThreadingHTTPServer):
    """`forge` is asked what stands in the place of a block: (what stands before its length,
    its bytes, its pages, how long its front is)."""
    daemon_threads = True

    def __init__(self, port, blocks, forge):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port, self.blocks, self.forge, self.forged = port, blocks, forge, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a client that had enough of it

    def change(self, answer):
        out = b""
        for kind, before, body, record in Records(answer):
            pages = self.blocks.get(body[:24]) if kind == 1 else None
            if pages:
                self.forged += 1
                out += self.forge(before, body, pages,
                                  len(varint(len(pages))) + 8 * len(pages) + 8)
            elif kind != 5:
                out += record
        return out


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        link = http.client.HTTPConnection("127.0.0.1", self.server.port)
        link.request(self.command, self.path, body or None, {
            key: value for key, value in self.headers.items()
            if key.lower() not in ("host", "content-length", "connection")})
        answer = link.getresponse()
        data = answer.read()
        link.close()
        if "/pages" in self.path and answer.status == 200:
            data = self.server.change(data)
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("content-length", "transfer-encoding",
                                   "connection", "date", "server"):
                self.send_header(key, value)
        self.send_header("Content-Length", answer.getheader("Content-Length")
                         if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_HEAD = do


def blocks_of(segment, pages):
    """The pages of each block, by what it begins with; both go on to the end."""
    found, at = {}, 32
    while at < len(segment):
        reader = Records(segment)
        reader.at = at
        count = reader.varint()
        frame = reader.at + 8 * count + 8
        found[segment[at:at + 24]], pages = pages[:count], pages[count:]
        at = frame + Z.ZSTD_findFrameCompressedSize(segment[frame:],
                                                    len(segment) - frame)
    assert at == len(segment) and not pages, (at, pages)
    return found


def volume():
    """A server with a volume of two commits, the second with deltas alone; its blocks of
    them; each page as it was before; and what the rows hold."""
    common.load()
    os.makedirs("store")
    server = Server(SERVE, data=os.path.abspath("store"))
    draw = random.Random(5)
    db = common.open_db("a.db", sync="manual",
                        remote="http://127.0.0.1:%d/app" % server.port)
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO t(v) VALUES(?)",
                   (("%0200x" % draw.getrandbits(800),) for _ in range(9000)))
    db.execute("COMMIT")
    one(db, "SELECT ramet_push()")
    lsn = server.json("/v1/volumes/app/head")["lsn"]
    db.execute("BEGIN")
    db.executemany("UPDATE t SET v = ? WHERE id = ?",
                   (("%0200x" % draw.getrandbits(800), i)
                    for i in range(1, 9001, 4)))
    db.execute("COMMIT")
    one(db, "SELECT ramet_push()")
    rows = db.execute("SELECT id, v FROM t").fetchall()
    db.close()
    pages = [page for first, last in
             server.json("/v1/volumes/app/changes?after=%d" % lsn)["changed"]
             for page in range(first, last + 1)]
    _, _, before = server.request("GET", "/v1/volumes/app/content?at=%d" % lsn)
    folder = glob.glob("store/volumes/*/segments")[0]
    newest = max(os.listdir(folder))
    with open(os.path.join(folder, newest), "rb") as file:
        blocks = blocks_of(file.read(), pages)
    return server, blocks, {p: before[(p - 1) * PAGE:p * PAGE]
                            for p in pages}, rows


def read_through(server, blocks, rows, forge):
    """What somebody reads who has nothing."""
    forger = Forger(server.port, blocks, forge)
    db = common.open_db("view-%d.db" % forger.server_port, timeout=20,
                        replica="none",
                        remote="http://127.0.0.1:%d/app" % forger.server_port)
    assert db.execute("SELECT id, v FROM t").fetchall() == rows
    db.close()
    forger.shutdown()
    assert forger.forged > 3
    return forger.forged


def range_of(before, body):
    return before + varint(len(body)) + body


def test_forged_fronts_and_deltas_are_never_read():
    server, blocks, old, rows = volume()

    # The older version, under a front that says so.
    def older(before, body, pages, front):
        forged = varint(len(pages)) + b"".join(sum64(old[p]) for p in pages)
        return range_of(before, forged + bytes(8)) + loose(pages, SAME)

    # Under the right front; of pages that nobody asked for; of those of another page.
    def wrong(before, body, pages, front):
        return range_of(before, body[:front]) + loose(pages, SAME)

    def others(before, body, pages, front):
        return range_of(before, body[:front]) + \
            loose([p + 100000 for p in pages], SAME)

    # A record that ends early, one that is empty, one that is too long.
    def short(before, body, pages, front):
        record = loose(pages, SAME)
        return range_of(before, body[:front]) + b"\x05\x14" + record[3:23]

    def none(before, body, pages, front):
        return range_of(before, body[:front]) + b"\x05\x00"

    def long(before, body, pages, front):
        return range_of(before, body[:front]) + b"\x05" + varint(200000) + \
            bytes(200000)

    # A front that has more pages than there are bytes, and half a front.
    def many(before, body, pages, front):
        return range_of(before, b"\xff\x1f" + body[:front]) + \
            loose(pages, SAME)

    def half(before, body, pages, front):
        return range_of(before, body[:front // 2]) + loose(pages, SAME)

    # What the server sent, without its loose deltas.
    def honest(before, body, pages, front):
        return range_of(before, body)

    for forge in (honest, older, wrong, others, short, none, long, many, half):
        print("  %s: %d" % (forge.__name__,
                            read_through(server, blocks, rows, forge)))
    server.stop()


if __name__ == "__main__":
    common.main()
