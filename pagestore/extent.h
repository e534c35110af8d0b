/*
 * extent.h - a piece of an immutable object, and the hash that it must have.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_EXTENT_H
#define RAMET_PAGESTORE_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/id.h"
#include "pagestore/objstore.h"

#define RAMET_DICT_BYTES_MAX (112u << 10)

/* Which object holds the bytes. */
enum ramet_object_kind {
    RAMET_IN_SEGMENT = 0, /* volumes/<volume>/segments/<segment> */
    RAMET_IN_COMMIT = 1,  /* volumes/<volume>/commits/<~lsn>: inline */
};

struct ramet_extent {
    struct ramet_vid volume; /* under whose prefix; an ancestor's for a fork */
    enum ramet_object_kind kind;
    struct ramet_sid segment; /* RAMET_IN_SEGMENT */
    uint64_t lsn;             /* RAMET_IN_COMMIT */
    uint64_t offset_bytes;    /* from the first byte of the object */
    uint32_t length_bytes;    /* 1 to RAMET_FRAME_BYTES_MAX */
    uint8_t hash_algo;        /* enum ramet_hash_algo */
    struct ramet_hash
        hash; /* of exactly these bytes; FRONT: of what they begin with */
};

/* Key of the object that `extent` points into. */
void
ramet_extent_key(const struct ramet_extent *extent, char out[RAMET_KEY_MAX]);

/* Do both point into the same object? */
bool ramet_extent_same_object(const struct ramet_extent *a,
                              const struct ramet_extent *b);
/* Are they the same piece of it, with the same hash? */
bool
ramet_extent_equal(const struct ramet_extent *a, const struct ramet_extent *b);
/* Have its `length_bytes` bytes the hash that they must have? One of another algorithm,
 * or of none, is not looked at. */
bool
ramet_extent_matches(const struct ramet_extent *extent, const uint8_t *bytes);

#endif
