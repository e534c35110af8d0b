/*
 * head_cache.h - heads of commits, loaded once and verified.
 * 
 * What enters the cache was verified; an entry is held until it is released.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_HEAD_CACHE_H
#define RAMET_METASTORE_HEAD_CACHE_H

#include "metastore/history_core.h"

/* The first read of a commit: most heads are whole in it. */
#define RAMET_HEAD_READ_BYTES 8192u

struct ramet_loaded_head {
    struct ramet_commit_object
        commit; /* sets and tables only if `raw` is there */
    struct ramet_hash hash;
    uint32_t head_length;
    uint8_t *raw; /* the whole head; NULL: only the core was decoded */
    /* What was read then, so that the rest alone is read if all is wanted. */
    uint8_t *start;
    size_t start_length;
};

/* The head of `lsn`, held. With `whole` false the core may be all there is. */
RAMET_NODISCARD enum ramet_rc
ramet_history_load_head(struct ramet_history *history, uint64_t lsn, bool whole,
                        struct ramet_lru_entry **out_entry,
                        struct ramet_err *err);
/* The same from the store, whatever the cache has. */
RAMET_NODISCARD enum ramet_rc
ramet_history_load_anew(struct ramet_history *history, uint64_t lsn, bool whole,
                        struct ramet_lru_entry **out_entry,
                        struct ramet_err *err);
/* One that is later than all that this process has seen: a cache that has it has it of
 * a line that the store may have lost since. */
RAMET_NODISCARD enum ramet_rc
ramet_history_load_unseen(struct ramet_history *history, uint64_t lsn,
                          struct ramet_lru_entry **out_entry,
                          struct ramet_err *err);
/* The length of all heads past `after_lsn` up to `last`, each by the hash that its
 * successor names; *out_before: of the commit that the first of them stands on. */
RAMET_NODISCARD enum ramet_rc
ramet_history_heads_length(struct ramet_history *history, uint64_t after_lsn,
                           const struct ramet_point *last, uint64_t *out_bytes,
                           struct ramet_hash *out_before,
                           struct ramet_err *err);
/* The most that ramet_history_bring_heads() brings. */
#define RAMET_HEADS_AT_ONCE RAMET_MAP_EVERY_COMMITS

struct ramet_node_ref;
struct ramet_located;
/* What is wanted after heads, and may come with them. */
struct ramet_beside_heads {
    const struct ramet_node_ref *root; /* of a map; NULL: none */
    const struct ramet_located *page;  /* NULL: none */
};
/* All of the heads `first` to `last` will be wanted, whole: those that are not in
 * the cache are read at once, where that costs no more than one. What fails is
 * left to whoever asks for the head. `beside`: NULL for nothing; a root comes along
 * with others only. */
void ramet_history_bring_heads(struct ramet_history *history, uint64_t first,
                               uint64_t last,
                               const struct ramet_beside_heads *beside);
/* The same of the slot where the commit that `point` names should be: from the cache
 * if that has it, else from the store. The caller looks whether it is the one; if it
 * is not, that is the store's answer. */
RAMET_NODISCARD enum ramet_rc
ramet_history_load_slot(struct ramet_history *history,
                        const struct ramet_point *point, bool whole,
                        struct ramet_lru_entry **out_entry,
                        struct ramet_err *err);
/* The same of the commit that `point` names: RAMET_EWENTBACK where the store has
 * none in that slot, or another. */
RAMET_NODISCARD enum ramet_rc
ramet_history_load_point(struct ramet_history *history,
                         const struct ramet_point *point, bool whole,
                         struct ramet_lru_entry **out_entry,
                         struct ramet_err *err);
/* Reading at `point` failed with `rc`: where that is because the store went
 * another way since (objects are gone, or are others), RAMET_EWENTBACK and a
 * text that says so, else what was. One request, for that it costs to know. */
RAMET_NODISCARD enum ramet_rc
ramet_history_blame(struct ramet_history *history,
                    const struct ramet_point *point, enum ramet_rc rc,
                    struct ramet_err *err);
/* Is this commit's head in the cache? No I/O. */
bool ramet_history_knows(struct ramet_history *history,
                         const struct ramet_point *point);
/* The commit object `lsn` is in the store: its head need not be read. No I/O. False:
 * it does not decode, or there is no memory. */
bool ramet_history_keep_head(struct ramet_history *history, uint64_t lsn,
                             const uint8_t *object, size_t len);
static inline const struct ramet_loaded_head *
ramet_loaded_head(const struct ramet_lru_entry *entry)
{
    return entry->value;
}
static inline void
ramet_history_release(struct ramet_history *history,
                      struct ramet_lru_entry *entry)
{
    ramet_lru_release(&history->lru, entry);
}
void ramet_history_fill_head(const struct ramet_loaded_head *loaded,
                             struct ramet_head *out_head);
/* Only the core, and only from the store: what stands in the slot now. */
RAMET_NODISCARD enum ramet_rc
ramet_history_peek_hash(struct ramet_history *history, uint64_t lsn,
                        struct ramet_hash *out_hash, struct ramet_err *err);
/* The newest commit's LSN by looking from `known` (0: from the start) on. Its
 * hash as far as the store tells it unasked, else zero. */
RAMET_NODISCARD enum ramet_rc
ramet_history_find_newest(struct ramet_history *history, uint64_t known,
                          uint64_t *out_lsn, struct ramet_hash *out_told,
                          struct ramet_err *err);
/* Remember that `lsn` exists, for ramet_history_newest(). */
void ramet_history_saw(struct ramet_history *history, uint64_t lsn,
                       const struct ramet_hash *hash);

/* The same, if `base` is the newest that was seen still. */
bool ramet_history_follow(struct ramet_history *history,
                          const struct ramet_point *base,
                          const struct ramet_point *next);

/* ---- paid.c ---------------------------------------------------------------- */

/* The store was just seen to have the newest commit that was seen. */
void ramet_history_proven(struct ramet_history *history);
/* Is that a store that is paid, and the proof fresh? */
bool ramet_history_is_proven(struct ramet_history *history);
/* Did this process make the volume, less than a proof's time ago? */
bool ramet_history_is_new(struct ramet_history *history);
/* Look at the slots after `seen`; not *out_decided: there are several. */
RAMET_NODISCARD enum ramet_rc
ramet_history_step(struct ramet_history *history, uint64_t seen,
                   uint64_t *out_newest, bool *out_decided,
                   struct ramet_err *err);

#endif
