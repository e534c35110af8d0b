#!/usr/bin/python3
"""How long a verb waits for what others hold: as the connection says.

No clock is asked: a custom busy handler counts, and what must not end by
itself is ended by the test.
"""
import ctypes
import os
import socket
import threading

import common
from common import code_of, fails, one, open_db, python


def remote():
    return "file://%s/store/app" % os.path.abspath(".")


def prepare():
    """a.db: pushed once; the remote is one commit ahead of it."""
    a = open_db("a.db", remote=remote(), sync="manual")
    a.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")
    one(a, "SELECT ramet_push()")
    a.close()
    b = open_db("b.db", remote=remote(), sync="manual")
    b.execute("INSERT INTO t(x) VALUES('from b')")
    one(b, "SELECT ramet_push()")
    b.close()


HANDLER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class Connection:
    """A connection by C, with a busy handler of the test's own."""

    def __init__(self, path, handler, **parameters):
        common.load()
        self.lib = ctypes.CDLL("libsqlite3.so.0")
        self.db = ctypes.c_void_p()
        self.lib.sqlite3_errmsg.restype = ctypes.c_char_p
        flags = 2 | 4 | 0x40  # READWRITE, CREATE, URI
        code = self.lib.sqlite3_open_v2(
            (common.uri(path, sync="manual") +
             "".join("&%s=%s" % pair for pair in parameters.items())).encode(),
            ctypes.byref(self.db), flags, None)
        assert code == 0, self.lib.sqlite3_errmsg(self.db)
        self.handler = HANDLER(lambda _, count: handler(count))
        self.lib.sqlite3_busy_handler(self.db, self.handler, None)

    def run(self, sql):
        return self.lib.sqlite3_exec(self.db, sql.encode(), None, None, None)

    def interrupt(self):
        self.lib.sqlite3_interrupt(self.db)

    def close(self):
        assert self.lib.sqlite3_close(self.db) == 0


BUSY, INTERRUPT = 5, 9


def refused(path, sql):
    """SQLITE_BUSY, for one who is asked once and does not want to wait."""
    counts = []

    def handler(count):
        counts.append(count)
        return 0

    me = Connection(path, handler)
    code = me.run(sql)
    assert (code, counts) == (BUSY, [0]), (sql, code, counts)
    me.close()


def test_beside_a_writer__busy_for_who_does_not_wait():
    prepare()
    writer = open_db("a.db", sync="manual")
    writer.execute("BEGIN IMMEDIATE")
    for verb in ("pull", "sync"):
        refused("a.db", "SELECT ramet_%s()" % verb)
        refused("a.db", "PRAGMA ramet_%s" % verb)
    me = open_db("a.db", sync="manual", timeout=0)
    error = fails("a local transaction is open", me.execute,
                  "SELECT ramet_pull()")
    assert code_of(error) == "SQLITE_BUSY", code_of(error)
    writer.execute("ROLLBACK")
    assert one(me, "SELECT ramet_pull()") == 2


def test_beside_a_writer__push_and_reset_too():
    prepare()
    writer = open_db("a.db", sync="manual")
    writer.execute("INSERT INTO t(x) VALUES('mine')")
    me = open_db("a.db", sync="manual", timeout=0)
    writer.execute("BEGIN IMMEDIATE")
    refused("a.db", "SELECT ramet_reset()")
    writer.execute("ROLLBACK")
    assert one(me, "SELECT ramet_reset()") is not None
    writer.execute("INSERT INTO t(x) VALUES('again')")
    writer.execute("BEGIN IMMEDIATE")
    refused("a.db", "SELECT ramet_push()")
    refused("a.db", "PRAGMA ramet_push")
    writer.execute("ROLLBACK")
    assert one(me, "SELECT ramet_push()") == 3


HOLD_PUSH = """
import fcntl, struct, sys
# The pusher's lock of docs/replica.md, as another process holds it.
lock = open("a.db-ramet/lock", "r+b")
byte = int(sys.argv[1])
fcntl.fcntl(lock, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, byte, 1, 0))
print("held", flush=True)
sys.stdin.readline()
"""


def lock_byte(name):
    """From the header that defines it."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                           "../../client/store/shared/locks.h")) as header:
        for line in header:
            if line.strip().startswith(name):
                return line.split("=")[1].split(",")[0].strip()
    raise AssertionError(name)


def test_beside_another_pusher__busy_for_who_does_not_wait():
    prepare()
    me = open_db("a.db", sync="manual", timeout=0)
    me.execute("UPDATE t SET x = 1")
    one(me, "SELECT ramet_reset()")
    me.execute("INSERT INTO t(x) VALUES('mine')")
    child = python(HOLD_PUSH, lock_byte("RAMET_LOCK_PUSH"), stdin=-1,
                   stdout=-1)
    assert child.stdout.readline() == b"held\n"
    refused("a.db", "SELECT ramet_push()")
    refused("a.db", "SELECT ramet_sync()")
    child.communicate(b"\n")
    assert one(me, "SELECT ramet_push()") == 3


def test_a_busy_handler_is_asked_and_decides():
    prepare()
    writer = open_db("a.db", sync="manual")
    writer.execute("BEGIN IMMEDIATE")
    for sql in ("SELECT ramet_pull()", "PRAGMA ramet_pull"):
        counts = []

        def handler(count):
            counts.append(count)
            return count < 3

        me = Connection("a.db", handler)
        assert me.run(sql) == BUSY
        assert counts == [0, 1, 2, 3], (sql, counts)
        # Another one takes its place.
        later = []
        me.handler = HANDLER(lambda _, count: later.append(count) or 0)
        me.lib.sqlite3_busy_handler(me.db, me.handler, None)
        assert me.run(sql) == BUSY
        assert later == [0] and len(counts) == 4
        me.close()


def test_a_busy_handler_that_waits_sees_the_writer_end():
    prepare()
    writer = open_db("a.db", sync="manual")
    writer.execute("BEGIN IMMEDIATE")

    def handler(count):
        if count == 2:
            writer.execute("ROLLBACK")
        return 1

    me = Connection("a.db", handler)
    assert me.run("SELECT ramet_pull()") == 0
    me.close()
    assert one(writer, "SELECT ramet_lsn()") == 2


def test_an_interrupt_ends_a_wait():
    prepare()
    writer = open_db("a.db", sync="manual")
    writer.execute("BEGIN IMMEDIATE")
    for sql in ("SELECT ramet_pull()", "PRAGMA ramet_pull",
                "SELECT 1 UNION ALL SELECT ramet_sync()"):
        asked = threading.Event()
        me = None

        def handler(count):
            asked.set()
            if count == 0:
                me.interrupt()
            return 1  # for ever

        me = Connection("a.db", handler)
        assert me.run(sql) == INTERRUPT, sql
        assert asked.is_set()
        assert me.run("SELECT count(*) FROM t") == 0
        me.close()


def test_an_interrupt_ends_a_transfer_that_hangs():
    db = open_db("a.db", sync="manual")
    db.execute("CREATE TABLE t(a)")
    db.close()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        name = "http%%3A%%2F%%2F127.0.0.1%%3A%d%%2Fapp" % \
            server.getsockname()[1]
        for verb in ("push", "pull", "fetch"):
            me = Connection("a.db", lambda count: 0, remote=name)

            def interrupt():
                peer, _ = server.accept()
                peer.recv(1)  # the request has come; nothing ever goes back
                me.interrupt()
                held.append(peer)

            held = []
            thread = threading.Thread(target=interrupt)
            thread.start()
            code = me.run("SELECT ramet_%s()" % verb)
            thread.join()
            assert code == INTERRUPT, (verb, code)
            for peer in held:
                peer.close()
            me.close()


def test_an_interrupt_that_came_before_keeps_a_verb_from_acting():
    prepare()
    me = Connection("a.db", lambda count: 0)
    # The flag stands while the statement that asks is at work: the verb comes
    # second there.
    raise_it = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int,
                                ctypes.c_void_p)(lambda *_: me.interrupt())
    me.lib.sqlite3_create_function(me.db, b"raise_it", 0, 1, None, raise_it,
                                   None, None)
    assert me.run("SELECT raise_it(), ramet_pull()") == INTERRUPT
    db = open_db("a.db", sync="manual")
    assert one(db, "SELECT ramet_lsn()") == 1
    assert me.run("SELECT ramet_pull()") == 0
    me.close()


if __name__ == "__main__":
    common.main()
