"""A process that has connections open and does with them what it is told.

It is forked off by a driver that has nothing to do with SQLite itself, gets
requests over a socket, one at a time, and answers each with an outcome:

    (status, payload, state, autocommit)

`status` is "ok" with a list of rows (or another plain value), or "error" with
SQLite's name for the code and its message. `state` is sqlite3_txn_state() of
the whole connection (0 none, 1 read, 2 write). Connections are opened when
they are first used, so that any part of a schedule makes sense by itself.
"""
import concurrent.futures
import ctypes
import hashlib
import marshal
import os
import socket
import sqlite3
import struct
import urllib.parse

_C = ctypes.CDLL("libsqlite3.so.0")
_C.sqlite3_backup_init.restype = ctypes.c_void_p
_C.sqlite3_backup_init.argtypes = (ctypes.c_void_p, ctypes.c_char_p,
                                   ctypes.c_void_p, ctypes.c_char_p)
_C.sqlite3_backup_step.argtypes = (ctypes.c_void_p, ctypes.c_int)
_C.sqlite3_backup_finish.argtypes = (ctypes.c_void_p,)
_C.sqlite3_txn_state.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_C.sqlite3_db_cacheflush.argtypes = (ctypes.c_void_p,)
_C.sqlite3_db_release_memory.argtypes = (ctypes.c_void_p,)


PR_SET_PDEATHSIG = 1
HEADER = ("user_version", "application_id", "page_count", "freelist_count",
          "auto_vacuum", "page_size")  # and not schema_version: pulls move it


def handle(db):
    """The sqlite3 * behind CPython's object: the first word after its head."""
    return ctypes.c_void_p.from_address(id(db) + object.__basicsize__).value


# ---- messages ---------------------------------------------------------------

def send(channel, message):
    data = marshal.dumps(message)
    channel.sendall(struct.pack("<I", len(data)) + data)


def receive(channel):
    """The next message, or None at the end."""
    head = _exactly(channel, 4)
    if head is None:
        return None
    data = _exactly(channel, struct.unpack("<I", head)[0])
    return None if data is None else marshal.loads(data)


def _exactly(channel, size):
    parts = []
    while size > 0:
        try:
            part = channel.recv(size)
        except ConnectionResetError:
            return None
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# ---- opening ----------------------------------------------------------------

def load_extension(path):
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(path)
    return loader


def uri_of(path, parameters):
    return "file:%s?%s" % (urllib.parse.quote(path),
                           urllib.parse.urlencode(parameters))


class Connection:
    """What a connection number stands for while it is open."""

    def __init__(self, spec):
        self.db = sqlite3.connect(
            uri_of(spec["path"], spec["uri"]), uri=True, isolation_level=None,
            timeout=spec.get("timeout", 0.0), check_same_thread=False)
        self.cursors = {}
        self.blobs = {}
        self.backup = None
        try:
            for sql in spec["pragmas"]:
                self.db.execute(sql).fetchall()
            if "attach" in spec:
                self.db.execute("ATTACH ? AS x", (
                    uri_of(spec["attach"], spec["uri_attached"]),)).fetchall()
                for sql in spec["pragmas"]:
                    self.db.execute(sql.replace("PRAGMA ", "PRAGMA x.")) \
                        .fetchall()
        except sqlite3.Error:
            self.db.close()
            raise

    def state(self):
        return _C.sqlite3_txn_state(handle(self.db), None)

    # Each do_... is one kind of request.

    def do_sql(self, sql, args=()):
        return self.db.execute(sql, args).fetchall()

    def do_many(self, sql, rows):
        self.db.executemany(sql, rows)

    def do_start(self, slot, sql, args=()):
        """A statement that stays in the midst of its rows."""
        self.cursors.pop(slot, None)
        cursor = self.db.execute(sql, args)
        self.cursors[slot] = cursor
        return cursor.fetchone()

    def do_next(self, slot):
        cursor = self.cursors.get(slot)
        return None if cursor is None else cursor.fetchone()

    def do_stop(self, slot):
        cursor = self.cursors.pop(slot, None)
        if cursor is not None:
            cursor.close()

    def do_blob_open(self, slot, table, column, row, readonly):
        self.do_blob_close(slot)
        self.blobs[slot] = self.db.blobopen(table, column, row,
                                            readonly=readonly)
        return len(self.blobs[slot])

    def do_blob_read(self, slot, size):
        blob = self.blobs.get(slot)
        if blob is None:
            return None
        blob.seek(0)
        return hashlib.md5(blob.read(size)).hexdigest()

    def do_blob_write(self, slot, offset, data):
        blob = self.blobs.get(slot)
        if blob is None or offset + len(data) > len(blob):
            return None
        blob.seek(offset)
        blob.write(data.encode())
        return len(data)

    def do_blob_close(self, slot):
        blob = self.blobs.pop(slot, None)
        if blob is not None:
            blob.close()

    def do_backup_begin(self):
        """A copy of this database into memory, which may take many steps."""
        self.do_backup_end()
        copy = sqlite3.connect(":memory:", isolation_level=None,
                               check_same_thread=False)
        self.backup = (copy, _C.sqlite3_backup_init(
            handle(copy), b"main", handle(self.db), b"main"))

    def do_backup_step(self, pages):
        if self.backup is None:
            return None
        return _C.sqlite3_backup_step(self.backup[1], pages)

    def do_backup_end(self):
        if self.backup is None:
            return None
        copy, backup = self.backup
        self.backup = None
        code = _C.sqlite3_backup_finish(backup)
        found = look(copy) if code == 0 else None
        copy.close()
        return (code, found)

    def do_backup_in(self, statements, pages):
        """Another database comes over this one, some pages at a time."""
        source = sqlite3.connect(":memory:", isolation_level=None)
        for sql in statements:
            source.execute(sql)
        backup = _C.sqlite3_backup_init(handle(self.db), b"main",
                                        handle(source), b"main")
        if backup is None:
            source.close()
            return "not begun"
        code = 0
        while code == 0:
            code = _C.sqlite3_backup_step(backup, pages)
        finished = _C.sqlite3_backup_finish(backup)
        source.close()
        return (code, finished)

    def do_cacheflush(self):
        return _C.sqlite3_db_cacheflush(handle(self.db))

    def do_release_memory(self):
        return _C.sqlite3_db_release_memory(handle(self.db))

    def do_look(self):
        return look(self.db)

    def do_look_schema(self, schema):
        return look(self.db, only=schema)

    def do_release(self):
        """End whatever is open in between statements."""
        for slot in list(self.blobs):
            try:
                self.do_blob_close(slot)
            except sqlite3.Error:
                pass  # what it wrote failed; it is closed
        for slot in list(self.cursors):
            self.do_stop(slot)
        self.do_backup_end()

    def do_close(self):
        self.do_release()
        self.db.close()


def look(db, dump=None, only=None):
    """A digest of all that a connection sees, in every schema or in one.

    With a list as `dump`, what was seen is appended to it, in words.
    """
    total = hashlib.md5()

    def add(what, row):
        data = marshal.dumps(row, 0)
        total.update(data)
        if dump is not None:
            dump.append("%s: %.300s" % (what, row))

    for _, schema, _ in db.execute("PRAGMA database_list").fetchall():
        if only is not None and schema != only:
            continue
        called = "main" if only else schema  # alike, whatever its name
        master = ("sqlite_temp_master" if schema == "temp"
                  else schema + ".sqlite_master")
        things = db.execute("SELECT type, name, tbl_name, rootpage, sql FROM "
                            + master + " ORDER BY rowid").fetchall()
        for pragma in HEADER if schema != "temp" else ():
            add(called + "." + pragma, db.execute(
                "PRAGMA %s.%s" % (schema, pragma)).fetchone())
        for kind, name, table, root, sql in things:
            add(called, (kind, name, table, root, sql))
            if kind == "table" and root:
                for row in db.execute('SELECT * FROM %s."%s"'
                                      % (schema, name)):
                    add(called + "." + name, row)
    return total.hexdigest()


# ---- the process ------------------------------------------------------------

class Worker:
    def __init__(self, specs, extension):
        self.specs = specs
        self.connections = {}
        self.threads = {}
        self.loader = load_extension(extension) if extension else None
        preloaded = ctypes.CDLL(None)
        self.arm = getattr(preloaded, "killpoint_arm", None)

    def connection(self, number):
        if number not in self.connections:
            self.connections[number] = Connection(self.specs[number])
        return self.connections[number]

    def perform(self, number, kind, args):
        connection = None
        try:
            connection = self.connection(number)
            payload = getattr(connection, "do_" + kind)(*args)
            if kind == "close":
                del self.connections[number]
                return ("ok", None, 0, True)
            status = "ok"
        except sqlite3.Error as error:
            status = "error"
            payload = (getattr(error, "sqlite_errorname", type(error).__name__),
                       str(error))
        if connection is None:
            return (status, payload, 0, True)
        return (status, payload, connection.state(),
                not connection.db.in_transaction)

    def answer(self, number, kind, args):
        if kind == "arm":  # to be killed at the n-th change of a file
            self.arm(args[0])
            return ("ok", None, 0, True)
        if number < 0:
            return self.clerk(kind, args)
        thread = self.specs[number].get("thread", 0)
        if thread == 0:
            return self.perform(number, kind, args)
        if thread not in self.threads:
            self.threads[thread] = concurrent.futures.ThreadPoolExecutor(1)
        return self.threads[thread].submit(self.perform, number, kind,
                                           args).result()

    def clerk(self, kind, args):
        """What needs no connection: native files, copied and looked at."""
        try:
            return ("ok", getattr(self, "clerk_" + kind)(*args), 0, True)
        except sqlite3.Error as error:
            return ("error", (getattr(error, "sqlite_errorname", "error"),
                              str(error)), 0, True)

    def clerk_copy(self, source, target, is_wal=False):
        """Make `target` what `source` is, as one commit there."""
        one = sqlite3.connect(source)
        other = sqlite3.connect(target, timeout=0.0, isolation_level=None)
        other.execute("PRAGMA synchronous=OFF")
        def step(status, *_):
            if status in (5, 6):  # else it is tried for ever
                raise sqlite3.OperationalError("somebody writes to the twin")

        try:
            one.backup(other, progress=step)
            if is_wal:
                other.execute("PRAGMA journal_mode=WAL").fetchall()
        finally:
            other.close()
            one.close()

    def clerk_digest(self, path):
        """Of a plain database. (No connection of this process stays open on
        it; closing one would take the locks of another.)"""
        db = sqlite3.connect(uri_of(path, {"mode": "ro"}), uri=True)
        try:
            return look(db)
        finally:
            db.close()

    def clerk_view(self, path, parameters):
        """What is seen through a connection that is gone afterwards."""
        db = sqlite3.connect(uri_of(path, parameters), uri=True,
                             isolation_level=None)
        try:
            return look(db)
        finally:
            db.close()

    def clerk_newest(self, path, parameters):
        """The LSN of a remote's newest commit."""
        db = sqlite3.connect(uri_of(path, parameters), uri=True,
                             isolation_level=None)
        try:
            return db.execute("SELECT ramet_lsn()").fetchone()[0]
        finally:
            db.close()

    def explain(self, number):
        dump = []
        try:
            look(self.connection(number).db, dump)
        except sqlite3.Error as error:
            dump.append("error: %s" % error)
        return dump

    def serve(self, channel):
        while True:
            request = receive(channel)
            if request is None:
                return
            number, kind, args = request
            if kind == "explain":
                send(channel, self.explain(number))
            else:
                send(channel, self.answer(number, kind, args))


class Process:
    """The driver's end of a worker."""

    def __init__(self, specs, extension, log, limit=60):
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            _become_worker(ours, theirs, specs, extension, log)
        theirs.close()
        ours.settimeout(limit)
        self.channel = ours

    def ask(self, number, kind, *args):
        """The outcome, or None if the process died at it."""
        try:
            send(self.channel, (number, kind, args))
            return receive(self.channel)
        except (BrokenPipeError, ConnectionResetError):
            return None

    def kill(self):
        """SIGKILL; the status with which it ended."""
        try:
            os.kill(self.pid, 9)
        except ProcessLookupError:
            pass
        return self.reap()

    def end(self):
        """Good-bye: what is open is left to the process's own end."""
        self.channel.shutdown(socket.SHUT_WR)
        return self.reap()

    def reap(self):
        self.channel.close()
        return os.waitpid(self.pid, 0)[1]


def _become_worker(ours, theirs, specs, extension, log):
    status = 1
    try:
        ours.close()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 9)
        os.closerange(3, theirs.fileno())  # other workers' channels
        os.closerange(theirs.fileno() + 1, 256)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(out, 2)
        os.close(out)
        Worker(specs, extension).serve(theirs)
        status = 0
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(status)
