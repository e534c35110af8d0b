#!/usr/bin/python3
"""Who may read and write what lies beside a database: exactly those who may the
database; and whose directory is used. As another user than root some of it is
left out, and said to be."""
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time

import common
from common import check_integrity, fails, one, open_db, open_native, python

IS_ROOT = os.geteuid() == 0
RAMET = os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(common.SO))), "bin", "ramet")
ALICE, BOB, EVE = 40001, 40002, 40003  # BOB is in ALICE's group, EVE is not
GROUP = 40010


def needs_root(test):
    if IS_ROOT:
        return test
    print("left out, for want of root: %s" % test.__name__)
    return None


def ramet(*args, code=0):
    done = subprocess.run([RAMET] + list(args), capture_output=True, text=True)
    assert done.returncode == code, (args, done.returncode, done.stderr)
    return done.stderr


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def owner(path):
    found = os.lstat(path)
    return found.st_uid, found.st_gid


def make_native(path, bits=0o644, user=None):
    db = open_native(path)
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x)")
    db.close()
    os.chmod(path, bits)
    if user is not None:
        os.chown(path, *user)


def within(path):
    for folder, folders, files in os.walk(path):
        for name in files:
            yield os.path.join(folder, name), False
        yield folder, True


def folder_bits(bits):
    return bits | (bits & 0o444) >> 2 | (bits & 0o222) >> 1


def other_rights(path, bits, user):
    """What lies beside the database and is not as the database is."""
    found = []
    for name, is_folder in within(path + "-ramet"):
        wanted = folder_bits(bits) if is_folder else bits
        try:
            if mode(name) != wanted or (user and owner(name) != user):
                found.append((name, "%o" % mode(name), owner(name)))
        except FileNotFoundError:  # a background thread took it away
            pass
    return found


def check_all(path, bits, user=None):
    """All that lies beside the database is as the database is. (Of what a
    background thread just makes it may take a moment.)"""
    assert os.path.isdir(path + "-ramet")
    for _ in range(50):
        found = other_rights(path, bits, user)
        if not found:
            return
        time.sleep(0.02)
    raise AssertionError(found)


def work(db):
    """Enough for generations to close, to be made ahead and recycled, for a
    transaction that spills, and for readers that stay."""
    reader = open_db("a.db")
    db.execute("PRAGMA cache_size=10")
    for turn in range(6):
        if turn == 2:
            reader.execute("BEGIN")
            one(reader, "SELECT count(*) FROM t")
        db.execute("BEGIN")
        db.execute("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n"
                   " WHERE i<3000) INSERT INTO t(x)"
                   " SELECT randomblob(1000) FROM n")
        db.execute("COMMIT")
        if turn % 2:
            db.execute("DELETE FROM t")
    reader.close()


def test_what_is_made_has_the_mode_of_the_database():
    for umask in (0o022, 0o077, 0):
        for bits in (0o600, 0o664, 0o666):
            before = os.umask(umask)
            try:
                make_native("a.db", bits)
                db = open_db("a.db", timeout=10)
                work(db)
                check_all("a.db", bits)
                db.close()
                check_all("a.db", bits)
                assert mode("a.db") == bits
            finally:
                os.umask(before)
            shutil.rmtree("a.db-ramet")
            os.unlink("a.db")


def test_a_new_database_follows_the_umask():
    for umask, bits in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(umask)
        try:
            db = open_db("a.db")
            db.execute("CREATE TABLE t(x)")
            assert mode("a.db") == bits
            check_all("a.db", bits)
            db.close()
        finally:
            os.umask(before)
        shutil.rmtree("a.db-ramet")
        os.unlink("a.db")


def test_a_change_of_mode_is_followed_at_the_next_open():
    make_native("a.db", 0o600)
    store = "file://%s/store/a" % os.getcwd()
    ramet("init", "a.db", "--remote", store)
    for bits in (0o644, 0o660, 0o600, 0o666, 0o640, 0o600):
        os.chmod("a.db", bits)
        db = open_db("a.db", sync="manual")
        db.execute("INSERT INTO t(x) VALUES(1)")
        check_all("a.db", bits)
        db.close()
        ramet("push", "a.db")
    check_integrity(open_db("a.db", sync="manual"))


def test_a_directory_that_is_too_open_is_closed():
    """As versions before 0.1.0 left it: as open as the umask allowed."""
    make_native("a.db", 0o600)
    db = open_db("a.db", timeout=10)
    work(db)
    for folder_mode, file_mode in ((0o755, 0o644), (0o777, 0o666)):
        for name, is_folder in within("a.db-ramet"):
            os.chmod(name, folder_mode if is_folder else file_mode)
        other = open_db("a.db")  # while the first one is there
        check_all("a.db", 0o600)
        other.execute("INSERT INTO t(x) VALUES(1)")
        check_all("a.db", 0o600)
        other.close()
    db.close()


def test_what_a_reset_gives_up_is_as_private():
    make_native("a.db", 0o600)
    store = "file://%s/store/a" % os.getcwd()
    ramet("init", "a.db", "--remote", store)
    ramet("clone", store, "b.db")
    assert mode("b.db") == 0o644
    check_all("b.db", 0o644)
    for name in ("a.db", "b.db"):
        db = open_db(name, sync="manual")
        db.execute("INSERT INTO t(x) VALUES(?)", (name,))
        db.close()
    ramet("push", "b.db")
    ramet("push", "a.db", code=3)
    ramet("reset", "a.db")
    assert len(os.listdir("a.db-ramet/lost")) == 1
    check_all("a.db", 0o600)
    ramet("lost", "a.db", os.listdir("a.db-ramet/lost")[0], "back.db")
    assert mode("back.db") == 0o600
    os.mkdir("a.db-ramet/lost/aside")  # as of a database that was deleted
    open("a.db-ramet/lost/aside/log-0000000000000001", "w").close()
    os.chmod("a.db", 0o640)
    open_db("a.db", sync="manual").close()
    check_all("a.db", 0o640)


def test_what_is_replaced_keeps_its_mode():
    make_native("a.db")
    store = "file://%s/store/a" % os.getcwd()
    ramet("init", "a.db", "--remote", store)
    user = (ALICE, GROUP) if IS_ROOT else (os.geteuid(), os.getegid())
    for verb in (["export", "a.db", "out.db"],
                 ["restore", store, "--replace", "out.db"]):
        make_native("out.db", 0o640, user)
        ramet(*verb)
        assert mode("out.db") == 0o640 and owner("out.db") == user
        ramet(verb[0], verb[1], "new.db")
        assert mode("new.db") == 0o644
        os.unlink("out.db")
        os.unlink("new.db")


AS_USER = """
import os, sys
import common
os.umask(0o077)
db = common.open_db(sys.argv[1], timeout=10, sync="manual")
for sql in sys.argv[2:]:
    print(common.rows(db, sql), flush=True)
db.close()
"""


def as_user(user, path, *sql, group=None, groups=()):
    done = python(AS_USER, path, *sql, user=user, group=group or user,
                  extra_groups=list(groups), stdout=-1, stderr=-1, text=True)
    out, errors = done.communicate()
    return done.returncode, out, errors


@needs_root
def test_root_locks_nobody_out():
    os.chmod(".", 0o755)
    os.mkdir("app")
    os.chown("app", ALICE, GROUP)
    os.chmod("app", 0o755)
    for bits in (0o600, 0o644):
        path, user = "app/%o.db" % bits, (ALICE, GROUP)
        store = "file://%s/app/store/%o" % (os.getcwd(), bits)
        make_native(path, bits, user)
        ramet("init", path, "--remote", store)
        check_all(path, bits, user)
        code, out, errors = as_user(ALICE, path, "INSERT INTO t(x) VALUES(1)",
                                    "SELECT ramet_push()", group=GROUP)
        assert code == 0, errors
        db = open_db(path, timeout=10, sync="manual")  # root again, for long
        db.execute("PRAGMA cache_size=10")
        for _ in range(6):
            db.execute("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n"
                       " WHERE i<3000) INSERT INTO t(x)"
                       " SELECT randomblob(1000) FROM n")
        code, out, errors = as_user(ALICE, path, "DELETE FROM t",
                                    "SELECT ramet_push()", group=GROUP)
        assert code == 0, errors
        db.close()
        check_all(path, bits, user)
        ramet("push", path)
        for verb in ("status", "verify", "hydrate", "sync"):
            ramet(verb, path)
        check_all(path, bits, user)
        code, out, errors = as_user(ALICE, path, "INSERT INTO t(x) VALUES(2)",
                                    "SELECT ramet_push()", group=GROUP)
        assert code == 0, errors
        check_all(path, bits, user)
    for name, _ in within("app/store"):  # a new one is the folder's owner's
        assert owner(name) == (ALICE, GROUP), (name, owner(name))


@needs_root
def test_a_group_shares_a_store():
    os.chmod(".", 0o755)
    os.mkdir("store")
    os.chown("store", ALICE, GROUP)
    os.chmod("store", 0o770)
    os.mkdir("work", 0o777)
    os.chmod("work", 0o777)
    for user in (0, ALICE, BOB):
        path = "work/%d.db" % user
        make_native(path, 0o600, (user, user or 0))
        script = AS_USER.replace("sync=", "remote=sys.argv.pop(2), sync=")
        done = python(script, path, "file://%s/store/%d" % (os.getcwd(), user),
                      "INSERT INTO t(x) VALUES(1)", "SELECT ramet_push()",
                      user=user, group=user, extra_groups=[GROUP], stderr=-1)
        assert (done.communicate(), done.returncode)[1] == 0, user
    for name, is_folder in within("store"):
        assert owner(name)[1] == GROUP, name
        assert mode(name) & 0o070 == (0o070 if is_folder else 0o060), name
    code, _, _ = as_user(EVE, "work/%d.db" % ALICE, "SELECT 1 FROM t")
    assert code != 0


@needs_root
def test_what_root_left_to_itself_is_given_back():
    """As versions before 0.1.0 did."""
    os.chmod(".", 0o755)
    os.mkdir("app")
    os.chown("app", ALICE, GROUP)
    make_native("app/a.db", 0o644, (ALICE, GROUP))
    open_db("app/a.db", sync="manual").close()
    for name, _ in within("app/a.db-ramet"):
        os.chown(name, 0, 0)
    assert as_user(ALICE, "app/a.db", "DELETE FROM t", group=GROUP)[0] != 0
    open_db("app/a.db", sync="manual").close()
    check_all("app/a.db", 0o644, (ALICE, GROUP))
    assert as_user(ALICE, "app/a.db", "DELETE FROM t", group=GROUP)[0] == 0


@needs_root
def test_a_group_shares_a_database():
    for setgid in (0o2000, 0):
        folder = "shared%o" % setgid
        os.chmod(".", 0o755)
        os.mkdir(folder)
        os.chown(folder, 0, GROUP)
        os.chmod(folder, 0o770 | setgid)
        path = folder + "/a.db"
        make_native(path, 0o660, (ALICE, GROUP))
        for user in (BOB, ALICE, BOB):
            code, _, errors = as_user(
                user, path, "INSERT INTO t(x) VALUES(1)",
                "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n"
                " WHERE i<6000) INSERT INTO t(x)"
                " SELECT randomblob(1000) FROM n",
                "SELECT count(*) FROM t", groups=[GROUP])
            assert code == 0, (setgid, user, errors)
            for name, is_folder in within(path + "-ramet"):
                assert mode(name) & 0o777 == (0o770 if is_folder else 0o660), \
                    (setgid, user, name, oct(mode(name)), owner(name))
                assert owner(name)[1] == GROUP, name
        # Open in both at once.
        alice = python(AS_USER + "sys.stdin.readline()", path,
                       "SELECT count(*) FROM t", user=ALICE, group=ALICE,
                       extra_groups=[GROUP], stdin=-1, stdout=-1, text=True)
        assert alice.stdout.readline() == "[(18003,)]\n"
        code, _, errors = as_user(BOB, path, "DELETE FROM t", groups=[GROUP])
        assert code == 0, errors
        alice.communicate("\n")
        assert as_user(EVE, path, "SELECT 1 FROM t")[0] != 0


@needs_root
def test_a_stranger_reads_nothing_and_a_guest_reads():
    os.chmod(".", 0o755)
    os.mkdir("app")
    os.chown("app", ALICE, GROUP)
    make_native("app/a.db", 0o640, (ALICE, GROUP))
    code, _, errors = as_user(ALICE, "app/a.db",
                              "INSERT INTO t(x) VALUES('secret')", group=GROUP)
    assert code == 0, errors
    db = open_db("app/a.db", sync="manual")
    db.execute("INSERT INTO t(x) VALUES('secret')")
    for name, is_folder in within("app/a.db-ramet"):
        read = "import os,sys; os.listdir(sys.argv[1])" if is_folder else \
            "import sys; open(sys.argv[1], 'rb').read()"
        for user, works in ((EVE, False), (BOB, True)):
            done = python(read, name, user=user, group=user, stderr=-1,
                          extra_groups=[GROUP] if user == BOB else [])
            done.communicate()
            assert (done.returncode == 0) == works, (name, user)
    code, out, errors = as_user(BOB, "app/a.db", "SELECT x FROM t",
                                groups=[GROUP])
    assert code == 0 and out.count("secret") == 2, errors
    assert as_user(BOB, "app/a.db", "DELETE FROM t", groups=[GROUP])[0] != 0


# ---- directories that others prepared --------------------------------------

NAMES = ("lock", "state", "state.tmp", "index", "presence", "ahead", "intent",
         "log-0000000000000001", "log-0000000000000002", "pages-0.tmp",
         "fill-0000000000000001", "past-0000000000000001", "commit", "deleted")


def refused(path):
    fails("unable to open", open_db, path, 0.0)
    text = ramet("init", path, "--remote", "file://%s/store/x" % os.getcwd(),
                 code=5)
    assert "trusted" in text or "move it away" in text, text


@needs_root
def test_a_directory_of_a_strangers_is_refused():
    os.chmod(".", 0o1777)
    with open("victim", "w") as victim:
        victim.write("precious")
    for name in NAMES:
        make_native("x.db")
        os.mkdir("x.db-ramet")
        os.symlink(os.path.abspath("victim"), "x.db-ramet/" + name)
        os.chmod("x.db-ramet", 0o777)
        os.chown("x.db-ramet", EVE, EVE)
        refused("x.db")
        assert open("victim").read() == "precious"
        assert os.listdir("x.db-ramet") == [name]
        shutil.rmtree("x.db-ramet")
        os.unlink("x.db")
    make_native("x.db")
    os.mkdir("x.db-ramet")  # with nothing in it: ours comes in its place
    os.chown("x.db-ramet", EVE, EVE)
    open_db("x.db").close()
    check_all("x.db", 0o644, (0, 0))


def test_a_directory_that_others_may_write_is_refused():
    make_native("x.db")
    os.mkdir("x.db-ramet")
    open("x.db-ramet/lock", "w").close()
    os.chmod("x.db-ramet", 0o777)
    refused("x.db")
    os.chmod("x.db-ramet", 0o755)
    open_db("x.db").close()


def test_no_link_in_the_directory_is_followed():
    """Even where the directory is ours."""
    make_native("victim")
    before = open("victim", "rb").read()
    for name in NAMES:
        make_native("x.db")
        os.mkdir("x.db-ramet")
        os.symlink(os.path.abspath("victim"), "x.db-ramet/" + name)
        try:
            db = open_db("x.db", timeout=10)
            work_on = ("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n"
                       " WHERE i<3000) INSERT INTO t(x)"
                       " SELECT randomblob(1000) FROM n")
            db.execute(work_on)
            db.execute(work_on)
            db.close()
        except sqlite3.Error as error:
            # One that is left is refused; "state" says that there is a replica.
            assert ("symbolic link" in str(error) or
                    name == "state" and "/lock: No such file" in str(error)), \
                (name, error)
        assert open("victim", "rb").read() == before, name
        shutil.rmtree("x.db-ramet")
        os.unlink("x.db")
    make_native("x.db")
    os.mkdir("elsewhere")
    os.symlink("elsewhere", "x.db-ramet")
    refused("x.db")
    assert os.listdir("elsewhere") == []


def test_a_file_with_a_second_name_is_not_written():
    make_native("x.db")
    open_db("x.db").close()
    for name in ("lock", "state", "index"):
        os.link("x.db-ramet/" + name, "kept")
        before = open("kept", "rb").read()
        try:
            db = open_db("x.db")
            db.execute("INSERT INTO t(x) VALUES(1)")
            db.close()
        except sqlite3.Error as error:
            assert "Too many links" in str(error), (name, error)
        assert open("kept", "rb").read() == before, name
        os.unlink("kept")
    open_db("x.db").execute("INSERT INTO t(x) VALUES(1)")


@needs_root
def test_root_gives_away_nothing_that_was_moved_in():
    """Who has the directory may move root's files into it, and not read them."""
    os.chmod(".", 0o755)
    os.mkdir("home")
    os.chown("home", EVE, EVE)
    make_native("home/x.db", 0o666, (EVE, EVE))
    db = open_db("home/x.db")
    db.execute("INSERT INTO t(x) VALUES(1)")
    db.close()
    name = "home/x.db-ramet/fill-00000000000000aa"
    with open(name, "w") as secret:
        secret.write("root's own")
    os.chmod(name, 0o600)
    os.chmod("home/x.db", 0o644)
    open_db("home/x.db").close()
    if os.path.exists(name):
        assert mode(name) == 0o600 and owner(name) == (0, 0)


def test_a_directory_goes_with_its_database_when_renamed():
    """What was opened is gone on with by its descriptor, whatever has its name
    by now."""
    store = "file://%s/store/" % os.getcwd()
    make_native("a.db")
    ramet("init", "a.db", "--remote", store + "a")
    db = open_db("a.db", sync="commit")
    db.execute("INSERT INTO t(x) VALUES('before')")
    os.rename("a.db", "moved.db")
    os.rename("a.db-ramet", "moved.db-ramet")
    make_native("a.db")
    ramet("init", "a.db", "--remote", store + "other")
    before = {name: os.stat("a.db-ramet/" + name).st_mtime_ns
              for name in os.listdir("a.db-ramet")}
    try:
        db.execute("INSERT INTO t(x) VALUES('after')")
    except sqlite3.Error as error:
        assert "readonly" in str(error), error  # as SQLite says of what was moved
    db.close()
    assert {name: os.stat("a.db-ramet/" + name).st_mtime_ns
            for name in os.listdir("a.db-ramet")} == before
    assert one(open_db("a.db", sync="manual"), "SELECT count(*) FROM t") == 0
    moved = open_db("moved.db", sync="manual")
    assert one(moved, "SELECT x FROM t") == "before"
    check_integrity(moved)


if __name__ == "__main__":
    for name in [n for n, v in globals().items() if v is None
                 and n.startswith("test_")]:
        del globals()[name]
    common.main()
