/*
 * history_core.h - one volume's history as this process knows it.
 *
 * The object that all files of the history work on, and nothing else: each of
 * them has a header of its own.
 *
 *   head_cache.[ch]   heads of commits, through the cache
 *   node_cache.[ch]   map nodes, in bulk, through the cache
 *   table.[ch]        frame tables of segments, chunk by chunk; many at once: table_bring.c
 *   overlay.[ch]      the heads past the map that an LSN refers to
 *   locate.c          page -> frame, and reading pages
 *   diff.c            what differs between two LSNs
 *   map.h             making and finding page maps: mapplan.c, mapbuild.c,
 *                     mapwriter.c, mapfind.c; their roots are read in maproot.[ch]
 *   copy.h            the whole of it, from one store into another: copy.c,
 *                     copy_objects.c, copy_jobs.c
 *   verify.h          objects against their hashes: verify.c, verify_objects.c,
 *                     verify_maps.c
 *   history.c, prepare.c, validate.c   the rest of history.h
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_HISTORY_CORE_H
#define RAMET_METASTORE_HISTORY_CORE_H

#include "core/os.h"
#include "core/thread.h"
#include "metastore/history.h"
#include "metastore/lru.h"

enum { LRU_HEAD = 1, LRU_NODE = 2, LRU_CHUNK = 3 };

/* A map that this process made or found, not yet named by a commit perhaps. */
struct ramet_known_map {
    struct ramet_map_ref ref; /* lsn 0: none */
    struct ramet_hash commit_hash;
};

/* How much roll-ups gather before they are merged; mapplan.c says why so. */
struct ramet_map_sizes {
    /* The newest, if it is no larger, stands in the top, which every map writes
     * anew and every reader reads. */
    uint32_t inside_bytes;
    uint32_t middle_bytes; /* what is larger is of the largest class */
    /* The tree takes them in where they have so many bytes for each leaf that would be
     * made anew, or so many pages in all: their pieces have to find room in a top. */
    uint32_t bytes_a_leaf;
    uint32_t pages_most;
    uint32_t pages_a_piece; /* RAMET_PIECE_RUNS_MAX or less */
};
extern const struct ramet_map_sizes ramet_map_sizes;

/* Overlays of the snapshots that were read last stay open: a warm read then
 * takes no heads from the cache one by one. At most 64 heads each. */
#define RAMET_OVERLAYS_KEPT 4u
struct ramet_shared_overlay;

struct ramet_history {
    struct ramet_objstore *store;
    struct ramet_objstore *behind; /* the same, or behind a cache */
    const struct ramet_os *os;
    struct ramet_vid volume;
    struct ramet_frame_reader *frames;
    struct ramet_lru lru;
    struct ramet_map_sizes map_sizes;
    struct ramet_mutex mutex; /* guards what follows */
    uint64_t newest_lsn;      /* the newest commit seen; 0: none */
    struct ramet_hash newest_hash;
    bool expects_reads; /* whoever looks first will read there */
    bool opens;         /* he looked, and reads next: page 1 mostly */
    uint64_t proven_ms; /* the store was seen to have it; 0: not */
    uint64_t made_ms;   /* this process made the volume; 0: it did not */
    struct ramet_known_map known_map;
    struct ramet_shared_overlay
        *overlays[RAMET_OVERLAYS_KEPT]; /* by LSN modulo */
};

#endif
