"""`ramet status --check`: each state that must not be green, by exit code, and
since when commits wait."""
import calendar
import os
import shutil
import time
import urllib.request

import support
from proxy import Proxy
from support import CONFLICT, DAMAGED, DONE, FAILED, NOT_PERMITTED, \
    UNREACHABLE, free_port, main

INSERT = "db.execute(\"INSERT INTO t(v) VALUES('%s')\")"


def milliseconds(text):
    """Of 2026-11-23T10:00:00.123Z."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) \
        * 1000 + int((fraction or "0").ljust(3, "0"))


class StatusTest(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=20)

    def init(self):
        self.ramet("init", self.a, "--remote", self.url())

    def check(self, expect, *words, path=None):
        done = self.run_ramet("status", path or self.a, "--check", *words,
                              timeout=60)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        if expect != DONE:
            self.assertRegex(done.stderr, r"\Aramet: [^\n]+\n\Z")
        return done.stdout + done.stderr

    def proxied(self, hook):
        proxy = Proxy(self.server.port, hook)
        self.addCleanup(proxy.close)
        return proxy

    # ---- nothing is there

    def test_no_remote__is_not_green(self):
        self.sql(self.a, INSERT % "a replica from here on")
        self.assertIn("no remote", self.check(FAILED))

    def test_never_pushed__remote_away__is_not_green(self):
        remote = "http://127.0.0.1:%d/app" % free_port()
        self.sql(self.a, INSERT % "waits", remote=remote, sync="auto",
                 close_wait_ms=0)
        self.check(UNREACHABLE)
        self.check(UNREACHABLE, "--max-lag", "1h")
        status = self.status(self.a)
        self.assertEqual(status["remote"], remote)
        self.assertTrue(status["never_pushed"])

    def test_never_pushed__remote_there__is_not_green(self):
        self.sql(self.a, INSERT % "waits", remote=self.url())
        self.assertIn("nothing of it is in the remote", self.check(FAILED))
        self.assertEqual(self.status(self.a)["state"], "ahead")
        self.ramet("push", self.a)  # to where it was opened with
        self.check(DONE, "--max-lag", "1h")

    def test_first_push_failed__is_not_green(self):
        other = self.make_database(self.path("other.db"), rows=3)
        self.ramet("init", other, "--remote", self.url())
        self.assertNotEqual(self.run_ramet("init", self.a, "--remote",
                                           self.url()).returncode, DONE)
        self.assertNotIn("clean", self.check(FAILED))

    # ---- commits wait

    def test_unpushed_commits__are_as_old_as_the_oldest(self):
        self.init()
        self.assertIsNone(self.status(self.a)["unpushed_since"])
        before = int(time.time() * 1000)
        self.sql(self.a, INSERT % "oldest")
        after = int(time.time() * 1000)
        since = self.status(self.a)["unpushed_since"]
        self.assertTrue(before - 1 <= milliseconds(since) <= after,
                        (before, since, after))
        # In the log, where a process died, and with another commit on top.
        self.sql(self.a, INSERT % "later" + "; import os; os._exit(0)")
        self.assertEqual(self.status(self.a)["unpushed_since"], since)
        time.sleep(0.005)
        self.check(FAILED, "--max-lag", "1ms")
        self.check(DONE, "--max-lag", "1h")
        self.check(DONE)
        self.ramet("push", self.a)
        self.assertIsNone(self.status(self.a)["unpushed_since"])
        self.check(DONE, "--max-lag", "1ms")

    def test_unpushed_commits__of_a_push_that_failed__keep_their_age(self):
        if not self.server:
            return
        down = []
        proxy = self.proxied(lambda method, path, forward: None if down and
                             path.endswith("/commits") and method == "POST"
                             else forward())
        self.ramet("init", self.a, "--remote", proxy.url("app"))
        self.sql(self.a, INSERT % "frozen")
        since = self.status(self.a)["unpushed_since"]
        down.append(True)
        self.assertEqual(self.run_ramet("push", self.a).returncode,
                         UNREACHABLE)
        self.sql(self.a, INSERT % "on top")
        self.assertEqual(self.status(self.a)["unpushed_since"], since)
        down.clear()
        self.ramet("push", self.a)
        self.assertIsNone(self.status(self.a)["unpushed_since"])

    def test_pusher_that_is_refused__shows_by_the_age_of_what_waits(self):
        """Another process backs off; the remote itself is well."""
        if not self.server:
            return
        proxy = self.proxied(lambda method, path, forward: (403, [], b"")
                             if method in ("PUT", "POST") and
                             not path.endswith("/pages") and self.refuse
                             else forward())
        self.refuse = False
        self.ramet("init", self.a, "--remote", proxy.url("app"))
        self.refuse = True
        seen = self.sql(self.a, INSERT % "refused" + """
import time
for i in range(400):
    row = db.execute('SELECT state, last_error FROM ramet_status').fetchone()
    if row[1]: break
    time.sleep(0.02)
print(*row)""", sync="auto", close_wait_ms=0)
        self.assertTrue(seen.startswith("ahead server "), seen)
        self.check(FAILED, "--max-lag", "1ms")

    # ---- the lines parted

    def test_diverged__is_not_green(self):
        self.init()
        self.ramet("clone", self.url(), self.path("b.db"))
        self.sql(self.path("b.db"), INSERT % "first")
        self.ramet("push", self.path("b.db"))
        self.sql(self.a, INSERT % "second")
        self.check(CONFLICT)

    def test_volume_that_was_deleted__is_not_green(self):
        self.init()
        if self.server:
            request = urllib.request.Request(
                self.server.url() + "/v1/volumes/app", method="DELETE")
            urllib.request.urlopen(request).close()
        else:
            shutil.rmtree(self.path("store", "volumes"))
        self.assertIn("went back in time", self.check(CONFLICT))
        self.assertEqual(self.status(self.a)["state"], "wentback")

    # ---- the remote can't be asked, or answers with damage

    def test_remote_away__is_not_green(self):
        self.init()
        if self.server:
            self.server.stop()
        else:
            os.rename(self.store, self.store + ".away")
        self.check(UNREACHABLE)

    def test_rights_refused__is_not_green(self):
        if not self.server:
            return
        self.init()
        self.server.stop()
        self.write(self.path("tokens"), b"secret\n")
        self.server = support.Server(self.store, "--token-file",
                                     self.path("tokens"),
                                     port=self.server.port)
        self.check(NOT_PERMITTED)

    def test_commit_damaged_in_the_store__is_not_green(self):
        self.init()
        path = self.objects("/commits/")[0]
        os.chmod(path, 0o644)
        data = bytearray(self.read(path))
        data[100] ^= 1
        self.write(path, bytes(data))
        if self.server:
            self.server.stop()
            self.server.start()
        self.check(DAMAGED)

    def test_replica_damaged__is_not_green(self):
        self.init()
        state = self.path("a.db-ramet", "state")
        data = bytearray(self.read(state))
        for slot in 0, 4096:
            data[slot + 30] ^= 1
        self.write(state, bytes(data))
        self.check(DAMAGED)

    # ---- in doubt

    def test_commit_in_doubt__is_not_green_until_it_is_resolved(self):
        """sync=commit, and the answer never came."""
        if not self.server:
            return
        lost = []

        def hook(method, path, forward):
            reply = forward()
            if lost and method == "POST" and path.endswith("/commits"):
                return None
            return reply

        proxy = self.proxied(hook)
        self.ramet("init", self.a, "--remote", proxy.url("app"))
        lost.append(True)
        self.sql(self.a, """
try:
    db.execute("INSERT INTO t(v) VALUES('who knows')")
    print('committed')
except sqlite3.Error as e:
    print(e.sqlite_errorname)""", sync="commit")
        self.assertTrue(self.status(self.a)["in_doubt"])
        self.check(UNREACHABLE)
        lost.clear()
        self.ramet("sync", self.a)
        self.assertFalse(self.status(self.a)["in_doubt"])
        self.check(DONE)


if __name__ == "__main__":
    main()
