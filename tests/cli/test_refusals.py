"""A server, or a proxy before it, refuses a push for a reason that may pass:
nothing is lost, each is told as what it is, and when it has passed the push goes
through."""
import support
from proxy import Proxy
from support import DONE, FAILED, NOT_PERMITTED, UNREACHABLE, main

INSERT = "db.execute(\"INSERT INTO t(v) VALUES('%s')\")"
HTML = [("Content-Type", "text/html")]
PAGE = b"<html><body>no</body></html>"


class RefusalTest(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=20)
        self.reply = None
        self.proxy = Proxy(self.server.port, self.hook)
        self.addCleanup(self.proxy.close)
        self.ramet("init", self.a, "--remote", self.proxy.url("app"))

    def hook(self, method, path, forward):
        writes = method in ("PUT", "POST") and not path.endswith("/pages")
        return self.reply if self.reply and writes else forward()

    def test_refusal_that_passes__loses_nothing_and_has_its_words(self):
        lsn = 1
        for status, code, words in (
                (413, FAILED, "larger than it"),
                (507, FAILED, "no room"),
                (403, NOT_PERMITTED, "403"),
                (401, NOT_PERMITTED, "401"),
                (429, UNREACHABLE, "429"),
                (408, UNREACHABLE, "408"),
                (503, UNREACHABLE, "503")):
            self.sql(self.a, INSERT % ("refused %d" % status))
            for body in (PAGE, b""):
                self.reply = status, HTML, body
                done = self.run_ramet("push", self.a)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(words, done.stderr)
                self.assertNotIn("damage", done.stderr)
                self.assertNotIn("not a Ramet server", done.stderr)
            self.assertEqual(self.status(self.a)["local_commits"], 1)
            self.reply = None
            self.assertEqual(self.run_ramet("push", self.a).returncode, DONE)
            lsn += 1
            self.assertEqual(self.json("info", self.url())["lsn"], lsn)

    def test_answer_that_none_of_ours_gives__loses_nothing(self):
        for lsn, status in ((2, 202), (3, 204), (4, 299)):
            self.sql(self.a, INSERT % ("%d" % status))
            self.reply = status, HTML, b""
            done = self.run_ramet("push", self.a)
            self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
            self.assertIn("status %d" % status, done.stderr)
            self.reply = None
            self.assertEqual(self.run_ramet("push", self.a).returncode, DONE)
            self.assertEqual(self.json("info", self.url())["lsn"], lsn)

    def test_refusal__at_a_commit_that_waits_rolls_back_and_is_no_damage(self):
        for status in (413, 507, 403, 422):
            self.reply = status, HTML, PAGE
            seen = self.sql(self.a, """
try:
    db.execute("INSERT INTO t(v) VALUES('x')")
    print('committed')
except sqlite3.Error as e:
    print(e.sqlite_errorname)""", sync="commit")
            self.assertNotIn("CORRUPT", seen)
            self.assertNotIn("committed", seen)
            self.reply = None
            self.assertEqual(self.sql(
                self.a, INSERT % status + ";print('committed')",
                sync="commit"), "committed\n")
        self.assertEqual(self.sql(self.a, "print(db.execute(\"SELECT count(*) "
                                  "FROM t WHERE v = 'x'\").fetchone()[0])"),
                         "0\n")
        self.ramet("status", self.a, "--check", "--max-lag", "1ms")


if __name__ == "__main__":
    main()
