"""Python's sqlite3 opens every database file with VFS "ramet", if RAMET_SUITE_SO
names the extension. Python imports this by its name, from PYTHONPATH."""
import os
import sqlite3
from urllib.parse import quote

SO = os.environ.get("RAMET_SUITE_SO")


def is_file(name):
    return (isinstance(name, str) and name not in ("", ":memory:") and
            "mode=memory" not in name and ":memory:" not in name and
            "vfs=" not in name)


def uri_of(name):
    if name.startswith("file:"):
        return name + ("&" if "?" in name else "?") + "vfs=ramet"
    return "file:%s?vfs=ramet" % quote(name)


def install():
    connect = sqlite3.connect
    loader = connect(":memory:")
    loader.enable_load_extension(True)
    loader.load_extension(SO)

    def connect_to_replica(database, *args, **options):
        name = database if isinstance(database, bytes) else os.fspath(database)
        if is_file(name):
            name, options["uri"] = uri_of(name), True
        return connect(name, *args, **options)

    sqlite3.connect = sqlite3.dbapi2.connect = connect_to_replica


if SO:
    install()
