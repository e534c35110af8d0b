/*
 * commit_first_page.c - where page 1 lies, as a commit says it: docs/format.md,
 * "Page 1". Bytes are hostile until checked.
 *
 *   (1) What is said agrees with what the commit says otherwise: a commit that has an
 *       image of page 1 in its tables says nothing, and a delta that its own blocks
 *       name is told by them.
 */
#include <assert.h>
#include <string.h>

#include "metastore/commit_impl.h"

enum { FIRST_DICT = 1, FIRST_OTHERS = 2, FIRST_DELTA = 4 };
enum { PLACE_SEGMENT, PLACE_COMMIT, PLACE_INLINE };

bool
ramet_commit_names_first_delta(const struct ramet_commit_object *c)
{
    return !ramet_commit_has_own_map(c) &&
           ramet_pageset_contains(&c->deltas.pages, 1);
}

static void
encode_place(const struct ramet_commit_object *c,
             const struct ramet_extent *place, struct ramet_buf *out)
{
    assert(place->length_bytes > 0);
    if (place->kind == RAMET_IN_SEGMENT) {
        ramet_buf_u8(out, PLACE_SEGMENT);
        ramet_buf_bytes(out, &place->segment.id, RAMET_ID_SIZE);
    } else if (place->lsn != c->lsn) {
        ramet_buf_u8(out, PLACE_COMMIT);
        ramet_buf_varint(out, place->lsn);
    } else {
        ramet_buf_u8(out, PLACE_INLINE);
    }
    ramet_buf_varint(out, place->offset_bytes);
    ramet_buf_varint(out, place->length_bytes - 1);
    ramet_buf_bytes(out, &place->hash, RAMET_HASH_SIZE);
}

void
ramet_commit_encode_first_page(const struct ramet_commit_object *c,
                               struct ramet_buf *out)
{
    const struct ramet_located *const first = &c->first_page;
    const bool delta = ramet_located_has_delta(first) &&
                       !ramet_commit_names_first_delta(c); /* invariant (1) */
    unsigned what = 0;

    if (!c->says_first_page)
        return;
    assert(first->image.first_pgno == 1 && first->image_pgno == 1);
    assert(first->lsn >= 1 && first->lsn <= c->lsn);
    if (first->image.kind == RAMET_FRAME_DICT)
        what |= FIRST_DICT;
    if (first->image.page_count > 1)
        what |= FIRST_OTHERS;
    if (delta)
        what |= FIRST_DELTA;
    ramet_buf_u8(out, (uint8_t)what);
    ramet_buf_varint(out, c->lsn - first->lsn);
    if (what & FIRST_DICT)
        ramet_commit_encode_dict(&first->image.base, out);
    encode_place(c, &first->image.extent, out);
    if (what & FIRST_OTHERS)
        ramet_buf_varint(out, first->image.page_count - 1u);
    if (!delta)
        return;
    encode_place(c, &first->block.extent, out);
    ramet_buf_varint(out, first->position);
}

static bool
decode_place(struct ramet_reader *in, const struct ramet_commit_object *c,
             uint64_t length_max, struct ramet_extent *out)
{
    const unsigned type = ramet_read_u8(in);
    uint64_t least = RAMET_SEGMENT_HEADER_SIZE;
    const uint8_t *bytes = NULL;

    *out = (struct ramet_extent){
        .volume = c->volume,
        .kind = type == PLACE_SEGMENT ? RAMET_IN_SEGMENT : RAMET_IN_COMMIT,
        .hash_algo = RAMET_HASH_XXH3_128};
    if (type == PLACE_SEGMENT) {
        bytes = ramet_read_bytes(in, RAMET_ID_SIZE);
        if (bytes != NULL)
            memcpy(&out->segment.id, bytes, RAMET_ID_SIZE);
    } else if (type == PLACE_COMMIT) {
        out->lsn = ramet_read_varint_max(in, INT64_MAX);
        least = RAMET_COMMIT_CORE_SIZE;
    } else {
        out->lsn = c->lsn;
    }
    out->offset_bytes = ramet_read_varint_max(in, INT64_MAX);
    out->length_bytes = (uint32_t)ramet_read_varint_max(in, length_max - 1) + 1;
    bytes = ramet_read_bytes(in, RAMET_HASH_SIZE);
    if (in->bad || type > PLACE_INLINE || out->offset_bytes < least ||
        (type == PLACE_SEGMENT && ramet_id_is_nil(&out->segment.id)) ||
        (type == PLACE_COMMIT && (out->lsn == 0 || out->lsn >= c->lsn)) ||
        (type == PLACE_INLINE &&
         out->offset_bytes + out->length_bytes > ramet_commit_inline_end(c)))
        return false;
    memcpy(&out->hash, bytes, RAMET_HASH_SIZE);
    if (type == PLACE_INLINE) /* readers get it absolute */
        out->offset_bytes += ramet_commit_inline_start(c->head_length_bytes);
    return true;
}

static bool
decode_image(struct ramet_reader *in, const struct ramet_commit_object *c,
             unsigned what, struct ramet_frame *out)
{
    out->kind = what & FIRST_DICT ? RAMET_FRAME_DICT : RAMET_FRAME_PLAIN;
    out->first_pgno = 1;
    out->page_count = 1;
    if (what & FIRST_DICT &&
        !ramet_commit_decode_dict(in, &c->volume, &out->base))
        return false;
    if (!decode_place(in, c, RAMET_FRAME_BYTES_MAX, &out->extent))
        return false;
    if (what & FIRST_OTHERS) {
        const uint64_t others =
            ramet_read_varint_max(in, RAMET_FRAME_PAGES_MAX - 1);

        if (in->bad || others == 0)
            return false;
        out->page_count = (uint8_t)(others + 1);
    }
    return true;
}

enum ramet_rc
ramet_commit_decode_first_page(struct ramet_reader *in,
                               struct ramet_commit_object *c,
                               struct ramet_err *err)
{
    struct ramet_located *const first = &c->first_page;
    unsigned what;
    uint64_t age;

    if (!c->says_first_page)
        return RAMET_OK;
    what = ramet_read_u8(in);
    if (what > (FIRST_DICT | FIRST_OTHERS | FIRST_DELTA))
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "commit: place of page 1 of a later version");
    age = ramet_read_varint_max(in, c->lsn - 1);
    first->image_pgno = 1;
    first->lsn = c->lsn - age;
    if (in->bad || !decode_image(in, c, what, &first->image))
        return ramet_commit_damaged(c->lsn, "bad place of page 1", err);
    if (!(what & FIRST_DELTA))
        return RAMET_OK;
    first->block.kind = RAMET_FRAME_DELTAS;
    if (!decode_place(in, c, RAMET_DELTA_BLOCK_MAX, &first->block.extent))
        return ramet_commit_damaged(c->lsn, "bad place of page 1's delta", err);
    first->block.extent.hash_algo = RAMET_HASH_FRONT;
    first->position =
        (uint32_t)ramet_read_varint_max(in, RAMET_DELTA_BLOCK_PAGES_MAX - 1);
    return RAMET_OK;
}

const char *
ramet_commit_take_first_page(struct ramet_commit_object *c)
{
    struct ramet_located *const first = &c->first_page;
    const bool changed = ramet_pageset_contains(&c->changed, 1);
    const bool has_delta = ramet_pageset_contains(&c->deltas.pages, 1);
    const bool is_own = changed || has_delta;
    uint32_t block, base;

    if (!c->says_first_page)
        return NULL;
    if ((first->lsn == c->lsn) != is_own ||
        (!is_own && c->least_page_count == 0))
        return "page 1 changed at another commit than it says";
    if (ramet_commit_has_own_map(c))
        return is_own && has_delta != ramet_located_has_delta(first)
                   ? "page 1 has another delta than it says"
                   : NULL;
    if (changed || (has_delta && ramet_located_has_delta(first)))
        return "it says where page 1 lies, which its tables do";
    if (!has_delta)
        return NULL;
    ramet_commit_find_delta(c, 1, &block, &first->position, &base);
    first->block = ramet_commit_delta_block(c, block);
    return base == 1 ? NULL : "page 1 has another page's image";
}
