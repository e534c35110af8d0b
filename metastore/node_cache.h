/*
 * node_cache.h - nodes of page maps, loaded in bulk and verified.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_NODE_CACHE_H
#define RAMET_METASTORE_NODE_CACHE_H

#include "metastore/history_core.h"
#include "metastore/mapnode.h"

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
/* Verify a node's bytes, which are here, and cache them; the entry is held. */
RAMET_NODISCARD enum ramet_rc
ramet_history_keep_node(struct ramet_history *history,
                        const struct ramet_node_ref *ref, const uint8_t *bytes,
                        struct ramet_lru_entry **out_entry,
                        struct ramet_err *err);

/* Is this very node in the cache? */
bool ramet_history_has_node(struct ramet_history *history,
                            const struct ramet_node_ref *ref);

/* Header and trailer of a map object of `size_bytes`, read and checked. */
RAMET_NODISCARD enum ramet_rc
ramet_history_read_trailer(struct ramet_history *history, uint64_t lsn,
                           const struct ramet_mid *id, uint64_t size_bytes,
                           struct ramet_map_trailer *out_trailer,
                           struct ramet_err *err);

#endif
