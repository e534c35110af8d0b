#!/usr/bin/python3
"""A server whose store is far: what one request needs of a bucket is asked for at
once, and a statement's pages before it reads them. The bucket holds its answers back
until so many requests wait side by side (tests/support/fake_s3.py): one that asks for
one thing after the other never gets there. Nothing here looks at a clock.

usage: far.py SERVE ASK DATABASES [TEST …]
"""
import json
import os
import sqlite3
import subprocess
import sys
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "vfs"),
                os.path.join(HERE, "..", "support")]
SERVE = sys.argv.pop(1)
ASK = sys.argv.pop(1)
DATABASES = sys.argv.pop(1)

import common  # noqa: E402
from common import one  # noqa: E402
from fake_s3 import FakeS3  # noqa: E402
from served import Server  # noqa: E402

SIDE_BY_SIDE = 16
LOOKUP = ("SELECT sum(length(bio)) FROM (SELECT bio FROM people WHERE city = "
          "'city07' AND created > 100000 ORDER BY created LIMIT 300)")
TABLES = 40


class Far:
    """The database that `script` makes, in a bucket, and a server that knows
    nothing of it."""

    def __init__(self, script):
        common.load()
        self.bucket = FakeS3()
        url = "s3://bucket/store/db?endpoint=" + self.bucket.url
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("AWS_", "RAMET_S3"))}
        environment.update(
            AWS_ACCESS_KEY_ID="AKTEST", AWS_SECRET_ACCESS_KEY="SKTEST",
            AWS_EC2_METADATA_DISABLED="true", RAMET_S3_HEDGE="off",
            AWS_ENDPOINT_URL_S3=self.bucket.url, HOME=os.getcwd(),
            XDG_CACHE_HOME=os.path.abspath("cache"))
        self.native = sqlite3.connect("native.db", isolation_level=None)
        self.native.executescript(script)
        subprocess.run([os.environ["RAMET_COMMAND"], "init", "native.db",
                        "--quiet", "--remote", url], check=True,
                       env=environment)
        self.server = Server(SERVE, store=url.replace("/db?", "?"),
                             env=environment, prefetch_queries="on",
                             prefetch_helper=ASK)

    def url(self):
        return "http://127.0.0.1:%d/db" % self.server.port

    def view(self):
        return common.open_db("view.db", timeout=60, replica="none",
                              fetch_timeout_ms=60000, remote=self.url())

    def gate(self, patience_s=1):
        """What is asked for alone is let through after a while."""
        return self.bucket.gate("/segments/", SIDE_BY_SIDE,
                                patience_s=patience_s)

    def end(self):
        self.server.stop()
        self.bucket.stop()
        self.native.close()


def recipe(name):
    with open(os.path.join(DATABASES, name + ".sql"), encoding="utf-8") as file:
        return file.read()


def varint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def request_for(wanted):
    """Pages of LSN 1 (docs/protocol.md, "Pages")."""
    body = bytes([1, 0]) + varint(1) + varint(len(wanted))
    before = 0
    for pgno in wanted:
        body += varint(2 * (pgno - before - 1)) + varint(0)
        before = pgno
    return body


def test_pages_of_one_request_are_asked_for_side_by_side():
    far = Far(recipe("fragmented"))
    wanted = range(100, 3000, 45)  # each in a block of its own
    gate = far.gate()
    status, _, answer = far.server.request(
        "POST", "/v1/volumes/db/pages", request_for(wanted),
        {"Content-Type": "application/octet-stream"})
    assert status == 200 and len(answer) > 64 * 100, (status, len(answer))
    assert gate.opened, "no %d requests waited side by side" % SIDE_BY_SIDE
    far.end()


def test_pages_of_a_question_come_before_it_reads_them():
    far = Far(recipe("people"))
    gate = far.gate(.3)  # a question has five seconds
    request = urllib.request.Request(
        far.url().replace("/db", "/v1/volumes/db/prefetch"),
        data=json.dumps({"sql": LOOKUP}).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert answer.headers["Ramet-Stopped"] is None
        assert len(answer.read()) > 300 * 500
    assert gate.opened, "no %d requests waited side by side" % SIDE_BY_SIDE
    read = far.server.metric("ramet_question_pages_total")
    ahead = far.server.metric("ramet_prefetched_pages_total")
    used = far.server.metric("ramet_prefetch_used_total")
    vain = far.server.metric("ramet_prefetch_vain_total")
    print("  %d pages read; %d brought ahead, %d of them in vain" %
          (read, ahead, vain))
    assert used >= read * .6 and ahead == used + vain, (read, ahead, used, vain)
    assert vain <= used + 60, (used, vain)
    far.end()


def test_opening_looks_at_all_trees_at_once():
    script = "".join(
        "CREATE TABLE t%d(id INTEGER PRIMARY KEY, v);"
        "INSERT INTO t%d(v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT "
        "i + 1 FROM n WHERE i < 30) SELECT randomblob(3900) FROM n;" % (n, n)
        for n in range(TABLES))
    far = Far(script)
    gate = far.gate()
    db = far.view()
    assert one(db, "SELECT count(*) FROM sqlite_schema") == TABLES
    db.close()
    assert gate.opened, "no %d requests waited side by side" % SIDE_BY_SIDE
    far.end()


if __name__ == "__main__":
    common.main()
