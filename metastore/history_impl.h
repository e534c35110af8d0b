/*
 * history_impl.h - what the files of history share: cached loads of heads,
 * nodes and table chunks, the chain of heads past a map, and the search of a
 * page in them.
 *
 *   history.c         the line: newest, by LSN, by time, append
 *   history_load.c    heads, table chunks, chains
 *   history_nodes.c   map nodes, in bulk
 *   history_locate.c  page -> frame, and reading pages
 *   history_changed.c what differs between two LSNs
 *   history_prepare.c what a commit needs of history; fences
 *   history_validate.c, history_verify.c
 *   mapbuild.c        making a page map
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_HISTORY_IMPL_H
#define RAMET_METASTORE_HISTORY_IMPL_H

#include "core/os.h"
#include "core/thread.h"
#include "metastore/history.h"
#include "metastore/lru.h"
#include "metastore/mapnode.h"

/* The first read of a commit: most heads are whole in it. */
#define RAMET_HEAD_READ_BYTES 4096u

enum { LRU_HEAD = 1, LRU_NODE = 2, LRU_CHUNK = 3 };

/* A map that this process made or found, not yet named by a commit perhaps. */
struct ramet_known_map {
    struct ramet_map_ref ref; /* lsn 0: none */
    struct ramet_hash commit_hash;
};

/* Chains of the snapshots that were read last stay open: a warm read then
 * takes no heads from the cache one by one. At most 64 heads each. */
#define RAMET_CHAINS_KEPT 4u
struct ramet_shared_chain;

struct ramet_history {
    struct ramet_objstore *store;
    struct ramet_objstore *behind; /* the same, or behind a cache */
    const struct ramet_os *os;
    struct ramet_vid volume;
    struct ramet_frame_reader *frames;
    struct ramet_lru lru;
    struct ramet_mutex mutex; /* guards what follows */
    uint64_t newest_lsn;      /* the newest commit seen; 0: none */
    struct ramet_hash newest_hash;
    struct ramet_known_map known_map;
    struct ramet_shared_chain *chains[RAMET_CHAINS_KEPT]; /* by LSN modulo */
};

/* ---- heads --------------------------------------------------------------- */

struct ramet_loaded_head {
    struct ramet_commit commit; /* sets and tables only if `raw` is there */
    struct ramet_hash hash;
    uint32_t head_length;
    uint8_t *raw; /* the whole head; NULL: only the core was read */
};

/* The head of `lsn`, held. With `whole` false the core may be all there is. */
RAMET_NODISCARD enum ramet_rc
ramet_history_load_head(struct ramet_history *history, uint64_t lsn, bool whole,
                        struct ramet_lru_entry **out_entry,
                        struct ramet_err *err);
/* The same of the commit that `point` names. What the cache has is looked at
 * first, then the store: RAMET_EWENTBACK is the store's answer. */
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
/* The commit object `lsn` was just put: its head need not be read. No I/O. */
void ramet_history_keep_head(struct ramet_history *history, uint64_t lsn,
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

/* ---- chains: the heads past the map that an LSN refers to ---------------- */

struct ramet_chain {
    struct ramet_history *history;
    struct ramet_shared_chain *shared; /* holds the entries, if not NULL */
    struct ramet_lru_entry *entries[RAMET_MAP_EVERY_COMMITS];
    /* Newest first. One more than entries: a commit being prepared. */
    const struct ramet_commit *layers[RAMET_MAP_EVERY_COMMITS + 1];
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

/* Looks pages up in tables; keeps the chunk that it used last. */
struct ramet_table_cursor {
    struct ramet_history *history;
    uint32_t last_wanted; /* chunks up to this page may be read ahead */
    struct ramet_sid segment;
    uint64_t offset_bytes;
    struct ramet_frame *frames;
    uint32_t frame_count;
};
void
ramet_table_cursor_init(struct ramet_table_cursor *cursor,
                        struct ramet_history *history, uint32_t last_wanted);
void ramet_table_cursor_done(struct ramet_table_cursor *cursor);
/* The frame of a page that `commit` changed. RAMET_ECORRUPT if its tables
 * don't name one. */
RAMET_NODISCARD enum ramet_rc
ramet_table_find(struct ramet_table_cursor *cursor,
                 const struct ramet_commit *commit, uint32_t pgno,
                 struct ramet_frame *out_frame, struct ramet_err *err);
/* All frames of chunk `index` of a segment, read and verified. */
RAMET_NODISCARD enum ramet_rc
ramet_table_cursor_load(struct ramet_table_cursor *cursor,
                        const struct ramet_commit *commit,
                        const struct ramet_segment_info *segment,
                        uint32_t index, struct ramet_err *err);

enum ramet_layer_answer {
    RAMET_LAYER_FRAME,
    RAMET_LAYER_ZERO,
    RAMET_LAYER_OLDER /* no layer says: ask the map */
};
RAMET_NODISCARD enum ramet_rc
ramet_chain_find(const struct ramet_chain *chain,
                 struct ramet_table_cursor *cursor, uint32_t pgno,
                 enum ramet_layer_answer *out_answer,
                 struct ramet_frame *out_frame, struct ramet_err *err);

/* As ramet_history_locate(), on an open chain: heads first, then the map. */
RAMET_NODISCARD enum ramet_rc
ramet_chain_locate(const struct ramet_chain *chain, const uint32_t *pgnos,
                   size_t count, struct ramet_frame *out_frames,
                   struct ramet_err *err);

/* ---- nodes --------------------------------------------------------------- */

struct ramet_loaded_node {
    struct ramet_node_ref ref;
    uint8_t bytes[]; /* ref.length_bytes, hash checked */
};
static inline const struct ramet_loaded_node *
ramet_loaded_node(const struct ramet_lru_entry *entry)
{
    return entry->value;
}
/* Nodes that are asked for at once, at most. */
#define RAMET_NODES_AT_ONCE 256u
/* Load up to that many nodes; neighbours in one object share a request.
 * Absent refs give NULL. On failure nothing is held. */
RAMET_NODISCARD enum ramet_rc
ramet_history_load_nodes(struct ramet_history *history,
                         const struct ramet_node_ref *const *refs, size_t count,
                         struct ramet_lru_entry **out_entries,
                         struct ramet_err *err);
void
ramet_history_release_nodes(struct ramet_history *history,
                            struct ramet_lru_entry **entries, size_t count);
RAMET_NODISCARD enum ramet_rc
ramet_history_load_inner(struct ramet_history *history,
                         const struct ramet_node_ref *ref, unsigned level,
                         uint32_t index, struct ramet_inner *out,
                         struct ramet_err *err);
/* RAMET_OK with *out_level 0 and an absent ref for an empty map. */
RAMET_NODISCARD enum ramet_rc
ramet_history_load_root(struct ramet_history *history,
                        const struct ramet_map_ref *map,
                        struct ramet_node_ref *out_ref, unsigned *out_level,
                        struct ramet_err *err);

/* Header and trailer of a map object of `size_bytes`, read and checked. */
RAMET_NODISCARD enum ramet_rc
ramet_history_read_trailer(struct ramet_history *history, uint64_t lsn,
                           const struct ramet_mid *id, uint64_t size_bytes,
                           struct ramet_map_trailer *out_trailer,
                           struct ramet_err *err);

/* ---- making maps --------------------------------------------------------- */

/* A map of chain's state, with `lsn` in its name and `commit_hash` (zero: own)
 * in its trailer. */
RAMET_NODISCARD enum ramet_rc
ramet_map_build(const struct ramet_chain *chain, uint64_t lsn,
                const struct ramet_hash *commit_hash,
                struct ramet_map_ref *out_map, struct ramet_err *err);
/* A map of `lsn` that this process knows of or can find in the store, newer
 * than `after`, not later than `lsn`; lsn 0 in *out_map if there is none. */
RAMET_NODISCARD enum ramet_rc
ramet_map_find(struct ramet_history *history, uint64_t after, uint64_t lsn,
               bool look_in_store, struct ramet_map_ref *out_map,
               struct ramet_err *err);

#endif
