"""Databases of any size of which only what is asked for exists, made in seconds
(sparsevolume.c): a table of a real tree, with the pages on the way to the rows about
its middle, and their neighbours. All others are zeros, of which nothing is stored.

A leaf holds ROWS rows; an interior page `fan` children but the root, whose number of
children gives the size. Pages stand level by level, so that each number follows from
the place in the tree.
"""
import struct
import subprocess

PAGE = 4096
ROWS = 16  # of a leaf
WIDTH = 200  # bytes of a row's text
ROOT = 2
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


class Tree:
    """`depth` levels of interior pages, the root's among them."""

    def __init__(self, top, fan, depth):
        self.top, self.fan, self.depth = top, fan, depth
        self.levels = [top * fan ** (depth - 1 - level)
                       for level in range(depth)]  # pages, from leaves on
        self.first = [ROOT + 1 + sum(self.levels[level + 1:])
                      for level in range(depth)]  # page of each level
        self.pages = self.first[0] + self.levels[0] - 1
        self.middle = self.levels[0] * ROWS // 2 + 5

    def interior(self, count, below, place, leaves_below):
        """With children from `place` on in the level `below`."""
        pgno = self.first[below] + place
        cells = [struct.pack(">I", pgno + i) +
                 varint((place + i + 1) * leaves_below * ROWS - 1)
                 for i in range(count - 1)]
        return page(5, cells, pgno + count - 1)

    def existing(self):
        """(page number, content) of each page that exists, ascending."""
        sql = b"CREATE TABLE t(id INTEGER PRIMARY KEY, v)"
        header = (b"SQLite format 3\0" +
                  struct.pack(">HBBBBBBIIIIIIIIIIII", PAGE, 1, 1, 0, 64,
                              32, 32, 1, self.pages, 0, 0, 1, 4, 0, 0, 1, 0, 0,
                              0) +
                  bytes(20) + struct.pack(">II", 1, 3040001))
        yield 1, page(13, [row(1, (b"table", b"t", b"t", ROOT, sql))],
                      header=header)
        yield ROOT, self.interior(self.top, self.depth - 1, 0,
                                  self.fan ** (self.depth - 1))
        middle = self.middle // ROWS
        for level in range(self.depth - 1, 0, -1):
            for near in -1, 0, 1:
                place = middle // self.fan ** level + near
                if 0 <= place < self.levels[level]:
                    yield self.first[level] + place, self.interior(
                        self.fan, level - 1, place * self.fan,
                        self.fan ** (level - 1))
        for number in range(middle - NEAR, middle + NEAR):
            yield self.first[0] + number, leaf(number)


# Four levels of interior pages, as a tree of 1 TB has; and that.
SMALL = Tree(4, 64, 4)  # 4 GB
LARGE = Tree(16, 254, 4)  # 1.07 TB


def build(program, store, name, tree):
    """The volume `name` in the directory `store`."""
    making = subprocess.Popen(
        [program, store, name, str(PAGE), str(tree.pages)],
        stdin=subprocess.PIPE)
    for pgno, content in tree.existing():
        making.stdin.write(struct.pack("<I", pgno) + content)
    making.stdin.close()
    if making.wait() != 0:
        raise SystemExit("hollow: %s failed" % program)
