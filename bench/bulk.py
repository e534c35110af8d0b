#!/usr/bin/python3
"""A bulk load while the background pushes it: ./dev bench bulk

A million rows in transactions of 10,000 into a new database that is bound to a
remote; what the load takes, when the remote has it all, and what is stored,
against one compressed copy of the result, and against Litestream where npm can
install it.
"""
import argparse
import json
import os
import shutil
import sqlite3
import time

import common
from peers import litestream
import push


def load(database, base, *options):
    done = common.timed(common.PYTHON, push.WORKLOAD, "bulk", database, base,
                        *options)
    return json.loads(done.output)


def show(name, load_seconds, all_seconds, stored, one_copy):
    print("%-28s load %6.2f s   remote has all %6.2f s   stored %10s"
          "   (%.2f of one copy)" %
          (name, load_seconds, all_seconds, common.megabytes(stored),
           stored / one_copy), flush=True)


def run_ramet(work, base, one_copy):
    database, store = os.path.join(work, "bulk.db"), os.path.join(work, "store")
    push.remove(database, database + "-ramet", store)
    done = load(database, base, "--extension", common.EXTENSION, "--param",
                "remote=file:%%2F%%2F%s%%2Fbulk" % store.replace("/", "%2F"),
                "--push")
    show("ramet, sync=auto", done["seconds"],
         done["seconds"] + done["push_seconds"], common.stored_bytes(store),
         one_copy)


def run_litestream(work, base, one_copy):
    binary = litestream.find()
    if binary is None:
        print("(npm can't install Litestream here)")
        return
    database = os.path.join(work, "litestream.db")
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE hello(x)")
    peer = litestream.Litestream(binary, work, database, "1s")
    try:
        peer.wait()
        began = time.time()
        done = load(database, base)
        peer.wait()
        show("litestream (1s)", done["seconds"], time.time() - began,
             common.stored_bytes(peer.store), one_copy)
    finally:
        peer.stop()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    common.need(common.EXTENSION)
    base = push.base_database()
    with common.Workspace() as work:
        bench = push.Bench(work, base)
        bench.zstd()
        print("one copy by zstd -3: %s; %s" %
              (common.megabytes(bench.zstd_bytes), common.load_average()))
        plain = os.path.join(work, "plain.db")
        for _ in range(options.rounds):
            push.remove(plain, plain + "-wal", plain + "-shm")
            done = load(plain, base)
            print("%-28s load %6.2f s" % ("SQLite WAL alone",
                                          done["seconds"]))
            run_ramet(work, base, bench.zstd_bytes)
        run_litestream(work, base, bench.zstd_bytes)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
