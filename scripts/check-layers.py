#!/usr/bin/python3
"""The include graph is the layer table of docs/architecture.md.

Each quoted include of product code names "folder/file.h" from the root of the
repository, is there, and stays within the folders that its layer may use. The
libraries that CMake links must be those too. Prints what breaks the rule and
exits with 1, or says how much it looked at.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A layer, and the layers that it may include beside itself.
LAYERS = {
    "core": (),
    "sqliteformat": ("core",),
    "prefetch": ("core", "sqliteformat"),
    "pagestore": ("core",),
    "metastore": ("core", "pagestore"),
    "client": ("core", "sqliteformat", "prefetch", "pagestore", "metastore"),
    "server": ("core", "sqliteformat", "prefetch", "pagestore", "metastore"),
    "vfs": ("core", "sqliteformat", "prefetch", "pagestore", "metastore", "client"),
    "cli": ("core", "sqliteformat", "prefetch", "pagestore", "metastore", "client",
            "server"),
}

# A room of client/, and what of client/ its files may include beside its own
# folder: other rooms, or single headers. docs/architecture.md draws the tower.
DOOR = ("client/snapshot.h", "client/store/store.h")
FORMAT = DOOR
SHARED = FORMAT + ("client/store/format", "client/store/path.h",
                   "client/store/keep.h")
LOG = SHARED + ("client/store/shared",)
UPKEEP = LOG + ("client/store/log", "client/store/page")
SESSION = UPKEEP + ("client/store/upkeep",)
LIFE = SESSION + ("client/store/session",)
ROOMS = {
    "client/remote": ("client/snapshot.h",),
    "client/store/format": FORMAT,
    "client/store/shared": SHARED,
    "client/store/log": LOG,
    "client/store/page": LOG,
    "client/store/upkeep": UPKEEP,
    "client/store/session": SESSION,
    "client/store/life": LIFE,
    "client/sync": DOOR + ("client/remote", "client/store/keep.h"),
    "client/volume": DOOR + ("client/remote", "client/sync",
                             "client/store/path.h", "client/ramet.h"),
}

# The header that programs include is installed alone: no other of ours in it.
PUBLIC_HEADER = ROOT / "client" / "ramet.h"

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
LINK = re.compile(r"\bramet_(%s)\b" % "|".join(LAYERS))


def check_source(path, layer):
    """The complaints about one source file, and its number of includes."""
    complaints = []
    allowed = (layer,) + LAYERS[layer]
    text = path.read_text(encoding="utf-8")
    includes = INCLUDE.findall(text)
    for include in includes:
        folder = include.split("/")[0]
        where = "%s includes %s" % (path.relative_to(ROOT), include)
        if path == PUBLIC_HEADER:
            complaints.append(where + ": the public header stands alone")
        elif not (ROOT / include).is_file():
            complaints.append(where + ": not a file of the repository")
        elif folder not in allowed:
            complaints.append(where + ": %s may use %s" %
                              (layer, ", ".join(allowed)))
    return complaints, len(includes)


def room_of(name):
    """The room that a file of client/ is in; None: beside them."""
    rooms = [room for room in ROOMS if name.startswith(room + "/")]
    return max(rooms, key=len) if rooms else None


def check_room(path):
    """The complaints about one file of client/, by the second table."""
    room = room_of(str(path.relative_to(ROOT)))
    if room is None:
        return []
    allowed = (room,) + ROOMS[room]
    return ["%s includes %s: %s may use %s" %
            (path.relative_to(ROOT), include, room, ", ".join(ROOMS[room]))
            for include in INCLUDE.findall(path.read_text(encoding="utf-8"))
            if include.startswith("client/") and include not in allowed and
            room_of(include) not in allowed]


def check_links(layer):
    """The complaints about what the layer's CMakeLists.txt links."""
    path = ROOT / layer / "CMakeLists.txt"
    if not path.is_file():
        return []
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
    used = set(LINK.findall(text)) - {layer}
    return ["%s names ramet_%s" % (path.relative_to(ROOT), other)
            for other in sorted(used - set(LAYERS[layer]))]


def main():
    complaints = []
    files = 0
    total = 0
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.[ch]")):
            found, count = check_source(path, layer)
            complaints += found + check_room(path)
            files += 1
            total += count
        complaints += check_links(layer)
    for complaint in complaints:
        print(complaint)
    if complaints:
        return 1
    print("%d includes in %d files keep to the layers" % (total, files))
    return 0 if files > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
