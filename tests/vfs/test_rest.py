#!/usr/bin/python3
"""hydrate=auto: the rest of a volume comes by itself once an eighth of it was
read, and nothing that is here is asked for again."""
import os
import sqlite3
import subprocess
import sys
import time

import common
from common import fails, one, open_db

ROWS = 3000  # of a page each
PATIENCE_S = 180
PIECE = 256  # pages; the rest asks for so many at a time, which may be on their way
HERE = os.path.abspath(__file__)


def make(name):
    """A volume of a good 12 MB."""
    common.load()
    os.makedirs("store", exist_ok=True)
    writer = open_db(name + "-a.db", timeout=10, sync="manual",
                     remote="file://%s/%s" % (os.path.abspath("store"), name))
    writer.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
    writer.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
                   "FROM n WHERE i < %d) INSERT INTO t SELECT i, "
                   "hex(randomblob(1900)) FROM n" % ROWS)
    writer.commit()
    one(writer, "SELECT ramet_push()")
    return writer


def clone(name, path, **parameters):
    return open_db(path, timeout=10, sync="manual", remote="file://%s/%s" %
                   (os.path.abspath("store"), name), **parameters)


def status(db):
    return db.execute("SELECT pages, cached_pages, fetched_pages FROM "
                      "ramet_status").fetchone()


def read_rows(db, first, count):
    return one(db, "SELECT sum(length(b)) FROM t WHERE a BETWEEN %d AND %d" %
               (first, first + count - 1))


def wait_until_whole(db):
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        pages, here, fetched = status(db)
        if here >= pages:
            return fetched
        time.sleep(.02)
    raise AssertionError("not whole: %s" % (status(db),))


def test_the_rest_comes_and_what_is_here_does_not_come_again():
    make("app").close()
    db = clone("app", "b.db", hydrate="auto")
    assert read_rows(db, 1, 1000) == 1000 * 3800
    fetched = wait_until_whole(db)
    pages, _, _ = status(db)
    # Pages that share a frame come together, whoever asks for one of them.
    assert pages - 2 <= fetched <= pages * 1.1, (fetched, pages)
    os.rename("store", "gone")
    assert read_rows(db, 1, ROWS) == ROWS * 3800
    os.rename("gone", "store")
    db.close()


def test_what_another_process_brought_is_here():
    make("app").close()
    first = clone("app", "b.db")
    read_rows(first, 1, 1000)
    first.close()
    again = clone("app", "b.db", hydrate="auto")
    _, here, _ = status(again)
    read_rows(again, 2000, 1000)
    fetched = wait_until_whole(again)
    pages, _, _ = status(again)
    assert fetched <= (pages - here) * 1.1 + PIECE, (fetched, pages, here)
    again.close()


def test_after_a_pull_of_what_it_had_brought_it_comes_again():
    writer = make("app")
    db = clone("app", "b.db", hydrate="auto")
    read_rows(db, 1, 1000)
    wait_until_whole(db)
    writer.execute("UPDATE t SET b = hex(randomblob(1900))")
    writer.commit()
    one(writer, "SELECT ramet_push()")
    writer.close()
    one(db, "SELECT ramet_pull()")
    pages, here, _ = status(db)
    assert here < pages / 2, (here, pages)
    read_rows(db, 1, 1000)
    wait_until_whole(db)
    db.close()


def test_who_ends_meanwhile_goes_on_from_there():
    """However much had come by then: with little left, readers bring it."""
    make("app").close()
    first = clone("app", "b.db", hydrate="auto")
    read_rows(first, 1, 1000)
    first.close()
    again = clone("app", "b.db", hydrate="auto")
    _, here, _ = status(again)
    read_rows(again, 1, ROWS)
    fetched = wait_until_whole(again)
    pages, _, _ = status(again)
    assert fetched <= (pages - here) * 1.1 + PIECE, (fetched, pages, here)
    again.close()


def brings_no_rest(name, path, rows, **parameters):
    """Of what was read alone is anything here: nobody is at it, since nothing
    changes while everybody sleeps, and the thread is not there."""
    db = clone(name, path, **parameters)
    read_rows(db, 1, rows)
    names = [open("/proc/self/task/%s/comm" % task).read().strip()
             for task in os.listdir("/proc/self/task")]
    pages, here, _ = status(db)
    assert here < pages, (here, pages)
    db.close()
    return "ramet-rest" not in names


def test_little_that_is_read_brings_no_rest():
    make("app").close()
    assert brings_no_rest("app", "b.db", 50, hydrate="auto")


def test_nothing_is_brought_where_nobody_asked_for_it():
    make("app").close()
    assert brings_no_rest("app", "b.db", 1000)


def test_a_volume_that_is_larger_than_allowed_is_not_brought():
    """Nor by the time at which one that is not was brought whole."""
    make("app").close()
    limited = [clone("app", "b%d.db" % number, hydrate="auto", **limit)
               for number, limit in enumerate(({"hydrate_max": "1000000"},
                                               {"cache_limit": "8000000"}))]
    for db in limited:
        read_rows(db, 1, 1000)
    # In a process of its own: what one asks for, all of a process may keep.
    subprocess.run([sys.executable, HERE, "--whole"], check=True)
    for db in limited:
        pages, here, _ = status(db)
        assert here < pages, (here, pages)
        db.close()


def bring_a_whole_one():
    db = clone("app", "whole.db", hydrate="auto")
    read_rows(db, 1, 1000)
    wait_until_whole(db)
    db.close()


def test_a_value_that_makes_no_sense_is_refused():
    make("app").close()
    for why, parameters in (
            ('only "auto" has a meaning', {"hydrate": "always"}),
            ("must be a whole number", {"hydrate_max": "1GB"}),
            ("needs a replica", {"hydrate": "auto", "replica": "none"})):
        fails(why, clone, "app", "c.db", **parameters)


if __name__ == "__main__":
    if sys.argv[1:] == ["--whole"]:
        bring_a_whole_one()
    else:
        common.main()
