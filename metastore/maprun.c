/*
 * maprun.c - see maprun.h. Byte layout: docs/format.md, "Leaf" and "Roll-ups".
 */
#include "metastore/maprun.h"

#include <assert.h>
#include <inttypes.h>

#include "metastore/mapnode_impl.h"
#include "pagestore/delta.h"

enum {
    RUN_DICT = 1,
    RUN_PART = 2,
    RUN_FOLLOWS = 4,
    RUN_DELTA = 8,
    RUN_UNDER = 16 /* in pieces alone */
};

/* Above its bits a run has the number of its object. */
static unsigned
run_bits(enum ramet_run_form form)
{
    assert(form == RAMET_RUNS_OF_LEAF || form == RAMET_RUNS_OF_PIECE);
    return form == RAMET_RUNS_OF_PIECE ? 5 : 4;
}

static unsigned
runs_max(enum ramet_run_form form)
{
    assert(form == RAMET_RUNS_OF_LEAF || form == RAMET_RUNS_OF_PIECE);
    return form == RAMET_RUNS_OF_PIECE ? RAMET_PIECE_RUNS_MAX
                                       : RAMET_LEAF_PAGES;
}

bool
ramet_frame_same(const struct ramet_frame *a, const struct ramet_frame *b)
{
    assert(a != NULL && b != NULL);
    if (a->page_count == 0 || b->page_count == 0)
        return a->page_count == b->page_count;
    return a->first_pgno == b->first_pgno && a->page_count == b->page_count &&
           a->kind == b->kind && ramet_extent_equal(&a->extent, &b->extent);
}

static bool
is_under(const struct ramet_located *page)
{
    assert(page != NULL);
    return ramet_located_has_delta(page) && page->image.page_count == 0;
}

/* ---- encoding ------------------------------------------------------------ */

/* Distinct things that a node refers to, in order of first use. */
struct run_tables {
    const struct ramet_extent *objects[2 * RAMET_PIECE_RUNS_MAX];
    const struct ramet_extent *dicts[RAMET_PIECE_RUNS_MAX];
    const struct ramet_extent *blocks[RAMET_PIECE_RUNS_MAX];
    unsigned object_count;
    unsigned dict_count;
    unsigned block_count;
    unsigned run_count;
};

static unsigned
object_of(const struct run_tables *tables, const struct ramet_extent *extent)
{
    unsigned i = 0;

    assert(tables->object_count <= 2 * RAMET_PIECE_RUNS_MAX);
    while (i < tables->object_count &&
           !ramet_extent_same_object(tables->objects[i], extent))
        i++;
    return i;
}

static unsigned
place_of(const struct ramet_extent *const *places, unsigned count,
         const struct ramet_extent *extent)
{
    unsigned i = 0;

    assert(count <= RAMET_PIECE_RUNS_MAX);
    while (i < count && !ramet_extent_equal(places[i], extent))
        i++;
    return i;
}

/* How many of `pages` the run that begins with the first takes. */
static unsigned
run_length(const struct ramet_run_page *pages, unsigned count)
{
    const struct ramet_located *const first = pages[0].at;
    unsigned n = 1;

    assert(count >= 1);
    if (ramet_located_has_delta(first))
        return n;
    while (n < count && pages[n].pgno == pages[0].pgno + n &&
           !ramet_located_has_delta(pages[n].at) &&
           ramet_frame_same(&first->image, &pages[n].at->image) &&
           first->lsn == pages[n].at->lsn)
        n++;
    return n;
}

static void
add_object(struct run_tables *tables, const struct ramet_extent *extent)
{
    assert(tables->object_count < 2 * RAMET_PIECE_RUNS_MAX ||
           object_of(tables, extent) < tables->object_count);
    if (object_of(tables, extent) == tables->object_count)
        tables->objects[tables->object_count++] = extent;
}

static void
add_run(struct run_tables *tables, const struct ramet_located *page)
{
    assert(tables->run_count < RAMET_PIECE_RUNS_MAX);
    tables->run_count++;
    if (!is_under(page)) {
        add_object(tables, &page->image.extent);
        if (page->image.kind == RAMET_FRAME_DICT &&
            place_of(tables->dicts, tables->dict_count, &page->image.base) ==
                tables->dict_count)
            tables->dicts[tables->dict_count++] = &page->image.base;
    }
    if (!ramet_located_has_delta(page))
        return;
    add_object(tables, &page->block.extent);
    if (place_of(tables->blocks, tables->block_count, &page->block.extent) ==
        tables->block_count)
        tables->blocks[tables->block_count++] = &page->block.extent;
}

/* False: more runs than a node may have. */
static bool
collect_tables(enum ramet_run_form form, const struct ramet_run_page *pages,
               unsigned count, struct run_tables *tables)
{
    assert(count >= 1);
    for (unsigned i = 0; i < count; i += run_length(pages + i, count - i)) {
        if (tables->run_count == runs_max(form))
            return false;
        add_run(tables, pages[i].at);
    }
    return true;
}

static void
encode_tables(const struct run_tables *tables, struct ramet_buf *out)
{
    ramet_buf_varint(out, tables->dict_count);
    for (unsigned i = 0; i < tables->dict_count; i++) {
        const struct ramet_extent *const dict = tables->dicts[i];

        assert(tables->run_count > 0);
        ramet_buf_bytes(out, &dict->segment.id, RAMET_ID_SIZE);
        ramet_buf_varint(out, dict->offset_bytes);
        ramet_buf_varint(out, dict->length_bytes);
        ramet_buf_bytes(out, &dict->hash, RAMET_HASH_SIZE);
    }
    ramet_buf_varint(out, tables->object_count);
    for (unsigned i = 0; i < tables->object_count; i++) {
        const struct ramet_extent *const extent = tables->objects[i];

        ramet_buf_u8(out, (uint8_t)extent->kind);
        if (extent->kind == RAMET_IN_SEGMENT)
            ramet_buf_bytes(out, &extent->segment.id, RAMET_ID_SIZE);
        else
            ramet_buf_varint(out, extent->lsn);
    }
    ramet_buf_varint(out, tables->block_count);
    for (unsigned i = 0; i < tables->block_count; i++) {
        const struct ramet_extent *const extent = tables->blocks[i];

        ramet_buf_varint(out, object_of(tables, extent));
        ramet_buf_varint(out, extent->offset_bytes);
        ramet_buf_varint(out, extent->length_bytes - 1);
        ramet_buf_bytes(out, &extent->hash, RAMET_HASH_SIZE);
    }
    ramet_buf_varint(out, tables->run_count);
}

static bool
frame_follows(const struct ramet_frame *previous,
              const struct ramet_frame *frame)
{
    assert(frame->page_count > 0);
    return previous != NULL &&
           ramet_extent_same_object(&previous->extent, &frame->extent) &&
           previous->extent.offset_bytes + previous->extent.length_bytes ==
               frame->extent.offset_bytes;
}

/* What only a run with a delta has. */
static void
encode_delta(const struct run_tables *tables, const struct ramet_run_page *page,
             struct ramet_buf *out)
{
    const struct ramet_located *const at = page->at;

    assert(ramet_located_has_delta(at) && at->image_pgno >= 1);
    ramet_buf_varint(
        out, place_of(tables->blocks, tables->block_count, &at->block.extent));
    ramet_buf_varint(out, at->position);
    ramet_buf_varint(out, at->image_pgno == page->pgno ? 0 : at->image_pgno);
}

static void
encode_run(enum ramet_run_form form, const struct run_tables *tables,
           uint64_t latest, const struct ramet_frame *previous,
           const struct ramet_run_page *page, unsigned count,
           struct ramet_buf *out)
{
    const struct ramet_located *const at = page->at;
    const struct ramet_frame *const frame = &at->image;
    const bool under = is_under(at);
    const bool follows = !under && frame_follows(previous, frame);
    const bool part = !under && (frame->first_pgno != at->image_pgno ||
                                 frame->page_count != count);
    const bool dict = !under && frame->kind == RAMET_FRAME_DICT;
    const bool delta = ramet_located_has_delta(at);
    const uint64_t object = under ? 0 : object_of(tables, &frame->extent);

    assert(delta || at->image_pgno == page->pgno);
    assert(at->lsn >= 1 && at->lsn <= latest && count >= 1);
    assert(!under || form == RAMET_RUNS_OF_PIECE);
    ramet_buf_varint(out, count - 1);
    ramet_buf_varint(out,
                     object << run_bits(form) | (dict ? RUN_DICT : 0u) |
                         (part ? RUN_PART : 0u) | (follows ? RUN_FOLLOWS : 0u) |
                         (delta ? RUN_DELTA : 0u) | (under ? RUN_UNDER : 0u));
    ramet_buf_varint(out, latest - at->lsn);
    if (dict)
        ramet_buf_varint(
            out, place_of(tables->dicts, tables->dict_count, &frame->base));
    if (delta)
        encode_delta(tables, page, out);
    if (under)
        return;
    if (part) {
        ramet_buf_varint(out, at->image_pgno - frame->first_pgno);
        ramet_buf_varint(out, frame->page_count - 1);
    }
    if (!follows)
        ramet_buf_varint(out, frame->extent.offset_bytes);
    ramet_buf_varint(out, frame->extent.length_bytes - 1);
    ramet_buf_bytes(out, &frame->extent.hash, RAMET_HASH_SIZE);
}

static enum ramet_rc
check_sayable(const struct ramet_run_page *pages, unsigned count,
              struct ramet_err *err)
{
    assert(pages != NULL && count > 0);
    for (unsigned i = 0; i < count; i++) {
        const struct ramet_frame *const frame = &pages[i].at->image;

        if (is_under(pages[i].at))
            continue;
        if (frame->kind > RAMET_FRAME_DICT ||
            frame->extent.hash_algo != RAMET_HASH_XXH3_128 ||
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
ramet_runs_encode(enum ramet_run_form form, const struct ramet_run_page *pages,
                  unsigned count, uint32_t first, uint64_t latest,
                  struct ramet_buf *out, struct ramet_err *err)
{
    struct run_tables tables = {.object_count = 0};
    const struct ramet_frame *previous = NULL;
    uint64_t next = first; /* the first page that no run has covered */
    unsigned n;
    enum ramet_rc rc;

    assert(count > 0 && pages[0].pgno >= first);
    rc = check_sayable(pages, count, err);
    if (rc != RAMET_OK)
        return rc;
    if (!collect_tables(form, pages, count, &tables))
        return RAMET_FAIL(err, RAMET_ETOOBIG, "page map: more than %u runs",
                          runs_max(form));
    assert(tables.run_count > 0);
    encode_tables(&tables, out);
    for (unsigned i = 0; i < count; i += n) {
        n = run_length(pages + i, count - i);
        ramet_buf_varint(out, pages[i].pgno - next);
        encode_run(form, &tables, latest, previous, &pages[i], n, out);
        previous = is_under(pages[i].at) ? NULL : &pages[i].at->image;
        assert(pages[i].pgno >= next);
        next = (uint64_t)pages[i].pgno + n;
    }
    return RAMET_OK;
}

/* ---- decoding ------------------------------------------------------------ */

/* Length and hash of a place, whose offset is known. */
static bool
decode_extent(struct ramet_reader *in, uint32_t most,
              struct ramet_run_extent *place)
{
    assert(most >= 1);
    place->length_bytes = (uint32_t)ramet_read_varint_max(in, most - 1) + 1;
    place->hash = ramet_read_bytes(in, RAMET_HASH_SIZE);
    return !in->bad && place->offset_bytes <= INT64_MAX &&
           place->offset_bytes >= 32;
}

static bool
decode_dicts(struct ramet_reader *in, unsigned most,
             struct ramet_run_names *names)
{
    assert(most <= RAMET_PIECE_RUNS_MAX);
    names->dict_count = (unsigned)ramet_read_varint_max(in, most);
    for (unsigned i = 0; i < names->dict_count && !in->bad; i++) {
        struct ramet_run_extent *const dict = &names->dicts[i];

        dict->object.kind = RAMET_IN_SEGMENT;
        dict->object.id = ramet_read_bytes(in, RAMET_ID_SIZE);
        dict->offset_bytes = ramet_read_varint_max(in, INT64_MAX);
        dict->length_bytes =
            (uint32_t)ramet_read_varint_max(in, RAMET_FRAME_BYTES_MAX);
        dict->hash = ramet_read_bytes(in, RAMET_HASH_SIZE);
        if (in->bad || dict->length_bytes == 0)
            return false;
    }
    return !in->bad;
}

static bool
decode_objects(struct ramet_reader *in, unsigned most,
               struct ramet_run_names *names)
{
    assert(most <= RAMET_PIECE_RUNS_MAX);
    names->object_count =
        (unsigned)ramet_read_varint_max(in, 2 * (uint64_t)most);
    for (unsigned i = 0; i < names->object_count && !in->bad; i++) {
        struct ramet_run_object *const object = &names->objects[i];
        const uint8_t type = ramet_read_u8(in);

        if (type > RAMET_IN_COMMIT)
            return false;
        object->kind = (enum ramet_object_kind)type;
        if (type == RAMET_IN_COMMIT) {
            object->lsn = ramet_read_varint(in);
            if (object->lsn == 0)
                return false;
        } else {
            object->id = ramet_read_bytes(in, RAMET_ID_SIZE);
        }
    }
    return !in->bad;
}

static bool
decode_blocks(struct ramet_reader *in, unsigned most,
              struct ramet_run_names *names)
{
    assert(most <= RAMET_PIECE_RUNS_MAX);
    names->block_count = (unsigned)ramet_read_varint_max(in, most);
    for (unsigned i = 0; i < names->block_count && !in->bad; i++) {
        const uint64_t object = ramet_read_varint(in);

        if (in->bad || object >= names->object_count)
            return false;
        names->blocks[i].object = names->objects[object];
        names->blocks[i].offset_bytes = ramet_read_varint_max(in, INT64_MAX);
        if (!decode_extent(in, RAMET_DELTA_BLOCK_MAX, &names->blocks[i]))
            return false;
    }
    return !in->bad;
}

static bool
same_object(const struct ramet_run_object *a, const struct ramet_run_object *b)
{
    assert(a != NULL && b != NULL);
    if (a->kind != b->kind)
        return false;
    return a->kind == RAMET_IN_SEGMENT
               ? memcmp(a->id, b->id, RAMET_ID_SIZE) == 0
               : a->lsn == b->lsn;
}

/* What only a run with a delta has. */
static bool
decode_delta(struct ramet_run_walk *walk)
{
    const uint64_t block = ramet_read_varint(walk->in);
    const uint64_t position =
        ramet_read_varint_max(walk->in, RAMET_DELTA_BLOCK_PAGES_MAX - 1);
    const uint64_t named = ramet_read_varint_max(walk->in, UINT32_MAX);

    assert(walk->image_pgno >= 1);
    if (walk->in->bad || walk->count != 1 || block >= walk->names.block_count)
        return false;
    walk->block = &walk->names.blocks[block];
    walk->position = (uint32_t)position;
    if (named != 0)
        walk->image_pgno = (uint32_t)named;
    return true;
}

/* Which pages of its frame the run has. */
static bool
decode_part(struct ramet_run_walk *walk, bool part)
{
    uint64_t before = 0, total = walk->count;

    assert(walk->image_pgno >= 1 && walk->count >= 1);
    if (part) {
        before = ramet_read_varint_max(walk->in, RAMET_FRAME_PAGES_MAX - 1);
        total = ramet_read_varint_max(walk->in, RAMET_FRAME_PAGES_MAX - 1) + 1;
    }
    walk->before = (uint32_t)before;
    walk->total = (uint32_t)total;
    return !walk->in->bad && before < walk->image_pgno &&
           before + walk->count <= total &&
           walk->image_pgno - before + total - 1 <= UINT32_MAX;
}

/* The frame of a run that is not under; `previous` is that of the run before. */
static bool
decode_frame(struct ramet_run_walk *walk, uint64_t what, uint64_t object,
             const struct ramet_run_extent *previous)
{
    struct ramet_run_extent *const frame = &walk->frame;

    assert(object < walk->names.object_count);
    if (!decode_part(walk, (what & RUN_PART) != 0))
        return false;
    frame->object = walk->names.objects[object];
    if ((what & RUN_FOLLOWS) == 0) {
        frame->offset_bytes = ramet_read_varint_max(walk->in, INT64_MAX);
    } else {
        if (previous->length_bytes == 0 ||
            !same_object(&previous->object, &frame->object))
            return false;
        frame->offset_bytes = previous->offset_bytes + previous->length_bytes;
    }
    return decode_extent(walk->in, RAMET_FRAME_BYTES_MAX, frame);
}

/* The rest of the run at hand; false where bytes make no sense. */
static bool
decode_run(struct ramet_run_walk *walk)
{
    struct ramet_reader *const in = walk->in;
    const struct ramet_run_extent previous = walk->frame;
    const unsigned bits = run_bits(walk->form);
    const uint64_t what = ramet_read_varint(in);
    const uint64_t age = ramet_read_varint(in);
    const uint64_t object = what >> bits;
    const uint64_t flags = what & ((1u << bits) - 1);

    assert(walk->start >= 1 && walk->count >= 1);
    walk->frame.length_bytes = 0;
    walk->dict = walk->block = NULL;
    if (in->bad || age >= walk->latest)
        return false;
    walk->lsn = walk->latest - age;
    walk->image_pgno = (uint32_t)walk->start;
    if (flags & RUN_UNDER)
        return what == (RUN_UNDER | RUN_DELTA) && decode_delta(walk);
    if (object >= walk->names.object_count)
        return false;
    if (flags & RUN_DICT) {
        const uint64_t dict = ramet_read_varint(in);

        if (in->bad || dict >= walk->names.dict_count)
            return false;
        walk->dict = &walk->names.dicts[dict];
    }
    if ((flags & RUN_DELTA) && !decode_delta(walk))
        return false;
    return decode_frame(walk, flags, object, &previous);
}

bool
ramet_runs_start(struct ramet_run_walk *walk, struct ramet_reader *in,
                 const struct ramet_vid *volume, enum ramet_run_form form,
                 uint32_t first, uint64_t latest)
{
    const unsigned most = runs_max(form);

    assert(first >= 1);
    walk->in = in;
    walk->volume = volume;
    walk->form = form;
    walk->end = form == RAMET_RUNS_OF_LEAF ? (uint64_t)first + RAMET_LEAF_PAGES
                                           : UINT64_C(1) << 32;
    walk->latest = latest;
    walk->next = first;
    walk->seen = 0;
    walk->any = false;
    walk->start = walk->count = 0;
    walk->frame.length_bytes = 0;
    if (!decode_dicts(in, most, &walk->names) ||
        !decode_objects(in, most, &walk->names) ||
        !decode_blocks(in, most, &walk->names))
        return false;
    walk->left = ramet_read_varint_max(in, most);
    return !in->bad && walk->left > 0;
}

bool
ramet_runs_next(struct ramet_run_walk *walk)
{
    const uint64_t skip = ramet_read_varint_max(walk->in, UINT32_MAX);

    assert(walk->left > 0);
    assert(walk->next >= 1 && walk->next <= walk->end);
    if (walk->form == RAMET_RUNS_OF_PIECE && !walk->any && skip != 0)
        return false;
    walk->any = true;
    walk->left--;
    walk->start = walk->next + skip;
    walk->count = ramet_read_varint_max(walk->in, RAMET_LEAF_PAGES - 1) + 1;
    walk->next = walk->start + walk->count;
    if (walk->in->bad || walk->next > walk->end || walk->start > UINT32_MAX ||
        !decode_run(walk))
        return false;
    if (walk->lsn > walk->seen)
        walk->seen = walk->lsn;
    return true;
}

static void
make_extent(const struct ramet_run_walk *walk,
            const struct ramet_run_extent *from, struct ramet_extent *out)
{
    assert(from->length_bytes > 0);
    out->volume = *walk->volume;
    out->kind = from->object.kind;
    if (out->kind == RAMET_IN_SEGMENT)
        memcpy(&out->segment.id, from->object.id, RAMET_ID_SIZE);
    else
        out->lsn = from->object.lsn;
    out->offset_bytes = from->offset_bytes;
    out->length_bytes = from->length_bytes;
    out->hash_algo = RAMET_HASH_XXH3_128;
    memcpy(&out->hash, from->hash, RAMET_HASH_SIZE);
}

struct ramet_located
ramet_runs_page(const struct ramet_run_walk *walk, uint64_t pgno)
{
    struct ramet_located page = {.image_pgno = walk->image_pgno,
                                 .lsn = walk->lsn};

    assert(walk->any && pgno >= walk->start && pgno < walk->next);
    if (walk->block != NULL) {
        page.block.kind = RAMET_FRAME_DELTAS;
        page.position = walk->position;
        make_extent(walk, walk->block, &page.block.extent);
        page.block.extent.hash_algo = RAMET_HASH_FRONT;
    } else {
        page.image_pgno += (uint32_t)(pgno - walk->start);
    }
    if (walk->frame.length_bytes == 0)
        return page;
    page.image.kind = walk->dict != NULL ? RAMET_FRAME_DICT : RAMET_FRAME_PLAIN;
    page.image.first_pgno = walk->image_pgno - walk->before;
    page.image.page_count = walk->total;
    make_extent(walk, &walk->frame, &page.image.extent);
    if (walk->dict != NULL)
        make_extent(walk, walk->dict, &page.image.base);
    return page;
}
