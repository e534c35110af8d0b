/*
 * verify_maps.c - the page maps of a volume, node by node; see verify.h.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/maproot.h"
#include "metastore/node_cache.h"
#include "metastore/verify.h"

/* ---- the list ------------------------------------------------------------ */

static bool
collect_map(void *ctx, const char *key, uint64_t size_bytes)
{
    struct ramet_map_list *const list = ctx;
    const char *const name = strrchr(key, '/') + 1;
    struct ramet_map_item item = {.size_bytes = size_bytes};
    char expected[RAMET_KEY_MAX];

    assert(list->count <= list->capacity && !list->no_memory);
    if (strlen(name) != 17 + RAMET_ID_TEXT_SIZE - 1 ||
        !ramet_id_parse(name + 17, &item.id.id))
        return true;
    item.lsn = strtoull(name, NULL, 16);
    if (item.lsn == 0)
        return true; /* there is no state that such a map could be of */
    ramet_map_key(list->volume, item.lsn, &item.id, expected);
    if (strcmp(expected, key) != 0)
        return true;
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity * 2 + 64;
        struct ramet_map_item *const grown =
            ramet_realloc(list->items, capacity * sizeof(grown[0]));

        list->no_memory = grown == NULL;
        if (grown == NULL)
            return false;
        list->items = grown;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
    return true;
}

static int
compare_maps(const void *left, const void *right)
{
    const struct ramet_map_item *const a = left;
    const struct ramet_map_item *const b = right;

    assert(left != NULL && right != NULL);
    if (a->lsn != b->lsn)
        return a->lsn < b->lsn ? -1 : 1;
    return ramet_id_compare(&a->id.id, &b->id.id);
}

enum ramet_rc
ramet_map_list_read(struct ramet_map_list *list, struct ramet_history *history,
                    struct ramet_err *err)
{
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(list->count == 0);
    list->volume = &history->volume;
    ramet_id_format(&list->volume->id, vid);
    snprintf(prefix, sizeof(prefix), "volumes/%s/maps/", vid);
    rc =
        ramet_objstore_list(history->store, prefix, "", collect_map, list, err);
    if (rc == RAMET_OK && list->no_memory)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "list of page maps");
    if (rc == RAMET_OK && list->count > 1)
        qsort(list->items, list->count, sizeof(list->items[0]), compare_maps);
    return rc;
}

void
ramet_map_list_done(struct ramet_map_list *list)
{
    assert(list->count <= list->capacity);
    ramet_free(list->items);
    *list = (struct ramet_map_list){0};
}

const struct ramet_map_item *
ramet_map_list_find(const struct ramet_map_list *list, uint64_t lsn,
                    const struct ramet_mid *id)
{
    const struct ramet_map_item wanted = {.lsn = lsn, .id = *id};

    assert(list->volume != NULL);
    return list->count == 0 ? NULL
                            : bsearch(&wanted, list->items, list->count,
                                      sizeof(wanted), compare_maps);
}

/* ---- one map ------------------------------------------------------------- */

/* Walks one map object's own nodes, in the order in which they lie. */
struct map_sweep {
    struct ramet_verify *v;
    const struct ramet_map_list *list;
    const struct ramet_map_item *map;
    uint64_t at;
    struct ramet_inner inner[RAMET_MAP_LEVEL_MAX + 1];
    struct ramet_leaf leaf;
    struct ramet_piece_walk piece;
};

static bool
is_own(const struct map_sweep *s, const struct ramet_node_ref *ref)
{
    assert(s->map != NULL);
    return ref->lsn == s->map->lsn &&
           ramet_id_compare(&ref->id.id, &s->map->id.id) == 0;
}

/* A node in another map: that is looked at in its turn, if it is there. */
static enum ramet_rc
check_elsewhere(const struct map_sweep *s, const struct ramet_node_ref *ref,
                struct ramet_err *err)
{
    const struct ramet_map_item *const map =
        ramet_map_list_find(s->list, ref->lsn, &ref->id);

    if (map == NULL || ref->lsn > s->map->lsn ||
        ref->offset_bytes + ref->length_bytes > map->size_bytes)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "the map of LSN %" PRIu64
                          " refers to one of LSN %" PRIu64 " that is not there",
                          s->map->lsn, ref->lsn);
    return RAMET_OK;
}

/* What a node, just decoded, says of when must be what its parent says, and not
 * be past the map. */
static enum ramet_rc
check_times(const struct map_sweep *s, const struct ramet_node_ref *ref,
            unsigned level, struct ramet_err *err)
{
    const uint64_t latest = level == 0 ? ramet_leaf_latest(&s->leaf)
                                       : ramet_inner_latest(&s->inner[level]);

    assert(level <= RAMET_MAP_LEVEL_MAX);
    if (latest <= s->map->lsn && (ref->latest == 0 || ref->latest == latest))
        return RAMET_OK;
    return RAMET_FAIL(
        err, RAMET_ECORRUPT,
        "the map of LSN %" PRIu64
        ": a node of level %u has another LSN than its parent says",
        s->map->lsn, level);
}

/* The next node of this map lies at `ref`, and at nothing before it. */
static enum ramet_rc
pass_node(struct map_sweep *s, const struct ramet_node_ref *ref,
          struct ramet_err *err)
{
    const uint64_t at = s->at;

    assert(is_own(s, ref) && s->at >= RAMET_MAP_HEADER_SIZE);
    s->at = ref->offset_bytes + ref->length_bytes;
    if (ref->offset_bytes == at)
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "the map of LSN %" PRIu64
                      ": nothing refers to the bytes at %" PRIu64,
                      s->map->lsn, at);
}

/* `inside`: it lies in the top, where it need not come next. */
static enum ramet_rc
sweep_node(struct map_sweep *s, const struct ramet_node_ref *ref,
           unsigned level, uint32_t index, bool inside, struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(level <= RAMET_MAP_LEVEL_MAX && ref->length_bytes > 0);
    rc = ramet_history_load_nodes(s->v->history, &ref, 1, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    if (level == 0)
        rc = ramet_leaf_decode(ramet_loaded_node(entry)->bytes,
                               ref->length_bytes, &s->v->history->volume, index,
                               &s->leaf, err);
    else
        rc = ramet_inner_decode(ramet_loaded_node(entry)->bytes,
                                ref->length_bytes, level, index,
                                &s->inner[level], err);
    ramet_history_release(s->v->history, entry);
    /* At most five levels deep: the level falls by one a step. */
    if (rc == RAMET_OK)
        rc = check_times(s, ref, level, err);
    for (unsigned i = 0;
         rc == RAMET_OK && level > 0 && i < RAMET_INNER_CHILDREN; i++) {
        const struct ramet_node_ref *const child = &s->inner[level].children[i];

        if (child->length_bytes == 0)
            continue;
        if (is_own(s, child))
            rc = sweep_node(s, child, level - 1,
                            index * RAMET_INNER_CHILDREN + i, false, err);
        else
            rc = check_elsewhere(s, child, err);
    }
    return rc != RAMET_OK || inside ? rc : pass_node(s, ref, err);
}

/* A piece, walked to its end: every run is of the LSNs of its roll-up. */
static enum ramet_rc
sweep_piece(struct map_sweep *s, const struct ramet_rollup *rollup,
            const struct ramet_piece_ref *ref, struct ramet_err *err)
{
    const struct ramet_node_ref *const node = &ref->node;
    const struct ramet_run_walk *const runs = &s->piece.runs;
    struct ramet_lru_entry *entry;
    bool more = true;
    enum ramet_rc rc;

    assert(is_own(s, node));
    rc = ramet_history_load_nodes(s->v->history, &node, 1, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_piece_start(&s->piece, ramet_loaded_node(entry)->bytes,
                           &s->v->history->volume, ref, err);
    while (rc == RAMET_OK && more) {
        rc = ramet_piece_next(&s->piece, &more, err);
        if (rc == RAMET_OK && more && runs->lsn <= rollup->from)
            rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                            "the map of LSN %" PRIu64 ": page %" PRIu64
                            " of a roll-up changed at LSN "
                            "%" PRIu64 ", before it",
                            s->map->lsn, runs->start, runs->lsn);
    }
    ramet_history_release(s->v->history, entry);
    return rc;
}

/* Pieces of this map, in the order in which they lie; those of others are looked
 * at in their turn. */
static enum ramet_rc
sweep_rollups(struct map_sweep *s, const struct ramet_map_root *root,
              const struct ramet_node_ref *top, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(root->top.count <= RAMET_ROLLUPS_MAX);
    for (unsigned r = 0; r < root->top.count; r++) {
        const struct ramet_rollup *const rollup = &root->top.rollups[r];

        for (unsigned i = 0; rc == RAMET_OK && i < rollup->piece_count; i++) {
            const struct ramet_piece_ref *const piece = &rollup->pieces[i];

            if (!is_own(s, &piece->node)) {
                rc = check_elsewhere(s, &piece->node, err);
                continue;
            }
            rc = sweep_piece(s, rollup, piece, err);
            if (rc == RAMET_OK && piece->node.offset_bytes < top->offset_bytes)
                rc = pass_node(s, &piece->node, err);
        }
    }
    return rc;
}

static enum ramet_rc
sweep_map(struct map_sweep *s, struct ramet_err *err)
{
    struct ramet_history *const history = s->v->history;
    struct ramet_map_ref map = {.lsn = s->map->lsn, .id = s->map->id};
    struct ramet_map_trailer trailer;
    struct ramet_map_root root;
    bool has_top;
    enum ramet_rc rc;

    assert(s->at == 0);
    rc = ramet_history_read_trailer(history, s->map->lsn, &s->map->id,
                                    s->map->size_bytes, &trailer, err);
    if (rc != RAMET_OK)
        return rc;
    map.root_offset_bytes = trailer.root.offset_bytes;
    map.root_length_bytes = trailer.root.length_bytes;
    map.root_hash = trailer.root.hash;
    rc = ramet_map_root_open(history, &map, &root, err);
    if (rc != RAMET_OK)
        return rc;
    s->at = RAMET_MAP_HEADER_SIZE;
    has_top = root.top.count > 0;
    if (root.top.tree.length_bytes > 0)
        rc = sweep_node(s, &root.top.tree, root.level, 0, has_top, err);
    if (rc == RAMET_OK)
        rc = sweep_rollups(s, &root, &trailer.root, err);
    if (rc == RAMET_OK && has_top)
        rc = pass_node(s, &trailer.root, err);
    ramet_map_root_close(&root);
    return rc;
}

enum ramet_rc
ramet_verify_map(struct ramet_verify *v, const struct ramet_map_list *list,
                 const struct ramet_map_item *map, struct ramet_err *err)
{
    struct map_sweep *const s = ramet_calloc(1, sizeof(*s));
    enum ramet_rc rc;

    assert(map >= list->items && map < list->items + list->count);
    if (s == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "verify");
    s->v = v;
    s->list = list;
    s->map = map;
    rc = sweep_map(s, err);
    ramet_free(s);
    return rc;
}
