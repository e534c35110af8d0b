#!/usr/bin/python3
"""Where opening fails, SQL users are told why, and nobody else's why."""
import os
import sqlite3

import common
from common import code_of, fails, one, open_db, open_native, uri


def remote(name="app"):
    return "file://%s/store/%s" % (os.path.abspath("."), name)


def bound():
    db = open_db("app.db", remote=remote(), sync="manual")
    db.execute("CREATE TABLE t(a)")
    one(db, "SELECT ramet_push()")
    return db


def test_an_open_that_fails_says_why():
    bound().close()
    error = fails("belongs to", open_db, "app.db", remote=remote("other"))
    assert code_of(error) == "SQLITE_CANTOPEN"
    assert "unable to open database file" in str(error)
    assert "app.db" in str(error)
    error = fails("no volume", open_db, "new.db", remote=remote("none"),
                  mode="rw")
    assert not os.path.exists("new.db")
    fails("did you mean 'sync'", open_db, "app.db", sinc="manual")
    os.mkdir("folder.db")
    fails("not a regular file", open_db, "folder.db")


def test_a_token_that_is_not_there_is_no_missing_database():
    with open("ramet.conf", "w") as conf:
        conf.write("[remote work]\nurl = http://127.0.0.1:1/\n"
                   "token_file = none.token\n")
    os.environ["RAMET_CONFIG"] = os.path.abspath("ramet.conf")
    try:
        fails("none.token", open_db, "new.db", remote="work:app")
    finally:
        del os.environ["RAMET_CONFIG"]


def test_a_busy_file_says_who():
    native = open_native("n.db")
    native.execute("CREATE TABLE t(a)")
    native.execute("BEGIN EXCLUSIVE")
    error = fails("another program has", open_db, "n.db")
    assert code_of(error) == "SQLITE_BUSY", code_of(error)
    assert "database is locked" in str(error)
    native.execute("COMMIT")
    native.close()
    open_db("n.db").close()


def test_what_is_not_there_fails_in_sqlites_own_words():
    for name in ("none.db", "no/such/folder.db"):
        error = fails("unable to open", open_db, name, mode="rw")
        assert str(error) == "unable to open database file", error
        db = open_db("main.db")
        error = fails("unable to open database: ", db.execute, "ATTACH ? AS x",
                      (uri(name, mode="rw"),))
        db.close()


def test_attach_tells_its_connection_and_no_other():
    bound().close()
    db = open_db("main.db")
    other = open_db("other.db")
    assert one(db, "SELECT ramet_errmsg()") is None
    error = fails("unable to open database", db.execute, "ATTACH ? AS x",
                  (uri("app.db", remote=remote("other")),))
    assert code_of(error) == "SQLITE_CANTOPEN"
    assert "belongs to" in one(db, "SELECT ramet_errmsg()")
    assert one(other, "SELECT ramet_errmsg()") is None
    assert one(open_db("main.db"), "SELECT ramet_errmsg()") is None
    fails("did you mean", open_db, "main.db", remot="x")
    assert "belongs to" in one(db, "SELECT ramet_errmsg()")
    # And it goes on as if nothing had been.
    db.execute("ATTACH ? AS x", (uri("app.db", sync="manual"),))
    assert one(db, "SELECT count(*) FROM x.t") == 0


def test_the_last_failure_is_that_of_the_connection():
    a = bound()
    b = open_db("app.db", sync="manual")
    fails("no remote", open_db("main.db").execute, "SELECT ramet_push()")
    assert one(b, "SELECT ramet_errmsg()") is None
    fails("not a Ramet replica", b.execute, "SELECT ramet_push('none')")
    assert "not a Ramet replica" in one(b, "SELECT ramet_errmsg()")
    assert one(a, "SELECT ramet_errmsg()") is None
    b.execute("BEGIN")
    fails("transaction", b.execute, "SELECT ramet_pull()")
    b.execute("ROLLBACK")
    assert "transaction" in one(b, "SELECT ramet_errmsg()")
    assert "transaction" in one(b, "SELECT ramet_errmsg('main')")
    a.execute("BEGIN IMMEDIATE")
    fails("locked", b.execute, "INSERT INTO t VALUES(1)")
    assert "another writer" in one(b, "SELECT ramet_errmsg()")


def test_a_refused_open_can_be_used_for_nothing():
    """By a host that goes on all the same."""
    bound().close()
    db = open_db("main.db")
    name = uri("app.db", remote=remote("other"))
    for _ in range(3):
        fails("unable to open", db.execute, "ATTACH ? AS x", (name,))
        fails("no such table", db.execute, "SELECT * FROM x.t")
    fails("unable to open", db.execute, "VACUUM INTO ?", (name,))
    db.execute("CREATE TABLE fine(a)")
    assert one(db, "PRAGMA integrity_check") == "ok"
    assert one(open_db("app.db", sync="manual"), "SELECT count(*) FROM t") == 0


if __name__ == "__main__":
    common.main()
