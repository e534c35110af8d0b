"""What `PRAGMA synchronous` buys: FULL syncs each commit, NORMAL and OFF none.

Commits are counted against the process's own fsync and fdatasync calls, which
a preloaded library (killpoint.c) counts. The first commits, which make the
log's first generation, are not looked at.
"""
import os
import subprocess
import sys

import common

COUNTED = 50

SCRIPT = """
import ctypes, sys
import common
syncs = ctypes.CDLL(None).killpoint_syncs
syncs.restype = ctypes.c_long
level, journal, locking = sys.argv[1:4]
db = common.open_db("a.db")
db.execute("PRAGMA journal_mode=" + journal)
db.execute("PRAGMA locking_mode=" + locking)
if level != "default":
    db.execute("PRAGMA synchronous=" + level)
db.execute("CREATE TABLE t(a, b)")
for i in range(5):
    db.execute("INSERT INTO t VALUES(?, 'x')", (i,))
before = syncs()
for i in range(%d):
    db.execute("UPDATE t SET b = ? WHERE a = ?", ("y%%d" %% i, i %% 5))
print(syncs() - before)
""" % COUNTED


def syncs_by(script, *args):
    for name in ("a.db", "a.db-ramet"):
        subprocess.run(["rm", "-rf", name], check=True)
    env = dict(os.environ, LD_PRELOAD=os.environ["RAMET_KILLPOINT"],
               PYTHONPATH=os.path.dirname(os.path.abspath(__file__)))
    done = subprocess.run([sys.executable, "-c", script, *args], env=env,
                          check=True, text=True, stdout=subprocess.PIPE)
    return int(done.stdout)


def syncs_of(level, journal="delete", locking="normal"):
    return syncs_by(SCRIPT, level, journal, locking)



# A pragma that the attached file was not told of: page 1 does not tell its commits
# from rollbacks, and there is no journal that would.
UNTOLD = """
import ctypes
import common
syncs = ctypes.CDLL(None).killpoint_syncs
syncs.restype = ctypes.c_long
db = common.open_db("a.db")
db.execute("ATTACH ? AS b",
           (common.uri("b.db", vfs="ramet", locking="rollback"),))
db.execute("PRAGMA b.journal_mode=MEMORY")
db.execute("PRAGMA locking_mode=EXCLUSIVE")
db.execute("CREATE TABLE b.t(x)")
db.execute("INSERT INTO b.t VALUES(0)")
before = syncs()
for i in range(%d):
    db.execute("UPDATE b.t SET x = x + 1")
print(syncs() - before)
""" % COUNTED

ACROSS = """
import ctypes
import common
syncs = ctypes.CDLL(None).killpoint_syncs
syncs.restype = ctypes.c_long
db = common.open_db("a.db")
db.execute("ATTACH ? AS b", (common.uri("b.db", vfs="ramet"),))
for schema in "main", "b":
    db.execute("PRAGMA %%s.synchronous=NORMAL" %% schema)
    db.execute("CREATE TABLE %%s.t(x)" %% schema)
    db.execute("INSERT INTO %%s.t VALUES(0)" %% schema)
def commit(*schemas):
    db.execute("BEGIN")
    for schema in schemas:
        db.execute("UPDATE %%s.t SET x = x + 1" %% schema)
    db.execute("COMMIT")
commit("main", "b")
before = syncs()
for i in range(%d):
    commit("main", "b")
print(syncs() - before)
""" % COUNTED


def test_normal_syncs_the_records_of_commits_across_databases():
    """Both are on disk before the super-journal goes: that is two syncs, over the
    seven that the super-journal and the names of both take."""
    count = syncs_by(ACROSS)
    assert count >= 9 * COUNTED, count


def test_full_syncs_every_commit():
    for journal in ("delete", "truncate", "persist", "memory", "off"):
        for level in ("FULL", "EXTRA", "default"):
            count = syncs_of(level, journal)
            assert count >= COUNTED, (journal, level, count)
    assert syncs_of("FULL", "delete", "exclusive") >= COUNTED


def test_full_syncs_commits_that_look_like_rollbacks():
    assert syncs_by(UNTOLD) >= COUNTED


def test_full_costs_one_sync_a_commit():
    assert syncs_of("FULL") <= COUNTED + 5


def test_normal_and_off_sync_no_commit():
    for journal in ("delete", "truncate", "persist"):
        for level in ("NORMAL", "OFF"):
            count = syncs_of(level, journal)
            assert count <= 5, (journal, level, count)
    assert syncs_of("OFF", "memory") <= 5


if __name__ == "__main__":
    common.main()
