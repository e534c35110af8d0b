/*
 * overlay.h - the heads of the commits past the map that an LSN refers to, newest
 * first: what they changed lies over the map.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_OVERLAY_H
#define RAMET_METASTORE_OVERLAY_H

#include <limits.h>

#include "metastore/history_core.h"
#include "metastore/table.h"

struct ramet_overlay {
    struct ramet_history *history;
    struct ramet_shared_overlay *shared; /* holds the entries, if not NULL */
    struct ramet_lru_entry *entries[RAMET_MAP_EVERY_COMMITS];
    /* Newest first. One more than entries: a commit being prepared. */
    const struct ramet_commit_object *commits[RAMET_MAP_EVERY_COMMITS + 1];
    unsigned entry_count;
    unsigned commit_count;
    struct ramet_map_ref map; /* what is below them */
    uint32_t page_size;
    uint32_t page_count;
    bool passes_over_first_page; /* what its heads say of it is looked at */
};

/* lsn 0: the empty volume, no request. Heads are checked against the hashes
 * by which their successors name them, the first against `at`. */
RAMET_NODISCARD enum ramet_rc
ramet_overlay_open(struct ramet_history *history, const struct ramet_point *at,
                   struct ramet_overlay *out_overlay, struct ramet_err *err);
void ramet_overlay_close(struct ramet_overlay *overlay);
/* Let go of the overlays that are kept; nobody may have one open. */
void ramet_history_drop_overlays(struct ramet_history *history);
/* The same while others may have some open: those keep theirs. */
void ramet_history_forget_overlays(struct ramet_history *history);
/* Pages above this are zeros unless a commit of it has them. */
uint32_t ramet_overlay_least(const struct ramet_overlay *overlay);

enum ramet_overlay_answer {
    RAMET_OVERLAY_FOUND, /* its tables name the frame of out_located->image_pgno */
    RAMET_OVERLAY_ZERO,
    RAMET_OVERLAY_OLDER /* no commit says: ask the map for out_located->image_pgno;
                         where there is a delta, for its base image alone */
};
/* Which commit has the page: no request. *out_commit is NULL unless FOUND. */
RAMET_NODISCARD enum ramet_rc
ramet_overlay_find(const struct ramet_overlay *overlay, uint32_t pgno,
                   enum ramet_overlay_answer *out_answer,
                   struct ramet_located *out_located,
                   const struct ramet_commit_object **out_commit,
                   struct ramet_err *err);

/* Are these pages of the overlay's state? RAMET_EINVAL. */
RAMET_NODISCARD enum ramet_rc
ramet_overlay_check_wanted(const struct ramet_overlay *overlay,
                           const uint32_t *pgnos, size_t count,
                           struct ramet_err *err);
/* Heads, and the newest `depth` roll-ups of the map alone: what they say of pages
 * that one of them has. A delta whose base is further down has no image, and
 * image_pgno says whose base image it is. */
#define RAMET_WHOLE_MAP UINT_MAX
RAMET_NODISCARD enum ramet_rc
ramet_overlay_locate_above(const struct ramet_overlay *overlay, unsigned depth,
                           const uint32_t *pgnos, size_t count,
                           struct ramet_located *out_located,
                           struct ramet_err *err);
/* As ramet_history_locate(), on an open overlay: heads first, then the map. */
RAMET_NODISCARD enum ramet_rc
ramet_overlay_locate(const struct ramet_overlay *overlay, const uint32_t *pgnos,
                     size_t count, struct ramet_located *out_located,
                     struct ramet_err *err);

#endif
