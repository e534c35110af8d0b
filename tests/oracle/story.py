"""What comes next: random schedules, made while they are played.

A story looks at the play (who is in a transaction, who is exclusive) only to
choose what is worth doing; the steps themselves are plain data.
"""
import random

import grammar

LONGEST = 14  # steps of a transaction before it is ended


def head(seed, world, without=()):
    rng = random.Random("head %d" % seed)
    size = rng.choice(grammar.PAGE_SIZES)
    setup = []
    for x in ("", "x."):
        setup.append("PRAGMA %spage_size=%d" % (x, size))
        setup.append("PRAGMA %sauto_vacuum=%d" % (x, rng.randrange(3)))
    setup += grammar.SCHEMA
    setup += ("CREATE TABLE x." + sql[len("CREATE TABLE "):]
              for sql in grammar.SCHEMA_ATTACHED)
    setup.append("INSERT INTO t WITH s(i) AS (SELECT 1 UNION ALL SELECT i + 1"
                 " FROM s WHERE i < 120) SELECT i, i % 50, hex(i) FROM s")
    return {"world": world, "seed": seed, "page_size": size, "setup": setup,
            "without": list(without),
            "connections": [connection(rng, number, world)
                            for number in range(6)]}


def connection(rng, number, world):
    """Two of them in a process; one of those in a thread of its own. In the
    world of locks each has a process: SQLite's own VFS lets a reader pass a
    commit that waits if its process has a reader already."""
    process = number if world == "rollback" else number // 2
    pragmas = ["PRAGMA synchronous=%s" % rng.choice(("OFF", "OFF", "NORMAL"))]
    if number:
        pragmas.append("PRAGMA cache_size=%d" % rng.choice((1, 5, 10, 500)))
    return {"place": 0, "process": process, "thread": number % 2,
            "attached": number % 3 == 0, "pragmas": pragmas}


class Story:
    """What may happen on one replica and no remote."""

    def __init__(self, seed, play):
        self.rng = random.Random("steps %d" % seed)
        self.play = play
        self.connections = play.head["connections"]
        self.kinds = grammar.kinds(play.head["without"])
        self.planned = []  # steps that are to come as they are
        self.current = 0
        self.length = [0] * len(self.connections)  # of what is going on
        self.strict = [0] * len(self.connections)  # in locking_mode=exclusive

    def next(self):
        if self.planned:
            return self.planned.pop(0)
        self.current = self.choose()
        step = self.about(self.current)
        if step[0] == "sql":
            self.heed(step[1], step[2])
        return step

    def choose(self):
        """Whoever is in a transaction goes on, mostly."""
        rng, play = self.rng, self.play
        if play.state[self.current] == 2 and rng.random() < 0.7:
            return self.current
        for number, since in enumerate(self.strict):
            if since and play.steps - since > 8:
                return number
        return rng.randrange(len(self.connections))

    def heed(self, number, sql):
        if sql == "PRAGMA locking_mode=exclusive":
            self.strict[number] = self.play.steps
        elif sql == "PRAGMA locking_mode=normal":
            self.strict[number] = 0

    def about(self, number):
        rng, play = self.rng, self.play
        if play.autocommit[number]:
            self.length[number] = 0
        else:
            self.length[number] += 1
            if self.length[number] > LONGEST or rng.random() < 0.12:
                return ["sql", number, rng.choice(
                    ("COMMIT", "COMMIT", "COMMIT", "ROLLBACK"))]
        if self.strict[number] and play.steps - self.strict[number] > 8:
            return ["sql", number, "PRAGMA locking_mode=normal"]
        luck = rng.random()
        if luck < 0.10:
            return ["look", number]
        if luck < 0.16:
            return ["version", number]
        if luck < 0.26:
            return self.transaction(number)
        if luck < 0.34:
            return self.handles(number)
        if luck < 0.40 and play.autocommit[number]:
            return self.outside(number)
        return ["sql", number] + list(grammar.statement(
            rng, self.kinds, self.connections[number]["attached"]))

    def transaction(self, number):
        rng = self.rng
        if self.play.autocommit[number] and rng.random() < 0.8:
            return ["sql", number, rng.choice((
                "BEGIN", "BEGIN", "BEGIN IMMEDIATE", "BEGIN IMMEDIATE",
                "BEGIN EXCLUSIVE"))]
        name = "s%d" % rng.randrange(3)
        return ["sql", number, rng.choice((
            "SAVEPOINT " + name, "ROLLBACK TO " + name, "ROLLBACK TO " + name,
            "RELEASE " + name))]

    def handles(self, number):
        """What stays open between statements."""
        rng, slot = self.rng, self.rng.randrange(2)
        choice = rng.randrange(12)
        if choice == 0:
            return ["start", number, slot, "SELECT id, a FROM t ORDER BY id"]
        if choice == 1:
            return ["start", number, slot, "SELECT a, id FROM t WHERE a > 3"
                    " ORDER BY a, id"]
        if choice <= 3:
            return ["next", number, slot]
        if choice == 4:
            return ["stop", number, slot]
        if choice == 5:
            # What a blob wrote is committed, or refused, when it is closed.
            durable = self.connections[number].get("uri", {}).get(
                "sync") == "commit"
            return ["blob_open", number, slot, "t", "b",
                    rng.randrange(1, 150), durable or rng.random() < 0.3]
        if choice == 6:
            return ["blob_write", number, slot, rng.randrange(300),
                    "blob" * rng.randrange(1, 30)]
        if choice == 7:
            return rng.choice((["blob_read", number, slot, 300],
                               ["blob_close", number, slot]))
        if choice == 8:
            return ["backup_begin", number]
        if choice == 9:
            return ["backup_step", number, rng.choice((1, 5, 1000))]
        if choice == 10:
            return ["backup_end", number]
        return [rng.choice(("cacheflush", "release_memory")), number]

    def outside(self, number):
        """What makes sense only outside a transaction."""
        rng = self.rng
        rollback = self.play.world == "rollback"
        luck = rng.random()
        if luck < 0.15:
            return ["sql", number, "VACUUM"]
        if luck < 0.25:
            return ["sql", number, "PRAGMA auto_vacuum=%d" % rng.randrange(3)]
        if luck < 0.35:
            return ["close", number]
        if luck < 0.40:
            return ["kill", self.connections[number]["process"]]
        if luck < 0.50:
            return ["integrity", number]
        if luck < 0.58:
            size = self.play.head["page_size"]  # WAL mode bears no other
            if rollback and rng.random() < 0.3:
                size = rng.choice(grammar.PAGE_SIZES)
            return ["backup_in", number, list(grammar.small_database(
                rng, size)), rng.choice((3, 1000))]
        if luck < 0.68:
            return ["look_all"]
        if rollback and luck < 0.78:
            return ["sql", number, "PRAGMA page_size=%d"
                    % rng.choice(grammar.PAGE_SIZES)]
        if rollback and luck < 0.88:
            return ["sql", number, "PRAGMA journal_mode=%s" % rng.choice(
                ("delete", "truncate", "persist", "memory"))]
        if rollback and luck < 0.94:
            return ["sql", number, "PRAGMA locking_mode=%s" % rng.choice(
                ("exclusive", "normal"))]
        return ["sql", number, "PRAGMA synchronous=%s" % rng.choice(
            ("OFF", "OFF", "NORMAL", "FULL"))]


# ---- several replicas of one volume ------------------------------------------

def remote_head(seed, remote, without=()):
    """Three places with a replica each; one of them may be sync=commit."""
    rng = random.Random("remote head %d" % seed)
    made = head(seed, "snapshot", without)
    modes = ["manual", "manual", rng.choice(("manual", "commit"))]
    places = (0, 0, 0, 1, 1, 1, 2, 2)
    made["remote"] = remote
    made["connections"] = [
        remote_connection(rng, number, place, modes[place])
        for number, place in enumerate(places)]
    return made


def remote_connection(rng, number, place, mode):
    made = connection(rng, number, "snapshot")
    made.update(place=place, process=place * 2 + number % 2,
                attached=number == 0,
                uri={"sync": mode, "fetch_timeout_ms": "4000"})
    if rng.random() < 0.3:
        made["uri"]["cache_limit"] = str(rng.choice((65536, 262144)))
    return made


VERBS = ("push", "push", "push", "pull", "pull", "pull", "sync", "fetch",
         "reset", "hydrate")


class RemoteStory(Story):
    """The same on each replica, with verbs between any two steps."""

    def about(self, number):
        rng, play = self.rng, self.play
        if play.autocommit[number] and play.state[number] == 0 and \
                rng.random() < 0.16:
            return self.remote(number)
        return Story.about(self, number)

    def another_line(self):
        """A store that is put back goes another way, as far as somebody else
        had come who has not read everything yet."""
        rng = self.rng
        first, second, third = rng.sample(sorted({
            one["place"] for one in self.connections}), 3)

        def one_of(place):
            return rng.choice([number for number, one in
                               enumerate(self.connections)
                               if one["place"] == place])

        def commit(number):
            return [["sql", number] + list(grammar.write(rng))
                    for _ in range(3)] + [["verb", number, "push"]]

        reader, mine, theirs = one_of(first), one_of(second), one_of(third)
        self.planned = [["verb", number, "reset"]
                        for number in (reader, mine, theirs)]
        self.planned += [["store_keep"]] + commit(mine)
        self.planned += [["verb", reader, "pull"], ["store_back"]]
        self.planned += commit(theirs) + commit(theirs)
        self.planned += [["look", reader], ["verb", reader, "hydrate"],
                         ["look", reader]]
        return self.planned.pop(0)

    def remote(self, number):
        rng = self.rng
        if self.play.head["remote"] == "file" and rng.random() < 0.04:
            return self.another_line()
        place = self.connections[number]["place"]
        luck = rng.random()
        verb = rng.choice(VERBS)
        if self.play.writes(place):  # others wait long for who writes
            verb = rng.choice(("fetch", "hydrate"))
        if luck < 0.58:
            return ["verb", number, verb]
        if luck < 0.64:
            return ["cli", place, verb]
        if luck < 0.78:
            return ["view", rng.randrange(6)]
        if luck < 0.82:
            return ["export", rng.randrange(6)]
        if luck < 0.86:
            return ["verify", place]
        if luck < 0.94 and self.play.head["remote"] == "file":
            return [rng.choice(("store_keep", "store_back"))]
        return ["close_place", place]
