/*
 * chain.h - the heads of the commits past the map that an LSN refers to, newest
 * first: what they changed lies over the map.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_CHAIN_H
#define RAMET_METASTORE_CHAIN_H

#include <limits.h>

#include "metastore/history_core.h"
#include "metastore/table.h"

struct ramet_chain {
    struct ramet_history *history;
    struct ramet_shared_chain *shared; /* holds the entries, if not NULL */
    struct ramet_lru_entry *entries[RAMET_MAP_EVERY_COMMITS];
    /* Newest first. One more than entries: a commit being prepared. */
    const struct ramet_commit_object *layers[RAMET_MAP_EVERY_COMMITS + 1];
    unsigned entry_count;
    unsigned layer_count;
    struct ramet_map_ref map; /* what is below the layers */
    uint32_t page_size;
    uint32_t page_count;
};

/* lsn 0: the empty volume, no request. Heads are checked against the hashes
 * by which their successors name them, the first against `at`. */
RAMET_NODISCARD enum ramet_rc
ramet_chain_open(struct ramet_history *history, const struct ramet_point *at,
                 struct ramet_chain *out_chain, struct ramet_err *err);
void ramet_chain_close(struct ramet_chain *chain);
/* Let go of the chains that are kept; nobody may have one open. */
void ramet_history_drop_chains(struct ramet_history *history);
/* The same while others may have some open: those keep theirs. */
void ramet_history_forget_chains(struct ramet_history *history);
/* Pages above this are zeros unless a layer has them. */
uint32_t ramet_chain_least(const struct ramet_chain *chain);

enum ramet_layer_answer {
    RAMET_LAYER_FOUND,
    RAMET_LAYER_ZERO,
    RAMET_LAYER_OLDER /* no layer says: ask the map for out_located->image_pgno;
                         where there is a delta, for its base image alone */
};
RAMET_NODISCARD enum ramet_rc
ramet_chain_find(const struct ramet_chain *chain,
                 struct ramet_table_cursor *cursor, uint32_t pgno,
                 enum ramet_layer_answer *out_answer,
                 struct ramet_located *out_located, struct ramet_err *err);

/* Are these pages of the chain's state? RAMET_EINVAL. */
RAMET_NODISCARD enum ramet_rc
ramet_chain_check_wanted(const struct ramet_chain *chain, const uint32_t *pgnos,
                         size_t count, struct ramet_err *err);
/* Heads, and the newest `depth` roll-ups of the map alone: what they say of pages
 * that one of them has. A delta whose base is further down has no image, and
 * image_pgno says whose base image it is. */
#define RAMET_WHOLE_MAP UINT_MAX
RAMET_NODISCARD enum ramet_rc
ramet_chain_locate_above(const struct ramet_chain *chain, unsigned depth,
                         const uint32_t *pgnos, size_t count,
                         struct ramet_located *out_located,
                         struct ramet_err *err);
/* As ramet_history_locate(), on an open chain: heads first, then the map. */
RAMET_NODISCARD enum ramet_rc
ramet_chain_locate(const struct ramet_chain *chain, const uint32_t *pgnos,
                   size_t count, struct ramet_located *out_located,
                   struct ramet_err *err);

#endif
