#!/usr/bin/python3
"""One SQLite connection in a process of its own, driven over stdin.

    sqlworker.py EXTENSION|- URI

Reads one JSON object a line, {"sql": …, "params": […]}, and answers with
{"rows": […], "seconds": …} or {"error": …}. EXTENSION "-": plain SQLite.
"""
import json
import sqlite3
import sys
import time


def connect(extension, uri):
    if extension != "-":
        # Any connection may load it: the VFS stays for the process.
        loader = sqlite3.connect(":memory:")
        loader.enable_load_extension(True)
        loader.load_extension(extension)
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
    db.execute("PRAGMA synchronous=FULL")
    return db


def answer(db, request):
    began = time.perf_counter()
    cursor = db.execute(request["sql"], request.get("params", []))
    rows = cursor.fetchall()
    names = [column[0] for column in cursor.description or []]
    return {"rows": rows, "names": names,
            "seconds": time.perf_counter() - began}


def main():
    db = None
    began = time.perf_counter()
    try:
        db = connect(sys.argv[1], sys.argv[2])
        reply = {"seconds": time.perf_counter() - began}
    except sqlite3.Error as error:
        reply = {"error": str(error)}
    print(json.dumps(reply), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(db, json.loads(line))
        except sqlite3.Error as error:
            reply = {"error": "%s: %s" % (error, line.strip()[:200])}
        print(json.dumps(reply), flush=True)
    if db is not None:
        db.close()


if __name__ == "__main__":
    main()
