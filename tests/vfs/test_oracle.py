#!/usr/bin/python3
"""Random SQL side by side on a replica and on plain SQLite.

Every statement's outcome (rows, or the error) and, now and then, the whole
content must be equal. RAMET_SEED is the seed, "clock" a new one, and
RAMET_STATEMENTS makes it longer.
"""
import os
import random
import sqlite3

import common
from common import check_integrity, open_db, open_native, rows
import seeds

STATEMENTS = int(os.environ.get("RAMET_STATEMENTS", "2500"))
SIZES = (512, 1024, 4096, 16384, 65536)


class Side:
    """One way of opening the two databases, with several connections."""

    def __init__(self, opener, prefix):
        self.opener = opener
        self.prefix = prefix
        self.connections = {}

    def run(self, number, sql, args):
        if number not in self.connections:
            self.connections[number] = self.opener(self.prefix + "0.db")
        try:
            return rows(self.connections[number], sql, *args)
        except sqlite3.Error as error:
            # Locks differ by design: readers don't block writers here.
            return type(error).__name__, str(error)

    def close(self, number):
        if number in self.connections:
            self.connections.pop(number).close()


def statement(rng):
    """A statement, its arguments; without a transaction's begin or end."""
    table = rng.choice(("t", "t", "t", "u"))
    row = rng.randrange(400)
    text = "x" * rng.choice((1, 10, 100, 900, 5000, 40000))
    return rng.choice((
        ("INSERT INTO %s(a, b) VALUES(?, ?)" % table, (row, text)),
        ("INSERT OR REPLACE INTO %s(id, a, b) VALUES(?, ?, ?)" % table,
         (row, row, text)),
        ("INSERT INTO %s(a, b) SELECT a + 1, b FROM %s LIMIT 20"
         % (table, table), ()),
        ("UPDATE %s SET b = ? WHERE a %% 7 = ?" % table, (text, row % 7)),
        ("UPDATE %s SET a = a + 1 WHERE id < ?" % table, (row,)),
        ("DELETE FROM %s WHERE a %% 3 = ?" % table, (row % 3,)),
        ("DELETE FROM %s WHERE id > ?" % table, (row,)),
        ("SELECT count(*), sum(a), sum(length(b)) FROM %s" % table, ()),
        ("SELECT id, a FROM %s WHERE a > ? ORDER BY a, id LIMIT 10" % table,
         (row,)),
        ("CREATE INDEX IF NOT EXISTS i%d ON %s(a, b)" % (row % 3, table), ()),
        ("DROP INDEX IF EXISTS i%d" % (row % 3), ()),
        ("CREATE TABLE IF NOT EXISTS v(p)", ()),
        ("DROP TABLE IF EXISTS v", ()),
        ("PRAGMA user_version=%d" % row, ()),
        ("PRAGMA user_version", ()),
        ("PRAGMA page_count", ()),
        ("PRAGMA freelist_count", ()),
        ("PRAGMA incremental_vacuum(%d)" % (row % 30), ()),
        ("PRAGMA cache_size=%d" % rng.choice((1, 10, 200)), ()),
    ))


def outside(rng):
    """What makes sense only outside a transaction."""
    return rng.choice((
        ("VACUUM", ()),
        ("PRAGMA page_size=%d" % rng.choice(SIZES), ()),
        ("PRAGMA auto_vacuum=%d" % rng.randrange(3), ()),
        ("PRAGMA synchronous=%d" % rng.randrange(3), ()),
        ("PRAGMA journal_mode=%s" % rng.choice(
            ("delete", "truncate", "persist", "memory")), ()),
        ("PRAGMA locking_mode=%s" % rng.choice(("normal", "exclusive")), ()),
        ("PRAGMA integrity_check", ()),
    ))


class Story:
    """What is done on both sides, one connection at a time."""

    def __init__(self, rng):
        self.rng = rng
        self.sides = (Side(open_db, "r"), Side(open_native, "n"))
        self.savepoints = 0
        self.in_transaction = False
        self.number = 0

    def both(self, sql, args=()):
        found = [side.run(self.number, sql, args) for side in self.sides]
        assert found[0] == found[1], (sql, str(args)[:60], found)
        return found[0]

    def begin_or_end(self):
        if not self.in_transaction:
            self.both("BEGIN %s" % self.rng.choice(
                ("", "IMMEDIATE", "EXCLUSIVE")))
            self.in_transaction = True
            return
        choice = self.rng.randrange(6)
        if choice == 0:
            self.both("SAVEPOINT s%d" % self.savepoints)
            self.savepoints += 1
        elif choice == 1 and self.savepoints > 0:
            self.both("ROLLBACK TO s%d" % self.rng.randrange(self.savepoints))
            # Later savepoints are gone; names of earlier ones still count.
            self.end("COMMIT")
        elif choice == 2:
            self.end("ROLLBACK")
        else:
            self.end("COMMIT")

    def end(self, how):
        self.both(how)
        self.in_transaction = False
        self.savepoints = 0

    def step(self):
        luck = self.rng.random()
        if luck < 0.12:
            self.begin_or_end()
        elif self.in_transaction or luck < 0.90:
            self.both(*statement(self.rng))
        elif luck < 0.96:
            self.both(*outside(self.rng))
        else:  # another connection goes on, after a good-bye or without
            self.both("PRAGMA locking_mode=normal")
            self.both("SELECT count(*) FROM sqlite_master")
            if self.rng.random() < 0.4:
                for side in self.sides:
                    side.close(self.number)
            self.number = self.rng.randrange(3)

    def compare(self):
        self.both("SELECT * FROM t ORDER BY id")
        self.both("SELECT * FROM u ORDER BY id")
        self.both("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")


def run(seed, statements):
    rng = random.Random(seed)
    story = Story(rng)
    story.both("PRAGMA page_size=%d" % rng.choice(SIZES))
    for table in "tu":
        story.both("CREATE TABLE %s(id INTEGER PRIMARY KEY, a INTEGER, b TEXT)"
                   % table)
    for count in range(statements):
        story.step()
        if count % 50 == 0:
            story.compare()
    if story.in_transaction:
        story.end("COMMIT")
    story.compare()
    story.both("PRAGMA integrity_check")
    for side in story.sides:
        for number in list(side.connections):
            side.close(number)
    plain = [open_native("r0.db"), open_native("n0.db")]
    for table in "tu":
        sql = "SELECT * FROM %s ORDER BY id" % table
        assert rows(plain[0], sql) == rows(plain[1], sql)
    check_integrity(plain[0])


def test_both_sides_say_the_same():
    first = seeds.seed("RAMET_SEED")
    for round_number in range(4):
        seed = first + round_number
        print("        RAMET_SEED=%d" % seed)
        os.mkdir(str(round_number))
        os.chdir(str(round_number))
        run(seed, STATEMENTS // 4)
        os.chdir("..")


if __name__ == "__main__":
    common.main()
