#!/usr/bin/python3
"""Real data for the demo: a database of the packages that Debian offers.

    demo_data.py OUT.db

apt's own indexes (packages, descriptions, and which package ships which file)
become a SQLite database shaped like an application's: five tables, indexes, a
full-text index. The indexes are fetched by apt into a private directory in the
cache, so that the machine's own package lists stay as they are; where that
fails (no network), the lists that are here already and dpkg's are used.
"""
import glob
import os
import re
import sqlite3
import subprocess
import sys
import time

CONTENTS = "Acquire::IndexTargets::deb::Contents-deb::"
BYTES_MIN = 100_000_000
FILES_MAX = 1_200_000  # rows of the table of files; keeps the build short

SCHEMA = """
CREATE TABLE packages(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  architecture TEXT NOT NULL,
  section TEXT NOT NULL,
  priority TEXT NOT NULL,
  maintainer TEXT NOT NULL,
  source TEXT NOT NULL,
  homepage TEXT,
  filename TEXT,
  sha256 TEXT,
  size INTEGER NOT NULL,
  installed_size INTEGER NOT NULL,
  UNIQUE(name, version, architecture));
CREATE TABLE descriptions(
  package_id INTEGER PRIMARY KEY REFERENCES packages(id),
  summary TEXT NOT NULL,
  body TEXT NOT NULL);
CREATE TABLE dependencies(
  id INTEGER PRIMARY KEY,
  package_id INTEGER NOT NULL REFERENCES packages(id),
  kind TEXT NOT NULL,
  alternative INTEGER NOT NULL,
  target TEXT NOT NULL,
  relation TEXT,
  version TEXT);
CREATE TABLE files(
  id INTEGER PRIMARY KEY,
  package_id INTEGER NOT NULL REFERENCES packages(id),
  path TEXT NOT NULL);
CREATE TABLE events(
  id INTEGER PRIMARY KEY,
  package_id INTEGER NOT NULL REFERENCES packages(id),
  what TEXT NOT NULL);
"""

# Made last: a bulk load is quicker without them.
INDEXES = """
CREATE INDEX packages_section ON packages(section, installed_size);
CREATE INDEX packages_source ON packages(source);
CREATE INDEX dependencies_package ON dependencies(package_id);
CREATE INDEX dependencies_target ON dependencies(target, kind);
CREATE INDEX files_package ON files(package_id);
CREATE INDEX files_path ON files(path);
CREATE INDEX events_package ON events(package_id);
CREATE VIRTUAL TABLE search USING fts5(
  name, summary, body, tokenize='porter unicode61');
INSERT INTO search(rowid, name, summary, body)
  SELECT p.id, p.name, d.summary, d.body
    FROM packages p JOIN descriptions d ON d.package_id = p.id ORDER BY p.id;
INSERT INTO search(search) VALUES('optimize');
"""

KINDS = ("Depends", "Pre-Depends", "Recommends", "Suggests", "Breaks",
         "Conflicts", "Provides", "Replaces")
DEPENDENCY = re.compile(
    r"\s*([a-z0-9][a-z0-9+.-]*)(?::\w+)?\s*(?:\(\s*([<>=]+)\s*([^)\s]+)\s*\))?")


def say(text):
    print(text, file=sys.stderr, flush=True)


def apt_options(lists):
    """apt with package lists of its own, file lists among them."""
    return [
        "-o", "Dir::State::Lists=" + lists,
        "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
        "-o", "APT::Update::Post-Invoke-Success::=",
        "-o", "APT::Update::Post-Invoke::=",
        "-o", "APT::Sandbox::User=root",
        "-o", "Acquire::Languages=en",
        "-o", CONTENTS + "MetaKey=$(COMPONENT)/Contents-$(ARCHITECTURE)",
        "-o", CONTENTS + "ShortDescription=Contents-$(ARCHITECTURE)",
        "-o", CONTENTS + "Description=$(RELEASE) $(ARCHITECTURE) Contents",
    ]


def fetch_lists(lists):
    """True if apt brought package and file lists into `lists`."""
    os.makedirs(os.path.join(lists, "partial"), exist_ok=True)
    say("demo: apt fetches package and file lists (into %s) ..." % lists)
    done = subprocess.run(["apt-get", "-qq", "update", *apt_options(lists)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, timeout=900)
    found = glob.glob(lists + "/*_Packages*")
    if not found:
        say("demo: apt-get update: " + done.stderr.strip()[-400:])
    return bool(found)


def index_files(lists, pattern):
    return sorted(glob.glob(os.path.join(lists, pattern)))


def read_index(path):
    """Lines of an index, however apt keeps it compressed."""
    helper = subprocess.Popen(["/usr/lib/apt/apt-helper", "cat-file", path],
                              stdout=subprocess.PIPE, text=True,
                              encoding="utf-8", errors="replace")
    with helper.stdout:
        yield from helper.stdout
    if helper.wait() != 0:
        raise SystemExit("demo: apt-helper could not read " + path)


def stanzas(path):
    """Each paragraph of a control file as a dict."""
    fields, key = {}, None
    for line in read_index(path):
        if line == "\n":
            if fields:
                yield fields
            fields, key = {}, None
        elif line[0] in " \t":
            if key:
                fields[key] += "\n" + line.strip()
        else:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    if fields:
        yield fields


def long_descriptions(lists):
    """Description-md5 -> text."""
    texts = {}
    for path in index_files(lists, "*_i18n_Translation-en*"):
        for stanza in stanzas(path):
            texts[stanza.get("Description-md5", "")] = stanza.get(
                "Description-en", "")
    return texts


def dependency_rows(package_id, stanza):
    for kind in KINDS:
        for clause in filter(None, stanza.get(kind, "").split(",")):
            for number, alternative in enumerate(clause.split("|")):
                match = DEPENDENCY.match(alternative)
                if match:
                    yield (package_id, kind, number, *match.groups())


def load_packages(db, lists):
    """Fill packages, descriptions, dependencies; name -> id."""
    texts = long_descriptions(lists)
    ids, seen = {}, set()
    for path in index_files(lists, "*_Packages*"):
        for s in stanzas(path):
            key = (s["Package"], s["Version"], s.get("Architecture", ""))
            if key in seen:
                continue
            seen.add(key)
            number = len(seen)
            ids.setdefault(s["Package"], number)
            db.execute(
                "INSERT INTO packages VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (number, *key, s.get("Section", "misc"),
                 s.get("Priority", "optional"), s.get("Maintainer", ""),
                 s.get("Source", s["Package"]).split(" ")[0],
                 s.get("Homepage"), s.get("Filename"), s.get("SHA256"),
                 int(s.get("Size", 0)), int(s.get("Installed-Size", 0))))
            text = texts.get(s.get("Description-md5"), "")
            summary, _, body = (text or s.get("Description", "")).partition("\n")
            db.execute("INSERT INTO descriptions VALUES(?,?,?)",
                       (number, summary, body))
            db.executemany(
                "INSERT INTO dependencies(package_id, kind, alternative,"
                " target, relation, version) VALUES(?,?,?,?,?,?)",
                dependency_rows(number, s))
    return ids


def contents_rows(lists, ids):
    """(package id, path) from apt's Contents indexes."""
    for path in index_files(lists, "*_Contents-*"):
        for line in read_index(path):
            name, _, owners = line.rstrip("\n").rpartition(" ")
            for owner in owners.split(","):
                number = ids.get(owner.rpartition("/")[2])
                if number:
                    yield number, "/" + name.rstrip()


def dpkg_rows(ids):
    """(package id, path) from what is installed here."""
    for path in sorted(glob.glob("/var/lib/dpkg/info/*.list")):
        owner = os.path.basename(path)[:-len(".list")].split(":")[0]
        if owner in ids:
            with open(path, encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    yield ids[owner], line.rstrip("\n")


def load_files(db, lists, ids):
    rows = (contents_rows(lists, ids) if index_files(lists, "*_Contents-*")
            else dpkg_rows(ids))
    limited = (row for _, row in zip(range(FILES_MAX), rows))
    db.executemany("INSERT INTO files(package_id, path) VALUES(?,?)", limited)


def build(out, lists):
    """Write the database to `out`, whole or not at all."""
    began = time.monotonic()
    partial = out + ".partial"
    if os.path.exists(partial):
        os.remove(partial)
    say("demo: building the database ...")
    db = sqlite3.connect(partial, isolation_level=None)
    db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
                     "PRAGMA cache_size=-200000; PRAGMA page_size=4096;"
                     + SCHEMA)
    db.execute("BEGIN")
    ids = load_packages(db, lists)
    load_files(db, lists, ids)
    db.execute("COMMIT")
    db.executescript(INDEXES)
    db.execute("ANALYZE")
    db.close()
    size = os.path.getsize(partial)
    if size < BYTES_MIN:
        raise SystemExit(
            "demo: the package lists here give only %.0f MB, and the demo "
            "needs 100 MB: check the network, so that apt can fetch the file "
            "lists" % (size / 1e6))
    os.rename(partial, out)
    say("demo: built in %.0f s" % (time.monotonic() - began))


def make(out):
    """Build `out` unless it is there already."""
    if os.path.exists(out):
        return
    os.makedirs(os.path.dirname(out), exist_ok=True)
    lists = os.path.join(os.path.dirname(out), "apt-lists")
    try:
        fetched = fetch_lists(lists)
    except (OSError, subprocess.TimeoutExpired) as error:
        say("demo: %s" % error)
        fetched = False
    if not fetched:
        lists = "/var/lib/apt/lists"
        if not index_files(lists, "*_Packages*"):
            raise SystemExit("demo: no package lists here and none to be "
                             "fetched: run 'apt-get update' and try again")
        say("demo: going on with the package lists that are here")
    build(out, lists)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    make(os.path.abspath(sys.argv[1]))
