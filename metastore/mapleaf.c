/*
 * mapleaf.c - leaves of page maps, as bytes and back: where each of 64 pages
 * lies, and since when.
 *
 * Tables of objects, dictionaries and blocks are made in order of first use, so
 * that a leaf has one encoding (mapnode.h, invariant (2)).
 */
#include <assert.h>
#include <inttypes.h>

#include "metastore/mapnode_impl.h"
#include "pagestore/delta.h"

enum {
    RUN_DICT = 1,
    RUN_PART = 2,
    RUN_FOLLOWS = 4,
    RUN_DELTA = 8,
    RUN_BITS = 4
};

#define OBJECTS_MAX (2 * RAMET_LEAF_PAGES) /* an image's and a block's each */

static bool
same_place(const struct ramet_place *a, const struct ramet_place *b)
{
    return ramet_place_same_object(a, b) &&
           a->offset_bytes == b->offset_bytes &&
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

uint64_t
ramet_leaf_latest(const struct ramet_leaf *leaf)
{
    uint64_t latest = leaf->gone;

    for (unsigned i = 0; i < RAMET_LEAF_PAGES; i++)
        if (leaf->pages[i].image.page_count > 0 && leaf->pages[i].lsn > latest)
            latest = leaf->pages[i].lsn;
    return latest;
}

/* ---- encoding ------------------------------------------------------------ */

/* Distinct things that a leaf refers to, in order of first use. */
struct leaf_tables {
    const struct ramet_place *objects[OBJECTS_MAX];
    const struct ramet_place *dicts[RAMET_LEAF_PAGES];
    const struct ramet_place *blocks[RAMET_LEAF_PAGES];
    unsigned object_count;
    unsigned dict_count;
    unsigned block_count;
    unsigned run_count;
};

static unsigned
object_of(const struct leaf_tables *tables, const struct ramet_place *place)
{
    unsigned i = 0;

    while (i < tables->object_count &&
           !ramet_place_same_object(tables->objects[i], place))
        i++;
    return i;
}

static unsigned
place_of(const struct ramet_place *const *places, unsigned count,
         const struct ramet_place *place)
{
    unsigned i = 0;

    while (i < count && !same_place(places[i], place))
        i++;
    return i;
}

/* The page after the run that begins at `page`. */
static unsigned
run_end(const struct ramet_leaf *leaf, unsigned page)
{
    const struct ramet_located *const first = &leaf->pages[page];
    unsigned end = page + 1;

    if (ramet_located_has_delta(first))
        return end;
    while (end < RAMET_LEAF_PAGES &&
           !ramet_located_has_delta(&leaf->pages[end]) &&
           ramet_frame_same(&first->image, &leaf->pages[end].image) &&
           (first->image.page_count == 0 || first->lsn == leaf->pages[end].lsn))
        end++;
    return end;
}

static void
add_object(struct leaf_tables *tables, const struct ramet_place *place)
{
    if (object_of(tables, place) == tables->object_count)
        tables->objects[tables->object_count++] = place;
}

static void
add_run(struct leaf_tables *tables, const struct ramet_located *page)
{
    tables->run_count++;
    add_object(tables, &page->image.place);
    if (page->image.kind == RAMET_FRAME_DICT &&
        place_of(tables->dicts, tables->dict_count, &page->image.base) ==
            tables->dict_count)
        tables->dicts[tables->dict_count++] = &page->image.base;
    if (!ramet_located_has_delta(page))
        return;
    add_object(tables, &page->block.place);
    if (place_of(tables->blocks, tables->block_count, &page->block.place) ==
        tables->block_count)
        tables->blocks[tables->block_count++] = &page->block.place;
}

static void
collect_tables(const struct ramet_leaf *leaf, struct leaf_tables *tables)
{
    for (unsigned page = 0; page < RAMET_LEAF_PAGES;
         page = run_end(leaf, page)) {
        if (leaf->pages[page].image.page_count > 0)
            add_run(tables, &leaf->pages[page]);
    }
}

static void
encode_tables(const struct leaf_tables *tables, struct ramet_buf *out)
{
    ramet_buf_varint(out, tables->dict_count);
    for (unsigned i = 0; i < tables->dict_count; i++) {
        const struct ramet_place *const dict = tables->dicts[i];

        ramet_buf_bytes(out, &dict->segment.id, RAMET_ID_SIZE);
        ramet_buf_varint(out, dict->offset_bytes);
        ramet_buf_varint(out, dict->length_bytes);
        ramet_buf_bytes(out, &dict->hash, RAMET_HASH_SIZE);
    }
    ramet_buf_varint(out, tables->object_count);
    for (unsigned i = 0; i < tables->object_count; i++) {
        const struct ramet_place *const place = tables->objects[i];

        ramet_buf_u8(out, (uint8_t)place->kind);
        if (place->kind == RAMET_IN_SEGMENT)
            ramet_buf_bytes(out, &place->segment.id, RAMET_ID_SIZE);
        else
            ramet_buf_varint(out, place->lsn);
    }
    ramet_buf_varint(out, tables->block_count);
    for (unsigned i = 0; i < tables->block_count; i++) {
        const struct ramet_place *const place = tables->blocks[i];

        ramet_buf_varint(out, object_of(tables, place));
        ramet_buf_varint(out, place->offset_bytes);
        ramet_buf_varint(out, place->length_bytes - 1);
        ramet_buf_bytes(out, &place->hash, RAMET_HASH_SIZE);
    }
    ramet_buf_varint(out, tables->run_count);
}

static bool
frame_follows(const struct ramet_frame *previous,
              const struct ramet_frame *frame)
{
    return previous != NULL &&
           ramet_place_same_object(&previous->place, &frame->place) &&
           previous->place.offset_bytes + previous->place.length_bytes ==
               frame->place.offset_bytes;
}

static void
encode_run(const struct leaf_tables *tables, uint64_t latest,
           const struct ramet_frame *previous, const struct ramet_located *page,
           uint32_t first_pgno, unsigned count, struct ramet_buf *out)
{
    const struct ramet_frame *const frame = &page->image;
    const bool follows = frame_follows(previous, frame);
    const bool part =
        frame->first_pgno != page->image_pgno || frame->page_count != count;
    const bool dict = frame->kind == RAMET_FRAME_DICT;
    const bool delta = ramet_located_has_delta(page);

    assert(delta || page->image_pgno == first_pgno);
    ramet_buf_varint(out, count - 1);
    ramet_buf_varint(
        out, (uint64_t)object_of(tables, &frame->place) << RUN_BITS |
                 (dict ? RUN_DICT : 0u) | (part ? RUN_PART : 0u) |
                 (follows ? RUN_FOLLOWS : 0u) | (delta ? RUN_DELTA : 0u));
    ramet_buf_varint(out, latest - page->lsn);
    if (dict)
        ramet_buf_varint(
            out, place_of(tables->dicts, tables->dict_count, &frame->base));
    if (delta) {
        ramet_buf_varint(out, place_of(tables->blocks, tables->block_count,
                                       &page->block.place));
        ramet_buf_varint(out, page->position);
        ramet_buf_varint(out,
                         page->image_pgno == first_pgno ? 0 : page->image_pgno);
    }
    if (part) {
        ramet_buf_varint(out, page->image_pgno - frame->first_pgno);
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
        const struct ramet_frame *const frame = &leaf->pages[i].image;

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
    const struct ramet_node_front front = {.index = leaf->index,
                                           .latest = ramet_leaf_latest(leaf),
                                           .gone = leaf->gone};
    struct leaf_tables tables = {.object_count = 0};
    const struct ramet_frame *previous = NULL;
    unsigned next = 0; /* the first page that no run has covered */
    enum ramet_rc rc;

    rc = check_sayable(leaf, err);
    if (rc != RAMET_OK)
        return rc;
    collect_tables(leaf, &tables);
    assert(tables.run_count > 0);
    ramet_node_front_encode(&front, out);
    encode_tables(&tables, out);
    for (unsigned page = 0; page < RAMET_LEAF_PAGES;) {
        const struct ramet_located *const at = &leaf->pages[page];
        const unsigned end = run_end(leaf, page);

        if (at->image.page_count > 0) {
            ramet_buf_varint(out, page - next);
            encode_run(&tables, front.latest, previous, at, base_pgno + page,
                       end - page, out);
            previous = &at->image;
            next = end;
        }
        page = end;
    }
    return RAMET_OK;
}

/* ---- decoding ------------------------------------------------------------ */

/* What the runs refer to by number. */
struct leaf_names {
    struct ramet_place dicts[RAMET_LEAF_PAGES];
    struct ramet_place objects[OBJECTS_MAX];
    struct ramet_place blocks[RAMET_LEAF_PAGES];
    unsigned dict_count;
    unsigned object_count;
    unsigned block_count;
};

static bool
decode_dicts(struct ramet_reader *in, const struct ramet_vid *volume,
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
    return !in->bad;
}

static bool
decode_objects(struct ramet_reader *in, const struct ramet_vid *volume,
               struct leaf_names *names)
{
    names->object_count = (unsigned)ramet_read_varint_max(in, OBJECTS_MAX);
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

/* Length and hash of a place, whose offset is known. */
static bool
decode_extent(struct ramet_reader *in, uint32_t most, struct ramet_place *place)
{
    const uint8_t *hash;

    place->length_bytes = (uint32_t)ramet_read_varint_max(in, most - 1) + 1;
    hash = ramet_read_bytes(in, RAMET_HASH_SIZE);
    if (in->bad || place->offset_bytes > INT64_MAX || place->offset_bytes < 32)
        return false;
    memcpy(&place->hash, hash, RAMET_HASH_SIZE);
    return true;
}

static bool
decode_blocks(struct ramet_reader *in, struct leaf_names *names)
{
    names->block_count = (unsigned)ramet_read_varint_max(in, RAMET_LEAF_PAGES);
    for (unsigned i = 0; i < names->block_count && !in->bad; i++) {
        const uint64_t object = ramet_read_varint(in);

        if (in->bad || object >= names->object_count)
            return false;
        names->blocks[i] = names->objects[object];
        names->blocks[i].offset_bytes = ramet_read_varint_max(in, INT64_MAX);
        if (!decode_extent(in, RAMET_DELTA_BLOCK_MAX, &names->blocks[i]))
            return false;
    }
    return !in->bad;
}

static bool
decode_names(struct ramet_reader *in, const struct ramet_vid *volume,
             struct leaf_names *names)
{
    return decode_dicts(in, volume, names) &&
           decode_objects(in, volume, names) && decode_blocks(in, names);
}

/* Goes through a leaf's runs one by one. */
struct run_walk {
    struct ramet_reader *in;
    const struct leaf_names *names;
    uint64_t base_pgno;
    uint64_t latest;
    uint64_t start, count; /* of the run at hand, in the leaf */
    uint64_t next;
    struct ramet_located runs[2]; /* the run at hand and the one before */
    unsigned at;
    bool any;
};

/* What only a run with a delta has. */
static bool
decode_delta(const struct run_walk *walk, struct ramet_located *out)
{
    const uint64_t block = ramet_read_varint(walk->in);
    const uint64_t position =
        ramet_read_varint_max(walk->in, RAMET_DELTA_BLOCK_PAGES_MAX - 1);
    const uint64_t named = ramet_read_varint_max(walk->in, UINT32_MAX);

    if (walk->in->bad || walk->count != 1 || block >= walk->names->block_count)
        return false;
    out->block = (struct ramet_frame){.place = walk->names->blocks[block],
                                      .kind = RAMET_FRAME_DELTAS};
    out->position = (uint32_t)position;
    if (named != 0)
        out->image_pgno = (uint32_t)named;
    return true;
}

/* Which pages of its frame the run has. */
static bool
decode_part(struct run_walk *walk, bool part, struct ramet_located *out)
{
    struct ramet_frame *const frame = &out->image;
    uint64_t before = 0, total = walk->count;

    if (part) {
        before = ramet_read_varint_max(walk->in, RAMET_FRAME_PAGES_MAX - 1);
        total = ramet_read_varint_max(walk->in, RAMET_FRAME_PAGES_MAX - 1) + 1;
    }
    if (walk->in->bad || before >= out->image_pgno ||
        before + walk->count > total ||
        out->image_pgno - before + total - 1 > UINT32_MAX)
        return false;
    frame->first_pgno = (uint32_t)(out->image_pgno - before);
    frame->page_count = (uint32_t)total;
    return true;
}

/* The run at hand; false where bytes make no sense. */
static bool
decode_run(struct run_walk *walk, const struct ramet_located *previous,
           struct ramet_located *out)
{
    struct ramet_reader *const in = walk->in;
    const uint64_t what = ramet_read_varint(in);
    const uint64_t age = ramet_read_varint(in);
    const uint64_t object = what >> RUN_BITS;
    struct ramet_frame *const frame = &out->image;

    if (in->bad || object >= walk->names->object_count || age >= walk->latest ||
        walk->base_pgno + walk->start > UINT32_MAX)
        return false;
    *out = (struct ramet_located){
        .image.place = walk->names->objects[object],
        .image.kind = RAMET_FRAME_PLAIN,
        .image_pgno = (uint32_t)(walk->base_pgno + walk->start),
        .lsn = walk->latest - age,
    };
    if (what & RUN_DICT) {
        const uint64_t dict = ramet_read_varint(in);

        if (in->bad || dict >= walk->names->dict_count)
            return false;
        frame->kind = RAMET_FRAME_DICT;
        frame->base = walk->names->dicts[dict];
    }
    if ((what & RUN_DELTA) && !decode_delta(walk, out))
        return false;
    if (!decode_part(walk, (what & RUN_PART) != 0, out))
        return false;
    if ((what & RUN_FOLLOWS) == 0) {
        frame->place.offset_bytes = ramet_read_varint_max(in, INT64_MAX);
    } else {
        if (previous == NULL ||
            !ramet_place_same_object(&previous->image.place, &frame->place))
            return false;
        frame->place.offset_bytes = previous->image.place.offset_bytes +
                                    previous->image.place.length_bytes;
    }
    return decode_extent(in, RAMET_FRAME_BYTES_MAX, &frame->place);
}

static bool
next_run(struct run_walk *walk)
{
    const struct ramet_located *const previous =
        walk->any ? &walk->runs[walk->at] : NULL;

    walk->at ^= walk->any;
    walk->any = true;
    walk->start =
        walk->next + ramet_read_varint_max(walk->in, RAMET_LEAF_PAGES);
    walk->count = ramet_read_varint_max(walk->in, RAMET_LEAF_PAGES - 1) + 1;
    walk->next = walk->start + walk->count;
    return !walk->in->bad && walk->next <= RAMET_LEAF_PAGES &&
           decode_run(walk, previous, &walk->runs[walk->at]);
}

/* Begin; *out_count runs will follow, or false. */
static bool
start_runs(struct run_walk *walk, struct ramet_reader *in,
           const struct leaf_names *names, const struct ramet_node_front *front,
           uint64_t *out_count)
{
    walk->in = in;
    walk->names = names;
    walk->base_pgno = (uint64_t)front->index * RAMET_LEAF_PAGES + 1;
    walk->latest = front->latest;
    walk->next = 0;
    walk->at = 0;
    walk->any = false;
    *out_count = ramet_read_varint_max(in, RAMET_LEAF_PAGES);
    return !in->bad && *out_count > 0;
}

/* Page `page` of a run, which begins at `start`. */
static struct ramet_located
page_of_run(const struct run_walk *walk, uint64_t page)
{
    struct ramet_located located = walk->runs[walk->at];

    if (!ramet_located_has_delta(&located))
        located.image_pgno += (uint32_t)(page - walk->start);
    return located;
}

static bool
decode_runs(struct ramet_reader *in, const struct leaf_names *names,
            const struct ramet_node_front *front, struct ramet_leaf *out)
{
    struct run_walk walk;
    uint64_t run_count;

    if (!start_runs(&walk, in, names, front, &run_count))
        return false;
    for (uint64_t i = 0; i < run_count; i++) {
        if (!next_run(&walk))
            return false;
        for (uint64_t page = walk.start; page < walk.next; page++)
            out->pages[page] = page_of_run(&walk, page);
    }
    return ramet_reader_left(in) == 0 &&
           ramet_leaf_latest(out) == front->latest;
}

/* As decode_runs(), up to the run that has page `wanted` of the leaf. */
static bool
find_run(struct ramet_reader *in, const struct leaf_names *names,
         const struct ramet_node_front *front, uint64_t wanted,
         struct ramet_located *out)
{
    struct run_walk walk;
    uint64_t run_count;

    memset(out, 0, sizeof(*out));
    if (!start_runs(&walk, in, names, front, &run_count))
        return false;
    for (uint64_t i = 0; i < run_count; i++) {
        if (!next_run(&walk))
            return false;
        if (walk.start > wanted)
            return true; /* in a gap */
        if (walk.next > wanted) {
            *out = page_of_run(&walk, wanted);
            return true;
        }
    }
    return true;
}

enum ramet_rc
ramet_leaf_find(const uint8_t *bytes, size_t len,
                const struct ramet_vid *volume, uint32_t pgno,
                struct ramet_located *out_located, struct ramet_err *err)
{
    const uint32_t index = (pgno - 1) / RAMET_LEAF_PAGES;
    struct ramet_node_front front;
    struct leaf_names names;
    struct ramet_reader in;
    enum ramet_rc rc;

    ramet_reader_init(&in, bytes, len);
    rc = ramet_node_front_decode(&in, 0, index, &front, err);
    if (rc != RAMET_OK)
        return rc;
    if (!decode_names(&in, volume, &names) ||
        !find_run(&in, &names, &front, (pgno - 1) % RAMET_LEAF_PAGES,
                  out_located))
        return ramet_node_bad("makes no sense", 0, index, err);
    return RAMET_OK;
}

enum ramet_rc
ramet_leaf_decode(const uint8_t *bytes, size_t len,
                  const struct ramet_vid *volume, uint32_t index,
                  struct ramet_leaf *out, struct ramet_err *err)
{
    struct ramet_node_front front;
    struct leaf_names names;
    struct ramet_reader in;
    enum ramet_rc rc;

    ramet_reader_init(&in, bytes, len);
    rc = ramet_node_front_decode(&in, 0, index, &front, err);
    if (rc != RAMET_OK)
        return rc;
    memset(out, 0, sizeof(*out));
    out->index = index;
    out->gone = front.gone;
    if (!decode_names(&in, volume, &names) ||
        !decode_runs(&in, &names, &front, out))
        return ramet_node_bad("makes no sense", 0, index, err);
    return RAMET_OK;
}
