#!/usr/bin/python3
"""What an error says at three in the morning: what, why, and the way out; and
nothing that has to do with something else."""
import http.server
import os
import socketserver
import sqlite3
import subprocess
import threading

import support


class Anybody(http.server.BaseHTTPRequestHandler):
    """A web server that knows nothing of Ramet."""
    status = 200

    def answer(self):
        body = b"<html>It works!</html>"
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = answer

    def log_message(self, *_):
        pass


class Greeter(socketserver.BaseRequestHandler):
    """One that speaks first, and no HTTP."""

    def handle(self):
        self.request.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


class Words(support.CliTest):
    def serve(self, handler):
        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        server = Server(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return "http://127.0.0.1:%d" % server.server_address[1]

    def says(self, line, *wanted, never=()):
        for text in wanted:
            self.assertIn(text, line)
        for text in never:
            self.assertNotIn(text, line)

    def test_plain_file__names_init_and_clone(self):
        self.make_database(self.path("a.db"))
        for verb in ("push", "pull", "status", "hydrate", "verify", "log"):
            self.says(self.refused(support.NOT_FOUND, verb, "a.db"),
                      "is not a replica", "ramet init", "ramet clone")
            self.says(self.refused(support.NOT_FOUND, verb, "none.db"),
                      "none.db: does not exist", "ramet clone")

    def test_error__names_its_file_once(self):
        self.make_database(self.path("a.db"))
        for name in ("a.db", self.path("a.db")):
            line = self.refused(support.NOT_FOUND, "push", name)
            self.assertEqual(line.count("a.db"), 1, line)

    def test_path_as_a_remote__hints_at_the_url(self):
        self.make_database(self.path("a.db"))
        for word in ("/tmp/x", "tmp/x", "./x"):
            for words in (("init", "a.db", "--remote", word),
                          ("clone", word, "b.db"), ("ls", word)):
                full = word if word[0] == "/" else self.path(word)
                self.says(self.refused(support.USAGE, *words),
                          "file://" + full)
        self.says(self.refused(support.USAGE, "clone", "localhost:7411/app",
                               "b.db"), "http://localhost:7411/app")
        self.says(self.refused(support.NOT_FOUND, "clone", "work:app", "b.db"),
                  "names no remote 'work'")

    def test_mistyped_directory__is_no_remote_that_is_down(self):
        url = "file://" + self.path("typo", "app")
        line = self.refused(support.UNREACHABLE, "clone", url, "b.db")
        self.says(line, "no Ramet store in the directory " + self.path("typo"),
                  "check the path", never=("is up", "RAMET_TOKEN"))

    def test_local_permissions__are_no_matter_of_tokens(self):
        if os.getuid() != 0:
            self.skipTest("needs root, to be somebody else")
        self.make_database(self.path("a.db"))
        self.ramet("init", "a.db", "--remote", self.url())
        os.mkdir(self.path("home"))
        os.chown(self.path("home"), 65534, 65534)
        os.chmod(self.dir, 0o755)
        os.chmod(self.path("a.db-ramet"), 0o700)
        os.chmod(self.path("a.db"), 0o600)
        os.chmod(self.store, 0o700)
        for words in (("push", self.path("a.db")),
                      ("clone", "file://%s/app" % self.store, "b.db"),
                      ("clone", "file://%s/app" % self.store,
                       self.path("b.db"))):
            done = subprocess.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                 support.RAMET, *words], cwd=self.path("home"), text=True,
                env={"HOME": "/nonexistent"}, capture_output=True, timeout=60)
            self.assertEqual(done.returncode, support.NOT_PERMITTED,
                             done.stderr)
            self.says(done.stderr, "Permission denied",
                      never=("TOKEN", "adopt", "is not a replica"))

    def test_server_of_somebody_else__is_told_as_that(self):
        self.make_database(self.path("a.db"))
        for status in (200, 301, 400, 404):
            class Handler(Anybody):
                pass

            Handler.status = status
            url = self.serve(Handler)
            for words in (("clone", url + "/app", "b.db"),
                          ("init", "a.db", "--remote", url + "/app"),
                          ("push", "a.db")):
                if words[0] == "push" and not os.path.exists(
                        self.path("a.db-ramet")):
                    continue
                self.says(self.refused(support.UNREACHABLE, *words),
                          "is not a Ramet server", "check the URL",
                          never=("ramet verify", "is up"))
            self.assertFalse(os.path.exists(self.path("b.db")))
            subprocess.run(["rm", "-rf", self.path("a.db-ramet")])
        url = self.serve(Greeter)
        self.says(self.refused(support.UNREACHABLE, "clone", url + "/app",
                               "b.db"), "does not speak HTTP")

    def test_missing_object__is_one_finding(self):
        self.make_database(self.path("a.db"), rows=5000)
        self.ramet("init", "a.db", "--remote", self.url())
        segments = self.objects("/segments/")
        self.assertTrue(segments)
        for path in segments:
            os.unlink(path)
        found = self.json("verify", self.url(), expect=support.DAMAGED)
        self.assertEqual(found["damaged"], len(segments))
        for text in found["damage"]:
            self.assertEqual(text.count("segments/"), 1, text)

    def test_volume_without_a_commit__is_not_exported_as_an_empty_file(self):
        self.make_database(self.path("a.db"))
        self.ramet("init", "a.db", "--remote", self.url())
        for path in self.objects("/commits/"):
            os.unlink(path)
        self.says(self.refused(support.NOT_FOUND, "export", self.url(),
                               "out.db"), "no commit")
        self.assertFalse(os.path.exists(self.path("out.db")))

    def test_damaged_state__names_what_brings_the_rest_back(self):
        self.make_database(self.path("a.db"))
        self.ramet("init", "a.db", "--remote", self.url())
        whole = self.read(self.path("a.db"))
        with open(self.path("a.db-ramet", "state"), "r+b") as state:
            for slot in 0, 4096:
                state.seek(slot + 30)
                state.write(b"rotten")
        for verb in "status", "push", "verify", "adopt":
            self.says(self.refused(support.DAMAGED, verb, "a.db"),
                      "a.db-ramet: damaged", "ramet restore URL FILE --replace",
                      never=("ramet verify",))
        self.ramet("restore", self.url(), "a.db", "--replace")
        self.assertEqual(self.read(self.path("a.db")), whole)

    def test_init__tells_that_wal_mode_is_left(self):
        path = self.make_database(self.path("w.db"))
        db = sqlite3.connect(path)
        db.execute("PRAGMA journal_mode=WAL")
        db.close()
        done = self.run_ramet("init", "w.db", "--remote", self.url("w"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.says(done.stderr, "w.db was in WAL mode", "journal_mode=delete")
        done = self.run_ramet("init", "w.db", "--remote", self.url("w"))
        self.assertEqual(done.stderr, "")
        self.make_database(self.path("d.db"))
        done = self.run_ramet("init", "d.db", "--remote", self.url("d"))
        self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    support.main()
