#!/usr/bin/python3
"""Warm profiles: a process that begins with the name of one has what the last such
read, by an opening and one request. Each start is a process of its own with nothing
here; requests and pages are counted, never seconds.

usage: warm.py SERVE DATABASES [TEST …]
"""
import ctypes
import glob
import json
import os
import sqlite3
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "vfs")]
SERVE = sys.argv.pop(1)
DATABASES = sys.argv.pop(1)

import common  # noqa: E402
from common import one  # noqa: E402
from served import Server  # noqa: E402

QUESTIONS = (
    "SELECT sum(length(bio)) FROM people WHERE id BETWEEN 500 AND 520",
    "SELECT length(bio) FROM people WHERE id = 77",
    "SELECT name FROM people ORDER BY name LIMIT 20",
    "SELECT sum(length(bio)) FROM (SELECT bio FROM people WHERE city = "
    "'city07' AND created > 100000 ORDER BY created LIMIT 50)",
    "SELECT max(created) FROM people WHERE city = 'city11'",
)
OTHERS = ("SELECT length(bio) FROM people WHERE id = 2900",)

# Whatever a process does that opens a database: the questions, and what it cost.
START = """
import json, sys
sys.path.insert(0, sys.argv[1])
import common
path, parameters, questions = json.loads(sys.argv[2])
db = common.open_db(path, timeout=20, **parameters)
answers = [common.rows(db, sql) for sql in questions]
cost = common.rows(db, "SELECT requests, fetched_pages, fetched_bytes, "
                   "prefetched_pages FROM ramet_status")[0]
db.close()
print(json.dumps([answers, cost]))
"""


class Cost:
    def __init__(self, row):
        self.requests, self.pages, self.bytes, self.predicted = row


class Volume:
    """`people` on a server."""

    def __init__(self, **options):
        common.load()
        os.makedirs("store", exist_ok=True)
        self.starts = 0
        self.native = sqlite3.connect("people.db", isolation_level=None)
        with open(os.path.join(DATABASES, "people.sql"),
                  encoding="utf-8") as file:
            self.native.executescript(file.read())
        self.store = "file://%s/people" % os.path.abspath("store")
        self.writer = common.open_db("writer.db", sync="manual",
                                     remote=self.store)
        self.native.backup(self.writer)
        one(self.writer, "SELECT ramet_push()")
        self.server = Server(SERVE, data=os.path.abspath("store"), **options)
        self.url = "http://127.0.0.1:%d/people" % self.server.port

    def start(self, questions, env=None, **parameters):
        self.starts += 1
        parameters.setdefault("sync", "manual")
        parameters.setdefault("remote", self.url)
        done = subprocess.run(
            [sys.executable, "-c", START, os.path.join(HERE, "..", "vfs"),
             json.dumps(["start%d.db" % self.starts, parameters, questions])],
            stdout=subprocess.PIPE, check=True, text=True,
            env=dict(os.environ, **(env or {})))
        answers, cost = json.loads(done.stdout)
        assert answers == [[list(row) for row in self.native.execute(sql)]
                           for sql in questions]
        return Cost(cost)

    def profiles(self):
        return sorted("/".join(path.split("/")[-2:]) for path in
                      glob.glob("store/volumes/*/profiles/*/*"))

    def end(self):
        self.writer.close()
        self.server.stop()


def seq(number):
    return "%016x" % (2 ** 64 - 1 - number)


def check_second_start(**parameters):
    volume = Volume()
    cold = volume.start(QUESTIONS, **parameters)
    first = volume.start(QUESTIONS, profile="web", **parameters)
    second = volume.start(QUESTIONS, profile="web", **parameters)
    print("  requests: %d, %d, %d; bytes: %d, %d, %d" % (
        cold.requests, first.requests, second.requests,
        cold.bytes, first.bytes, second.bytes))
    assert first.requests > 10, first.requests
    # What a name stands for, the head, pages, the profile; then its pages.
    assert second.requests == 2, second.requests
    assert second.predicted == 0, second.predicted
    assert second.bytes <= first.bytes, (second.bytes, first.bytes)
    assert volume.profiles() == ["web/" + seq(1)]
    volume.end()


def test_the_second_start_is_an_opening_and_one_request():
    check_second_start()


def test_the_second_start_of_a_stateless_reader_is_two_requests_as_well():
    check_second_start(replica="none")


def test_an_environment_variable_names_it_too():
    volume = Volume()
    volume.start(QUESTIONS, {"RAMET_PROFILE": "web"})
    assert volume.profiles() == ["web/" + seq(1)]
    assert volume.start(QUESTIONS, {"RAMET_PROFILE": "web"}).requests == 2
    assert volume.start(QUESTIONS, {"RAMET_PROFILE": "web"},
                        profile="").requests > 10
    volume.end()


def test_a_profile_of_another_commit_still_helps():
    volume = Volume()
    volume.start(QUESTIONS, profile="web")
    for db in volume.native, volume.writer:
        db.execute("UPDATE people SET bio = bio || '!' WHERE id < 10")
    one(volume.writer, "SELECT ramet_push()")
    assert volume.start(QUESTIONS, profile="web").requests <= 4
    volume.end()


def test_what_is_read_no_more_is_brought_no_more():
    """Two starts that ask for something else, and what was asked before is gone."""
    volume = Volume()
    sizes = []
    for questions in QUESTIONS, OTHERS, OTHERS:
        volume.start(questions, profile="web")
        sizes.append(os.path.getsize(
            glob.glob("store/volumes/*/profiles/web/*")[0]))
    print("  bytes of the profile: %s" % sizes)
    assert sizes[0] > 150 and sizes[1] > 150 and sizes[2] < 100, sizes
    assert volume.profiles() == ["web/" + seq(3)]
    volume.end()


def test_a_directory_and_its_server_share_a_profile():
    volume = Volume()
    volume.start(QUESTIONS, profile="web", remote=volume.store)
    assert volume.profiles() == ["web/" + seq(1)]
    again = volume.start(QUESTIONS, profile="web")
    assert again.requests == 2, again.requests
    again = volume.start(QUESTIONS, profile="web", remote=volume.store)
    assert again.predicted == 0, again.predicted
    volume.end()


def test_who_may_not_write_uses_what_is_there_and_leaves_nothing():
    with tempfile.NamedTemporaryFile("w") as tokens:
        tokens.write("secret-of-writers\nro:secret-of-readers\n")
        tokens.flush()
        volume = Volume(token_file=tokens.name)
        read = {"RAMET_TOKEN": "secret-of-readers"}
        write = {"RAMET_TOKEN": "secret-of-writers"}
        volume.start(QUESTIONS, read, profile="web")
        volume.start(QUESTIONS, write, profile="web", mode="ro")
        assert volume.profiles() == []
        volume.start(QUESTIONS, write, profile="web")
        assert volume.profiles() == ["web/" + seq(1)]
        assert volume.start(QUESTIONS, read, profile="web").requests == 2
        volume.start(OTHERS, read, profile="web")
        assert volume.profiles() == ["web/" + seq(1)]
        volume.end()


def put(volume, name, number, body):
    vid = glob.glob("store/volumes/*")[0].split("/")[-1]
    request = urllib.request.Request(
        "http://127.0.0.1:%d/v1/volumes/%s/profiles/%s/%s" % (
            volume.server.port, vid, name, seq(number)), data=body,
        method="PUT", headers={"If-None-Match": "*"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def hash128(data):
    library = ctypes.CDLL("libxxhash.so.0")
    library.XXH3_128bits.restype = Hash128
    library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    found = library.XXH3_128bits(data, len(data))
    return struct.pack(">QQ", found.high, found.low)


def recorded_at(body, name, lsn):
    """The same profile, but recorded at another LSN."""
    front = body[:32] + struct.pack("<Q", lsn) + body[40:-16]
    return front + hash128(hash128(name.encode()) + hash128(front))


def test_a_server_takes_what_is_a_profile_and_nothing_else():
    volume = Volume()
    volume.start(QUESTIONS, profile="web")
    path = glob.glob("store/volumes/*/profiles/web/*")[0]
    with open(path, "rb") as file:
        body = file.read()
    assert put(volume, "web", 1, body) == 412
    assert put(volume, "web", 2, body) == 422  # of number 1
    assert put(volume, "other", 1, body) == 422  # of another name
    assert put(volume, "other", 1, body[:-1] + b"?") == 422
    assert put(volume, "other", 1, b"") == 422
    assert put(volume, "other", 1, bytes(40000)) == 413
    os.remove(path)
    lsn = struct.unpack_from("<Q", body, 32)[0]
    assert recorded_at(body, "web", lsn) == body
    assert put(volume, "web", 1, recorded_at(body, "web", lsn + 1)) == 422
    assert put(volume, "web", 1, body) == 201
    assert volume.start(QUESTIONS, profile="web").requests == 2
    volume.end()


def test_what_an_opening_was_told_is_no_answer_to_a_later_fetch():
    """The second opening asks for its profile, and is told of the newest commit with
    it; a commit after that is newer."""
    volume = Volume()
    first = common.open_db("a.db", timeout=20, remote=volume.url, replica="none")
    count = one(first, "SELECT count(*) FROM people")
    view = common.open_db("b.db", timeout=20, remote=volume.url, replica="none",
                          profile="web")
    assert one(view, "SELECT count(*) FROM people") == count
    volume.writer.execute("INSERT INTO people(name) VALUES('late')")
    pushed = one(volume.writer, "SELECT ramet_push()")
    assert one(view, "SELECT ramet_fetch()") == pushed
    assert one(view, "SELECT count(*) FROM people") == count + 1
    view.close()
    first.close()
    volume.end()


def test_what_an_opening_was_told_is_no_answer_to_the_next_opening():
    volume = Volume()
    first = common.open_db("a.db", timeout=20, remote=volume.url, replica="none")
    count = one(first, "SELECT count(*) FROM people")
    told = common.open_db("b.db", timeout=20, remote=volume.url, replica="none",
                          profile="web")
    volume.writer.execute("INSERT INTO people(name) VALUES('late')")
    volume.writer.execute("SELECT ramet_push()").fetchone()
    view = common.open_db("c.db", timeout=20, remote=volume.url, replica="none")
    assert one(view, "SELECT count(*) FROM people") == count + 1
    for db in (first, told, view):
        db.close()
    volume.end()


def test_a_damaged_profile_keeps_nobody_from_reading():
    volume = Volume()
    volume.start(QUESTIONS, profile="web")
    path = glob.glob("store/volumes/*/profiles/web/*")[0]
    with open(path, "r+b") as file:
        file.seek(60)
        file.write(b"\xff\xff\xff")
    assert volume.start(QUESTIONS, profile="web").requests > 10
    volume.end()


if __name__ == "__main__":
    common.main()
