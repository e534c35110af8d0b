"""The tests of tests/vfs/test_pull.py through a server: replicas in SQL, pulls,
pushes, resets; and the same store used through the server and past it.

usage: vfs_http.py SERVE [TEST …]
"""
import atexit
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "vfs")]
SERVE = sys.argv.pop(1)

import common  # noqa: E402
import test_pull  # noqa: E402
from served import ON_S3, Server  # noqa: E402

servers = {}


def server_url():
    """Each test has a folder, each folder a server."""
    folder = os.path.abspath(".")
    if folder not in servers:
        while servers:  # of the test before
            servers.popitem()[1].stop(9, expect=None)
        servers[folder] = Server(SERVE, data=os.path.join(folder, "store"))
    return "http://127.0.0.1:%d/app" % servers[folder].port


chosen = {}


def mixed_replica(path, **parameters):
    """One replica through the server, the next straight on the store."""
    folder = os.path.abspath(".")
    if (folder, path) not in chosen:
        through = server_url()
        chosen[folder, path] = through if len(chosen) % 2 else \
            servers[folder].store_url() + "/app"
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    parameters.setdefault("sync", "manual")
    return common.open_db(path, timeout=10, remote=chosen[folder, path],
                          **parameters)


plain_replica = test_pull.replica


def stop_servers():
    for server in servers.values():
        server.stop(9, expect=None)


atexit.register(stop_servers)


def through_server(test):
    def run():
        test_pull.remote = server_url
        test_pull.replica = plain_replica
        test()
    return run


def mixed(test):
    def run():
        test_pull.remote = server_url
        test_pull.replica = mixed_replica
        test()
    return run


def test_a_server_that_is_gone_is_an_error_and_no_more():
    """What is here is read, what is not fails in bounded time and words; when
    the server is back, all is well."""
    test_pull.remote = server_url
    test_pull.replica = plain_replica
    a = test_pull.replica("a/app.db")
    test_pull.fill(a, 3000)
    assert common.one(a, "SELECT ramet_push()") == 1
    b = test_pull.replica("b/app.db", fetch_timeout_ms="3000")
    first = common.one(b, "SELECT y FROM t WHERE id = 1")
    server = servers[os.path.abspath(".")]
    server.stop(9, expect=None)
    began = time.monotonic()
    assert common.one(b, "SELECT y FROM t WHERE id = 1") == first
    error = common.fails("disk I/O error", b.execute,
                         "SELECT sum(length(y)) FROM t")
    assert common.code_of(error) == "SQLITE_IOERR_READ", common.code_of(error)
    assert time.monotonic() - began < 20
    assert "127.0.0.1" in common.one(b, "SELECT ramet_errmsg()")
    a.execute("UPDATE t SET x = -x")  # goes on
    server.start()
    assert common.one(a, "SELECT ramet_push()") == 2
    assert test_pull.content(b) != test_pull.content(a)
    assert common.one(b, "SELECT ramet_pull()") == 2
    assert test_pull.content(b) == test_pull.content(a)


def test_opening_a_database_is_one_request():
    """By name, with nothing here: the answer brings the schema as well, and the
    roots of its trees, in few bytes; a point query is one request more."""
    test_pull.remote = server_url
    test_pull.replica = plain_replica
    a = test_pull.replica("a/app.db")
    test_pull.fill(a, 30000)
    assert common.one(a, "SELECT ramet_push()") == 1
    a.close()  # what this process knows of the volume goes with it
    server = servers[os.path.abspath(".")]

    def counts():
        text = server.request("GET", "/metrics")[2].decode()
        all = {line.split('"')[1]: int(line.rsplit(" ", 1)[1])
               for line in text.split("\n")
               if line.startswith("ramet_request_duration_seconds_count")}
        return {route: count for route, count in all.items()
                if route not in ("metrics", "events", "news")}

    def asked():
        after = counts()
        return {route: after[route] - before.get(route, 0) for route in after
                if after[route] > before.get(route, 0)}

    def settled():
        """A request is counted a moment after it was answered."""
        last, now = None, counts()
        while now != last:
            time.sleep(0.1)
            last, now = now, counts()
        return now

    def expect(wanted):
        end = time.monotonic() + 60
        while asked() != wanted and time.monotonic() < end:
            time.sleep(0.02)
        assert asked() == wanted, asked()

    size = len(server.request("GET", "/v1/volumes/app/open")[2])
    assert size <= 60 << 10, size
    before = settled()
    b = test_pull.replica("b/app.db")
    assert common.one(b, "SELECT count(*) FROM sqlite_schema") >= 1
    expect({"open": 1})
    before = settled()
    assert common.one(b, "SELECT id FROM t WHERE id = 20000") == 20000
    expect({"pages": 1})
    b.close()
    before = settled()
    c = common.open_db("c/app.db", remote=server_url(), replica="none")
    assert common.one(c, "SELECT count(*) FROM sqlite_schema") >= 1
    expect({"open": 1})


# That one takes the directory away, which a server's cache bears.
LEFT_OUT = ["test_a_page_that_cannot_be_had_is_an_error_with_words"]
if ON_S3: # and these go to the directory past everything, or put it back
    LEFT_OUT += [
        "test_sync_commit_goes_on_after_a_reset_to_a_store_that_went_back",
        "test_what_a_program_left_that_never_closed_is_pushed_by_the_next"]

for name, test in list(vars(test_pull).items()):
    if name in LEFT_OUT:
        continue
    if name.startswith("test_") and callable(test):
        globals()[name] = through_server(test)
        globals()[name + "__mixed"] = mixed(test)

if __name__ == "__main__":
    common.main()
