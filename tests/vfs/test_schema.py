#!/usr/bin/python3
"""What SQLite parsed, and whether it is told that the schema is another now.

It goes by the schema cookie in page 1. Two lines of history may have the same
cookie with different schemas; whoever goes on with the old one after a pull or
a reset writes rows that an index lacks. And where the schema is the same, no
statement should be prepared anew.
"""
import os
import random
import sqlite3

import common
from common import check_integrity, fails, one, open_db, open_native, rows
import seeds


def remote():
    return "file://%s/store/app" % os.path.abspath(".")


def replica(path, **parameters):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    parameters.setdefault("sync", "manual")
    return open_db(path, timeout=10, remote=remote(), **parameters)


def fill(db, count=100):
    db.execute("CREATE TABLE t(k INTEGER PRIMARY KEY, x, y)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO t(x, y) VALUES(?, ?)",
                   ((i, "y" * (i % 50)) for i in range(count)))
    db.execute("COMMIT")


def fill_schema(db, count=80):
    """More tables than fit into page 1, one with a long definition."""
    for i in range(count):
        db.execute("CREATE TABLE filler_%d(%s)" % (i, ", ".join(
            "column_%d_of_%d" % (n, i) for n in range(6))))
    db.execute("CREATE TABLE long(%s)" % ", ".join(
        "column_%s_%d" % ("x" * 40, n) for n in range(300)))


def prepared_anew(db):
    """How often statements of this connection were."""
    return one(db, "SELECT sum(reprep) FROM sqlite_stmt") or 0


INDEXED = "SELECT count(*) FROM t INDEXED BY i WHERE x >= 0"
NAMES = "SELECT name FROM sqlite_schema ORDER BY name"


def use_the_old_schema(db, tag):
    """Each of these is wrong if the schema is not the one there is."""
    db.execute("INSERT INTO t(x, y) VALUES(1, ?)", (tag,))
    db.execute("DELETE FROM t WHERE k = (SELECT min(k) FROM t)")
    db.execute("UPDATE t SET x = x + 1 WHERE k % 7 = 0")


def diverge(big):
    """Two replicas, equal cookies, different schemas."""
    a = replica("a/app.db")
    fill(a)
    if big:
        fill_schema(a)
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    b.execute("CREATE INDEX i ON t(x)")
    one(b, "SELECT ramet_push()")
    a.execute("CREATE TABLE other(a)")
    assert (one(a, "PRAGMA schema_version") == one(b, "PRAGMA schema_version"))
    fails("diverged", a.execute, "SELECT ramet_push()")
    return a, b


RESET = """
import sys, common
db = common.open_db(sys.argv[1], timeout=10, remote=sys.argv[2], sync="manual")
common.one(db, "SELECT ramet_reset()")
"""


def reset_by(who, db):
    if who == "self":
        one(db, "SELECT ramet_reset()")
    elif who == "other connection":
        one(replica("a/app.db"), "SELECT ramet_reset()")
    else:
        assert common.python(RESET, "a/app.db", remote()).wait(30) == 0


def test_an_open_connection_sees_the_schema_that_a_reset_brings():
    for number, (who, big) in enumerate(
            (who, big) for who in ("self", "other connection", "other process")
            for big in (False, True)):
        os.mkdir("%d" % number)
        os.chdir("%d" % number)
        a, b = diverge(big)
        more = [replica("a/app.db") for _ in range(2)]
        for db in [a] + more:  # prepares, with the old schema
            use_the_old_schema(db, "before")
        reset_by(who, a)
        for db in [a] + more:
            use_the_old_schema(db, "after")
            fails("no such table", db.execute, "SELECT * FROM other")
            assert one(db, INDEXED) == one(db, "SELECT count(*) FROM t"), who
        one(a, "SELECT ramet_push()")
        one(b, "SELECT ramet_pull()")
        for db in [a, b] + more:
            check_integrity(db)
            assert rows(db, NAMES) == rows(b, NAMES)
        os.chdir("..")


def test_a_pull_of_rows_alone_prepares_nothing_anew():
    for number, big in enumerate((False, True)):
        os.mkdir("%d" % number)
        os.chdir("%d" % number)
        a = replica("a/app.db")
        fill(a)
        if big:
            fill_schema(a)
        one(a, "SELECT ramet_push()")
        b = replica("b/app.db")
        reader = replica("b/app.db")
        count = "SELECT count(*), sum(x) FROM t"
        rows(reader, count)
        before = one(reader, "PRAGMA schema_version")
        for turn in range(10):
            a.execute("UPDATE t SET x = x + 1")
            a.execute("INSERT INTO t(x) VALUES(?)", (turn,))
            one(a, "SELECT ramet_push()")
            one(b, "SELECT ramet_pull()")
            assert rows(reader, count) == rows(a, count)
        assert prepared_anew(reader) == 0
        assert one(reader, "PRAGMA schema_version") == before
        a.execute("CREATE TABLE new_one(a)")
        one(a, "SELECT ramet_push()")
        one(b, "SELECT ramet_pull()")
        assert rows(reader, count) == rows(a, count)
        assert prepared_anew(reader) > 0
        assert one(reader, "SELECT count(*) FROM new_one") == 0
        os.chdir("..")


def test_a_reset_of_rows_alone_prepares_nothing_anew():
    a = replica("a/app.db")
    fill(a)
    fill_schema(a)
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    reader = replica("b/app.db")
    count = "SELECT count(*), sum(x) FROM t"
    for turn in range(5):
        rows(reader, count)
        a.execute("UPDATE t SET x = x + 1")
        one(a, "SELECT ramet_push()")
        b.execute("UPDATE t SET x = x - 1")
        one(b, "SELECT ramet_reset()")
        assert rows(reader, count) == rows(a, count)
    assert prepared_anew(reader) == 0


def test_definitions_that_changed_in_place():
    """Of the same length, behind the same root: only a page deep in the
    schema's tree is another."""
    a = replica("a/app.db")
    fill(a)
    fill_schema(a)
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    b.execute("ALTER TABLE long RENAME COLUMN %s TO %s" % (
        "column_%s_299" % ("x" * 40), "column_%s_777" % ("z" * 40)))
    one(b, "SELECT ramet_push()")
    a.execute("CREATE TABLE one(a)")  # as many cookies as the other
    while one(a, "PRAGMA schema_version") < one(b, "PRAGMA schema_version"):
        a.execute("CREATE TABLE IF NOT EXISTS two(a)")
        a.execute("DROP TABLE two")
    rows(a, "SELECT * FROM long")
    reader = replica("a/app.db")
    rows(reader, "SELECT * FROM long")
    one(a, "SELECT ramet_reset()")
    for db in (a, reader):
        names = [c[0] for c in db.execute("SELECT * FROM long").description]
        assert names[-1] == "column_%s_777" % ("z" * 40), names[-1]


def test_a_stateless_reader_sees_each_schema():
    a = replica("a/app.db")
    fill(a, 20)
    one(a, "SELECT ramet_push()")
    view = open_db("view.db", remote=remote(), replica="none")
    count = "SELECT count(*), sum(x) FROM t"
    rows(view, count)
    for turn in range(3):
        a.execute("UPDATE t SET x = x + 1")
        one(a, "SELECT ramet_push()")
        one(view, "SELECT ramet_fetch()")
        assert rows(view, count) == rows(a, count)
    assert prepared_anew(view) == 0
    for turn in range(6):
        a.execute("CREATE INDEX i ON t(x)" if turn % 2 == 0
                  else "DROP INDEX i")
        one(a, "SELECT ramet_push()")
        one(view, "SELECT ramet_fetch()")
        assert rows(view, NAMES) == rows(a, NAMES)
        assert rows(view, count) == rows(a, count)
        check_integrity(view)


def test_own_schema_changes_after_a_shift():
    """What is stored is what another replica would have stored."""
    a, b = diverge(False)
    reader = replica("a/app.db")
    rows(reader, NAMES)
    one(a, "SELECT ramet_reset()")
    shown = one(a, "PRAGMA schema_version")
    assert shown > one(b, "PRAGMA schema_version")
    reader.execute("CREATE TABLE mine(a)")
    a.execute("VACUUM")
    copy = sqlite3.connect(":memory:", isolation_level=None)
    reader.backup(copy)
    copy.execute("CREATE TABLE copied(a)")
    copy.backup(a)
    assert one(a, "PRAGMA schema_version") == shown + 3
    one(a, "SELECT ramet_push()")
    one(b, "SELECT ramet_pull()")
    fresh = replica("c/app.db")
    assert (one(b, "PRAGMA schema_version")
            == one(fresh, "PRAGMA schema_version") == shown + 2)
    for db in (a, b, reader, fresh):
        assert rows(db, NAMES) == rows(a, NAMES)
        use_the_old_schema(db, "x")
        check_integrity(db)


def test_schema_changes_that_roll_back_after_a_shift():
    a, b = diverge(False)
    rows(a, NAMES)
    one(a, "SELECT ramet_reset()")
    before = one(a, "PRAGMA schema_version")
    names = rows(b, NAMES)
    for spills in (False, True):
        a.execute("PRAGMA cache_size=%d" % (5 if spills else 1000))
        a.execute("BEGIN")
        a.execute("CREATE TABLE gone(a)")
        a.execute("INSERT INTO gone SELECT randomblob(900) FROM t")
        a.execute("SAVEPOINT s")
        a.execute("CREATE INDEX gone_i ON gone(a)")
        a.execute("ROLLBACK TO s")
        a.execute("ROLLBACK")
        assert one(a, "PRAGMA schema_version") == before
        assert rows(a, NAMES) == names
        use_the_old_schema(a, "x")
        a.execute("BEGIN")
        a.execute("CREATE TABLE kept_%d(a)" % spills)
        a.execute("INSERT INTO kept_%d SELECT randomblob(900) FROM t" % spills)
        a.execute("SAVEPOINT s")
        a.execute("CREATE INDEX gone_i ON kept_%d(a)" % spills)
        a.execute("ROLLBACK TO s")
        a.execute("COMMIT")
        before += 1
        names = sorted(names + [("kept_%d" % spills,)])
        assert one(a, "PRAGMA schema_version") == before
        check_integrity(a)
    one(a, "SELECT ramet_push()")
    one(b, "SELECT ramet_pull()")
    assert rows(b, NAMES) == rows(a, NAMES)
    check_integrity(b)


# ---- a plain SQLite that idles over a clean file ------------------------------

def bytes_of(path, first, last):
    with open(path, "rb") as plain:
        return plain.read(last)[first:]


def test_an_idle_native_connection_notices_a_reset_with_its_counter():
    """The remote's header has the number that the file bore before."""
    a = replica("a/app.db")
    fill(a)
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    one(b, "SELECT ramet_hydrate()")
    b.close()
    native = open_native("b/app.db")
    borne = set()
    for turn in range(10):
        b = replica("b/app.db")
        for n in range(turn % 5 + 1):  # one of them makes the counters meet
            b.execute("UPDATE t SET x = ? WHERE k = 2", (-turn,))
        b.close()
        assert one(native, "SELECT x FROM t WHERE k = 2") == -turn  # warm
        borne.add(bytes_of("b/app.db", 24, 40))
        a.execute("UPDATE t SET x = ? WHERE k = 1", (turn,))
        one(a, "SELECT ramet_push()")
        b = replica("b/app.db")
        one(b, "SELECT ramet_reset()")
        one(b, "SELECT ramet_hydrate()")
        b.close()
        assert rows(native, "SELECT * FROM t") == rows(a, "SELECT * FROM t")
        borne.add(bytes_of("b/app.db", 24, 40))
        check_integrity(native)
    assert len(borne) == 20


def test_an_idle_native_connection_notices_another_schema_with_its_cookie():
    a, b = diverge(False)
    one(a, "SELECT ramet_hydrate()")
    a.close()
    native = open_native("a/app.db")
    assert (("other",) in rows(native, NAMES) and
            rows(native, "SELECT * FROM other") == [])
    rows(native, "SELECT count(*) FROM t")
    cookie = bytes_of("a/app.db", 40, 44)
    a = replica("a/app.db")
    one(a, "SELECT ramet_reset()")
    one(a, "SELECT ramet_hydrate()")
    a.close()
    assert bytes_of("a/app.db", 40, 44) != cookie
    fails("no such table", native.execute, "SELECT * FROM other")
    assert one(native, INDEXED) == one(native, "SELECT count(*) FROM t")
    native.execute("INSERT INTO t(x) VALUES(7)")
    check_integrity(native)
    native.close()


def test_the_clean_file_is_as_stored_unless_it_has_a_number_to_avoid():
    a, b = diverge(False)
    one(b, "SELECT ramet_hydrate()")
    b.close()
    a.close()  # at its own line
    a = replica("a/app.db")
    one(a, "SELECT ramet_reset()")
    one(a, "SELECT ramet_hydrate()")
    a.close()
    mine = open("a/app.db", "rb").read()
    theirs = open("b/app.db", "rb").read()
    assert mine[24:28] == mine[92:96] != theirs[24:28]
    for at, width in ((24, 4), (40, 4), (92, 4)):
        mine = mine[:at] + theirs[at:at + width] + mine[at + width:]
    assert mine == theirs
    # Opened again it is no stranger, and what is stored is as before.
    a = replica("a/app.db")
    a.execute("CREATE TABLE later(a)")
    one(a, "SELECT ramet_push()")
    b = replica("b/app.db")
    one(b, "SELECT ramet_pull()")
    check_integrity(b)
    assert rows(a, NAMES) == rows(b, NAMES)


# ---- any order ----------------------------------------------------------------

def test_random_schemas_on_three_replicas():
    seed = seeds.seed("RAMET_SEED")
    rng = random.Random(seed)
    first = replica("0/app.db")
    fill(first)
    if rng.random() < 0.5:
        fill_schema(first, 40)
    first.execute("CREATE INDEX i ON t(x)")
    one(first, "SELECT ramet_push()")
    dbs = [[replica("%d/app.db" % i) for _ in range(3)] for i in range(3)]
    changes = [
        "CREATE TABLE IF NOT EXISTS v(a)", "DROP TABLE IF EXISTS v",
        "CREATE TABLE IF NOT EXISTS w(a UNIQUE)", "DROP TABLE IF EXISTS w",
        "CREATE INDEX IF NOT EXISTS j ON t(x, y)", "DROP INDEX IF EXISTS j",
        "CREATE INDEX IF NOT EXISTS j ON t(y)", "VACUUM",
        "PRAGMA user_version=5", "ANALYZE",
    ]
    for turn in range(120):
        group = rng.choice(dbs)
        for _ in range(rng.randrange(4)):
            db = rng.choice(group)
            choice = rng.randrange(4)
            if choice == 0:
                db.execute(rng.choice(changes))
            elif choice == 1:
                db.execute("PRAGMA user_version=5")
            else:
                use_the_old_schema(db, "turn %d" % turn)
        choice = rng.randrange(3)
        db = rng.choice(group)
        if choice == 0:
            try:
                one(db, "SELECT ramet_sync()")
            except sqlite3.Error as error:
                assert "diverged" in str(error), error
                one(db, "SELECT ramet_reset()")
        elif choice == 1:
            one(db, "SELECT ramet_reset()")
        for other in group:
            if rng.random() < 0.5:
                check_integrity(other)
        seen = [rows(other, "SELECT * FROM t ORDER BY k") for other in group]
        assert seen[0] == seen[1] == seen[2], (seed, turn)
        assert rows(group[0], NAMES) == rows(group[1], NAMES), (seed, turn)
    for group in dbs:
        for db in group:
            check_integrity(db)
            db.close()


if __name__ == "__main__":
    common.main()
