#!/usr/bin/python3
"""SQL on one replica: transactions, page sizes, vacuum, copies, modes."""
import os
import shutil
import sqlite3

import common
from common import (check_integrity, code_of, fails, one, open_db,
                    open_native, rows)

PAGE_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


def fill(db, count=200, width=300):
    db.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, x TEXT,"
               " y BLOB)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO t(x, y) VALUES(?, ?)",
                   (("row %d" % i, bytes([i % 251]) * width)
                    for i in range(count)))
    db.execute("COMMIT")


def content(db, table="t"):
    return rows(db, "SELECT * FROM %s ORDER BY 1" % table)


def test_a_commit_is_there_after_reopening():
    db = open_db("a.db")
    fill(db)
    before = content(db)
    db.close()
    db = open_db("a.db")
    assert content(db) == before
    check_integrity(db)
    db.close()


def test_a_clean_close_leaves_a_plain_database():
    db = open_db("a.db")
    fill(db)
    before = content(db)
    db.close()
    plain = open_native("a.db")
    assert content(plain) == before
    check_integrity(plain)
    plain.close()


def test_an_open_replica_is_no_database_to_others():
    db = open_db("a.db")
    fill(db)
    with open("a.db", "rb") as base:
        start = base.read(16)
    assert start != b"SQLite format 3\0", start
    plain = open_native("a.db")
    fails("not a database", plain.execute, "SELECT * FROM t")
    plain.close()
    db.close()


def test_an_empty_database_that_is_only_opened_stays_one():
    open("app.db", "wb").close()
    for _ in range(2):
        db = open_db("app.db")
        assert one(db, "SELECT count(*) FROM sqlite_schema") == 0
        native = open_native("app.db")
        assert one(native, "SELECT count(*) FROM sqlite_schema") == 0
        native.close()
        assert os.path.getsize("app.db") == 0
        db.close()
        os.utime("app.db", (1, 1))  # as after a copy
    assert os.path.getsize("app.db") == 0


def test_an_idle_native_connection_notices_what_happened_meanwhile():
    """It goes by the header's counter, which not every commit writes."""
    db = open_db("a.db")
    fill(db)
    db.close()
    native = open_native("a.db")
    seen = set()
    for turn in range(8):
        assert len(content(native)) == 200  # warms its cache
        seen.add(open("a.db", "rb").read(28)[24:])
        db = open_db("a.db")
        other = open_db("a.db")
        for commit in range(turn + 1):
            writer = other if commit % 3 == 2 else db
            writer.execute("UPDATE t SET x = ? WHERE id = ?",
                           ("turn %d" % turn, commit * 20 + 1))
        wanted = content(db)
        db.close()
        other.close()
        assert content(native) == wanted
        check_integrity(native)
    assert len(seen) == 8


def written_to_logs():
    """Bytes of the log files, without the zeros in which they grow."""
    total = 0
    for name in os.listdir("a.db-ramet"):
        if name.startswith("log"):
            with open(os.path.join("a.db-ramet", name), "rb") as log:
                total += len(log.read().rstrip(b"\0"))
    return total


def test_one_row_commits_leave_page_1_out():
    """And what is left out is not missed: by others, or after a crash."""
    db = open_db("a.db")
    fill(db)
    other = open_db("a.db")
    logs = written_to_logs()
    for turn in range(100):
        db.execute("UPDATE t SET x = ? WHERE id = 1", ("n%d" % turn,))
        if turn % 10 == 0:
            assert content(other) == content(db)
        if turn == 50:  # now page 1 changes in earnest
            db.execute("PRAGMA user_version=7")
            db.execute("CREATE TABLE u(a)")
        if turn == 70:
            db.execute("BEGIN")
            db.execute("UPDATE t SET x = 'no' WHERE id = 1")
            db.execute("ROLLBACK")
            other.execute("UPDATE t SET x = 'other' WHERE id = 2")
    assert one(other, "PRAGMA user_version") == 7
    assert content(other) == content(db)
    check_integrity(db)
    check_integrity(other)
    grown = written_to_logs() - logs
    assert grown < 100 * 6000, grown


def test_a_plain_database_is_adopted_in_place():
    plain = open_native("a.db")
    plain.execute("PRAGMA page_size=8192")
    fill(plain)
    before = content(plain)
    plain.close()
    db = open_db("a.db")
    assert content(db) == before
    db.execute("DELETE FROM t WHERE id % 2")
    after = content(db)
    db.close()
    plain = open_native("a.db")
    assert content(plain) == after
    check_integrity(plain)
    plain.close()


def test_a_wal_database_is_adopted():
    plain = open_native("a.db")
    assert one(plain, "PRAGMA journal_mode=WAL") == "wal"
    fill(plain)
    before = content(plain)
    plain.close()
    db = open_db("a.db")
    assert content(db) == before
    db.execute("DELETE FROM t WHERE id < 10")
    check_integrity(db)
    db.close()


def test_a_database_with_a_finished_journal_is_adopted():
    for mode in "persist", "truncate":
        name = mode + ".db"
        plain = open_native(name)
        assert one(plain, "PRAGMA journal_mode=" + mode) == mode
        fill(plain)
        before = content(plain)
        plain.close()
        assert os.path.exists(name + "-journal")
        db = open_db(name)
        assert content(db) == before
        db.execute("DELETE FROM t WHERE id < 10")
        after = content(db)
        db.close()
        db = open_db(name)
        assert content(db) == after
        db.close()
        plain = open_native(name)  # and has nothing to roll back
        assert content(plain) == after
        plain.close()


def test_a_database_with_a_transaction_cut_off_is_refused():
    plain = open_native("a.db")
    fill(plain)
    plain.execute("PRAGMA cache_size=1")
    before = content(plain)
    plain.execute("BEGIN")
    plain.execute("UPDATE t SET x = 'half done'")
    shutil.copy("a.db", "b.db")
    shutil.copy("a.db-journal", "b.db-journal")
    plain.execute("ROLLBACK")
    fails("unable to open", open_db, "b.db")
    plain = open_native("b.db")
    assert content(plain) == before
    plain.close()
    db = open_db("b.db")
    assert content(db) == before
    db.close()


def test_rollback_brings_everything_back():
    db = open_db("a.db")
    fill(db)
    before = content(db)
    db.execute("BEGIN")
    db.execute("DELETE FROM t WHERE id > 50")
    db.execute("UPDATE t SET x = 'changed'")
    db.execute("CREATE TABLE u(a)")
    db.execute("ROLLBACK")
    assert content(db) == before
    fails("no such table", db.execute, "SELECT * FROM u")
    check_integrity(db)


def test_rollback_after_a_spill():
    db = open_db("a.db")
    fill(db)
    before = content(db)
    db.execute("PRAGMA cache_size=5")
    db.execute("BEGIN")
    fill_more = "INSERT INTO t(x, y) SELECT x, zeroblob(3000) FROM t"
    db.execute(fill_more)
    db.execute(fill_more)
    db.execute("UPDATE t SET y = zeroblob(2000) WHERE id < 100")
    db.execute("ROLLBACK")
    assert content(db) == before
    check_integrity(db)
    other = open_db("a.db")
    assert content(other) == before
    db.execute("INSERT INTO t(x) VALUES('still works')")
    assert one(other, "SELECT count(*) FROM t") == len(before) + 1


def test_a_large_journal_spills_and_rolls_back():
    db = open_db("a.db")
    db.execute("PRAGMA cache_size=20")
    fill(db, 3000, 1500)  # 4.5 MB: the journal's window is 1 MiB
    before = rows(db, "SELECT id, length(y) FROM t")
    db.execute("BEGIN")
    db.execute("SAVEPOINT s")
    db.execute("UPDATE t SET y = randomblob(1500)")
    db.execute("ROLLBACK TO s")
    assert rows(db, "SELECT id, length(y) FROM t") == before
    db.execute("UPDATE t SET y = randomblob(1400)")
    db.execute("ROLLBACK")
    assert rows(db, "SELECT id, length(y) FROM t") == before
    check_integrity(db)


def test_savepoints_nest():
    db = open_db("a.db")
    fill(db, 20)
    db.execute("BEGIN")
    db.execute("INSERT INTO t(x) VALUES('one')")
    db.execute("SAVEPOINT a")
    db.execute("INSERT INTO t(x) VALUES('two')")
    db.execute("SAVEPOINT b")
    db.execute("DELETE FROM t")
    db.execute("ROLLBACK TO b")
    db.execute("RELEASE b")
    db.execute("ROLLBACK TO a")
    db.execute("INSERT INTO t(x) VALUES('three')")
    db.execute("COMMIT")
    assert [row[1] for row in content(db)[20:]] == ["one", "three"]


def test_vacuum_changes_to_each_page_size_and_back():
    for start in (512, 4096, 65536):
        name = "a%d.db" % start
        db = open_db(name)
        db.execute("PRAGMA page_size=%d" % start)
        fill(db)
        before = content(db)
        for size in PAGE_SIZES + tuple(reversed(PAGE_SIZES)):
            db.execute("PRAGMA page_size=%d" % size)
            db.execute("VACUUM")
            assert one(db, "PRAGMA page_size") == size
            assert content(db) == before
            check_integrity(db)
            other = open_db(name)
            assert one(other, "PRAGMA page_size") == size
            assert content(other) == before
            other.close()
        db.close()
        db = open_db(name)
        assert content(db) == before
        db.close()


def test_a_reader_is_no_victim_of_a_changed_page_size():
    db = open_db("a.db")
    fill(db)
    before = content(db)
    reader = open_db("a.db")
    reader.execute("BEGIN")
    assert content(reader) == before
    db.execute("PRAGMA page_size=512")
    try:
        db.execute("VACUUM")
    except sqlite3.OperationalError as error:
        assert code_of(error) == "SQLITE_BUSY", error
        assert content(reader) == before  # it had to wait: that is allowed
    assert content(reader) == before
    reader.execute("COMMIT")
    db.execute("PRAGMA page_size=512")
    db.execute("VACUUM")
    assert content(reader) == before
    assert one(reader, "PRAGMA page_size") == 512


def test_auto_vacuum_both_ways():
    for mode, number in (("FULL", 1), ("INCREMENTAL", 2)):
        name = mode + ".db"
        db = open_db(name)
        db.execute("PRAGMA auto_vacuum=%s" % mode)
        fill(db, 2000)
        assert one(db, "PRAGMA auto_vacuum") == number
        pages = one(db, "PRAGMA page_count")
        db.execute("DELETE FROM t WHERE id > 100")
        if mode == "INCREMENTAL":
            assert one(db, "PRAGMA page_count") == pages
            db.executescript("PRAGMA incremental_vacuum")  # steps to the end
        assert one(db, "PRAGMA page_count") < pages / 4
        check_integrity(db)
        other = open_db(name)
        assert one(other, "SELECT count(*) FROM t") == 100
        fill(db, 2000)
        check_integrity(other)
        db.execute("PRAGMA auto_vacuum=NONE")
        db.execute("VACUUM")
        assert one(db, "PRAGMA auto_vacuum") == 0
        check_integrity(other)
        other.close()
        db.close()
        plain = open_native(name)
        assert one(plain, "SELECT count(*) FROM t") == 2100
        check_integrity(plain)
        plain.close()


def test_a_database_shrinks_and_grows_again():
    db = open_db("a.db")
    other = open_db("a.db")
    for turn in range(5):
        fill(db, 1000 + turn * 100)
        assert content(other) == content(db)
        db.execute("DELETE FROM t WHERE id % 10")
        db.execute("VACUUM")
        assert content(other) == content(db)
        check_integrity(other)
        size = one(db, "PRAGMA page_count") * one(db, "PRAGMA page_size")
        assert size < 200000 * (turn + 1)


def test_vacuum_into_either_side():
    db = open_db("a.db")
    fill(db)
    before = content(db)
    db.execute("VACUUM INTO 'plain.db'")
    db.execute("ATTACH ? AS copy", (common.uri("copy.db"),))
    db.execute("DETACH copy")
    db.execute("VACUUM INTO ?", (common.uri("into.db"),))
    db.execute("VACUUM INTO ?", ("file:%s?vfs=unix" %
                                 os.path.abspath("plain2.db"),))
    for name in ("plain.db", "into.db"):
        copy = open_db(name)
        assert content(copy) == before
        check_integrity(copy)
        copy.close()
    plain = open_native("plain2.db")
    assert content(plain) == before
    plain.close()


def test_backup_both_sides_and_page_sizes():
    for source_size in (1024, 4096, 16384):
        for target_size in (1024, 4096, 16384):
            for kinds in ("rn", "nr", "rr"):
                names = ["%s%d%d%d.db" % (kinds, i, source_size, target_size)
                         for i in range(2)]
                source, target = [
                    open_db(name) if kind == "r" else open_native(name)
                    for kind, name in zip(kinds, names)]
                source.execute("PRAGMA page_size=%d" % source_size)
                fill(source, 300)
                target.execute("PRAGMA page_size=%d" % target_size)
                fill(target, 10)
                source.backup(target, pages=7)
                assert content(target) == content(source)
                check_integrity(target)
                target.close()
                target = (open_db if kinds[1] == "r" else open_native)(names[1])
                assert content(target) == content(source)
                check_integrity(target)
                target.close()
                source.close()


def test_backup_of_a_wal_database_can_be_opened():
    plain = open_native("plain.db")
    plain.execute("PRAGMA journal_mode=WAL")
    fill(plain)
    db = open_db("a.db")
    plain.backup(db)
    assert content(db) == content(plain)
    db.execute("DELETE FROM t WHERE id = 1")
    other = open_db("a.db")
    assert content(other) == content(db)
    check_integrity(other)


def test_a_backup_sees_writes_meanwhile():
    db = open_db("a.db")
    fill(db, 500)
    target = open_db("b.db")
    writer = open_db("a.db")
    done = []

    def progress(status, remaining, total):
        if len(done) < 5:
            done.append(total)
            writer.execute("UPDATE t SET x = ? WHERE id < 50", (len(done),))

    db.backup(target, pages=5, progress=progress)
    assert len(done) == 5
    assert content(target) == content(db)
    check_integrity(target)


def test_journal_modes_and_rollback_in_each():
    for mode in ("delete", "truncate", "persist", "memory", "off"):
        db = open_db(mode + ".db")
        assert one(db, "PRAGMA journal_mode=%s" % mode) == mode
        fill(db)
        before = content(db)
        other = open_db(mode + ".db")
        assert content(other) == before
        db.execute("BEGIN")
        db.execute("UPDATE t SET x = 'no' WHERE id < 100")
        db.execute("ROLLBACK")
        if mode != "off":  # there a rollback's outcome is undefined
            assert content(db) == before
        assert content(other) == before
        assert not os.path.exists(mode + ".db-journal")
        db.execute("UPDATE t SET x = 'yes'")
        assert content(other) == content(db)
        check_integrity(other)
        db.close()
        other.close()


def test_synchronous_settings():
    for level in (0, 1, 2, 3):
        db = open_db("s%d.db" % level)
        db.execute("PRAGMA synchronous=%d" % level)
        fill(db)
        db.execute("PRAGMA cache_size=5")
        db.execute("UPDATE t SET y = zeroblob(500)")
        db.close()
        db = open_db("s%d.db" % level)
        assert one(db, "SELECT count(*) FROM t WHERE y = zeroblob(500)") == 200
        check_integrity(db)
        db.close()


def test_wal_is_refused_as_on_any_vfs_without_shared_memory():
    db = open_db("a.db")
    fill(db, 10)
    assert one(db, "PRAGMA journal_mode=WAL") == "delete"
    db.execute("PRAGMA journal_mode=truncate")
    assert one(db, "PRAGMA journal_mode=WAL") == "truncate"
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    fill(db, 10)
    assert one(db, "PRAGMA journal_mode=WAL") == "truncate"
    fill(db, 10)
    assert one(db, "SELECT count(*) FROM t") == 30
    check_integrity(db)
    db.close()
    plain = open_native("a.db")
    assert one(plain, "PRAGMA journal_mode") == "delete"
    plain.close()


def test_exclusive_mode_commits_are_seen_when_it_ends():
    db = open_db("a.db")
    fill(db, 50)
    reader = open_db("a.db")
    assert one(reader, "SELECT count(*) FROM t") == 50
    assert one(db, "PRAGMA locking_mode=EXCLUSIVE") == "exclusive"
    for turn in range(20):
        fill(db, 5)
        if turn == 10:
            db.execute("BEGIN")
            db.execute("DELETE FROM t")
            db.execute("ROLLBACK")
    fails("locked", reader.execute, "INSERT INTO t(x) VALUES('no')")
    db.execute("PRAGMA locking_mode=NORMAL")
    assert one(db, "SELECT count(*) FROM t") == 150
    assert one(reader, "SELECT count(*) FROM t") == 150
    reader.execute("UPDATE t SET x = 'reader'")
    assert one(db, "SELECT count(*) FROM t WHERE x = 'reader'") == 150
    check_integrity(db)
    check_integrity(reader)


def test_the_header_is_a_plain_one_again_after_exclusive_mode():
    db = open_db("a.db")
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    fill(db, 50)
    for turn in range(7):
        db.execute("UPDATE t SET x = ?", (turn,))
    before = content(db)
    db.close()
    plain = open_native("a.db")
    assert content(plain) == before
    check_integrity(plain)
    plain.close()


def test_read_only():
    db = open_db("a.db")
    fill(db)
    reader = open_db("a.db", mode="ro")
    assert content(reader) == content(db)
    error = fails("readonly", reader.execute, "DELETE FROM t")
    assert code_of(error).startswith("SQLITE_READONLY"), code_of(error)
    db.execute("DELETE FROM t WHERE id < 100")
    assert content(reader) == content(db)
    reader.close()
    db.close()
    fails("unable to open", lambda: open_db("absent.db", mode="rw"))
    assert not os.path.exists("absent.db")


def test_nolock_and_immutable():
    db = open_db("a.db")
    fill(db, 30)
    for parameter in ("nolock", "immutable"):
        reader = open_db("a.db", **{parameter: "1"})
        assert one(reader, "SELECT count(*) FROM t") == 30
        check_integrity(reader)
        reader.close()
    writer = open_db("a.db", nolock="1")
    writer.execute("BEGIN")
    writer.execute("DELETE FROM t WHERE id > 20")
    writer.execute("ROLLBACK")
    assert one(writer, "SELECT count(*) FROM t") == 30
    writer.execute("DELETE FROM t WHERE id > 20")
    assert one(db, "SELECT count(*) FROM t") == 20
    db.execute("DELETE FROM t WHERE id > 10")
    assert one(writer, "SELECT count(*) FROM t") == 10
    writer.execute("INSERT INTO t(x) VALUES('more')")
    assert one(db, "SELECT count(*) FROM t") == 11
    check_integrity(db)
    writer.close()
    db.execute("INSERT INTO t(x) VALUES('no lock is left')")


def test_an_immutable_reader_stays_at_its_snapshot():
    db = open_db("a.db")
    fill(db, 2000)
    reader = open_db("a.db", immutable="1")
    assert one(reader, "SELECT count(*) FROM t") == 2000
    db.execute("DELETE FROM t WHERE id > 100")
    fails("locked", db.execute, "VACUUM")  # it takes EXCLUSIVE at once
    fill(db, 10)
    assert one(reader, "SELECT sum(length(y)) FROM t") == 2000 * 300
    check_integrity(reader)
    reader.close()
    db.execute("VACUUM")


def test_empty_and_odd_files():
    db = open_db("a.db")
    assert rows(db, "SELECT * FROM sqlite_master") == []
    other = open_db("a.db")
    assert rows(other, "SELECT * FROM sqlite_master") == []
    fill(db, 3)
    assert len(content(other)) == 3
    with open("text.db", "w") as text:
        text.write("This is no database, but it is long enough to be one.\n"
                   * 100)
    before = open("text.db", "rb").read()
    try:
        bad = open_db("text.db")
        bad.execute("SELECT * FROM sqlite_master")
        raise AssertionError("opened a text file")
    except sqlite3.DatabaseError:
        pass
    bad.close()
    assert open("text.db", "rb").read() == before


def test_what_is_no_file_is_refused_and_left_alone():
    os.mkdir("folder.db")
    os.mkfifo("pipe.db")
    for name in ("folder.db", "pipe.db"):
        error = common.fails("unable to open", common.open_db, name)
        assert common.code_of(error) == "SQLITE_CANTOPEN"
    assert sorted(os.listdir(".")) == ["folder.db", "pipe.db"]


def test_large_pages_and_overflow():
    db = open_db("a.db")
    db.execute("PRAGMA page_size=65536")
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, y BLOB)")
    blobs = [os.urandom(n) for n in (0, 1, 65535, 65536, 200000, 1000000)]
    for blob in blobs:
        db.execute("INSERT INTO t(y) VALUES(?)", (blob,))
    db.close()
    db = open_db("a.db")
    assert [row[1] for row in content(db)] == blobs
    check_integrity(db)


def test_incremental_blobs():
    db = open_db("a.db")
    fill(db, 10, 10000)
    with db.blobopen("t", "y", 5) as blob:
        blob.seek(5000)
        blob.write(b"changed")
    other = open_db("a.db")
    value = one(other, "SELECT y FROM t WHERE id = 5")
    assert value[5000:5007] == b"changed" and value[5007] == 4
    check_integrity(other)


def test_functions_and_pragmas():
    db = open_db("a.db")
    fill(db, 5)
    assert one(db, "SELECT ramet_version()") == one(db, "PRAGMA ramet_version")
    assert one(db, "SELECT ramet_lsn()") == 0
    assert one(db, "SELECT ramet_lsn('main')") == 0
    fails("not a Ramet replica", db.execute, "SELECT ramet_lsn('temp')")
    db.execute("BEGIN")
    fails("inside a transaction", db.execute, "SELECT ramet_push()")
    fails("inside a transaction", db.execute, "PRAGMA ramet_push")
    db.execute("ROLLBACK")
    db.execute("CREATE VIEW v AS SELECT ramet_push() AS x")
    fails("unsafe use", db.execute, "SELECT * FROM v")
    status = db.execute("SELECT schema, state, remote, page_size, pages"
                        " FROM ramet_status").fetchall()
    assert len(status) == 1, status
    assert status[0][:4] == ("main", "local", None, 4096), status
    db.execute("ATTACH ? AS two", (common.uri("b.db"),))
    db.execute("CREATE TABLE two.u(a)")
    assert [row[0] for row in db.execute("SELECT schema FROM ramet_status")] \
        == ["main", "two"]
    assert one(db, "SELECT schema FROM ramet_status('two')") == "two"
    assert rows(db, "SELECT * FROM ramet_status('temp')") == []
    assert rows(db, "SELECT * FROM ramet_log") == []


def test_bad_parameters_are_named():
    for name, value, says in (
            ("sync", "often", "sync"), ("replica", "some", "replica"),
            ("replica", "none", "remote=URL"), ("allow", "push", "allow"),
            ("functions", "none", "functions"),
            ("fetch_timeout_ms", "-1", "fetch_timeout_ms"),
            ("cache_limit", "1GB", "cache_limit"),
            ("bases_limit", "1GB", "bases_limit"),
            ("close_wait_ms", "", "close_wait_ms")):
        try:
            open_db("a.db", **{name: value}).execute("SELECT 1")
            raise AssertionError("took %s=%s" % (name, value))
        except sqlite3.OperationalError as error:
            assert "unable to open database file" in str(error), error
            assert says in str(error), error
            assert error.sqlite_errorname == "SQLITE_CANTOPEN"
        assert not os.path.exists("a.db")


def test_mistyped_parameters_are_told():
    for wrong, right in (("remot", "remote"), ("sinc", "sync"),
                         ("Remote", "remote"), ("fetch_timeout",
                                                "fetch_timeout_ms"),
                         ("cache_limits", "cache_limit"), ("alow", "allow"),
                         ("function", "functions")):
        for vfs in "ramet", "ramet-auto":
            fails("did you mean '%s'?" % right,
                  lambda: open_db("a.db", vfs=vfs, **{wrong: "x"}))
    assert not os.path.exists("a.db")
    # Other VFSs and extensions have theirs.
    open_db("a.db", key="secret", max="3", tz="UTC", journal="x",
            temp="1").close()


def test_ramet_auto_leaves_plain_databases_alone():
    db = open_db("plain.db", vfs="ramet-auto")
    assert one(db, "PRAGMA journal_mode=WAL") == "wal"
    fill(db)
    assert os.path.exists("plain.db-wal")
    assert not os.path.exists("plain.db-ramet")
    db.close()
    open_db("replica.db").execute("CREATE TABLE t(a)").close()
    db = open_db("replica.db", vfs="ramet-auto")
    assert one(db, "SELECT count(*) FROM ramet_status") == 1
    assert one(db, "PRAGMA journal_mode=WAL") == "delete"
    db.close()


def test_reading_a_plain_database_leaves_it_one():
    plain = open_native("plain.db")
    fill(plain)
    before = content(plain)
    plain.close()
    db = open_db("plain.db", mode="ro")
    assert content(db) == before
    db.close()
    assert os.listdir(".") == ["plain.db"]


if __name__ == "__main__":
    common.main()
