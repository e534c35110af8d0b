#!/usr/bin/python3
"""The n-th allocation, system call or transfer of each verb fails: it says so and
exits, or is done; nothing is lost, nothing is there twice, no memory is left, and
the same verb, said again, goes through.

With RAMET_TEST_FAULTS_IN=server it is the server's calls that fail: it lives on, and
keeps neither descriptors nor, but for its caches, memory.

RAMET_TEST_FAULTS=400 tries so many of the faults that there are (72 unless told),
chosen by RAMET_TEST_SEED, of as many places in the code as there are; `sites` one of
each place that such calls come from, by its callers; `whole` all. RAMET_TEST_ONLY
names one verb.
"""
import errno
import os
import random
import sqlite3
import sys

import support
import faults
import seeds

ERRORS = {"alloc": (0,), "read": (errno.EIO, errno.EINTR),
          "write": (errno.ENOSPC, errno.EIO, errno.EINTR),
          "sync": (errno.EIO, errno.EINTR), "name": (errno.ENOSPC, errno.EIO),
          "open": (errno.EMFILE, errno.EINTR), "lock": (errno.ENOLCK,),
          "network": (errno.ECONNRESET, errno.EMFILE), "short": (0,),
          "look": (errno.EIO, errno.ENOMEM)}
IN_SERVER = os.environ.get("RAMET_TEST_FAULTS_IN") == "server"
HARMLESS = ("short",)  # no error comes of it


def row(n):
    return "INSERT INTO r VALUES(%d, x'%s')" % (n, "%08x" % n * 500)


def local_kinds():
    """Of whoever makes the calls."""
    return [kind for kind in faults.KINDS
            if kind != "network" or support.KIND == "http"]


class Scene(support.CliTest):
    """A folder, a remote, replicas. A *version* k of a database has rows 1 to k."""

    def __init__(self):
        super().__init__("ramet")
        self.setUp()
        self.faults = faults.Faults(self.path("faults"))
        if IN_SERVER:
            self.server.stop()
            self.server = support.Server(self.store, env=self.faults.env())
            self.addCleanup(self.server.stop)
        self.local = {}   # file: the version that it has at the end
        self.plain = {}   # the same, of what is no replica
        self.remote = {}  # LSN: version, at the end

    def descriptors(self):
        """Of the server."""
        return len(os.listdir("/proc/%d/fd" % self.server.process.pid))

    # ---- making

    def make(self, name, version=1):
        db = sqlite3.connect(self.path(name), isolation_level=None)
        db.execute("CREATE TABLE r(n INTEGER PRIMARY KEY, v)")
        for n in range(1, version + 1):
            db.execute(row(n))
        db.close()
        return self.path(name)

    def commit(self, path, *versions, **params):
        self.sql(path, "".join("db.execute(%r)\n" % (row(n))
                               for n in versions), **params)

    def pushed(self, version=2):
        """a.db, LSN n being version n."""
        a = self.make("a.db")
        self.ramet("init", a, "--remote", self.url())
        for n in range(2, version + 1):
            self.commit(a, n)
            self.ramet("push", a)
        self.remote = {n: n for n in range(1, version + 1)}
        return a

    # ---- looking

    def version(self, path):
        """Of a plain file, all of it being right."""
        db = sqlite3.connect("file:%s?immutable=1" % path, uri=True)
        try:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = db.execute("SELECT n, v FROM r ORDER BY n").fetchall()
        finally:
            db.close()
        assert [n for n, _ in rows] == list(range(1, len(rows) + 1)), rows
        for n, value in rows:
            assert value == n.to_bytes(4, "big") * 500
        return len(rows)

    def version_at(self, what):
        out = self.path("out")
        if os.path.exists(out):
            os.remove(out)
        self.ramet("export", what, out)
        return self.version(out)

    def check(self):
        """All is as it is to be in the end."""
        for name, version in self.local.items():
            assert self.version_at(self.path(name)) == version, name
        for name, version in self.plain.items():
            assert self.version(self.path(name)) == version, name
        if self.remote is None:
            return
        assert self.json("info", self.url())["lsn"] == max(self.remote)
        for lsn, version in self.remote.items():
            assert self.version_at(self.url() + "@%d" % lsn) == version, lsn

    def end(self):
        self.doCleanups()


# ---- what is done: each prepares the scene, and has the words of the verb --------


def init(s):
    a = s.make("a.db")
    s.local, s.remote = {"a.db": 1}, {1: 1}
    return ["init", a, "--remote", s.url()]


def clone(s):
    s.pushed()
    s.local = {"b.db": 2}
    return ["clone", s.url(), s.path("b.db")]


def push(s):
    a = s.pushed()
    s.commit(a, 3)
    s.local, s.remote = {"a.db": 3}, {1: 1, 2: 2, 3: 3}
    return ["push", a]


def behind(s, verb):
    a = s.pushed()
    s.ramet("clone", s.url(), s.path("b.db"))
    s.commit(a, 3)
    s.ramet("push", a)
    s.local, s.remote = {"a.db": 3, "b.db": 3}, {1: 1, 2: 2, 3: 3}
    return [verb, s.path("b.db")]


def pull(s):
    return behind(s, "pull")


def fetch(s):
    words = behind(s, "fetch")
    s.local["b.db"] = 2
    return words


def sync(s):
    a = s.pushed()
    s.commit(a, 3)
    s.local, s.remote = {"a.db": 3}, {1: 1, 2: 2, 3: 3}
    return ["sync", a]


def hydrate(s):
    words = behind(s, "hydrate")
    s.ramet("pull", s.path("b.db"))
    return words


def reset(s):
    """b.db has a commit of its own, and loses it to a file in lost/."""
    words = behind(s, "reset")
    s.commit(s.path("b.db"), 3, 4)
    return words


def adopt(s):
    a = s.pushed()
    db = sqlite3.connect(a, isolation_level=None)
    db.execute(row(3))
    db.close()
    s.local = {"a.db": 3}
    return ["adopt", a]


def export(s):
    a = s.pushed()
    s.local = {"a.db": 2}
    return ["export", a, s.path("exported")]


def export_remote(s):
    s.pushed()
    return ["export", s.url() + "@1", s.path("exported")]


def cat(s):
    s.pushed()
    return ["cat", s.url()]


def restore(s):
    s.pushed()
    s.plain = {"c.db": 1}
    return ["restore", s.url() + "@1", s.path("c.db")]


def verify(s):
    a = s.pushed()
    s.local = {"a.db": 2}
    return ["verify", a]


def verify_remote(s):
    s.pushed()
    return ["verify", s.url()]


def copy(s):
    s.pushed()
    return ["copy", s.url(), "file://" + s.path("second/app")]


def detach(s):
    a = s.pushed()
    s.commit(a, 3)
    s.plain = {"a.db": 3}
    return ["detach", a]


def rebind(s):
    a = s.pushed()
    target = "file://" + s.path("second/app")
    s.ramet("copy", s.url(), target)
    s.local = {"a.db": 2}
    return ["rebind", a, target]


def status(s):
    a = s.pushed()
    s.commit(a, 3)
    s.local = {"a.db": 3}
    return ["status", a]


def log(s):
    s.pushed()
    return ["log", s.url()]


def ls(s):
    s.pushed()
    return ["ls", s.store_url()]


def lost(s):
    reset(s)
    s.ramet("reset", s.path("b.db"))
    return ["lost", s.path("b.db")]


def delete(s):
    s.pushed()
    s.remote = None
    return ["delete", s.url(), "--yes"]


def doctor(s):
    s.pushed()
    return ["doctor", s.url()]


VERBS = [init, clone, push, pull, fetch, sync, hydrate, reset, adopt, export,
         export_remote, cat, restore, verify, verify_remote, copy, detach, rebind,
         status, log, ls, lost, delete, doctor]


class Trial:
    """One verb, with one fault or none."""

    def __init__(self, verb, kind=None, nth=-1, errnum=0):
        self.verb, self.kind, self.nth, self.errnum = verb, kind, nth, errnum

    def __str__(self):
        return "%s: %s %d, errno %d" % (self.verb.__name__, self.kind, self.nth,
                                        self.errnum)

    def run(self):
        """Did it come to the fault? And what calls there were."""
        scene = Scene()
        try:
            return self.play(scene)
        finally:
            scene.end()

    def play(self, scene):
        words = self.verb(scene)
        if IN_SERVER:
            held = scene.descriptors()
        scene.faults.clear_counts()
        if self.kind is not None:
            scene.faults.arm(self.kind, self.nth, self.errnum)
        else:
            scene.faults.count_all()
        done = scene.run_ramet(*words, text=False,
                               env=None if IN_SERVER else scene.faults.env())
        fired = scene.faults.disarm()
        self.live = scene.faults.live()
        calls = {kind: scene.faults.calls_by_site(kind) for kind in faults.KINDS}
        self.check_outcome(done, fired)
        if done.returncode != 0:
            self.again(scene, words)
        scene.check()
        if IN_SERVER:
            assert scene.server.process.poll() is None, "the server ended"
            assert scene.descriptors() <= held + 8, "descriptors are left"
        return fired, calls

    def check_outcome(self, done, fired):
        stderr = done.stderr.decode()
        said = "%d %s" % (done.returncode, stderr)
        assert 0 <= done.returncode < 8, said
        if done.returncode == 0:
            return
        assert fired, "failed without a fault: " + said
        assert self.kind not in HARMLESS and self.errnum != errno.EINTR, said
        if self.verb is doctor:  # what it finds is its answer
            stderr += "ramet: " + done.stdout.decode()
        assert stderr.splitlines()[-1:] != [] and "ramet: " in stderr, said

    def again(self, scene, words):
        done = scene.run_ramet(*words, text=False)
        passes = {"delete": (0, support.NOT_FOUND), "detach": (0, 1, 4)}
        assert done.returncode in passes.get(words[0], (0,)), \
            "said again: %d %s" % (done.returncode, done.stderr)


def chosen(wanted, rng):
    """Trials: all, or some of each verb."""
    only = os.environ.get("RAMET_TEST_ONLY")
    verbs = [verb for verb in VERBS if only in (None, verb.__name__)]
    is_all = wanted in ("whole", "sites")
    for verb in verbs:
        clean = Trial(verb)
        _, calls = clean.run()
        trials = [(kind, nth, errnum) for kind in local_kinds()
                  for errnum in ERRORS[kind] for site in calls[kind]
                  for nth in (site if wanted == "whole" else [rng.choice(site)])]
        each = len(trials) if is_all else max(1, int(wanted) // len(verbs))
        if each < len(trials):
            kinds = sorted({kind for kind, _, _ in trials})
            rng.shuffle(kinds)
            trials = [rng.choice([t for t in trials
                                  if t[0] == kinds[i % len(kinds)]])
                      for i in range(each)]
        for kind, nth, errnum in trials:
            trial = Trial(verb, kind, nth, errnum)
            trial.clean_live = clean.live
            yield trial


def main():
    wanted = os.environ.get("RAMET_TEST_FAULTS", "72")
    seed = seeds.seed("RAMET_TEST_SEED")
    tried = failed = met = 0
    for trial in chosen(wanted, random.Random(seed)):
        tried += 1
        try:
            met += trial.run()[0]
            assert IN_SERVER or trial.live <= trial.clean_live, \
                "%d blocks are left, %d without a fault" % (trial.live,
                                                            trial.clean_live)
        except Exception as error:  # noqa: BLE001
            failed += 1
            print("FAILED %s\n    %.500r" % (trial, error), flush=True)
    print("%d trials, %d met their fault, %d failed" % (tried, met, failed))
    return failed != 0 or met == 0


if __name__ == "__main__":
    sys.exit(main())
