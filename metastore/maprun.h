/*
 * maprun.h - the runs of a node: which pages it has, where each lies and since
 * when. Leaves and pieces of roll-ups say it alike.
 *
 * Tables of objects, dictionaries and blocks are made in order of first use, so
 * that a node has one encoding (mapnode.h, invariant (2)).
 *
 * Layer: metastore, private to mapleaf.c and rollup.c.
 */
#ifndef RAMET_METASTORE_MAPRUN_H
#define RAMET_METASTORE_MAPRUN_H

#include "core/bytes.h"
#include "core/err.h"
#include "metastore/located.h"

enum ramet_run_form {
    RAMET_RUNS_OF_LEAF,
    RAMET_RUNS_OF_PIECE /* more of them, and deltas whose base is further down */
};

/* Runs, dictionaries and blocks of a piece; a leaf has RAMET_LEAF_PAGES of each.
 * Of objects twice as many: an image's and a block's each. */
#define RAMET_PIECE_RUNS_MAX 256u

/* A page that a node has. Where it has a delta and no image: under. */
struct ramet_run_page {
    uint32_t pgno;
    const struct ramet_located *at;
};

/* Append tables and runs of `count` pages, ascending. `first` is the page that
 * the first run's skip counts from, `latest` is what ages count from.
 * RAMET_EVERSION for a frame that the format can't say yet, RAMET_ETOOBIG for
 * more runs than a node may have. */
RAMET_NODISCARD enum ramet_rc
ramet_runs_encode(enum ramet_run_form form, const struct ramet_run_page *pages,
                  unsigned count, uint32_t first, uint64_t latest,
                  struct ramet_buf *out, struct ramet_err *err);

/* What runs refer to by number, as it stands in the node: most runs that are gone
 * through are not the one that is wanted. */
struct ramet_run_object {
    enum ramet_object_kind kind;
    uint64_t lsn;      /* of a commit */
    const uint8_t *id; /* of a segment */
};
struct ramet_run_extent {
    struct ramet_run_object object;
    uint64_t offset_bytes;
    uint32_t length_bytes;
    const uint8_t *hash;
};
struct ramet_run_names {
    struct ramet_run_extent dicts[RAMET_PIECE_RUNS_MAX];
    struct ramet_run_object objects[2 * RAMET_PIECE_RUNS_MAX];
    struct ramet_run_extent blocks[RAMET_PIECE_RUNS_MAX];
    unsigned dict_count;
    unsigned object_count;
    unsigned block_count;
};

/* Goes through a node's runs (hostile) one by one; its bytes stay until then. */
struct ramet_run_walk {
    struct ramet_reader *in;
    const struct ramet_vid *volume;
    enum ramet_run_form form;
    uint64_t end;                  /* the page after the last that may be */
    uint64_t latest;               /* that of the front */
    uint64_t left;                 /* runs still to come */
    uint64_t next;                 /* the page after the run at hand */
    uint64_t seen;                 /* the latest change of all runs so far */
    bool any;                      /* there is a run at hand: */
    uint64_t start;                /* its first page, */
    uint64_t count;                /* how many, */
    uint64_t lsn;                  /* and of which LSN */
    uint32_t image_pgno;           /* of its first page */
    struct ramet_run_extent frame; /* no length: it is under */
    uint32_t before, total;        /* pages of the frame before it, and all */
    const struct ramet_run_extent *dict, *block; /* NULL: it has none */
    uint32_t position;
    struct ramet_run_names names;
};

/* Begin behind a node's front; false: bytes make no sense. */
bool ramet_runs_start(struct ramet_run_walk *walk, struct ramet_reader *in,
                      const struct ramet_vid *volume, enum ramet_run_form form,
                      uint32_t first, uint64_t latest);
/* The next of those that are left. */
bool ramet_runs_next(struct ramet_run_walk *walk);
/* Page `pgno` of the run at hand. */
struct ramet_located
ramet_runs_page(const struct ramet_run_walk *walk, uint64_t pgno);

#endif
