"""Plays schedules of several replicas of one volume.

Each replica (a *place*) has a native twin. What the remote has at each LSN is
a native file as well, copied from the twin that was pushed; a pull copies it
over the twin of who pulls, in one commit, as SQLite's backup API does. So a
pull is to native SQLite what it is to Ramet: somebody else's commit, which open
connections, statements and snapshots must bear.

A store may be put back to what it was and go on another way. A place that
stands on what the store lost is *estranged*: reads may fail there, until a
reset, but never be anything but what they were.
"""
import json
import os
import re
import shutil
import subprocess

import play
from play import CLERK, Mismatch

BUILD = os.path.abspath(os.environ.get("RAMET_BUILD", "build"))
COMMAND = os.path.join(BUILD, "bin", "ramet")


class Server:
    """`ramet serve` on a directory, as a process of its own."""

    def __init__(self, data):
        self.process = subprocess.Popen(
            [COMMAND, "serve", "--listen", "127.0.0.1:0", "--data", data,
             "--access-log", "off"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)
        line = self.process.stdout.readline().decode()
        self.port = int(re.search(r":(\d+)$", line.strip()).group(1))

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Remote(play.Play):
    def __init__(self, head, folder, extension):
        play.Play.__init__(self, head, folder, extension)
        self.folder = folder
        self.store = os.path.join(folder, "store")
        self.server = None
        url = "file://" + self.store
        if head["remote"] == "http":
            self.server = Server(self.store)
            url = "http://127.0.0.1:%d" % self.server.port
        self.url = url + "/volume"
        for spec in self.ramet.specs:
            spec["uri"]["remote"] = self.url
            if "attach" in spec:  # a replica of its own
                spec["uri_attached"].pop("cache_limit", None)
        self.history = [None]  # native files, by LSN
        self.files = 0
        self.at = {}  # place: the file of the LSN on which it stands
        self.touched = set()  # places where something may have been committed
        self.settling = set()  # places where a commit changed nothing
        self.kept = None  # a copy of the store, and the history then

    # ---- the model ----

    def place_of(self, number):
        return self.head["connections"][number]["place"]

    def base(self, side, place):
        return os.path.join(side.folder, "place%d" % place, "m.db")

    def clerk(self, kind, *args, side=None):
        found = (side or self.native).ask(CLERK, kind, *args)
        if found[0] != "ok":
            raise Mismatch("%s of %r: %r" % (kind, args, found[1]))
        return found[1]

    def digest(self, path):
        return self.clerk("digest", path)

    @property
    def newest(self):
        return self.history[-1]

    def append(self, place):
        """The twin of this place is the next LSN."""
        self.files += 1
        name = os.path.join(self.folder, "lsn-%d" % self.files)
        self.clerk("copy", self.base(self.native, place), name)
        self.history.append(name)
        self.at[place] = name
        self.touched.discard(place)

    def fence(self):
        """An LSN that changes nothing: it keeps out a commit that was sent."""
        self.files += 1
        name = os.path.join(self.folder, "lsn-%d" % self.files)
        shutil.copy(self.newest, name)
        self.history.append(name)

    def settle(self, number):
        """A transaction that was refused may have resolved an earlier commit: by
        a fence, and by a pull of what came meanwhile."""
        place = self.place_of(number)
        while self.remote_lsn() >= len(self.history):
            self.fence()
        found = self.ramet.ask(number, "sql", "SELECT ramet_lsn()")
        if found[0] == "ok" and self.at[place] != self.newest and \
                not self.is_estranged(place) and \
                found[1][0][0] == len(self.history) - 1:
            self.adopt(place)

    def adopt(self, place):
        """What the remote has is copied over the twin."""
        self.clerk("copy", self.newest, self.base(self.native, place), True)
        self.at[place] = self.newest
        self.touched.discard(place)

    def is_dirty(self, place):
        return self.digest(self.base(self.native, place)) != \
            self.digest(self.at[place])

    def is_estranged(self, place):
        return self.at[place] not in self.history

    def mode_of(self, place):
        return next(one["uri"]["sync"] for one in self.head["connections"]
                    if one["place"] == place)

    # ---- statements ----

    def first_seen(self, number):
        place = self.place_of(number)
        if place not in self.at and self.newest is not None:
            self.adopt(place)

    def both(self, number, kind, *args):
        found = play.Play.both(self, number, kind, *args)
        place = self.place_of(number)
        self.touched.add(place)
        if self.mode_of(place) == "commit" and self.newest is not None and \
                found[3] and not self.is_estranged(place):
            self.look_for_commit(place)
        return found

    def look_for_commit(self, place):
        """sync=commit: what is committed on the twin is the next LSN. (So may
        be what was spilled and rolled back, and changes nothing.)"""
        count = self.remote_lsn()
        if count == len(self.history) + 1 and self.at[place] == self.newest:
            self.fence()
            self.at[place] = self.newest
        if count == len(self.history) and self.at[place] == self.newest:
            if not self.is_dirty(place):
                self.settling.add(place)
            self.append(place)
        elif count != len(self.history) - 1:
            raise Mismatch("the remote is at LSN %d, not %d" % (
                count, len(self.history) - 1))
        elif self.is_dirty(place):
            raise Mismatch("sync=commit: committed, and not in the remote")

    def remote_lsn(self):
        return self.clerk("newest", os.path.join(self.folder, "view.db"),
                          {"vfs": "ramet", "remote": self.url,
                           "replica": "none"}, side=self.ramet)

    def may_refuse(self, number, kind, args, found):
        place = self.place_of(number)
        code = play.failure(kind, found)
        if code is not None and self.newest is not None and place in self.at:
            if self.is_estranged(place) and is_unreachable(code):
                return True
            if code in ("SQLITE_BUSY_SNAPSHOT", "SQLITE_BUSY") and \
                    found[3] and self.mode_of(place) == "commit" and \
                    self.at[place] != self.newest:
                return True  # somebody was first
            if code == "SQLITE_BUSY" and place in self.settling:
                self.settling.discard(place)
                return True  # "an earlier commit was resolved; begin again"
        return play.Play.may_refuse(self, number, kind, args, found)

    def skip(self, number, kind, args, found):
        play.Play.skip(self, number, kind, args, found)
        code = play.failure(kind, found)
        if is_unreachable(code):  # the statement may have failed half-way
            self.step_kill(self.head["connections"][number]["process"])
        elif code == "SQLITE_BUSY_SNAPSHOT" and kind == "sql" and \
                is_end(args[0]):
            self.close_both(number)  # what the commit would have been
        if code in ("SQLITE_BUSY_SNAPSHOT", "SQLITE_BUSY") and \
                self.mode_of(self.place_of(number)) == "commit" and found[3] \
                and found[2] == 0:
            self.settle(number)

    # ---- verbs ----

    def step_verb(self, number, verb):
        place = self.place_of(number)
        found = self.ramet.ask(number, "sql", "SELECT ramet_%s()" % verb)
        self.first_seen(number)
        self.opened.add(number)
        self.state[number], self.autocommit[number] = found[2], found[3]
        busy = not found[3] or found[2] > 0
        if found[0] == "ok":
            self.done(place, verb, found[1][0][0])
        else:
            self.refused(place, verb, busy, found[1])
        return found

    def step_cli(self, place, verb):
        if place not in self.at:
            return None
        status, answer, words = self.command(verb,
                                             self.base(self.ramet, place))
        if status != 0:
            self.refused(place, verb, False, (status, words))
        elif verb == "hydrate":
            self.done(place, verb, None)
        elif verb == "reset":
            self.done(place, verb, answer["kept"])
        else:
            self.done(place, verb, answer["remote_lsn" if verb == "fetch"
                                          else "durable_lsn"])
        return (status, answer, words)

    def command(self, *words):
        done = subprocess.run([COMMAND, *words, "--json"], timeout=60,
                              capture_output=True, text=True, check=False)
        answer = json.loads(done.stdout) if done.returncode == 0 else None
        return done.returncode, answer, done.stderr

    def writes(self, place):
        return any(self.state[number] == 2 or number in self.exclusive
                   for number in self.opened if self.place_of(number) == place)

    def refused(self, place, verb, busy, words):
        """May it be refused?"""
        behind = self.at[place] != self.newest
        if busy or self.is_estranged(place):
            return
        if self.writes(place):
            return
        if verb in ("push", "pull", "sync") and behind and \
                place in self.touched:
            return  # diverged, or what was committed changed nothing
        raise Mismatch("%s of place %d is refused: %r" % (verb, place, words))

    def done(self, place, verb, value):
        getattr(self, "done_" + verb)(place, value)

    def expect(self, verb, value, *wanted):
        if value not in wanted:
            raise Mismatch("%s returns %r, not %r" % (verb, value, wanted))

    def done_hydrate(self, place, value):
        pass

    def done_fetch(self, place, value):
        self.expect("fetch", value, len(self.history) - 1)

    def done_push(self, place, value):
        last = len(self.history) - 1
        dirty = self.is_dirty(place)
        if self.at[place] != self.newest:
            if dirty:
                raise Mismatch("a push onto somebody else's commit")
            if not self.is_estranged(place):
                self.expect("push", value, self.history.index(self.at[place]))
        elif dirty:
            self.expect("push", value, last + 1)
            self.append(place)
        else:  # what was committed changed nothing, and may be a commit
            self.expect("push", value, last, last + 1)
            if value > last:
                self.append(place)
        self.touched.discard(place)

    def done_pull(self, place, value):
        self.expect("pull", value, len(self.history) - 1)
        if self.at[place] != self.newest:
            if self.is_dirty(place):
                raise Mismatch("a pull over local commits")
            if self.is_estranged(place):
                raise Mismatch("a pull from one line of history to another")
            self.adopt(place)

    def done_sync(self, place, value):
        if self.at[place] != self.newest:
            self.done_pull(place, value)
        else:
            self.done_push(place, value)

    def done_reset(self, place, value):
        dirty = self.is_dirty(place)
        if dirty or value is not None:
            if value is None:
                raise Mismatch("reset kept nothing of what it gave up")
            was = self.digest(self.base(self.native, place))
            if self.digest(value) != was:
                raise Mismatch("what a reset kept is not what was there: "
                               + value)
        if dirty or self.at[place] != self.newest:
            self.adopt(place)
        self.touched.discard(place)

    def step_close_place(self, place):
        """The last one closes: the replica is as it is on disk."""
        for number in sorted(self.opened):
            if self.place_of(number) == place:
                self.both(number, "close")

    def step_verify(self, place):
        if place not in self.at:
            return
        status, _, words = self.command("verify", self.base(self.ramet, place))
        if status != 0 and not self.is_estranged(place) and \
                not self.writes(place):
            raise Mismatch("verify: %d %s" % (status, words))

    def step_integrity(self, number):
        """It would tell of pages that can't be had as of errors."""
        place = self.place_of(number)
        if place in self.at and not self.is_estranged(place):
            play.Play.step_integrity(self, number)

    # ---- the remote's past ----

    def step_view(self, back):
        """Through a connection without a replica, at an LSN."""
        lsn = max(len(self.history) - 1 - back, 1)
        parameters = {"vfs": "ramet", "remote": self.url, "replica": "none"}
        if back:
            parameters["at"] = str(lsn)
        found = self.clerk("view", os.path.join(self.folder, "view.db"),
                           parameters, side=self.ramet)
        if found != self.digest(self.history[lsn if back else -1]):
            raise Mismatch("view at LSN %d differs" % lsn)

    def step_export(self, back):
        lsn = max(len(self.history) - 1 - back, 1)
        out = os.path.join(self.folder, "exported")
        status, _, words = self.command("export", "%s@%d" % (self.url, lsn),
                                        out)
        if status != 0:
            raise Mismatch("export of LSN %d: %s" % (lsn, words))
        if self.digest(out) != self.digest(self.history[lsn]):
            raise Mismatch("export of LSN %d differs" % lsn)
        os.unlink(out)

    def step_store_keep(self):
        copy = os.path.join(self.folder, "kept")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.store, copy)
        self.kept = list(self.history)

    def step_store_back(self):
        if self.kept is None:
            return
        kept = os.path.join(self.folder, "kept")
        for folder, _, names in os.walk(self.store):  # which stays open
            for name in names:
                os.unlink(os.path.join(folder, name))
        shutil.copytree(kept, self.store, dirs_exist_ok=True)
        self.history = list(self.kept)

    # ---- the whole ----

    def set_up(self):
        play.Play.set_up(self)
        self.at[0] = None
        found = self.ramet.ask(0, "sql", "SELECT ramet_push()")
        if found[:2] != ("ok", [(1,)]):
            raise Mismatch("the first push: %r" % (found,))
        self.append(0)

    def finish(self):
        """Every LSN is what was pushed; each place goes home, comes to the
        newest, and is a plain file of that content then."""
        for number in sorted(self.opened):
            self.both(number, "close")
        for back in range(len(self.history) - 1):
            self.step_export(back)
        for place in sorted(self.at):
            number = next(number for number, one in
                          enumerate(self.head["connections"])
                          if one["place"] == place)
            self.both(number, "look")
            self.step_integrity(number)
            self.step_verb(number, "reset")
            if self.is_estranged(place):  # what it lacks can't be kept
                self.discard(place)
            self.both(number, "look")
            self.step_integrity(number)
            self.step_close_place(place)
            self.step_cli(place, "hydrate")  # there is no limit of its cache
            self.step_verify(place)
            plain = self.digest(self.base(self.ramet, place))
            if plain != self.digest(self.newest):
                raise Mismatch("the file of place %d is another" % place)

    def discard(self, place):
        status, _, words = self.command("reset", self.base(self.ramet, place),
                                        "--discard")
        if status != 0:
            raise Mismatch("reset --discard: %s" % words)
        self.adopt(place)

    def end(self):
        play.Play.end(self)
        if self.server is not None:
            self.server.end()


def is_end(sql):
    """Of a transaction, perhaps."""
    return sql.startswith(("COMMIT", "RELEASE"))


def is_unreachable(code):
    """What a page that cannot be had is called."""
    return code.startswith("SQLITE_IOERR") or code == "SQLITE_CANTOPEN"
