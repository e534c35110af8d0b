/*
 * mapnode.h - one node of a page map, as bytes and as a struct.
 *
 * A leaf says where each of 64 pages lies, an inner node where each of its
 * 256 children. Byte layout: docs/format.md, "Page maps".
 *
 *   (1) A decoded node is what its place in the tree demands: level and index
 *       are the caller's, and every page and child is within them.
 *   (2) Encoding a decoded node gives the same bytes: equal subtrees have
 *       equal hashes.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_MAPNODE_H
#define RAMET_METASTORE_MAPNODE_H

#include "core/bytes.h"
#include "core/err.h"
#include "core/hash.h"
#include "core/id.h"
#include "metastore/located.h"
#include "pagestore/frame.h"

#define RAMET_LEAF_PAGES 64u
#define RAMET_INNER_CHILDREN 256u
#define RAMET_MAP_LEVEL_MAX 4u
/* In the place of a level: nodes that are not the tree's, see rollup.h. */
#define RAMET_NODE_PIECE 5u
#define RAMET_NODE_TOP 6u
#define RAMET_NODE_BYTES_MAX 32768u
#define RAMET_MAP_HEADER_SIZE 40u
#define RAMET_MAP_TRAILER_SIZE 64u

/* Where a node lies, in a map object of the same volume. length 0: absent. */
struct ramet_node_ref {
    uint64_t latest; /* the last change below it; 0: not known, of a root */
    uint64_t lsn;    /* of the map, as `id` */
    struct ramet_mid id;
    uint64_t offset_bytes;
    uint32_t length_bytes;
    struct ramet_hash hash;
};

/* The pages 64 * index + 1 … 64 * index + 64; image.page_count 0: not there. A
 * frame may be longer than what this leaf knows of it. */
struct ramet_leaf {
    uint32_t index;
    uint64_t gone; /* pages that are not there were cut off then, or before; 0:
                      none ever was */
    struct ramet_located pages[RAMET_LEAF_PAGES];
};

struct ramet_inner {
    unsigned level; /* 1 to RAMET_MAP_LEVEL_MAX */
    uint32_t index;
    uint64_t gone; /* as a leaf's, of all below */
    struct ramet_node_ref children[RAMET_INNER_CHILDREN];
};

/* Pages that a node of `level` covers: 64 * 256^level, at most 2^38. */
static inline uint64_t
ramet_node_span(unsigned level)
{
    return (uint64_t)RAMET_LEAF_PAGES << (8 * level);
}

/* The least level whose node 0 covers `page_count` pages. */
unsigned ramet_map_level_for(uint32_t page_count);

static inline uint32_t
ramet_node_index_of(uint32_t pgno, unsigned level)
{
    return (uint32_t)((uint64_t)(pgno - 1) / ramet_node_span(level));
}

bool ramet_node_ref_equal(const struct ramet_node_ref *a,
                          const struct ramet_node_ref *b);
/* Two pages lie in the same frame. */
bool ramet_frame_same(const struct ramet_frame *a, const struct ramet_frame *b);

/* The last change in a node: what its parent says of it. */
uint64_t ramet_leaf_latest(const struct ramet_leaf *leaf);
uint64_t ramet_inner_latest(const struct ramet_inner *inner);

/* Append a node. A leaf without pages, an inner node without children: not
 * allowed. RAMET_EVERSION for a frame that the format can't say yet. */
RAMET_NODISCARD enum ramet_rc
ramet_leaf_encode(const struct ramet_leaf *leaf, struct ramet_buf *out,
                  struct ramet_err *err);
void ramet_inner_encode(const struct ramet_inner *inner, struct ramet_buf *out);

/* The level of a node, or RAMET_NODE_PIECE or _TOP, from its bytes (hostile). */
RAMET_NODISCARD enum ramet_rc
ramet_node_level(const uint8_t *bytes, size_t len, unsigned *out_level,
                 struct ramet_err *err);
/* What its front says of when: both of a node of that place. */
RAMET_NODISCARD enum ramet_rc
ramet_node_times(const uint8_t *bytes, size_t len, unsigned level,
                 uint32_t index, uint64_t *out_latest, uint64_t *out_gone,
                 struct ramet_err *err);
/* Decode hostile bytes whose hash was checked. On failure *out is undefined. */
RAMET_NODISCARD enum ramet_rc
ramet_leaf_decode(const uint8_t *bytes, size_t len,
                  const struct ramet_vid *volume, uint32_t index,
                  struct ramet_leaf *out, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_inner_decode(const uint8_t *bytes, size_t len, unsigned level,
                   uint32_t index, struct ramet_inner *out,
                   struct ramet_err *err);

/* Only one page (image.page_count 0: not there) or one child (length 0: not
 * there); what comes after it in the node is not looked at. */
RAMET_NODISCARD enum ramet_rc
ramet_leaf_find(const uint8_t *bytes, size_t len,
                const struct ramet_vid *volume, uint32_t pgno,
                struct ramet_located *out_located, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_inner_find(const uint8_t *bytes, size_t len, unsigned level,
                 uint32_t index, unsigned child,
                 struct ramet_node_ref *out_child, struct ramet_err *err);

/* The object's first 40 and last 64 bytes. */
struct ramet_map_trailer {
    struct ramet_hash commit_hash; /* zero: the map is that commit's own */
    struct ramet_node_ref root;    /* lsn and id are the object's */
};
void ramet_map_header_encode(const struct ramet_vid *volume, uint64_t lsn,
                             uint8_t out[RAMET_MAP_HEADER_SIZE]);
void ramet_map_trailer_encode(const uint8_t header[RAMET_MAP_HEADER_SIZE],
                              const struct ramet_map_trailer *trailer,
                              uint8_t out[RAMET_MAP_TRAILER_SIZE]);
RAMET_NODISCARD enum ramet_rc ramet_map_trailer_decode(
    const struct ramet_vid *volume, uint64_t lsn, const struct ramet_mid *id,
    const uint8_t header[RAMET_MAP_HEADER_SIZE],
    const uint8_t bytes[RAMET_MAP_TRAILER_SIZE], uint64_t object_size,
    struct ramet_map_trailer *out_trailer, struct ramet_err *err);

void ramet_map_key(const struct ramet_vid *volume, uint64_t lsn,
                   const struct ramet_mid *id, char out[RAMET_KEY_MAX]);

#endif
