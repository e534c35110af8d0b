#!/usr/bin/python3
"""A database file that somebody deleted: whoever creates finds the way clear, as
beside a plain database; what the remote does not have is kept."""
import os
import shutil
import sqlite3

import common
from common import fails, one, open_db, rows


def remote():
    return "file://" + os.path.abspath("store/app")


def lost():
    try:
        return sorted(os.listdir("app.db-ramet/lost"))
    except FileNotFoundError:
        return []


def make(path="app.db", **parameters):
    db = open_db(path, timeout=10, **parameters)
    db.execute("CREATE TABLE t(x)")
    db.execute("INSERT INTO t VALUES('first')")
    return db


def check_new(db):
    assert rows(db, "SELECT name FROM sqlite_master") == []
    db.execute("CREATE TABLE u(y)")
    assert one(db, "SELECT remote FROM ramet_status") in (None, "")


def test_a_deleted_database_is_made_anew():
    for _ in range(3):
        make().close()
        os.remove("app.db")
        db = open_db("app.db")
        check_new(db)
        db.close()
        os.remove("app.db")
        assert lost() == []


def test_it_is_made_anew_though_others_have_it_open():
    old = make()
    os.remove("app.db")
    db = open_db("app.db")
    check_new(db)
    assert rows(old, "SELECT x FROM t") == [("first",)]
    old.close()
    db.execute("INSERT INTO u VALUES(1)")
    db.close()
    assert rows(open_db("app.db"), "SELECT y FROM u") == [(1,)]


def test_without_create_it_is_refused_with_the_ways_out():
    make().close()
    os.remove("app.db")
    for mode in ("rw", "ro"):
        try:
            open_db("app.db", mode=mode)
            raise AssertionError("was opened")
        except sqlite3.Error as error:
            words = str(error)
        assert "ramet clone" in words and "ramet lost" in words, words


def test_the_old_remote_is_not_written_by_the_new_database():
    db = make(remote=remote(), sync="manual")
    one(db, "SELECT ramet_push()")
    db.close()
    os.remove("app.db")
    db = open_db("app.db")
    check_new(db)
    fails("has no remote", one, db, "SELECT ramet_push()")
    db.close()
    assert lost() == []
    clone = open_db("clone.db", remote=remote(), sync="manual")
    assert one(clone, "SELECT ramet_lsn()") == 1
    assert rows(clone, "SELECT x FROM t") == [("first",)]


def test_with_a_remote_it_is_cloned_lazily():
    db = make(remote=remote(), sync="manual")
    one(db, "SELECT ramet_push()")
    db.close()
    os.remove("app.db")
    db = open_db("app.db", remote=remote(), sync="manual")
    assert rows(db, "SELECT x FROM t") == [("first",)]
    db.execute("INSERT INTO t VALUES('second')")
    assert one(db, "SELECT ramet_push()") == 2
    assert lost() == []


def dirty_replica():
    """What a killed program leaves: a commit that is in the log alone."""
    db = make(remote=remote(), sync="manual")
    one(db, "SELECT ramet_push()")
    db.close()
    child = common.python("""
import common, os, sys
db = common.open_db("app.db", timeout=10, sync="manual")
db.execute("INSERT INTO t VALUES('not pushed')")
os._exit(0)
""")
    assert child.wait(60) == 0
    os.remove("app.db")


def rescue(name, out):
    done = common.subprocess.run(
        [os.environ["RAMET_BIN"], "lost", "app.db", name, out],
        stdout=common.subprocess.PIPE, stderr=common.subprocess.STDOUT,
        text=True)
    assert done.returncode == 0, done.stdout


def check_rescued(name, out="rescued.db"):
    rescue(name, out)
    db = open_db(out, timeout=10, sync="manual")
    assert rows(db, "SELECT x FROM t") == [("first",), ("not pushed",)]
    assert one(db, "SELECT local_commits FROM ramet_status") == 1
    common.check_integrity(db)
    assert one(db, "SELECT ramet_push()") == 2
    db.close()


def test_what_was_not_pushed_is_kept_and_comes_back():
    dirty_replica()
    db = open_db("app.db")
    check_new(db)
    db.close()
    (name,) = lost()
    os.remove("app.db")  # and what was kept outlives the next one
    open_db("app.db").close()
    os.remove("app.db")
    assert lost() == [name]
    check_rescued(name)


def test_commits_of_a_program_that_goes_on_are_kept():
    db = make(remote=remote(), sync="manual")
    one(db, "SELECT ramet_push()")
    db.execute("INSERT INTO t VALUES('not pushed')")
    os.remove("app.db")
    check_new(open_db("app.db"))
    db.close()
    (name,) = lost()
    check_rescued(name)


def test_what_a_crash_left_beside_the_file_is_kept_by_whoever_comes_next():
    dirty_replica()
    os.rename("app.db-ramet", "app.db-ramet.aside")  # it died here
    db = open_db("app.db", remote=remote(), sync="manual")  # a lazy clone
    assert rows(db, "SELECT x FROM t") == [("first",)]
    db.close()
    assert not os.path.exists("app.db-ramet.aside")
    (name,) = lost()
    check_rescued(name)


def test_what_a_crash_left_is_in_nobodys_way():
    dirty_replica()
    shutil.copytree("app.db-ramet", "app.db-ramet.aside")
    check_new(open_db("app.db"))
    assert not os.path.exists("app.db-ramet.aside")
    assert len(lost()) == 2


SCRIPT = """
import common, sys
db = common.open_db("app.db", timeout=10)
db.execute("CREATE TABLE u(y)")
db.close()
"""


def test_a_kill_at_any_write_loses_nothing_that_was_not_pushed():
    dirty_replica()
    os.mkdir("keep")
    shutil.move("app.db-ramet", "keep/app.db-ramet")
    for nth in range(1, 400):
        shutil.rmtree("app.db-ramet", ignore_errors=True)
        shutil.rmtree("app.db-ramet.aside", ignore_errors=True)
        for path in ("app.db", "rescued.db"):
            if os.path.exists(path):
                os.remove(path)
        shutil.copytree("keep/app.db-ramet", "app.db-ramet")
        os.environ.update(LD_PRELOAD=os.environ["RAMET_KILLPOINT"],
                          KILLPOINT=str(nth),
                          KILLPOINT_ARMED=os.path.abspath("keep"))
        code = common.python(SCRIPT).wait(60)
        del os.environ["LD_PRELOAD"]
        db = open_db("app.db", timeout=10)
        db.execute("CREATE TABLE IF NOT EXISTS u(y)")
        db.close()
        (name,) = lost()
        if nth % 7 == 1:
            shutil.rmtree("rescued.db-ramet", ignore_errors=True)
            rescue(name, "rescued.db")
            db = open_db("rescued.db", timeout=10, sync="manual")
            assert rows(db, "SELECT x FROM t") == [("first",),
                                                   ("not pushed",)]
            db.close()
        if code == 0:
            assert nth > 3
            return
    raise AssertionError("it never ends")


if __name__ == "__main__":
    common.main()
