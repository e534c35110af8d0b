#!/usr/bin/python3
"""Processes that write, read, push, pull, reset and are killed, all at once;
and a database that says itself what must be in it.

    history.py [--seconds N] [--seed N] [--cast NAME]

Each transaction is a *deed*: a seed, from which its statements follow, and a row
(n, seed) in the table `history` of the same database. So whatever anybody sees,
anywhere, at any time - a reader with a warm cache, a replica that was pulled,
killed or reset, the remote at some LSN, a file that a reset kept - must be what
native SQLite has after the deeds of its own history, in their order. A stale
page, half a commit, two lines of history in one snapshot, an update that was
lost: none of them passes for that.

Beside it: what a commit acknowledged is in the replica in the end, or in what a
reset gave up; with sync=commit, in the remote. The histories of the remote's
LSNs continue one another. On a replica without resets time goes forward only.
"""
import argparse
import glob
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback

import grammar
import remote
import worker

EXTENSION = os.path.abspath(os.environ.get("RAMET_SO", "build/lib/ramet.so"))
LEFT_OUT = ("select", "cache", "temporary", "triggers")
KINDS = grammar.kinds(LEFT_OUT)
SETUP = tuple(sql for sql in grammar.SCHEMA) + (
    "CREATE TABLE history(n INTEGER PRIMARY KEY, seed INTEGER)",)
AGAIN = ("SQLITE_BUSY", "SQLITE_LOCKED")


# ---- deeds -------------------------------------------------------------------

def statements(seed):
    """What a deed does, in order."""
    rng = random.Random(seed)
    made = []
    for _ in range(rng.randrange(1, 9)):
        sql, args = rng.choice(KINDS)(rng, "")
        if "OR ROLLBACK" not in sql:
            made.append((sql, args))
    if rng.random() < 0.3:  # taken back, with all that was spilled
        at = rng.randrange(len(made) + 1)
        some = [grammar.write(rng) for _ in range(3)]
        some = [one for one in some if "OR ROLLBACK" not in one[0]]
        made[at:at] = [("SAVEPOINT s", ())] + some + [
            ("ROLLBACK TO s", ()), ("RELEASE s", ())]
    return made


def do(db, seed):
    """Its statements; those that fail for their content are no failures."""
    for sql, args in statements(seed):
        try:
            db.execute(sql, args).fetchall()
        except sqlite3.Error as error:
            if error.sqlite_errorname.startswith(AGAIN + ("SQLITE_IOERR",)):
                raise


def content(db):
    """A digest of what the database says, however it is laid out."""
    total = hashlib.md5()
    for pragma in ("user_version", "application_id"):
        total.update(b"%d," % db.execute("PRAGMA " + pragma).fetchone()[0])
    things = db.execute("SELECT type, name, sql FROM sqlite_master"
                        " WHERE name NOT LIKE 'f_%' ORDER BY 1, 2").fetchall()
    total.update(repr(things).encode())
    for kind, name, _ in things:
        if kind == "table" and not name.startswith("sqlite_"):
            for row in db.execute('SELECT * FROM "%s"' % name):
                total.update(repr(row).encode())
    return total.hexdigest()


def history_of(db):
    return db.execute("SELECT n, seed FROM history ORDER BY n").fetchall()


class Replay:
    """What native SQLite has after some deeds."""

    def __init__(self):
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        for sql in SETUP:
            self.db.execute(sql)
        self.done = []
        self.kept = {(): self.db.serialize()}
        self.known = {}

    def digest(self, seeds):
        seeds = tuple(seeds)
        if seeds not in self.known:
            self.go_to(seeds)
            self.known[seeds] = content(self.db)
        return self.known[seeds]

    def go_to(self, seeds):
        if list(seeds[:len(self.done)]) != self.done:
            start = max((one for one in self.kept if seeds[:len(one)] == one),
                        key=len)
            self.db.close()  # FTS5 has things in mind
            self.db = sqlite3.connect(":memory:", isolation_level=None)
            self.db.deserialize(self.kept[start])
            self.done = list(start)
        for seed in seeds[len(self.done):]:
            self.db.execute("BEGIN")
            self.db.execute("INSERT INTO history VALUES(?, ?)",
                            (len(self.done) + 1, seed))
            do(self.db, seed)
            self.db.execute("COMMIT")
            self.done.append(seed)
            if len(self.done) % 20 == 0:
                self.kept[tuple(self.done)] = self.db.serialize()


# ---- who takes part ------------------------------------------------------------

class Actor:
    """In a process of its own; dies of SIGKILL, or of what is wrong."""

    pause = 0.004  # seconds between two acts, at most

    def __init__(self, stage, place, number, seed):
        self.stage, self.place, self.number = stage, place, number
        self.rng = random.Random(seed)
        self.out = os.open("%s-%d-%d" % (type(self).__name__, place, number),
                           os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.db = None
        os.write(self.out, b"\n")  # after a line that was cut off

    def note(self, **what):
        os.write(self.out, json.dumps(what).encode() + b"\n")

    def open(self):
        mode = self.stage.modes[self.place]
        parameters = {"vfs": "ramet", "remote": self.stage.url, "sync": mode}
        if self.rng.random() < 0.2:
            parameters["cache_limit"] = "65536"
        self.db = sqlite3.connect(
            worker.uri_of(self.stage.path(self.place), parameters), uri=True,
            isolation_level=None, timeout=20)
        self.db.execute("PRAGMA synchronous=%s" %
                        self.rng.choice(("OFF", "NORMAL", "FULL")))
        self.db.execute("PRAGMA cache_size=%d" %
                        self.rng.choice((1, 10, 1000)))

    def run(self):
        while True:
            try:
                if self.db is None:
                    self.open()
                self.act()
                if self.rng.random() < 0.02:
                    self.db.close()
                    self.db = None
            except sqlite3.Error as error:
                self.bear(error)
            if self.pause:
                time.sleep(self.rng.random() * self.pause)

    def bear(self, error):
        """An error after which all goes on, or it is raised again."""
        if self.db is not None and self.db.in_transaction:
            self.db.execute("ROLLBACK")
        name = getattr(error, "sqlite_errorname", "")
        if not name.startswith(AGAIN):
            raise error


class Writer(Actor):
    def act(self):
        seed = self.rng.getrandbits(50)
        if self.rng.random() < 0.02:
            self.db.execute("VACUUM")
            return
        self.db.execute("BEGIN IMMEDIATE")
        n = 1 + self.db.execute(
            "SELECT coalesce(max(n), 0) FROM history").fetchone()[0]
        self.db.execute("INSERT INTO history VALUES(?, ?)", (n, seed))
        do(self.db, seed)
        if self.rng.random() < 0.1:
            self.db.execute("ROLLBACK")
            return
        self.db.execute("COMMIT")
        self.note(seed=seed)
        if self.rng.random() < 0.3:
            look(self)

    def bear(self, error):
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_BUSY_SNAPSHOT" and \
                self.stage.modes[self.place] == "commit":
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            try:
                self.db.execute("SELECT ramet_pull()").fetchall()
            except sqlite3.Error as other:
                Actor.bear(self, other)
            return
        if name.startswith("SQLITE_IOERR_COMMIT_ATOMIC"):
            name = "SQLITE_BUSY"  # in doubt, and rolled back here
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            return
        Actor.bear(self, error)


class Publisher(Writer):
    """Its deeds are in the remote at once, one after the other."""

    pause = 0.0

    def act(self):
        Writer.act(self)
        self.db.execute("SELECT ramet_push()").fetchall()


def look(actor):
    """One snapshot, seen twice."""
    db = actor.db
    db.execute("BEGIN")
    seen = history_of(db)
    digest = content(db)
    if actor.rng.random() < 0.3:
        time.sleep(actor.rng.random() * 0.01)
        if content(db) != digest:
            raise AssertionError("a snapshot that changes")
    db.execute("COMMIT")
    actor.note(ns=[n for n, _ in seen], seeds=[seed for _, seed in seen],
               digest=digest)


class Reader(Actor):
    highest = 0

    def act(self):
        for _ in range(self.rng.randrange(200)):
            self.glance()
        look(self)
        if self.rng.random() < 0.05:
            found = self.db.execute("PRAGMA integrity_check").fetchone()[0]
            if found != "ok":
                raise AssertionError("integrity: " + found)


    def glance(self):
        """Time goes forward, where nobody resets."""
        count = self.db.execute("SELECT count(*) FROM history").fetchone()[0]
        if count < self.highest and \
                "reset" not in self.stage.verbs[self.place]:
            raise AssertionError("time goes back from %d to %d" % (
                self.highest, count))
        self.highest = count


class Syncer(Actor):
    """Moves commits, through SQL or the command."""

    pause = 0.0

    def act(self):
        verb = self.rng.choice(self.stage.verbs[self.place])
        if verb == "reset" and self.rng.random() < 0.7:
            verb = "sync"
        if self.rng.random() < 0.05:
            subprocess.run([remote.COMMAND, verb, self.stage.path(self.place)],
                           stdout=subprocess.DEVNULL, timeout=120,
                           stderr=subprocess.DEVNULL, check=False)
        else:
            self.db.execute("SELECT ramet_%s()" % verb).fetchall()

    def bear(self, error):
        if "diverged" in str(error) or "ramet reset" in str(error):
            return
        Actor.bear(self, error)


class Viewer(Actor):
    """Sees the remote, now and in the past, without a replica."""

    def open(self):
        self.db = sqlite3.connect(":memory:")

    def act(self):
        self.db.close()
        parameters = {"vfs": "ramet", "remote": self.stage.url,
                      "replica": "none"}
        self.db = sqlite3.connect(worker.uri_of(
            os.path.abspath("none.db"), parameters), uri=True,
            isolation_level=None)
        newest = self.db.execute("SELECT ramet_lsn()").fetchone()[0]
        if self.rng.random() < 0.6 and newest > 1:
            self.db.close()
            parameters["at"] = str(self.rng.randrange(1, newest + 1))
            self.db = sqlite3.connect(worker.uri_of(
                os.path.abspath("none.db"), parameters), uri=True,
                isolation_level=None)
        look(self)


# ---- casts: who is where --------------------------------------------------------

PULLS = ("pull",) * 8 + ("fetch", "hydrate")
ALL = ("push", "push", "pull", "pull", "sync", "hydrate", "reset")
CASTS = {
    # name: for each place its mode, who is there, and its syncers' verbs
    "pulls": (("manual", (Publisher,), ("push",)),
              ("manual", (Reader, Syncer, Syncer, Syncer), PULLS)),
    "lines": (("manual", (Writer, Writer, Reader, Syncer), ALL),
              ("manual", (Writer, Reader, Syncer, Syncer), ALL)),
    "commit": (("commit", (Writer, Writer, Reader), PULLS),
               ("commit", (Writer, Reader, Syncer), PULLS)),
    "auto": (("auto", (Writer, Writer, Reader), PULLS),
             ("auto", (Reader, Reader, Syncer), PULLS)),
    "modes": (("auto", (Writer, Reader, Syncer), ALL),
              ("commit", (Writer, Reader), ALL),
              ("manual", (Writer, Reader, Syncer), ALL)),
}


class Stage:
    def __init__(self, folder, cast, kind, seed):
        self.folder = folder
        self.rng = random.Random("stage %d" % seed)
        self.server = None
        self.url = "file://%s/store/volume" % folder
        if kind == "http":
            self.server = remote.Server(os.path.join(folder, "store"))
            self.url = "http://127.0.0.1:%d/volume" % self.server.port
        self.modes = [place[0] for place in CASTS[cast]]
        self.verbs = [place[2] for place in CASTS[cast]]
        self.roles = [(role, place, number)
                      for place, (_, roles, _) in enumerate(CASTS[cast])
                      for number, role in enumerate(roles)] + [(Viewer, 9, 0)]
        self.running = {}
        self.kills = 0

    def path(self, place):
        return os.path.join(self.folder, "place%d" % place, "m.db")

    def start(self, role):
        seed = self.rng.getrandbits(40)
        pid = os.fork()
        if pid == 0:
            self.be(role, seed)
        self.running[role] = pid

    def be(self, role, seed):
        status = 1
        try:
            worker.ctypes.CDLL(None).prctl(worker.PR_SET_PDEATHSIG, 9)
            keep = worker.load_extension(EXTENSION)
            role[0](self, role[1], role[2], seed).run()
            del keep
        except BaseException:
            with open("wrong-%s-%d-%d" % (role[0].__name__, role[1], role[2]),
                      "w", encoding="utf-8") as out:
                traceback.print_exc(file=out)
        finally:
            os._exit(status)

    def kill(self, role):
        pid = self.running.pop(role)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            return  # by itself: it has written down why
        self.kills += 1

    def play(self, seconds):
        for role in self.roles:
            self.start(role)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not glob.glob("wrong-*"):
            time.sleep(self.rng.random() * 0.6)
            role = self.rng.choice(self.roles)
            self.kill(role)
            self.start(role)
            if self.rng.random() < 0.03:  # the machine's end, so to speak
                for one in self.roles:
                    self.kill(one)
                for one in self.roles:
                    self.start(one)

    def end(self):
        for role in list(self.running):
            pid = self.running.pop(role)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


# ---- what must hold ---------------------------------------------------------------

def lines(pattern):
    """What the actors noted, but for lines that a kill cut off."""
    for name in sorted(glob.glob(pattern)):
        with open(name, encoding="utf-8") as notes:
            for line in notes:
                try:
                    yield name, json.loads(line)
                except ValueError:
                    pass


class Verdict:
    def __init__(self, stage):
        self.stage = stage
        self.replay = Replay()
        self.looks = 0

    def judge(self, what, ns, seeds, digest):
        self.looks += 1
        if list(ns) != list(range(1, len(ns) + 1)):
            raise AssertionError("%s: a history with gaps: %s" % (what, ns))
        if digest != self.replay.digest(seeds):
            raise AssertionError("%s: after %d deeds not what they make" % (
                what, len(seeds)))

    def judge_db(self, what, db):
        seen = history_of(db)
        self.judge(what, [n for n, _ in seen], [seed for _, seed in seen],
                   content(db))
        found = db.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise AssertionError("%s: %s" % (what, found))
        return [seed for _, seed in seen]

    def everything(self):
        for name in glob.glob("wrong-*"):
            with open(name, encoding="utf-8") as out:
                raise AssertionError("%s: %s" % (name, out.read()))
        keep = worker.load_extension(EXTENSION)
        last = {}
        for name, seen in lines("*er-*"):
            if "digest" not in seen:
                continue
            self.judge(name, seen["ns"], seen["seeds"], seen["digest"])
            before = last.get(name, [])
            if "Viewer" not in name and self.goes_forward(name) and \
                    seen["seeds"][:len(before)] != before:
                raise AssertionError("%s: time goes back" % name)
            last[name] = seen["seeds"]
        remote_line = self.remote()
        for place in range(len(self.stage.modes)):
            self.one_place(place, remote_line)
        keep.close()

    def goes_forward(self, name):
        return "reset" not in self.stage.verbs[int(name.split("-")[1])]

    def remote(self):
        """An LSN continues the one before it; returns the newest."""
        before = []
        done = self.command("info", self.stage.url, "--json")
        self.newest = json.loads(done.stdout)["lsn"]
        lsns = range(1, self.newest)
        for lsn in sorted(self.stage.rng.sample(lsns, min(60, len(lsns)))) + [
                self.newest]:
            done = self.command("export", "%s@%d" % (self.stage.url, lsn),
                                "exported")

            db = sqlite3.connect("exported")
            seeds = self.judge_db("LSN %d" % lsn, db)
            db.close()
            os.unlink("exported")
            if seeds[:len(before)] != before:
                raise AssertionError("LSN %d does not continue" % lsn)
            before = seeds
        return before

    def command(self, *words):
        done = subprocess.run([remote.COMMAND, *words], capture_output=True,
                              check=False, timeout=120)
        if done.returncode != 0:
            raise AssertionError("%s: %r" % (words, done.stderr))
        return done

    def one_place(self, place, remote_line):
        path = self.stage.path(place)
        db = sqlite3.connect(worker.uri_of(path, {
            "vfs": "ramet", "sync": "manual"}), uri=True, timeout=30,
            isolation_level=None)
        db.execute("BEGIN EXCLUSIVE")  # no lock is left behind
        db.execute("COMMIT")
        there = set(self.judge_db("place %d" % place, db))
        db.close()
        # A reset that was killed leaves what it was writing, as "….tmp-…".
        for name in glob.glob(path + "-ramet/lost/*.db"):
            lost = sqlite3.connect(name)
            there |= set(self.judge_db(name, lost))
            lost.close()
        durable = set(remote_line)
        for name, noted in lines("Writer-%d-*" % place):
            if "digest" in noted:
                continue
            if self.stage.modes[place] == "commit" and \
                    noted["seed"] not in durable:
                raise AssertionError("%s: durable, and not in the remote" %
                                     name)
            if noted["seed"] not in there and noted["seed"] not in durable:
                raise AssertionError("%s: a commit is lost" % name)


def run(seed, cast, kind, seconds):
    folder = tempfile.mkdtemp(prefix="ramet-history-",
                              dir=os.environ.get("RAMET_SOAK_TMP"))
    os.chdir(folder)
    stage = Stage(folder, cast, kind, seed)
    verdict = Verdict(stage)
    well = False
    try:
        make(stage)
        stage.play(seconds)
        stage.end()
        verdict.everything()
        well = True
    except (AssertionError, sqlite3.Error) as wrong:
        print("FAILED with seed %d, cast %s, %s: %s\nall is left in %s" % (
            seed, cast, kind, wrong, folder), flush=True)
    finally:
        stage.end()
        if stage.server is not None:
            stage.server.end()
        os.chdir("/")
        if well:
            shutil.rmtree(folder)
    if well:
        print("ok      %s, %s: %d deeds, %d looks, %d LSNs, %d kills" % (
            cast, kind, len(verdict.replay.done), verdict.looks,
            verdict.newest, stage.kills), flush=True)
    return well


def make(stage):
    """The volume, by a process of its own: nobody here has SQLite open."""
    for place in range(len(stage.modes)):
        os.mkdir(os.path.dirname(stage.path(place)))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            keep = worker.load_extension(EXTENSION)
            db = sqlite3.connect(worker.uri_of(stage.path(0), {
                "vfs": "ramet", "remote": stage.url, "sync": "manual"}),
                uri=True, isolation_level=None)
            for sql in SETUP:
                db.execute(sql)
            db.execute("SELECT ramet_push()").fetchall()
            db.close()
            del keep
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1] != 0:
        raise AssertionError("the volume could not be made")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--each", type=float, default=4,
                        help="seconds of one play")
    parser.add_argument("--cast", choices=sorted(CASTS))
    parser.add_argument("--kind", choices=("file", "http"))
    args = parser.parse_args()
    print("history: seed %d" % args.seed, flush=True)
    end = time.monotonic() + args.seconds
    seed = args.seed
    names = [args.cast] if args.cast else list(CASTS)
    while time.monotonic() < end:
        kind = args.kind or ("file", "http")[seed // len(names) % 2]
        # In a child: the judge loads what the actors must not inherit.
        pid = os.fork()
        if pid == 0:
            well = False
            try:
                well = run(seed, names[seed % len(names)], kind, args.each)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0 if well else 1)
        if os.waitpid(pid, 0)[1] != 0:
            sys.exit(1)
        seed += 1


if __name__ == "__main__":
    main()
