/*
 * mapnode.c - the front of all nodes of page maps, and inner nodes, as bytes and
 * back. Leaves are mapleaf.c's.
 *
 * The table of maps is made in order of first use, so that a node has one
 * encoding (mapnode.h, invariant (2)).
 */
#include <assert.h>
#include <inttypes.h>

#include "metastore/mapnode_impl.h"

enum { OBJECT_MAP = 2 };

unsigned
ramet_map_level_for(uint32_t page_count)
{
    unsigned level = 0;

    while (ramet_node_span(level) < page_count)
        level++;
    assert(level <= RAMET_MAP_LEVEL_MAX);
    return level;
}

static bool
id_equal(const struct ramet_id *a, const struct ramet_id *b)
{
    assert(a != NULL && b != NULL);
    return memcmp(a, b, sizeof(*a)) == 0;
}

bool
ramet_node_ref_equal(const struct ramet_node_ref *a,
                     const struct ramet_node_ref *b)
{
    assert(a != NULL && b != NULL);
    if (a->length_bytes != b->length_bytes)
        return false;
    return a->length_bytes == 0 ||
           (a->lsn == b->lsn && id_equal(&a->id.id, &b->id.id) &&
            a->offset_bytes == b->offset_bytes &&
            ramet_hash_equal(&a->hash, &b->hash));
}

/* ---- fronts -------------------------------------------------------------- */

enum ramet_rc
ramet_node_bad(const char *what, unsigned level, uint32_t index,
               struct ramet_err *err)
{
    assert(what != NULL);
    return RAMET_FAIL(err, RAMET_ECORRUPT, "page map: node %u of level %u: %s",
                      index, level, what);
}

enum ramet_rc
ramet_node_level(const uint8_t *bytes, size_t len, unsigned *out_level,
                 struct ramet_err *err)
{
    assert(bytes != NULL || len == 0);
    if (len < 4 || len > RAMET_NODE_BYTES_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "page map: node of %zu bytes",
                          len);
    if (bytes[0] > RAMET_NODE_TOP || bytes[1] != RAMET_HASH_XXH3_128 ||
        bytes[2] != 0)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "page map: node of a later version (%u, %u, %u)",
                          bytes[0], bytes[1], bytes[2]);
    *out_level = bytes[0];
    return RAMET_OK;
}

void
ramet_node_front_encode(const struct ramet_node_front *front,
                        struct ramet_buf *out)
{
    assert(front->latest >= 1 && front->latest >= front->gone);
    assert(front->level <= RAMET_NODE_TOP);
    ramet_buf_u8(out, (uint8_t)front->level);
    ramet_buf_u8(out, RAMET_HASH_XXH3_128);
    ramet_buf_u8(out, 0);
    ramet_buf_varint(out, front->index);
    ramet_buf_varint(out, front->latest);
    ramet_buf_varint(out,
                     front->gone == 0 ? 0 : front->latest - front->gone + 1);
}

enum ramet_rc
ramet_node_front_decode(struct ramet_reader *in, unsigned level, uint32_t index,
                        struct ramet_node_front *out_front,
                        struct ramet_err *err)
{
    struct ramet_node_front front = {.level = level, .index = index};
    uint64_t since;
    unsigned found;
    const enum ramet_rc rc = ramet_node_level(in->data, in->len, &found, err);

    assert(level <= RAMET_NODE_TOP && in->pos == 0);
    if (rc != RAMET_OK)
        return rc;
    (void)ramet_read_bytes(in, 3);
    if (found != level || ramet_read_varint(in) != index || in->bad)
        return ramet_node_bad("another node is in its place", level, index,
                              err);
    front.latest = ramet_read_varint(in);
    since = ramet_read_varint(in);
    if (in->bad || front.latest == 0 || since > front.latest)
        return ramet_node_bad("makes no sense", level, index, err);
    front.gone = since == 0 ? 0 : front.latest - since + 1;
    assert(front.latest >= 1 && front.gone <= front.latest);
    *out_front = front;
    return RAMET_OK;
}

enum ramet_rc
ramet_node_times(const uint8_t *bytes, size_t len, unsigned level,
                 uint32_t index, uint64_t *out_latest, uint64_t *out_gone,
                 struct ramet_err *err)
{
    struct ramet_node_front front;
    struct ramet_reader in;
    enum ramet_rc rc;

    assert(level <= RAMET_NODE_PIECE); /* a top has none */
    ramet_reader_init(&in, bytes, len);
    rc = ramet_node_front_decode(&in, level, index, &front, err);
    if (rc != RAMET_OK)
        return rc;
    *out_latest = front.latest;
    *out_gone = front.gone;
    return RAMET_OK;
}

/* ---- tables of maps ------------------------------------------------------ */

bool
ramet_node_same_map(const struct ramet_node_ref *a,
                    const struct ramet_node_ref *b)
{
    assert(a != NULL && b != NULL);
    return a->lsn == b->lsn && id_equal(&a->id.id, &b->id.id);
}

void
ramet_map_table_encode(const struct ramet_node_ref *const *maps, unsigned count,
                       struct ramet_buf *out)
{
    assert(count <= RAMET_INNER_CHILDREN);

    ramet_buf_varint(out, count);
    for (unsigned i = 0; i < count; i++) {
        ramet_buf_u8(out, OBJECT_MAP);
        ramet_buf_varint(out, maps[i]->lsn);
        ramet_buf_bytes(out, &maps[i]->id, RAMET_ID_SIZE);
    }
}

bool
ramet_map_table_decode(struct ramet_reader *in, struct ramet_node_ref *out_maps,
                       unsigned most, unsigned *out_count)
{
    assert(most <= RAMET_INNER_CHILDREN);
    *out_count = (unsigned)ramet_read_varint_max(in, most);
    for (unsigned i = 0; i < *out_count && !in->bad; i++) {
        const uint8_t type = ramet_read_u8(in);
        const uint8_t *id;

        if (type != OBJECT_MAP)
            return false;
        out_maps[i] = (struct ramet_node_ref){.lsn = ramet_read_varint(in)};
        id = ramet_read_bytes(in, RAMET_ID_SIZE);
        if (id == NULL || out_maps[i].lsn == 0)
            return false;
        memcpy(&out_maps[i].id.id, id, RAMET_ID_SIZE);
    }
    return !in->bad;
}

/* ---- inner nodes --------------------------------------------------------- */

static unsigned
map_number(const struct ramet_node_ref *const *maps, unsigned map_count,
           const struct ramet_node_ref *child)
{
    unsigned i = 0;

    assert(map_count <= RAMET_INNER_CHILDREN && child->length_bytes > 0);
    while (i < map_count && !ramet_node_same_map(maps[i], child))
        i++;
    return i;
}

uint64_t
ramet_inner_latest(const struct ramet_inner *inner)
{
    uint64_t latest = inner->gone;

    assert(inner != NULL);
    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++)
        if (inner->children[i].length_bytes > 0 &&
            inner->children[i].latest > latest)
            latest = inner->children[i].latest;
    return latest;
}

static void
encode_child(const struct ramet_node_ref *previous,
             const struct ramet_node_ref *child, uint64_t latest, unsigned map,
             struct ramet_buf *out)
{
    const bool follows =
        previous != NULL && ramet_node_same_map(previous, child) &&
        previous->offset_bytes + previous->length_bytes == child->offset_bytes;

    assert(child->latest >= 1 && child->latest <= latest);
    ramet_buf_varint(out, (uint64_t)map << 1 | (follows ? 1u : 0u));
    ramet_buf_varint(out, latest - child->latest);
    if (!follows)
        ramet_buf_varint(out, child->offset_bytes);
    ramet_buf_varint(out, child->length_bytes);
    ramet_buf_bytes(out, &child->hash, RAMET_HASH_SIZE);
}

void
ramet_inner_encode(const struct ramet_inner *inner, struct ramet_buf *out)
{
    const struct ramet_node_ref *maps[RAMET_INNER_CHILDREN];
    const struct ramet_node_ref *previous = NULL;
    const struct ramet_node_front front = {.level = inner->level,
                                           .index = inner->index,
                                           .latest = ramet_inner_latest(inner),
                                           .gone = inner->gone};
    unsigned map_count = 0, child_count = 0, next = 0;

    assert(inner->level >= 1 && inner->level <= RAMET_MAP_LEVEL_MAX);
    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
        const struct ramet_node_ref *const child = &inner->children[i];

        if (child->length_bytes == 0)
            continue;
        child_count++;
        if (map_number(maps, map_count, child) == map_count)
            maps[map_count++] = child;
    }
    assert(child_count > 0);
    ramet_node_front_encode(&front, out);
    ramet_map_table_encode(maps, map_count, out);
    ramet_buf_varint(out, child_count);
    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
        const struct ramet_node_ref *const child = &inner->children[i];

        if (child->length_bytes == 0)
            continue;
        ramet_buf_varint(out, i - next);
        encode_child(previous, child, front.latest,
                     map_number(maps, map_count, child), out);
        previous = child;
        next = i + 1;
    }
}

static bool
decode_child(struct ramet_reader *in, const struct ramet_node_ref *maps,
             unsigned map_count, uint64_t latest,
             const struct ramet_node_ref *previous, struct ramet_node_ref *out)
{
    const uint64_t what = ramet_read_varint(in);
    const uint64_t age = ramet_read_varint(in);
    const uint64_t map = what >> 1;
    const uint8_t *hash;

    assert(map_count <= RAMET_INNER_CHILDREN);
    if (in->bad || map >= map_count || age >= latest)
        return false;
    *out = maps[map];
    out->latest = latest - age;
    if ((what & 1) == 0) {
        out->offset_bytes = ramet_read_varint_max(in, INT64_MAX);
    } else {
        if (previous == NULL || !ramet_node_same_map(previous, out))
            return false;
        out->offset_bytes = previous->offset_bytes + previous->length_bytes;
    }
    out->length_bytes =
        (uint32_t)ramet_read_varint_max(in, RAMET_NODE_BYTES_MAX);
    hash = ramet_read_bytes(in, RAMET_HASH_SIZE);
    if (in->bad || out->length_bytes == 0 ||
        out->offset_bytes < RAMET_MAP_HEADER_SIZE ||
        out->offset_bytes > INT64_MAX)
        return false;
    assert(out->latest >= 1 && out->latest <= latest);
    memcpy(&out->hash, hash, RAMET_HASH_SIZE);
    return true;
}

/* Goes through an inner node's children one by one. */
struct child_walk {
    struct ramet_reader *in;
    struct ramet_node_ref maps[RAMET_INNER_CHILDREN];
    unsigned map_count;
    uint64_t latest; /* of the node */
    unsigned left;   /* children not yet seen */
    unsigned next;   /* the first place that no child has had */
    unsigned at;     /* of the child at hand */
    bool any;
    struct ramet_node_ref child;
};

static bool
start_children(struct child_walk *walk, const struct ramet_node_front *front,
               struct ramet_reader *in)
{
    uint64_t child_count;

    assert(front->level >= 1 && front->level <= RAMET_MAP_LEVEL_MAX);
    walk->in = in;
    walk->latest = front->latest;
    if (!ramet_map_table_decode(in, walk->maps, RAMET_INNER_CHILDREN,
                                &walk->map_count))
        return false;
    child_count = ramet_read_varint_max(in, RAMET_INNER_CHILDREN);
    walk->left = (unsigned)child_count;
    walk->next = 0;
    walk->any = false;
    return !in->bad && child_count > 0;
}

static bool
next_child(struct child_walk *walk)
{
    const struct ramet_node_ref previous = walk->child;
    const uint64_t at =
        walk->next + ramet_read_varint_max(walk->in, RAMET_INNER_CHILDREN);

    assert(walk->left > 0);
    if (walk->in->bad || at >= RAMET_INNER_CHILDREN ||
        !decode_child(walk->in, walk->maps, walk->map_count, walk->latest,
                      walk->any ? &previous : NULL, &walk->child))
        return false;
    walk->any = true;
    walk->left--;
    walk->at = (unsigned)at;
    assert(walk->at >= walk->next && walk->at < RAMET_INNER_CHILDREN);
    walk->next = walk->at + 1;
    return true;
}

static bool
decode_children(struct ramet_reader *in, const struct ramet_node_front *front,
                struct ramet_inner *out)
{
    struct child_walk walk;

    assert(out->level == front->level);
    walk.child.length_bytes = 0;
    if (!start_children(&walk, front, in))
        return false;
    while (walk.left > 0) {
        if (!next_child(&walk))
            return false;
        out->children[walk.at] = walk.child;
    }
    return ramet_reader_left(in) == 0 &&
           ramet_inner_latest(out) == front->latest;
}

static bool
find_child(struct ramet_reader *in, const struct ramet_node_front *front,
           unsigned wanted, struct ramet_node_ref *out)
{
    struct child_walk walk;

    assert(wanted < RAMET_INNER_CHILDREN);
    memset(out, 0, sizeof(*out));
    walk.child.length_bytes = 0;
    if (!start_children(&walk, front, in))
        return false;
    while (walk.left > 0 && walk.next <= wanted) {
        if (!next_child(&walk))
            return false;
        if (walk.at == wanted)
            *out = walk.child;
    }
    return true;
}

static enum ramet_rc
open_inner(struct ramet_reader *in, const uint8_t *bytes, size_t len,
           unsigned level, uint32_t index, struct ramet_node_front *out_front,
           struct ramet_err *err)
{
    assert(level >= 1 && level <= RAMET_MAP_LEVEL_MAX);
    ramet_reader_init(in, bytes, len);
    return ramet_node_front_decode(in, level, index, out_front, err);
}

enum ramet_rc
ramet_inner_find(const uint8_t *bytes, size_t len, unsigned level,
                 uint32_t index, unsigned child,
                 struct ramet_node_ref *out_child, struct ramet_err *err)
{
    struct ramet_node_front front;
    struct ramet_reader in;
    const enum ramet_rc rc =
        open_inner(&in, bytes, len, level, index, &front, err);

    assert(child < RAMET_INNER_CHILDREN);
    if (rc != RAMET_OK)
        return rc;
    if (!find_child(&in, &front, child, out_child))
        return ramet_node_bad("makes no sense", level, index, err);
    return RAMET_OK;
}

enum ramet_rc
ramet_inner_decode(const uint8_t *bytes, size_t len, unsigned level,
                   uint32_t index, struct ramet_inner *out,
                   struct ramet_err *err)
{
    struct ramet_node_front front;
    struct ramet_reader in;
    const enum ramet_rc rc =
        open_inner(&in, bytes, len, level, index, &front, err);

    if (rc != RAMET_OK)
        return rc;
    memset(out, 0, sizeof(*out));
    out->level = level;
    out->index = index;
    out->gone = front.gone;
    if (!decode_children(&in, &front, out))
        return ramet_node_bad("makes no sense", level, index, err);
    return RAMET_OK;
}
