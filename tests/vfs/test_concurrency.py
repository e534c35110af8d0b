#!/usr/bin/python3
"""Several connections, threads and processes on one replica."""
import os
import signal
import sqlite3
import threading
import time

import common
from common import (check_integrity, code_of, fails, one, open_db, python,
                    rows, wait_until)


def make(name="a.db", count=100):
    db = open_db(name, timeout=10)
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x INTEGER)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO t(x) VALUES(?)", ((1,) for _ in range(count)))
    db.execute("COMMIT")
    return db


def test_a_reader_keeps_its_snapshot():
    db = make()
    reader = open_db("a.db")
    reader.execute("BEGIN")
    assert one(reader, "SELECT sum(x) FROM t") == 100
    for _ in range(10):
        db.execute("UPDATE t SET x = x + 1")
    assert one(reader, "SELECT sum(x) FROM t") == 100
    reader.execute("COMMIT")
    assert one(reader, "SELECT sum(x) FROM t") == 1100


def test_an_open_transaction_is_invisible():
    db = make()
    reader = open_db("a.db")
    db.execute("PRAGMA cache_size=1")
    db.execute("BEGIN")
    db.execute("UPDATE t SET x = 7")
    db.execute("INSERT INTO t(x) SELECT x FROM t")
    assert one(reader, "SELECT sum(x) FROM t") == 100
    check_integrity(reader)
    db.execute("COMMIT")
    assert one(reader, "SELECT sum(x) FROM t") == 1400


def test_two_writers_one_waits():
    db = make()
    other = open_db("a.db")
    db.execute("BEGIN IMMEDIATE")
    assert code_of(fails("locked", other.execute, "BEGIN IMMEDIATE")) == \
        "SQLITE_BUSY"
    assert code_of(fails("locked", other.execute, "DELETE FROM t")) == \
        "SQLITE_BUSY"
    patient = open_db("a.db", timeout=20)
    timer = threading.Timer(0.2, lambda: db.execute("COMMIT"))
    timer.start()
    patient.execute("UPDATE t SET x = 5")
    timer.join()
    assert one(db, "SELECT sum(x) FROM t") == 500


def test_a_stale_snapshot_cannot_write():
    db = make()
    other = open_db("a.db", timeout=5)
    other.execute("BEGIN")
    assert one(other, "SELECT sum(x) FROM t") == 100
    db.execute("UPDATE t SET x = 2")
    error = fails("locked", other.execute, "UPDATE t SET x = 3")
    assert code_of(error) == "SQLITE_BUSY_SNAPSHOT", code_of(error)
    other.execute("ROLLBACK")
    other.execute("UPDATE t SET x = 3")
    assert one(db, "SELECT sum(x) FROM t") == 300


def test_begin_exclusive_keeps_readers_out():
    db = make()
    reader = open_db("a.db")
    reader.execute("BEGIN")
    assert one(reader, "SELECT sum(x) FROM t") == 100
    fails("locked", db.execute, "BEGIN EXCLUSIVE")
    reader.execute("COMMIT")
    db.execute("BEGIN EXCLUSIVE")
    fails("locked", reader.execute, "SELECT * FROM t")
    db.execute("UPDATE t SET x = 2")
    fails("locked", reader.execute, "SELECT * FROM t")
    db.execute("COMMIT")
    assert one(reader, "SELECT sum(x) FROM t") == 200
    db.execute("BEGIN EXCLUSIVE")
    db.execute("ROLLBACK")
    assert one(reader, "SELECT sum(x) FROM t") == 200


def test_a_commit_does_not_wait_for_readers():
    for mode in ("delete", "memory", "off", "persist"):
        name = mode + ".db"
        db = make(name)
        db.execute("PRAGMA journal_mode=" + mode)
        reader = open_db(name)
        reader.execute("BEGIN")
        assert one(reader, "SELECT sum(x) FROM t") == 100
        db.execute("UPDATE t SET x = 2")
        db.execute("UPDATE t SET x = 2 WHERE id < 0")  # changes nothing
        db.execute("BEGIN IMMEDIATE")
        db.execute("COMMIT")
        db.execute("PRAGMA cache_size=1")
        db.execute("INSERT INTO t(x) SELECT 3 FROM t, (SELECT 1 UNION SELECT 2)")
        assert one(reader, "SELECT sum(x) FROM t") == 100
        reader.execute("COMMIT")
        assert one(reader, "SELECT sum(x) FROM t") == 800


def test_locking_rollback__a_commit_waits_for_readers():
    for mode in ("delete", "memory", "persist"):
        name = "rollback-" + mode + ".db"
        db = make(name)
        db.close()
        db = open_db(name, locking="rollback")
        db.execute("PRAGMA journal_mode=" + mode)
        reader = open_db(name, locking="rollback")
        reader.execute("BEGIN")
        assert one(reader, "SELECT sum(x) FROM t") == 100
        db.execute("BEGIN")
        db.execute("UPDATE t SET x = 2")
        fails("locked", db.execute, "COMMIT")
        late = open_db(name)
        fails("locked", late.execute, "SELECT * FROM t")  # PENDING
        assert one(reader, "SELECT sum(x) FROM t") == 100
        reader.execute("COMMIT")
        db.execute("COMMIT")
        assert one(late, "SELECT sum(x) FROM t") == 200
        late.execute("BEGIN")
        assert one(late, "SELECT sum(x) FROM t") == 200
        fails("locked", db.execute, "UPDATE t SET x = 3")
        late.execute("COMMIT")
        assert one(reader, "SELECT sum(x) FROM t") == 200
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("UPDATE t SET x = 4")
        db.execute("PRAGMA locking_mode=NORMAL")
        assert one(db, "SELECT sum(x) FROM t") == 400
        assert one(reader, "SELECT sum(x) FROM t") == 400


def test_locking__of_another_name_is_refused():
    fails("unable to open", lambda: open_db("a.db", locking="wal"))


def test_shared_cache():
    first = open_db("a.db", cache="shared")
    second = open_db("a.db", cache="shared")
    first.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x INTEGER)")
    first.execute("BEGIN")
    first.execute("INSERT INTO t(x) VALUES(1)")
    error = fails("locked", second.execute, "SELECT * FROM t")
    assert code_of(error) == "SQLITE_LOCKED_SHAREDCACHE", code_of(error)
    first.execute("COMMIT")
    assert one(second, "SELECT count(*) FROM t") == 1
    second.execute("BEGIN EXCLUSIVE")
    second.execute("INSERT INTO t(x) VALUES(2)")
    third = open_db("a.db")
    fails("locked", third.execute, "SELECT * FROM t")
    second.execute("COMMIT")
    assert one(third, "SELECT sum(x) FROM t") == 3
    assert one(first, "SELECT sum(x) FROM t") == 3
    check_integrity(first)


def add_many(name, times, errors):
    try:
        db = open_db(name, timeout=60)
        for _ in range(times):
            db.execute("BEGIN IMMEDIATE")
            value = one(db, "SELECT x FROM t WHERE id = 1")
            db.execute("UPDATE t SET x = ? WHERE id = 1", (value + 1,))
            db.execute("COMMIT")
        db.close()
    except BaseException as error:  # told by the main thread
        errors.append(error)


def test_threads_lose_no_update():
    db = make()
    errors = []
    threads = [threading.Thread(target=add_many, args=("a.db", 100, errors))
               for _ in range(6)]
    for thread in threads:
        thread.start()
    checks = 0
    while any(thread.is_alive() for thread in threads):
        values = rows(db, "SELECT count(*), min(x) FROM t")
        assert values[0][0] == 100
        checks += 1
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert checks > 0
    assert one(db, "SELECT x FROM t WHERE id = 1") == 601
    check_integrity(db)


ADDER = """
import sys, common
db = common.open_db("a.db", timeout=60)
for _ in range(int(sys.argv[1])):
    db.execute("BEGIN IMMEDIATE")
    x = common.one(db, "SELECT x FROM t WHERE id = 1")
    db.execute("UPDATE t SET x = ? WHERE id = 1", (x + 1,))
    db.execute("INSERT INTO t(x) VALUES(0)")
    db.execute("COMMIT")
"""


def test_processes_lose_no_update():
    db = make()
    children = [python(ADDER, "60") for _ in range(4)]
    while any(child.poll() is None for child in children):
        total, count = rows(db, "SELECT sum(x), count(*) FROM t")[0]
        assert total - 100 == count - 100, (total, count)
    assert [child.returncode for child in children] == [0] * 4
    assert one(db, "SELECT x FROM t WHERE id = 1") == 241
    check_integrity(db)


HOLDER = """
import sys, time, common
db = common.open_db("a.db")
db.execute(sys.argv[1])
db.execute("UPDATE t SET x = 99")
print("ready", flush=True)
time.sleep(600)
"""


def test_a_killed_writer_leaves_no_lock_and_no_trace():
    db = make()
    for begin in ("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"):
        child = python(HOLDER, begin, stdout=-1)
        assert child.stdout.readline() == b"ready\n"
        fails("locked", open_db("a.db").execute, "BEGIN IMMEDIATE")
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert one(db, "SELECT sum(x) FROM t") == 100
        db.execute("UPDATE t SET x = 1")
        check_integrity(db)


def test_a_forked_child_may_open_its_own():
    db = make()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            own = open_db("a.db", timeout=10)
            own.execute("UPDATE t SET x = 2")
            own.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert one(db, "SELECT sum(x) FROM t") == 200
    db.execute("UPDATE t SET x = 3")
    check_integrity(db)


def test_connections_open_and_close_meanwhile():
    db = make()
    stop = []
    errors = []

    def open_and_close():
        try:
            while not stop:
                other = open_db("a.db", timeout=30)
                assert one(other, "SELECT count(*) FROM t") == 100
                other.close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_and_close) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(100):
        db.execute("UPDATE t SET x = ?", (turn,))
    stop.append(1)
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert one(db, "SELECT sum(x) FROM t") == 9900


def test_four_hundred_databases_at_once():
    all_of_them = []
    for i in range(400):
        db = open_db("n%d.db" % i)
        db.execute("CREATE TABLE t AS SELECT %d AS x" % i)
        all_of_them.append(db)
    for i, db in enumerate(all_of_them):
        db.execute("UPDATE t SET x = x + 1")
        assert one(db, "SELECT x FROM t") == i + 1
    for db in all_of_them:
        db.close()


if __name__ == "__main__":
    common.main()
