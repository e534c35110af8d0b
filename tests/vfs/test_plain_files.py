#!/usr/bin/python3
"""Plain databases that stay what they are: where nothing may be written beside
them, VFS "ramet" reads them as SQLite's own does."""
import os

import common
from common import open_db, open_native, rows

NOBODY = 65534
READ = """
import common, os, sys
os.setgroups([]); os.setgid(%d); os.setuid(%d)
db = common.open_db(sys.argv[1])
print(common.one(db, "SELECT count(*) FROM t"))
common.fails("readonly", db.execute, "INSERT INTO t VALUES(1)")
db.execute("SELECT * FROM t").fetchall()
""" % (NOBODY, NOBODY)


def make_plain(path, mode=0o644):
    db = open_native(path)
    db.execute("CREATE TABLE t(a)")
    db.execute("INSERT INTO t VALUES(1)")
    db.close()
    os.chmod(path, mode)


def read_as_nobody(path):
    for folder in (os.getcwd(), os.path.dirname(os.path.abspath(path))):
        os.chmod(folder, 0o755)
    reader = common.python(READ, os.path.abspath(path),
                           stdout=common.subprocess.PIPE, text=True)
    out, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0
    return int(out)


def check_untouched(path):
    assert not os.path.exists(path + "-ramet"), "a replica was made"


def test_a_file_of_somebody_else_is_read():
    if os.geteuid() != 0:
        return
    os.mkdir("theirs")
    make_plain("theirs/a.db")
    assert read_as_nobody("theirs/a.db") == 1
    check_untouched("theirs/a.db")


def test_a_file_of_ones_own_in_somebody_elses_folder_is_read():
    if os.geteuid() != 0:
        return
    os.mkdir("theirs")
    make_plain("theirs/a.db")
    os.chown("theirs/a.db", NOBODY, NOBODY)
    assert read_as_nobody("theirs/a.db") == 1
    check_untouched("theirs/a.db")


def test_an_immutable_file_is_read_and_nothing_is_made_beside_it():
    make_plain("a.db")
    make_plain("w.db")
    wal = open_native("w.db")
    wal.execute("PRAGMA journal_mode=WAL")
    wal.close()
    for path in ("a.db", "w.db"):
        db = open_db(path, immutable=1)
        assert rows(db, "SELECT a FROM t") == [(1,)]
        db.close()
        check_untouched(path)


def test_a_file_that_is_not_there_is_not_opened_for_reading():
    if os.geteuid() != 0:
        return
    os.mkdir("theirs", 0o755)
    os.chmod(".", 0o755)
    child = common.python("""
import common, os, sys
os.setgroups([]); os.setgid(%d); os.setuid(%d)
common.fails("unable to open", common.open_db, sys.argv[1])
""" % (NOBODY, NOBODY), os.path.abspath("theirs/none.db"))
    assert child.wait(timeout=60) == 0
    assert os.listdir("theirs") == []


if __name__ == "__main__":
    common.main()
