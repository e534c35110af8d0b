"""Plays a schedule on Ramet and on native SQLite, and compares each step.

A schedule is plain data (JSON): a head that says which world it is and which
connections there are, and a list of steps `[kind, connection, ...]`. Any part
of the steps is a schedule as well: connections and processes come into being
when a step needs them. One step is under way at a time.

Two worlds:

  rollback   Ramet with locking=rollback; native SQLite in rollback mode.
             Every outcome is equal, SQLITE_BUSY included.
  snapshot   Ramet as it is by default; native SQLite in WAL mode, whose readers
             have snapshots, too. See `may_refuse`.

PRAGMA data_version must change between two looks of a connection if it does on
native SQLite, unless what was committed changed nothing; and must not change if
it does not there, unless the connection itself ended a write transaction: one
that spilled and was rolled back may cost it its cache.
"""
import os

import worker

CLERK = -1  # the process for what needs no connection
BACKUP_ERRORS = {5: "SQLITE_BUSY", 517: "SQLITE_BUSY_SNAPSHOT"}
INSTEAD = {"start": "stop", "blob_open": "blob_close"}
LIMIT = 60  # seconds after which a step hangs


class Mismatch(Exception):
    """What is wrong, in words."""


class Side:
    """One of the two: the processes that have its connections open."""

    def __init__(self, name, folder, specs, extension):
        self.name = name
        self.folder = folder
        self.specs = specs
        self.extension = extension
        self.processes = {}

    def process(self, key):
        if key not in self.processes:
            self.processes[key] = worker.Process(
                self.specs, self.extension,
                os.path.join(self.folder, "log-%s" % key), LIMIT)
        return self.processes[key]

    def ask(self, number, kind, *args):
        """The outcome of a request to a connection, or to the clerk (-1)."""
        key = "clerk" if number == CLERK else self.specs[number]["process"]
        try:
            found = self.process(key).ask(number, kind, *args)
        except TimeoutError:
            self.processes.pop(key).kill()
            raise Mismatch("%s hangs: %s on %d" % (self.name, kind,
                                                   number)) from None
        if found is None:
            status = self.processes.pop(key).reap()
            raise Mismatch("%s: process %s died (status %d) at %s%s" % (
                self.name, key, status, kind, self.said(key)))
        return found

    def said(self, key):
        with open(os.path.join(self.folder, "log-%s" % key),
                  encoding="utf-8", errors="replace") as log:
            words = log.read()[-2000:]
        return ": " + words if words else ""

    def kill(self, key):
        if key in self.processes:
            self.processes.pop(key).kill()

    def end(self):
        for key in list(self.processes):
            self.processes.pop(key).kill()


class Play:
    """One schedule under way."""

    def __init__(self, head, folder, extension):
        self.head = head
        self.world = head["world"]
        self.sides = []
        for name in ("ramet", "native"):
            base = os.path.join(folder, name)
            os.makedirs(base)
            specs = [spec_of(head, name, base, one)
                     for one in head["connections"]]
            for spec in specs:
                os.makedirs(os.path.dirname(spec["path"]), exist_ok=True)
            self.sides.append(Side(name, base, specs,
                                   extension if name == "ramet" else None))
        self.ramet, self.native = self.sides
        count = len(head["connections"])
        self.state = [0] * count  # sqlite3_txn_state()
        self.autocommit = [True] * count
        self.exclusive = set()  # those within BEGIN EXCLUSIVE
        self.opened = set()
        self.took_back = set()  # those that may have rolled back
        self.versions = {}  # connection: its last two data_version
        self.steps = 0
        self.trace = bool(os.environ.get("RAMET_TEST_TRACE"))

    # ---- one step ----

    def step(self, step):
        kind, args = step[0], step[1:]
        self.steps += 1
        special = getattr(self, "step_" + kind, None)
        if special is not None:
            found = special(*args)
        else:
            found = self.both(args[0], kind, *args[1:])
        if self.trace:
            print("%.120r -> %.160r" % (step, found), flush=True)

    def both(self, number, kind, *args):
        found = self.ramet.ask(number, kind, *args)
        self.first_seen(number)
        if self.may_refuse(number, kind, args, found):
            self.note(number, kind, args, found)
            self.skip(number, kind, args, found)
            return found
        wanted = self.native.ask(number, kind, *args)
        if found != wanted and self.knows_better(number, args, found,
                                                   wanted):
            found = self.begin_anew(number, kind, args, found)
        elif found != wanted:
            self.fail(number, kind, args, found, wanted)
        self.note(number, kind, args, found)
        return found

    def knows_better(self, number, args, found, wanted):
        """A commit that changed nothing is recorded in WAL mode, and makes
        snapshots stale; Ramet may have left it out. What is stale must then be
        what is newest."""
        if self.world != "snapshot" or wanted[0] != "error" or \
                wanted[1][0] != "SQLITE_BUSY_SNAPSHOT" or \
                found[0] == "error" and found[1][0].startswith("SQLITE_BUSY"):
            return False
        if found[0] == "error" and args[0].startswith("BEGIN"):
            return True  # within a transaction; which error comes first?
        spec = self.native.specs[number]
        files = {"main": spec["path"], "x": spec.get("attach")}
        return all(self.native.ask(number, "look_schema", schema)[:2] ==
                   self.native.ask(CLERK, "digest", files[schema])[:2]
                   for schema in schemas_of(str(args[0]), files["x"]))

    def begin_anew(self, number, kind, args, found):
        """Bring native SQLite to where Ramet is after such a statement."""
        for side in self.sides:
            side.ask(number, "release")
        if not found[3]:
            for side in self.sides:
                side.ask(number, "sql", "ROLLBACK")
            return self.both(number, "sql", "SELECT 1")
        wanted = self.native.ask(number, kind, *args)
        if found[:2] != wanted[:2]:
            self.fail(number, kind, args, found, wanted)
        return wanted

    def first_seen(self, number):
        """Ramet has done with this connection what comes next; the native side
        has not. For those who keep more than two sides alike."""

    def skip(self, number, kind, args, found):
        """Ramet refused rightly: native SQLite is spared the step."""
        del found
        if kind == "sql" and (args[0].startswith("PRAGMA auto_vacuum") or
                              args[0] == "VACUUM"):
            self.close_both(number)  # that is in its mind all the same
        if kind == "backup_step":  # it could not even finish after that
            for side in self.sides:
                side.ask(number, "backup_end")
        if kind in INSTEAD:  # what it would have taken the place of
            self.native.ask(number, INSTEAD[kind], args[0])

    def note(self, number, kind, args, found):
        self.opened.add(number)
        if found[0] == "error" or self.state[number] == 2 and found[2] < 2:
            self.took_back.add(number)
        self.state[number] = found[2]
        self.autocommit[number] = found[3]
        if found[2] == 0:
            self.exclusive.discard(number)
        elif wants_all(kind, args) and failure(kind, found) in (
                None, "SQLITE_BUSY"):
            self.exclusive.add(number)  # also where it waits, as a reader
        if kind == "close":
            self.forget(number)

    def forget(self, number):
        self.opened.discard(number)
        self.exclusive.discard(number)
        self.versions.pop(number, None)
        self.state[number] = 0
        self.autocommit[number] = True

    def close_both(self, number):
        for side in self.sides:
            side.ask(number, "close")
        self.forget(number)

    def neighbours(self, number):
        """The other open connections on the same files."""
        mine = self.head["connections"][number]
        return [other for other in self.opened if other != number and
                self.head["connections"][other]["place"] == mine["place"]]

    def may_refuse(self, number, kind, args, found):
        """May Ramet refuse here what native SQLite does? Then it is not asked
        to: both stay where they are. Only in the world of snapshots: there
        BEGIN EXCLUSIVE, VACUUM and a backup that comes in keep readers out, and
        wait for those that are there; in WAL mode nothing does."""
        if self.world != "snapshot" or failure(kind, found) != "SQLITE_BUSY":
            return False
        others = self.neighbours(number)
        if any(other in self.exclusive for other in others):
            return found[2] == self.state[number]  # it got in nowhere
        return wants_all(kind, args) and any(self.state[other]
                                             for other in others)

    def fail(self, number, kind, args, found, wanted):
        text = "%s on connection %d: Ramet %.600r, native %.600r" % (
            kind, number, found, wanted)
        if kind == "look" and found[0] == wanted[0] == "ok":
            text += self.difference(number)
        raise Mismatch("%s\n    %.300r" % (text, args))

    def difference(self, number):
        """What two looks see differently, in words."""
        seen = []
        for side in self.sides:
            worker.send(side.process(side.specs[number]["process"]).channel,
                        (number, "explain", ()))
            seen.append(worker.receive(
                side.process(side.specs[number]["process"]).channel))
        only = [[line for line in seen[i] if line not in set(seen[1 - i])]
                for i in range(2)]
        return "".join("\n    only %s: %s" % (side.name, line)
                       for side, lines in zip(self.sides, only)
                       for line in lines[:8])

    # ---- steps that are more than a statement ----

    def step_kill(self, process):
        """In the world of locks nobody dies who writes: a journal that is left
        asks for an exclusive lock, which others' readers would not give."""
        here = [number for number in self.opened
                if self.head["connections"][number]["process"] == process]
        if self.world == "rollback" and any(self.state[number] == 2
                                            for number in here):
            return
        for side in self.sides:
            side.kill(process)
        for number in here:
            self.forget(number)

    def step_look_all(self):
        """What each connection sees that is open."""
        for number in sorted(self.opened):
            self.both(number, "look")

    def step_integrity(self, number):
        self.both(number, "sql", "PRAGMA integrity_check")

    def step_version(self, number):
        """Did somebody else commit since this connection looked last?"""
        found = self.ramet.ask(number, "sql", "PRAGMA data_version")
        self.first_seen(number)
        if self.may_refuse(number, "sql", ("PRAGMA data_version",), found):
            self.note(number, "version", (), found)
            self.skip(number, "version", (), found)
            return
        wanted = self.native.ask(number, "sql", "PRAGMA data_version")
        if found[0] != wanted[0] or found[0] == "error" and found != wanted:
            self.fail(number, "version", (), found, wanted)
        self.note(number, "version", (), found)
        if found[0] != "ok":
            return
        now = (found[1][0][0], wanted[1][0][0])
        before = self.versions.get(number, now)
        self.versions[number] = now
        changed = (now[0] != before[0], now[1] != before[1])
        if changed[0] and not changed[1] and number in self.took_back:
            self.took_back.discard(number)
        elif changed[0] and not changed[1]:
            self.fail(number, "version", (), (before, now), "no change")
        if changed[1] and not changed[0]:
            # Somebody wrote what was there already, and nothing was recorded.
            # Only then may the number stay: what is seen is equal all the same.
            self.both(number, "look")

    def set_up(self):
        """The databases of place 0, made by connection 0."""
        for sql in self.head["setup"]:
            found = self.both(0, "sql", sql)
            if found[0] != "ok":
                raise Mismatch("set up: %s: %r" % (sql, found))
        if self.world == "snapshot":
            for schema in ("main", "x"):
                self.native.ask(0, "sql",
                                "PRAGMA %s.journal_mode=WAL" % schema)

    def finish(self):
        """All go home; then each side's files say the same, to all tools."""
        for number in sorted(self.opened):
            self.both(number, "close")
        self.both(0, "look")
        self.step_integrity(0)

    def end(self):
        for side in self.sides:
            side.end()


def failure(kind, found):
    """What an outcome's error is called, or None. Backups tell numbers."""
    if found[0] == "error":
        return found[1][0]
    if kind == "backup_in" and isinstance(found[1], tuple):
        return backup_failure(found[1][1])
    if kind == "backup_step":
        return backup_failure(found[1])
    return None


def backup_failure(code):
    if code is not None and code & 0xff == 10:
        return "SQLITE_IOERR"  # of reading, of locking, ...
    return BACKUP_ERRORS.get(code)


def schemas_of(sql, has_attached):
    """Those that a statement may want to write."""
    if " x." in sql:
        return ("x",)
    if has_attached and sql.startswith(("BEGIN", "PRAGMA auto_vacuum")):
        return ("main", "x")
    return ("main",)


def wants_all(kind, args):
    """Does it ask for an EXCLUSIVE lock?"""
    return kind == "backup_in" or kind == "sql" and args[0] in (
        "BEGIN EXCLUSIVE", "VACUUM")


def spec_of(head, side, base, one):
    """How a connection of the head is opened on a side."""
    folder = os.path.join(base, "place%d" % one["place"])
    ramet = {"vfs": "ramet", "locking": head["world"], "sync": "manual"}
    ramet.update(one.get("uri", {}))
    native = {"vfs": "unix"}
    if one.get("shared"):
        ramet["cache"] = native["cache"] = "shared"
    spec = {
        "process": one["process"],
        "thread": one.get("thread", 0),
        "path": os.path.join(folder, "m.db"),
        "uri": ramet if side == "ramet" else native,
        "pragmas": list(one["pragmas"]),
    }
    if one.get("attached"):
        spec["attach"] = os.path.join(folder, "x.db")
        spec["uri_attached"] = dict(spec["uri"])
    return spec
