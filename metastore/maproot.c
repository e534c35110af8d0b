/*
 * maproot.c - see maproot.h.
 *
 * What lies in a top goes into the cache as the nodes that they are, so that
 * nobody else need know that they were not read by themselves.
 */
#include "metastore/maproot.h"

#include <assert.h>
#include <inttypes.h>

#include "metastore/head_cache.h"
#include "metastore/mapnode.h"
#include "metastore/node_cache.h"

/* A node that lies in the top of `map`, into the cache. */
static enum ramet_rc
keep_inside(struct ramet_history *history, const struct ramet_map_ref *map,
            const uint8_t *top_bytes, const struct ramet_node_ref *ref,
            struct ramet_err *err)
{
    const uint64_t at = ref->offset_bytes - map->root_offset_bytes;
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(at + ref->length_bytes <= map->root_length_bytes);
    assert(ref->offset_bytes >= map->root_offset_bytes);
    if (ramet_history_has_node(history, ref))
        return RAMET_OK;
    rc = ramet_history_keep_node(history, ref, top_bytes + at, &entry, err);
    if (rc == RAMET_OK)
        ramet_history_release(history, entry);
    return rc;
}

static bool
lies_inside(const struct ramet_map_ref *map, const struct ramet_node_ref *ref)
{
    assert(map->root_length_bytes > 0);
    return ref->lsn == map->lsn &&
           ramet_id_compare(&ref->id.id, &map->id.id) == 0 &&
           ref->offset_bytes >= map->root_offset_bytes &&
           ref->offset_bytes + ref->length_bytes <=
               map->root_offset_bytes + map->root_length_bytes;
}

static enum ramet_rc
open_top(struct ramet_history *history, const struct ramet_map_ref *map,
         const struct ramet_loaded_node *node, struct ramet_map_root *out,
         struct ramet_err *err)
{
    struct ramet_top *const top = &out->top;
    enum ramet_rc rc;

    assert(node->ref.length_bytes == map->root_length_bytes);
    rc = ramet_top_decode(node->bytes, node->ref.length_bytes, &node->ref, top,
                          err);
    out->level = 0;
    for (unsigned r = 0; rc == RAMET_OK && r < top->count; r++) {
        const struct ramet_rollup *const rollup = &top->rollups[r];

        if (rollup->piece_count == 1 &&
            lies_inside(map, &rollup->pieces[0].node))
            rc = keep_inside(history, map, node->bytes, &rollup->pieces[0].node,
                             err);
    }
    if (rc != RAMET_OK || top->tree.length_bytes == 0)
        return rc;
    rc = ramet_node_level(node->bytes +
                              (top->tree.offset_bytes - map->root_offset_bytes),
                          top->tree.length_bytes, &out->level, err);
    return rc == RAMET_OK
               ? keep_inside(history, map, node->bytes, &top->tree, err)
               : rc;
}

struct ramet_node_ref
ramet_map_root_node(const struct ramet_map_ref *map)
{
    assert(map->lsn >= 1 || map->root_length_bytes == 0);
    return (struct ramet_node_ref){
        .lsn = map->lsn,
        .id = map->id,
        .offset_bytes = map->root_offset_bytes,
        .length_bytes = map->root_length_bytes,
        .hash = map->root_hash,
    };
}

enum ramet_rc
ramet_map_root_open(struct ramet_history *history,
                    const struct ramet_map_ref *map,
                    struct ramet_map_root *out_root, struct ramet_err *err)
{
    const struct ramet_node_ref ref = ramet_map_root_node(map);
    const struct ramet_node_ref *const refs[1] = {&ref};
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    *out_root =
        (struct ramet_map_root){.top = {.tree_lsn = map->lsn, .tree = ref}};
    if (ref.length_bytes == 0)
        return RAMET_OK;
    rc = ramet_history_load_nodes(history, refs, 1, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_node_level(ramet_loaded_node(entry)->bytes, ref.length_bytes,
                          &out_root->level, err);
    if (rc == RAMET_OK && out_root->level == RAMET_NODE_TOP)
        rc = open_top(history, map, ramet_loaded_node(entry), out_root, err);
    ramet_history_release(history, entry);
    if (rc == RAMET_OK && out_root->level > RAMET_MAP_LEVEL_MAX)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "page map of LSN %" PRIu64
                        ": its tree does not begin with a node",
                        map->lsn);
    if (rc != RAMET_OK)
        ramet_map_root_close(out_root);
    return rc;
}

void
ramet_map_root_close(struct ramet_map_root *root)
{
    assert(root->top.count <= RAMET_ROLLUPS_MAX);
    ramet_top_done(&root->top);
}

enum ramet_rc
ramet_map_root_check(struct ramet_history *history,
                     const struct ramet_map_ref *map, struct ramet_err *err)
{
    struct ramet_map_root root;
    const enum ramet_rc rc = ramet_map_root_open(history, map, &root, err);

    assert(map->lsn >= 1 || map->root_length_bytes == 0);
    if (rc == RAMET_OK)
        ramet_map_root_close(&root);
    return rc;
}

/* The child of an inner node that is here, on the way to a page. */
static enum ramet_rc
child_of(struct ramet_history *history, const struct ramet_node_ref *node,
         unsigned level, uint32_t pgno, struct ramet_node_ref *out_child,
         struct ramet_err *err)
{
    const uint32_t child = ramet_node_index_of(pgno, level - 1);
    struct ramet_lru_entry *entry;
    enum ramet_rc rc = ramet_history_load_nodes(history, &node, 1, &entry, err);

    assert(level >= 1);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_inner_find(ramet_loaded_node(entry)->bytes, node->length_bytes,
                          level, ramet_node_index_of(pgno, level),
                          child % RAMET_INNER_CHILDREN, out_child, err);
    ramet_history_release(history, entry);
    return rc;
}

enum ramet_rc
ramet_map_root_missing(struct ramet_history *history,
                       const struct ramet_map_root *root, uint32_t pgno,
                       struct ramet_node_ref *out_ref, struct ramet_err *err)
{
    struct ramet_node_ref node = root->top.tree;
    unsigned level = root->level;

    assert(pgno >= 1 && pgno <= ramet_node_span(root->level));
    while (node.length_bytes > 0 && ramet_history_has_node(history, &node)) {
        struct ramet_node_ref child = {.length_bytes = 0};
        enum ramet_rc rc = RAMET_OK;

        if (level > 0)
            rc = child_of(history, &node, level--, pgno, &child, err);
        if (rc != RAMET_OK)
            return rc;
        node = child;
    }
    *out_ref = node;
    return RAMET_OK;
}
