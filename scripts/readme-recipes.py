#!/usr/bin/python3
"""Run the recipes of README.md as they stand there.

    readme-recipes.py [NAME...]

The block after "<!-- recipe NAME -->" is written to a file of that name, in a
directory with ramet.so, beside a server at the port that the README names (a
free one is used instead), and run by what its ending asks for. One that fails is
an error; where its interpreter is not installed it is skipped, and that is said.
In the end the volume has what each of them wrote. RAMET_BUILD: the build
directory.
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("RAMET_BUILD",
                                       os.path.join(ROOT, "build")))
PORT = "7411"  # what the README says
RAMET = os.path.join(BUILD, "bin", "ramet")

# What runs a recipe, and what tells that this can be done here.
RUNNERS = {
    ".sh": (["bash", "-euo", "pipefail"], ["true"]),
    ".py": (["/usr/bin/python3"], ["true"]),
    ".js": (["node"], ["node", "-e", "require('better-sqlite3')"]),
    ".php": (["php", "-d", "sqlite3.extension_dir=$PWD"],
             ["php", "-r", "new SQLite3(':memory:'); PDO::getAvailableDrivers();"
                           " exit(in_array('sqlite', PDO::getAvailableDrivers())"
                           " ? 0 : 1);"]),
}
# A row of the table `events` that the recipe must have brought to the remote.
LEAVES = {"shell.sh": "from the shell", "app.py": "from Python",
          "app.js": "from Node", "app.php": "from PHP"}


def recipes():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
        return re.findall(r"<!-- recipe (\S+) -->\n```\w*\n(.*?)^```",
                          readme.read(), re.S | re.M)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def commands_of(name):
    """What compiles and runs a recipe; None: not here."""
    if name.endswith(".c"):
        return [["cc", "-Wall", "-Werror", "-o", "app", name,
                 "-I" + os.path.join(ROOT, "client"),
                 "-L" + os.path.join(BUILD, "lib"), "-lramet",
                 "-Wl,-rpath," + os.path.join(BUILD, "lib")], ["./app"]]
    runner, probe = RUNNERS[os.path.splitext(name)[1]]
    try:
        can = subprocess.run(probe, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        can = False
    runner = [word.replace("$PWD", os.getcwd()) for word in runner]
    return [runner + [name]] if can else None


def run(name, text, port):
    """True if it was run; dies if it failed."""
    commands = commands_of(name)
    if commands is None:
        print("skipped %s: %s" % (name, "what runs it is not installed"))
        return False
    with open(name, "w", encoding="utf-8") as out:
        out.write(text.replace(PORT, port))
    environment = dict(os.environ, PATH=os.path.dirname(RAMET) + ":" +
                       os.environ["PATH"])
    if name.endswith(".js"):
        environment.update(
            RAMET_DEFAULT_VFS="1",
            RAMET_REMOTE="app.db=http://127.0.0.1:%s/app" % port)
    for command in commands:
        done = subprocess.run(command, env=environment, text=True, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise SystemExit("recipe %s ended with %d:\n%s"
                             % (name, done.returncode, done.stdout))
    print("ok      %s" % name)
    return True


def check_remote(ran, port):
    """The server has what the recipes wrote, and nothing less."""
    subprocess.run([RAMET, "export", "http://127.0.0.1:%s/app" % port,
                    "out.db"], check=True, stdout=subprocess.DEVNULL)
    rows = subprocess.run(["sqlite3", "out.db", "SELECT t FROM events"],
                          check=True, text=True, stdout=subprocess.PIPE).stdout
    for name, row in LEAVES.items():
        if name in ran and row not in rows.splitlines():
            raise SystemExit("recipe %s: its row is not at the remote" % name)
    if "app.c" in ran:
        subprocess.run([RAMET, "export", "http://127.0.0.1:%s/model" % port,
                        "model.out"], check=True, stdout=subprocess.DEVNULL)
        with open("model.out", "rb") as model:
            if model.read()[4096:] != b"weights":
                raise SystemExit("recipe app.c: not what it wrote")


def main():
    wanted = sys.argv[1:]
    blocks = recipes()
    missing = (set(LEAVES) | set(wanted)) - {name for name, _ in blocks}
    if missing:
        raise SystemExit("recipes: README.md has no " + ", ".join(missing))
    directory = tempfile.mkdtemp(prefix="ramet-recipes-")
    port = free_port()
    server = subprocess.Popen(
        [RAMET, "serve", "--data", os.path.join(directory, "store"), "--listen",
         "127.0.0.1:" + port, "--access-log", "off"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        server.stdout.readline()
        os.chdir(directory)
        shutil.copy(os.path.join(BUILD, "lib", "ramet.so"), "ramet.so")
        ran = {name for name, text in blocks
               if (not wanted or name in wanted or name == "setup.sh") and
               run(name, text, port)}
        check_remote(ran, port)
    finally:
        server.terminate()
        server.wait(30)
        os.chdir("/")
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
