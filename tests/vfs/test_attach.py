#!/usr/bin/python3
"""Transactions across attached databases, whole or absent after any crash.

killpoint.so (killpoint.c), preloaded, kills the process at the n-th system
call that changes a file. For n = 1, 2, 3 … a child commits across databases
until one lives to the end; after each the databases are opened, in either
order, and must agree.
"""
import glob
import os
import shutil
import signal
import sqlite3
import subprocess

import common
from common import (check_integrity, code_of, fails, one, open_db, open_native,
                    python)

KILLPOINT = os.environ.get("RAMET_KILLPOINT", "")

COMMITTER = """
import sys, common
kinds, synchronous = sys.argv[1], sys.argv[2]
common.load()
def name(i):
    return common.uri("%d.db" % i, vfs="ramet" if kinds[i] == "r" else "unix")
import sqlite3
db = sqlite3.connect(name(0), uri=True, isolation_level=None)
for i in range(1, len(kinds)):
    db.execute("ATTACH ? AS d%d" % i, (name(i),))
schemas = ["main"] + ["d%d" % i for i in range(1, len(kinds))]
for schema in schemas:
    db.execute("PRAGMA %s.synchronous=%s" % (schema, synchronous))
    common.one(db, "SELECT count(*) FROM %s.t" % schema)
open("armed", "w").close()
db.execute("BEGIN")
for schema in schemas:
    db.execute("UPDATE %s.t SET x = x + 1" % schema)
db.execute("COMMIT")
print("committed", flush=True)
"""


def open_kind(kind, path):
    return open_db(path) if kind == "r" else open_native(path)


def make(kinds, value=0):
    for i, kind in enumerate(kinds):
        db = open_kind(kind, "%d.db" % i)
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x INTEGER, y BLOB)")
        db.execute("INSERT INTO t(x, y) VALUES(?, zeroblob(5000))", (value,))
        db.close()


def values(kinds, order):
    found = {}
    for i in order:
        db = open_kind(kinds[i], "%d.db" % i)
        found[i] = one(db, "SELECT x FROM t")
        check_integrity(db)
        db.close()
    return [found[i] for i in range(len(kinds))]


def crash_everywhere(kinds, synchronous):
    """The number of points at which a child was killed."""
    make(kinds)
    shutil.copytree(".", "../" + os.path.basename(os.getcwd()) + ".start")
    start = os.path.abspath("../" + os.path.basename(os.getcwd()) + ".start")
    outcomes = set()
    point = 0
    orders = (range(len(kinds)), range(len(kinds) - 1, -1, -1))
    try:
        while True:
            point += 1
            assert point < 500
            for name in glob.glob("*"):
                (shutil.rmtree if os.path.isdir(name) else os.unlink)(name)
            shutil.copytree(start, ".", dirs_exist_ok=True)
            os.environ.update(LD_PRELOAD=KILLPOINT, KILLPOINT=str(point),
                              KILLPOINT_ARMED=os.path.abspath("armed"))
            try:
                child = python(COMMITTER, kinds, synchronous, stdout=-1)
            finally:
                del os.environ["LD_PRELOAD"]
            out = child.communicate()[0]
            found = values(kinds, orders[point % 2])
            assert len(set(found)) == 1, (kinds, point, found)
            if out == b"committed\n":
                assert found[0] == 1, (kinds, point, found)
            outcomes.add(found[0])
            leftovers = glob.glob("*-mj*") + glob.glob("*-journal")
            assert not leftovers or child.returncode != 0, leftovers
            for i, kind in enumerate(kinds):  # and they go on working
                db = open_kind(kind, "%d.db" % i)
                db.execute("UPDATE t SET x = 7")
                db.close()
            leftovers = glob.glob("*-mj*") + glob.glob("*-journal")
            if kinds[0] == "r":  # else SQLite itself left it
                assert not leftovers, (kinds, point, leftovers)
            if child.returncode == 0:
                break
            assert child.returncode == -signal.SIGKILL, child.returncode
        assert outcomes == {0, 1}, outcomes
        return point - 1
    finally:
        shutil.rmtree(start)


def test_attached_commits_and_rollbacks():
    make("rrn")
    db = open_db("0.db")
    db.execute("ATTACH ? AS b", (common.uri("1.db"),))
    db.execute("ATTACH ? AS c", (common.uri("2.db", vfs="unix"),))
    for turn in range(1, 6):
        db.execute("BEGIN")
        for schema in ("main", "b", "c"):
            db.execute("UPDATE %s.t SET x = ?" % schema, (turn,))
        db.execute("COMMIT")
        db.execute("BEGIN")
        for schema in ("main", "b", "c"):
            db.execute("UPDATE %s.t SET x = 99" % schema)
        db.execute("ROLLBACK")
    db.close()
    assert glob.glob("*-mj*") == [] and glob.glob("*-journal") == []
    assert values("rrn", range(3)) == [5, 5, 5]


def test_a_native_main_database_with_a_replica_attached():
    make("nr")
    common.load()
    db = open_db("0.db", vfs="unix")
    db.execute("ATTACH ? AS b", (common.uri("1.db"),))
    db.execute("BEGIN")
    db.execute("UPDATE main.t SET x = 3")
    db.execute("UPDATE b.t SET x = 3")
    db.execute("COMMIT")
    db.close()
    assert values("nr", range(2)) == [3, 3]


TOO_LARGE = """
import resource, signal, sqlite3, sys
import common
common.load()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
db = sqlite3.connect(common.uri("0.db"), uri=True, isolation_level=None)
db.execute("ATTACH ? AS d1", (common.uri("1.db", vfs="unix"),))
db.execute("PRAGMA d1.cache_spill=0")
db.execute("BEGIN")
db.execute("UPDATE main.t SET x = 7")
db.execute("UPDATE d1.t SET x = 7, y = zeroblob(3000000)")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    db.execute("COMMIT")
    print("committed", flush=True)
except sqlite3.Error as error:
    print("refused", flush=True)
sys.stdin.readline()
"""


def test_a_database_that_cant_be_written_keeps_all_from_being_seen():
    """The replica's record is prepared by the time that the native file turns out to
    be too large."""
    make("rn")
    reader = open_db("0.db")
    child = python(TOO_LARGE, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                   text=True)
    assert child.stdout.readline() == "refused\n"
    assert one(reader, "SELECT x FROM t") == 0
    child.communicate("\n", 60)
    assert one(reader, "SELECT x FROM t") == 0
    reader.close()
    assert values("rn", range(2)) == [0, 0]


def test_one_database_that_is_busy_stops_all():
    make("rr")
    db = open_db("0.db")
    db.execute("ATTACH ? AS b", (common.uri("1.db"),))
    other = open_db("1.db")
    other.execute("BEGIN IMMEDIATE")
    db.execute("BEGIN")
    db.execute("UPDATE main.t SET x = 3")
    fails("locked", db.execute, "UPDATE b.t SET x = 3")
    db.execute("ROLLBACK")
    other.execute("COMMIT")
    db.close()
    assert values("rr", range(2)) == [0, 0]


def test_a_stale_trailer_is_cleared_away():
    make("r")
    name = os.path.abspath("0.db-mj00000009A").encode()
    total = sum(b - 256 if b > 127 else b for b in name) & 0xffffffff
    with open("0.db-journal", "wb") as journal:
        journal.write(b"\0\0\4\1" + name + len(name).to_bytes(4, "big") +
                      total.to_bytes(4, "big") +
                      bytes.fromhex("d9d505f920a163d7"))
    db = open_db("0.db")
    db.execute("UPDATE t SET x = 1")
    assert not os.path.exists("0.db-journal")
    db.close()
    assert values("n", [0]) == [1]


def shut_out(path):
    """Can't another connection read it?"""
    other = open_db(path)
    try:
        one(other, "SELECT count(*) FROM t")
        return False
    except sqlite3.OperationalError as error:
        assert "locked" in str(error)
        return True
    finally:
        other.close()


def write_all(db, schemas):
    for schema in schemas:
        db.execute("UPDATE %s.t SET x = x + 1" % schema)


def test_exclusive_mode_without_a_schema_is_for_all_databases():
    for main in ("0.db", "file::memory:"):
        make("rrr")
        common.load()
        db = sqlite3.connect(common.uri(main) if main == "0.db" else main,
                             uri=True, isolation_level=None)
        names = ["1.db", "2.db"] + (["0.db"] if main == "0.db" else [])
        db.execute("ATTACH ? AS b", (common.uri("1.db"),))
        db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        db.execute("ATTACH ? AS c", (common.uri("2.db"),))  # later: too
        schemas = ["b", "c"] + (["main"] if main == "0.db" else [])
        write_all(db, schemas)
        assert [shut_out(name) for name in names] == [True] * len(names)
        db.execute("PRAGMA locking_mode=NORMAL").fetchall()
        for schema in schemas:
            one(db, "SELECT count(*) FROM %s.t" % schema)
        assert [shut_out(name) for name in names] == [False] * len(names)
        write_all(db, schemas)
        assert [shut_out(name) for name in names] == [False] * len(names)
        db.close()
        for name in glob.glob("*"):
            (shutil.rmtree if os.path.isdir(name) else os.unlink)(name)


def test_exclusive_mode_of_one_schema_is_for_that_one():
    make("rr")
    for schema, expected in (("main", [True, False]), ("b", [False, True])):
        db = open_db("0.db")
        db.execute("ATTACH ? AS b", (common.uri("1.db"),))
        db.execute("PRAGMA %s.locking_mode=EXCLUSIVE" % schema).fetchall()
        write_all(db, ("main", "b"))
        assert [shut_out("0.db"), shut_out("1.db")] == expected
        db.close()


def test_exclusive_mode_waits_for_the_readers_of_attached_databases():
    make("rr")
    reader = open_db("1.db")
    reader.execute("BEGIN")
    one(reader, "SELECT x FROM t")
    db = open_db("0.db")
    db.execute("ATTACH ? AS b", (common.uri("1.db"),))
    db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
    fails("locked", db.execute, "UPDATE b.t SET x = 5")
    reader.execute("COMMIT")
    db.execute("UPDATE b.t SET x = 5")
    fails("locked", one, reader, "SELECT x FROM t")
    db.close()
    assert one(reader, "SELECT x FROM t") == 5


def test_wal_for_all_in_exclusive_mode_breaks_no_connection():
    make("rr")
    for main in ("0.db", "file::memory:"):
        common.load()
        db = sqlite3.connect(common.uri(main) if main == "0.db" else main,
                             uri=True, isolation_level=None)
        db.execute("ATTACH ? AS b", (common.uri("1.db"),))
        db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        db.execute("UPDATE b.t SET x = 1")
        def to_wal():
            db.execute("PRAGMA journal_mode=WAL").fetchall()

        if main == "0.db":
            to_wal()
        else: # nothing of main keeps SQLite from trying, and the write is refused
            error = fails("disk I/O", to_wal)
            assert code_of(error) == "SQLITE_IOERR_WRITE"
        db.execute("UPDATE b.t SET x = 2")
        db.close()
        db = open_db("1.db")
        assert one(db, "SELECT x FROM t") == 2
        check_integrity(db)
        db.close()
        assert glob.glob("*-wal") == []


KEEPER = """
import common, os, sqlite3, sys
db = common.open_db("0.db", timeout=20)
db.execute("ATTACH ? AS b", (common.uri("1.db"),))
db.execute("ATTACH ? AS c", (common.uri("2.db"),))
db.execute("BEGIN")
for schema in sys.argv[1:]:
    db.execute("UPDATE %s.t SET x = x + 1" % schema)
db.execute("COMMIT")
"""


def commit_until(super_size, *schemas):
    """A commit across databases that dies when its super-journal has that many
    bytes, or more."""
    point = 0
    while True:
        point += 1
        assert point < 100
        os.environ.update(LD_PRELOAD=KILLPOINT, KILLPOINT=str(point),
                          KILLPOINT_ARMED=os.path.abspath("0.db"))
        try:
            child = python(KEEPER, *schemas)
        finally:
            del os.environ["LD_PRELOAD"]
        child.wait()
        for found in glob.glob("*-mj*"):
            if os.path.getsize(found) >= super_size:
                return
            os.unlink(found)
        assert child.returncode != 0, "it came to its end"


def test_a_dead_super_journal_goes_while_others_are_at_work():
    assert KILLPOINT, "RAMET_KILLPOINT is not set"
    for schemas in (("main", "b"), ("main", "b", "c")):
        make("rrr")
        held = open_db("0.db", timeout=20)  # so that nobody is ever alone
        one(held, "SELECT x FROM t")
        commit_until(2, *schemas)
        assert len(glob.glob("*-mj*")) == 1
        held.execute("UPDATE t SET x = 5")
        assert glob.glob("*-mj*") == []
        held.close()
        assert values("rrr", range(3)) == [5, 0, 0]
        for name in glob.glob("*"):
            (shutil.rmtree if os.path.isdir(name) else os.unlink)(name)


def test_a_super_journal_is_left_to_whom_it_belongs():
    make("rr")
    db = open_db("0.db")
    db.execute("UPDATE t SET x = 1")
    db.close()
    strangers = {
        "0.db-mj00000009A": b"/nowhere/x.db-journal\0",  # of no known end
        "0.db-mjxyz": b"", "0.db-mjABCDEF9AB.txt": b"", "1.db-mj0000009AB": b"",
    }
    for name, content in strangers.items():
        with open(name, "wb") as file:
            file.write(content)
    for _ in range(2):
        db = open_db("0.db")
        db.execute("UPDATE t SET x = x + 1")
        db.close()
    assert sorted(glob.glob("*-mj*")) == sorted(strangers)


def crash_test(kinds, synchronous):
    def test():
        assert KILLPOINT, "RAMET_KILLPOINT is not set"
        points = crash_everywhere(kinds, synchronous)
        print("        %s, %s: killed at %d points" %
              (kinds, synchronous, points))
        assert points > 5
    return test


test_crash_one_replica = crash_test("r", "FULL")
test_crash_two_replicas = crash_test("rr", "FULL")
test_crash_two_replicas_normal = crash_test("rr", "NORMAL")
test_crash_replica_and_native = crash_test("rn", "FULL")
test_crash_native_and_replica = crash_test("nr", "FULL")
test_crash_three = crash_test("rnr", "FULL")

if __name__ == "__main__":
    common.main()
