#!/usr/bin/env python3
"""Databases for bench_pagestore, in the given folder.

users.db     1,000,000 rows of a made-up application, two indexes (about 200 MB)
packages.db  Debian's packages, dependencies and tags, with indexes and a
             full-text index, from `apt-cache dumpavail` (60 MB)
text.db      the same as whole paragraphs, and the installed files (80 MB)
users-N.db   users.db after an update of N random rows, N = 1, 100, 10000
"""
import glob
import os
import random
import shutil
import sqlite3
import subprocess
import sys

WORDS = """time year people way day man thing woman life child world school
state family student group country problem hand part place case week company
system program question work government number night point home water room
mother area money story fact month lot right study book eye job word business
issue side kind head house service friend father power hour game line end
member law car city community name president team minute idea body information
back parent face others level office door health person art war history party
result change morning reason research girl guy moment air teacher force
education""".split()
CITIES = "Berlin Paris Oslo Madrid Lisbon Warsaw Vienna Athens Dublin".split()


def create(path):
    if os.path.exists(path):
        os.remove(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=OFF")
    db.execute("PRAGMA synchronous=OFF")
    return db


def bio(rnd):
    return " ".join(rnd.choices(WORDS, k=10))


def users(path, rows=1000000):
    rnd = random.Random(1)
    db = create(path)
    db.executescript(
        """CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT, email TEXT,
           city TEXT, bio TEXT, balance INT, created INT);
           CREATE INDEX users_email ON users(email);
           CREATE INDEX users_city ON users(city, created);"""
    )
    for i in range(1, rows + 1):
        a, b = rnd.choice(WORDS), rnd.choice(WORDS)
        db.execute(
            "INSERT INTO users VALUES(?,?,?,?,?,?,?)",
            (
                i,
                f"{a.title()} {b.title()}",
                f"{a}.{b}.{rnd.getrandbits(32):08x}@example.com",
                rnd.choice(CITIES),
                bio(rnd),
                rnd.randrange(100000),
                1500000000 + rnd.randrange(200000000),
            ),
        )
    db.commit()


def update(source, path, count, rows=1000000):
    rnd = random.Random(2)
    shutil.copyfile(source, path)
    db = sqlite3.connect(path)
    for i in rnd.sample(range(1, rows + 1), count):
        db.execute("UPDATE users SET bio=? WHERE id=?", (bio(rnd), i))
    db.commit()


def paragraphs():
    out = subprocess.run(["apt-cache", "dumpavail"], capture_output=True)
    return out.stdout.decode(errors="replace").split("\n\n")


def fields(paragraph):
    result, key = {}, None
    for line in paragraph.split("\n"):
        if line.startswith(" ") and key:
            result[key] += "\n" + line
        elif ": " in line:
            key, value = line.split(": ", 1)
            result[key] = value
    return result


def packages(path):
    db = create(path)
    db.executescript(
        """CREATE TABLE package(id INTEGER PRIMARY KEY, name TEXT, version TEXT,
           section TEXT, maintainer TEXT, size INT, sha256 TEXT, text TEXT);
           CREATE TABLE dependency(package INT, kind TEXT, target TEXT);
           CREATE TABLE tag(package INT, tag TEXT);"""
    )
    for i, paragraph in enumerate(paragraphs()):
        f = fields(paragraph)
        names = ("Package", "Version", "Section", "Maintainer",
                 "Installed-Size", "SHA256", "Description")
        db.execute("INSERT INTO package VALUES(?,?,?,?,?,?,?,?)",
                   [i] + [f.get(n) for n in names])
        for kind in ("Depends", "Recommends", "Suggests", "Breaks"):
            for target in filter(None, f.get(kind, "").split(", ")):
                db.execute("INSERT INTO dependency VALUES(?,?,?)",
                           (i, kind, target))
        for tag in filter(None, f.get("Tag", "").split(", ")):
            db.execute("INSERT INTO tag VALUES(?,?)", (i, tag.strip()))
    db.executescript(
        """CREATE INDEX package_name ON package(name);
           CREATE INDEX dependency_target ON dependency(target);
           CREATE INDEX dependency_package ON dependency(package);
           CREATE INDEX tag_tag ON tag(tag);
           CREATE VIRTUAL TABLE search USING fts5(name, text, content='');
           INSERT INTO search(rowid, name, text)
               SELECT id, name, text FROM package;"""
    )
    db.commit()


def text(path):
    db = create(path)
    db.executescript(
        """CREATE TABLE paragraph(id INTEGER PRIMARY KEY, body TEXT);
           CREATE TABLE file(path TEXT, package TEXT);"""
    )
    db.executemany("INSERT INTO paragraph VALUES(?,?)",
                   enumerate(paragraphs()))
    for name in sorted(glob.glob("/var/lib/dpkg/info/*.list")):
        with open(name) as lines:
            db.executemany(
                "INSERT INTO file VALUES(?,?)",
                ((line.strip(), os.path.basename(name)[:-5]) for line in lines),
            )
    db.executescript(
        """CREATE INDEX file_path ON file(path);
           CREATE INDEX file_package ON file(package);"""
    )
    db.commit()


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    packages(f"{folder}/packages.db")
    text(f"{folder}/text.db")
    users(f"{folder}/users.db")
    for count in (1, 100, 10000):
        update(f"{folder}/users.db", f"{folder}/users-{count}.db", count)


main()
