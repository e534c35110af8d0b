"""A process with many databases on one server: neither threads nor descriptors grow
with them more than they must."""
import json
import subprocess
import unittest

import support
from test_bucket import MANY_CHILD

READERS = """
import json, os, sqlite3, sys
so, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
first = sqlite3.connect(":memory:")
first.enable_load_extension(True)
first.load_extension(so)
before = at_most = len(os.listdir("/proc/self/task"))
dbs = []
for i in range(count):
    db = sqlite3.connect("file:r%d.db?vfs=ramet&sync=manual&remote=%s" %
                         (i, url % i), uri=True, timeout=60)
    assert db.execute("SELECT count(*) FROM t").fetchone()[0] == 2
    dbs.append(db)
    at_most = max(at_most, len(os.listdir("/proc/self/task")))
while dbs:
    dbs.pop().close()
print(json.dumps([before, at_most, len(os.listdir("/proc/self/task"))]))
"""
COUNT = 100


class Crowd(support.CliTest):
    def child(self, code, *words):
        done = subprocess.run(
            ["/usr/bin/python3", "-c", code, support.EXTENSION,
             self.url("d%d"), *map(str, words)], text=True, cwd=self.dir,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_databases_of_one_server__share_threads_and_connections(self):
        """Three descriptors each, and few threads; then those that read what is not
        here, and each have a thread that brings it."""
        told = self.child(MANY_CHILD, COUNT, 3 * COUNT + 124)
        self.assertLessEqual(told["at_most"][1], told["before"][1] + 36)
        self.assertEqual(told["after"], told["before"])
        before, at_most, after = self.child(READERS, COUNT)
        # 16 that are idle, and those of the database that is being read.
        self.assertLessEqual(at_most, before + 16 + 12)
        self.assertEqual(after, before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
