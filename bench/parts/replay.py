"""A line of small commits that comes as fast as a server takes it: part of
bench/fresh.

The commits are made and pushed first, to one server. Another one, on a copy of the
store from before them, is sent their objects one after the other, at a rate or as
fast as it takes them, and tells a replica of them that holds all pages and follows.
So neither a writer's work nor a reader's questions are in what the follower takes.
"""
import glob
import http.client
import json
import os
import shutil
import signal
import subprocess
import time

import common

PROXY = os.path.join(common.BUILD, "tests", "delayproxy")


class Counted:
    """What comes to who goes to `url` instead of a port is counted."""

    def __init__(self, work, port):
        self.stats = os.path.join(work, "counted-%d" % port)
        self.process = subprocess.Popen(
            [PROXY, "0", str(port), "0", "0", self.stats],
            stdout=subprocess.PIPE, text=True)
        self.url = "http://127.0.0.1:%s/" % (
            self.process.stdout.readline().split()[1])

    def came(self):
        if os.path.exists(self.stats):
            os.remove(self.stats)
        self.process.send_signal(signal.SIGUSR1)
        while True:
            try:
                with open(self.stats, encoding="ascii") as file:
                    return json.load(file)["down"]
            except FileNotFoundError:  # it is being written
                time.sleep(0.01)

    def close(self):
        self.process.terminate()
        self.process.communicate()


class Line:
    """`count` one-row updates of random rows, each a commit, as objects."""

    def __init__(self, work, make_server, make_writer, count):
        self.before = os.path.join(work, "store-before")
        server = make_server("line")
        writer = make_writer(server.url + "line")
        self.volume = writer.execute(
            "SELECT volume FROM ramet_status").fetchone()[0]
        shutil.copytree(server.data, self.before)
        known = set(self.objects(self.before, "commits"))
        for i in range(count):
            writer.execute("UPDATE t SET v = ? WHERE id = ?",
                           ("new %d" % i, i * 577 % 5000 + 1))
            writer.execute("SELECT ramet_push()").fetchone()
        writer.close()
        server.close()
        # The newest has the least key.
        self.commits = []
        for name in sorted(self.objects(server.data, "commits"), reverse=True):
            if name not in known:
                with open(self.path(server.data, "commits", name), "rb") as file:
                    self.commits.append(file.read())
        self.last = len(known) + count  # its LSN
        # Commits name the maps that were made meanwhile.
        os.makedirs(os.path.dirname(self.path(self.before, "maps", "x")),
                    exist_ok=True)
        for name in self.objects(server.data, "maps"):
            shutil.copy(self.path(server.data, "maps", name),
                        self.path(self.before, "maps", name))

    def path(self, store, kind, name):
        return os.path.join(store, "volumes", self.volume, kind, name)

    def objects(self, store, kind):
        return [os.path.basename(path)
                for path in glob.glob(self.path(store, kind, "*"))]

    def copy(self, path):
        """A store as it was before the line."""
        shutil.copytree(self.before, path)

    def send(self, port, rate=None):
        """To a server on such a store; the seconds that it took."""
        conn = http.client.HTTPConnection("127.0.0.1", port)
        began = time.monotonic()
        for i, commit in enumerate(self.commits):
            ahead = i / rate - (time.monotonic() - began) if rate else 0
            if ahead > 0:
                time.sleep(ahead)
            conn.request("POST", "/v1/volumes/%s/commits" % self.volume, commit)
            answer = conn.getresponse()
            body = answer.read()
            if answer.status != 201:
                raise SystemExit("bench: commit %d: %d %r" % (
                    i, answer.status, body))
        conn.close()
        return time.monotonic() - began
