"""What the VFS tests share: connections, folders, a runner.

A test module ends with common.main(): it runs each test_* function in a new
folder and says which failed. The extension's path is in RAMET_SO.
"""
import atexit
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

SUPPORT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support")
sys.path.append(SUPPORT)

SO = os.environ.get("RAMET_SO", "build/lib/ramet.so")
_loader = None


def load():
    """Load the extension once; its VFSs stay."""
    global _loader
    if _loader is None:
        loader = sqlite3.connect(":memory:")
        loader.enable_load_extension(True)
        loader.load_extension(SO)
        _loader = loader
    return _loader


def uri(path, **parameters):
    parameters.setdefault("vfs", "ramet")
    return "file:%s?%s" % (urllib.parse.quote(os.path.abspath(path)),
                           urllib.parse.urlencode(parameters))


def open_db(path, timeout=0.0, **parameters):
    """A connection on a replica, autocommit unless BEGIN is said."""
    load()
    return sqlite3.connect(uri(path, **parameters), uri=True,
                           isolation_level=None, timeout=timeout,
                           check_same_thread=False)


def open_native(path, timeout=0.0):
    return sqlite3.connect(path, isolation_level=None, timeout=timeout,
                           check_same_thread=False)


def one(db, sql, *args):
    row = db.execute(sql, args).fetchone()
    return None if row is None else row[0]


def rows(db, sql, *args):
    return db.execute(sql, args).fetchall()


def check_integrity(db):
    assert one(db, "PRAGMA integrity_check") == "ok"


def fails(text, call, *args, **named):
    """Assert that call raises sqlite3.Error with `text` in it; return it. Some text it
    must be: who takes any failure sees nothing of one that is another."""
    assert text
    try:
        call(*args, **named)
    except sqlite3.Error as error:
        assert text in str(error), "%r is not in %r" % (text, str(error))
        return error
    raise AssertionError("did not fail with %r" % text)


def code_of(error):
    return error.sqlite_errorname


def wait_until(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


_shared = None


def shared():
    """A folder that any user may read, with this module and the extension: the
    checkout may be in the home of root, where nobody else gets in."""
    global _shared
    if _shared is None:
        _shared = tempfile.mkdtemp(prefix="ramet-shared-")
        atexit.register(shutil.rmtree, _shared, True)
        os.chmod(_shared, 0o755)
        shutil.copy(os.path.abspath(__file__), _shared)
        shutil.copy(SO, os.path.join(_shared, "ramet.so"))
    return _shared


def python(script, *args, **options):
    """Run a piece of Python that may `import common`, in another process; as
    root, of one that may go on as another user."""
    folder, so = os.path.dirname(os.path.abspath(__file__)), SO
    if os.geteuid() == 0:
        folder = shared() + os.pathsep + folder
        so = os.path.join(shared(), "ramet.so")
    return subprocess.Popen([sys.executable, "-c", script] + list(args),
                            env=dict(os.environ, RAMET_SO=so,
                                     PYTHONPATH=folder + os.pathsep + SUPPORT),
                            **options)


def main(module="__main__"):
    tests = [(name, value) for name, value in
             sorted(vars(sys.modules[module]).items())
             if name.startswith("test_") and callable(value)]
    wanted = sys.argv[1:]
    failed = 0
    ran = 0
    for name, test in tests:
        if wanted and name not in wanted:
            continue
        ran += 1
        folder = tempfile.mkdtemp(prefix="ramet-vfs-")
        before = os.getcwd()
        os.chdir(folder)
        began = time.monotonic()
        try:
            test()
            print("ok      %s (%.1f s)" % (name, time.monotonic() - began))
        except BaseException:  # a failed assertion or anything else
            failed += 1
            print("FAILED  %s" % name)
            traceback.print_exc(file=sys.stdout)
        finally:
            os.chdir(before)
            shutil.rmtree(folder, ignore_errors=True)
        sys.stdout.flush()
    print("%d passed, %d failed" % (ran - failed, failed))
    sys.exit(1 if failed or not ran else 0)
