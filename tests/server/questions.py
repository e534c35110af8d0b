#!/usr/bin/python3
"""Prefetch by question: a server runs a statement and sends what it read. The
statement and the database are hostile; what is counted are outcomes and pages.

usage: questions.py SERVE ASK DATABASES [TEST …]
"""
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "vfs")]
SERVE = sys.argv.pop(1)
ASK = sys.argv.pop(1)
DATABASES = sys.argv.pop(1)

import common  # noqa: E402
from common import one  # noqa: E402
from served import Server  # noqa: E402

LOOKUP = ("SELECT sum(length(bio)) FROM (SELECT bio FROM people WHERE city = ? "
          "AND created > ? ORDER BY created LIMIT 50)")
TIME_OVER = "its time was over"
NOISE = """
    CREATE TABLE noise(id INTEGER PRIMARY KEY, b);
    INSERT INTO noise WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1
        FROM n WHERE i < 1900) SELECT i, randomblob(3900) FROM n;
"""
ENDLESS = ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
           "SELECT count(*) FROM n")


FEW = """
CREATE TABLE people(id INTEGER PRIMARY KEY, name, city, created, bio);
INSERT INTO people WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
    WHERE i < 400) SELECT i, 'name' || i, 'city' || (i % 20), i * 100,
    hex(zeroblob(400 + i)) FROM n;
"""


def many():
    with open(os.path.join(DATABASES, "people.sql"), encoding="utf-8") as file:
        return file.read()


class Volume:
    def __init__(self, script=None, damage=None, **options):
        common.load()
        os.makedirs("store", exist_ok=True)
        native = sqlite3.connect("native.db", isolation_level=None)
        native.executescript(script or FEW)
        native.close()
        if damage:
            with open("native.db", "r+b") as file:
                damage(file)
        subprocess.run([os.environ["RAMET_COMMAND"], "init", "native.db",
                        "--quiet", "--remote",
                        "file://%s/db" % os.path.abspath("store")], check=True)
        options.setdefault("prefetch_queries", "on")
        self.server = Server(SERVE, data=os.path.abspath("store"),
                             prefetch_helper=ASK, **options)
        self.url = "http://127.0.0.1:%d/db" % self.server.port

    def post(self, body):
        request = urllib.request.Request(
            "http://127.0.0.1:%d/v1/volumes/db/prefetch" % self.server.port,
            data=body if isinstance(body, bytes) else
            json.dumps(body).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                self.why = answer.headers["Ramet-Stopped-Why"]
                return (answer.status, answer.read(),
                        answer.headers["Ramet-Stopped"] is not None)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), False

    def ask(self, sql, *params):
        """Status, the number of pages read, whether it was stopped."""
        before = self.pages()
        status, body, stopped = self.post({"sql": sql, "params": params})
        if status == 200:
            assert body[:1] == b"\x04" and body[-2:-1] != b"", body[:40]
        return status, self.pages() - before, stopped

    def pages(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" %
                                    self.server.port) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("ramet_question_pages_total "):
                    return int(line.split()[1])
        raise AssertionError("no such metric")

    def end(self):
        """Nothing it started is left."""
        children = open("/proc/%d/task/%d/children" % (
            self.server.process.pid, self.server.process.pid)).read()
        self.server.stop()
        assert children == "", children


def test_pages_of_a_statement_are_sent_and_no_others():
    volume = Volume(many())
    status, pages, stopped = volume.ask(LOOKUP, "city07", 100000)
    print("  %d pages" % pages)
    assert (status, stopped) == (200, False) and 50 <= pages <= 130, pages
    status, all_of_it, stopped = volume.ask("SELECT sum(length(bio)) FROM people")
    assert (status, stopped) == (200, True) and pages < all_of_it <= 2048
    for value in (1, 1.5, "x", None, {"hex": "00ff"}):
        assert volume.ask("SELECT ?1 FROM people LIMIT 1", value)[0] == 200
    volume.end()


class Early:
    """The answer to a question whose pages are sent as they are read: taken from a
    socket, as a trailer is nothing that urllib tells."""

    def __init__(self, volume, sql, *params):
        body = json.dumps({"sql": sql, "params": params, "early": True}).encode()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", volume.server.port))
        self.socket.sendall(b"POST /v1/volumes/db/prefetch HTTP/1.1\r\nHost: x\r\n"
                            b"Connection: close\r\nContent-Length: %d\r\n\r\n" %
                            len(body) + body)
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = self.fields()

    def fields(self):
        lines = iter(self.file.readline, b"\r\n")
        return dict(line.decode().strip().split(": ", 1) for line in lines)

    def chunk(self):
        """b"" at the end."""
        data = self.file.read(int(self.file.readline(), 16))
        if data:
            self.file.readline()
        return data

    def rest(self, data=b""):
        """What each record is: "profile", or what range; and the trailer."""
        data += b"".join(iter(self.chunk, b""))
        trailer = self.fields()
        self.socket.close()
        return records(data), trailer


def records(data):
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    found = []
    while True:
        kind = data[at]
        at += 1
        if kind == 0:
            assert number() == sum(isinstance(r, tuple) for r in found)
            assert at == len(data)
            return found
        assert kind in (1, 4), kind
        if kind == 4:
            size = number()
            at += size
            found.append("profile")
            continue
        what = data[at]
        at += 1 + (16 if what & 32 else 0)
        of = number() if what & 15 else 0
        named = data[at:at + (0 if what & 15 == 1 else 16)]
        at += len(named)
        place, size = number(), number()
        found.append((what & 15, of, named, place, size))
        at += size


def whole(volume, sql, *params):
    """The same at once."""
    for _ in range(3):
        status, body, stopped = volume.post({"sql": sql, "params": params})
        assert status == 200
        if not stopped:
            break
    return records(body)


def test_pages_are_sent_while_the_statement_runs_and_each_once():
    volume = Volume(many())
    for sql, params in ((LOOKUP, ("city07", 100000)),
                        ("SELECT count(*) FROM people", ())):
        before = volume.pages()
        found, trailer = Early(volume, sql, *params).rest()
        pages = volume.pages() - before
        pieces = found.count("profile")
        assert 1 < pieces <= -(-pages // 32), (pages, pieces)
        assert found[0] == "profile" and trailer == {}, trailer
        ranges = [r for r in found if r != "profile"]
        assert len(set(ranges)) == len(ranges)
        expected = whole(volume, sql, *params)
        assert expected.count("profile") == 1
        assert set(ranges) == set(expected) - {"profile"}
    volume.end()


def test_what_stopped_a_statement_that_is_under_way_is_in_a_trailer():
    """So is what fails once it runs: who runs it will see."""
    volume = Volume(many())
    for sql, why in (("SELECT sum(length(bio)), (%s) FROM people WHERE id < 3600" %
                      ENDLESS, ""),
                     ("SELECT sum(length(bio)) FROM people", "as many pages"),
                     ("SELECT sum(CASE WHEN id > 3000 THEN abs(-9223372036854775808)"
                      " ELSE length(bio) END) FROM people", "overflow")):
        answer = Early(volume, sql)
        assert (answer.status, answer.headers.get("Ramet-Stopped")) == (200, None)
        found, trailer = answer.rest()
        assert found.count("profile") > 1 and found[0] == "profile"
        told = trailer["Ramet-Stopped-Why"]
        assert why in told or told == TIME_OVER, told
    # What ends before anything was sent is answered as ever.
    answer = Early(volume, ENDLESS)
    assert (answer.status, answer.headers["Ramet-Stopped"]) == (200, "1")
    assert Early(volume, "DELETE FROM people").status == 400
    assert volume.ask("SELECT count(*) FROM people")[0] == 200
    volume.end()


def take_slowly(volume, sql):
    """What came, and why not all; no more is read than sockets hold."""
    before = volume.pages()
    answer = Early(volume, sql)
    first = answer.chunk()
    time.sleep(5.5)  # longer than any statement may take
    assert 32 <= volume.pages() - before < 1900
    found, trailer = answer.rest(first)
    assert trailer or volume.pages() - before > 1900
    return set(found), trailer.get("Ramet-Stopped-Why")


def test_who_takes_the_answer_slowly_gets_all_of_it():
    """The statement's time is what it runs for, and not what we take. A machine that
    is busy may take it away: then once more."""
    volume = Volume(NOISE)
    sql = "SELECT sum(length(b)) FROM noise"
    expected = whole(volume, sql)
    for _ in range(3):
        found, why = take_slowly(volume, sql)
        if why != TIME_OVER:
            break
    assert why is None, why
    assert found == set(expected)
    volume.end()


def test_who_takes_answers_slowly_leaves_places_to_others():
    volume = Volume(NOISE, workers=8)
    slow = [Early(volume, "SELECT sum(length(b)) FROM noise") for _ in range(6)]
    assert [answer.status for answer in slow] == [200] * 6
    assert volume.ask("SELECT count(*) FROM noise WHERE id < 10")[0] == 200
    for answer in slow:
        assert "profile" in answer.rest()[0]
    volume.end()


def test_questions_are_off_unless_they_are_on():
    volume = Volume(prefetch_queries="off")
    status, _, _ = volume.post({"sql": "SELECT 1"})
    assert status == 404, status
    volume.end()


def test_a_question_that_is_none_is_refused():
    volume = Volume()
    for body in (b"", b"[]", b"{}", b'{"sql":1}', b'{"sql":"SELECT 1",'
                 b'"params":[[1]]}', b'{"sql":"SELECT 1","params":[{"hex":"g0"'
                 b"}]}", json.dumps({"sql": "SELECT 1 " * 10000}).encode(),
                 json.dumps({"sql": "SELECT 1",
                             "params": [1] * 101}).encode()):
        status, _, _ = volume.post(body)
        assert status in (400, 413), (status, body[:40])
    volume.end()


def test_what_does_more_than_read_is_refused():
    volume = Volume()
    for sql in ("DELETE FROM people", "UPDATE sqlite_master SET sql = ''",
                "INSERT INTO people(name) VALUES(1)",
                "CREATE TABLE x(a)", "CREATE TEMP TABLE x(a)",
                "ATTACH 'other.db' AS o", "VACUUM INTO 'copy.db'", "BEGIN",
                "PRAGMA writable_schema = 1", "PRAGMA journal_mode = wal",
                "SELECT load_extension('x')", "SELECT * FROM sqlite_dbpage",
                "SELECT * FROM dbstat", "SELECT readfile('/etc/passwd')",
                "SELECT 1; SELECT 2", "EXPLAIN DELETE FROM people",
                "SELECT fts3_tokenizer('simple')", "nonsense", "", "-- nothing",
                "SELECT * FROM pragma_database_list"):
        status, _, _ = volume.ask(sql)
        assert status == 400, (sql, status)
    assert volume.ask("SELECT count(*) FROM people")[0] == 200
    volume.end()


def test_what_never_ends_is_stopped_and_what_it_read_is_sent():
    volume = Volume()
    for sql in (ENDLESS, "SELECT count(*), (%s) FROM people" % ENDLESS,
                "SELECT count(*) FROM people a, people b, people c, people d"):
        status, _, stopped = volume.ask(sql)
        assert (status, stopped) == (200, True), (sql, status, stopped)
    volume.end()


def test_what_takes_all_memory_is_stopped():
    volume = Volume()
    for sql in ("SELECT length(group_concat(a.bio || b.bio)) FROM people a, "
                "people b",
                "SELECT count(*) FROM (SELECT DISTINCT a.bio || b.bio || c.id "
                "FROM people a, people b, people c)",
                "SELECT length(%sbio%s) FROM people" % ("hex(" * 16, ")" * 16)):
        status, _, stopped = volume.ask(sql)
        assert status == 400 or (status, stopped) == (200, True), (sql, status)
    assert volume.ask("SELECT count(*) FROM people")[0] == 200
    volume.end()


def test_a_server_that_is_asked_at_once_runs_few():
    volume = Volume()
    found = []
    threads = [threading.Thread(
        target=lambda: found.append(volume.post({"sql": ENDLESS})[0]))
        for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("  %s" % found)
    assert set(found) <= {200, 429} and 200 in found, found
    # A place is free again a moment after its answer went out.
    while (status := volume.ask("SELECT count(*) FROM people")[0]) == 429:
        pass
    assert status == 200, status
    volume.end()


def test_questions_leave_half_of_the_workers_to_others():
    volume = Volume(workers=2)
    found = []
    threads = [threading.Thread(
        target=lambda: found.append(volume.post({"sql": ENDLESS})[0]))
        for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {200, 429}, found
    volume.end()


def test_hostile_schemas_run_nothing():
    """Views, defaults and generated columns that call what a statement may not."""
    volume = Volume("""
        CREATE TABLE t(a, b AS (a || 'x'));
        INSERT INTO t VALUES (1), (2);
        CREATE VIEW v AS SELECT load_extension('x') FROM t;
        CREATE VIEW w AS SELECT * FROM sqlite_dbpage;
        CREATE VIEW deep AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT
            i + 1 FROM n) SELECT * FROM n;
        CREATE VIRTUAL TABLE words USING fts5(body);
        INSERT INTO words VALUES ('one two'), ('two three');
    """)
    assert volume.ask("SELECT * FROM v")[0] == 400
    assert volume.ask("SELECT * FROM w")[0] == 400
    status, _, stopped = volume.ask("SELECT * FROM deep")
    assert (status, stopped) == (200, True), (status, stopped)
    assert volume.ask("SELECT * FROM t")[0] == 200
    assert volume.ask("SELECT rowid FROM words WHERE words MATCH 'two' "
                      "ORDER BY rank")[0] == 200
    volume.end()


def test_hostile_pages_hurt_nobody():
    def damage(file):
        data = bytearray(file.read())
        for at in range(4096, len(data), 37):
            data[at] = (data[at] * 7 + at) & 0xff
        file.seek(4096)
        file.write(data[4096:])

    volume = Volume(damage=damage)
    for sql in ("SELECT sum(length(bio)) FROM people",
                "SELECT count(*) FROM people", "SELECT * FROM sqlite_schema",
                "SELECT name FROM people ORDER BY name LIMIT 10"):
        status, _, _ = volume.ask(sql)
        assert status in (200, 400), (sql, status)
    volume.end()


def requests(db):
    return one(db, "SELECT requests FROM ramet_status")


def check_prefetch(**parameters):
    """Prefetch and question: an opening, and one request."""
    volume = Volume(many())
    native = sqlite3.connect("native.db")
    expected = one(native, LOOKUP, "city07", 100000)
    db = common.open_db("cold.db", timeout=20, remote=volume.url, **parameters)
    pages = one(db, "SELECT ramet_prefetch(?, ?, ?)", LOOKUP, "city07", 100000)
    assert pages and 50 <= pages <= 130, one(db, "SELECT ramet_errmsg()")
    assert one(db, LOOKUP, "city07", 100000) == expected
    assert requests(db) == 2, requests(db)
    db.close()
    volume.end()


def test_a_replica_asks_a_question_in_two_requests():
    check_prefetch(sync="manual")


def test_a_stateless_reader_asks_a_question_in_two_requests():
    check_prefetch(replica="none")


def test_who_may_only_read_may_ask():
    volume = Volume()
    db = common.open_db("cold.db", timeout=20, remote=volume.url, sync="manual")
    db.execute("PRAGMA query_only = 1")
    assert one(db, "SELECT ramet_prefetch('SELECT count(*) FROM people')") > 3
    db.close()
    volume.end()


def test_where_no_server_runs_it_it_is_run_here_and_said():
    volume = Volume(prefetch_queries="off")
    store = "file://%s/db" % os.path.abspath("store")
    for number, (remote, why) in enumerate(((volume.url, "runs no statements"),
                                            (store, "is not a server"))):
        db = common.open_db("cold%d.db" % number, timeout=20, remote=remote,
                            sync="manual")
        assert one(db, "SELECT ramet_prefetch('SELECT sum(length(bio)) FROM "
                       "people WHERE id > ?', 100)") is None
        assert why in one(db, "SELECT ramet_errmsg()")
        before = one(db, "SELECT fetched_pages FROM ramet_status")
        assert one(db, "SELECT sum(length(bio)) FROM people WHERE id > 100")
        assert one(db, "SELECT fetched_pages FROM ramet_status") == before
        for sql in "DELETE FROM people", "nonsense":
            common.fails("not a statement that reads", one, db,
                         "SELECT ramet_prefetch(?)", sql)
        common.fails("more than one", one, db,
                     "SELECT ramet_prefetch('SELECT 1; SELECT 2')")
        common.fails("fewer parameters", one, db,
                     "SELECT ramet_prefetch('SELECT ?', 1, 2)")
        assert one(db, "SELECT count(*) FROM people") == 400
        db.close()
    volume.end()


def test_a_volume_that_is_not_there_is_not_taken_for_a_server_that_runs_nothing():
    volume = Volume()
    db = common.open_db("cold.db", timeout=20, remote=volume.url, sync="manual")
    assert one(db, "SELECT count(*) FROM people") == 400
    assert volume.server.request("DELETE", "/v1/volumes/db")[0] == 204
    assert one(db, "SELECT ramet_prefetch('SELECT count(*) FROM people')") is None
    told = one(db, "SELECT ramet_errmsg()")
    assert "was deleted" in told and "statements" not in told, told
    db.close()
    volume.end()


def test_what_does_more_than_read_is_not_run_here_either():
    """Least of all what ends the transaction that asks; a pragma acts already when
    it is prepared, and a question that asks itself would never end."""
    volume = Volume(prefetch_queries="off")
    db = common.open_db("here.db", timeout=20, remote=volume.url, sync="manual")
    db.execute("BEGIN")
    db.execute("INSERT INTO people(name) VALUES('mine')")
    for sql in ("ROLLBACK", "COMMIT", "SAVEPOINT s", "/* */ -- \n rollback",
                "ATTACH 'other.db' AS other", "PRAGMA query_only = 1",
                "WITH n AS (SELECT 1) DELETE FROM people", "", "SELECTED"):
        common.fails("not a statement that reads", one, db,
                     "SELECT ramet_prefetch(?)", sql)
        assert db.in_transaction, sql
    for sql in ("select 1", " -- a\n/* b */ Select(1)", "VALUES(1)",
                "WITH n AS (SELECT 1) SELECT * FROM n"):
        assert one(db, "SELECT ramet_prefetch(?)", sql) is None, sql
    db.execute("INSERT INTO people(name) VALUES('mine')")
    assert one(db, "SELECT count(*) FROM people WHERE name = 'mine'") == 2
    db.execute("COMMIT")
    common.fails("can't ask another", one, db, "SELECT ramet_prefetch(?1, ?1)",
                 "SELECT ramet_prefetch(?1, ?1)")
    common.fails("only reads", one, db,
                 "SELECT ramet_prefetch('SELECT ramet_push()')")
    assert one(db, "SELECT local_commits FROM ramet_status") == 1
    assert one(db, "SELECT ramet_push()") == 2  # afterwards it may
    db.close()
    volume.end()


def test_what_json_cannot_say_is_asked_here():
    volume = Volume()
    db = common.open_db("cold.db", timeout=20, remote=volume.url, sync="manual")
    for value in ("9e999", "CAST(x'ff41' AS TEXT)"):
        assert one(db, "SELECT ramet_prefetch('SELECT ?1, count(*) FROM people'"
                       ", %s)" % value) is None
        assert "can't be sent" in one(db, "SELECT ramet_errmsg()")
    db.close()
    volume.end()


def test_a_question_of_a_schema_is_not_asked():
    """A view of a foreign database makes nobody ask anything."""
    volume = Volume(FEW + "CREATE VIEW v AS SELECT "
                          "ramet_prefetch('SELECT 1') AS x;")
    db = common.open_db("cold.db", timeout=20, remote=volume.url, sync="manual")
    common.fails("unsafe use", one, db, "SELECT x FROM v")
    common.fails("the statement: not authorized", one, db,
                 "SELECT ramet_prefetch('DELETE FROM people')")
    db.close()
    volume.end()


def test_a_server_whose_helper_cannot_be_run_does_not_start():
    os.makedirs("store", exist_ok=True)
    for helper in "/nonexistent", "/etc/passwd":
        done = subprocess.run(
            [SERVE, "--listen", "127.0.0.1:0", "--data",
             os.path.abspath("store"), "--prefetch-queries", "on",
             "--prefetch-helper", helper],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
        assert done.returncode == 1 and done.stdout == b"", done
        assert b"is not a program that may be run" in done.stderr, done


def run_alone(begin, sql=b"", params=b"", **options):
    """The process by itself: what it says to who is no server."""
    return subprocess.run([ASK], input=begin + sql + params,
                          stdout=subprocess.PIPE, timeout=60, env={}, **options)


def test_the_process_takes_no_nonsense():
    for words in ((0, 4096, 1, 1, 0, 0), (0x4b534152, 1, 1, 1, 0, 0),
                  (0x4b534152, 4096, 1, 1 << 31, 0, 0),
                  (0x4b534152, 4096, 1, 1, 1, 1 << 31)):
        begin = b"".join(word.to_bytes(4, "little") for word in words)
        done = run_alone(begin, b"x")
        assert done.returncode == 1 and done.stdout == b"", done
    # A parameter that is cut off; and a server that is gone.
    begin = b"".join(word.to_bytes(4, "little") for word in
                     (0x4b534152, 4096, 1, 8, 1, 3))
    done = run_alone(begin, b"SELECT ?", b"\x01\x08\x00")
    assert done.returncode == 0, done


def test_a_helper_that_lies_is_no_harm():
    """Another program in its place: pages beyond the end, endless asks, silence. Why
    nothing came of it is told."""
    hear = "exec cat > /dev/null"  # and not be the one that hangs up
    for text, why in (
            ("printf '\\377\\377\\377\\377'\n" + hear, "the database does not have"),
            ("yes", "the database does not have"), ("exit 3", "with status 3"),
            ("kill -SEGV $$", "by signal 11"),
            ("printf '\\0\\0\\0\\0\\7\\0\\0\\0\\377\\377\\377\\377'\n" + hear,
             "was killed"),
            ("printf '\\1\\0\\0'", "with status 0"),
            ("printf '\\0\\0\\0\\0\\1\\0\\0\\0\\3\\0\\0\\0o\\nk'\n" + hear,
             "o?k")):
        with open("liar", "w") as file:
            file.write("#!/bin/sh\n%s\n" % text)
        os.chmod("liar", 0o755)
        volume = Volume(prefetch_queries="off")
        volume.server.stop()
        liar = Server(SERVE, data=os.path.abspath("store"),
                      prefetch_queries="on",
                      prefetch_helper=os.path.abspath("liar"))
        volume.server = liar
        status, _, stopped = volume.post({"sql": "SELECT 1"})
        assert (status, stopped) == (200, True), (text, status, stopped)
        assert why in volume.why, (text, volume.why)
        db = common.open_db("cold.db", timeout=20, remote="http://127.0.0.1:%d/"
                            "db" % liar.port, sync="manual")
        assert one(db, "SELECT ramet_prefetch('SELECT 1')") is None
        told = one(db, "SELECT ramet_errmsg()")
        assert why in told, (why, told)
        assert one(db, "SELECT count(*) FROM people") == 400
        db.close()
        liar.stop()
        for name in os.listdir("."):
            subprocess.run(["rm", "-rf", name], check=True)


if __name__ == "__main__":
    common.main()
