#!/usr/bin/python3
"""The n-th allocation, system call or transfer fails in a process that works with a
database by SQL: each statement says so or is done, what was committed is there,
what was rolled back is not, and no descriptor and no memory is left.

RAMET_TEST_FAULTS=whole tries each n; `sites` one n of each place in the code that
such calls come from, by its callers; else so many of those, for each kind (2 unless
told); after RAMET_TEST_SECONDS no more of them. RAMET_TEST_SEED chooses, and RAMET_TEST_GROUP or RAMET_TEST_ONLY of the acts.
"""
import ctypes
import errno
import gc
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

import common
import fault_acts
import faults
import seeds

ERRORS = {"alloc": (0,), "read": (errno.EIO, errno.EINTR),
          "write": (errno.ENOSPC, errno.EIO, errno.EINTR),
          "sync": (errno.EIO,), "name": (errno.ENOSPC,),
          "open": (errno.EMFILE, errno.EINTR), "lock": (errno.ENOLCK,),
          "short": (0,), "look": (errno.EIO,)}
HARMLESS = ("short",)
FIRST = "first"  # instead of a group of acts
# ---- what must be so ---------------------------------------------------------------


def numbers(path):
    """Of the rows of a database that is right."""
    db = common.open_db(path, sync="manual")
    try:
        common.check_integrity(db)
        rows = common.rows(db, "SELECT n, v FROM t ORDER BY n")
    finally:
        db.close()
    assert all(v == fault_acts.PAGE for _, v in rows), "a row that was never committed"
    return [n for n, _ in rows]


def descriptors():
    gc.collect()  # an error holds its frames, and they what was open in them
    return len(os.listdir("/proc/self/fd"))


class Place:
    """a.db has a remote, a.db-2 has none; both begin with the rows of 0."""

    def __init__(self, faulty):
        self.faulty = faulty
        self.folder = tempfile.mkdtemp(dir=os.getcwd())
        self.k = 1
        self.path = os.path.join(self.folder, "a.db")
        self.remote = "file://%s/store/a" % self.folder
        self.must_have = {}  # other files: what rows they may have
        for path in (self.path, self.path + "-2"):
            db = common.open_db(path, sync="manual")
            db.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, v)")
            fault_acts.insert(db, 0)
            db.close()
        db = common.open_db(self.path, sync="manual", remote=self.remote)
        self.pushed_lsn = common.one(db, "SELECT ramet_push()")
        db.close()

    def look(self):
        return {name: numbers(os.path.join(self.folder, name))
                for name in ("a.db", "a.db-2")}

    def play(self, act, kind, nth, errnum):
        """Did it come to the fault?"""
        act.prepare(self, self.k)
        before = self.look()
        self.faulty.arm(kind, nth, errnum)
        commits = error = None
        try:
            commits = act(self, self.k)
        except (sqlite3.Error, MemoryError) as found:
            error = found
        fired = self.faulty.disarm()
        what = "%s: %s %d, errno %d: %r" % (act.__name__, kind, nth, errnum, error)
        if error is not None:
            assert fired, what + ", without a fault"
            assert kind not in HARMLESS and errnum != errno.EINTR, what
        self.check(act, before, commits, what)
        self.k += 1
        return fired

    def check(self, act, before, commits, what):
        done = dict(before)
        done["a.db"] = act.rows(before["a.db"], self.k)
        for name in act.also:
            done[name] = before[name] + fault_acts.added(self.k)
        after = self.look()
        if act is fault_acts.through_a_link:  # commits of a row each
            assert done["a.db"][:len(after["a.db"])] == after["a.db"], what
        else:
            assert after in (before, done), what + ": half of it"
            assert commits is not True or after == done, what + ": lost"
        assert commits is not False or after == before, what + ": was not to be"
        for path, choices in self.must_have.items():
            assert numbers(path) in choices, what + ": " + path
        self.must_have = {}

    def count(self, act):
        """What calls there are; all of them go well."""
        act.prepare(self, self.k)
        self.faulty.clear_counts()
        self.faulty.count_all()
        act(self, self.k)
        self.faulty.disarm()
        self.must_have = {}
        self.k += 1
        return {kind: self.faulty.calls_by_site(kind) for kind in ERRORS}


def child_env(faulty):
    """Of RAMET_TEST_SECONDS each group of acts has its share."""
    env = faulty.env()
    seconds = os.environ.get("RAMET_TEST_SECONDS")
    if seconds is not None:
        env["RAMET_TEST_UNTIL"] = str(time.time() + float(seconds) / len(fault_acts.ACTS))
    return env


def chosen(places, rng):
    wanted = os.environ.get("RAMET_TEST_FAULTS", "2")
    if wanted == "whole":
        return sorted(nth for place in places for nth in place)
    if wanted != "sites" and int(wanted) < len(places):
        places = rng.sample(places, int(wanted))
    return sorted(rng.choice(place) for place in places)


def play_all(faulty, acts):
    rng = random.Random(seeds.seed("RAMET_TEST_SEED"))
    until = float(os.environ.get("RAMET_TEST_UNTIL", "inf"))
    tried = met = 0
    for act in rng.sample(acts, len(acts)):
        place = Place(faulty)
        calls = place.count(act)
        place.count(act)
        fds, blocks = descriptors(), faulty.live()
        for kind, errors in ERRORS.items():
            for errnum in errors:
                if place.k > 30:
                    place = Place(faulty)
                for nth in chosen(calls[kind], rng):
                    if time.time() > until and tried > 0:
                        break
                    met += place.play(act, kind, nth, errnum)
                    tried += 1
        assert descriptors() <= fds, (act.__name__, fds, descriptors())
        assert faulty.live() <= blocks + 20, (act.__name__, blocks, faulty.live())
    print("%d trials, %d met their fault" % (tried, met))
    assert met >= tried / 2


# ---- the first transaction ------------------------------------------------------------


def copied(path):
    """As a process that is killed now leaves it."""
    copy = path + "-copy"
    shutil.copy(path, copy)
    shutil.copytree(path + "-ramet", copy + "-ramet")
    return copy


def first_transactions(faulty):
    """Its sync fails and it is rolled back, and the lock is kept: a crash then does
    not bring it."""
    for mode in ("delete", "persist", "memory"):
        path = os.path.abspath("first-%s.db" % mode)
        db = common.open_db(path)
        db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        db.execute("PRAGMA journal_mode=%s" % mode).fetchall()
        db.execute("BEGIN")
        db.execute("CREATE TABLE t(n)")
        faulty.arm("sync", 0, errno.EIO)
        common.fails("I/O error", db.execute, "COMMIT")
        assert faulty.disarm()
        if db.in_transaction:
            db.execute("ROLLBACK")
        other = common.open_db(copied(path))
        assert common.one(other, "SELECT count(*) FROM sqlite_schema") == 0, mode
        other.close()
        db.execute("CREATE TABLE t(n)")
        db.close()
        db = common.open_db(path)
        assert common.one(db, "SELECT count(*) FROM sqlite_schema") == 1, mode
        db.close()


# ---- the two processes ---------------------------------------------------------------


def child(group):
    faulty = faults.Faults.join(os.environ["RAMET_FAULTS"])
    common.load()
    ctypes.CDLL(None).ramet_faults_look()
    if group == FIRST:
        return first_transactions(faulty)
    only = os.environ.get("RAMET_TEST_ONLY")
    play_all(faulty, [act for act in fault_acts.ACTS[group]
                      if only in (None, act.__name__)])


def run_child(group):
    faulty = faults.Faults(os.path.join(os.getcwd(), "faults"))
    done = subprocess.run([sys.executable, os.path.abspath(__file__), "--child",
                           group], env=child_env(faulty), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    print(done.stdout[-2000:], end="")
    assert done.returncode == 0, done.returncode
    return done.stdout


def play_in_a_child(group):
    return [int(number) for number in
            re.search(r"(\d+) trials, (\d+) met", run_child(group)).groups()]


def test_each_fault_is_told_and_nothing_is_lost():
    wanted = os.environ.get("RAMET_TEST_GROUP")
    totals = [play_in_a_child(group) for group in fault_acts.ACTS
              if wanted in (None, group)]
    print("%d trials, %d met their fault" % tuple(map(sum, zip(*totals))))


def test_a_first_transaction_that_was_rolled_back_stays_so():
    run_child(FIRST)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
    else:
        common.main()
