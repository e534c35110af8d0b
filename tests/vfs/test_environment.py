#!/usr/bin/python3
"""What environment variables do to a process, and what they leave alone.

Each case runs in a process of its own.
"""
import os
import subprocess
import sys

import common
from common import one

PREPARE = r"""
import os, sqlite3, sys
SO, STORE = sys.argv[1:3]

def load():
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(SO)
    return loader

def connect(name, **options):
    return sqlite3.connect(name, uri=True, isolation_level=None, timeout=10,
                           **options)

def one(db, sql, *args):
    row = db.execute(sql, args).fetchone()
    return None if row is None else row[0]

def tables(db):
    return [r[0] for r in db.execute("SELECT name FROM sqlite_schema")]

def is_replica(path):
    return os.path.exists(path + "-ramet")
"""


def store():
    return "file://" + os.path.abspath("store")


def run(script, **environment):
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("RAMET_") or name == "RAMET_SO"}
    env.update(environment)
    done = subprocess.run([sys.executable, "-c", PREPARE + script,
                           os.path.abspath(common.SO), store()], env=env,
                          text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0, done.stdout


OTHERS = r"""
load()
app = connect("app.db")
app.execute("CREATE TABLE t(a)")
app.execute("INSERT INTO t VALUES(1)")
assert one(app, "SELECT ramet_push()") == 1
assert is_replica("app.db")
app.execute("VACUUM INTO 'copy.db'")
os.mkdir("backups")
app.execute("VACUUM INTO 'backups/app.db'")
backup = connect("backup.db")
app.backup(backup)
backup.close()
cache = connect("cache.db")
cache.execute("CREATE TABLE cache(k, v)")
assert tables(cache) == ["cache"]
try:
    one(cache, "SELECT ramet_push()")
    assert False, "pushed"
except sqlite3.Error as error:
    assert "not a Ramet replica" in str(error), error
cache.close()
app.execute("ATTACH 'more.db' AS more")
app.execute("CREATE TABLE more.u(x)")
for name in ("copy.db", "backups/app.db", "backup.db", "cache.db", "more.db"):
    assert not is_replica(name), name
assert one(app, "SELECT ramet_push()") == 1
app.close()
assert tables(connect("file:backups/app.db?vfs=unix")) == ["t"]
"""


def test_a_url_alone_binds_one_file():
    run(OTHERS, RAMET_DEFAULT_VFS="1", RAMET_REMOTE=store() + "/app")


def test_a_file_and_its_url_bind_that_file():
    run(OTHERS, RAMET_DEFAULT_VFS="1",
        RAMET_REMOTE="other.db=%s/other app.db=%s/app" % (store(), store()))


def test_each_file_of_a_list_has_its_own_remote():
    run(r"""
load()
for name in ("a.db", "b.db"):
    db = connect("file:%s?vfs=ramet&sync=manual" % name)
    db.execute("CREATE TABLE %s(x)" % name[0])
    assert one(db, "SELECT ramet_push()") == 1
    assert one(db, "SELECT remote FROM ramet_status") == STORE + "/of-" + name[0]
c = connect("file:c.db?vfs=ramet")
assert one(c, "SELECT remote FROM ramet_status") is None
""", RAMET_REMOTE="a.db=%s/of-a\n%s/b-is-none  b.db=%s/of-b" %
        (store(), store(), store()))


def test_what_is_bound_elsewhere_is_refused():
    run(r"""
load()
db = connect("file:app.db?vfs=ramet&sync=manual&remote=" + STORE + "/first")
db.execute("CREATE TABLE t(a)")
one(db, "SELECT ramet_push()")
db.close()
os.environ["RAMET_REMOTE"] = "app.db=" + STORE + "/second"
try:
    connect("file:app.db?vfs=ramet")
    assert False, "opened"
except sqlite3.Error as error:
    assert "belongs to" in str(error), error
""")


def test_a_list_that_makes_no_sense_is_told():
    run(r"""
load()
try:
    connect("file:app.db?vfs=ramet")
    assert False, "opened"
except sqlite3.Error as error:
    assert "the form is FILE=URL" in str(error), error
assert not is_replica("app.db")
""", RAMET_REMOTE="app.db=")


SHARED = r"""
name = "file:internal?mode=memory&cache=shared"
shared = "file:plain.db?cache=shared"
before = connect(name)
before.execute("CREATE TABLE t(a)")
before.execute("CREATE TEMP TABLE mine(a)")
file_before = connect(shared)
file_before.execute("CREATE TABLE t(a)")
before.execute("PRAGMA cache_size=5")
early = connect(":memory:")
before.enable_load_extension(True)
before.load_extension(SO)
after = connect(name)
assert tables(after) == ["t"], tables(after)
after.execute("INSERT INTO t VALUES(1)")
assert one(before, "SELECT count(*) FROM t") == 1
before.execute("INSERT INTO t VALUES(2)")
assert one(after, "SELECT count(*) FROM t") == 2
# What is open goes on: journals, temporary files, transactions.
before.executescript("BEGIN; INSERT INTO mine SELECT zeroblob(3000) FROM "
    "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT "
    "500) SELECT i FROM n); ROLLBACK; INSERT INTO mine VALUES(1)")
assert one(before, "SELECT count(*) FROM mine") == 1
file_after = connect(shared)
file_after.execute("INSERT INTO t VALUES(1)")
assert one(file_before, "SELECT count(*) FROM t") == 1
file_before.executescript("PRAGMA cache_size=5; BEGIN; INSERT INTO t SELECT "
    "zeroblob(3000) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT "
    "i + 1 FROM n LIMIT 500) SELECT i FROM n); ROLLBACK")
assert one(file_after, "SELECT count(*) FROM t") == 1
assert one(file_after, "PRAGMA integrity_check") == "ok"
assert not is_replica("plain.db")
# Loading it again, from either kind, moves nothing.
for db in (after, file_after, connect(":memory:")):
    db.enable_load_extension(True)
    db.load_extension(SO)
assert tables(connect(name)) == ["t"]
# Attached to what was open before, too.
early.execute("ATTACH ? AS again", (name,))
assert one(early, "SELECT count(*) FROM again.t") == 2
"""


def test_a_new_default_leaves_alone_what_is_open():
    run(SHARED + r"""
app = connect("app.db")
app.execute("CREATE TABLE t(a)")
assert is_replica("app.db")
assert one(app, "SELECT ramet_push()") == 1
before.execute("ATTACH 'app.db' AS app")
assert one(before, "SELECT count(*) FROM app.t") == 0
assert one(before, "SELECT ramet_lsn('app')") == 1
""", RAMET_DEFAULT_VFS="1", RAMET_REMOTE=store() + "/app")


def test_without_a_new_default_nothing_changes():
    run(SHARED)


def test_it_can_be_loaded_by_sql_on_each_connection():
    """As Datasette does, and others that know no C interface."""
    script = r"""
for name in (":memory:", "a.db", ":memory:", "file:b.db?vfs=ramet"):
    db = connect(name)
    db.enable_load_extension(True)
    for _ in range(2):
        db.execute("SELECT load_extension(?)", (SO,)).fetchone()
        assert one(db, "SELECT ramet_version()")
    assert one(db, "SELECT ramet_errmsg()") is None
    assert one(db, "SELECT count(*) FROM ramet_status") == name.count("vfs")
"""
    run(script)
    run(script, RAMET_DEFAULT_VFS="1")


def test_functions_can_be_left_out_of_a_process():
    run(r"""
load()
def has(db):
    try:
        return one(db, "SELECT ramet_version()") is not None
    except sqlite3.Error as error:
        assert "no such function" in str(error)
        return False

for name in (":memory:", "plain.db", "file:r.db?vfs=ramet"):
    db = connect(name)
    db.enable_load_extension(True)
    db.execute("SELECT load_extension(?)", (SO,))
    assert not has(db), name
    db.execute("CREATE TABLE IF NOT EXISTS t(a)")
    assert db.execute("PRAGMA ramet_lsn").fetchall() == []
assert has(connect("file:r.db?vfs=ramet&functions=on"))
""", RAMET_FUNCTIONS="off")


def test_the_native_vfs_keeps_its_name():
    run(r"""
load()
for name in ("w.db", "file:r.db?vfs=ramet"):
    db = connect(name)
    db.execute("CREATE TABLE t(a)")
    db.close()
assert not is_replica("w.db") and is_replica("r.db")
native = connect("file:r.db?vfs=unix")
assert tables(native) == ["t"]
assert not [f for f in os.listdir(".") if f.startswith("native")]
native.execute("VACUUM INTO 'native.db'")
assert not is_replica("native.db")
assert one(native, "PRAGMA journal_mode=WAL") == "wal"
assert one(connect("w.db"), "PRAGMA journal_mode=WAL") == "wal"
native.execute("PRAGMA journal_mode=DELETE")
""", RAMET_DEFAULT_VFS="1")


def test_who_becomes_the_default_later_stays_it():
    """Here: the variable is set when the extension has been loaded."""
    run(r"""
load()
db = connect("a.db")
db.execute("CREATE TABLE t(a)")
os.environ["RAMET_DEFAULT_VFS"] = "1"
load()
os.environ["RAMET_REMOTE"] = STORE + "/app"
app = connect("app.db")
app.execute("CREATE TABLE t(a)")
assert is_replica("app.db")
assert tables(connect("a.db")) == ["t"] and not is_replica("a.db")
auto = connect("file:app.db?vfs=ramet-auto")
assert tables(auto) == ["t"]
""")


if __name__ == "__main__":
    common.main()
