/*
 * commit.c - commits: what is asked of one, and the rules that hold for all.
 * commit_encode.c makes bytes of them, commit_decode.c reads those.
 *
 *   (1) All that the encoder writes, the decoder accepts: both ask
 *       ramet_commit_flaw().
 */
#include "metastore/commit.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/alloc.h"
#include "metastore/commit_impl.h"

void
ramet_commit_init(struct ramet_commit_object *commit)
{
    *commit = (struct ramet_commit_object){.lsn = 0};
}

void
ramet_commit_done(struct ramet_commit_object *commit)
{
    if (commit == NULL)
        return;
    ramet_pageset_done(&commit->changed);
    for (uint32_t i = 0; i < commit->segment_count; i++)
        ramet_segment_info_done(&commit->segments[i]);
    ramet_free(commit->segments);
    ramet_pageset_done(&commit->deltas.pages);
    ramet_free(commit->deltas.extent.blocks);
    ramet_free(commit->deltas.names);
    ramet_commit_init(commit);
}

void
ramet_commit_key(const struct ramet_vid *volume, uint64_t lsn,
                 char out[RAMET_KEY_MAX])
{
    char vid[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&volume->id, vid);
    snprintf(out, RAMET_KEY_MAX, "volumes/%s/commits/%016" PRIx64, vid, ~lsn);
}

/* ---- deltas -------------------------------------------------------------- */

struct ramet_frame
ramet_commit_delta_block(const struct ramet_commit_object *commit,
                         uint32_t index)
{
    const struct ramet_commit_deltas *const deltas = &commit->deltas;
    struct ramet_frame frame = {
        .extent.volume = commit->volume,
        .extent.kind =
            deltas->extent.is_inline ? RAMET_IN_COMMIT : RAMET_IN_SEGMENT,
        .extent.segment = deltas->extent.id,
        .extent.lsn = deltas->extent.is_inline ? commit->lsn : 0,
        .extent.offset_bytes = deltas->extent.offset_bytes,
        .extent.hash_algo = RAMET_HASH_FRONT,
        .kind = RAMET_FRAME_DELTAS,
    };

    assert(deltas->extent.blocks != NULL && index < deltas->extent.block_count);
    if (deltas->extent.is_inline)
        frame.extent.offset_bytes +=
            ramet_commit_inline_start(commit->head_length_bytes);
    frame.extent.offset_bytes += deltas->extent.blocks[index].bytes_before;
    frame.extent.length_bytes = deltas->extent.blocks[index].length_bytes;
    frame.extent.hash = deltas->extent.blocks[index].hash;
    return frame;
}

uint64_t
ramet_commit_stored_bytes(const struct ramet_commit_object *commit)
{
    uint64_t sum =
        commit->inline_length_bytes + commit->deltas.extent.size_bytes;

    assert(commit->segment_count == 0 || commit->segments != NULL);
    for (uint32_t i = 0; i < commit->segment_count; i++) {
        if (!ramet_commit_is_inline(commit, i))
            sum += commit->segments[i].size_bytes;
    }
    return sum;
}

uint64_t
ramet_commit_delta_bytes(const struct ramet_commit_object *commit)
{
    const struct ramet_delta_extent *const place = &commit->deltas.extent;

    if (commit->deltas.pages.run_count == 0)
        return 0;
    return (place->is_inline ? ramet_commit_inline_end(commit)
                             : place->size_bytes) -
           place->offset_bytes; /* they lie at the end */
}

struct ramet_delta_counts
ramet_commit_delta_counts(const struct ramet_commit_object *commit)
{
    struct ramet_delta_counts counts = {
        .lsn = commit->lsn,
        .pages = ramet_pageset_count(&commit->deltas.pages),
        .bytes = ramet_commit_delta_bytes(commit),
    };
    const uint64_t whole = counts.pages * commit->page_size;

    assert(counts.pages > 0 || counts.bytes == 0);
    if (whole > counts.bytes) /* who writes them badly saves nothing */
        counts.saved_bytes = whole - counts.bytes;
    return counts;
}

void
ramet_commit_index_deltas(struct ramet_commit_object *commit)
{
    const struct ramet_pageset *const pages = &commit->deltas.pages;
    struct ramet_delta_extent *const extent = &commit->deltas.extent;
    uint32_t run = 0,
             used = 0; /* pages of the run that are in earlier blocks */
    uint32_t deltas = 0;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < extent->block_count; i++) {
        struct ramet_delta_block *const block = &extent->blocks[i];
        uint32_t left = block->page_count;

        assert(run < pages->run_count);
        block->first_pgno = pages->runs[run].first + used;
        block->first_run = run;
        block->deltas_before = deltas;
        block->bytes_before = bytes;
        deltas += block->page_count;
        bytes += block->length_bytes;
        while (run < pages->run_count &&
               left > pages->runs[run].last - pages->runs[run].first - used) {
            left -= pages->runs[run].last - pages->runs[run].first - used + 1;
            used = 0;
            run++;
        }
        used += left;
    }
    assert(run == pages->run_count && used == 0);
}

/* The last block that begins at the page, or before it. */
static uint32_t
block_of(const struct ramet_delta_extent *extent, uint32_t pgno)
{
    uint32_t low = 0, high = extent->block_count;

    assert(extent->blocks != NULL && extent->block_count > 0);
    while (low + 1 < high) {
        const uint32_t middle = low + (high - low) / 2;

        if (extent->blocks[middle].first_pgno <= pgno)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* How many of the block's pages are below this one. */
static uint32_t
position_in(const struct ramet_delta_block *block,
            const struct ramet_pageset *pages, uint32_t pgno)
{
    uint32_t position = 0;
    uint32_t first = block->first_pgno;

    assert(first >= 1 && first <= pgno);
    for (uint32_t i = block->first_run; pages->runs[i].last < pgno; i++) {
        position += pages->runs[i].last - first + 1;
        first = pages->runs[i + 1].first;
    }
    return position + (pgno - first);
}

void
ramet_commit_find_delta(const struct ramet_commit_object *commit, uint32_t pgno,
                        uint32_t *out_block, uint32_t *out_position,
                        uint32_t *out_base_pgno)
{
    const struct ramet_commit_deltas *const deltas = &commit->deltas;
    const uint32_t block = block_of(&deltas->extent, pgno);
    const struct ramet_delta_block *const place = &deltas->extent.blocks[block];
    const uint32_t position = position_in(place, &deltas->pages, pgno);
    const uint32_t rank = place->deltas_before + position;
    uint32_t low = 0, high = deltas->name_count;

    assert(ramet_pageset_contains(&deltas->pages, pgno));
    assert(position < place->page_count);
    while (low < high) { /* names before low are of positions below rank */
        const uint32_t middle = low + (high - low) / 2;

        if (deltas->names[middle].position < rank)
            low = middle + 1;
        else
            high = middle;
    }
    *out_block = block;
    *out_position = position;
    *out_base_pgno =
        low < deltas->name_count && deltas->names[low].position == rank
            ? deltas->names[low].pgno
            : pgno;
}

/* ---- a dictionary, as several parts of a body name it -------------------- */

void
ramet_commit_encode_dict(const struct ramet_extent *dict, struct ramet_buf *out)
{
    assert(dict->kind == RAMET_IN_SEGMENT && dict->length_bytes > 0);

    ramet_buf_bytes(out, &dict->segment.id, RAMET_ID_SIZE);
    ramet_buf_varint(out, dict->offset_bytes);
    ramet_buf_varint(out, dict->length_bytes);
    ramet_buf_bytes(out, &dict->hash, RAMET_HASH_SIZE);
}

bool
ramet_commit_decode_dict(struct ramet_reader *in,
                         const struct ramet_vid *volume,
                         struct ramet_extent *out)
{
    const uint8_t *const id = ramet_read_bytes(in, RAMET_ID_SIZE);
    const uint64_t offset = ramet_read_varint_max(in, INT64_MAX);
    const uint64_t length = ramet_read_varint_max(in, RAMET_FRAME_BYTES_MAX);
    const uint8_t *const hash = ramet_read_bytes(in, RAMET_HASH_SIZE);

    if (in->bad || length == 0)
        return false;
    *out = (struct ramet_extent){.volume = *volume,
                                 .kind = RAMET_IN_SEGMENT,
                                 .offset_bytes = offset,
                                 .length_bytes = (uint32_t)length,
                                 .hash_algo = RAMET_HASH_XXH3_128};
    memcpy(&out->segment.id, id, RAMET_ID_SIZE);
    memcpy(&out->hash, hash, RAMET_HASH_SIZE);
    return true;
}

/* ---- what holds of all commits ------------------------------------------- */

static bool
hash_is_zero(const struct ramet_hash *hash)
{
    static const struct ramet_hash zero;

    assert(hash != NULL);
    return ramet_hash_equal(hash, &zero);
}

static const char *
map_flaw(const struct ramet_commit_object *c)
{
    const struct ramet_map_ref *const map = &c->map;
    const bool empty = map->root_length_bytes == 0;

    assert(c->lsn >= 1);
    if (map->lsn > c->lsn || c->lsn - map->lsn > COMMIT_DISTANCE_MAX ||
        c->commits_since_map != c->lsn - map->lsn)
        return "map too far away";
    if (c->head_bytes_since_map > COMMIT_HEAD_BYTES_MAX)
        return "too many bytes since the map";
    if (c->commits_since_map <= 1 && c->head_bytes_since_map != 0)
        return "bytes since the map without a commit between";
    if (map->lsn == 0 && !empty)
        return "a map of LSN 0";
    if (empty != ramet_id_is_nil(&map->id.id) ||
        (empty &&
         (map->root_offset_bytes != 0 || !hash_is_zero(&map->root_hash))))
        return "map in part";
    if (!empty && (map->root_offset_bytes < COMMIT_MAP_HEADER_SIZE ||
                   map->root_offset_bytes > INT64_MAX ||
                   map->root_length_bytes > COMMIT_MAP_NODE_MAX))
        return "root of the map misplaced";
    return NULL;
}

static const char *
length_flaw(const struct ramet_commit_object *c)
{
    const uint64_t full = (uint64_t)c->page_count * c->page_size;

    assert(ramet_page_size_valid(c->page_size));
    if (c->byte_length > full ||
        (c->page_count > 0 && full - c->byte_length >= c->page_size))
        return "byte length does not end in the last page";
    if (c->kind == RAMET_KIND_SQLITE && c->byte_length != full)
        return "byte length of a database is not whole pages";
    return NULL;
}

static const char *
line_flaw(const struct ramet_commit_object *c)
{
    assert(c->lsn >= 1);
    if (c->floor == 0 || c->floor > c->lsn)
        return "floor out of range";
    if (c->content.lsn >= c->lsn ||
        (c->content.lsn == 0) != hash_is_zero(&c->content.hash))
        return "last content commit misplaced";
    if (c->content.lsn != 0 && c->content.lsn == c->lsn - 1 &&
        !ramet_hash_equal(&c->content.hash, &c->predecessor))
        return "last content commit and predecessor do not agree";
    return NULL;
}

static const char *
role_flaw(const struct ramet_commit_object *c)
{
    assert(c->least_page_count <= c->page_count);
    switch (c->role) {
    case RAMET_COMMIT_CONTENT:
        return NULL;
    case RAMET_COMMIT_FENCE:
    case RAMET_COMMIT_END:
    case RAMET_COMMIT_UPKEEP:
        if (c->changed.run_count > 0 || c->deltas.pages.run_count > 0 ||
            c->segment_count > 0 || c->has_inline ||
            c->least_page_count != c->page_count)
            return "housekeeping that changes pages";
        return NULL;
    }
    return "flags that exclude each other";
}

bool
ramet_commit_new_deltas_are_named(const struct ramet_commit_object *c)
{
    const struct ramet_commit_deltas *const deltas = &c->deltas;
    const uint64_t total = ramet_pageset_count(&deltas->pages);
    uint32_t name = deltas->name_count;
    uint64_t first_new =
        0; /* position of the first above the least page count */

    for (size_t i = 0; i < deltas->pages.run_count; i++) {
        const struct ramet_run run = deltas->pages.runs[i];

        if (run.last > c->page_count)
            return false;
        if (run.first <= c->least_page_count)
            first_new +=
                (run.last < c->least_page_count ? run.last
                                                : c->least_page_count) -
                run.first + 1;
    }
    assert(first_new <= total);
    if (ramet_commit_has_own_map(c)) /* whose names are in its map */
        return first_new == total || c->least_page_count > 0;
    for (uint64_t position = total; position > first_new; position--) {
        if (name == 0 || deltas->names[name - 1].position != position - 1 ||
            deltas->names[name - 1].pgno > c->least_page_count)
            return false;
        name--;
    }
    return true;
}

const char *
ramet_commit_flaw(const struct ramet_commit_object *c)
{
    const char *flaw = NULL;

    assert(c != NULL);
    if (c->lsn == 0 || c->lsn == UINT64_MAX)
        return "LSN out of range";
    if ((c->lsn == 1) != hash_is_zero(&c->predecessor))
        return "predecessor and LSN do not agree";
    if (c->kind != RAMET_KIND_SQLITE && c->kind != RAMET_KIND_BLOB)
        return "unknown kind of volume";
    if (!ramet_page_size_valid(c->page_size))
        return "bad page size";
    if (c->least_page_count > c->page_count)
        return "least page count above page count";
    flaw = length_flaw(c);
    if (flaw == NULL)
        flaw = line_flaw(c);
    if (flaw == NULL)
        flaw = role_flaw(c);
    return flaw != NULL ? flaw : map_flaw(c);
}

enum ramet_rc
ramet_commit_damaged(uint64_t lsn, const char *what, struct ramet_err *err)
{
    assert(what != NULL);
    return RAMET_FAIL(err, RAMET_ECORRUPT, "commit %" PRIu64 ": %s", lsn, what);
}
