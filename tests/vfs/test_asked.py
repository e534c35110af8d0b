#!/usr/bin/python3
"""What the SQL functions, pragmas, tables and parameters answer to who asks wrongly,
or in a way that few do."""
import os
import sqlite3
import time

from common import (code_of, fails, main, one, open_db, open_native, rows)

LONG = 60  # seconds; far more than a test takes


def pushed(name="a.db", commits=3):
    db = open_db(name, sync="manual", remote="file://%s/store/a" % os.getcwd())
    db.execute("CREATE TABLE t(n)")
    db.execute("SELECT ramet_push()").fetchall()
    for n in range(1, commits):
        db.execute("INSERT INTO t VALUES(?)", (n,))
        db.execute("SELECT ramet_push()").fetchall()
    return db


def test_wait_takes_a_token_or_an_lsn_and_milliseconds():
    db = pushed()
    newest = one(db, "SELECT ramet_lsn()")
    token = one(db, "SELECT ramet_wait_durable()")
    for timeout in (None, 0, -5, 1.9, 100000, "250"):
        assert one(db, "SELECT ramet_wait(?, ?)", token, timeout) == newest
        assert one(db, "SELECT ramet_wait(?, ?)", newest, timeout) == newest
        assert one(db, "SELECT ramet_wait_durable(?, 'main')", timeout) == token
        assert one(db, "SELECT ramet_wait_durable(?, NULL)", timeout) == token
    for timeout in ("soon", b"\1\2"):
        fails("milliseconds", db.execute, "SELECT ramet_wait(?, ?)", (token, timeout))
        fails("milliseconds", db.execute, "SELECT ramet_wait_durable(?)", (timeout,))
    assert "milliseconds" in one(db, "SELECT ramet_errmsg()")
    volume, rest = token.split(":", 1)
    for wrong in ("", "x", ":1", "1x", "99999999999999999999999", volume + ":",
                  volume[:-1] + ":" + rest, "g" + token[1:], token + "0"):
        fails("neither an LSN nor a token", db.execute, "SELECT ramet_wait(?, 1)",
              (wrong,))
    began = time.monotonic()
    fails("is not here after 30 ms", db.execute, "SELECT ramet_wait(?, 30)",
          (newest + 1,))
    assert time.monotonic() - began < LONG
    fails("no token", db.execute, "PRAGMA ramet_wait")
    assert rows(db, "PRAGMA ramet_wait=%d" % newest)
    assert rows(db, "PRAGMA ramet_wait_durable") == [(token,)]


def test_without_a_remote_nothing_is_durable():
    db = open_db("new.db", sync="manual")
    fails("no remote", db.execute, "SELECT ramet_wait_durable(1)")
    assert one(db, "SELECT count(*) FROM ramet_log") == 0
    db = open_db("new.db", sync="manual", remote="file://%s/s/n" % os.getcwd())
    assert one(db, "SELECT count(*) FROM ramet_log") == 0
    assert ":1:" in one(db, "SELECT ramet_wait_durable(600000)")
    assert one(db, "SELECT count(*) FROM ramet_log") == 1


def test_a_schema_that_is_none_of_ours_is_told():
    db = pushed()
    open_native("plain.db").execute("CREATE TABLE p(n)")
    db.execute("ATTACH 'file:plain.db?vfs=unix' AS plain")
    for name in ("plain", "nobody", "temp", ""):
        for call in ("ramet_push(?)", "ramet_lsn(?)", "ramet_wait(1, 1, ?)",
                     "ramet_wait_durable(1, ?)"):
            fails("not a Ramet replica", db.execute, "SELECT " + call, (name,))
        assert rows(db, "SELECT * FROM ramet_status(?)", name) == []
        assert rows(db, "SELECT * FROM ramet_log(?)", name) == []
    assert one(db, "SELECT ramet_lsn(NULL)") == one(db, "SELECT ramet_lsn()")
    assert "not a Ramet replica" in one(db, "SELECT ramet_errmsg()")


def test_prefetch_runs_what_reads_and_nothing_else():
    db = pushed()
    for sql in ("SELECT * FROM t", " \n-- why\n select 1", "/* a */ VALUES(1)",
                "WITH x AS (SELECT 1) SELECT * FROM x", "SELECT 1; ",
                "SELECT(1)", "/* a *//**/SELECT n FROM t WHERE n = ?1"):
        one(db, "SELECT ramet_prefetch(?)", sql)
    one(db, "SELECT ramet_prefetch(?, 1, 2.5, 'x', x'01', NULL)",
        "SELECT ?, ?, ?, ?, ? FROM t")
    for sql in ("INSERT INTO t VALUES(7)", "PRAGMA user_version=7", "BEGIN",
                "ATTACH 'x.db' AS x", "", ";", "/* no end SELECT 1", "-- SELECT 1",
                "SELECTED", "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x"):
        fails("reads", db.execute, "SELECT ramet_prefetch(?)", (sql,))
    fails("more than one", db.execute, "SELECT ramet_prefetch('SELECT 1; SELECT 2')")
    fails("fewer parameters", db.execute, "SELECT ramet_prefetch('SELECT ?', 1, 2)")
    fails("at most 100", db.execute, "SELECT ramet_prefetch()")
    fails("at most 100", db.execute, "SELECT ramet_prefetch('SELECT 1'%s)"
          % (", 1" * 101))
    fails("nowhere", db.execute, "SELECT ramet_prefetch('SELECT * FROM nowhere')")
    fails("overflow", db.execute,
          "SELECT ramet_prefetch('SELECT abs(-9223372036854775808)')")
    fails("can't ask another", db.execute, "SELECT ramet_prefetch(?)",
          ("SELECT ramet_prefetch('SELECT 1')",))
    one(db, "SELECT ramet_prefetch('SELECT 1')")  # it is over
    fails("only reads", db.execute, "SELECT ramet_prefetch('SELECT ramet_push()')")
    fails("call the function", db.execute, "PRAGMA ramet_prefetch")
    assert one(db, "SELECT count(*) FROM t") == 2
    assert one(db, "PRAGMA user_version") == 0


def test_prefetch_of_what_is_no_replica_is_a_query():
    db = pushed()
    other = sqlite3.connect(":memory:")
    assert one(other, "SELECT ramet_version()") == one(db, "SELECT ramet_version()")
    other.execute("SELECT ramet_prefetch('SELECT 1')").fetchall()
    fails("nowhere", other.execute, "SELECT ramet_prefetch('SELECT * FROM nowhere')")


def test_pragmas_that_nobody_knows_say_nothing():
    db = pushed()
    for pragma in ("ramet_nothing", "ramet_", "ramet", "rametlsn"):
        assert rows(db, "PRAGMA " + pragma) == []
    assert rows(db, "PRAGMA ramet_errmsg") in ([], [("",)])
    fails("no token", db.execute, "PRAGMA ramet_wait")
    assert "no token" in rows(db, "PRAGMA ramet_errmsg")[0][0]
    assert rows(db, "PRAGMA ramet_version")[0][0] == one(db, "SELECT ramet_version()")
    assert rows(db, "PRAGMA ramet_reset") in ([], [("",)])
    assert rows(db, "PRAGMA locking_mode=sideways") == [("normal",)]
    for mode in ("exclusive", "normal"):
        assert rows(db, "PRAGMA locking_mode=" + mode) == [(mode,)]
        assert rows(db, "PRAGMA journal_mode=wal") == [("delete",)]
    assert rows(db, "SELECT count(*) FROM t") == [(2,)]


def test_the_log_is_a_table_of_all_commits():
    db = pushed(commits=4)
    down = rows(db, "SELECT * FROM ramet_log")
    assert [row[0] for row in down] == [4, 3, 2, 1]
    names = [row[0] for row in db.execute("SELECT * FROM ramet_log").description]
    for row in down:
        seen = dict(zip(names, row))
        assert len(seen["commit_id"]) == 36 and len(seen["writer"]) == 36
        assert seen["time"].startswith("20") and seen["page_size"] == 4096
        assert seen["pages"] >= 1 and seen["changed_pages"] >= 1
        assert seen["bytes"] > 0 and seen["fence"] == 0
    assert rows(db, "SELECT * FROM ramet_log ORDER BY lsn") == down[::-1]
    assert rows(db, "SELECT * FROM ramet_log ORDER BY pages, lsn DESC LIMIT 2")
    assert rows(db, "SELECT rowid FROM ramet_log WHERE lsn = 2") == [(2,)]
    assert len(rows(db, "SELECT * FROM ramet_log WHERE argument > 'm'")) == 0
    assert len(rows(db, "SELECT l.lsn FROM (SELECT 'main' AS s UNION ALL "
                        "SELECT NULL) JOIN ramet_log(s) AS l")) == 4
    assert rows(db, "SELECT argument FROM ramet_log LIMIT 1") == [(None,)]


def test_a_log_without_a_remote_is_empty_and_of_one_that_is_gone_fails():
    assert rows(open_db("alone.db", sync="manual"), "SELECT * FROM ramet_log") == []
    bound = open_db("bound.db", sync="manual", remote="file://%s/s/b" % os.getcwd())
    assert rows(bound, "SELECT * FROM ramet_log") == []
    db = pushed()
    os.rename("store", "elsewhere")
    fails("can't open the directory", db.execute, "SELECT * FROM ramet_log")
    os.rename("elsewhere", "store")
    assert len(rows(db, "SELECT * FROM ramet_log")) == 3


def test_a_status_has_each_database_of_the_connection():
    db = pushed()
    second = open_db("b.db", sync="manual")
    second.execute("CREATE TABLE t(n)")
    second.close()
    long_name = "n" * 300
    db.execute("ATTACH ? AS %s" % long_name,
               ("file:b.db?vfs=ramet&sync=manual",))
    db.execute("ATTACH ? AS b", ("file:b.db?vfs=ramet&sync=auto",))
    found = {row[0]: row for row in rows(db, "SELECT * FROM ramet_status")}
    assert sorted(found) == ["b", "main"]
    assert rows(db, "SELECT * FROM ramet_status(?)", long_name) == []
    assert rows(db, "SELECT * FROM ramet_status(NULL)") == []
    names = [c[0] for c in db.execute("SELECT * FROM ramet_status").description]
    main_row = dict(zip(names, found["main"]))
    b_row = dict(zip(names, found["b"]))
    assert main_row["sync"] == "manual" and b_row["remote"] is None
    assert main_row["durable_lsn"] == 3 and main_row["local_commits"] == 0
    assert main_row["pages"] == main_row["cached_pages"] and not main_row["in_doubt"]
    for name in ("requests", "fetched_pages", "fetched_bytes", "dirty_pages",
                 "prefetched_pages", "prefetch_used", "prefetch_vain"):
        assert main_row[name] >= 0, name
    assert rows(db, "SELECT rowid FROM ramet_status('main')")
    assert len(rows(db, "SELECT * FROM ramet_status AS x JOIN ramet_status AS y "
                        "USING (schema)")) == 2
    for mode in ("auto", "commit"):
        other = open_db("a.db", sync=mode)
        assert one(other, "SELECT sync FROM ramet_status") == mode
        other.close()


def test_values_of_parameters_at_their_bounds():
    pushed().close()
    day = 24 * 3600 * 1000
    for good in ({"fetch_timeout_ms": 0}, {"fetch_timeout_ms": day},
                 {"commit_timeout_ms": 0}, {"push_interval_ms": 0},
                 {"max_stale_ms": 0, "mode": "ro"}, {"close_wait_ms": 0},
                 {"cache_limit": 2 ** 64 - 2}, {"bases_limit": 0},
                 {"bases_limit": 2 ** 63 - 1}, {"hydrate_max": 0},
                 {"profile": ""}, {"locking": "snapshot"}, {"functions": "on"},
                 {"remote": ""}, {"hydrate": "auto", "hydrate_max": 1}):
        db = open_db("a.db", **good)
        assert one(db, "SELECT count(*) FROM t") == 2, good
        db.close()
    for key, bad, words in (
            ("fetch_timeout_ms", day + 1, "whole number"),
            ("commit_timeout_ms", "-1", "whole number"),
            ("push_interval_ms", "1s", "whole number"),
            ("max_stale_ms", "", "whole number"),
            ("close_wait_ms", " 1", "whole number"),
            ("cache_limit", 2 ** 64 - 1, "whole number"),
            ("bases_limit", 2 ** 63, "whole number"),
            ("hydrate_max", 2 ** 70, "whole number"),
            ("hydrate", "never", "auto"), ("replica", "some", "none"),
            ("locking", "never", "rollback"), ("functions", "some", "off"),
            ("allow", "push", "pull"), ("sync", "often", "manual"),
            ("remot", "x", "remote"), ("REMOTE_", "x", "remote"),
            ("fetch_timeout_mss", 1, "fetch_timeout_ms")):
        fails(words, open_db, "a.db", **{key: bad})
    fails("without", open_db, "a.db", hydrate="auto", replica="none")
    fails("without", open_db, "a.db", hydrate="auto", at=1)
    for other in ("x", "mx", "x" * 40, "max", "vfsname"):
        open_db("a.db", **{other: 1}).close()  # somebody else's


def test_values_of_the_environment():
    pushed().close()
    for name, bad, words in (
            ("RAMET_LOCKING", "never", "must be snapshot or rollback"),
            ("RAMET_REMOTE", "nonsense", "remote 'nonsense': no URL")):
        os.environ[name] = bad
        try:
            fails(words, open_db, "a.db")
        finally:
            del os.environ[name]
    for name, good in (("RAMET_LOCKING", "rollback"), ("RAMET_LOCKING", "snapshot"),
                       ("RAMET_FUNCTIONS", "on"), ("RAMET_PROFILE", "")):
        os.environ[name] = good
        try:
            db = open_db("a.db", sync="manual")
            assert one(db, "SELECT ramet_lsn()") == 3
            db.close()
        finally:
            del os.environ[name]


def test_links_are_forgotten_when_they_are_put_right():
    """By a link beside which a replica lies nothing is opened, until it is gone."""
    os.mkdir("real")
    os.mkdir("other")
    pushed("other/a.db").close()
    open_native("real/a.db").execute("CREATE TABLE r(n)")
    os.rename("other/a.db", "other/kept")
    os.symlink("../real/a.db", "other/a.db")
    for _ in range(2):
        error = fails("beside the link", open_db, "other/a.db", sync="manual")
        assert code_of(error) == "SQLITE_CANTOPEN", code_of(error)
    os.remove("other/a.db")
    os.rename("other/kept", "other/a.db")
    assert one(open_db("other/a.db", sync="manual"), "SELECT count(*) FROM t") == 2


if __name__ == "__main__":
    main()
