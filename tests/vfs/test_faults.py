#!/usr/bin/python3
"""The n-th allocation, system call or transfer fails in a process that works with a
database by SQL: each statement says so or is done, what was committed is there,
what was rolled back is not, and no descriptor and no memory is left.

RAMET_TEST_FAULTS=whole tries each n; else RAMET_TEST_FAULTS of them, for each kind
(12 unless told), chosen by RAMET_TEST_SEED.
"""
import ctypes
import errno
import gc
import os
import random
import sqlite3
import subprocess
import sys
import tempfile

import common
import faults
import seeds

ERRORS = {"alloc": (0,), "read": (errno.EIO, errno.EINTR),
          "write": (errno.ENOSPC, errno.EIO, errno.EINTR),
          "sync": (errno.EIO,), "name": (errno.ENOSPC,),
          "open": (errno.EMFILE, errno.EINTR), "lock": (errno.ENOLCK,),
          "short": (0,), "look": (errno.EIO,)}
HARMLESS = ("short",)
PAGE = b"x" * 3000


# ---- acts: each changes the rows of t as it says, or fails -----------------------


def begin(path, **parameters):
    db = common.open_db(path, **parameters)
    try:
        db.execute("PRAGMA cache_size=5")  # so that it spills
    except BaseException:
        db.close()
        raise
    return db


def insert(db, k):
    db.executemany("INSERT INTO t VALUES(?, ?)",
                   [(k * 100 + i, PAGE) for i in range(12)])


def commit(path, k):
    """One transaction that spills, with a part that is rolled back."""
    db = begin(path)
    try:
        db.execute("BEGIN")
        insert(db, k)
        db.execute("SAVEPOINT s")
        db.execute("UPDATE t SET v = zeroblob(3000)")
        db.execute("ROLLBACK TO s")
        db.execute("COMMIT")
        return True
    finally:
        db.close()


def roll_back(path, k):
    db = begin(path)
    try:
        db.execute("BEGIN")
        insert(db, k)
        db.execute("UPDATE t SET v = zeroblob(3000)")
        db.execute("ROLLBACK")
        return False
    finally:
        db.close()


def commit_two(path, k):
    """In two databases, both or none."""
    db = begin(path)
    try:
        db.execute("ATTACH ? AS other", (common.uri(path + "-2"),))
        db.execute("BEGIN")
        insert(db, k)
        db.execute("INSERT INTO other.t SELECT * FROM main.t WHERE n >= ?",
                   (k * 100,))
        db.execute("COMMIT")
        return True
    finally:
        db.close()


def vacuum(path, k):
    db = begin(path)
    try:
        db.execute("VACUUM")
        return False
    finally:
        db.close()


def push(path, k):
    db = begin(path)
    try:
        db.execute("BEGIN")
        insert(db, k)
        db.execute("COMMIT")
        db.execute("SELECT ramet_push()").fetchall()
        return True
    finally:
        db.close()


ACTS = (commit, roll_back, commit_two, vacuum, push)


# ---- what must be so ---------------------------------------------------------------


def numbers(path):
    """Of the rows of a database that is right."""
    db = common.open_db(path)
    try:
        common.check_integrity(db)
        rows = common.rows(db, "SELECT n, v FROM t ORDER BY n")
    finally:
        db.close()
    assert all(v == PAGE for _, v in rows), "a row that was never committed"
    return [n for n, _ in rows]


def descriptors():
    gc.collect()  # an error holds its frames, and they what was open in them
    return len(os.listdir("/proc/self/fd"))


class Place:
    def __init__(self, faulty):
        self.faulty = faulty
        self.folder = tempfile.mkdtemp(dir=os.getcwd())
        self.k = 1
        self.path = os.path.join(self.folder, "a.db")
        for path in (self.path, self.path + "-2"):
            db = common.open_db(path, sync="manual")
            db.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, v)")
            insert(db, 0)
            db.close()
        db = common.open_db(self.path, sync="manual",
                            remote="file://%s/store/a" % self.folder)
        db.execute("SELECT ramet_push()").fetchall()
        db.close()

    def play(self, act, kind, nth, errnum):
        """Did it come to the fault?"""
        before = numbers(self.path), numbers(self.path + "-2")
        added = [self.k * 100 + i for i in range(12)]
        self.faulty.arm(kind, nth, errnum)
        commits = error = None
        try:
            commits = act(self.path, self.k)
        except (sqlite3.Error, MemoryError) as found:
            error = found
        fired = self.faulty.disarm()
        what = "%s: %s %d, errno %d: %r" % (act.__name__, kind, nth, errnum, error)
        if error is not None:
            assert fired, what + ", without a fault"
            assert kind not in HARMLESS and errnum != errno.EINTR, what
        after = numbers(self.path), numbers(self.path + "-2")
        is_new = after[0] == before[0] + added
        assert is_new or after[0] == before[0], what
        assert not commits or is_new, what + ": lost"
        assert commits is not False or not is_new, what + ": was rolled back"
        assert after[1] == before[1] + (
            added if is_new and act is commit_two else []), what + ": half of it"
        self.k += 1
        return fired

    def count(self, act):
        self.faulty.clear_counts()
        self.faulty.count_all()
        act(self.path, self.k)
        self.k += 1
        return self.faulty.counts()


def chosen(count, rng):
    wanted = os.environ.get("RAMET_TEST_FAULTS", "12")
    if wanted == "whole" or count <= int(wanted):
        return range(count)
    return sorted(rng.sample(range(count), int(wanted)))


def play_all(faulty):
    rng = random.Random(seeds.seed("RAMET_TEST_SEED"))
    tried = met = 0
    for act in ACTS:
        place = Place(faulty)
        counts = place.count(act)
        place.count(act)
        fds, blocks = descriptors(), faulty.live()
        for kind, errors in ERRORS.items():
            for errnum in errors:
                if place.k > 30:
                    place = Place(faulty)
                for nth in chosen(counts[kind], rng):
                    met += place.play(act, kind, nth, errnum)
                    tried += 1
        assert descriptors() <= fds, (act.__name__, fds, descriptors())
        assert faulty.live() <= blocks + 20, (act.__name__, blocks, faulty.live())
    print("%d trials, %d met their fault" % (tried, met))
    assert met > tried / 2


# ---- the two processes ---------------------------------------------------------------


def child():
    faulty = faults.Faults.join(os.environ["RAMET_FAULTS"])
    common.load()
    ctypes.CDLL(None).ramet_faults_look()
    play_all(faulty)


def test_each_fault_is_told_and_nothing_is_lost():
    faulty = faults.Faults(os.path.join(os.getcwd(), "faults"))
    done = subprocess.run([sys.executable, os.path.abspath(__file__), "--child"],
                          env=faulty.env(), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    print(done.stdout[-2000:], end="")
    assert done.returncode == 0, done.returncode


if __name__ == "__main__":
    if sys.argv[1:] == ["--child"]:
        child()
    else:
        common.main()
