"""The n-th call of a kind fails in another process, or in this one: what
fault_shim.c does, and how it is told.

    faults = Faults(path)                a file that both share
    subprocess.run(..., env=faults.env())
    faults.arm("write", 17, errno.ENOSPC)
"""
import mmap
import os
import struct

BUILD = os.path.abspath(os.environ.get("RAMET_BUILD", "build"))
SHIM = os.path.join(BUILD, "tests", "ramet_fault_shim.so")
KINDS = ("alloc", "read", "write", "sync", "name", "open", "lock", "network",
         "short", "look")
LAYOUT = struct.Struct("=QqQQq10QQ")  # struct control in fault_shim.c, and then
SITES_MAX = 16384                       # the sites of each kind
SITES = struct.Struct("=%dI" % SITES_MAX)


class Faults:
    def __init__(self, path):
        self.path = path
        with open(path, "wb") as file:
            file.write(LAYOUT.pack(0, -1, 0, 0, 0, *[0] * 11))
            file.truncate(LAYOUT.size + len(KINDS) * SITES.size)
        self.map()

    @classmethod
    def join(cls, path):
        """What another process made."""
        faults = cls.__new__(cls)
        faults.path = path
        faults.map()
        return faults

    def map(self):
        fd = os.open(self.path, os.O_RDWR)
        self.shared = mmap.mmap(fd, LAYOUT.size + len(KINDS) * SITES.size)
        os.close(fd)

    def env(self, **more):
        return dict(os.environ, LD_PRELOAD=SHIM, RAMET_FAULTS=self.path, **more)

    def fields(self):
        return LAYOUT.unpack(self.shared[:LAYOUT.size])

    def arm(self, kind, nth, errnum=0):
        """The nth (0: the next) call of this kind from now on fails, once."""
        struct.pack_into("=q", self.shared, 8, -1)
        struct.pack_into("=QqQQ", self.shared, 0, 1 << KINDS.index(kind), -1,
                         errnum, 0)
        struct.pack_into("=q", self.shared, 8, nth)

    def count_all(self):
        """Let calls of every kind be counted, and none fail."""
        struct.pack_into("=QqQQ", self.shared, 0, (1 << len(KINDS)) - 1, -1, 0, 0)
        self.shared[LAYOUT.size:] = bytes(len(KINDS) * SITES.size)
        struct.pack_into("=Q", self.shared, LAYOUT.size - 8, 1)

    def disarm(self):
        """Did it happen?"""
        struct.pack_into("=q", self.shared, 8, -1)
        struct.pack_into("=Q", self.shared, LAYOUT.size - 8, 0)
        return self.fields()[3] != 0

    def live(self):
        """Blocks that Ramet's code has of the allocator."""
        return self.fields()[4]

    def counts(self):
        return dict(zip(KINDS, self.fields()[5:-1]))

    def calls_by_site(self, kind):
        """[[n, …], …]: for each place that such calls come from, by its callers,
        those that did since count_all(). Of the network each call is a place."""
        count = self.counts()[kind]
        sites = SITES.unpack_from(self.shared,
                                  LAYOUT.size + KINDS.index(kind) * SITES.size)
        places = {}
        for nth in range(count):
            site = sites[nth] if nth < SITES_MAX else 0
            places.setdefault(site or ("call", nth), []).append(nth)
        return list(places.values())

    def clear_counts(self):
        struct.pack_into("=q10Q", self.shared, 32, 0, *[0] * 10)
