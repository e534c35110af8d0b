#!/usr/bin/python3
"""Several servers over one store, and clients straight at it: any of them takes
any request, what is committed at one becomes known at the others, and history
stays one line, whoever is killed."""
import json
import os
import random
import signal
import subprocess
import threading
import time
import urllib.request

import support
import seeds
from proxy import Proxy

WAIT_S = 90  # for what must come, on however busy a machine

# Adds one to a counter, at the remote before it returns, until it has done so
# TIMES times: whoever was overtaken looks again.
COUNTER = """
done = 0
while done < %d:
    try:
        db.execute('SELECT ramet_pull()').fetchone()
        db.execute('BEGIN IMMEDIATE')
        db.execute('UPDATE counter SET n = n + 1')
        db.execute('COMMIT')
        done += 1
    except sqlite3.Error as error:
        name = getattr(error, 'sqlite_errorname', '')
        if db.in_transaction:
            db.execute('ROLLBACK')
        if not name.startswith('SQLITE_BUSY'):
            raise
"""


# Adds rows (WHO, N), at the remote before it returns, until TIMES were
# acknowledged. What it tries, and what was acknowledged, it notes in files that
# outlive it.
ADDER = """
import time
who, times = %r, %d

def noted(what):
    try:
        return open("%%s.%%s" %% (who, what)).read().split()
    except FileNotFoundError:
        return []

def note(what, n):
    with open("%%s.%%s" %% (who, what), "a") as file:
        file.write("%%d\\n" %% n)

while len(noted("acked")) < times:
    n = len(noted("tried"))
    try:
        db.execute("SELECT ramet_pull()").fetchone()
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO line VALUES(?,?)", (who, n))
        note("tried", n)
        db.execute("COMMIT")
        note("acked", n)
    except sqlite3.Error as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if "malformed" in str(error):
            raise
        time.sleep(0.02)
"""


@support.unittest.skipIf(support.KIND == "http", "brings its own servers")
class Servers(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=50)
        self.servers = []
        for n in range(2):
            self.servers.append(support.Server(
                self.store_url() if self.bucket else self.store,
                log=self.path("server-%d.log" % n)))
            self.addCleanup(self.servers[n].stop)

    def at(self, number, name="app"):
        """The volume's URL at one of the servers."""
        return self.servers[number].url() + "/" + name

    def insert(self, path, text):
        self.sql(path, "db.execute(\"INSERT INTO t(v) VALUES('%s')\")" % text)

    def assert_line(self, lsn):
        self.assertEqual(self.json("info", self.url())["lsn"], lsn)
        self.assertEqual(self.json("verify", self.url())["damaged"], 0)

    def test_any_server__takes_any_request(self):
        self.ramet("init", self.a, "--remote", self.at(0))
        self.ramet("clone", self.at(1), "b.db")
        self.ramet("clone", self.url(), "c.db")
        for n, path in enumerate(("b.db", "c.db", self.a, "b.db", self.a)):
            path = self.path(path)
            self.ramet("pull", path)
            self.insert(path, "round %d" % n)
            self.ramet("push", path)
        self.assert_line(6)
        for path in (self.a, "b.db", "c.db"):
            self.ramet("pull", path)
            self.assertEqual(self.json("hydrate", path)["durable_lsn"], 6)
        self.assert_same_file(self.path("b.db"), self.path("c.db"))

    def test_server_that_is_killed__takes_nothing_with_it(self):
        self.ramet("init", self.a, "--remote", self.at(0))
        self.ramet("clone", self.at(1), "b.db")
        self.insert(self.a, "before")
        self.ramet("push", self.a)
        self.servers[0].stop(signal.SIGKILL)
        self.ramet("pull", "b.db")
        self.insert(self.path("b.db"), "after")
        self.ramet("push", "b.db")
        self.refused(support.UNREACHABLE, "pull", self.a)
        self.servers[0].start()
        self.ramet("pull", self.a)
        self.assert_line(3)

    def test_second_of_two_pushes__is_told(self):
        self.ramet("init", self.a, "--remote", self.at(0))
        self.ramet("clone", self.at(1), "b.db")
        self.ramet("clone", self.url(), "c.db")
        for path in (self.a, "b.db", "c.db"):
            self.insert(self.path(path), path[-4])
        self.ramet("push", "b.db")
        self.refused(support.CONFLICT, "push", self.a)
        self.refused(support.CONFLICT, "push", "c.db")
        self.assert_line(2)

    def test_commit_elsewhere__is_told_to_who_listens(self):
        self.ramet("init", self.a, "--remote", self.at(0))
        self.ramet("clone", self.url(), "c.db")
        volume = self.json("info", self.url())["volume"]
        stream = urllib.request.urlopen(
            "%s/v1/volumes/%s/events?after=1" % (self.servers[1].url(),
                                                 volume), timeout=WAIT_S)
        self.addCleanup(stream.close)
        told = []
        for lsn, path in ((2, self.a), (3, "c.db")):
            path = self.path(path)
            self.ramet("pull", path)
            self.insert(path, "more")
            self.ramet("push", path)
            while not told or told[-1] < lsn:
                line = stream.readline()
                self.assertTrue(line, "the stream ended")
                if line.startswith(b"data: "):
                    told.append(json.loads(line[6:])["lsn"])
        self.assertEqual(told, [2, 3])

    def test_commits_of_all__are_counted_once_each(self):
        """sync=commit at two servers and straight at the store, all at once."""
        self.sql(self.a, "db.execute('CREATE TABLE counter(n)')\n"
                         "db.execute('INSERT INTO counter VALUES(0)')",
                 vfs="unix")
        self.ramet("init", self.a, "--remote", self.at(0))
        places, times, children = (self.at(0), self.at(1), self.url()), 6, []
        for n, url in enumerate(places):
            path = self.path("%d.db" % n)
            self.ramet("clone", url, path)
            uri = "file:%s?vfs=ramet&sync=commit&timeout=20" % path
            children.append(subprocess.Popen(
                ["/usr/bin/python3", "-c", support.SQL_CHILD,
                 support.EXTENSION, uri, COUNTER % times], cwd=self.dir,
                stderr=subprocess.PIPE, text=True))
        for child in children:
            error = child.communicate(timeout=WAIT_S)[1]
            self.assertEqual(child.returncode, 0, error)
        self.ramet("clone", self.url(), "end.db", "--hydrate")
        count = self.sql(self.path("end.db"),
                         "print(db.execute('SELECT n FROM counter')"
                         ".fetchone()[0])")
        self.assertEqual(int(count), len(places) * times)
        self.assertEqual(self.json("verify", self.url())["damaged"], 0)

    def add_rows(self, who, path, times, seed):
        """In a process that is killed now and then, and goes on."""
        uri = "file:%s?vfs=ramet&sync=commit&timeout=20" % path
        generator = random.Random(seed)
        kills = 3
        while True:
            child = subprocess.Popen(
                ["/usr/bin/python3", "-c", support.SQL_CHILD,
                 support.EXTENSION, uri, ADDER % (who, times)], cwd=self.dir,
                stderr=subprocess.PIPE, text=True)
            try:
                if kills > 0:
                    child.communicate(timeout=generator.uniform(0.1, 1.5))
                else:
                    child.communicate(timeout=WAIT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()
                kills -= 1
                continue
            if child.returncode == 0:
                return
            raise AssertionError("%s: %d" % (who, child.returncode))

    def test_clients_and_servers_that_are_killed__leave_one_line(self):
        """Three servers behind proxies that swallow answers, a client at each,
        and two straight at the store: what was acknowledged is there, once, and
        nothing that nobody tried."""
        seed = seeds.seed("RAMET_TEST_SEED")
        times = int(os.environ.get("RAMET_TEST_COMMITS", "5"))
        self.servers.append(support.Server(
            self.store_url() if self.bucket else self.store,
            log=self.path("server-2.log")))
        self.addCleanup(self.servers[2].stop)
        generator = random.Random(seed)

        def swallow(method, path, forward):
            reply = forward()
            return None if method == "PUT" and generator.random() < 0.15 \
                else reply

        proxies = [Proxy(server.port, swallow) for server in self.servers]
        for proxy in proxies:
            self.addCleanup(proxy.close)
        self.sql(self.a, "db.execute('CREATE TABLE line(who, n)')",
                 vfs="unix")
        self.ramet("init", self.a, "--remote", self.url())
        failures, threads = [], []

        def run(*words):
            try:
                self.add_rows(*words)
            except AssertionError as failure:
                failures.append(failure)

        places = [proxy.url("app") for proxy in proxies] + [self.url()] * 2
        for n, url in enumerate(places):
            self.ramet("clone", url, "%d.db" % n)
            threads.append(threading.Thread(target=run, args=(
                "client-%d" % n, self.path("%d.db" % n), times, seed + n)))
        for thread in threads:
            thread.start()
        for _ in range(4):
            server = generator.choice(self.servers)
            time.sleep(generator.uniform(0.1, 0.8))
            server.stop(signal.SIGKILL)
            server.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.check_line(["client-%d" % n for n in range(len(places))], seed)

    def check_line(self, clients, seed):
        self.ramet("clone", self.url(), "end.db", "--hydrate")
        rows = json.loads(self.sql(self.path("end.db"), (
            "import json\nprint(json.dumps(db.execute("
            "'SELECT who, n FROM line').fetchall()))")))
        for who in clients:
            there = [n for name, n in rows if name == who]
            acked, tried = (
                {int(n) for n in self.read(
                    self.path(who + "." + what)).split()}
                for what in ("acked", "tried"))
            self.assertEqual(len(there), len(set(there)), (who, seed))
            self.assertLessEqual(acked, set(there), (who, seed))
            self.assertLessEqual(set(there), tried, (who, seed))
        self.assertEqual(self.json("verify", self.url())["damaged"], 0)


if __name__ == "__main__":
    support.main()
