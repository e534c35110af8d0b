#!/usr/bin/python3
"""What questions cost that are asked of a server with nothing here: requests and
pages, as this process counts them, never seconds. Databases are those of
tests/prefetch; each answer is compared with SQLite's own.

usage: cold.py SERVE DATABASES [TEST …]
"""
import os
import socket
import sqlite3
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "vfs"),
                os.path.join(HERE, "..", "..", "bench")]
SERVE = sys.argv.pop(1)
DATABASES = sys.argv.pop(1)

import hollow  # noqa: E402
sys.path.pop(2)  # bench/ has a common.py of its own
import common  # noqa: E402
from common import one  # noqa: E402
from served import Server  # noqa: E402

# Question, pages that it needs at least, requests at most, and pages that may come
# for each that is read. Without prefetch it is a request a page. Windows are bounded
# by what was read, whatever a busy machine makes the link seem to hold.
PEOPLE = (
    ("SELECT sum(length(bio)) FROM people", 2700, 100, 1.01),
    ("SELECT count(*) FROM people", 300, 50, 1.01),
    ("SELECT sum(length(bio)) FROM (SELECT bio FROM people WHERE city = "
     "'city07' AND created > 100000 ORDER BY created LIMIT 1000)",
     800, 90, 1.4),
    ("SELECT sum(length(bio)) FROM (SELECT bio FROM people ORDER BY name DESC "
     "LIMIT 500)", 400, 80, 1.6),
)
KEYED = (
    ("SELECT sum(length(v)) FROM kv", 2400, 100, 1.01),
    ("SELECT sum(length(v)) FROM kv WHERE kind = 77", 150, 100, 1.4),
)
DOCUMENTS = (
    ("SELECT sum(length(body)) FROM docs", 2600, 250, 1.01),
    ("SELECT sum(length(body)) FROM torn", 3200, 300, 1.01),
)


def make(name):
    """The database `name`, native, and as a volume on a server."""
    common.load()
    os.makedirs("store", exist_ok=True)
    native = sqlite3.connect(name + ".db", isolation_level=None)
    with open(os.path.join(DATABASES, name + ".sql"), encoding="utf-8") as file:
        native.executescript(file.read())
    writer = common.open_db(name + "-a.db", sync="manual",
                            remote="file://%s/%s" % (os.path.abspath("store"),
                                                     name))
    native.backup(writer)
    one(writer, "SELECT ramet_push()")
    writer.close()
    return native, Server(SERVE, data=os.path.abspath("store"))


def status(db):
    row = db.execute("SELECT requests, prefetched_pages, prefetch_used, "
                     "prefetch_vain FROM ramet_status").fetchone()
    return dict(zip(("requests", "asked", "used", "vain"), row))


def ask(native, server, name, number, question, how):
    """One question, with nothing here: the connection before it is closed, and
    with it went what it knew."""
    sql, needed, requests_max, brought = question
    parameters = {"replica": "none"} if how == "view" else {"sync": "manual"}
    db = common.open_db("%s-%s-%d.db" % (name, how, number), timeout=20,
                        remote="http://127.0.0.1:%d/%s" % (server.port, name),
                        **parameters)
    before = status(db)
    answer = one(db, sql)
    after = status(db)
    db.close()
    cost = {key: after[key] - before[key] for key in after}
    print("  %s: %s: %s" % (how, sql[:50], cost))
    assert answer == one(native, sql)
    assert cost["used"] >= needed * .8, cost
    assert cost["requests"] <= requests_max, cost
    assert cost["asked"] <= brought * cost["used"], cost
    assert cost["vain"] <= cost["asked"] - cost["used"], cost


def check(name, questions):
    native, server = make(name)
    for how in ("replica", "view"):
        for number, question in enumerate(questions):
            ask(native, server, name, number, question, how)
    server.stop()


def test_people_cold():
    check("people", PEOPLE)


def test_a_fragmented_table_costs_no_more():
    check("fragmented", PEOPLE)


def test_keyed_table_cold():
    check("keyed", KEYED)


def test_long_documents_cold():
    check("documents", DOCUMENTS)


class Gate:
    """A relay that keeps all answers back, from the fourth request for pages on,
    until so many connections are there on which nothing was said."""
    PATIENCE_S = 60

    def __init__(self, port, silent_min):
        self.upstream, self.silent_min = port, silent_min
        self.changed = threading.Condition()
        self.asked, self.silent, self.opened = 0, 0, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                down, _ = self.listener.accept()
            except OSError:
                return
            up = socket.create_connection(("127.0.0.1", self.upstream))
            self.note(silent=1)
            threading.Thread(target=self.send, args=(down, up),
                             daemon=True).start()
            threading.Thread(target=self.answer, args=(up, down),
                             daemon=True).start()

    def note(self, asked=0, silent=0):
        with self.changed:
            self.asked += asked
            self.silent += silent
            self.opened = self.opened or self.silent >= self.silent_min
            self.changed.notify_all()

    def send(self, down, up):
        data = down.recv(1 << 16)
        self.note(silent=-1)
        while data:
            self.note(asked=data.count(b"/pages HTTP"))
            up.sendall(data)
            data = down.recv(1 << 16)
        up.close()

    def answer(self, up, down):
        try:
            while data := up.recv(1 << 16):
                with self.changed:
                    self.changed.wait_for(
                        lambda: self.opened or self.asked < 4, self.PATIENCE_S)
                down.sendall(data)
        except OSError:
            pass
        down.close()


def test_connections_are_there_before_requests_need_them():
    native, server = make("people")
    gate = Gate(server.port, 4)
    db = common.open_db("gated.db", replica="none", remote="http://127.0.0.1:"
                        "%d/people" % gate.port, fetch_timeout_ms=200000)
    point = "SELECT length(bio) FROM people WHERE id = 1717"
    assert one(db, point) == one(native, point)
    assert gate.silent <= 0, "a point needs no second connection"
    assert one(db, PEOPLE[0][0]) == one(native, PEOPLE[0][0])
    assert gate.opened, "no request found a connection that was there"
    db.close()
    gate.listener.close()
    server.stop()


def push_rows(path, name, rows, updates):
    """A volume of so many rows, and then of as many commits of one row."""
    db = common.open_db(path, sync="manual", remote="file://%s/%s" % (
        os.path.abspath("store"), name))
    db.execute("PRAGMA page_size=512")
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, v TEXT)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO t(n, v) VALUES(?, ?)",
                   ((i, "row %06d " % i + "x" * 100) for i in range(rows)))
    db.execute("COMMIT")
    one(db, "SELECT ramet_push()")
    for i in range(updates):
        db.execute("UPDATE t SET n = n + 1 WHERE id = ?", (i * 7919 % rows + 1,))
        one(db, "SELECT ramet_push()")
    db.close()


def test_roll_ups_cost_no_request():
    """The server resolves them: a page is asked for as if there were none."""
    common.load()
    os.makedirs("store", exist_ok=True)
    push_rows("flat-a.db", "flat", 16000, 0)
    push_rows("rolled-a.db", "rolled", 16000, 130)
    server = Server(SERVE, data=os.path.abspath("store"))
    cost = {}
    for name in "flat", "rolled":
        db = common.open_db(name + "-view.db", timeout=20, replica="none",
                            remote="http://127.0.0.1:%d/%s" % (server.port,
                                                               name))
        for i in range(1, 16000, 1601):
            assert one(db, "SELECT v FROM t WHERE id = %d" % i) is not None
        cost[name] = status(db)["requests"]
        db.close()
    server.stop()
    print("  requests: %s" % cost)
    assert cost["rolled"] <= cost["flat"] + 2, cost


def cost_of(server, name, tree, how):
    """Requests and bytes so far: opened, after a point, after 1,000 rows."""
    parameters = {"replica": "none"} if how == "view" else {"sync": "manual"}
    db = common.open_db("%s-%s.db" % (name, how), timeout=20,
                        remote="http://127.0.0.1:%d/%s" % (server.port, name),
                        **parameters)
    spent = []
    for sql, answer in (
            ("SELECT count(*) FROM sqlite_schema", 1),
            ("SELECT length(v) FROM t WHERE id = %d" % tree.middle,
             hollow.WIDTH),
            ("SELECT sum(length(v)) FROM t WHERE id BETWEEN %d AND %d" %
             (tree.middle, tree.middle + 999), 1000 * hollow.WIDTH)):
        assert one(db, sql) == answer
        spent.append(db.execute("SELECT requests, fetched_bytes FROM "
                                "ramet_status").fetchone())
    db.close()
    return spent


def test_cost_does_not_grow_with_the_volume():
    """A tree of 4 GB and one of 1 TB, of the same depth; of either only what is
    asked for exists."""
    common.load()
    store = os.path.abspath("store")
    trees = {"small": hollow.SMALL, "large": hollow.LARGE}
    for name, tree in trees.items():
        hollow.build(os.environ["RAMET_SPARSE"], store, name, tree)
    assert trees["large"].pages * hollow.PAGE > 10 ** 12
    server = Server(SERVE, data=store)
    for how in "view", "replica":
        cost = {name: cost_of(server, name, tree, how)
                for name, tree in trees.items()}
        print("  %s: %s" % (how, cost))
        for small, large in zip(cost["small"], cost["large"]):
            assert max(small[0], large[0]) <= 80, cost
            assert large[1] <= 1.5 * small[1] + 8192, cost
        assert cost["large"][0][0] == 1 and cost["large"][0][1] <= 60 << 10
        assert cost["large"][1][0] <= 1 + 4, cost  # a level a round trip
    server.stop()


if __name__ == "__main__":
    common.main()
