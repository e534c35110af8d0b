"""What test_faults.py lets go wrong: pieces of work with replicas, by SQL.

An *act* gets a place (folder, path of a.db, …) and a number of its own. It says in
the end whether its rows are there now (True), or nothing was to change (False). What
it is to find is made by its `prepare`, before any fault; `rows` tells what a.db has
when it is done, from what it had.
"""
import os
import sqlite3

import common

PAGE = b"x" * 3000
ACTS = {}  # by group


def act(group, prepare=None, rows=None, also=()):
    """`also`: names of files that get the same rows."""
    def keep(run):
        run.prepare = prepare or (lambda place, k: None)
        run.rows = rows or (lambda before, k: before + added(k))
        run.also = also
        ACTS.setdefault(group, []).append(run)
        return run
    return keep


def added(k):
    return [k * 100 + i for i in range(12)]


def insert(db, k, first=0):
    db.executemany("INSERT INTO t VALUES(?, ?)",
                   [(n + first, PAGE) for n in added(k)])


def commit_rows(db, k, first=0):
    db.execute("BEGIN")
    insert(db, k, first)
    db.execute("COMMIT")


class opened:
    """A connection with a cache so small that it spills."""

    def __init__(self, path, **parameters):
        self.path, self.parameters = path, parameters

    def __enter__(self):
        self.db = common.open_db(self.path, **self.parameters)
        try:
            self.db.execute("PRAGMA cache_size=5")
        except BaseException:
            self.db.close()
            raise
        return self.db

    def __exit__(self, *_):
        self.db.close()


# ---- writing ---------------------------------------------------------------------


@act("writing")
def commit(place, k):
    """One transaction that spills, with a part that is rolled back."""
    with opened(place.path) as db:
        db.execute("BEGIN")
        insert(db, k)
        db.execute("SAVEPOINT s")
        db.execute("UPDATE t SET v = zeroblob(3000)")
        db.execute("ROLLBACK TO s")
        db.execute("COMMIT")
    return True


@act("writing")
def roll_back(place, k):
    with opened(place.path) as db:
        db.execute("BEGIN")
        insert(db, k)
        db.execute("UPDATE t SET v = zeroblob(3000)")
        db.execute("ROLLBACK")
    return False


@act("writing", also=("a.db-2",))
def commit_two(place, k):
    """In two databases, both or none."""
    with opened(place.path) as db:
        db.execute("ATTACH ? AS other", (common.uri(place.path + "-2"),))
        db.execute("BEGIN")
        insert(db, k)
        db.execute("INSERT INTO other.t SELECT * FROM main.t WHERE n >= ?",
                   (k * 100,))
        db.execute("COMMIT")
    return True


@act("writing")
def vacuum(place, k):
    with opened(place.path) as db:
        db.execute("VACUUM")
    return False


@act("writing")
def in_exclusive_mode(place, k):
    with opened(place.path) as db:
        db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        db.execute("PRAGMA journal_mode=WAL").fetchall()
        commit_rows(db, k)
    return True


@act("writing")
def where_commits_wait_for_readers(place, k):
    with opened(place.path, locking="rollback") as db:
        db.execute("PRAGMA journal_mode=TRUNCATE").fetchall()
        db.execute("BEGIN IMMEDIATE")
        insert(db, k)
        db.execute("COMMIT")
    return True


def make_link(place, k):
    if not os.path.exists(place.path + ".link"):
        os.symlink(place.path, place.path + ".link")


@act("writing", prepare=make_link)
def through_a_link(place, k):
    with opened(place.path + ".link") as db:
        insert(db, k)
    return None  # a statement for each row


@act("writing")
def shrink(place, k):
    with opened(place.path) as db:
        db.execute("BEGIN")
        insert(db, k)
        db.execute("CREATE TABLE u AS SELECT * FROM t")
        db.execute("DROP TABLE u")
        db.execute("COMMIT")
        db.execute("VACUUM")
    return True


def make_source(place, k):
    source = sqlite3.connect(os.path.join(place.folder, "source%d" % k),
                             isolation_level=None)
    source.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, v)")
    insert(source, k)
    source.close()


@act("writing", prepare=make_source, rows=lambda before, k: added(k))
def backup_over_it(place, k):
    source = sqlite3.connect(os.path.join(place.folder, "source%d" % k))
    try:
        with opened(place.path) as db:
            source.backup(db, pages=3)
    finally:
        source.close()
    return True


@act("writing")
def vacuum_into_a_replica(place, k):
    with opened(place.path) as db:
        db.execute("VACUUM INTO ?",
                   (common.uri("%s-into-%d" % (place.path, k)),))
    return False


# ---- verbs -----------------------------------------------------------------------


def settle(place, k):
    """a.db has what the remote has; so has b.db, a neighbour."""
    for name in ("a.db", "b.db"):
        with opened(os.path.join(place.folder, name), sync="manual",
                    remote=place.remote) as db:
            try:
                db.execute("SELECT ramet_sync()").fetchall()
            except sqlite3.Error as error:
                assert "diverged" in str(error), error
                db.execute("SELECT ramet_reset()").fetchall()


def commit_elsewhere(place, k):
    settle(place, k)
    with opened(os.path.join(place.folder, "b.db"), sync="manual") as db:
        commit_rows(db, k)
        db.execute("SELECT ramet_push()").fetchall()


def diverge(place, k):
    commit_elsewhere(place, k)
    with opened(place.path, sync="manual") as db:
        commit_rows(db, k, first=50)


@act("verbs")
def push(place, k):
    with opened(place.path, sync="manual") as db:
        commit_rows(db, k)
        db.execute("SELECT ramet_push()").fetchall()
    return True


@act("verbs", prepare=commit_elsewhere)
def pull(place, k):
    with opened(place.path, sync="manual") as db:
        db.execute("SELECT ramet_pull()").fetchall()
        db.execute("SELECT ramet_hydrate()").fetchall()
    return True


@act("verbs", prepare=commit_elsewhere)
def fetch(place, k):
    with opened(place.path, sync="manual") as db:
        db.execute("PRAGMA ramet_fetch").fetchall()
    return False


@act("verbs", prepare=commit_elsewhere)
def wait(place, k):
    with opened(os.path.join(place.folder, "b.db"), sync="manual") as db:
        token = common.one(db, "SELECT ramet_wait_durable()")
    with opened(place.path, sync="manual") as db:
        db.execute("SELECT ramet_wait(?, 600000)", (token,)).fetchall()
    return True


@act("verbs", prepare=settle)
def wait_durable(place, k):
    with opened(place.path, sync="manual") as db:
        commit_rows(db, k)
        assert ":" in common.one(db, "SELECT ramet_wait_durable(600000, 'main')")
    return True


@act("verbs", prepare=settle)
def commit_to_the_remote(place, k):
    with opened(place.path, sync="commit") as db:
        commit_rows(db, k)
    return True


@act("verbs", prepare=diverge,
     rows=lambda before, k: [n for n in before if n < k * 100] + added(k))
def reset(place, k):
    with opened(place.path, sync="manual") as db:
        kept = common.one(db, "SELECT ramet_reset('main')")
    assert kept and os.path.exists(kept), kept
    return True


@act("verbs", prepare=commit_elsewhere)
def sync(place, k):
    with opened(place.path, sync="manual") as db:
        db.execute("PRAGMA ramet_sync").fetchall()
    return True


# ---- looking ---------------------------------------------------------------------


@act("looking")
def look(place, k):
    """All that tells something."""
    with opened(place.path) as db:
        (state,) = db.execute("SELECT state FROM ramet_status").fetchone()
        assert state in ("clean", "ahead", "synced"), state
        assert common.one(db, "SELECT state FROM ramet_status('main')") == state
        lsns = [n for n, in db.execute(
            "SELECT lsn FROM ramet_log ORDER BY lsn DESC")]
        assert lsns == sorted(lsns, reverse=True) and lsns
        assert common.one(db, "SELECT count(*) FROM ramet_log('main')") == len(lsns)
        assert common.one(db, "SELECT ramet_lsn()") == lsns[0]
        assert common.rows(db, "PRAGMA ramet_lsn")[0][0] in (lsns[0], str(lsns[0]))
        assert common.one(db, "SELECT ramet_version()")
        assert common.rows(db, "PRAGMA ramet_version")
        common.one(db, "SELECT ramet_errmsg()")
        common.one(db, "SELECT ramet_prefetch(?, 1, 2.5, 'x', x'00', NULL)",
                   "SELECT count(*) FROM t WHERE n IN (?, ?, ?, ?, ?)")
    return False


@act("looking")
def read_the_past(place, k):
    with opened(place.path, at=place.pushed_lsn, mode="ro") as db:
        assert common.one(db, "SELECT count(*) FROM t") == 12
    return False


@act("looking")
def read_without_a_replica(place, k):
    with opened(os.path.join(place.folder, "nowhere.db"), replica="none",
                mode="ro", remote=place.remote) as db:
        assert common.one(db, "SELECT count(*) FROM t") >= 12
    return False


@act("looking")
def read_only(place, k):
    for parameters in ({"mode": "ro"}, {"immutable": 1}, {"nolock": 1}):
        with opened(place.path, **parameters) as db:
            assert common.one(db, "SELECT count(*) FROM t") >= 12
    return False


# ---- opening ---------------------------------------------------------------------


@act("opening")
def clone(place, k):
    path = os.path.join(place.folder, "c%d.db" % k)
    with opened(path, sync="manual", remote=place.remote) as db:
        assert common.one(db, "SELECT count(*) FROM t") >= 12
        db.execute("SELECT ramet_hydrate()").fetchall()
    return False


@act("opening")
def create(place, k):
    """A database that was not there, with a volume that was not there."""
    path = os.path.join(place.folder, "e%d.db" % k)
    with opened(path, sync="manual",
                remote="%s-%d" % (place.remote, k)) as db:
        db.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, v)")
        db.execute("SELECT ramet_push()").fetchall()
    return False


def make_plain(place, k):
    make_source(place, k)
    db = sqlite3.connect(os.path.join(place.folder, "source%d" % k))
    db.execute("PRAGMA journal_mode=WAL")
    db.close()


@act("opening", prepare=make_plain)
def adopt(place, k):
    """What a plain file has is there afterwards, whether it became a replica or not;
    of another row all or nothing."""
    path = os.path.join(place.folder, "source%d" % k)
    try:
        with opened(path) as db:
            assert common.one(db, "SELECT count(*) FROM t") == 12
            db.execute("INSERT INTO t VALUES(1, ?)", (PAGE,))
    finally:
        place.must_have[path] = ([added(k), [1] + added(k)])
    return False


@act("opening")
def by_the_environment(place, k):
    os.environ["RAMET_REMOTE"] = "%s=%s" % (place.path, place.remote)
    try:
        with opened(place.path, vfs="ramet-auto", sync="manual") as db:
            assert common.one(db, "SELECT count(*) FROM t") >= 12
    finally:
        del os.environ["RAMET_REMOTE"]
    return False
