#!/usr/bin/python3
"""Read-only means read-only: what acts refuses, follows, or is left out."""
import os
import sqlite3
import subprocess
import time

import common
from common import code_of, fails, one, open_db, rows, wait_until

ACTS = ("push", "pull", "fetch", "sync", "hydrate", "reset")


def remote():
    return "file://%s/store/app" % os.path.abspath(".")


def prepare(count=50):
    """a.db: pushed once, and with a commit that is not; b.db: a clone, behind
    by one commit of c.db's."""
    a = open_db("a.db", remote=remote(), sync="manual")
    a.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")
    a.execute("BEGIN")
    a.executemany("INSERT INTO t(x) VALUES(?)", ((i,) for i in range(count)))
    a.execute("COMMIT")
    one(a, "SELECT ramet_push()")
    b = open_db("b.db", remote=remote(), sync="manual")
    one(b, "SELECT count(*) FROM t")
    b.close()
    return a


def more(a, text="more"):
    a.execute("INSERT INTO t(x) VALUES(?)", (text,))
    return one(a, "SELECT ramet_push()")


QUERY_ONLY = "cannot %s: PRAGMA query_only is on"


def tries(db, name, why="is open for reading only: no %s from here"):
    """Both forms of what acts are refused."""
    for form in ("SELECT ramet_%s()", "PRAGMA ramet_%s"):
        error = fails(why % name, db.execute, form % name)
        assert code_of(error) == "SQLITE_READONLY", (name, code_of(error), error)


def test_mode_ro_can_only_read():
    a = prepare()
    more(a)
    a.execute("INSERT INTO t(x) VALUES('not pushed')")
    ro = open_db("a.db", mode="ro", sync="manual")
    for name in ACTS:
        tries(ro, name)
    assert one(ro, "SELECT count(*) FROM t") == 52
    assert one(ro, "SELECT ramet_lsn()") == 2
    assert one(ro, "SELECT local_commits FROM ramet_status") == 1
    b = open_db("b.db", mode="ro", sync="manual")
    tries(b, "pull")
    assert one(b, "SELECT count(*) FROM t") == 50
    # And attached.
    main = open_db("main.db")
    main.execute("ATTACH ? AS b", (common.uri("b.db", mode="ro",
                                              sync="manual"),))
    error = fails("reading only", main.execute, "SELECT ramet_pull('b')")
    assert code_of(error) == "SQLITE_READONLY"
    error = fails("reading only", main.execute, "PRAGMA b.ramet_pull")
    assert code_of(error) == "SQLITE_READONLY"
    # Who may write is not hindered by those who may not, nor lends them this.
    assert one(a, "SELECT ramet_push()") == 3
    tries(ro, "push")


def test_query_only_can_only_read():
    a = prepare()
    a.execute("INSERT INTO t(x) VALUES('not pushed')")
    a.execute("PRAGMA query_only=1")
    for name in ACTS:
        tries(a, name, QUERY_ONLY)
    assert one(a, "SELECT ramet_lsn()") == 1
    a.execute("PRAGMA query_only=0")
    assert one(a, "SELECT ramet_push()") == 2


def test_immutable_can_only_read():
    more(prepare())
    db = open_db("b.db", immutable=1)
    for name in ACTS:
        tries(db, name)
    assert one(db, "SELECT sync FROM ramet_status") == "manual"
    assert one(db, "SELECT count(*) FROM t") == 50


def test_who_can_not_ask_for_query_only_is_not_trusted():
    a = prepare()

    def authorizer(action, *_):
        return (sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_PRAGMA
                else sqlite3.SQLITE_OK)

    a.set_authorizer(authorizer)
    error = fails("query_only", a.execute, "SELECT ramet_push()")
    assert code_of(error) == "SQLITE_READONLY"
    a.set_authorizer(None)
    one(a, "SELECT ramet_push()")


def test_schemas_can_not_act():
    a = prepare()
    for name in ACTS:
        a.execute("CREATE VIEW v_%s AS SELECT ramet_%s()" % (name, name))
        fails("unsafe use", lambda: rows(a, "SELECT * FROM v_%s" % name))
    assert one(a, "SELECT ramet_lsn()") == 1


def test_allow_pull_permits_pulling_and_no_more():
    a = prepare()
    more(a)
    ro = open_db("b.db", mode="ro", sync="manual", allow="pull")
    assert one(ro, "SELECT ramet_fetch()") == 2
    assert one(ro, "SELECT count(*) FROM t") == 50
    assert one(ro, "SELECT ramet_pull()") == 2
    assert one(ro, "SELECT count(*) FROM t") == 51
    for name in ("push", "sync", "hydrate", "reset"):
        tries(ro, name)
    more(a)
    rw = open_db("b.db", sync="manual", allow="pull")
    rw.execute("PRAGMA query_only=1")
    assert one(rw, "SELECT ramet_pull()") == 3
    tries(rw, "push", QUERY_ONLY)


def test_allowed_pull_resolves_nothing():
    """What was committed here is pushed by who may push."""
    a = prepare()
    rw = open_db("b.db", sync="manual")
    rw.execute("INSERT INTO t(x) VALUES('mine')")
    more(a)
    ro = open_db("b.db", mode="ro", sync="manual", allow="pull")
    assert one(ro, "SELECT ramet_pull()") == 1
    assert rows(ro, "SELECT state, local_commits, remote_lsn FROM "
                "ramet_status") == [("diverged", 1, 2)]
    assert one(ro, "SELECT count(*) FROM t") == 51


def test_functions_off_leaves_all_out():
    more(prepare())
    db = open_db("b.db", sync="manual", functions="off")
    for name in ACTS + ("lsn", "errmsg", "version"):
        fails("no such function", db.execute, "SELECT ramet_%s()" % name)
        assert rows(db, "PRAGMA ramet_%s" % name) == [], name
    for table in ("ramet_status", "ramet_log"):
        fails("no such table", db.execute, "SELECT * FROM %s" % table)
    db.enable_load_extension(True)
    db.load_extension(common.SO)
    fails("no such function", db.execute, "SELECT ramet_pull()")
    assert one(db, "SELECT count(*) FROM t") == 50
    # Attached to one that has them.
    other = open_db("other.db")
    other.execute("ATTACH ? AS b", (common.uri("b.db", sync="manual",
                                               functions="off"),))
    for name in ACTS + ("lsn",):
        error = fails("functions=off", other.execute,
                      "SELECT ramet_%s('b')" % name)
        assert code_of(error) == "SQLITE_AUTH"
    assert one(other, "SELECT count(*) FROM b.t") == 50
    open_db("b.db", sync="manual", functions="on").execute(
        "SELECT ramet_lsn()").fetchone()


def test_mode_ro_follows():
    a = prepare()
    ro = open_db("b.db", mode="ro", sync="auto")
    assert one(ro, "SELECT sync FROM ramet_status") == "auto"
    lsn = more(a)
    wait_until(lambda: one(ro, "SELECT ramet_lsn()") == lsn
               or not one(ro, "SELECT count(*) FROM t"))
    assert one(ro, "SELECT count(*) FROM t") == 51
    for name in ACTS:
        tries(ro, name)


def state(db):
    return rows(db, "SELECT local_commits, durable_lsn FROM ramet_status")[0]


def test_who_follows_sends_nothing_of_others():
    """In one process: it shares the thread and the link with who may."""
    a = prepare()
    ro = open_db("b.db", mode="ro", sync="auto")
    manual = open_db("b.db", sync="manual")
    manual.execute("INSERT INTO t(x) VALUES('mine')")
    time.sleep(0.5)  # several polls: nothing must have come of them
    assert state(manual) == (1, 1), state(manual)
    # Who may push, and wants it in the background, is not hindered by it.
    auto = open_db("b.db", sync="auto")
    wait_until(lambda: state(auto) == (0, 2))
    auto.execute("INSERT INTO t(x) VALUES('two')")
    auto.close()  # waits for the push
    assert state(ro) == (0, 3), state(ro)
    # And when it has gone, it is as before.
    manual.execute("INSERT INTO t(x) VALUES('three')")
    time.sleep(0.5)
    assert state(manual) == (1, 3), state(manual)
    assert one(manual, "SELECT ramet_push()") == 4
    one(a, "SELECT ramet_pull()")
    assert one(a, "SELECT count(*) FROM t") == 53


FOLLOW = """
import sys, time, common
db = common.open_db("b.db", mode="ro", sync="auto", close_wait_ms=2000)
print("open", flush=True)
sys.stdin.readline()
db.close()
"""


def test_who_follows_resolves_nothing_of_other_processes():
    a = prepare()
    rw = open_db("b.db", sync="manual")
    rw.execute("INSERT INTO t(x) VALUES('mine')")
    child = common.python(FOLLOW, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"open\n"
    time.sleep(0.6)
    child.communicate(b"\n")
    assert child.returncode == 0
    assert state(rw) == (1, 1)
    assert one(a, "SELECT ramet_fetch()") == 1


def test_who_follows_what_was_never_pushed_makes_no_volume():
    db = open_db("new.db")
    db.execute("CREATE TABLE t(a)")
    db.close()
    ro = open_db("new.db", mode="ro", remote=remote(), sync="auto")
    time.sleep(0.4)
    assert one(ro, "SELECT count(*) FROM t") == 0
    assert one(ro, "SELECT volume FROM ramet_status") is None
    assert not os.path.exists("store")


if __name__ == "__main__":
    common.main()
