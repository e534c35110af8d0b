#!/usr/bin/python3
"""bank.py [MINUTES] [--seed N] [--local] - a bank whose clerks get killed.

Eight processes move money between accounts of one replica, a ninth reads sums,
a tenth pushes to a remote; each is killed with SIGKILL at random moments and
started again. A clerk notes a transfer in a file of its own once its commit
has returned. All the while and at the end:

  * the sum of all accounts is what it was, in every snapshot;
  * every noted transfer is in the database, once, and none has a gap before it;
  * the balances are what the transfers say;
  * integrity_check is ok, and no lock is left behind;
  * what was pushed is a database of which all this is true, too.

Exits with 1 and says what is wrong, else says what it did.
"""
import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ACCOUNTS = 64
START = 1000
CLERKS = 8
SO = os.environ.get("RAMET_SO") or os.path.join(
    os.environ.get("RAMET_BUILD", "build"), "lib", "ramet.so")


def connect(path, **parameters):
    loader = sqlite3.connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(SO)
    parameters.setdefault("vfs", "ramet")
    uri = "file:%s?%s" % (urllib.parse.quote(os.path.abspath(path)),
                          urllib.parse.urlencode(parameters))
    return retried(lambda: sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=120))


def one(db, sql, *args):
    return db.execute(sql, args).fetchone()[0]


def check(condition, *what):
    if not condition:
        raise AssertionError(*what)


# ---- the processes ----------------------------------------------------------

def retried(call):
    """Until it is not merely somebody else's turn."""
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise


def transfer(db, rng, clerk, seq):
    source, target = rng.sample(range(ACCOUNTS), 2)
    amount = rng.randrange(1, 50)
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("UPDATE account SET balance = balance - ? WHERE id = ?",
                   (amount, source))
        db.execute("INSERT INTO transfer VALUES(?, ?, ?, ?, ?, ?)",
                   (clerk, seq, source, target, amount,
                    "x" * rng.choice((0, 10, 500, 9000))))
        db.execute("UPDATE account SET balance = balance + ? WHERE id = ?",
                   (amount, target))
        if rng.random() < 0.1:
            db.execute("ROLLBACK")
            return False
        db.execute("COMMIT")
        return True
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def clerk(number, seed):
    rng = random.Random(seed)
    db = connect("bank.db", sync="manual")
    if number % 2:
        db.execute("PRAGMA synchronous=NORMAL")
    if number % 4 == 3:
        db.execute("PRAGMA cache_size=2")  # spills
    notes = os.open("clerk-%d" % number, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    seq = 1 + retried(lambda: one(
        db, "SELECT coalesce(max(seq), 0) FROM transfer WHERE clerk = ?",
        number))
    while True:
        if retried(lambda: transfer(db, rng, number, seq)):
            os.write(notes, b"%d\n" % seq)
            seq += 1
        if rng.random() < 0.02:
            db.close()  # programs come and go
            db = connect("bank.db", sync="manual")


def reader(number, seed):
    del number
    rng = random.Random(seed)
    db = connect("bank.db", sync="manual")
    while True:
        retried(lambda: db.execute("BEGIN"))
        first = retried(lambda: one(db, "SELECT sum(balance) FROM account"))
        check(first == ACCOUNTS * START, "the sum is", first)
        count = one(db, "SELECT count(*) FROM transfer")
        time.sleep(rng.random() * 0.02)
        check(one(db, "SELECT count(*) FROM transfer") == count)
        check_balances(db)
        if rng.random() < 0.05:
            check(one(db, "PRAGMA integrity_check") == "ok")
        db.execute("COMMIT")


def pusher(number, seed):
    del number
    rng = random.Random(seed)
    db = connect("bank.db", sync="manual", remote=os.environ["BANK_REMOTE"])
    while True:
        retried(lambda: one(db, "SELECT ramet_push()"))
        time.sleep(rng.random() * 0.1)


# ---- what must hold ---------------------------------------------------------

def check_balances(db):
    wrong = db.execute(
        "SELECT id, balance, ? + coalesce((SELECT sum(amount) FROM transfer"
        " WHERE target = id), 0) - coalesce((SELECT sum(amount) FROM transfer"
        " WHERE source = id), 0) AS wanted FROM account"
        " WHERE balance IS NOT wanted", (START,)).fetchall()
    check(not wrong, "balances that the transfers do not give", wrong)


def check_bank(db):
    check(one(db, "SELECT sum(balance) FROM account") == ACCOUNTS * START)
    check_balances(db)
    check(one(db, "PRAGMA integrity_check") == "ok")
    gaps = db.execute("SELECT clerk, count(*), max(seq) FROM transfer"
                      " GROUP BY clerk HAVING count(*) <> max(seq)").fetchall()
    check(not gaps, "transfers with gaps", gaps)


def check_notes(db):
    total = 0
    for number in range(CLERKS):
        noted = 0
        with open("clerk-%d" % number, "rb") as notes:
            for line in notes:
                check(line.endswith(b"\n"))
                check(int(line) > noted, "noted twice", number, line)
                noted = int(line)
                total += 1
        last = one(db, "SELECT coalesce(max(seq), 0) FROM transfer"
                   " WHERE clerk = ?", number)
        check(last >= noted, "a lost transfer of clerk", number, noted, last)
    return total


# ---- the parent -------------------------------------------------------------

def make_bank():
    db = connect("bank.db", sync="manual")
    db.execute("CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER)")
    db.execute("CREATE TABLE transfer(clerk INTEGER, seq INTEGER,"
               " source INTEGER, target INTEGER, amount INTEGER, note TEXT,"
               " PRIMARY KEY(clerk, seq)) WITHOUT ROWID")
    db.execute("CREATE INDEX by_source ON transfer(source, amount)")
    db.execute("CREATE INDEX by_target ON transfer(target, amount)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO account VALUES(?, ?)",
                   ((i, START) for i in range(ACCOUNTS)))
    db.execute("COMMIT")
    db.close()


class Staff:
    def __init__(self, rng, with_pusher):
        self.rng = rng
        self.roles = [("clerk", i) for i in range(CLERKS)] + [("reader", 0)]
        if with_pusher:
            self.roles.append(("pusher", 0))
        self.running = {}
        self.kills = 0

    def start(self, role):
        log = open("log-%s-%d" % role, "ab")
        self.running[role] = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--role", role[0],
             "--number", str(role[1]), "--seed", str(self.rng.getrandbits(30))],
            stderr=log, stdout=log)
        log.close()

    def look(self):
        """Nobody ends but by being killed."""
        for role, process in self.running.items():
            if process.poll() is not None:
                with open("log-%s-%d" % role, encoding="utf-8") as log:
                    raise AssertionError("%s %d ended by itself: %s" %
                                         (role + (log.read()[-2000:],)))

    def kill_one(self):
        role = self.rng.choice(self.roles)
        self.running[role].send_signal(signal.SIGKILL)
        self.running[role].wait()
        self.kills += 1
        self.start(role)

    def kill_all(self):
        for process in self.running.values():
            process.send_signal(signal.SIGKILL)
        for process in self.running.values():
            process.wait()


def check_remote():
    """What the remote has is a bank as well, and after a push this one."""
    db = connect("bank.db", sync="manual", remote=os.environ["BANK_REMOTE"])
    durable = one(db, "SELECT ramet_push()")
    clone = connect("clone.db", sync="manual",
                    remote=os.environ["BANK_REMOTE"])
    check_bank(clone)
    for table in ("account", "transfer"):
        sql = "SELECT * FROM %s ORDER BY 1, 2" % table
        check(clone.execute(sql).fetchall() == db.execute(sql).fetchall(),
              "the clone differs in", table)
    lsn = one(clone, "SELECT ramet_lsn()")
    check(lsn == durable, "the clone is at", lsn, "and not at", durable)
    return durable


def play(minutes, seed, with_remote):
    rng = random.Random(seed)
    make_bank()
    staff = Staff(rng, with_remote)
    for role in staff.roles:
        staff.start(role)
    end = time.monotonic() + minutes * 60
    try:
        while time.monotonic() < end:
            time.sleep(rng.random() * 0.4)
            staff.look()
            staff.kill_one()
            if rng.random() < 0.02:  # the machine's end, so to speak
                staff.kill_all()
                for role in staff.roles:
                    staff.start(role)
    finally:
        staff.kill_all()
    db = connect("bank.db", sync="manual")
    db.execute("PRAGMA busy_timeout=0")
    db.execute("BEGIN EXCLUSIVE")  # no lock is left behind
    db.execute("COMMIT")
    check_bank(db)
    noted = check_notes(db)
    transfers = one(db, "SELECT count(*) FROM transfer")
    db.close()
    durable = check_remote() if with_remote else 0
    print("bank: %d transfers, %d of them noted, none lost; %d kills; "
          "LSN %d" % (transfers, noted, staff.kills, durable))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("minutes", nargs="?", type=float, default=1)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--local", action="store_true", help="no remote")
    parser.add_argument("--role")
    parser.add_argument("--number", type=int, default=0)
    args = parser.parse_args()
    if args.role:
        {"clerk": clerk, "reader": reader,
         "pusher": pusher}[args.role](args.number, args.seed)
        return
    folder = tempfile.mkdtemp(prefix="ramet-bank-",
                              dir=os.environ.get("RAMET_SOAK_TMP"))
    global SO
    SO = os.environ["RAMET_SO"] = os.path.abspath(SO)
    os.chdir(folder)
    os.environ["BANK_REMOTE"] = "file://%s/store/bank" % folder
    print("bank: seed %d in %s" % (args.seed, folder), flush=True)
    try:
        play(args.minutes, args.seed, not args.local)
    except (AssertionError, sqlite3.Error) as error:
        print("bank: FAILED: %s; all is left in %s" % (error, folder))
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
