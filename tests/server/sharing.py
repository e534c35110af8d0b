#!/usr/bin/python3
"""What two requests for pages both need comes once: what a server leaves out of an answer
because the client has it or asked for it elsewhere, and what that saves. Bytes and
ranges, never seconds.

usage: sharing.py SERVE [TEST …]
"""
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "vfs")]
SERVE = sys.argv.pop(1)

import common  # noqa: E402
from common import one  # noqa: E402
from served import Server  # noqa: E402

METADATA, DICTIONARIES, LOOSE = 1, 2, 16


def serve():
    common.load()
    os.makedirs("store", exist_ok=True)
    return Server(SERVE, data=os.path.abspath("store"))


def push(server, name, rows, commits, changed, words=False, **parameters):
    """A volume of so many rows, and then of commits of rows at random: a number of
    each changes, or (`words`) all of its text."""
    draw = random.Random(7)
    db = common.open_db(name + "-a.db", sync="manual",
                        remote="http://127.0.0.1:%d/%s" % (server.port, name),
                        **parameters)
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, v TEXT)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO t(n, v) VALUES(?, ?)",
                   ((i, "%0400x" % draw.getrandbits(800)) for i in range(rows)))
    db.execute("COMMIT")
    one(db, "SELECT ramet_push()")
    for _ in range(commits):
        db.execute("BEGIN")
        some = draw.sample(range(1, rows + 1), changed)
        if words:
            db.executemany("UPDATE t SET v = ? WHERE id = ?",
                           (("%0400x" % draw.getrandbits(800), i)
                            for i in some))
        else:
            db.executemany("UPDATE t SET n = n + 1 WHERE id = ?",
                           ((i,) for i in some))
        db.execute("COMMIT")
        one(db, "SELECT ramet_push()")
    db.close()


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count:self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value


def pageset(data):
    last, pages = 0, []
    for _ in range(data.varint()):
        first = last + data.varint() + 1
        last = first + data.varint()
        pages += range(first, last + 1)
    return pages


def ask(server, name, lsn, first, last, flags, query=""):
    """(status, ranges as (object, id, offset, length), in their order). Pages whose
    deltas come loose stand among them as ("loose", page)."""
    body = bytes([1, flags]) + varint(lsn) + varint(1) + \
        varint(2 * (first - 1)) + varint(last - first)
    status, _, answer = server.request(
        "POST", "/v1/volumes/%s/pages%s" % (name, query), body,
        {"Content-Type": "application/vnd.ramet.pages"})
    if status != 200:
        return status, []
    ranges, data = [], Reader(answer)
    while True:
        kind = data.take(1)[0]
        if kind == 0:
            assert data.varint() == sum(r[0] != "loose" for r in ranges)
            return status, ranges
        if kind == 5:
            ranges += [("loose", page) for page in
                       pageset(Reader(data.take(data.varint())))]
            continue
        assert kind == 1
        what = data.take(1)[0]
        assert not what & 32
        key = (what & 3, data.varint() if what & 3 else 0,
               data.take(16) if what & 3 != 1 else b"")
        offset, length = data.varint(), data.varint()
        data.take(length)
        ranges.append((*key, offset, length))


def test_what_is_here_or_comes_is_left_out():
    server = serve()
    push(server, "shared", 2000, 4, 100)
    lsn = server.json("/v1/volumes/shared/head")["lsn"]
    pages = server.json("/v1/volumes/shared/head")["page_count"]

    def wanted(query="", flags=METADATA | DICTIONARIES, first=101, last=170):
        status, ranges = ask(server, "shared", lsn, first, last, flags, query)
        assert status == 200, status
        return ranges

    # Pages that have a delta, in the same block as one of those that are asked for.
    all_of_it = wanted()
    frames = {page: wanted("", 0, page, page) for page in range(2, 101)}
    page = next(p for p in frames
                if len(frames[p]) == 2 and frames[p][1] in all_of_it)
    block = frames[page][1]
    leading = [r for r in wanted("", METADATA, page, page)
               if r not in frames[page]]
    assert leading and all(r in all_of_it for r in leading[:-1]), leading
    assert wanted("?comes=%d" % page) == [r for r in all_of_it if r != block]
    here = wanted("?has=%d" % page)
    assert here == [r for r in all_of_it if r != block and r not in leading]
    assert len(here) < len(all_of_it) - 1
    assert wanted("?has=%d&comes=" % page, 0) == \
        [r for r in wanted("", 0) if r != block]
    # All images come, whatever is named: pages that are asked for as well, some twice,
    # and some that there are not.
    images = [r for p in range(101, 171)
              for r in wanted("", 0, p, p)[:1]]
    for query in ("?has=2-257", "?comes=101-170,101-170", "?has=%d&comes=%d" %
                  (pages + 1, 2 ** 32 - 1), "?has=4294967295,101,101"):
        got = wanted(query)
        assert all(image in got for image in images), query
    assert wanted("?has=&comes=") == all_of_it
    assert wanted("?unheard=of") == all_of_it
    for query in ("has=0", "has=5-4", "has=x", "has=5,", "has=,5", "has=5-",
                  "comes=1-257", "comes=1-200,1-57", "has=4294967296", "has=-5",
                  "comes=99999999999999999999", "has=5;6"):
        assert ask(server, "shared", lsn, 1, 1, 0, "?" + query)[0] == 400, query
    server.stop()


def test_loose_deltas_come_with_the_fronts_of_their_blocks():
    server = serve()
    push(server, "loose", 6000, 4, 600, words=True)
    push(server, "short", 6000, 1, 600)
    lsn = server.json("/v1/volumes/loose/head")["lsn"]

    def wanted(first, last, query="", flags=LOOSE, name="loose", at=lsn):
        status, ranges = ask(server, name, at, first, last, flags, query)
        assert status == 200, status
        return (ranges, [r for r in ranges if r[0] == "loose"],
                {r[:4]: r[4] for r in ranges if r[0] != "loose"})

    # What stands whole in the one stands by its front in the other, for who asks for
    # as many pages as a scan; and each page that has a delta is among the loose ones.
    whole, none, places = wanted(101, 228, flags=0)
    assert not none
    ranges, loose, fronts = wanted(101, 228)
    assert fronts.keys() == places.keys()
    cut = {place for place, length in fronts.items() if length != places[place]}
    assert cut and all(0 < fronts[p] < places[p] / 4 for p in cut)
    has_delta = [page for page in range(101, 229)
                 if any(place in cut for place in
                        list(wanted(page, page, flags=0)[2])[1:])]
    assert sorted(r[1] for r in loose) == has_delta
    octets = [sum(r[4] for r in part if r[0] != "loose")
              for part in (whole, ranges)]
    assert octets[1] < octets[0]
    # Of each slice of 64 pages: fronts, deltas, images.
    kinds = [r[0] == "loose" for r in ranges]
    assert kinds.index(True) < 60 and not kinds[-1]
    assert sum(now and not then for then, now in zip(kinds, kinds[1:])) == 2
    # Who asks for few gets whole blocks; but of one that he named only the delta.
    page = loose[0][1]
    few, none, _ = wanted(page, page)
    image, block = wanted(page, page, flags=0)[0]
    assert not none and few == [block, image]
    other = next(p for p in has_delta if p != page and
                 wanted(p, p)[0][0] == block)
    for query in ("?has=%d" % other, "?comes=%d" % other):
        assert wanted(page, page, query)[0] == [("loose", page), image]
        rest = wanted(101, 228, query)
        assert rest[1] == loose
        assert fronts.keys() - rest[2].keys() == {block[:4]}
    # Short ones: whole, or not at all.
    at = server.json("/v1/volumes/short/head")["lsn"]
    ranges, loose, places = wanted(101, 228, name="short", at=at)
    assert not loose and places == wanted(101, 228, "", 0, "short", at)[2]
    pairs = {p: wanted(p, p, "", 0, "short", at)[0] for p in range(101, 229)}
    page = next(p for p in pairs if len(pairs[p]) == 2)
    assert wanted(101, 228, "?has=%d" % page, name="short", at=at)[0] == \
        [r for r in ranges if r != pairs[page][1]]
    server.stop()


def scan(server, name):
    """Bytes for all rows, with nothing here."""
    db = common.open_db(name + "-view.db", timeout=20, replica="none",
                        remote="http://127.0.0.1:%d/%s" % (server.port, name))
    assert one(db, "SELECT sum(length(v)) FROM t") == 12000 * 400
    octets = one(db, "SELECT fetched_bytes FROM ramet_status")
    db.close()
    return octets


def test_blocks_of_deltas_come_once():
    """Each of 60 commits has changed pages all over the volume: its blocks have pages of
    every request."""
    server = serve()
    push(server, "deltas", 12000, 60, 110)
    push(server, "images", 12000, 60, 110, bases_limit="0")
    octets = {name: scan(server, name) for name in ("deltas", "images")}
    server.stop()
    print("  %s" % octets)
    assert octets["deltas"] <= 1.25 * octets["images"], octets


if __name__ == "__main__":
    common.main()
