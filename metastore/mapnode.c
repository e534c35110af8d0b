/*
 * mapnode.c - leaves and inner nodes of page maps, as bytes and back.
 *
 * Tables of objects and dictionaries are made in order of first use, so that
 * a node has one encoding (mapnode.h, invariant (2)).
 */
#include "metastore/mapnode.h"

#include <assert.h>
#include <inttypes.h>

enum { RUN_DICT = 1, RUN_PART = 2, RUN_FOLLOWS = 4, RUN_BITS = 3 };

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
    return memcmp(a, b, sizeof(*a)) == 0;
}

bool
ramet_node_ref_equal(const struct ramet_node_ref *a,
                     const struct ramet_node_ref *b)
{
    if (a->length_bytes != b->length_bytes)
        return false;
    return a->length_bytes == 0 ||
           (a->lsn == b->lsn && id_equal(&a->id.id, &b->id.id) &&
            a->offset_bytes == b->offset_bytes &&
            ramet_hash_equal(&a->hash, &b->hash));
}

static bool
same_object(const struct ramet_place *a, const struct ramet_place *b)
{
    if (a->kind != b->kind)
        return false;
    return a->kind == RAMET_IN_SEGMENT
               ? id_equal(&a->segment.id, &b->segment.id)
               : a->lsn == b->lsn;
}

static bool
same_place(const struct ramet_place *a, const struct ramet_place *b)
{
    return same_object(a, b) && a->offset_bytes == b->offset_bytes &&
           a->length_bytes == b->length_bytes &&
           ramet_hash_equal(&a->hash, &b->hash);
}

bool
ramet_frame_same(const struct ramet_frame *a, const struct ramet_frame *b)
{
    if (a->page_count == 0 || b->page_count == 0)
        return a->page_count == b->page_count;
    return a->first_pgno == b->first_pgno && a->page_count == b->page_count &&
           a->kind == b->kind && same_place(&a->place, &b->place);
}

/* ---- leaves: encoding ---------------------------------------------------- */

/* Distinct objects and dictionaries of a leaf, in order of first use; each
 * points at the page that used it first. */
struct leaf_tables {
    const struct ramet_frame *objects[RAMET_LEAF_PAGES];
    const struct ramet_frame *dicts[RAMET_LEAF_PAGES];
    unsigned object_count;
    unsigned dict_count;
    unsigned run_count;
};

static unsigned
object_of(const struct leaf_tables *tables, const struct ramet_frame *frame)
{
    unsigned i = 0;

    while (i < tables->object_count &&
           !same_object(&tables->objects[i]->place, &frame->place))
        i++;
    return i;
}

static unsigned
dict_of(const struct leaf_tables *tables, const struct ramet_frame *frame)
{
    unsigned i = 0;

    while (i < tables->dict_count &&
           !same_place(&tables->dicts[i]->base, &frame->base))
        i++;
    return i;
}

/* The page after the run that begins at `page`. */
static unsigned
run_end(const struct ramet_leaf *leaf, unsigned page)
{
    unsigned end = page + 1;

    while (end < RAMET_LEAF_PAGES &&
           ramet_frame_same(&leaf->pages[page], &leaf->pages[end]))
        end++;
    return end;
}

static void
collect_tables(const struct ramet_leaf *leaf, struct leaf_tables *tables)
{
    unsigned page = 0;

    while (page < RAMET_LEAF_PAGES) {
        const struct ramet_frame *const frame = &leaf->pages[page];
        const unsigned end = run_end(leaf, page);

        if (frame->page_count > 0) {
            tables->run_count++;
            if (object_of(tables, frame) == tables->object_count)
                tables->objects[tables->object_count++] = frame;
            if (frame->kind == RAMET_FRAME_DICT &&
                dict_of(tables, frame) == tables->dict_count)
                tables->dicts[tables->dict_count++] = frame;
        }
        page = end;
    }
}

static void
encode_leaf_tables(const struct leaf_tables *tables, struct ramet_buf *out)
{
    ramet_buf_varint(out, tables->dict_count);
    for (unsigned i = 0; i < tables->dict_count; i++) {
        const struct ramet_place *const dict = &tables->dicts[i]->base;

        ramet_buf_bytes(out, &dict->segment.id, RAMET_ID_SIZE);
        ramet_buf_varint(out, dict->offset_bytes);
        ramet_buf_varint(out, dict->length_bytes);
        ramet_buf_bytes(out, &dict->hash, RAMET_HASH_SIZE);
    }
    ramet_buf_varint(out, tables->object_count);
    for (unsigned i = 0; i < tables->object_count; i++) {
        const struct ramet_place *const place = &tables->objects[i]->place;

        ramet_buf_u8(out, (uint8_t)place->kind);
        if (place->kind == RAMET_IN_SEGMENT)
            ramet_buf_bytes(out, &place->segment.id, RAMET_ID_SIZE);
        else
            ramet_buf_varint(out, place->lsn);
    }
    ramet_buf_varint(out, tables->run_count);
}

static bool
frame_follows(const struct ramet_frame *previous,
              const struct ramet_frame *frame)
{
    return previous != NULL && same_object(&previous->place, &frame->place) &&
           previous->place.offset_bytes + previous->place.length_bytes ==
               frame->place.offset_bytes;
}

static void
encode_run(const struct leaf_tables *tables, const struct ramet_frame *previous,
           const struct ramet_frame *frame, uint32_t first_pgno, unsigned count,
           struct ramet_buf *out)
{
    const bool follows = frame_follows(previous, frame);
    const bool part =
        frame->first_pgno != first_pgno || frame->page_count != count;
    const bool dict = frame->kind == RAMET_FRAME_DICT;

    ramet_buf_varint(out, count - 1);
    ramet_buf_varint(out, (uint64_t)object_of(tables, frame) << RUN_BITS |
                              (dict ? RUN_DICT : 0u) | (part ? RUN_PART : 0u) |
                              (follows ? RUN_FOLLOWS : 0u));
    if (dict)
        ramet_buf_varint(out, dict_of(tables, frame));
    if (part) {
        ramet_buf_varint(out, first_pgno - frame->first_pgno);
        ramet_buf_varint(out, frame->page_count - 1);
    }
    if (!follows)
        ramet_buf_varint(out, frame->place.offset_bytes);
    ramet_buf_varint(out, frame->place.length_bytes - 1);
    ramet_buf_bytes(out, &frame->place.hash, RAMET_HASH_SIZE);
}

static enum ramet_rc
check_sayable(const struct ramet_leaf *leaf, struct ramet_err *err)
{
    for (unsigned i = 0; i < RAMET_LEAF_PAGES; i++) {
        const struct ramet_frame *const frame = &leaf->pages[i];

        if (frame->page_count == 0)
            continue;
        if (frame->kind > RAMET_FRAME_DICT ||
            frame->place.hash_algo != RAMET_HASH_XXH3_128 ||
            (frame->kind == RAMET_FRAME_DICT &&
             frame->base.kind != RAMET_IN_SEGMENT))
            return RAMET_FAIL(err, RAMET_EVERSION,
                              "page map: frame of page %u is of a later "
                              "version",
                              frame->first_pgno);
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_leaf_encode(const struct ramet_leaf *leaf, struct ramet_buf *out,
                  struct ramet_err *err)
{
    const uint32_t base_pgno = leaf->index * RAMET_LEAF_PAGES + 1;
    struct leaf_tables tables = {.object_count = 0};
    const struct ramet_frame *previous = NULL;
    unsigned next = 0; /* the first page that no run has covered */
    enum ramet_rc rc;

    rc = check_sayable(leaf, err);
    if (rc != RAMET_OK)
        return rc;
    collect_tables(leaf, &tables);
    assert(tables.run_count > 0);
    ramet_buf_u8(out, 0);
    ramet_buf_u8(out, RAMET_HASH_XXH3_128);
    ramet_buf_u8(out, 0);
    ramet_buf_varint(out, leaf->index);
    encode_leaf_tables(&tables, out);
    for (unsigned page = 0; page < RAMET_LEAF_PAGES;) {
        const struct ramet_frame *const frame = &leaf->pages[page];
        const unsigned end = run_end(leaf, page);

        if (frame->page_count > 0) {
            ramet_buf_varint(out, page - next);
            encode_run(&tables, previous, frame, base_pgno + page, end - page,
                       out);
            previous = frame;
            next = end;
        }
        page = end;
    }
    return RAMET_OK;
}

/* ---- leaves: decoding ---------------------------------------------------- */

static enum ramet_rc
bad_node(const char *what, unsigned level, uint32_t index,
         struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_ECORRUPT, "page map: node %u of level %u: %s",
                      index, level, what);
}

enum ramet_rc
ramet_node_level(const uint8_t *bytes, size_t len, unsigned *out_level,
                 struct ramet_err *err)
{
    if (len < 4 || len > RAMET_NODE_BYTES_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "page map: node of %zu bytes",
                          len);
    if (bytes[0] > RAMET_MAP_LEVEL_MAX || bytes[1] != RAMET_HASH_XXH3_128 ||
        bytes[2] != 0)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "page map: node of a later version (%u, %u, %u)",
                          bytes[0], bytes[1], bytes[2]);
    *out_level = bytes[0];
    return RAMET_OK;
}

static enum ramet_rc
decode_front(struct ramet_reader *in, unsigned level, uint32_t index,
             struct ramet_err *err)
{
    unsigned found;
    const enum ramet_rc rc = ramet_node_level(in->data, in->len, &found, err);

    if (rc != RAMET_OK)
        return rc;
    (void)ramet_read_bytes(in, 3);
    if (found != level || ramet_read_varint(in) != index || in->bad)
        return bad_node("another node stands in its place", level, index, err);
    return RAMET_OK;
}

/* What the runs refer to by number. */
struct leaf_names {
    struct ramet_place dicts[RAMET_LEAF_PAGES];
    struct ramet_place objects[RAMET_LEAF_PAGES];
    unsigned dict_count;
    unsigned object_count;
};

static bool
decode_names(struct ramet_reader *in, const struct ramet_vid *volume,
             struct leaf_names *names)
{
    names->dict_count = (unsigned)ramet_read_varint_max(in, RAMET_LEAF_PAGES);
    for (unsigned i = 0; i < names->dict_count && !in->bad; i++) {
        struct ramet_place *const dict = &names->dicts[i];
        const uint8_t *const id = ramet_read_bytes(in, RAMET_ID_SIZE);
        const uint8_t *hash;

        *dict = (struct ramet_place){.volume = *volume,
                                     .hash_algo = RAMET_HASH_XXH3_128};
        dict->offset_bytes = ramet_read_varint_max(in, INT64_MAX);
        dict->length_bytes =
            (uint32_t)ramet_read_varint_max(in, RAMET_FRAME_BYTES_MAX);
        hash = ramet_read_bytes(in, RAMET_HASH_SIZE);
        if (in->bad || dict->length_bytes == 0)
            return false;
        memcpy(&dict->segment.id, id, RAMET_ID_SIZE);
        memcpy(&dict->hash, hash, RAMET_HASH_SIZE);
    }
    names->object_count = (unsigned)ramet_read_varint_max(in, RAMET_LEAF_PAGES);
    for (unsigned i = 0; i < names->object_count && !in->bad; i++) {
        struct ramet_place *const object = &names->objects[i];
        const uint8_t type = ramet_read_u8(in);

        if (type > RAMET_IN_COMMIT)
            return false;
        *object = (struct ramet_place){.volume = *volume,
                                       .kind = (enum ramet_object_kind)type,
                                       .hash_algo = RAMET_HASH_XXH3_128};
        if (type == RAMET_IN_COMMIT) {
            object->lsn = ramet_read_varint(in);
            if (object->lsn == 0)
                return false;
        } else {
            const uint8_t *const id = ramet_read_bytes(in, RAMET_ID_SIZE);

            if (id != NULL)
                memcpy(&object->segment.id, id, RAMET_ID_SIZE);
        }
    }
    return !in->bad;
}

/* Offset, length and hash of a run's frame. */
static bool
decode_run_place(struct ramet_reader *in, bool follows,
                 const struct ramet_frame *previous, struct ramet_frame *frame)
{
    const uint8_t *hash;

    if (!follows) {
        frame->place.offset_bytes = ramet_read_varint_max(in, INT64_MAX);
    } else {
        if (previous == NULL || !same_object(&previous->place, &frame->place))
            return false;
        frame->place.offset_bytes =
            previous->place.offset_bytes + previous->place.length_bytes;
    }
    frame->place.length_bytes =
        (uint32_t)ramet_read_varint_max(in, RAMET_FRAME_BYTES_MAX - 1) + 1;
    hash = ramet_read_bytes(in, RAMET_HASH_SIZE);
    if (in->bad || frame->place.offset_bytes > INT64_MAX ||
        frame->place.offset_bytes < 32)
        return false;
    memcpy(&frame->place.hash, hash, RAMET_HASH_SIZE);
    return true;
}

/* A run of `count` pages from `first_pgno`; false where bytes make no sense. */
static bool
decode_run(struct ramet_reader *in, const struct leaf_names *names,
           const struct ramet_frame *previous, uint64_t first_pgno,
           uint64_t count, struct ramet_frame *frame)
{
    const uint64_t what = ramet_read_varint(in);
    const uint64_t object = what >> RUN_BITS;
    uint64_t before = 0, total = count;

    if (in->bad || object >= names->object_count)
        return false;
    *frame = (struct ramet_frame){.place = names->objects[object],
                                  .kind = RAMET_FRAME_PLAIN};
    if (what & RUN_DICT) {
        const uint64_t dict = ramet_read_varint(in);

        if (in->bad || dict >= names->dict_count)
            return false;
        frame->kind = RAMET_FRAME_DICT;
        frame->base = names->dicts[dict];
    }
    if (what & RUN_PART) {
        before = ramet_read_varint_max(in, RAMET_FRAME_PAGES_MAX - 1);
        total = ramet_read_varint_max(in, RAMET_FRAME_PAGES_MAX - 1) + 1;
    }
    if (in->bad || before >= first_pgno || before + count > total ||
        first_pgno - before + total - 1 > UINT32_MAX)
        return false;
    frame->first_pgno = (uint32_t)(first_pgno - before);
    frame->page_count = (uint32_t)total;
    return decode_run_place(in, (what & RUN_FOLLOWS) != 0, previous, frame);
}

/* Goes through a leaf's runs one by one. */
struct run_walk {
    struct ramet_reader *in;
    const struct leaf_names *names;
    uint64_t base_pgno;
    uint64_t start, count; /* of the run at hand, in the leaf */
    uint64_t next;
    struct ramet_frame frames[2]; /* the run at hand and the one before */
    unsigned at;
    bool any;
};

static bool
next_run(struct run_walk *walk)
{
    const struct ramet_frame *const previous =
        walk->any ? &walk->frames[walk->at] : NULL;

    walk->at ^= walk->any;
    walk->any = true;
    walk->start =
        walk->next + ramet_read_varint_max(walk->in, RAMET_LEAF_PAGES);
    walk->count = ramet_read_varint_max(walk->in, RAMET_LEAF_PAGES - 1) + 1;
    walk->next = walk->start + walk->count;
    return !walk->in->bad && walk->next <= RAMET_LEAF_PAGES &&
           decode_run(walk->in, walk->names, previous,
                      walk->base_pgno + walk->start, walk->count,
                      &walk->frames[walk->at]);
}

static bool
decode_runs(struct ramet_reader *in, const struct leaf_names *names,
            struct ramet_leaf *out)
{
    const uint64_t run_count = ramet_read_varint_max(in, RAMET_LEAF_PAGES);
    struct run_walk walk;

    walk.in = in;
    walk.names = names;
    walk.base_pgno = (uint64_t)out->index * RAMET_LEAF_PAGES + 1;
    walk.next = 0;
    walk.at = 0;
    walk.any = false;
    if (in->bad || run_count == 0)
        return false;
    for (uint64_t i = 0; i < run_count; i++) {
        if (!next_run(&walk))
            return false;
        for (uint64_t page = walk.start; page < walk.next; page++)
            out->pages[page] = walk.frames[walk.at];
    }
    return ramet_reader_left(in) == 0;
}

/* As decode_runs(), up to the run that has page `wanted` of the leaf. */
static bool
find_run(struct ramet_reader *in, const struct leaf_names *names,
         uint32_t index, uint64_t wanted, struct ramet_frame *out)
{
    const uint64_t run_count = ramet_read_varint_max(in, RAMET_LEAF_PAGES);
    struct run_walk walk;

    walk.in = in;
    walk.names = names;
    walk.base_pgno = (uint64_t)index * RAMET_LEAF_PAGES + 1;
    walk.next = 0;
    walk.at = 0;
    walk.any = false;
    memset(out, 0, sizeof(*out));
    if (in->bad || run_count == 0)
        return false;
    for (uint64_t i = 0; i < run_count; i++) {
        if (!next_run(&walk))
            return false;
        if (walk.start > wanted)
            return true; /* in a gap */
        if (walk.next > wanted) {
            *out = walk.frames[walk.at];
            return true;
        }
    }
    return true;
}

enum ramet_rc
ramet_leaf_find(const uint8_t *bytes, size_t len,
                const struct ramet_vid *volume, uint32_t pgno,
                struct ramet_frame *out_frame, struct ramet_err *err)
{
    const uint32_t index = (pgno - 1) / RAMET_LEAF_PAGES;
    struct leaf_names names;
    struct ramet_reader in;
    enum ramet_rc rc;

    ramet_reader_init(&in, bytes, len);
    rc = decode_front(&in, 0, index, err);
    if (rc != RAMET_OK)
        return rc;
    if (!decode_names(&in, volume, &names) ||
        !find_run(&in, &names, index, (pgno - 1) % RAMET_LEAF_PAGES, out_frame))
        return bad_node("makes no sense", 0, index, err);
    return RAMET_OK;
}

enum ramet_rc
ramet_leaf_decode(const uint8_t *bytes, size_t len,
                  const struct ramet_vid *volume, uint32_t index,
                  struct ramet_leaf *out, struct ramet_err *err)
{
    struct leaf_names names;
    struct ramet_reader in;
    enum ramet_rc rc;

    ramet_reader_init(&in, bytes, len);
    rc = decode_front(&in, 0, index, err);
    if (rc != RAMET_OK)
        return rc;
    memset(out, 0, sizeof(*out));
    out->index = index;
    if (!decode_names(&in, volume, &names) || !decode_runs(&in, &names, out))
        return bad_node("makes no sense", 0, index, err);
    return RAMET_OK;
}

/* ---- inner nodes --------------------------------------------------------- */

static bool
same_map(const struct ramet_node_ref *a, const struct ramet_node_ref *b)
{
    return a->lsn == b->lsn && id_equal(&a->id.id, &b->id.id);
}

static unsigned
map_number(const struct ramet_node_ref *const *maps, unsigned map_count,
           const struct ramet_node_ref *child)
{
    unsigned i = 0;

    while (i < map_count && !same_map(maps[i], child))
        i++;
    return i;
}

static void
encode_child(const struct ramet_node_ref *previous,
             const struct ramet_node_ref *child, unsigned map,
             struct ramet_buf *out)
{
    const bool follows =
        previous != NULL && same_map(previous, child) &&
        previous->offset_bytes + previous->length_bytes == child->offset_bytes;

    ramet_buf_varint(out, (uint64_t)map << 1 | (follows ? 1u : 0u));
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
    unsigned map_count = 0, child_count = 0, next = 0;

    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
        const struct ramet_node_ref *const child = &inner->children[i];

        if (child->length_bytes == 0)
            continue;
        child_count++;
        if (map_number(maps, map_count, child) == map_count)
            maps[map_count++] = child;
    }
    assert(child_count > 0);
    ramet_buf_u8(out, (uint8_t)inner->level);
    ramet_buf_u8(out, RAMET_HASH_XXH3_128);
    ramet_buf_u8(out, 0);
    ramet_buf_varint(out, inner->index);
    ramet_buf_varint(out, map_count);
    for (unsigned i = 0; i < map_count; i++) {
        ramet_buf_varint(out, maps[i]->lsn);
        ramet_buf_bytes(out, &maps[i]->id, RAMET_ID_SIZE);
    }
    ramet_buf_varint(out, child_count);
    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
        const struct ramet_node_ref *const child = &inner->children[i];

        if (child->length_bytes == 0)
            continue;
        ramet_buf_varint(out, i - next);
        encode_child(previous, child, map_number(maps, map_count, child), out);
        previous = child;
        next = i + 1;
    }
}

static bool
decode_child(struct ramet_reader *in, const struct ramet_node_ref *maps,
             unsigned map_count, const struct ramet_node_ref *previous,
             struct ramet_node_ref *out)
{
    const uint64_t what = ramet_read_varint(in);
    const uint64_t map = what >> 1;
    const uint8_t *hash;

    if (in->bad || map >= map_count)
        return false;
    *out = maps[map];
    if ((what & 1) == 0) {
        out->offset_bytes = ramet_read_varint_max(in, INT64_MAX);
    } else {
        if (previous == NULL || !same_map(previous, out))
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
    memcpy(&out->hash, hash, RAMET_HASH_SIZE);
    return true;
}

/* Goes through an inner node's children one by one. */
struct child_walk {
    struct ramet_reader *in;
    struct ramet_node_ref maps[RAMET_INNER_CHILDREN];
    unsigned map_count;
    unsigned left; /* children not yet seen */
    unsigned next; /* the first place that no child has had */
    unsigned at;   /* of the child at hand */
    bool any;
    struct ramet_node_ref child;
};

static bool
start_children(struct child_walk *walk, struct ramet_reader *in)
{
    uint64_t map_count, child_count;

    walk->in = in;
    map_count = ramet_read_varint_max(in, RAMET_INNER_CHILDREN);
    for (uint64_t i = 0; i < map_count && !in->bad; i++) {
        struct ramet_node_ref *const map = &walk->maps[i];
        const uint8_t *id;

        *map = (struct ramet_node_ref){.lsn = ramet_read_varint(in)};
        id = ramet_read_bytes(in, RAMET_ID_SIZE);
        if (id == NULL || map->lsn == 0)
            return false;
        memcpy(&map->id.id, id, RAMET_ID_SIZE);
    }
    child_count = ramet_read_varint_max(in, RAMET_INNER_CHILDREN);
    walk->map_count = (unsigned)map_count;
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

    if (walk->in->bad || at >= RAMET_INNER_CHILDREN ||
        !decode_child(walk->in, walk->maps, walk->map_count,
                      walk->any ? &previous : NULL, &walk->child))
        return false;
    walk->any = true;
    walk->left--;
    walk->at = (unsigned)at;
    walk->next = walk->at + 1;
    return true;
}

static bool
decode_children(struct ramet_reader *in, struct ramet_inner *out)
{
    struct child_walk walk;

    walk.child.length_bytes = 0;
    if (!start_children(&walk, in))
        return false;
    while (walk.left > 0) {
        if (!next_child(&walk))
            return false;
        out->children[walk.at] = walk.child;
    }
    return ramet_reader_left(in) == 0;
}

static bool
find_child(struct ramet_reader *in, unsigned wanted, struct ramet_node_ref *out)
{
    struct child_walk walk;

    memset(out, 0, sizeof(*out));
    walk.child.length_bytes = 0;
    if (!start_children(&walk, in))
        return false;
    while (walk.left > 0 && walk.next <= wanted) {
        if (!next_child(&walk))
            return false;
        if (walk.at == wanted)
            *out = walk.child;
    }
    return true;
}

enum ramet_rc
ramet_inner_find(const uint8_t *bytes, size_t len, unsigned level,
                 uint32_t index, unsigned child,
                 struct ramet_node_ref *out_child, struct ramet_err *err)
{
    struct ramet_reader in;
    enum ramet_rc rc;

    assert(level >= 1 && level <= RAMET_MAP_LEVEL_MAX);
    ramet_reader_init(&in, bytes, len);
    rc = decode_front(&in, level, index, err);
    if (rc != RAMET_OK)
        return rc;
    if (!find_child(&in, child, out_child))
        return bad_node("makes no sense", level, index, err);
    return RAMET_OK;
}

enum ramet_rc
ramet_inner_decode(const uint8_t *bytes, size_t len, unsigned level,
                   uint32_t index, struct ramet_inner *out,
                   struct ramet_err *err)
{
    struct ramet_reader in;
    enum ramet_rc rc;

    assert(level >= 1 && level <= RAMET_MAP_LEVEL_MAX);
    ramet_reader_init(&in, bytes, len);
    rc = decode_front(&in, level, index, err);
    if (rc != RAMET_OK)
        return rc;
    memset(out, 0, sizeof(*out));
    out->level = level;
    out->index = index;
    if (!decode_children(&in, out))
        return bad_node("makes no sense", level, index, err);
    return RAMET_OK;
}
