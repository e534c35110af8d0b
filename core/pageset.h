/*
 * pageset.h - a set of page numbers, kept as sorted runs.
 *
 * Databases change in runs: facts of real workloads favour runs over bitmaps
 * in memory and on the wire alike. A set is a sorted array of disjoint,
 * non-adjacent runs [first, last]; invariant (1) runs are strictly ascending
 * with a gap of at least one page between them; (2) no run contains page 0.
 *
 * Encoded (docs/format.md, "Page set"): varint run count, then for each run
 * varint (first - previous last - 1) [previous last is 0 at the start] and
 * varint (last - first).
 *
 * Adding in ascending order is O(1) amortised; in any order O(log n) plus a
 * move. Not thread-safe.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_PAGESET_H
#define RAMET_CORE_PAGESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct ramet_run {
    uint32_t first; /* >= 1 */
    uint32_t last;  /* >= first */
};

/* Place it yourself; a zeroed struct is an empty set. */
struct ramet_pageset {
    struct ramet_run *runs;
    size_t run_count;
    size_t run_capacity;
    /* 0, or the most runs that additions leave: where there would be more,
     * those nearest to each other are joined, so that the set has pages that
     * were not added and lacks none that was. */
    size_t run_max;
};

void ramet_pageset_init(struct ramet_pageset *set);
void ramet_pageset_done(struct ramet_pageset *set); /* frees; leaves it empty */
void ramet_pageset_clear(struct ramet_pageset *set);

RAMET_NODISCARD enum ramet_rc
ramet_pageset_add(struct ramet_pageset *set, uint32_t pgno);
RAMET_NODISCARD enum ramet_rc
ramet_pageset_add_run(struct ramet_pageset *set, struct ramet_run run);
RAMET_NODISCARD enum ramet_rc
ramet_pageset_add_set(struct ramet_pageset *set,
                      const struct ramet_pageset *other);
RAMET_NODISCARD enum ramet_rc
ramet_pageset_remove_run(struct ramet_pageset *set, struct ramet_run run);
RAMET_NODISCARD enum ramet_rc
ramet_pageset_remove_set(struct ramet_pageset *set,
                         const struct ramet_pageset *other);
/* Drop all pages above `last`. Needs no memory, can't fail. */
void ramet_pageset_truncate(struct ramet_pageset *set, uint32_t last);
RAMET_NODISCARD enum ramet_rc
ramet_pageset_copy(struct ramet_pageset *dst, const struct ramet_pageset *src);
void ramet_pageset_swap(struct ramet_pageset *a, struct ramet_pageset *b);

bool ramet_pageset_contains(const struct ramet_pageset *set, uint32_t pgno);
bool ramet_pageset_intersects(const struct ramet_pageset *a,
                              const struct ramet_pageset *b);
bool ramet_pageset_equal(const struct ramet_pageset *a,
                         const struct ramet_pageset *b);
uint64_t ramet_pageset_count(const struct ramet_pageset *set);
/* The smallest member > pgno, or 0. ramet_pageset_next(set, 0) is the first;
 * O(log n), so a loop over all pages should walk runs[] instead. */
uint32_t ramet_pageset_next(const struct ramet_pageset *set, uint32_t pgno);

struct ramet_buf;    /* core/bytes.h */
struct ramet_reader; /* core/bytes.h */
RAMET_NODISCARD enum ramet_rc
ramet_pageset_encode(const struct ramet_pageset *set, struct ramet_buf *out);
/* Decode hostile bytes into an initialised set, replacing what it held (only
 * on success): RAMET_ECORRUPT on overflow, truncation, a page above `max_pgno`,
 * or more than `max_runs` runs. */
RAMET_NODISCARD enum ramet_rc
ramet_pageset_decode(struct ramet_pageset *set, struct ramet_reader *in,
                     uint32_t max_pgno, size_t max_runs, struct ramet_err *err);

#endif
