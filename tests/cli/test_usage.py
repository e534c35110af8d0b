#!/usr/bin/python3
"""Words, flags, help and exit codes, before anything is opened."""
import os
import pty
import re
import signal
import socket
import subprocess
import time

import support

VERBS = ("init clone push pull fetch sync status log ls info hydrate export cat "
         "restore reset lost adopt verify copy doctor profiles detach rebind delete "
         "serve").split()


class Usage(support.CliTest):
    def test_help__lists_every_verb(self):
        text = self.ramet("help")
        for verb in VERBS:
            self.assertRegex(text, r"(?m)^  %s " % verb)
        self.assertEqual(text, self.ramet("--help"))

    def test_help__of_each_verb_has_usage_and_example(self):
        for verb in VERBS:
            text = self.ramet("help", verb)
            self.assertIn("usage: ramet " + verb, text)
            self.assertRegex(text, r"example:\n  \$ ramet " + verb)
            self.assertEqual(text, self.ramet(verb, "--help"))
            self.assertEqual(text, self.ramet(verb, "-h"))

    def test_help__names_every_flag_of_the_interface(self):
        flags = {"init": ["--remote"], "clone": ["--hydrate", "--if-absent"],
                 "sync": ["--follow"], "status": ["--check", "--max-lag"],
                 "restore": ["--if-absent"], "reset": ["--discard"],
                 "delete": ["--yes"],
                 "serve": ["--listen", "--data", "--store", "--token-file",
                           "--config"]}
        for verb, names in flags.items():
            text = self.ramet("help", verb)
            for name in names:
                self.assertIn(name, text)

    def test_json__is_offered_by_every_verb_that_reports(self):
        for verb in VERBS:
            if verb != "serve":
                self.assertIn("--json", self.ramet("help", verb))

    def test_json__errors_are_objects_too(self):
        done = self.run_ramet("push", "no\n-such.db", "--json")
        self.assertEqual(done.returncode, support.NOT_FOUND)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1)
        error = support.json.loads(done.stderr)["error"]
        self.assertEqual((error["verb"], error["object"], error["exit"]),
                         ("push", "no\n-such.db", support.NOT_FOUND))
        self.assertIn("does not exist", error["text"])

    def test_help_and_version__are_verbs_like_others(self):
        self.assertEqual(self.ramet("version"), self.ramet("--version"))
        for verb in ("help", "version"):
            self.assertIn("usage: ramet ", self.ramet(verb, "--help"))
            self.assertEqual(self.ramet("help", verb),
                             self.ramet(verb, "--help"))
        self.refused(support.USAGE, "version", "1")

    def test_version__is_printed(self):
        self.assertRegex(self.ramet("--version"), r"^ramet \d+\.\d+\.\d+\n$")

    def test_unknown_verb__is_refused_with_the_nearest(self):
        self.assertIn("did you mean 'status'?",
                      self.refused(support.USAGE, "statsu"))
        self.assertIn("did you mean 'hydrate'?",
                      self.refused(support.USAGE, "hyd"))
        self.assertNotIn("did you mean",
                         self.refused(support.USAGE, "xyzzyplugh"))
        self.refused(support.USAGE)
        self.refused(support.USAGE, "help", "statsu")

    def test_unknown_flag__is_refused_with_the_nearest(self):
        self.assertIn("did you mean --hydrate?",
                      self.refused(support.USAGE, "clone", "--hydrat", "a",
                                   "b"))
        self.assertIn("did you mean --if-absent?",
                      self.refused(support.USAGE, "clone", "a", "b",
                                   "--if-abesnt"))
        self.refused(support.USAGE, "push", "-x", "a")

    def test_operands__too_few_or_too_many_are_refused(self):
        self.refused(support.USAGE, "push")
        self.assertIn("one operand too many",
                      self.refused(support.USAGE, "push", "a", "b"))
        self.refused(support.USAGE, "clone", "a")
        self.refused(support.USAGE, "init", "a")  # no --remote

    def test_values__missing_or_nonsense_are_refused(self):
        self.refused(support.USAGE, "init", "a", "--remote")
        self.refused(support.USAGE, "push", "a", "--json=yes")
        for lag in ("", "soon", "-1s", "1y", "10 m",
                    "99999999999999999999d"):
            self.refused(support.USAGE, "status", "a", "--check", "--max-lag",
                         lag)
        self.refused(support.USAGE, "status", "a", "--max-lag", "1m")
        self.refused(support.USAGE, "log", "file:///x/y", "--limit", "many")

    def test_double_dash__ends_the_options(self):
        self.write(self.path("--json"), b"x" * 5000)
        self.ramet("init", "--remote", self.url("dashes"), "--", "--json")
        self.assertIn("clean", self.ramet("status", "--", "--json"))

    def test_error__shows_no_control_characters_of_a_name(self):
        text = self.refused(support.NOT_FOUND, "status", "a\x1b[31mb")
        self.assertNotRegex(text, re.compile(r"[\x00-\x09\x0b-\x1f]"))

    def on_terminal(self, *words):
        """What a command that takes a while writes to a terminal's stderr."""
        try:
            ours, theirs = pty.openpty()
        except OSError as error:  # a chroot without devpts
            self.skipTest(str(error))
        process = subprocess.Popen([support.RAMET, *words], cwd=self.dir,
                                   stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)  # make it take a while
        time.sleep(0.5)
        process.send_signal(signal.SIGCONT)
        seen = b""
        try:
            while chunk := os.read(ours, 65536):
                seen += chunk
        except OSError:  # the other end of the terminal is closed
            pass
        os.close(ours)
        process.communicate()
        self.assertEqual(process.returncode, support.DONE)
        return seen.decode()

    def test_serve__that_fails_leaves_nothing_behind(self):
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        for words in (["--listen", "127.0.0.1:%d" % port],
                      ["--listen", "nowhere"],
                      ["--listen", "0.0.0.0:0"],  # nobody may: no tokens
                      ["--token-file", "missing"],
                      ["--tls-cert", "missing", "--tls-key", "missing"],
                      ["--access-log", "no/such/folder/log"]):
            if "--listen" not in words:
                words = ["--listen", "127.0.0.1:0"] + words
            done = self.run_ramet("serve", "--data", "made", *words)
            self.assertNotEqual(done.returncode, support.DONE, words)
            self.assertNotIn("made", os.listdir(self.dir), words)

    def test_serve__logs_to_standard_error(self):
        tokens = self.path("tokens")
        with open(tokens, "w") as f:
            f.write("good\n")
        server = support.Server(self.path("served"), "--token-file", tokens)
        self.addCleanup(server.stop)
        with open(tokens, "w") as f:
            f.write("good\nro:\n")
        server.process.send_signal(signal.SIGHUP)
        log = ""
        end = time.monotonic() + 180
        while "not reloaded" not in log and time.monotonic() < end:
            time.sleep(0.02)
            with open(server.log.name) as f:
                log = f.read()
        self.assertIn("level=info msg=serving ", log)
        self.assertIn('level=error msg="not reloaded" detail="' + tokens +
                      ": line 2: ", log)

    def test_serve__does_not_start_with_a_line_that_is_no_token(self):
        tokens = self.path("tokens")
        for line in ("ro:", "RO:x", "two words"):
            with open(tokens, "w") as f:
                f.write("good\n%s\n" % line)
            done = self.run_ramet("serve", "--listen", "127.0.0.1:0", "--data",
                                  self.path("d"), "--token-file", tokens)
            self.assertEqual(done.returncode, support.USAGE, done)
            self.assertIn("line 2", done.stderr)

    def test_progress__is_drawn_on_a_terminal_only(self):
        self.write(self.path("big"), os.urandom(60_000_000))
        seen = self.on_terminal("init", "big", "--remote", self.url("big"))
        self.assertRegex(seen, r"\d+ of [\d,]+ pages, .*/s")
        self.assertTrue(seen.endswith("\r\x1b[K"), "the line is wiped")
        done = self.run_ramet("clone", self.url("big"), "copy")
        self.assertEqual(done.stderr, "")
        self.assertEqual(self.on_terminal("export", self.url("big"), "out",
                                          "--quiet"), "")


if __name__ == "__main__":
    support.main()
