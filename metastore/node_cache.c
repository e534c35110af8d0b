/*
 * node_cache.c - map nodes through the cache, in bulk.
 *
 * Nodes are cached as verified bytes: decoded they are ten times as large,
 * and decoding one costs less than a microsecond.
 */
#include "metastore/node_cache.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "metastore/head_cache.h"
#include "metastore/mapnode.h"

#define RANGE_BYTES_MAX (1u << 20)

static struct ramet_lru_key
node_key(const struct ramet_node_ref *ref)
{
    assert(ref->length_bytes > 0);
    return (struct ramet_lru_key){
        .kind = LRU_NODE, .id = ref->id.id, .number = ref->offset_bytes};
}

/* Nodes that are not in the cache, to be sorted by place. */
struct missing {
    const struct ramet_node_ref *ref;
    size_t slot; /* in the caller's arrays */
};

static int
compare_missing(const void *left, const void *right)
{
    const struct ramet_node_ref *const a = ((const struct missing *)left)->ref;
    const struct ramet_node_ref *const b = ((const struct missing *)right)->ref;
    const int by_id = ramet_id_compare(&a->id.id, &b->id.id);

    assert(left != NULL && right != NULL);
    if (a->lsn != b->lsn)
        return a->lsn < b->lsn ? -1 : 1;
    if (by_id != 0)
        return by_id;
    if (a->offset_bytes != b->offset_bytes)
        return a->offset_bytes < b->offset_bytes ? -1 : 1;
    return 0;
}

enum ramet_rc
ramet_history_keep_node(struct ramet_history *history,
                        const struct ramet_node_ref *ref, const uint8_t *bytes,
                        struct ramet_lru_entry **out_entry,
                        struct ramet_err *err)
{
    const struct ramet_lru_key key = node_key(ref);
    const struct ramet_hash hash = ramet_hash128(bytes, ref->length_bytes);
    struct ramet_loaded_node *node;
    struct ramet_lru_entry *entry;

    assert(ref->length_bytes > 0 && ref->length_bytes <= RAMET_NODE_BYTES_MAX);
    if (!ramet_hash_equal(&hash, &ref->hash)) {
        char map_key[RAMET_KEY_MAX];

        ramet_map_key(&history->volume, ref->lsn, &ref->id, map_key);
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: hash of the node at %" PRIu64 " does not match",
                          map_key, ref->offset_bytes);
    }
    node = ramet_alloc(sizeof(*node) + ref->length_bytes);
    if (node == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "page map node");
    node->ref = *ref;
    memcpy(node->bytes, bytes, ref->length_bytes);
    entry = ramet_lru_put(&history->lru, &key, node,
                          sizeof(*node) + ref->length_bytes, ramet_free);
    if (entry == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "page map node");
    *out_entry = entry;
    return RAMET_OK;
}

/* How many of `missing`, sorted, one request takes. */
static size_t
range_count(const struct ramet_objstore *store, const struct missing *missing,
            size_t count)
{
    const struct ramet_node_ref *const first = missing[0].ref;
    const uint64_t gap = ramet_objstore_gap(store);
    uint64_t end = first->offset_bytes + first->length_bytes;
    size_t n = 1;

    assert(count >= 1);
    if ((store->traits & RAMET_STORE_SENDS_AHEAD) != 0)
        return 1; /* each was sent by itself */
    while (n < count) {
        const struct ramet_node_ref *const next = missing[n].ref;
        const uint64_t next_end = next->offset_bytes + next->length_bytes;

        if (next->lsn != first->lsn ||
            ramet_id_compare(&next->id.id, &first->id.id) != 0 ||
            (next->offset_bytes > end && next->offset_bytes - end > gap) ||
            next_end - first->offset_bytes > RANGE_BYTES_MAX)
            break;
        if (next_end > end)
            end = next_end;
        n++;
    }
    assert(n >= 1 && n <= count);
    return n;
}

/* The ranges that hold what is missing, each a part. */
struct loading {
    struct ramet_history *history;
    const struct missing *missing; /* sorted */
    struct ramet_lru_entry **out_entries;
    struct ramet_part parts[RAMET_NODES_AT_ONCE];
    size_t first[RAMET_NODES_AT_ONCE + 1]; /* of missing, by part */
    char keys[RAMET_NODES_AT_ONCE][RAMET_KEY_MAX];
    size_t count;
};

/* A node that is here; what somebody kept wrong for us is read anew. */
static enum ramet_rc
keep_right(struct ramet_history *history, const struct ramet_node_ref *ref,
           const char *key, uint8_t *bytes, struct ramet_lru_entry **out_entry,
           struct ramet_err *err)
{
    enum ramet_rc rc =
        ramet_history_keep_node(history, ref, bytes, out_entry, err);

    assert(ref->length_bytes > 0);
    if (rc == RAMET_ECORRUPT) {
        rc = ramet_objstore_read_anew(history->store, key, ref->offset_bytes,
                                      bytes, ref->length_bytes, err);
        if (rc == RAMET_OK)
            rc = ramet_history_keep_node(history, ref, bytes, out_entry, err);
    }
    return rc;
}

static enum ramet_rc
take_nodes(void *ctx, const struct ramet_part *part, size_t got,
           struct ramet_err *err)
{
    struct loading *const loading = ctx;
    const size_t p = (size_t)(part - loading->parts);
    enum ramet_rc rc = RAMET_OK;

    assert(p < loading->count && got == part->len);
    (void)got; /* all */

    for (size_t i = loading->first[p];
         rc == RAMET_OK && i < loading->first[p + 1]; i++) {
        const struct ramet_node_ref *const ref = loading->missing[i].ref;

        assert(ref->offset_bytes >= part->offset &&
               ref->offset_bytes - part->offset + ref->length_bytes <=
                   part->len);
        rc = keep_right(loading->history, ref, part->key,
                        (uint8_t *)part->buf +
                            (ref->offset_bytes - part->offset),
                        &loading->out_entries[loading->missing[i].slot], err);
    }
    return rc;
}

/* A part for `count` of the missing, from `at` on; false: no memory. */
static bool
add_part(struct loading *loading, size_t at, size_t count)
{
    const struct missing *const missing = loading->missing + at;
    const struct ramet_node_ref *const first = missing[0].ref;
    struct ramet_part *const part = &loading->parts[loading->count];
    char *const key = loading->keys[loading->count];
    uint64_t end = 0;

    assert(count >= 1 && loading->count < RAMET_NODES_AT_ONCE);
    for (size_t i = 0; i < count; i++) {
        const uint64_t node_end =
            missing[i].ref->offset_bytes + missing[i].ref->length_bytes;

        if (node_end > end)
            end = node_end;
    }
    ramet_map_key(&loading->history->volume, first->lsn, &first->id, key);
    *part = (struct ramet_part){.key = key,
                                .offset = first->offset_bytes,
                                .len = (size_t)(end - first->offset_bytes)};
    part->buf = ramet_alloc(part->len);
    loading->first[loading->count] = at;
    loading->first[loading->count + 1] = at + count;
    if (part->buf != NULL)
        loading->count++;
    return part->buf != NULL;
}

static enum ramet_rc
load_missing(struct ramet_history *history, const struct missing *missing,
             size_t count, struct ramet_lru_entry **out_entries,
             struct ramet_err *err)
{
    struct loading *const loading = ramet_alloc(sizeof(*loading));
    enum ramet_rc rc = RAMET_OK;

    assert(count >= 1 && count <= RAMET_NODES_AT_ONCE);
    if (loading == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "page map nodes");
    loading->history = history;
    loading->missing = missing;
    loading->out_entries = out_entries;
    loading->count = 0;
    for (size_t done = 0; rc == RAMET_OK && done < count;) {
        const size_t n =
            range_count(history->store, missing + done, count - done);

        if (!add_part(loading, done, n))
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "page map nodes");
        done += n;
    }
    if (rc == RAMET_OK)
        rc =
            ramet_objstore_read_parts(history->store, loading->parts,
                                      loading->count, take_nodes, loading, err);
    if (rc == RAMET_ENOTFOUND)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "%s: the page map, or one that it refers to, is "
                        "missing",
                        loading->keys[0]);
    for (size_t i = 0; i < loading->count; i++)
        ramet_free(loading->parts[i].buf);
    ramet_free(loading);
    return rc;
}

void
ramet_history_release_nodes(struct ramet_history *history,
                            struct ramet_lru_entry **entries, size_t count)
{
    assert(count <= RAMET_NODES_AT_ONCE);
    for (size_t i = 0; i < count; i++) {
        ramet_history_release(history, entries[i]);
        entries[i] = NULL;
    }
}

/* The node in the cache, held, or NULL. Another hash for the same place: let the
 * store's bytes decide. */
static struct ramet_lru_entry *
get_node(struct ramet_history *history, const struct ramet_node_ref *ref)
{
    const struct ramet_lru_key key = node_key(ref);
    struct ramet_lru_entry *const entry = ramet_lru_get(&history->lru, &key);

    assert(ref->length_bytes > 0);
    if (entry == NULL ||
        ramet_node_ref_equal(&ramet_loaded_node(entry)->ref, ref))
        return entry;
    ramet_history_release(history, entry);
    return NULL;
}

bool
ramet_history_has_node(struct ramet_history *history,
                       const struct ramet_node_ref *ref)
{
    struct ramet_lru_entry *const entry = get_node(history, ref);

    assert(ref->length_bytes > 0);
    ramet_history_release(history, entry);
    return entry != NULL;
}

enum ramet_rc
ramet_history_load_nodes(struct ramet_history *history,
                         const struct ramet_node_ref *const *refs, size_t count,
                         struct ramet_lru_entry **out_entries,
                         struct ramet_err *err)
{
    struct missing missing[RAMET_NODES_AT_ONCE];
    size_t missing_count = 0;
    enum ramet_rc rc = RAMET_OK;

    assert(count <= RAMET_NODES_AT_ONCE);
    for (size_t i = 0; i < count; i++) {
        out_entries[i] = NULL;
        if (refs[i]->length_bytes == 0)
            continue;
        out_entries[i] = get_node(history, refs[i]);
        if (out_entries[i] == NULL)
            missing[missing_count++] = (struct missing){refs[i], i};
    }
    if (missing_count > 1)
        qsort(missing, missing_count, sizeof(missing[0]), compare_missing);
    if (missing_count > 0)
        rc = load_missing(history, missing, missing_count, out_entries, err);
    if (rc != RAMET_OK)
        ramet_history_release_nodes(history, out_entries, count);
    return rc;
}

enum ramet_rc
ramet_history_load_inner(struct ramet_history *history,
                         const struct ramet_node_ref *ref, unsigned level,
                         uint32_t index, struct ramet_inner *out,
                         struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(ref->length_bytes > 0 && level >= 1);
    rc = ramet_history_load_nodes(history, &ref, 1, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_inner_decode(ramet_loaded_node(entry)->bytes, ref->length_bytes,
                            level, index, out, err);
    ramet_history_release(history, entry);
    return rc;
}

typedef enum ramet_rc
read_way(struct ramet_objstore *store, const char *key, uint64_t offset,
         void *buf, size_t len, struct ramet_err *err);

static enum ramet_rc
read_trailer_by(read_way *read, struct ramet_history *history, uint64_t lsn,
                const struct ramet_mid *id, const char *key,
                uint64_t size_bytes, struct ramet_map_trailer *out_trailer,
                struct ramet_err *err)
{
    uint8_t header[RAMET_MAP_HEADER_SIZE], end[RAMET_MAP_TRAILER_SIZE];
    enum ramet_rc rc;

    assert(key != NULL && lsn >= 1);
    if (size_bytes < sizeof(header) + sizeof(end))
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: %" PRIu64 " bytes", key,
                          size_bytes);
    rc = read(history->store, key, 0, header, sizeof(header), err);
    if (rc == RAMET_OK)
        rc = read(history->store, key, size_bytes - sizeof(end), end,
                  sizeof(end), err);
    if (rc != RAMET_OK)
        return rc;
    return ramet_map_trailer_decode(&history->volume, lsn, id, header, end,
                                    size_bytes, out_trailer, err);
}

enum ramet_rc
ramet_history_read_trailer(struct ramet_history *history, uint64_t lsn,
                           const struct ramet_mid *id, uint64_t size_bytes,
                           struct ramet_map_trailer *out_trailer,
                           struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    ramet_map_key(&history->volume, lsn, id, key);
    rc = read_trailer_by(ramet_objstore_read_full, history, lsn, id, key,
                         size_bytes, out_trailer, err);
    if (rc == RAMET_ECORRUPT) /* either of the two may be what is wrong */
        rc = read_trailer_by(ramet_objstore_read_anew, history, lsn, id, key,
                             size_bytes, out_trailer, err);
    return rc;
}
