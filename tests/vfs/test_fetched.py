#!/usr/bin/python3
"""What it costs to bring pages after a pull: as much as after a clone, and so
much for each page, however many there are. Counted in bytes and calls."""
import os
import sqlite3

import common
from common import one, open_db

PAGE_SIZE = 65536
MIB = 1 << 20


def counters():
    """(bytes, calls) that this process has read so far."""
    with open("/proc/self/io", encoding="ascii") as file:
        words = dict(line.split(": ") for line in file)
    return int(words["rchar"]), int(words["syscr"])


def cost_of(work):
    bytes_before, calls_before = counters()
    work()
    bytes_after, calls_after = counters()
    return bytes_after - bytes_before, calls_after - calls_before


def replica(path, name):
    common.load()
    return open_db(path, timeout=10, sync="manual",
                   remote="file://%s/%s" % (os.path.abspath("store"),
                                            name))


def make_volume(name, mib):
    """A database of so many MiB that came with a second commit; the connection
    on a clone that has pulled it, and has none of its pages."""
    os.makedirs("store", exist_ok=True)
    writer = replica(name + "-a.db", name)
    writer.execute("PRAGMA page_size = %d" % PAGE_SIZE)
    writer.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")
    one(writer, "SELECT ramet_push()")
    reader = replica(name + "-b.db", name)
    assert one(reader, "SELECT count(*) FROM t") == 0
    writer.execute("BEGIN")
    for i in range(mib):
        writer.execute("INSERT INTO t VALUES(?, zeroblob(?))", (i, MIB))
    writer.execute("COMMIT")
    one(writer, "SELECT ramet_push()")
    writer.close()
    one(reader, "SELECT ramet_pull()")
    return reader


def check_cost(cost, mib, what):
    read, calls = cost
    pages = mib * MIB // PAGE_SIZE
    print("  %s: %.1f bytes read a byte, %.1f calls a page"
          % (what, read / (mib * MIB), calls / pages))
    # From the store, from where it was put, and once more where it was moved.
    assert read < 9 * mib * MIB, "%s reads %d bytes of %d MiB" % (what, read,
                                                                  mib)
    assert calls < 12 * pages, "%s makes %d calls for %d pages" % (what, calls,
                                                                   pages)


def test_hydrate_after_a_pull_costs_the_same_for_each_page():
    reader = make_volume("v", 160)
    check_cost(cost_of(lambda: one(reader, "SELECT ramet_hydrate()")), 160,
               "hydrate")
    common.check_integrity(reader)


def test_a_scan_after_a_pull_costs_the_same_for_each_page():
    reader = make_volume("v", 160)
    check_cost(cost_of(lambda: one(reader, "SELECT sum(instr(b, x'01')) FROM t")),
               160, "a scan")
    common.check_integrity(reader)


def test_hydrate_beside_a_reader_that_stays_costs_the_same():
    reader = make_volume("v", 160)
    reader.execute("CREATE TABLE u(a)")  # before this commit: another snapshot
    stays = replica("v-b.db", "v")
    stays.execute("BEGIN")
    assert one(stays, "SELECT count(*) FROM u") == 0
    for i in range(3):
        reader.execute("INSERT INTO u VALUES(?)", (i,))
    check_cost(cost_of(lambda: one(reader, "SELECT ramet_hydrate()")), 160,
               "hydrate beside a reader")
    assert one(stays, "SELECT count(*) FROM u") == 0
    stays.execute("COMMIT")
    common.check_integrity(reader)


def test_hydrate_of_more_than_the_cache_limit_ends_and_says_so():
    make_volume("v", 64).close()
    reader = open_db("v-b.db", timeout=10, sync="manual",
                     cache_limit=str(4 * MIB))
    try:  # all of it is here for a moment, if nobody had the time to drop any
        one(reader, "SELECT ramet_hydrate()")
    except sqlite3.Error as error:
        assert "cache_limit" in str(error) and "did not stay" in str(error)
    common.check_integrity(reader)


if __name__ == "__main__":
    common.main()
