/*
 * rollup.h - roll-ups over a page map's tree, as bytes and as structs: what
 * changed since the LSN that the tree is of. Byte layout: docs/format.md,
 * "Roll-ups".
 *
 * A roll-up says of LSNs that follow each other what a commit says of one: all
 * pages above `least` become zeros, then its runs count. The root of a map with
 * roll-ups is a top, which names their pieces and holds the root of the tree.
 *
 *   (1) What lies in a top (the tree's root, a lone piece) has a place in the
 *       map's object, and a hash, like any node: whoever uses it need not know.
 *   (2) A decoded top's pieces ascend without overlap, its roll-ups follow each
 *       other without a gap down to the tree's LSN, and none is past the map's.
 *   (3) A piece that was walked to its end without failure has the pages and the
 *       latest change that its top says.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_ROLLUP_H
#define RAMET_METASTORE_ROLLUP_H

#include "metastore/mapnode.h"
#include "metastore/maprun.h"

#define RAMET_ROLLUPS_MAX 8u
#define RAMET_PIECES_MAX 1024u

struct ramet_piece_ref {
    struct ramet_node_ref node;
    uint32_t first, last; /* its first run begins, its last ends with these */
    bool inside; /* to be encoded in the top itself; never of a decoded one */
};

struct ramet_rollup {
    uint64_t from, to; /* LSNs: from is that of the state below */
    uint32_t least;
    uint64_t gone; /* pages were cut off then last; 0: none were */
    unsigned piece_count;
    const struct ramet_piece_ref *pieces;
};

/* How the roll-ups and the tree of one map lie over each other. */
struct ramet_top {
    unsigned count; /* 0: the tree is of the map's own LSN */
    struct ramet_rollup rollups[RAMET_ROLLUPS_MAX]; /* the newest first */
    uint64_t tree_lsn;
    struct ramet_node_ref tree; /* its root; length 0: no page lies anywhere */
    struct ramet_piece_ref *pieces; /* of all roll-ups; the top owns them */
};

void ramet_top_done(struct ramet_top *top);
/* Decode a top (hostile, hash checked) that lies at `ref`, whose LSN is the
 * map's. The caller's: ramet_top_done(). */
RAMET_NODISCARD enum ramet_rc
ramet_top_decode(const uint8_t *bytes, size_t len,
                 const struct ramet_node_ref *ref, struct ramet_top *out,
                 struct ramet_err *err);
/* Append a top. A piece that is to stand in it is `inside`, and the sole one of
 * its roll-up. */
void ramet_top_encode(const struct ramet_top *top,
                      const struct ramet_buf *inside, const uint8_t *tree_bytes,
                      size_t tree_len, struct ramet_buf *out);

/* Append a piece: `count` pages (of RAMET_PIECE_RUNS_MAX at most, ascending, each
 * with an image or a delta). *out_latest is the greatest of their LSNs. */
RAMET_NODISCARD enum ramet_rc
ramet_piece_encode(const struct ramet_run_page *pages, unsigned count,
                   uint64_t *out_latest, struct ramet_buf *out,
                   struct ramet_err *err);

/* Goes through a piece's runs (hostile, hash checked) one by one. */
struct ramet_piece_walk {
    struct ramet_run_walk runs;
    struct ramet_reader in;
    uint32_t last;
};
RAMET_NODISCARD enum ramet_rc
ramet_piece_start(struct ramet_piece_walk *walk, const uint8_t *bytes,
                  const struct ramet_vid *volume,
                  const struct ramet_piece_ref *ref, struct ramet_err *err);
/* walk->runs is at the next run; false in *out_more: there is none. */
RAMET_NODISCARD enum ramet_rc
ramet_piece_next(struct ramet_piece_walk *walk, bool *out_more,
                 struct ramet_err *err);

/* The piece of `rollup` that may have page `pgno`, or NULL. */
const struct ramet_piece_ref *
ramet_rollup_piece(const struct ramet_rollup *rollup, uint32_t pgno);

#endif
