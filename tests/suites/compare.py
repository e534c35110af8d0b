#!/usr/bin/python3
"""The suites of others, natively and with every database file a replica.

    compare.py django|sqlalchemy [WHAT...]

Brings the suite's source from PyPI, runs it with SQLite's own VFS and with VFS
"ramet", and says which tests do otherwise with Ramet. WHAT: some apps of
Django's, some files of SQLAlchemy's. The extension's path is in RAMET_SO.
"""
import os
import re
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
SO = os.path.abspath(os.environ.get("RAMET_SO", "build-release/lib/ramet.so"))
WORK = os.path.abspath("build/suites")

DJANGO_SETTINGS = """
import os
DATABASES = {
    name: {"ENGINE": "django.db.backends.sqlite3",
           "NAME": os.path.join(os.environ["SUITE_FOLDER"], name + ".db"),
           "TEST": {"NAME": os.path.join(os.environ["SUITE_FOLDER"],
                                         "test_" + name + ".db")}}
    for name in ("default", "other")}
SECRET_KEY = "a suite's"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
"""


class Suite:
    def __init__(self, package, needs):
        self.package = package
        self.folder = os.path.join(WORK, package.split("==")[0].lower())
        self.python = os.path.join(self.folder, "venv/bin/python")
        self.needs = needs
        self.source = os.path.join(self.folder, "source")

    def bring(self):
        """The source, and a Python with what its tests import."""
        if os.path.exists(os.path.join(self.folder, "done")):
            return
        os.makedirs(self.folder, exist_ok=True)
        run = lambda *command: subprocess.run(command, check=True,
                                              cwd=self.folder)
        run(sys.executable, "-m", "venv", "venv")
        run(self.python, "-m", "pip", "install", "-q", *self.needs)
        run(self.python, "-m", "pip", "download", "-q", "--no-deps",
            "--no-binary", self.package.split("==")[0], self.package)
        shutil.rmtree(self.source, ignore_errors=True)
        for name in os.listdir(self.folder):
            if name.endswith(".tar.gz"):
                with tarfile.open(os.path.join(self.folder, name)) as archive:
                    archive.extractall(self.folder)
                os.rename(os.path.join(self.folder, name[:-len(".tar.gz")]),
                          self.source)
        with open(os.path.join(self.folder, "done"), "w"):
            pass

    def run(self, side, what):
        """How each test ended."""
        folder = os.path.join(self.folder, side)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(os.path.join(folder, "tmp"))
        env = dict(os.environ, SUITE_FOLDER=folder,
                   TMPDIR=os.path.join(folder, "tmp"),
                   PYTHONPATH=os.pathsep.join(
                       [HERE, folder, self.source,
                        os.path.join(self.source, "lib")]))
        if side == "ramet":
            env["RAMET_SUITE_SO"] = SO
        log = os.path.join(folder, "log")
        with open(log, "wb") as out:
            subprocess.run(self.command(folder, what), env=env, stdout=out,
                           stderr=subprocess.STDOUT,
                           cwd=os.path.join(self.source, self.start))
        return self.results(folder, log)


class Django(Suite):
    start = "tests"

    def __init__(self):
        super().__init__("Django==4.2.16", ["asgiref", "sqlparse"])

    def command(self, folder, what):
        with open(os.path.join(folder, "suite_settings.py"), "w") as out:
            out.write(DJANGO_SETTINGS)
        return [self.python, "runtests.py", "--settings=suite_settings",
                "--noinput", "--parallel", "1", "-v", "1", *what]

    def results(self, _, log):
        with open(log, errors="replace") as text:
            said = text.read()
        ran = re.search(r"^Ran (\d+) tests", said, re.M)
        if not ran:
            sys.exit("the suite did not end: see %s" % log)
        bad = {line: line.split(":")[0] for line in
               re.findall(r"^(?:FAIL|ERROR): .*", said, re.M)}
        return int(ran.group(1)), bad


class SqlAlchemy(Suite):
    start = "."

    def __init__(self):
        super().__init__("SQLAlchemy==2.0.36", ["pytest<8.4", "greenlet",
                                                "typing_extensions"])

    def command(self, folder, what):
        return [self.python, "-m", "pytest", *(what or ["test"]), "-q",
                "--maxfail=100000", "--tb=line", "-p", "no:cacheprovider",
                "--dburi", "sqlite:///" + os.path.join(folder, "suite.db"),
                "--junitxml", os.path.join(folder, "results.xml")]

    def results(self, folder, log):
        path = os.path.join(folder, "results.xml")
        if not os.path.exists(path):
            sys.exit("the suite did not end: see %s" % log)
        ran, bad = 0, {}
        for case in xml.etree.ElementTree.parse(path).iter("testcase"):
            ran += 1
            for child in case:
                if child.tag in ("failure", "error"):
                    bad["%s.%s" % (case.get("classname"),
                                   case.get("name"))] = child.tag
        return ran, bad


def main():
    suites = {"django": Django, "sqlalchemy": SqlAlchemy}
    if len(sys.argv) < 2 or sys.argv[1] not in suites:
        sys.exit(__doc__)
    suite = suites[sys.argv[1]]()
    suite.bring()
    native_ran, native = suite.run("native", sys.argv[2:])
    ran, bad = suite.run("ramet", sys.argv[2:])
    print("%s: %d tests natively, of which %d fail; %d with Ramet, %d fail"
          % (suite.package, native_ran, len(native), ran, len(bad)))
    differ = sorted(set(native.items()) ^ set(bad.items()))
    for name, how in differ:
        print("only %-8s %s (%s)" % ("natively" if native.get(name) == how
                                     else "Ramet", name, how))
    sys.exit(bool(differ) or ran != native_ran)


main()
