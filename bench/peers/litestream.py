"""Litestream beside us, where npm can install it: the peer of bench/push."""
import glob
import os
import re
import shutil
import subprocess
import time
import urllib.request

import common  # noqa: E402

PACKAGE = "@flydotio/litestream@1.0.1"
PORT = 27203  # its metrics; below the ephemeral range


def find():
    """The binary, installed into the cache if need be; None if it can't be."""
    pattern = os.path.join(common.CACHE, "npm", "node_modules", "@flydotio",
                           "litestream-*", "litestream")
    if not glob.glob(pattern) and shutil.which("npm"):
        folder = os.path.join(common.CACHE, "npm")
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-fund",
                        "--no-audit", "--prefix", folder, PACKAGE],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return next(iter(glob.glob(pattern)), None)


class Litestream:
    """Replicates one database into a directory. `interval` is its sync and
    monitor interval: 1s is its default, 10ms the quickest that helps."""

    def __init__(self, binary, work, database, interval):
        self.database = database
        self.store = os.path.join(work, "litestream-store")
        self.seen = (None, 32)
        config = os.path.join(work, "litestream.yml")
        with open(config, "w") as out:
            out.write('addr: "127.0.0.1:%d"\ndbs:\n  - path: %s\n'
                      "    monitor-interval: %s\n    replicas:\n"
                      "      - type: file\n        path: %s\n"
                      "        sync-interval: %s\n" %
                      (PORT, database, interval, self.store, interval))
        self.log = open(os.path.join(work, "litestream.log"), "ab")
        self.process = subprocess.Popen(
            [binary, "replicate", "-config", config], stdout=self.log,
            stderr=self.log)

    def wal_end(self):
        """Header and end of the valid frames of the database's WAL."""
        with open(self.database + "-wal", "rb") as wal:
            header = wal.read(32)
            size = os.fstat(wal.fileno()).st_size
            offset = self.seen[1] if self.seen[0] == header else 32
            while offset + 4120 <= size:
                wal.seek(offset + 8)
                if wal.read(8) != header[16:24]:
                    break
                offset += 4120
        self.seen = (header, offset)
        return self.seen

    def replicated(self):
        """(index, offset) up to which the replica has the WAL."""
        text = urllib.request.urlopen(
            "http://127.0.0.1:%d/metrics" % PORT, timeout=2).read().decode()

        def metric(name):
            match = re.search(name + r"\{[^\n]*\} (\S+)", text)
            return float(match[1]) if match else -1

        return (metric("litestream_replica_wal_index"),
                metric("litestream_replica_wal_offset"))

    def caught_up(self):
        folder, name = os.path.split(self.database)
        shadows = sorted(glob.glob(os.path.join(
            folder, ".%s-litestream" % name, "generations", "*", "wal",
            "*.wal")), key=os.path.getmtime)
        if not shadows:
            return False
        try:
            header, end = self.wal_end()
            with open(shadows[-1], "rb") as shadow:
                same = shadow.read(32) == header
            if not same or os.path.getsize(shadows[-1]) != end:
                return False
            index = int(os.path.basename(shadows[-1])[:-4], 16)
            return self.replicated() == (index, end)
        except OSError:
            return False

    def wait(self, limit=300):
        """Until the replica has every commit."""
        end = time.monotonic() + limit
        while not self.caught_up():
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit("bench: litestream never caught up; see " +
                                 self.log.name)
            time.sleep(0.004)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
