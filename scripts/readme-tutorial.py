#!/usr/bin/python3
"""Run the tutorial of README.md as it stands there, and compare.

    readme-tutorial.py [--write]

Between the markers "<!-- tutorial -->" and "<!-- /tutorial -->", each line
"$ command" of a console block is run in one shell, in an empty directory; what
it prints must look like what the README shows (figures, times and ids may
differ). A command that fails, or prints something else, is an error. --write
puts the real output into the README instead. RAMET_BUILD: the build directory.
"""
import difflib
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
README = os.path.join(ROOT, "README.md")
BUILD = os.path.abspath(os.environ.get("RAMET_BUILD",
                                       os.path.join(ROOT, "build")))
PORT = "7411"  # what the README says; a free one is used


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


class Shell:
    """One bash for the whole tutorial."""

    def __init__(self, directory, port):
        self.port = port
        environment = dict(os.environ, RAMET_LISTEN="127.0.0.1:" + port,
                           PATH=os.path.join(BUILD, "bin") + ":" +
                           os.environ["PATH"], RAMET=os.path.join(
                               BUILD, "lib", "ramet.so"))
        self.process = subprocess.Popen(
            ["bash", "--norc"], cwd=directory, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.pending = ""

    def read_until(self, pattern, seconds=60):
        """Output up to and with a match of `pattern`."""
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.pending)
            if match:
                text = self.pending[:match.start()]
                self.pending = self.pending[match.end():]
                return text, match
            if time.monotonic() > end:
                raise SystemExit("tutorial: no end in sight: " + self.pending)
            select.select([self.process.stdout], [], [], 0.2)
            self.pending += (self.process.stdout.read() or b"").decode()

    def run(self, command):
        """What it prints; dies unless it ends with 0."""
        self.process.stdin.write(
            (command.replace(PORT, self.port) +
             '\necho "<<<"$?">>>"\n').encode())
        self.process.stdin.flush()
        text, match = self.read_until(r"<<<(\d+)>>>\n")
        if command.endswith("&"):
            more, found = self.read_until(r"\n", 20)
            text += more + found[0]
        if match[1] != "0":
            raise SystemExit("tutorial: '%s' ended with %s:\n%s" %
                             (command, match[1], text))
        return text.replace(self.port, PORT)

    def close(self):
        self.process.stdin.write(b"kill $(jobs -p) 2>/dev/null; exit\n")
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def shape(text):
    """The text without what differs from run to run."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)
    text = re.sub(r"\d[\d,.:TZ-]*", "N", text)
    text = re.sub(r"N (B|kB|MB|ms|s|min N s)\b", "N UNIT", text)
    text = re.sub(r"\b(pages?|requests?|commits?)\b", "THINGS", text)
    return re.sub(r"[ \t]+", " ", text)


def run_block(shell, block):
    """The block with the real output after each command."""
    out = []
    for line in block.splitlines():
        if line.startswith("$ "):
            out.append(line + "\n" + shell.run(line[2:]))
    return "".join(out)


def main():
    write = sys.argv[1:] == ["--write"]
    with open(README, encoding="utf-8") as readme:
        text = readme.read()
    directory = tempfile.mkdtemp(prefix="ramet-tutorial-")
    shell = Shell(directory, free_port())
    differs = []

    def console(match):
        real = run_block(shell, match[1])
        if shape(real) != shape(match[1]):
            differs.extend(difflib.unified_diff(
                match[1].splitlines(), real.splitlines(), "README.md", "run",
                lineterm=""))
        return "```console\n" + (real if write else match[1]) + "```"

    def tutorial(match):
        return re.sub(r"```console\n(.*?)```", console, match[0], flags=re.S)

    try:
        text = re.sub(r"<!-- tutorial -->.*?<!-- /tutorial -->", tutorial,
                      text, flags=re.S)
    finally:
        shell.close()
        shutil.rmtree(directory, ignore_errors=True)
    if write:
        with open(README, "w", encoding="utf-8") as readme:
            readme.write(text)
    elif differs:
        print("\n".join(differs))
        raise SystemExit("tutorial: the README does not show what happens; "
                         "see above, and scripts/readme-tutorial.py --write")


if __name__ == "__main__":
    main()
