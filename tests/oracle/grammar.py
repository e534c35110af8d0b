"""Random statements. What one does depends on the database's content alone:
no random(), no clock, no order that a plan might choose, so that two databases
with one content stay alike.
"""

SCHEMA = (
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT)",
    "CREATE TABLE u(id INTEGER PRIMARY KEY AUTOINCREMENT, a INTEGER, b TEXT)",
    "CREATE TABLE w(k TEXT, n INTEGER, v BLOB, PRIMARY KEY(k, n))"
    " WITHOUT ROWID",
    "CREATE TABLE c(id INTEGER PRIMARY KEY, a INTEGER UNIQUE,"
    " b TEXT NOT NULL CHECK(length(b) < 3000),"
    " p INTEGER REFERENCES c(id) ON DELETE SET NULL)",
    "CREATE TABLE log(what TEXT, id INTEGER)",
    "CREATE VIRTUAL TABLE f USING fts5(words)",
    "CREATE INDEX ta ON t(a)",
)
SCHEMA_ATTACHED = (
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT)",
    "CREATE TABLE w(k TEXT, n INTEGER, v BLOB, PRIMARY KEY(k, n))"
    " WITHOUT ROWID",
)
PAGE_SIZES = (512, 1024, 2048, 4096, 8192, 65536)
WORDS = ("page", "log", "index", "pin", "gate", "fill", "past", "map")
CONFLICTS = ("ABORT", "ROLLBACK", "FAIL", "IGNORE", "REPLACE")


def text(rng):
    """Mostly small; now and then of several pages."""
    size = rng.choice((0, 1, 10, 60, 200, 900, 900, 2500, 6000))
    if rng.random() < 0.02:
        size = 40000
    return rng.choice("abcdefgh") * size


def number(rng):
    return rng.randrange(300)


# ---- kinds of statements: each returns (SQL, arguments) ----------------------

def insert(rng, x):
    table = rng.choice(("t", "t", "u")) if not x else "t"
    return ("INSERT INTO %s%s(a, b) VALUES(?, ?)" % (x, table),
            (number(rng), text(rng)))


def insert_many(rng, x):
    return ("INSERT INTO %st(a, b) SELECT a + 1, b FROM %st"
            " WHERE +a > ? ORDER BY id LIMIT 20" % (x, x), (number(rng),))


def replace(rng, x):
    row = number(rng)
    return ("INSERT OR REPLACE INTO %st(id, a, b) VALUES(?, ?, ?)" % x,
            (row, number(rng), text(rng)))


def update(rng, x):
    return rng.choice((
        ("UPDATE %st SET b = ? WHERE a %% 7 = ?" % x,
         (text(rng), number(rng) % 7)),
        ("UPDATE %st SET a = a + 1 WHERE id BETWEEN ? AND ?1 + 30" % x,
         (number(rng),)),
        ("UPDATE %st SET a = a WHERE id < ?" % x, (number(rng),)),
        ("UPDATE %sw SET v = zeroblob(?) WHERE n %% 5 = ?" % x,
         (rng.randrange(2000), number(rng) % 5)),
    ))


def delete(rng, x):
    return rng.choice((
        ("DELETE FROM %st WHERE a %% 5 = ?" % x, (number(rng) % 5,)),
        ("DELETE FROM %st WHERE id > ?" % x, (number(rng) + 100,)),
        ("DELETE FROM %st WHERE id BETWEEN ? AND ?1 + 20" % x, (number(rng),)),
        ("DELETE FROM %sw WHERE n > ?" % x, (number(rng),)),
        ("DELETE FROM %sw" % x, ()),
    ))


def keyed(rng, x):
    return ("INSERT OR REPLACE INTO %sw VALUES(?, ?, ?)" % x,
            (rng.choice(WORDS), number(rng) % 60, text(rng)))


def constrained(rng, x):
    """Statements that often fail half-way, in each of SQLite's ways."""
    del x
    how = rng.choice(CONFLICTS)
    return rng.choice((
        ("INSERT OR %s INTO c(a, b, p) VALUES(?, ?, ?)" % how,
         (number(rng) % 40, rng.choice((None, text(rng))),
          rng.choice((None, 1, 5, 999)))),
        ("INSERT OR %s INTO c(a, b) SELECT (a * 7 + ?) %% 90, b FROM c" % how,
         (number(rng),)),
        ("UPDATE OR %s c SET a = (a * 3 + ?) %% 50" % how, (number(rng),)),
        ("DELETE FROM c WHERE id %% 6 = ?", (number(rng) % 6,)),
    ))


def words(rng, x):
    del x
    some = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 40)))
    return rng.choice((
        ("INSERT INTO f VALUES(?)", (some,)),
        ("DELETE FROM f WHERE rowid % 7 = ?", (number(rng) % 7,)),
        ("UPDATE f SET words = ? WHERE rowid % 9 = ?", (some, number(rng) % 9)),
        ("INSERT INTO f(f) VALUES('optimize')", ()),
        ("SELECT rowid, length(words) FROM f WHERE f MATCH ? ORDER BY rowid",
         (rng.choice(WORDS),)),
    ))


def schema(rng, x):
    n = number(rng) % 3
    return rng.choice((
        ("CREATE INDEX IF NOT EXISTS %si%d ON t(a, b)" % (x, n), ()),
        ("CREATE INDEX IF NOT EXISTS %si%d ON t(b) WHERE a > 50" % (x, n), ()),
        ("DROP INDEX IF EXISTS %si%d" % (x, n), ()),
        ("CREATE TABLE IF NOT EXISTS %sv%d(p, q DEFAULT 7)" % (x, n), ()),
        ("INSERT INTO %sv%d(p) SELECT a FROM %st ORDER BY id LIMIT 50" % (x, n, x), ()),
        ("ALTER TABLE %sv%d ADD COLUMN z%d DEFAULT 'z'" % (x, n, n), ()),
        ("ALTER TABLE %sv%d DROP COLUMN z%d" % (x, n, n), ()),
        ("ALTER TABLE %sv%d RENAME TO v%d" % (x, n, (n + 1) % 3), ()),
        ("DROP TABLE IF EXISTS %sv%d" % (x, n), ()),
        ("REINDEX %st" % x, ()),
        ("ANALYZE %st" % x, ()),
    ))


def triggers(rng, x):
    del x
    event = rng.choice(("INSERT", "DELETE", "UPDATE"))
    return rng.choice((
        ("CREATE TRIGGER IF NOT EXISTS on_%s AFTER %s ON t BEGIN"
         " INSERT INTO log VALUES('%s', %s.id);"
         " DELETE FROM log WHERE rowid < (SELECT max(rowid) - 90 FROM log);"
         " END" % (event, event, event,
                   "old" if event == "DELETE" else "new"), ()),
        ("DROP TRIGGER IF EXISTS on_%s" % event, ()),
        ("CREATE VIEW IF NOT EXISTS seen AS SELECT a, count(*) FROM t"
         " GROUP BY a", ()),
        ("DROP VIEW IF EXISTS seen", ()),
    ))


def temporary(rng, x):
    del x
    return rng.choice((
        ("CREATE TEMP TABLE IF NOT EXISTS tt(a, b)", ()),
        ("INSERT INTO temp.tt SELECT a, b FROM main.t"
         " ORDER BY id LIMIT 30", ()),
        ("UPDATE temp.tt SET a = a + 1", ()),
        ("DELETE FROM temp.tt WHERE a % 2", ()),
        ("INSERT INTO main.t(a, b) SELECT a, b FROM temp.tt"
         " ORDER BY rowid LIMIT 5", ()),
        ("DROP TABLE IF EXISTS temp.tt", ()),
    ))


def header(rng, x):
    """Pragmas that write page 1, or write nothing that is not there."""
    return rng.choice((
        ("PRAGMA %suser_version=%d" % (x, rng.randrange(3)), ()),
        ("PRAGMA %sapplication_id=%d" % (x, rng.randrange(2)), ()),
    ))


def select(rng, x):
    return rng.choice((
        ("SELECT count(*), sum(a), sum(length(b)) FROM %st" % x, ()),
        ("SELECT id, a, length(b) FROM %st WHERE a > ? ORDER BY a, id LIMIT 10"
         % x, (number(rng),)),
        ("SELECT count(*), sum(a) FROM %st WHERE a >= ?" % x, (number(rng),)),
        ("SELECT k, n, length(v) FROM %sw WHERE k = ?" % x,
         (rng.choice(WORDS),)),
        ("SELECT * FROM %sv%d LIMIT 5" % (x, number(rng) % 3), ()),
        ("PRAGMA %suser_version" % x, ()),
        ("PRAGMA %spage_count" % x, ()),
        ("PRAGMA %sfreelist_count" % x, ()),
        ("SELECT count(*) FROM %ssqlite_master" % x, ()),
    ))


def cache(rng, x):
    return rng.choice((
        ("PRAGMA %scache_size=%d" % (x, rng.choice((1, 2, 5, 10, 100))), ()),
        ("PRAGMA %scache_spill=%d" % (x, rng.choice((0, 1, 1, 5))), ()),
        ("PRAGMA shrink_memory", ()),
        ("PRAGMA %sincremental_vacuum(%d)" % (x, rng.randrange(1, 30)), ()),
        ("PRAGMA foreign_keys=%d" % rng.randrange(2), ()),
    ))


# What may come within a transaction, with how often of hundred.
WITHIN = ((insert, 14), (insert_many, 5), (replace, 8), (update, 12),
          (delete, 7), (keyed, 6), (constrained, 8), (words, 4), (schema, 7),
          (triggers, 2), (temporary, 3), (header, 6), (select, 15), (cache, 3))


def kinds(without):
    """Those kinds, each as often as it is to come, but for some names."""
    return [kind for kind, weight in WITHIN for _ in range(weight)
            if kind.__name__ not in without]


def statement(rng, among, attached):
    """One of these kinds, on the main schema or (if there is one) schema x."""
    x = "x." if attached and rng.random() < 0.2 else ""
    return rng.choice(among)(rng, x)


def write(rng):
    """A statement that changes something in the main schema, as a rule."""
    return rng.choice((insert, insert, insert_many, replace, update, delete,
                       keyed, constrained))(rng, "")


def small_database(rng, page_size):
    """Statements that make another database, of about 50 pages at most."""
    return (
        "PRAGMA page_size=%d" % page_size,
        "PRAGMA auto_vacuum=%d" % rng.randrange(3),
    ) + SCHEMA + (
        "WITH s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d)"
        " INSERT INTO t SELECT i, i * 7 %% 50, '%s' FROM s"
        % (rng.randrange(1, 60), "n" * rng.randrange(400)),
        "PRAGMA user_version=%d" % rng.randrange(3),
    )
