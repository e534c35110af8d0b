#!/usr/bin/python3
"""Two replicas of one volume: SQLite's caches through pulls and resets.

SQLite keeps pages cached between transactions and looks at bytes 24 to 39 of
the header to tell whether they are stale. A pull that it did not notice would
mix old pages with new ones and corrupt the database at the next write; so
each connection here keeps a warm cache while the ground moves.
"""
import os
import random
import shutil
import sqlite3

import common
from common import (check_integrity, code_of, fails, one, open_db, open_native,
                    rows)
import seeds


def remote():
    return "file://%s/store/app" % os.path.abspath(".")


def replica(path, **parameters):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    parameters.setdefault("sync", "manual")
    return open_db(path, timeout=10, remote=remote(), **parameters)


def fill(db, count=300):
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x INTEGER, y TEXT)")
    db.execute("CREATE INDEX i ON t(x)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO t(x, y) VALUES(?, ?)",
                   ((i, "y" * (i % 200)) for i in range(count)))
    db.execute("COMMIT")


def content(db):
    return rows(db, "SELECT * FROM t ORDER BY id")


def header(db_path):
    with open(db_path, "rb") as plain:
        return plain.read(100)


def test_a_commit_travels():
    a = replica("a/app.db")
    fill(a)
    assert one(a, "SELECT ramet_push()") == 1
    b = replica("b/app.db")
    assert content(b) == content(a)
    assert one(b, "SELECT ramet_lsn()") == 1
    b.execute("UPDATE t SET x = x + 1000 WHERE id % 3 = 0")
    assert one(b, "PRAGMA ramet_push") == "2"
    assert one(a, "SELECT ramet_pull()") == 2
    assert content(a) == content(b)
    check_integrity(a)
    check_integrity(b)
    log = rows(a, "SELECT lsn, changed_pages > 0 FROM ramet_log")
    assert log == [(2, 1), (1, 1)], log
    status = rows(a, "SELECT state, durable_lsn, local_commits"
                  " FROM ramet_status")
    assert status == [("clean", 2, 0)], status


def test_warm_caches_notice_a_pull():
    a = replica("a/app.db")
    fill(a)
    one(a, "SELECT ramet_push()")
    writer = replica("b/app.db")
    warm = [replica("b/app.db") for _ in range(3)]
    for turn in range(30):
        a.execute("UPDATE t SET x = ? WHERE id % 5 = ?", (turn, turn % 5))
        a.execute("DELETE FROM t WHERE id = ?", (turn * 7 + 1,))
        one(a, "SELECT ramet_push()")
        for db in warm:  # fills their caches with what is old soon
            check_integrity(db)
        one(writer, "SELECT ramet_pull()")
        for db in warm:
            assert content(db) == content(a), turn
            check_integrity(db)
        warm[turn % 3].execute("INSERT INTO t(x) VALUES(?)", (turn,))
        one(writer, "SELECT ramet_push()")
        one(a, "SELECT ramet_pull()")
        assert content(a) == content(warm[0])
        check_integrity(a)


def test_a_pull_in_the_midst_of_a_read_transaction():
    a = replica("a/app.db")
    fill(a)
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    reader = replica("b/app.db")
    reader.execute("BEGIN")
    before = content(reader)
    a.execute("UPDATE t SET x = -1")
    one(a, "SELECT ramet_push()")
    one(b, "SELECT ramet_pull()")
    assert content(reader) == before
    error = fails("locked", reader.execute, "DELETE FROM t")
    assert code_of(error) == "SQLITE_BUSY_SNAPSHOT", code_of(error)
    reader.execute("ROLLBACK")
    assert content(reader) == content(a)


def test_a_push_is_no_commit_to_who_reads():
    a = replica("a/app.db")
    fill(a)
    one(a, "SELECT ramet_push()")
    a.execute("INSERT INTO t(x) VALUES(1)")
    reader = replica("a/app.db")
    reader.execute("BEGIN")
    count = one(reader, "SELECT count(*) FROM t")
    version = one(reader, "PRAGMA data_version")
    assert one(a, "SELECT ramet_push()") == 2
    reader.execute("INSERT INTO t(x) VALUES(2)")
    reader.execute("COMMIT")
    assert one(reader, "PRAGMA data_version") == version
    assert one(a, "SELECT count(*) FROM t") == count + 1
    assert one(a, "SELECT ramet_push()") == 3
    check_integrity(a)


def test_warm_caches_notice_a_reset():
    a = replica("a/app.db")
    fill(a)
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    warm = replica("b/app.db")
    for turn in range(10):
        a.execute("UPDATE t SET x = ? WHERE id % 2", (turn,))
        one(a, "SELECT ramet_push()")
        b.execute("UPDATE t SET x = ? WHERE id % 2 = 0", (turn + 500,))
        b.execute("INSERT INTO t(x) VALUES(77)")
        mine = content(warm)
        check_integrity(warm)
        fails("diverged", b.execute, "SELECT ramet_push()")
        kept = one(b, "SELECT ramet_reset()")
        assert kept and os.path.exists(kept), kept
        assert content(warm) == content(a)
        check_integrity(warm)
        lost = open_native(kept)
        assert content(lost) == mine
        check_integrity(lost)
        lost.close()
        warm.execute("UPDATE t SET y = ? WHERE id = 1", ("turn %d" % turn,))
        one(b, "SELECT ramet_push()")
        one(a, "SELECT ramet_pull()")
        assert content(a) == content(b)


def test_counters_are_never_used_twice():
    """The counter that is shown only grows, whatever the remote's header."""
    a = replica("a/app.db")
    fill(a)
    for turn in range(20):  # a's header counts ahead of b's
        a.execute("UPDATE t SET x = ? WHERE id = 1", (turn,))
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    seen = []

    def look():
        version = one(b, "SELECT x FROM t WHERE id = 1")
        b.execute("VACUUM INTO ?", ("file:%s?vfs=unix" %
                                    os.path.abspath("look.db"),))
        os.unlink("look.db")
        seen.append(version)

    look()
    for turn in range(5):
        b.execute("UPDATE t SET x = ? WHERE id = 2", (turn,))
        look()
        one(b, "SELECT ramet_push()")
        one(a, "SELECT ramet_pull()")
        a.execute("UPDATE t SET x = ? WHERE id = 1", (100 + turn,))
        one(a, "SELECT ramet_push()")
        one(b, "SELECT ramet_pull()")
        look()
        assert seen[-1] == 100 + turn
    check_integrity(b)


def test_stored_headers_are_alike_everywhere():
    a = replica("a/app.db")
    fill(a)
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    for turn in range(3):
        b.execute("UPDATE t SET x = ? WHERE id = 2", (turn,))
        one(b, "SELECT ramet_push()")
        one(a, "SELECT ramet_pull()")
    one(a, "SELECT ramet_hydrate()")
    one(b, "SELECT ramet_hydrate()")
    a.close()
    b.close()
    with open("a/app.db", "rb") as one_file, open("b/app.db", "rb") as other:
        assert one_file.read() == other.read()
    found = header("a/app.db")
    assert found[:16] == b"SQLite format 3\0" and found[24:28] == found[92:96]


def written():
    """Bytes that this process wrote."""
    with open("/proc/self/io") as io:
        return int(io.read().split("wchar: ")[1].split()[0])


def test_one_row_commits_write_page_1_once_for_each_lsn():
    """What goes to the remote has another header each time; all that is
    committed between does not write it again."""
    a, other = replica("a/app.db"), replica("a/app.db")
    a.execute("CREATE TABLE u(id INTEGER PRIMARY KEY, x)")
    a.execute("INSERT INTO u VALUES(1, 0), (2, 0)")
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    warm = replica("b/app.db")
    headers = [b.serialize()[24:28]]
    everything = "SELECT * FROM u"
    for turn in range(6):
        each = []
        for n in range(40):
            before = written()
            (a if n % 3 else other).execute(
                "UPDATE u SET x = ? WHERE id = 1", (turn * 100 + n + 1,))
            each.append(written() - before)
        assert sorted(each)[20] < 2 * 4096, each  # one page, and a trailer
        pushed_before = turn == 0 or turn % 2 == 1
        assert (each[0] > 2 * 4096) == pushed_before, (turn, each)
        if turn % 2 == 0:
            one(a, "SELECT ramet_push()")
            rows(warm, everything)
            one(b, "SELECT ramet_pull()")
            for db in (warm, b):
                assert rows(db, everything) == rows(a, everything)
            past = open_db("past.db", remote=remote(),
                           at=str(one(a, "SELECT ramet_lsn()")))
            headers.append(past.serialize()[24:28])
            assert rows(past, everything) == rows(a, everything)
            past.close()
        else:
            a.execute("PRAGMA user_version=%d" % turn)
    assert sorted(set(headers)) == headers, headers
    one(other, "SELECT ramet_push()")
    one(b, "SELECT ramet_pull()")
    one(b, "SELECT ramet_hydrate()")
    for db in (a, other, b, warm):
        check_integrity(db)
        db.close()
    with open("a/app.db", "rb") as one_file, open("b/app.db", "rb") as another:
        assert one_file.read() == another.read()
    native = open_native("b/app.db")
    assert rows(native, everything) == [(1, 540), (2, 0)]
    check_integrity(native)


def test_a_commit_that_only_counts_is_none():
    """Programs set user_version at each start: that is nothing to push, and
    nothing that diverges."""
    for sync in ("manual", "commit"):
        os.mkdir(sync)
        os.chdir(sync)
        a = replica("a/app.db", sync=sync)
        fill(a)
        a.execute("PRAGMA user_version=5")
        a.execute("PRAGMA application_id=6")
        one(a, "SELECT ramet_push()")
        lsn = one(a, "SELECT ramet_lsn()")
        for turn in range(3):
            b = replica("b/app.db", sync=sync)
            other = replica("b/app.db", sync=sync)
            for db in (b, other, b):
                content(db)
                db.execute("PRAGMA user_version=5")
                db.execute("BEGIN")
                db.execute("PRAGMA application_id=6")
                db.execute("PRAGMA user_version=5")
                db.execute("COMMIT")
            assert rows(b, "SELECT local_commits, dirty_pages"
                        " FROM ramet_status") == [(0, 0)]
            a.execute("UPDATE t SET x = x + 1 WHERE id = 1")
            one(a, "SELECT ramet_push()")
            lsn += 1
            assert one(other, "SELECT ramet_pull()") == lsn
            assert content(b) == content(other) == content(a)
            b.execute("PRAGMA user_version=5")
            assert content(b) == content(a)
            b.execute("PRAGMA user_version=6")
            assert one(other, "PRAGMA user_version") == 6
            one(b, "SELECT ramet_push()")
            one(a, "SELECT ramet_pull()")
            lsn += 1
            assert one(a, "SELECT ramet_lsn()") == lsn
            b.execute("PRAGMA user_version=5")
            one(b, "SELECT ramet_push()")
            one(a, "SELECT ramet_pull()")
            lsn += 1
            for db in (a, b, other):
                check_integrity(db)
            b.close()
            other.close()
        a.close()
        os.chdir("..")


def test_exclusive_mode_and_pulls_by_others():
    a = replica("a/app.db")
    fill(a)
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    other = replica("b/app.db")
    content(other)
    b.execute("PRAGMA locking_mode=EXCLUSIVE")
    for turn in range(5):
        b.execute("UPDATE t SET x = ? WHERE id = ?", (turn, turn + 1))
    b.execute("PRAGMA locking_mode=NORMAL")
    content(b)
    a.execute("CREATE TABLE extra(z)")
    assert content(other) == content(b)
    one(b, "SELECT ramet_push()")
    fails("diverged", a.execute, "SELECT ramet_push()")
    one(a, "SELECT ramet_reset()")
    assert content(a) == content(b)
    for db in (a, b, other):
        check_integrity(db)


def test_random_work_on_three_replicas():
    seed = seeds.seed("RAMET_SEED")
    rng = random.Random(seed)
    first = replica("0/app.db")
    fill(first)
    one(first, "SELECT ramet_push()")
    dbs = [[replica("%d/app.db" % i) for _ in range(2)] for i in range(3)]
    for turn in range(150):
        place = rng.randrange(3)
        db = rng.choice(dbs[place])
        choice = rng.randrange(8)
        if choice == 0:
            db.execute("INSERT INTO t(x, y) SELECT x + 1, y FROM t LIMIT 40")
        elif choice == 1:
            db.execute("DELETE FROM t WHERE id % 11 = ?", (rng.randrange(11),))
        elif choice == 2:
            db.execute("UPDATE t SET y = ? WHERE x % 7 = ?",
                       ("z" * rng.randrange(3000), rng.randrange(7)))
        elif choice == 3 and rng.random() < 0.2:
            db.execute("VACUUM")
        elif choice == 4:
            db.execute("PRAGMA user_version=%d" % turn)
        # Bring it to the remote, one way or the other; then everywhere.
        try:
            one(db, "SELECT ramet_sync()")
        except sqlite3.Error as error:
            assert "diverged" in str(error), error
            one(db, "SELECT ramet_reset()")
        for group in dbs:
            for other in group:
                if rng.random() < 0.5:
                    check_integrity(other)
        for group in dbs:
            try:
                one(rng.choice(group), "SELECT ramet_pull()")
            except sqlite3.Error as error:
                assert "diverged" in str(error), error
                one(group[0], "SELECT ramet_reset()")
        wanted = content(dbs[0][0])
        for group in dbs:
            for other in group:
                assert content(other) == wanted, (seed, turn)
    for group in dbs:
        for other in group:
            check_integrity(other)


def test_the_past_and_the_stateless():
    a = replica("a/app.db")
    fill(a, 100)
    one(a, "SELECT ramet_push()")
    old = content(a)
    a.execute("DELETE FROM t WHERE id > 10")
    one(a, "SELECT ramet_push()")
    past = open_db("past.db", remote=remote(), at="1")
    assert content(past) == old
    fails("readonly", past.execute, "DELETE FROM t")
    assert one(past, "SELECT ramet_lsn()") == 1
    check_integrity(past)
    view = open_db("view.db", remote=remote(), replica="none")
    assert content(view) == content(a)
    fails("readonly", view.execute, "DELETE FROM t")
    view.close()
    past.close()
    assert not os.path.exists("past.db") and not os.path.exists("view.db")


def test_sync_commit():
    a = replica("a/app.db", sync="commit")
    fill(a, 50)
    b = replica("b/app.db", sync="commit")
    assert content(b) == content(a)
    b.execute("UPDATE t SET x = 1")
    error = fails("locked", a.execute, "UPDATE t SET x = 2")
    assert code_of(error) == "SQLITE_BUSY_SNAPSHOT", code_of(error)
    one(a, "SELECT ramet_pull()")
    a.execute("UPDATE t SET x = 2")
    one(b, "SELECT ramet_pull()")
    assert content(b) == content(a)
    a.execute("ATTACH ? AS other", (common.uri("other.db"),))
    a.execute("CREATE TABLE other.u(v)")
    a.execute("BEGIN")
    a.execute("INSERT INTO other.u VALUES(1)")
    a.execute("UPDATE main.t SET x = 3")
    error = fails("SQL logic error", a.execute, "COMMIT")
    assert code_of(error) == "SQLITE_ERROR", code_of(error)
    assert "several databases" in one(a, "SELECT ramet_errmsg()")
    assert one(a, "SELECT count(*) FROM other.u") == 0
    assert one(a, "SELECT count(*) FROM t WHERE x = 3") == 0


def test_sync_commit_sends_nothing_at_a_rollback():
    """Pages that were free are not put back, so that a rolled back transaction
    leaves other bytes than it found."""
    for mode, locking in (("delete", "normal"), ("persist", "normal"),
                          ("memory", "normal"), ("delete", "exclusive")):
        os.mkdir(mode + locking)
        os.chdir(mode + locking)
        a = replica("a/app.db")
        a.execute("PRAGMA page_size=512")
        fill(a, 120)
        a.execute("UPDATE t SET y = hex(zeroblob(1250)) WHERE x % 7 = 1")
        one(a, "SELECT ramet_push()")
        b = replica("b/app.db", sync="commit")
        b.execute("DELETE FROM t WHERE x % 5 = 1")  # its pages are free now
        b.execute("PRAGMA cache_size=2")
        rows(b, "PRAGMA journal_mode=%s" % mode)
        rows(b, "PRAGMA locking_mode=%s" % locking)
        before = content(b)
        for begin in ("BEGIN", "BEGIN EXCLUSIVE"):
            b.execute(begin)
            b.execute("INSERT INTO t(x, y) VALUES(43, hex(randomblob(1250)))")
            b.execute("UPDATE t SET x = x + 1 WHERE id > 100")
            b.execute("ROLLBACK")
            assert content(b) == before
            assert one(a, "SELECT ramet_fetch()") == 2, (mode, locking, begin)
        # What looks like a rollback until it is published is sent, too.
        b.execute("BEGIN")
        b.execute("SAVEPOINT s")
        b.execute("UPDATE t SET y = y || 'more'")
        b.execute("ROLLBACK TO s")
        b.execute("UPDATE t SET x = -7 WHERE id = 8")
        b.execute("COMMIT")
        assert one(a, "SELECT ramet_pull()") == 3
        assert one(a, "SELECT x FROM t WHERE id = 8") == -7
        check_integrity(a)
        b.close()
        a.close()
        os.chdir("..")


def test_sync_commit_sends_nothing_at_a_rollback_of_the_first_transaction():
    """Of a database without a page nothing is put back."""
    for mode in ("delete", "persist", "truncate", "memory"):
        os.mkdir(mode)
        os.chdir(mode)
        a = replica("a/app.db")
        one(a, "SELECT ramet_push()")  # LSN 1: an empty file
        b = replica("b/app.db", sync="commit")
        b.execute("PRAGMA page_size=512")
        b.execute("PRAGMA cache_size=2")
        rows(b, "PRAGMA journal_mode=%s" % mode)
        make = "CREATE TABLE t(id INTEGER PRIMARY KEY, x, y)"
        some = ("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM "
                "n WHERE i < 40) "
                "INSERT INTO t SELECT i, i, hex(zeroblob(200)) FROM n")
        for begin in ("BEGIN", "BEGIN EXCLUSIVE"):
            b.execute(begin)
            b.execute(make)
            b.execute(some)
            b.execute("ROLLBACK")
            assert one(b, "SELECT count(*) FROM sqlite_schema") == 0
            assert one(a, "SELECT ramet_fetch()") == 1, (mode, begin)
        b.execute("BEGIN")
        b.execute(make)
        b.execute(some)
        b.execute("COMMIT")
        assert one(a, "SELECT ramet_pull()") == 2
        assert content(a) == content(b)
        b.close()
        a.close()
        os.chdir("..")


def test_sync_commit_sends_all_of_a_file_that_was_there():
    plain = open_native("app.db")
    fill(plain)
    plain.close()
    a = open_db("app.db", timeout=10, remote=remote(), sync="commit")
    a.execute("UPDATE t SET x = -1 WHERE id = 7")
    b = replica("b/app.db")
    check_integrity(b)
    assert content(b) == content(a)


def test_sync_commit_sends_what_grows_over_holes():
    """Free pages that are holes of the file are cut off, and come again."""
    plain = open_native("app.db")
    plain.execute("PRAGMA auto_vacuum=INCREMENTAL")
    plain.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")
    plain.execute("CREATE TABLE u(id INTEGER PRIMARY KEY, x)")
    for _ in range(40):
        plain.execute("INSERT INTO u(x) VALUES(zeroblob(4000))")
    plain.execute("DELETE FROM u")
    plain.close()
    length = os.path.getsize("app.db")
    os.truncate("app.db", length - 30 * 4096)
    os.truncate("app.db", length)
    a = open_db("app.db", timeout=10, remote=remote(), sync="commit")
    a.execute("INSERT INTO t(x) VALUES(1)")
    rows(a, "PRAGMA incremental_vacuum")
    for _ in range(40):
        a.execute("INSERT INTO t(x) VALUES(hex(zeroblob(1500)))")
    b = replica("b/app.db")
    check_integrity(a)
    check_integrity(b)
    assert content(b) == content(a)


def test_sync_commit_goes_on_after_a_reset_to_a_store_that_went_back():
    a = replica("a/app.db", sync="commit")
    fill(a, 5)
    shutil.copytree("store", "kept")
    for turn in range(3):
        a.execute("UPDATE t SET x = ?", (turn,))
    for folder, _, names in os.walk("store"):  # which stays open
        for name in names:
            os.unlink(os.path.join(folder, name))
    shutil.copytree("kept", "store", dirs_exist_ok=True)
    fails("disk I/O error", a.execute, "UPDATE t SET x = 9")
    assert "went back in time" in one(a, "SELECT ramet_errmsg()")
    one(a, "SELECT ramet_reset()")
    a.execute("UPDATE t SET x = 10")
    b = replica("b/app.db")
    assert content(b) == content(a)
    check_integrity(b)


def test_auto_pushes_by_itself():
    a = replica("a/app.db", sync="auto")
    fill(a, 50)
    common.wait_until(lambda: one(
        a, "SELECT durable_lsn > 0 AND local_commits = 0 FROM ramet_status"))
    b = replica("b/app.db", sync="auto")
    assert content(b) == content(a)
    a.execute("UPDATE t SET x = 9")
    common.wait_until(lambda: one(b, "SELECT min(x) FROM t") == 9)
    check_integrity(b)


ENDS = """
import os, sys
import test_pull
db = test_pull.replica("a/app.db", sync="auto", push_interval_ms=60000)
exec(sys.argv[1])
"""


def test_what_a_program_left_that_never_closed_is_pushed_by_the_next():
    a = replica("a/app.db")
    fill(a, 5)
    one(a, "SELECT ramet_push()")
    a.close()
    b = replica("b/app.db")
    for turn, does in ((2, "test_pull.content(db)"), (3, "pass")):
        for code in ("db.execute('UPDATE t SET x = %d'); os._exit(0)" % -turn,
                     does + "; db.close()"):
            assert one(b, "SELECT ramet_fetch()") == turn - 1
            assert common.python(ENDS, code).wait(60) == 0
        assert one(b, "SELECT ramet_pull()") == turn
        assert one(b, "SELECT max(x) FROM t") == -turn
    # One that may only read pushes nothing.
    common.python(ENDS, "db.execute('UPDATE t SET x = 9'); os._exit(0)").wait(60)
    reader = replica("a/app.db", mode="ro", sync="auto")
    assert one(reader, "SELECT max(x) FROM t") == 9
    reader.close()
    assert one(b, "SELECT ramet_fetch()") == 3


def test_a_page_that_cannot_be_had_is_an_error_with_words():
    a = replica("a/app.db")
    fill(a, 10)
    for _ in range(10):  # more than is read ahead
        a.execute("WITH s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s"
                  " WHERE i < 200) INSERT INTO t(x, y)"
                  " SELECT i, hex(randomblob(2000)) FROM s")
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db", fetch_timeout_ms="500")
    one(b, "SELECT count(*) FROM sqlite_master")
    wanted = content(a)
    a.close()  # it holds the store's directory open
    b.close()
    shutil.move("store", "elsewhere")
    b = replica("b/app.db", fetch_timeout_ms="500")
    error = fails("disk I/O error", b.execute, "SELECT sum(length(y)) FROM t")
    assert code_of(error) == "SQLITE_IOERR_READ", code_of(error)
    assert "store" in one(b, "SELECT ramet_errmsg()")
    shutil.move("elsewhere", "store")
    common.wait_until(lambda: not failing(b))
    assert content(b) == wanted


def failing(db):
    try:
        content(db)
        return False
    except sqlite3.OperationalError as error:
        assert code_of(error) == "SQLITE_IOERR_READ", error
        return True


if __name__ == "__main__":
    common.main()
