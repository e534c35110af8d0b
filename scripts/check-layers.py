#!/usr/bin/python3
"""The include graph is the layer table of docs/architecture.md.

Each quoted include of product code names "folder/file.h" from the root of the
repository, is there, and stays within the folders that its layer may use. The
libraries that CMake links must be those too. Within a layer no files know each
other in a circle: none uses a function of another that, by whatever way, uses
one of it. No header is longer than HEADER_LINES_MAX. Prints
what breaks the rules and exits with 1, or says how much it looked at.
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
DOOR = ("client/snapshot.h", "client/store/store.h",
        "client/store/exchange.h", "client/store/replicas.h")
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

HEADER_LINES_MAX = 300

# What is no code, and where a file defines a function that others may use.
NO_CODE = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
DEFINED = re.compile(r"^([^\s#}][^\n;]*)\n(ramet_\w+)\([^;{]*\)\s*\{",
                     re.MULTILINE)
USED = re.compile(r"(?<!struct )(?<!enum )(?<![.>])\b(ramet_\w+)\b")

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


def uses_of(folder):
    """Which files of a folder each of its files uses functions of."""
    texts = {path: NO_CODE.sub(" ", path.read_text(encoding="utf-8"))
             for path in sorted((ROOT / folder).rglob("*.c"))}
    home = {found.group(2): path
            for path, text in texts.items() for found in DEFINED.finditer(text)
            if not found.group(1).startswith("static ")}
    return {path: {home[name] for name in USED.findall(text)
                   if home.get(name, path) != path}
            for path, text in texts.items()}


def circle_through(path, uses):
    """A way from a file through others back to it, or None."""
    came_from = {path: None}
    ahead = [path]
    while ahead:
        at = ahead.pop(0)
        for other in sorted(uses[at]):
            if other == path:
                way = [path]
                while at is not None:
                    way.append(at)
                    at = came_from[at]
                return way[::-1]
            if other not in came_from:
                came_from[other] = at
                ahead.append(other)
    return None


def check_circles(folder):
    """The complaints about files of a folder that know each other in a circle."""
    uses = uses_of(folder)
    complaints = []
    told = set()
    for path in uses:
        way = None if path in told else circle_through(path, uses)
        if way is not None:
            told.update(way)
            complaints.append("in a circle: " + " -> ".join(
                str(step.relative_to(ROOT)) for step in way))
    return complaints


def check_length(path):
    """The complaint about a header that is too long."""
    lines = path.read_text(encoding="utf-8").count("\n")
    return ["%s has %d lines; %d are enough" %
            (path.relative_to(ROOT), lines, HEADER_LINES_MAX)
            ] if path.suffix == ".h" and lines > HEADER_LINES_MAX else []


def main():
    complaints = []
    files = 0
    total = 0
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.[ch]")):
            found, count = check_source(path, layer)
            complaints += found + check_room(path) + check_length(path)
            files += 1
            total += count
        complaints += check_links(layer) + check_circles(layer)
    for complaint in complaints:
        print(complaint)
    if complaints:
        return 1
    print("%d includes in %d files keep to the layers" % (total, files))
    return 0 if files > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
