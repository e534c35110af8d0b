#!/usr/bin/env python3
"""read-volume.py DIRECTORY VOLUME [LSN] OUT: one state of a volume, from a directory.
read-volume.py --profile NAME DIRECTORY VOLUME: the runs of pages of a warm profile.

A second reader of the storage format, written from docs/format.md alone, with
Python's standard library and the shared libraries of zstd and xxHash (Debian:
libzstd1, libxxhash0). It checks every hash, and is as slow as it likes.
"""
import ctypes
import os
import struct
import sys
import uuid

Z = ctypes.CDLL("libzstd.so.1")
X = ctypes.CDLL("libxxhash.so.0")


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


SIZE, PTR = ctypes.c_size_t, ctypes.c_void_p
X.XXH3_128bits.restype = Hash128
X.XXH3_128bits.argtypes = [ctypes.c_char_p, SIZE]
X.XXH3_64bits.restype = ctypes.c_uint64
X.XXH3_64bits.argtypes = [ctypes.c_char_p, SIZE]
Z.ZSTD_createDCtx.restype = PTR
Z.ZSTD_freeDCtx.argtypes = [PTR]
Z.ZSTD_decompress_usingDict.argtypes = [PTR, ctypes.c_char_p, SIZE,
                                        ctypes.c_char_p, SIZE,
                                        ctypes.c_char_p, SIZE]
Z.ZSTD_decompress_usingDict.restype = SIZE
Z.ZSTD_getFrameContentSize.argtypes = [ctypes.c_char_p, SIZE]
Z.ZSTD_getFrameContentSize.restype = ctypes.c_uint64


class Damage(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Damage(what)


def hash128(data):
    found = X.XXH3_128bits(data, len(data))
    return struct.pack(">QQ", found.high, found.low)


def sum64(data):
    return struct.pack(">Q", X.XXH3_64bits(data, len(data)))


def unpack(body, size, dictionary=None):
    context = Z.ZSTD_createDCtx()
    out = ctypes.create_string_buffer(size + 1)
    words = dictionary or b""
    got = Z.ZSTD_decompress_usingDict(context, out, size, body, len(body),
                                      words, len(words))
    Z.ZSTD_freeDCtx(context)
    need(got == size, "zstd: %d bytes, not %d" % (got, size))
    return out.raw[:size]


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(self.at + count <= len(self.data), "ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def u8(self):
        return self.take(1)[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                need(byte or shift == 7, "a long varint")
                return value

    def pageset(self):
        runs, last = [], 0
        for _ in range(self.varint()):
            first = last + 1 + self.varint()
            last = first + self.varint()
            runs.append((first, last))
        return runs


def rank(runs, page):
    """Position of a page in a set, or None."""
    before = 0
    for first, last in runs:
        if first <= page <= last:
            return before + page - first
        before += last - first + 1
    return None


class Volume:
    def __init__(self, root, vid):
        self.folder = os.path.join(root, "volumes", vid)
        self.dicts, self.nodes, self.commits, self.tops = {}, {}, {}, {}

    def read(self, obj, offset=0, length=-1):
        kind, name = obj
        if kind == "commits":
            name = "%016x" % (2**64 - 1 - name)
        with open(os.path.join(self.folder, kind, name), "rb") as file:
            file.seek(offset)
            return file.read(length)

    def checked(self, place):
        obj, offset, length, digest = place
        body = self.read(obj, offset, length)
        need(len(body) == length and hash128(body) == digest,
             "%s at %d: wrong hash" % (obj, offset))
        return body

    def profile(self, name):
        """The runs of pages of the newest profile: recent, older."""
        folder = os.path.join("profiles", name)
        key = min(os.listdir(os.path.join(self.folder, folder)))
        raw = self.read((folder, key))
        need(raw[:8] == b"RAMTPRF\x01" and len(raw) <= 32768, "no profile")
        need(raw[-16:] == hash128(hash128(name.encode()) + hash128(raw[:-16])),
             "profile: wrong hash")
        seq, lsn, _, size, reserved = struct.unpack("<Q16xQQII", raw[8:56])
        need(key == "%016x" % (2**64 - 1 - seq) and lsn and not reserved and
             uuid.UUID(bytes=raw[16:32]) ==
             uuid.UUID(os.path.basename(self.folder)), "profile: of another")
        sets = Bytes(raw[56:-16])
        recent, older = sets.pageset(), sets.pageset()
        need(sets.at == len(sets.data), "profile: bytes after its end")
        pages = sum(last - first + 1 for first, last in recent + older)
        need(pages <= min(4096, (8 << 20) // size), "profile: too many pages")
        return recent, older

    def newest(self):
        return 2**64 - 1 - int(min(os.listdir(self.folder + "/commits")), 16)

    def dictionary(self, place):
        if place not in self.dicts:
            body = self.checked(place)
            size = Z.ZSTD_getFrameContentSize(body, len(body))
            self.dicts[place] = unpack(body, size)
        return self.dicts[place]

    # ---- commits

    def commit(self, lsn):
        if lsn not in self.commits:
            self.commits[lsn] = Commit(self, lsn)
        return self.commits[lsn]

    # ---- page maps

    def node(self, place):
        if place not in self.nodes:
            self.nodes[place] = self.checked(place)
        return Bytes(self.nodes[place])

    def top(self, root):
        """Roll-ups, newest first, each (least, pieces), and the tree's root."""
        if root not in self.tops:
            self.tops[root] = self.read_top(root) if root else ([], None)
        return self.tops[root]

    def read_top(self, root):
        obj, start, _, _ = root
        data = self.node(root)
        if data.data[0] != 6:
            return [], root
        need(data.take(3) == bytes((6, 1, 0)), "top")
        maps = self.maps(data)
        rollups = []
        for _ in range(data.varint()):
            data.varint()  # span
            least = data.varint()
            data.varint()  # gone
            rollups.append((least, self.pieces(data, maps, obj, start)))
        length = data.varint()
        return rollups, self.inside(data, obj, start, length) if length else None

    @staticmethod
    def inside(data, obj, start, length):
        offset = start + data.at
        return (obj, offset, length, hash128(data.take(length)))

    def pieces(self, data, maps, obj, start):
        found, last, end = [], 0, None
        for _ in range(data.varint()):
            first = last + 1 + data.varint()
            last = first + data.varint()
            what = data.varint()
            data.varint()  # age
            if what & 2:
                place = self.inside(data, obj, start, data.varint())
            else:
                offset = end if what & 1 else data.varint()
                length = data.varint()
                place = (maps[what >> 2], offset, length, data.take(16))
                end = offset + length
            found.append((first, last, place))
        return found

    def in_map(self, root, page, base=False):
        """(image, image's page, block, position) or None; of the base image
        only the first two."""
        rollups, root = self.top(root)
        block = position = None
        for least, pieces in rollups:
            said = None
            for first, last, place in pieces:
                if first <= page <= last:
                    said = self.run(place, page, first)
            if said is None:
                if page > least:
                    need(not base, "a base that was cut off")
                    return None
                continue
            image, page, over, at = said
            if not base:
                block, position = over, at
            if image:
                return image, page, block, position
            base = True
        said = self.in_tree(root, page)
        if not base:
            return said
        need(said, "page %d has no base" % page)
        return said[0], said[1], block, position

    def in_tree(self, root, page):
        if root is None:
            return None
        level = self.checked(root)[0]
        if page > 64 * 256**level:
            return None
        place = root
        while level > 0:
            place = self.child(place, level, (page - 1) // (64 * 256**(level - 1)))
            if place is None:
                return None
            level -= 1
        return self.run(place, page)

    @staticmethod
    def front(data, level, index):
        need(data.u8() == level and data.u8() == 1 and data.u8() == 0, "node")
        need(data.varint() == index, "another node")
        latest, gone = data.varint(), data.varint()
        need(latest >= 1 and gone <= latest, "node")

    @staticmethod
    def maps(data):
        maps = []
        for _ in range(data.varint()):
            need(data.u8() == 2, "an object that is no map")
            lsn = data.varint()
            maps.append(("maps", "%016x.%s" % (lsn, uuid.UUID(
                bytes=data.take(16)))))
        return maps

    def child(self, place, level, wanted):
        data = self.node(place)
        self.front(data, level, wanted // 256)
        maps = self.maps(data)
        at, end = 0, None
        for _ in range(data.varint()):
            at += data.varint()
            what = data.varint()
            data.varint()  # age
            offset = end if what & 1 else data.varint()
            length = data.varint()
            found = (maps[what >> 1], offset, length, data.take(16))
            end = offset + length
            if at == wanted % 256:
                return found
            at += 1
        return None

    def run(self, place, page, first=None):
        """What a leaf, or the piece of a roll-up from page `first` on, says."""
        data = self.node(place)
        level, bits = (5, 5) if first else (0, 4)
        self.front(data, level, first or (page - 1) // 64)
        dicts = []
        for _ in range(data.varint()):
            sid = str(uuid.UUID(bytes=data.take(16)))
            offset, length = data.varint(), data.varint()
            dicts.append((("segments", sid), offset, length, data.take(16)))
        objects = []
        for _ in range(data.varint()):
            objects.append(("commits", data.varint()) if data.u8() == 1 else
                           ("segments", str(uuid.UUID(bytes=data.take(16)))))
        blocks = []
        for _ in range(data.varint()):
            obj, offset = objects[data.varint()], data.varint()
            blocks.append((obj, offset, data.varint() + 1, data.take(16)))
        at, end = first or (page - 1) // 64 * 64 + 1, None
        for _ in range(data.varint()):
            at += data.varint()
            count, what = data.varint() + 1, data.varint()
            data.varint()  # age
            dictionary = dicts[data.varint()] if what & 1 else None
            block = position = None
            image_page = at
            if what & 8:
                block, position = blocks[data.varint()], data.varint()
                image_page = data.varint() or at
            if first and what & 16:
                if at == page:
                    return (None, image_page, block, position)
                at += count
                continue
            before, pages = (data.varint(), data.varint() + 1) if what & 2 \
                else (0, count)
            offset = end if what & 4 else data.varint()
            length = data.varint() + 1
            body = (objects[what >> bits], offset, length, data.take(16))
            end = offset + length
            frame = (body, image_page - before, pages, dictionary)
            if at <= page < at + count:
                return frame, image_page + page - at, block, position
            at += count
        return None

    # ---- pages

    def image(self, frame, page, page_size):
        place, first, count, dictionary = frame
        words = self.dictionary(dictionary) if dictionary else None
        pages = unpack(self.checked(place), count * page_size, words)
        return pages[(page - first) * page_size:][:page_size]

    def base(self, lsn, map_lsn, root, page):
        """Frame and page of the base image of a page at `lsn`."""
        while lsn > map_lsn:
            commit = self.commit(lsn)
            frame = commit.frame(page)
            if frame:
                return frame, page
            delta = commit.delta(page)
            if delta:
                page = delta[2]
            else:
                need(page <= commit.least, "a base that was cut off")
            lsn -= 1
        return self.in_map(root, page, True)[:2]

    def page(self, lsn, page):
        made = self.found(lsn, page)
        if page == 1 and self.commit(lsn).says:
            need(made == self.said(self.commit(lsn)),
                 "page 1 of %d does not lie where it says" % lsn)
        return made

    def said(self, commit):
        """Page 1 from where the commit says that it lies."""
        image, _, block, position = commit.says
        own = commit.delta(1) if commit.blocks else None
        if own:
            block, position = own[:2]
        if block is None:
            return self.image(image, 1, commit.page_size)
        return self.apply(block, position, (image, 1), commit.page_size)

    def found(self, lsn, page):
        top = self.commit(lsn)
        size, at = top.page_size, lsn
        while at > top.map_lsn:
            commit = self.commit(at)
            frame, delta = commit.frame(page), commit.delta(page)
            if frame:
                return self.image(frame, page, size)
            if delta:
                base = self.base(at - 1, top.map_lsn, top.root, delta[2])
                return self.apply(delta[0], delta[1], base, size)
            if page > commit.least:
                return bytes(size)
            at -= 1
        found = self.in_map(top.root, page)
        if found is None:
            return bytes(size)
        frame, image_page, block, position = found
        if block is None:
            return self.image(frame, image_page, size)
        return self.apply(block, position, (frame, image_page), size)

    def apply(self, block, position, base, size):
        """The page that a delta makes: docs/format.md, "Deltas"."""
        body = Bytes(self.read(*block[:3]))
        sums = body.take(8 * body.varint() + 8)
        front, body = body.data[:body.at], body.data[body.at:]
        need(hash128(front) == block[3] and sums[-8:] == sum64(body),
             "%s at %d: wrong hash" % block[:2])
        content = Bytes(unpack(body, Z.ZSTD_getFrameContentSize(body,
                                                                len(body))))
        steps = Bytes(content.take(content.varint()))
        literals = Bytes(content.data[content.at:])
        for _ in range(position + 1):
            made = self.steps(steps, literals, size)
        page = self.follow(made, self.image(*base, size))
        need(sum64(page) == sums[8 * position:][:8],
             "a delta that does not make its page")
        return page

    @staticmethod
    def steps(data, literals, size):
        """One page's: (literal bytes, kind, length, where in page and base)."""
        found, at, shift = [], 0, 0
        while at < size:
            own = literals.take(data.varint())
            at += len(own)
            kind = length = 0
            if at < size:
                length, kind = divmod(data.varint(), 4)
                length = 2 * length if kind == 1 else length or size - at
                need(kind < 3 and length, "a step of no kind")
            if kind < 2 and length:
                more = data.varint()
                shift += -(more + 1) // 2 if more & 1 else more // 2
                need(0 <= at + shift <= size - length, "beyond the base")
            found.append((own, kind, length, at, at + shift))
            at += length
        need(at == size, "steps of more than a page")
        return found

    @staticmethod
    def follow(steps, base):
        copies = [(source, length, at) for _, kind, length, at, source in steps
                  if kind == 0 and length]

        def moved(number):
            for source, length, at in copies:
                if source <= number < source + length:
                    return number - source + at & 0xffff
            behind = [copy for copy in copies if copy[0] > number]
            if not behind:
                return number
            source, _, at = min(behind, key=lambda copy: copy[0])
            return number - source + at & 0xffff

        page = b""
        for own, kind, length, _, source in steps:
            page += own
            if kind == 0:
                page += base[source:source + length]
            elif kind == 1:
                numbers = struct.unpack_from(">%dH" % (length // 2), base, source)
                page += struct.pack(">%dH" % len(numbers), *map(moved, numbers))
            else:
                page += bytes(length)
        return page


class Commit:
    def __init__(self, volume, lsn):
        raw = volume.read(("commits", lsn))
        need(raw[:8] == b"RAMTCMT\x04" and hash128(raw[:292]) == raw[292:308],
             "commit %d" % lsn)
        (length, inline) = struct.unpack_from("<II", raw, 8)
        need(struct.unpack_from("<Q", raw, 16)[0] == lsn, "another LSN")
        need(raw[212:276] == bytes(64), "fields of a later version")
        need(hash128(raw[308:length]) == raw[276:292], "body of %d" % lsn)
        # Offsets count from where an inline segment's header would be.
        self.volume, self.lsn, self.start = volume, lsn, length - 32
        self.page_size, distance = 1 << raw[26], raw[29]
        self.page_count, self.least, self.length = struct.unpack_from(
            "<IIQ", raw, 104)
        self.map_lsn = lsn - distance
        offset, size = struct.unpack_from("<QI", raw, 136)
        self.root = None
        if size:
            name = "%016x.%s" % (self.map_lsn, uuid.UUID(bytes=raw[120:136]))
            self.root = (("maps", name), offset, size, raw[148:164])
        body = Bytes(raw[308:length])
        self.says = self.first_page(body) if raw[24] & 8 else None
        self.body(body, distance > 0)
        need(len(raw) == length + inline, "commit %d is cut" % lsn)

    def place(self, data):
        kind, start = data.u8(), 0
        need(kind <= 2, "a place of a later version")
        if kind == 0:
            obj = ("segments", str(uuid.UUID(bytes=data.take(16))))
        else:
            obj = ("commits", data.varint() if kind == 1 else self.lsn)
            start = self.start if kind == 2 else 0
        offset = start + data.varint()
        return obj, offset, data.varint() + 1, data.take(16)

    def first_page(self, data):
        """Where page 1 lies, as the commit says: as Volume.in_map() has it, but for
        a delta that the commit's own blocks name."""
        what, block, position, words = data.u8(), None, None, None
        need(what < 8 and data.varint() < self.lsn, "place of page 1")
        if what & 1:
            sid = str(uuid.UUID(bytes=data.take(16)))
            offset, length = data.varint(), data.varint()
            words = (("segments", sid), offset, length, data.take(16))
        image = self.place(data)
        pages = data.varint() + 1 if what & 2 else 1
        if what & 4:
            block, position = self.place(data), data.varint()
        return (image, 1, pages, words), 1, block, position

    def body(self, data, tables):
        self.changed, self.deltas = data.pageset(), data.pageset()
        self.frames, self.blocks, self.names = [], [], {}
        last = 0
        for _ in range(data.varint()):
            last = self.segment(data, last)
        if self.deltas:
            inline = data.u8() & 1
            obj, at = ("commits", self.lsn), self.start if inline else 0
            if not inline:
                obj = ("segments", str(uuid.UUID(bytes=data.take(16))))
                data.varint()
            at += data.varint()
            count = data.varint()
            for _ in range(count if tables else 0):
                pages, length = data.varint() + 1, data.varint() + 1
                self.blocks.append((pages, (obj, at, length, data.take(16))))
                at += length
            position = -1
            for _ in range(data.varint() if tables else 0):
                position += data.varint() + 1
                self.names[position] = data.varint()
        need(data.at == len(data.data), "bytes behind the body")

    def segment(self, data, last):
        flags = data.u8()
        inline = flags & 1
        obj, start = ("commits", self.lsn), self.start if inline else 0
        if not inline:
            obj = ("segments", str(uuid.UUID(bytes=data.take(16))))
            data.varint()
        count = data.varint()
        first = last + 1 + data.varint()
        last = first + data.varint()
        words = None
        if flags & 2:
            sid = str(uuid.UUID(bytes=data.take(16)))
            offset, length = data.varint(), data.varint()
            words = (("segments", sid), offset, length, data.take(16))
        if flags & 4:
            self.table(data, count, obj, start, words)
        if flags & 8:
            end = 0
            for _ in range(data.varint()):
                data.varint(), data.varint()
                offset = end + data.varint()
                length = data.varint()
                end = offset + length
                chunk = Bytes(self.volume.checked((obj, offset, length,
                                                   data.take(16))))
                self.table(chunk, chunk.varint(), obj, start, words)
        return last

    def table(self, data, count, obj, start, words):
        need(data.u8() == 1, "a hash of a later version")
        usual_kind, usual_pages = data.u8(), data.u8() + 1
        at, last = data.varint(), 0
        for _ in range(count):
            gap = data.varint()
            kind, pages = usual_kind, usual_pages
            if gap & 1:
                kind, pages = data.u8(), data.u8() + 1
            if gap & 2:
                shift = data.varint()
                at += -(shift + 1 >> 1) if shift & 1 else shift >> 1
            length = data.varint() + 1
            first = last + 1 + (gap >> 2)
            last = first + pages - 1
            self.frames.append(((obj, start + at, length, data.take(16)), first,
                                pages, words if kind == 1 else None))
            at += length

    def frame(self, page):
        if rank(self.changed, page) is None:
            return None
        for frame in self.frames:
            if frame[1] <= page < frame[1] + frame[2]:
                return frame
        raise Damage("page %d of LSN %d lies nowhere" % (page, self.lsn))

    def delta(self, page):
        """(block, position in it, page of its base) or None."""
        position = at = rank(self.deltas, page)
        if position is None:
            return None
        for pages, place in self.blocks:
            if at < pages:
                return place, at, self.names.get(position, page)
            at -= pages
        raise Damage("delta of page %d lies nowhere" % page)


def find(root, name):
    try:
        return str(uuid.UUID(name))
    except ValueError:
        names = os.path.join(root, "names", name)
        with open(os.path.join(names, min(os.listdir(names))), "rb") as file:
            raw = file.read()
        need(hash128(name.encode() + raw[:32]) == raw[32:48], "name")
        return str(uuid.UUID(bytes=raw[16:32]))


def main(words):
    if len(words) == 4 and words[0] == "--profile":
        volume = Volume(words[2], find(words[2], words[3]))
        for runs in volume.profile(words[1]):
            print(*("%d-%d" % run for run in runs))
        return
    if len(words) not in (3, 4):
        sys.exit(__doc__.splitlines()[0])
    volume = Volume(words[0], find(words[0], words[1]))
    lsn = int(words[2]) if len(words) == 4 else volume.newest()
    commit = volume.commit(lsn)
    with open(words[-1], "wb") as out:
        for page in range(1, commit.page_count + 1):
            out.write(volume.page(lsn, page))
        out.truncate(commit.length)


if __name__ == "__main__":
    main(sys.argv[1:])
