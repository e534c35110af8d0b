"""A database of 4 GB of which only what is asked for exists, made in seconds: a
table whose tree has four levels of interior pages, as one of 1 TB has, with the pages
on the way to the rows about MIDDLE, and their neighbours. All others are zeros, of
which nothing is stored.

A leaf holds ROWS rows; an interior page FAN children but the root, whose number of
children gives the size. Pages stand level by level, so that each number follows from
the place in the tree.
"""
import ctypes
import struct

PAGE = 4096
FAN = 64  # children of an interior page
ROWS = 16  # of a leaf
WIDTH = 200  # bytes of a row's text
TOP = 4  # children of the root: 4 * 64 ** 3 leaves
LEVELS = (TOP * FAN ** 3, TOP * FAN ** 2, TOP * FAN, TOP)  # pages, from leaves on
ROOT = 2
FIRST = (ROOT + 1 + sum(LEVELS[1:]), ROOT + 1 + LEVELS[2] + LEVELS[3],
         ROOT + 1 + LEVELS[3], ROOT + 1)  # page of each level
PAGES = FIRST[0] + LEVELS[0] - 1
MIDDLE = LEVELS[0] * ROWS // 2 + 5
NEAR = 200  # leaves on either side that exist


def varint(value):
    out = [value & 0x7f]
    while value > 0x7f:
        value >>= 7
        out.append(value & 0x7f | 0x80)
    return bytes(reversed(out))


def page(kind, cells, right=None, header=b""):
    """A page of a table's tree, with its cells at the end."""
    out = bytearray(PAGE)
    at, pointers = PAGE, []
    for cell in cells:
        at -= len(cell)
        out[at:at + len(cell)] = cell
        pointers.append(at)
    head = struct.pack(">BHHHB", kind, 0, len(cells), at, 0)
    if right is not None:
        head += struct.pack(">I", right)
    head = header + head + b"".join(struct.pack(">H", p) for p in pointers)
    out[:len(head)] = head
    return bytes(out)


def row(rowid, values):
    """None, one byte, or text; of 127 bytes of header at most."""
    types = b"".join(varint(0 if v is None else 1 if isinstance(v, int) else
                            13 + 2 * len(v)) for v in values)
    record = varint(len(types) + 1) + types + b"".join(
        b"" if v is None else bytes([v]) if isinstance(v, int) else v
        for v in values)
    return varint(len(record)) + varint(rowid) + record


def leaf(number):
    """Rows of the table: id is the rowid, so NULL in the record."""
    return page(13, [row(number * ROWS + i, (
        None, (b"%d " % (number * ROWS + i)).ljust(WIDTH, b".")))
                     for i in range(ROWS)])


def interior(children, first_child, leaves_below):
    """Children from `first_child` (its page, its place in its level) on."""
    pgno, place = first_child
    cells = [struct.pack(">I", pgno + i) +
             varint((place + i + 1) * leaves_below * ROWS - 1)
             for i in range(children - 1)]
    return page(5, cells, pgno + children - 1)


def existing():
    """(page number, content) of each page that exists; then how many there are."""
    sql = b"CREATE TABLE t(id INTEGER PRIMARY KEY, v)"
    header = (b"SQLite format 3\0" +
              struct.pack(">HBBBBBBIIIIIIIIIIII", PAGE, 1, 1, 0, 64, 32, 32, 1,
                          PAGES, 0, 0, 1, 4, 0, 0, 1, 0, 0, 0) +
              bytes(20) + struct.pack(">II", 1, 3040001))
    yield 1, page(13, [row(1, (b"table", b"t", b"t", ROOT, sql))],
                  header=header)
    yield ROOT, interior(TOP, (FIRST[3], 0), FAN ** 3)
    middle = MIDDLE // ROWS
    for level in 3, 2, 1:
        for near in -1, 0, 1:
            place = middle // FAN ** level + near
            if 0 <= place < LEVELS[level]:
                yield FIRST[level] + place, interior(
                    FAN, (FIRST[level - 1] + place * FAN, place * FAN),
                    FAN ** (level - 1))
    for number in range(middle - NEAR, middle + NEAR):
        yield FIRST[0] + number, leaf(number)


class Options(ctypes.Structure):
    _fields_ = ([("size", ctypes.c_size_t)] +
                [(name, ctypes.c_char_p) for name in ("remote", "at", "sync")] +
                [(name, ctypes.c_int) for name in
                 ("create", "readonly", "stateless")] +
                [("page_size", ctypes.c_uint32),
                 ("cache_limit_bytes", ctypes.c_uint64)] +
                [(name, ctypes.c_uint32) for name in
                 ("fetch_timeout_ms", "commit_timeout_ms", "close_wait_ms")] +
                [("allow_pull", ctypes.c_int)] +
                [(name, ctypes.c_uint32) for name in
                 ("push_interval_ms", "max_stale_ms")])


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("system_errno", ctypes.c_int),
                ("text", ctypes.c_char * 512)]


def fill(library, path):
    """Into the replica at `path`, of an empty database: the pages as they are."""
    ramet = ctypes.CDLL(library)
    ramet.ramet_write.argtypes = (ctypes.c_void_p, ctypes.c_uint64,
                                  ctypes.c_char_p, ctypes.c_size_t,
                                  ctypes.POINTER(Error))
    error, volume = Error(), ctypes.c_void_p()
    options = Options(size=ctypes.sizeof(Options), sync=b"manual")

    def do(name, *words):
        if getattr(ramet, name)(*words, ctypes.byref(error)) != 0:
            raise SystemExit("hollow: %s: %s" % (name, error.text.decode()))

    do("ramet_open", path.encode(), ctypes.byref(options),
       ctypes.byref(volume))
    do("ramet_begin", volume, 1)
    for pgno, content in existing():
        do("ramet_write", volume, (pgno - 1) * PAGE, content, PAGE)
    do("ramet_truncate", volume, ctypes.c_uint64(PAGES * PAGE))
    do("ramet_commit", volume)
    do("ramet_push", volume, None)
    ramet.ramet_close(volume)
