#!/usr/bin/python3
"""A child of fork() inherits a connection: whatever becomes of it there, exit,
close, use or exec, nothing of it reaches the parent."""
import os
import sqlite3

import common
from common import (check_integrity, code_of, fails, one, open_db, python,
                    rows)

ROWS = 2000


def make(name="a.db", width=300):
    db = open_db(name, timeout=10, remote="file://%s/store/%s" % (os.getcwd(), name),
                 sync="manual")
    db.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, x)")
    db.execute("CREATE TABLE s(z)")
    db.execute("INSERT INTO s VALUES(1)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO t VALUES(?,?)",
                   ((i, "old" + "-" * width) for i in range(ROWS)))
    db.execute("COMMIT")
    return db


def close_it(db):
    db.close()


def leave_it(db):
    pass


def use_it(db):
    """Each fails in words or answers from SQLite's own cache; none acts."""
    for sql in ("SELECT count(*) FROM t", "DELETE FROM t", "ROLLBACK",
                "BEGIN IMMEDIATE", "UPDATE t SET x='child'", "COMMIT",
                "SELECT ramet_push()", "SELECT ramet_pull()",
                "PRAGMA user_version=77"):
        try:
            db.execute(sql).fetchall()
        except sqlite3.Error:
            pass
    db.close()


def in_child(act, *dbs):
    """Fork; the child acts on each connection and exits, status 0."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for db in dbs:
                act(db)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


ACTS = (close_it, leave_it, use_it)


def words(db):
    return rows(db, "SELECT substr(x,1,3), count(*) FROM t GROUP BY 1")


def test_a_pinned_reader_keeps_its_snapshot():
    writer = make()
    one(writer, "SELECT ramet_push()")
    one(writer, "SELECT ramet_hydrate()")
    for turn, act in enumerate(ACTS):
        before = words(writer)
        reader = open_db("a.db", sync="manual")
        reader.execute("PRAGMA cache_size=5")
        reader.execute("BEGIN")
        assert one(reader, "SELECT z FROM s") == 1
        in_child(act, reader)
        writer.execute("UPDATE t SET x='N%02d' || substr(x,4)" % turn)
        one(writer, "SELECT ramet_hydrate()")  # with a checkpoint
        assert words(reader) == before
        reader.close()
    check_integrity(writer)


def test_the_reader_barrier_stays_up():
    for act in ACTS:
        db = make("%s.db" % act.__name__)
        db.execute("BEGIN EXCLUSIVE")
        in_child(act, db)
        other = open_db("%s.db" % act.__name__)
        assert code_of(fails("locked", one, other, "SELECT count(*) FROM t")) \
            == "SQLITE_BUSY"
        db.execute("DELETE FROM t")
        db.execute("COMMIT")
        assert one(other, "SELECT count(*) FROM t") == 0
        check_integrity(other)


def test_an_open_transaction_goes_on():
    for mode in ("delete", "persist"):
        for act in ACTS:
            for end in ("COMMIT", "ROLLBACK"):
                name = "%s-%s-%s.db" % (mode, act.__name__, end)
                db = make(name, 900)  # more than a journal has in memory
                db.execute("PRAGMA journal_mode=%s" % mode)
                db.execute("PRAGMA cache_size=5")  # it spills, and so does
                db.execute("BEGIN")                # its journal
                db.execute("UPDATE t SET x='new' || substr(x,4)")
                in_child(act, db)
                fails("locked", open_db(name).execute, "BEGIN IMMEDIATE")
                db.execute("UPDATE t SET x='two' || substr(x,4) WHERE k%2=0")
                in_child(act, db)
                db.execute(end)
                expected = [("old", ROWS)] if end == "ROLLBACK" else \
                    [("new", ROWS // 2), ("two", ROWS // 2)]
                assert words(db) == expected
                assert words(open_db(name)) == expected
                check_integrity(db)


def test_a_commit_across_databases_stays_whole():
    for act in ACTS:
        a, b = "%s-a.db" % act.__name__, "%s-b.db" % act.__name__
        db = make(a)
        make(b).close()
        db.execute("ATTACH ? AS b", (common.uri(b),))
        db.execute("BEGIN")
        db.execute("DELETE FROM main.t")
        db.execute("DELETE FROM b.t")
        in_child(act, db)
        db.execute("COMMIT")
        for name in (a, b):
            assert one(open_db(name), "SELECT count(*) FROM t") == 0


def test_what_the_child_tries_is_misuse_and_said():
    db = make()
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM t WHERE k=1")

    def commit(inherited):
        error = fails("misuse", inherited.execute, "COMMIT")
        assert code_of(error) == "SQLITE_MISUSE"

    def read(inherited):
        error = fails("misuse", one, inherited, "SELECT count(*) FROM t")
        assert code_of(error) == "SQLITE_MISUSE"

    in_child(commit, db)
    db.execute("COMMIT")
    assert one(open_db("a.db"), "SELECT count(*) FROM t") == ROWS - 1
    in_child(read, open_db("a.db"))


def test_forks_while_the_maintenance_thread_checkpoints():
    # Only that thread may be at work: one inside SQLite would hold a mutex of
    # SQLite's, which the child would wait for.
    db = make(width=900)
    reader = open_db("a.db", timeout=10)
    reader.execute("PRAGMA cache_size=5")
    for turn in range(12):
        before = words(reader)
        reader.execute("BEGIN")
        assert one(reader, "SELECT z FROM s") == 1
        for step in range(6):  # two MiB each: generations of the log close
            db.execute("UPDATE t SET x='%d%02d' || substr(x,4)" % (step, turn))
            if step == 2:
                in_child(use_it if turn % 2 else close_it, db, reader)
        assert words(reader) == before
        reader.execute("COMMIT")
    check_integrity(db)


def test_a_stateless_reader_is_not_used_by_the_child():
    db = make()
    one(db, "SELECT ramet_push()")
    view = open_db("view.db", remote="file://%s/store/a.db@1" % os.getcwd())
    view.execute("PRAGMA cache_size=5")
    view.execute("BEGIN")
    assert one(view, "SELECT z FROM s") == 1

    def read(inherited):
        error = fails("misuse", words, inherited)
        assert code_of(error) == "SQLITE_MISUSE"

    in_child(read, view)
    assert words(view) == [("old", ROWS)]


SCRIPT = """
import os, sys
import common
db = common.open_db("a.db", timeout=10, sync="manual")
db.execute("PRAGMA cache_size=5")
db.execute(sys.argv[1])
common.one(db, "SELECT z FROM s")
if "EXCLUSIVE" in sys.argv[1]:
    db.execute("UPDATE t SET x='new' || substr(x,4)")
if os.fork() == 0:
    if sys.argv[2] == "exec":
        os.execv("/bin/true", ["true"])
    sys.exit(0)                       # as any program ends: all is closed
assert os.wait()[1] == 0
print("go", flush=True)
sys.stdin.readline()
print(common.rows(db, "SELECT substr(x,1,3), count(*) FROM t GROUP BY 1"))
db.execute("COMMIT")
"""


def test_an_ordinary_exit_and_an_exec_of_the_child():
    db = make()
    one(db, "SELECT ramet_push()")
    for how in ("exit", "exec"):
        parent = python(SCRIPT, "BEGIN", how, stdin=-1, stdout=-1, text=True)
        assert parent.stdout.readline() == "go\n"
        db.execute("UPDATE t SET x='two' || substr(x,4)")
        one(db, "SELECT ramet_hydrate()")
        assert parent.communicate("\n")[0] == "[('old', %d)]\n" % ROWS
        assert parent.returncode == 0
        parent = python(SCRIPT, "BEGIN EXCLUSIVE", how, stdin=-1, stdout=-1,
                        text=True)
        assert parent.stdout.readline() == "go\n"
        fails("locked", one, open_db("a.db"), "SELECT count(*) FROM t")
        assert parent.communicate("\n")[0] == "[('new', %d)]\n" % ROWS
        assert parent.returncode == 0
        db.execute("UPDATE t SET x='old' || substr(x,4)")
        check_integrity(db)


if __name__ == "__main__":
    common.main()
