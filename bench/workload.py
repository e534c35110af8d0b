#!/usr/bin/python3
"""Deterministic SQLite workloads: the same seed gives the same statements.

    workload.py generate DB [--rows N]       the `users` table: 1 M rows, 200 MB
    workload.py wide     DB [--rows N]       such a table of four rows a page, no index
    workload.py bulk     DB SOURCE           the same rows, 10,000 a transaction
    workload.py update   DB --count N        N random rows in one transaction
    workload.py commits  DB --count N        N one-row transactions
    workload.py ycsb-a|ycsb-b|ycsb-c DB      reads and updates by Zipf's law
    workload.py prepare  DB                  tables for those that follow
    workload.py integer|random|ascending|delete|grow|fts|fts-short|json DB --count N
                                             one transaction of N rows
    workload.py each     DB --count N        N updates of a row, pushed one by one

--extension FILE and --param k=v choose a VFS; without them it is SQLite's own.
--push pushes after the workload and says when the remote had it all, and what
CPU that took. Prints one JSON object.
"""
import argparse
import hashlib
import json
import os
import random
import resource
import sqlite3
import time

WORDS = (
    "time year people way day man thing woman life child world school state "
    "family student group country problem hand part place case week company "
    "system program question work government number night point home water "
    "room mother area money story fact month lot right study book eye job "
    "word business issue side kind head house service friend father power "
    "hour game line end member law car city community name president team "
    "minute idea body information back parent face others level office door "
    "health person art war history party result change morning reason "
    "research girl guy moment air teacher force education").split()
CITIES = (
    "Berlin Paris Oslo Madrid Lisbon Warsaw Vienna Zagreb Athens Dublin Tokyo "
    "Osaka Seoul Lima Quito Accra Cairo Lagos Nairobi Delhi Mumbai Sydney "
    "Perth Austin Boston Denver Toronto Havana").split()
SCHEMA = (
    "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT"
    " NOT NULL, city TEXT NOT NULL, bio TEXT NOT NULL, balance INTEGER NOT"
    " NULL, created INTEGER NOT NULL)",
    "CREATE INDEX users_email ON users(email)",
    "CREATE INDEX users_city_created ON users(city, created)")
BATCH = 10000


def user(number, seed):
    """Row `number` of the table of users."""
    rnd = random.Random(seed * 1000003 + number)
    first, last = rnd.choice(WORDS), rnd.choice(WORDS)
    return (number, "%s %s" % (first.title(), last.title()),
            "%s.%s.%08x@example.com" % (first, last, rnd.getrandbits(32)),
            rnd.choice(CITIES), " ".join(rnd.choices(WORDS, k=10)),
            rnd.randrange(100000), 1500000000 + rnd.randrange(200000000))


class Zipf:
    """YCSB's generator (Gray et al., theta 0.99), scrambled over the keys."""

    def __init__(self, count, rnd, theta=0.99):
        self.count, self.rnd, self.theta = count, rnd, theta
        self.zeta = sum(1.0 / i ** theta for i in range(1, count + 1))
        self.alpha = 1 / (1 - theta)
        self.eta = ((1 - (2.0 / count) ** (1 - theta)) /
                    (1 - (1 + 0.5 ** theta) / self.zeta))

    def next(self):
        u = self.rnd.random()
        scaled = u * self.zeta
        if scaled < 1:
            rank = 0
        elif scaled < 1 + 0.5 ** self.theta:
            rank = 1
        else:
            rank = int(self.count *
                       (self.eta * u - self.eta + 1) ** self.alpha)
        digest = hashlib.blake2b(rank.to_bytes(8, "little"), digest_size=8)
        return int.from_bytes(digest.digest(), "little") % self.count


def connect(options):
    if options.extension:
        loader = sqlite3.connect(":memory:")
        loader.enable_load_extension(True)
        loader.load_extension(options.extension)
        params = ["vfs=ramet"] + (options.param or [])
    else:
        params = options.param or []
    uri = "file:%s%s%s" % (os.path.abspath(options.db), "?" if params else "",
                           "&".join(params))
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=60)
    if not options.extension:
        db.execute("PRAGMA journal_mode=" + options.journal)
    db.execute("PRAGMA synchronous=" + options.synchronous)
    return db


def generate(db, options):
    for statement in SCHEMA:
        db.execute(statement)
    for low in range(1, options.rows + 1, BATCH):
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO users VALUES(?,?,?,?,?,?,?)",
                       (user(i, options.seed) for i in
                        range(low, min(low + BATCH, options.rows + 1))))
        db.execute("COMMIT")


def wide(db, options):
    db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY, balance INTEGER NOT"
               " NULL, body TEXT NOT NULL)")
    for low in range(1, options.rows + 1, 10 * BATCH):
        db.execute("WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1"
                   " FROM n WHERE i < ?) INSERT INTO users SELECT i,"
                   " abs(random()) % 100000, hex(randomblob(50)) ||"
                   " printf('%0850d', i) FROM n",
                   (low, min(low + 10 * BATCH - 1, options.rows)))


def bulk(db, options):
    db.execute("ATTACH ? AS source",
               ("file:%s?mode=ro&vfs=unix" % os.path.abspath(options.source),))
    for statement in SCHEMA:
        db.execute(statement)
    top = db.execute("SELECT max(id) FROM source.users").fetchone()[0]
    for low in range(1, top + 1, BATCH):
        db.execute("INSERT INTO main.users SELECT * FROM source.users"
                   " WHERE id BETWEEN ? AND ?", (low, low + BATCH - 1))
    db.execute("DETACH source")


def update(db, options):
    rnd = random.Random(options.seed ^ 0x5DEECE66D)
    top = db.execute("SELECT max(id) FROM users").fetchone()[0]
    db.execute("BEGIN IMMEDIATE")
    for number in rnd.sample(range(1, top + 1), options.count):
        db.execute("UPDATE users SET balance = balance + ?, bio = ?"
                   " WHERE id = ?",
                   (rnd.randrange(1, 1000),
                    " ".join(rnd.choices(WORDS, k=10)), number))
    db.execute("COMMIT")


def commits(db, options):
    rnd = random.Random(options.seed ^ 0x5DEECE66D)
    db.execute("CREATE TABLE IF NOT EXISTS log(id INTEGER PRIMARY KEY, v TEXT)")
    for _ in range(options.count):
        db.execute("INSERT INTO log(v) VALUES(?)",
                   ("%0100x" % rnd.getrandbits(400),))


def ycsb(db, options, reads):
    rnd = random.Random(options.seed)
    db.execute("CREATE TABLE IF NOT EXISTS kv(k TEXT PRIMARY KEY,"
               " v TEXT NOT NULL)")
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT OR IGNORE INTO kv VALUES(?,?)",
                   (("user%010d" % i, "%0100x" % rnd.getrandbits(400))
                    for i in range(100000)))
    db.execute("COMMIT")
    zipf = Zipf(100000, rnd)
    for _ in range(options.count):
        key = "user%010d" % zipf.next()
        if rnd.random() < reads:
            db.execute("SELECT v FROM kv WHERE k = ?", (key,)).fetchall()
        else:
            db.execute("UPDATE kv SET v = ? WHERE k = ?",
                       ("%0100x" % rnd.getrandbits(400), key))


def prepare(db, options):
    """Keys at random, documents, JSON."""
    rnd = random.Random(options.seed)
    db.execute("BEGIN IMMEDIATE")
    db.execute("CREATE TABLE keyed(k TEXT PRIMARY KEY, v TEXT NOT NULL)"
               " WITHOUT ROWID")
    db.executemany("INSERT OR IGNORE INTO keyed VALUES(?,?)",
                   keyed_rows(rnd, 100000))
    db.execute("CREATE VIRTUAL TABLE docs USING fts5(body)")
    db.executemany("INSERT INTO docs VALUES(?)",
                   ((" ".join(rnd.choices(WORDS, k=80)),)
                    for _ in range(5000)))
    db.execute("CREATE TABLE events(id INTEGER PRIMARY KEY, doc TEXT NOT NULL)")
    db.executemany("INSERT INTO events(doc) VALUES(?)",
                   ((event(rnd),) for _ in range(50000)))
    db.execute("COMMIT")


def keyed_rows(rnd, count):
    return (("%032x" % rnd.getrandbits(128), " ".join(rnd.choices(WORDS, k=10)))
            for _ in range(count))


def event(rnd):
    return json.dumps({
        "user": rnd.randrange(10**6), "city": rnd.choice(CITIES), "state": "new",
        "tags": rnd.choices(WORDS, k=6), "score": rnd.random(),
        "token": "%032x" % rnd.getrandbits(128)})


def chosen(db, table, options):
    """Rows at random, as parameters."""
    top = db.execute("SELECT max(id) FROM %s" % table).fetchone()[0]
    # Not the rows of another workload with the same seed.
    rnd = random.Random("%s %d" % (options.workload, options.seed))
    return ((number,) for number in rnd.sample(range(1, top + 1),
                                               options.count))


def in_one(change):
    def run(db, options):
        db.execute("BEGIN IMMEDIATE")
        db.executemany(*change(db, options))
        db.execute("COMMIT")
    return run


def insert_random(_, options):
    return ("INSERT OR IGNORE INTO keyed VALUES(?,?)",
            keyed_rows(random.Random(options.seed + 77), options.count))


def insert_ascending(db, options):
    top = db.execute("SELECT max(id) FROM users").fetchone()[0]
    return ("INSERT INTO users VALUES(?,?,?,?,?,?,?)",
            [user(top + 1 + i, options.seed) for i in range(options.count)])


def delete_some(db, options):
    return "DELETE FROM users WHERE id = ?", list(chosen(db, "users", options))


def grow_some(db, options):
    return ("UPDATE users SET bio = bio || ' and more' WHERE id = ?",
            list(chosen(db, "users", options)))


def count_up(db, options):
    return ("UPDATE users SET balance = balance + 17 WHERE id = ?",
            list(chosen(db, "users", options)))


def add_docs(words):
    def statement(_, options):
        rnd = random.Random(options.seed + 78)
        return ("INSERT INTO docs VALUES(?)",
                [(" ".join(rnd.choices(WORDS, k=words)),)
                 for _ in range(options.count)])
    return statement


def edit_json(db, options):
    return ("UPDATE events SET doc = json_set(doc, '$.state', 'seen',"
            " '$.seen', id) WHERE id = ?",
            list(chosen(db, "events", options)))


def each(db, options):
    rnd = random.Random(options.seed)
    top = db.execute("SELECT max(id) FROM users").fetchone()[0]
    for _ in range(options.count):
        db.execute("UPDATE users SET balance = balance + ? WHERE id = ?",
                   (rnd.randrange(1, 1000), rnd.randrange(1, top + 1)))
        db.execute("SELECT ramet_push()").fetchall()


WORKLOADS = {
    "prepare": prepare, "random": in_one(insert_random),
    "ascending": in_one(insert_ascending), "delete": in_one(delete_some),
    "grow": in_one(grow_some), "fts": in_one(add_docs(80)),
    "fts-short": in_one(add_docs(20)),
    "json": in_one(edit_json), "integer": in_one(count_up), "each": each,
    "generate": generate, "wide": wide, "bulk": bulk, "update": update, "commits": commits,
    "ycsb-a": lambda db, options: ycsb(db, options, 0.5),
    "ycsb-b": lambda db, options: ycsb(db, options, 0.95),
    "ycsb-c": lambda db, options: ycsb(db, options, 1.0),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("db")
    parser.add_argument("source", nargs="?")
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--extension")
    parser.add_argument("--param", action="append")
    parser.add_argument("--journal", default="wal")
    parser.add_argument("--synchronous", default="FULL")
    parser.add_argument("--push", action="store_true")
    options = parser.parse_args()

    db = connect(options)
    began = time.perf_counter()
    WORKLOADS[options.workload](db, options)
    result = {"seconds": time.perf_counter() - began,
              "committed_unix": time.time()}
    if options.push:
        pushed, cpu = time.perf_counter(), time.process_time()
        db.execute("SELECT ramet_push()").fetchall()
        result["push_seconds"] = time.perf_counter() - pushed
        result["push_cpu_seconds"] = time.process_time() - cpu
    if options.workload in ("generate", "prepare"):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    result["total_seconds"] = time.perf_counter() - began
    result["peak_bytes"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
