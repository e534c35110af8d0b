"""A VFS that reads each page by a range of HTTP, with nothing read ahead: what
people build first. apsw from PyPI, in an environment of its own in the cache.

    python ranges.py '["HOST", PORT, "/PATH", "SELECT …"]'

prints [seconds, requests, bytes].
"""
import json
import os
import subprocess
import sys

PACKAGE = "apsw"


def find(cache):
    """The Python that has apsw, installed if need be; None if it can't be."""
    folder = os.path.join(cache, "apsw")
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", folder], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for install in (False, True):
        if install:
            subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE],
                           check=False, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        try:
            if subprocess.run([python, "-c", "import apsw"], check=False,
                              stderr=subprocess.DEVNULL).returncode == 0:
                return python
        except OSError:
            return None
    return None


def main():
    import http.client
    import time

    import apsw

    host, port, path, question = json.loads(sys.argv[1])
    cost = {"requests": 0, "bytes": 0}
    connection = http.client.HTTPConnection(host, port)

    def get(first, last):
        connection.request("GET", path, headers={"Range": "bytes=%d-%d" %
                                                 (first, last)})
        answer = connection.getresponse()
        data = answer.read()
        cost["requests"] += 1
        cost["bytes"] += len(data)
        return data, answer

    size = int(get(0, 0)[1].getheader("Content-Range").rsplit("/")[-1])

    class File:
        def xRead(self, amount, offset):
            return get(offset, min(offset + amount, size) - 1)[0]

        def xFileSize(self):
            return size

        def xClose(self):
            pass

        def xLock(self, level):
            pass

        def xUnlock(self, level):
            pass

        def xCheckReservedLock(self):
            return False

        def xFileControl(self, op, pointer):
            return False

        def xSectorSize(self):
            return 4096

        def xDeviceCharacteristics(self):
            return 0

    class VFS(apsw.VFS):
        def __init__(self):
            self.name = "ranges"
            apsw.VFS.__init__(self, self.name, "")

        def xOpen(self, name, flags):
            return File()

        def xAccess(self, name, flags):
            return False

    kept = VFS()
    began = time.perf_counter()
    db = apsw.Connection("file:x?immutable=1", vfs=kept.name, flags=(
        apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI))
    for _ in db.cursor().execute(question):
        pass
    print(json.dumps([time.perf_counter() - began, cost["requests"],
                      cost["bytes"]]))


if __name__ == "__main__":
    main()
