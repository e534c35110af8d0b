"""Which server gets which token: one that the user named, and none that only a
replica names."""
import os
import shutil
import subprocess

import support
from proxy import Proxy
from support import DONE, EXTENSION, NOT_PERMITTED, UNREACHABLE, main

SECRET = "Bearer secret"


class TokenTest(support.CliTest):
    def setUp(self):
        super().setUp()
        self.a = self.make_database(self.path("a.db"), rows=20)
        self.env = {name: value for name, value in os.environ.items()
                    if not name.startswith(("RAMET_", "XDG_")) and
                    not name.lower().endswith("_proxy")}
        self.env["HOME"] = self.path("home")
        os.mkdir(self.path("home"))
        self.proxy = self.recorder()

    def recorder(self, hook=None):
        proxy = Proxy(self.server.port, hook)
        self.addCleanup(proxy.close)
        return proxy

    def run_as(self, *words, token="secret", expect=DONE, **env):
        if token:
            env["RAMET_TOKEN"] = token
        done = self.run_ramet(*words, env=dict(self.env, **env), timeout=60)
        if expect is not None:
            self.assertEqual(done.returncode, expect, done.stderr)
        return done

    def sql_as(self, path, code, params="", sync="manual", **env):
        done = subprocess.run(
            ["/usr/bin/python3", "-c", support.SQL_CHILD, EXTENSION,
             "file:%s?vfs=ramet&sync=%s%s" % (path, sync, params), code],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(self.env, RAMET_TOKEN="secret", **env), timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def tokens(self, proxy=None):
        """What the server was sent since the last look."""
        proxy = proxy or self.proxy
        seen = proxy.tokens()
        proxy.requests.clear()
        self.assertTrue(seen, "nothing was asked of it")
        return seen

    def foreign_replica(self):
        """A replica that somebody sent us; he made it elsewhere."""
        self.run_as("init", self.a, "--remote", self.proxy.url("app"),
                    token=None)
        self.tokens()
        return self.a

    # ---- where it goes

    def test_server_that_the_user_named__gets_it_from_then_on(self):
        self.run_as("init", self.a, "--remote", self.proxy.url("app"))
        self.assertEqual(self.tokens(), {SECRET})
        for words in (("push", self.a), ("pull", self.a), ("status", self.a),
                      ("log", self.a)):
            self.sql_as(self.a, "db.execute(\"INSERT INTO t(v) VALUES('x')\")")
            self.run_as(*words)
            self.assertEqual(self.tokens(), {SECRET}, words)
        self.sql_as(self.a, "db.execute('SELECT ramet_push()').fetchone();"
                    "db.execute('SELECT * FROM ramet_log').fetchall()")
        self.assertEqual(self.tokens(), {SECRET})

    def test_clone__is_naming_too(self):
        self.run_as("init", self.a, "--remote", self.url())
        self.run_as("clone", self.proxy.url("app"), self.path("b.db"))
        self.run_as("hydrate", self.path("b.db"))
        self.assertEqual(self.tokens(), {SECRET})

    def test_remote_of_a_uri__is_naming_too(self):
        self.sql_as(self.a, "db.execute('SELECT ramet_push()').fetchone()",
                    "&remote=" + self.proxy.url("app"))
        self.assertEqual(self.tokens(), {SECRET})
        self.run_as("status", self.a)
        self.assertEqual(self.tokens(), {SECRET})

    def test_remote_of_the_environment__is_naming_too(self):
        self.foreign_replica()
        self.run_as("status", self.a,
                    RAMET_REMOTE="%s=%s" % (self.a, self.proxy.url("app")))
        self.assertEqual(self.tokens(), {SECRET})

    def test_server_that_is_named_later__gets_it_from_then_on(self):
        """One connection to it serves all files of a process."""
        replica = self.foreign_replica()
        self.sql_as(replica, """
db.execute('SELECT ramet_pull()').fetchone()
uri = sys.argv[2] + '&remote=%s'
named = sqlite3.connect(uri, uri=True, isolation_level=None)
db.execute('SELECT ramet_pull()').fetchone()
""" % self.proxy.url("app"))
        self.assertEqual(self.proxy.requests[0][2], None)
        self.assertEqual(self.proxy.requests[-1][2], SECRET)

    # ---- where it does not go

    def test_server_that_only_a_replica_names__does_not_get_it(self):
        replica = self.foreign_replica()
        for words in (("status", replica), ("pull", replica), ("log", replica),
                      ("fetch", replica), ("push", replica),
                      ("reset", replica)):
            self.sql_as(replica, "db.execute(\"INSERT INTO t(v) VALUES('x')\")")
            self.run_as(*words)
            self.assertEqual(self.tokens(), {None}, words)
        self.sql_as(replica, "db.execute('SELECT ramet_pull()').fetchone();"
                    "db.execute('SELECT * FROM ramet_log').fetchall()")
        self.assertEqual(self.tokens(), {None})

    def test_server_that_only_a_replica_names__who_is_refused_is_told(self):
        self.foreign_replica()
        self.proxy.hook = lambda method, path, forward: (401, [], b"")
        done = self.run_as("pull", self.a, expect=NOT_PERMITTED)
        self.assertIn("RAMET_TOKEN was not sent", done.stderr)
        self.assertIn("ramet init FILE --remote URL", done.stderr)
        self.proxy.hook = lambda method, path, forward: forward()
        self.run_as("init", self.a, "--remote", self.proxy.url("app"))
        self.run_as("pull", self.a)
        self.assertIn(SECRET, self.tokens())

    def test_server_named_for_once__is_not_kept(self):
        self.foreign_replica()
        self.run_as("ls", self.proxy.url())
        self.assertEqual(self.tokens(), {SECRET})
        self.run_as("status", self.a)
        self.assertEqual(self.tokens(), {None})

    def test_server_at_another_port__is_another(self):
        self.run_as("init", self.a, "--remote", self.proxy.url("app"))
        other = self.recorder()
        self.run_as("clone", other.url("app"), self.path("b.db"), token=None)
        other.requests.clear()
        self.run_as("status", self.path("b.db"))
        self.assertEqual(self.tokens(other), {None})

    def test_redirect__takes_it_nowhere(self):
        other = self.recorder()
        self.proxy.hook = lambda method, path, forward: (
            307, [("Location", other.url()[:-1] + path)], b"")
        self.run_as("ls", self.proxy.url(), expect=None)
        self.assertEqual(other.requests, [])

    # ---- the list of hosts

    def test_list_of_hosts__decides_alone(self):
        replica = self.foreign_replica()
        here = "127.0.0.1:%d" % self.proxy.port
        for hosts, token in (("127.0.0.1", SECRET), (here, SECRET),
                             ("example.org, " + here, SECRET),
                             ("127.0.0.10", None), ("127.0.0", None),
                             (here + "0", None), (here[:-1], None),
                             ("127.0.0.1:", None), ("example.org", None)):
            self.run_as("status", replica, RAMET_TOKEN_HOST=hosts)
            self.assertEqual(self.tokens(), {token}, hosts)
            self.run_as("ls", self.proxy.url(), RAMET_TOKEN_HOST=hosts)
            self.assertEqual(self.tokens(), {token}, hosts)

    # ---- what is kept

    def kept(self):
        return self.path("home", ".local", "state", "ramet", "token-hosts")

    def test_kept_servers__are_a_file_of_this_user_alone(self):
        self.run_as("init", self.a, "--remote", self.proxy.url("app"))
        self.assertEqual(self.read(self.kept()).decode(),
                         "http://127.0.0.1:%d\n" % self.proxy.port)
        self.assertEqual(os.stat(self.kept()).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(os.path.dirname(self.kept())).st_mode & 0o777,
                         0o700)
        self.run_as("init", self.a, "--remote", self.proxy.url("app"))
        self.assertEqual(self.read(self.kept()).count(b"\n"), 1)
        self.tokens()
        os.chmod(self.kept(), 0o620)
        self.run_as("status", self.a)
        self.assertEqual(self.tokens(), {None})
        os.chmod(self.kept(), 0o600)
        self.run_as("status", self.a)
        self.assertEqual(self.tokens(), {SECRET})
        os.chmod(os.path.dirname(self.kept()), 0o777)
        self.run_as("status", self.a)
        self.assertEqual(self.tokens(), {None})
        os.chmod(os.path.dirname(self.kept()), 0o700)
        os.rename(self.kept(), self.kept() + ".old")
        os.symlink(self.kept() + ".old", self.kept())
        self.run_as("status", self.a)
        self.assertEqual(self.tokens(), {None})

    def test_no_home__is_no_hindrance(self):
        del self.env["HOME"]
        self.run_as("init", self.a, "--remote", self.proxy.url("app"))
        self.assertEqual(self.tokens(), {SECRET})
        self.run_as("status", self.a)
        self.assertEqual(self.tokens(), {None})
        self.run_as("status", self.a, RAMET_TOKEN_HOST="127.0.0.1")
        self.assertEqual(self.tokens(), {SECRET})

    def test_home_of_another_user__is_left_alone(self):
        """As root with somebody's HOME, by sudo."""
        if os.geteuid() != 0:
            self.skipTest("needs root")
        os.chown(self.path("home"), 12345, 12345)
        self.run_as("init", self.a, "--remote", self.proxy.url("app"))
        self.assertEqual(self.tokens(), {SECRET})
        self.assertEqual(os.listdir(self.path("home")), [])

    # ---- ramet.conf

    def test_token_file__is_for_its_remote_alone(self):
        self.write(self.path("work.token"), b"of-work\n")
        self.write(self.path("ramet.conf"), (
            "[remote work]\nurl = %s\ntoken_file = work.token\n" %
            self.proxy.url("team")).encode())
        other = self.recorder()
        replica = self.foreign_replica()
        self.run_as("status", replica, token=None)  # not under /team
        self.assertEqual(self.tokens(), {None})
        self.run_as("ls", self.proxy.url("team"), token=None, expect=None)
        self.assertEqual(self.tokens(), {"Bearer of-work"})
        self.run_as("ls", other.url(), token=None)
        self.assertEqual(self.tokens(other), {None})

    # ---- plain http, proxies

    def test_plain_http_to_another_machine__shows_no_token(self):
        far = self.recorder(lambda method, path, forward: (401, [], b""))
        way = {"http_proxy": far.url()}
        done = self.run_as("ls", "http://ramet.example/", expect=NOT_PERMITTED,
                           **way)
        self.assertEqual(self.tokens(far), {None})
        self.assertIn("https", done.stderr)
        self.run_as("ls", "http://ramet.example/", expect=NOT_PERMITTED,
                    RAMET_TOKEN_PLAIN="1", **way)
        self.assertEqual(self.tokens(far), {SECRET})
        self.write(self.path("work.token"), b"of-work\n")
        for line, token in (("", None), ("token_plain = no\n", None),
                            ("token_plain = yes\n", "Bearer of-work")):
            self.write(self.path("ramet.conf"), (
                "[remote work]\nurl = http://ramet.example\n"
                "token_file = work.token\n" + line).encode())
            self.run_as("ls", "work", token=None, expect=NOT_PERMITTED, **way)
            self.assertEqual(self.tokens(far), {token}, line)

    def test_hosts_that_look_like_this_machine__go_by_the_proxy(self):
        far = self.recorder(lambda method, path, forward: (404, [], b""))
        for host in ("localhost.example", "127.0.0.1.example", "127.example",
                     "localhost-x", "127.0.0.256", "127.0.0.1.2"):
            self.run_as("ls", "http://%s/" % host, expect=None,
                        http_proxy=far.url())
            self.assertEqual(self.tokens(far), {None}, host)
        for host in ("localhost", "127.0.0.1", "127.1.2.3"):
            self.run_as("ls", "http://%s:1/" % host, expect=UNREACHABLE,
                        http_proxy=far.url())
        self.assertEqual(far.requests, [])


if __name__ == "__main__":
    main()
