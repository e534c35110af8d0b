#!/usr/bin/python3
"""What SQLite keeps in its cache, and whether it is told when that is stale.

SQLite tells by the change counter in page 1, which it raises, keeps and rereads
in more ways than by committing (docs/sqlite.md, "Page 1"). Each of them is
played here by one connection while others, with warm caches, read and write
between; and all that anybody sees is compared with the same play on plain
files. A connection that did not notice would write old pages over new ones.
"""
import json
import os
import random
import sqlite3
import subprocess
import threading

import common
from common import check_integrity, fails, one, open_db, open_native, rows
import seeds

ROWS = 60


def connect(kind, name="app.db", **parameters):
    os.makedirs(kind, exist_ok=True)
    parameters.setdefault("vfs", "unix" if kind == "native" else "ramet")
    db = open_db(os.path.join(kind, name), timeout=5, **parameters)
    db.execute("PRAGMA synchronous=OFF")  # what is on disk is others' matter
    return db


def make(db):
    db.executescript("""
        CREATE TABLE t(k INTEGER PRIMARY KEY, x);
        CREATE TABLE u(y, x);
        CREATE INDEX i ON t(x);
        CREATE TABLE parent(id INTEGER PRIMARY KEY);
        CREATE TABLE child(id REFERENCES parent(id)
                           DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO t VALUES(1, 0), (2, 0);
        PRAGMA user_version=5;
        PRAGMA application_id=6;
    """)
    db.executemany("INSERT INTO u VALUES(?, 1)",
                   ((b"y" * 900,) for _ in range(ROWS)))
    db.execute("UPDATE t SET x = 1 WHERE k = 2")
    db.execute("UPDATE t SET x = 0 WHERE k = 2")


# ---- ways to raise, keep or reread the counter ------------------------------
# They leave tables t and u as they were.

def quietly(db, *statements):
    for sql in statements:
        try:
            db.execute(sql)
        except sqlite3.Error:
            pass


def spill(db):
    db.execute("PRAGMA cache_size=5")
    db.execute("UPDATE u SET y = zeroblob(900)")


def spill_and_take_back(db):
    db.execute("BEGIN")
    db.execute("SAVEPOINT s")
    spill(db)
    db.execute("ROLLBACK TO s")
    db.execute("COMMIT")


def spill_twice_and_take_one_back(db):
    db.execute("BEGIN")
    db.execute("UPDATE t SET x = x")
    spill(db)
    db.execute("SAVEPOINT s")
    db.execute("PRAGMA user_version=99")
    spill(db)
    db.execute("ROLLBACK TO s")
    db.execute("UPDATE u SET y = CAST(replace(hex(zeroblob(450)), '0', 'y')"
               " AS BLOB)")
    db.execute("COMMIT")


def spill_and_roll_back(db):
    db.execute("BEGIN")
    db.execute("PRAGMA user_version=7")
    spill(db)
    db.execute("ROLLBACK")


def roll_back(db):
    db.execute("BEGIN")
    db.execute("UPDATE t SET x = x + 100")
    db.execute("ROLLBACK")


def fail_to_commit(db):
    db.execute("PRAGMA foreign_keys=ON")
    db.execute("BEGIN")
    db.execute("INSERT INTO child VALUES(77)")
    spill(db)
    fails("FOREIGN KEY", db.execute, "COMMIT")
    db.execute("ROLLBACK")


def fail_in_a_statement(db):
    fails("UNIQUE", db.execute, "INSERT INTO t VALUES(9, 9), (1, 9)")
    db.execute("BEGIN")
    spill(db)
    fails("UNIQUE", db.execute, "INSERT INTO t VALUES(9, 9), (1, 9)")
    db.execute("ROLLBACK")


def be_interrupted(db):
    db.execute("PRAGMA cache_size=5")
    calls = []

    def stop():
        calls.append(1)
        return len(calls) > 3

    db.set_progress_handler(stop, 50)
    fails("interrupted", db.execute, "UPDATE u SET y = zeroblob(900)")
    db.set_progress_handler(None, 0)


def commit_nothing(db):
    for begin in ("BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"):
        db.execute(begin)
        db.execute("COMMIT")


def in_mode(mode):
    def way(db):
        db.execute("PRAGMA journal_mode=%s" % mode)
        db.execute("PRAGMA user_version=5")
        db.execute("BEGIN")
        db.execute("UPDATE t SET x = x")
        db.execute("PRAGMA application_id=6")
        db.execute("COMMIT")
        if mode != "off":
            spill_and_take_back(db)
            spill_and_roll_back(db)
        else:  # nothing can be rolled back once it is written
            db.execute("BEGIN")
            db.execute("UPDATE t SET x = x")
            db.execute("COMMIT")
        db.execute("PRAGMA journal_mode=delete")
    way.__name__ = "in_mode_" + mode
    return way


def exclusively(db):
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    for _ in range(3):
        db.execute("UPDATE t SET x = x")
    db.execute("PRAGMA user_version=5")
    spill_and_take_back(db)
    spill_and_roll_back(db)
    db.execute("UPDATE t SET x = x")
    db.execute("PRAGMA locking_mode=NORMAL")
    one(db, "SELECT count(*) FROM t")


def vacuum(db):
    db.execute("VACUUM")


def vacuum_into(db):
    db.execute("VACUUM INTO ?", ("file:%s?vfs=unix" %
                                 os.path.abspath("into.db"),))
    os.unlink("into.db")


def back_up_from(db):
    target = sqlite3.connect(":memory:")
    db.backup(target, pages=3)
    check_integrity(target)


def back_up_from_while_writing(db):
    target = sqlite3.connect(":memory:")
    db.backup(target, pages=3, sleep=0, progress=lambda *_: db.execute(
        "UPDATE t SET x = x WHERE k = 1"))
    check_integrity(target)


def back_up_to(db):
    """It gets what it has, by another way."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    db.backup(copy)
    copy.backup(db)


def back_up_to_and_stop(db):
    copy = sqlite3.connect(":memory:", isolation_level=None)
    db.backup(copy)
    copy.execute("UPDATE u SET y = zeroblob(900)")

    def stop(*_):
        raise KeyboardInterrupt

    try:
        copy.backup(db, pages=1, progress=stop)
    except KeyboardInterrupt:
        pass


def serialize(db):
    copy = sqlite3.connect(":memory:")
    copy.deserialize(db.serialize())
    check_integrity(copy)


def same_version(db):
    db.execute("PRAGMA user_version=5")


def same_application(db):
    db.execute("PRAGMA application_id=6")


def same_content(db):
    db.execute("UPDATE t SET x = x")


def same_schema_version(db):
    db.execute("PRAGMA schema_version=%d" % one(db, "PRAGMA schema_version"))


def another_schema_version(db):
    db.execute("PRAGMA schema_version=%d" % (one(db, "PRAGMA schema_version")
                                             + 7))


def make_and_drop_a_table(db):
    db.execute("CREATE TABLE w(a, b UNIQUE)")
    db.execute("INSERT INTO w VALUES(1, zeroblob(9000))")
    db.execute("DROP TABLE w")


def make_a_table_and_think_better(db):
    db.execute("BEGIN")
    db.execute("CREATE TABLE w(a)")
    spill(db)
    db.execute("ROLLBACK")


def grow_and_shrink(db):
    db.execute("BEGIN")
    db.execute("INSERT INTO u SELECT zeroblob(3000), 5 FROM u")
    db.execute("DELETE FROM u WHERE x = 5")
    db.execute("COMMIT")


def in_and_out_of_auto_vacuum(db):
    db.execute("PRAGMA auto_vacuum=FULL")
    db.execute("VACUUM")
    grow_and_shrink(db)
    db.execute("PRAGMA auto_vacuum=NONE")
    db.execute("VACUUM")


def reindex(db):
    db.execute("REINDEX")
    db.execute("ANALYZE")


def with_another_database(db):
    """A super-journal is written: both commit, or none."""
    where = os.path.dirname(one(db, "SELECT file FROM pragma_database_list"
                                " WHERE name = 'main'"))
    db.execute("ATTACH ? AS other", ("file:%s/other.db" % where,))
    db.execute("CREATE TABLE IF NOT EXISTS other.v(a)")
    db.execute("BEGIN")
    db.execute("INSERT INTO other.v VALUES(1)")
    db.execute("UPDATE main.t SET x = x")
    db.execute("PRAGMA main.user_version=5")
    db.execute("COMMIT")
    db.execute("BEGIN")
    db.execute("INSERT INTO other.v VALUES(2)")
    spill(db)
    db.execute("ROLLBACK")
    db.execute("DETACH other")


def let_go_of_memory(db):
    db.execute("PRAGMA shrink_memory")
    one(db, "SELECT count(*) FROM t")


WAYS = [
    same_version, same_application, same_content, same_schema_version,
    another_schema_version, commit_nothing, spill_and_take_back,
    spill_twice_and_take_one_back, spill_and_roll_back, roll_back,
    fail_to_commit, fail_in_a_statement, be_interrupted, exclusively, vacuum,
    vacuum_into, back_up_from, back_up_from_while_writing, back_up_to,
    back_up_to_and_stop, serialize, make_and_drop_a_table,
    make_a_table_and_think_better, grow_and_shrink, in_and_out_of_auto_vacuum,
    reindex, with_another_database, let_go_of_memory,
] + [in_mode(mode) for mode in
     ("delete", "truncate", "persist", "memory", "off")]

# Those that leave nothing to record: SQLite alone counts.
QUIET = [same_version, same_application, spill_and_take_back]


def any_way(rng):
    return rng.choice(QUIET if rng.random() < 0.7 else WAYS)


# ---- plays -------------------------------------------------------------------

def look(db):
    return (rows(db, "SELECT k, x FROM t ORDER BY k"),
            one(db, "SELECT count(*) FROM t INDEXED BY i WHERE x >= 0"),
            one(db, "SELECT sum(x), count(*) FROM u"))


def add(db):
    """One commit. A lost update would show; so would what the index lacks."""
    db.execute("SAVEPOINT one")
    db.execute("UPDATE t SET x = x + 1 WHERE k = 1")
    db.execute("UPDATE u SET x = x + 1 WHERE rowid = 1")
    db.execute("RELEASE one")


def play(kind, way):
    """Every number of such transactions before every number of commits."""
    a, b, c = (connect(kind) for _ in range(3))
    make(a)
    seen = []
    for times in range(4):
        for commits in range(1, 4):
            for db in (a, b, c):
                seen.append(look(db))
            for _ in range(times):
                seen.append(look(a))
                way(a)  # no look after it: the cache is warm as it left it
            for _ in range(commits):
                add(b)
            seen.append(look(a))
            add(a)
            for db in (c, b, a):
                seen.append(look(db))
    for db in (a, b, c):
        check_integrity(db)
        db.close()
    plain = open_native(os.path.join(kind, "app.db"))
    check_integrity(plain)
    seen.append(look(plain))
    plain.close()
    return seen


def test_each_way_is_noticed_by_others_as_on_a_plain_file():
    for number, way in enumerate(WAYS):
        folder = "%d" % number
        os.mkdir(folder)
        os.chdir(folder)
        wanted = play("native", way)
        found = play("replica", way)
        os.chdir("..")
        assert found == wanted, way.__name__


def test_the_ways_in_any_order():
    seed = seeds.seed("RAMET_SEED")

    def plays(kind):
        rng = random.Random(seed)
        dbs = [connect(kind) for _ in range(3)]
        make(dbs[0])
        seen = []
        for _ in range(800):
            db = rng.choice(dbs)
            choice = rng.randrange(3)
            if choice == 0:
                add(db)
            elif choice == 1:
                any_way(rng)(db)
            else:
                seen.append(look(db))
        for db in dbs:
            check_integrity(db)
        return seen

    assert plays("replica") == plays("native"), seed


def test_a_shared_cache_beside_another_connection():
    for way in (same_version, spill_and_take_back, spill_and_roll_back,
                make_and_drop_a_table, vacuum):
        def plays(kind):
            name = way.__name__ + ".db"
            a, b = (connect(kind, name, cache="shared") for _ in range(2))
            c = connect(kind, name)
            make(a)
            seen = []
            for times in range(4):
                for commits in range(1, 4):
                    seen += [look(a), look(b), look(c)]
                    for _ in range(times):
                        way(a)
                    for _ in range(commits):
                        add(c)
                    seen.append(look(b))
                    add(b)
                    seen += [look(c), look(a)]
            for db in (a, b, c):
                check_integrity(db)
            return seen

        assert plays("replica") == plays("native"), way.__name__


def test_handles_that_never_lock():
    """Their look at the counter is where a transaction of theirs begins."""
    a = connect("replica")
    make(a)
    free = connect("replica", nolock="1")
    fixed = connect("replica", immutable="1")
    before = look(fixed)
    for times in range(12):
        assert look(free) == look(a)
        for _ in range(times % 4):
            same_version(free)
        for _ in range(times // 4 + 1):
            add(a)
        assert look(free) == look(a)
        add(free)
        assert look(a) == look(free)
    assert look(a) != before
    assert look(fixed) == before
    fixed.close()
    check_integrity(free)
    check_integrity(a)


def test_what_a_handle_that_never_locks_could_not_write():
    """SQLite takes page 1 for written, and can't put back what it did not
    write; its cache has what nobody committed."""
    for number, (mode, spills, too_late) in enumerate(
            (mode, spills, too_late) for mode in ("delete", "memory", "off")
            for spills in (False, True) for too_late in (False, True)):
        name = "%d.db" % number
        a = connect("replica", name)
        make(a)
        free = connect("replica", name, nolock="1")
        free.execute("PRAGMA journal_mode=%s" % mode)
        for commits in range(4):
            look(free)
            free.execute("BEGIN")
            look(free)
            if too_late:
                add(a)
            else:
                a.execute("BEGIN IMMEDIATE")
            fails("locked", late_write, free, spills)
            quietly(free, "ROLLBACK")
            quietly(a, "ROLLBACK")
            for _ in range(commits):
                add(a)
            assert look(free) == look(a), (mode, spills, too_late)
            assert one(free, "PRAGMA user_version") == 5
            add(free)
            assert look(a) == look(free)
            check_integrity(free)
        check_integrity(a)


def late_write(db, spills):
    if spills:
        spill(db)
    db.execute("PRAGMA user_version=9")
    db.execute("UPDATE t SET x = 99")
    db.execute("COMMIT")


def test_a_handle_that_never_locks_keeps_clear_of_the_reader_barrier():
    """Where it gets no snapshot it reads nothing, rather than a mixture."""
    a = connect("replica")
    make(a)
    free = open_db("replica/app.db", nolock="1")
    look(free)

    def write():
        a.execute("BEGIN EXCLUSIVE")  # waits until `free` has let go
        add(a)
        is_in.set()
        may_end.wait(20)
        a.execute("COMMIT")

    is_in, may_end = threading.Event(), threading.Event()
    writer = threading.Thread(target=write)
    writer.start()

    def is_kept_out():
        try:
            look(free)
        except sqlite3.OperationalError as error:
            assert "locked" in str(error), error
            return True
        return False

    common.wait_until(is_kept_out)
    assert is_in.wait(20)
    assert is_kept_out()
    may_end.set()
    writer.join()
    assert look(free) == look(a)
    check_integrity(free)


def test_data_version_tells_of_others_alone():
    def plays(kind):
        a, b = connect(kind), connect(kind)
        make(a)
        seen = []

        def note():
            seen.append(one(a, "PRAGMA data_version"))

        look(a)
        note()
        for way in (same_version, spill_and_take_back, spill_and_roll_back,
                    be_interrupted, make_a_table_and_think_better,
                    in_mode("memory"), same_content, add):
            way(a)
            note()  # not its own commits
        for _ in range(3):
            add(b)
            note()
        look(b)
        note()
        return [later != earlier for earlier, later in zip(seen, seen[1:])]

    assert plays("replica") == plays("native")


# ---- two processes -----------------------------------------------------------

WORKER = """
import json, sqlite3, sys
import common, test_caches
kind = sys.argv[1]
dbs = [test_caches.connect(kind) for _ in range(2)]
for line in sys.stdin:
    name, which = json.loads(line)
    db = dbs[which]
    if name == "look":
        answer = test_caches.look(db)
    elif name == "add":
        answer = test_caches.add(db)
    elif name == "check":
        answer = common.one(db, "PRAGMA integrity_check")
    else:
        answer = {w.__name__: w for w in test_caches.WAYS}[name](db)
    print(json.dumps(answer), flush=True)
"""


class Worker:
    """Two connections in another process."""

    def __init__(self, kind):
        self.process = common.python(WORKER, kind, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)

    def do(self, name, which):
        self.process.stdin.write(json.dumps([name, which]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0


def test_random_work_of_four_connections_in_two_processes():
    seed = seeds.seed("RAMET_SEED")

    def plays(kind):
        rng = random.Random(seed)
        first = connect(kind)
        make(first)
        workers = [Worker(kind), Worker(kind)]
        seen = []
        for _ in range(800):
            worker = rng.choice(workers)
            which = rng.randrange(2)
            choice = rng.randrange(3)
            if choice == 0:
                worker.do("add", which)
            elif choice == 1:
                worker.do(any_way(rng).__name__, which)
            else:
                seen.append(worker.do("look", which))
        for worker in workers:
            for which in range(2):
                assert worker.do("check", which) == "ok", seed
                seen.append(worker.do("look", which))
            worker.end()
        check_integrity(first)
        return seen

    assert plays("replica") == plays("native"), seed


if __name__ == "__main__":
    common.main()
