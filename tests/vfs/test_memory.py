"""What an idle replica takes of memory, beside SQLite's own database in WAL
mode: what the process has alone, as the kernel counts it.
"""
import os
import subprocess

import common

LIMIT_KIB = 4096  # of an open replica, over SQLite
CONNECTION_KIB = 64  # of each further connection to it, over SQLite

SCRIPT = """
import sys
import common

engine, connections, load_mib, *remote = sys.argv[1:]
parameters = {"remote": remote[0]} if remote else {}

def connect():
    if engine == "native":
        return common.open_native("a.db")
    return common.open_db("a.db", timeout=10.0, **parameters)

def private_kib():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines
                   if line.startswith("Private_"))

open_now = [connect()]
db = open_now[0]
if engine == "native":
    db.execute("PRAGMA journal_mode=wal")
db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
db.execute("INSERT INTO t VALUES(1, 'x')")
if int(load_mib):
    db.execute("BEGIN")
    for i in range(int(load_mib) * 1024):
        db.execute("INSERT INTO t(b) VALUES(randomblob(1000))")
    db.execute("COMMIT")
    assert common.one(db, "SELECT count(*) FROM t WHERE b > x'00'")
if remote:
    assert common.one(db, "SELECT ramet_push()")
for _ in range(int(connections) - 1):
    open_now.append(connect())
for db in open_now:
    assert common.one(db, "SELECT b FROM t WHERE a = 1") == "x"
print(private_kib())
"""


def idle_kib(engine, connections=1, load_mib=0, remote=None):
    subprocess.run("rm -rf a.db* store", shell=True, check=True)
    done = common.python(SCRIPT, engine, str(connections), str(load_mib),
                         *([remote] if remote else []),
                         stdout=subprocess.PIPE, text=True)
    out, _ = done.communicate()
    assert done.returncode == 0
    return int(out)


def over_native(connections=1, load_mib=0, remote=None):
    over = (idle_kib("ramet", connections, load_mib, remote) -
            idle_kib("native", connections, load_mib))
    print("%d connections, %d MiB loaded%s: %d KiB over SQLite's" %
          (connections, load_mib, ", with a remote" if remote else "", over))
    return over


def test_an_idle_replica_is_small():
    assert over_native() <= LIMIT_KIB


def test_an_idle_replica_with_a_remote_is_small():
    remote = "file://%s/store/v" % os.getcwd()
    assert over_native(remote=remote) <= LIMIT_KIB


def test_an_idle_replica_is_small_again_after_work():
    assert over_native(load_mib=24) <= LIMIT_KIB


def test_further_connections_cost_little():
    assert over_native(50) <= LIMIT_KIB + 49 * CONNECTION_KIB


common.main()
