/*
 * table_bring.c - the chunks of frame tables that a batch of pages needs, at once.
 *
 * Where each lies stands in heads that are here, so none has to wait for another:
 * scattered pages of a volume without a map would else cost a round trip a chunk.
 *
 *   (1) Chunks are asked for in parts of one segment each, ascending, with what lies
 *       between two where that is no more than ramet_objstore_gap(). A part alone may be
 *       for who goes through the segment, and has the chunks behind it along. What is
 *       sent ahead is one chunk a part.
 *   (2) Who looked into several chunks of a small table is likely to need the others as
 *       well, and each would be a round trip before the pages it names: then all of it
 *       is read, where nothing else has to go for it: what pushes itself out of the
 *       cache would be read for each page.
 *   (3) What the pages themselves will need goes with the chunks, as far as it is known
 *       before these are read: the dictionary of the first segment, and where one of
 *       the wanted pages is the first of its segment (as page 1 mostly is) the bytes
 *       with which the frames begin. Neither counts as asked for: what does not come is
 *       read by who needs it.
 *   (4) AT_ONCE bounds what is read at a time, and so the memory: each part begins and
 *       ends with a chunk, and no more than CHUNKS_OF_A_PART are in one.
 */
#include <assert.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "metastore/head_cache.h"
#include "metastore/table_impl.h"

#define AT_ONCE 128u /* chunks that are wanted */
#define CHUNKS_OF_A_PART 64u
#define LOOKED_INTO 3u /* chunks: from here on all are read */
#define SMALL_TABLE AT_ONCE
#define EXTRAS_MAX 2u /* invariant (3) */
#define START_BYTES_MAX (16u << 10)

struct wanted_chunk {
    const struct ramet_commit_object *commit;
    const struct ramet_segment_info *segment;
    uint32_t index;
};

/* Chunks [first, end) of a segment, in one read. */
struct chunk_part {
    const struct ramet_commit_object *commit;
    const struct ramet_segment_info *segment;
    uint32_t first, end;
};

struct bringing {
    struct ramet_history *history;
    struct wanted_chunk wanted[AT_ONCE];
    size_t wanted_count;
    struct chunk_part ranges[AT_ONCE];
    size_t range_count;
    struct ramet_extent extras[EXTRAS_MAX];
    size_t extra_count;
    bool is_dict[EXTRAS_MAX];
    struct ramet_part
        parts[AT_ONCE + EXTRAS_MAX]; /* each range's, each extra's */
    char keys[AT_ONCE + EXTRAS_MAX][RAMET_KEY_MAX];
    size_t part_count;
};

static int
compare_chunks(const void *left, const void *right)
{
    const struct wanted_chunk *const a = left;
    const struct wanted_chunk *const b = right;
    const int order = ramet_id_compare(&a->segment->id.id, &b->segment->id.id);

    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

static void
take_extra(struct bringing *b, size_t index, const uint8_t *bytes, size_t got)
{
    struct ramet_frame_reader *const frames =
        ramet_history_frame_reader(b->history);
    struct ramet_extent *const extra = &b->extras[index];

    assert(index < b->extra_count && got <= extra->length_bytes);
    if (b->is_dict[index] && got == extra->length_bytes) {
        ramet_frame_reader_keep_dict(frames, extra, bytes);
    } else if (!b->is_dict[index] && got > 0) {
        extra->length_bytes = (uint32_t)got;
        ramet_frame_reader_keep(frames, extra, bytes);
    }
}

/* Keep what came and is what its head says; the rest is found out by who needs it. */
static enum ramet_rc
take_part(void *ctx, const struct ramet_part *part, size_t got,
          struct ramet_err *err)
{
    struct bringing *const b = ctx;
    const size_t index = (size_t)(part - b->parts);
    const struct chunk_part *range;

    assert(index < b->part_count);
    (void)err;
    if (index >= b->range_count) {
        take_extra(b, index - b->range_count, part->buf, got);
        return RAMET_OK;
    }
    range = &b->ranges[index];
    assert(got == part->len);
    for (uint32_t i = range->first; i < range->end; i++) {
        const uint64_t at =
            range->segment->chunks[i].offset_bytes - part->offset;
        struct ramet_lru_entry *entry = NULL;

        assert(at + range->segment->chunks[i].length_bytes <= part->len);
        if (ramet_table_keep_chunk(b->history, range->segment, i,
                                   (const uint8_t *)part->buf + at, &entry,
                                   NULL) == RAMET_OK)
            ramet_history_release(b->history, entry);
    }
    return RAMET_OK;
}

/* What is sent ahead comes chunk by chunk, and is found so. */
static bool
is_one_by_one(const struct bringing *b)
{
    return (b->history->store->traits & RAMET_STORE_SENDS_AHEAD) != 0;
}

static bool
may_join(const struct bringing *b, const struct chunk_part *range,
         const struct wanted_chunk *next)
{
    const struct ramet_table_chunk *const last =
        &range->segment->chunks[range->end - 1];
    const uint64_t end = last->offset_bytes + last->length_bytes;

    if (range->segment != next->segment)
        return false;
    if (next->index < range->end)
        return true;
    return !is_one_by_one(b) &&
           next->index + 1 - range->first <= CHUNKS_OF_A_PART &&
           next->segment->chunks[next->index].offset_bytes - end <=
               ramet_objstore_gap(b->history->store);
}

/* Invariant (1); b->wanted is sorted. */
static void
find_ranges(struct bringing *b)
{
    size_t count = 0;

    assert(b->wanted_count > 0);
    for (size_t i = 0; i < b->wanted_count; i++) {
        const struct wanted_chunk *const next = &b->wanted[i];
        struct chunk_part *const range = &b->ranges[count > 0 ? count - 1 : 0];

        if (count > 0 && may_join(b, range, next)) {
            if (next->index >= range->end)
                range->end = next->index + 1;
            continue;
        }
        b->ranges[count++] = (struct chunk_part){next->commit, next->segment,
                                                 next->index, next->index + 1};
    }
    if (count == 1 && !is_one_by_one(b)) {
        struct chunk_part *const range = &b->ranges[0];
        const uint32_t ahead =
            ramet_table_ahead(b->history, range->segment, range->first, 0);

        range->end = ahead > range->end ? ahead : range->end;
    }
    assert(count <= AT_ONCE);
    b->range_count = count;
}

/* ---- what goes with them --------------------------------------------------- */

static struct ramet_extent *
add_extra(struct bringing *b, bool is_dict)
{
    assert(b->extra_count < EXTRAS_MAX);
    b->is_dict[b->extra_count] = is_dict;
    return &b->extras[b->extra_count++];
}

/* Invariant (3), for a page whose chunk is wanted. */
static void
note_extras(struct bringing *b, const struct ramet_commit_object *commit,
            const struct ramet_segment_info *segment, uint32_t pgno)
{
    const uint64_t frames_end = segment->chunks[0].offset_bytes;
    uint64_t len = commit->page_size + 64u; /* what does not compress */

    assert(segment->chunk_count > 0 && b->wanted_count > 0);
    if (is_one_by_one(b))
        return;
    if (segment == b->wanted[0].segment && b->extra_count == 0 &&
        segment->has_dict && segment->dict.length_bytes > 0 &&
        segment->dict.length_bytes <= RAMET_DICT_STORED_MAX &&
        !ramet_frame_reader_has_dict(ramet_history_frame_reader(b->history),
                                     &segment->dict))
        *add_extra(b, true) = segment->dict;
    if (pgno != segment->first_pgno || b->extra_count == EXTRAS_MAX ||
        frames_end <= RAMET_SEGMENT_HEADER_SIZE)
        return;
    len = len < START_BYTES_MAX ? len : START_BYTES_MAX;
    if (len > frames_end - RAMET_SEGMENT_HEADER_SIZE)
        len = frames_end - RAMET_SEGMENT_HEADER_SIZE;
    *add_extra(b, false) =
        (struct ramet_extent){.volume = commit->volume,
                              .kind = RAMET_IN_SEGMENT,
                              .segment = segment->id,
                              .offset_bytes = RAMET_SEGMENT_HEADER_SIZE,
                              .length_bytes = (uint32_t)len};
}

/* False: no memory. */
static bool
add_part(struct bringing *b, const struct ramet_extent *in, uint64_t len,
         bool to_end)
{
    const size_t i = b->part_count;

    assert(len > 0 && i < AT_ONCE + EXTRAS_MAX);
    ramet_extent_key(in, b->keys[i]);
    b->parts[i] = (struct ramet_part){.key = b->keys[i],
                                      .offset = in->offset_bytes,
                                      .len = (size_t)len,
                                      .to_end = to_end};
    b->parts[i].buf = ramet_alloc(b->parts[i].len);
    if (b->parts[i].buf == NULL)
        return false;
    b->part_count++;
    return true;
}

/* False: no memory. */
static bool
make_parts(struct bringing *b)
{
    bool ok = true;

    assert(b->part_count == 0);
    for (size_t i = 0; ok && i < b->range_count; i++) {
        const struct chunk_part *const range = &b->ranges[i];
        const struct ramet_table_chunk *const first =
            &range->segment->chunks[range->first];
        const struct ramet_table_chunk *const last =
            &range->segment->chunks[range->end - 1];
        const struct ramet_extent in = {.volume = range->commit->volume,
                                        .kind = RAMET_IN_SEGMENT,
                                        .segment = range->segment->id,
                                        .offset_bytes = first->offset_bytes};

        assert(range->first < range->end &&
               last->offset_bytes >= first->offset_bytes);
        ok = add_part(b, &in,
                      last->offset_bytes + last->length_bytes -
                          first->offset_bytes,
                      false);
    }
    for (size_t i = 0; ok && i < b->extra_count; i++)
        ok = add_part(b, &b->extras[i], b->extras[i].length_bytes, true);
    return ok;
}

static enum ramet_rc
bring_wanted(struct bringing *b, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    if (b->wanted_count > 1)
        qsort(b->wanted, b->wanted_count, sizeof(b->wanted[0]), compare_chunks);
    find_ranges(b);
    rc = make_parts(b)
             ? ramet_objstore_read_parts(b->history->store, b->parts,
                                         b->part_count, take_part, b, err)
             : RAMET_FAIL(err, RAMET_ENOMEM, "chunks of frame tables");
    for (size_t i = 0; i < b->part_count; i++)
        ramet_free(b->parts[i].buf);
    b->wanted_count = 0;
    b->part_count = 0;
    b->extra_count = 0;
    /* Whose page it is, and whether it is so, is said by who looks for it. */
    return rc == RAMET_ENOTFOUND || rc == RAMET_ECORRUPT ? RAMET_OK : rc;
}

static void
add(struct bringing *b, const struct ramet_commit_object *commit,
    const struct ramet_segment_info *segment, uint32_t index)
{
    assert(b->wanted_count < AT_ONCE && index < segment->chunk_count);
    b->wanted[b->wanted_count++] =
        (struct wanted_chunk){commit, segment, index};
}

/* Invariant (2): has the segment a small table, of which several chunks are here? */
static bool
wants_all(struct bringing *b, const struct ramet_segment_info *segment)
{
    uint32_t here = 0;
    size_t bytes = 0;

    if (segment->chunk_count > SMALL_TABLE)
        return false;
    for (uint32_t i = 0; i < segment->chunk_count && here < LOOKED_INTO; i++)
        here += ramet_table_has_chunk(b->history, segment, i);
    for (uint32_t i = 0; i < segment->chunk_count; i++)
        bytes += segment->chunks[i].length_bytes;
    assert(here <= LOOKED_INTO);
    return here == LOOKED_INTO && ramet_lru_has_room(&b->history->lru, bytes);
}

/* Read what is wanted, and of `segment` all that is not here. */
static enum ramet_rc
bring_all(struct bringing *b, const struct ramet_commit_object *commit,
          const struct ramet_segment_info *segment, struct ramet_err *err)
{
    enum ramet_rc rc = b->wanted_count > 0 ? bring_wanted(b, err) : RAMET_OK;

    assert(segment->chunk_count <= AT_ONCE);
    for (uint32_t i = 0; rc == RAMET_OK && i < segment->chunk_count; i++)
        if (!ramet_table_has_chunk(b->history, segment, i))
            add(b, commit, segment, i);
    return rc == RAMET_OK && b->wanted_count > 0 ? bring_wanted(b, err) : rc;
}

/* The chunk that names the frame of a page, unless it is the one noted last, or here. */
static enum ramet_rc
want(struct bringing *b, const struct ramet_commit_object *commit,
     uint32_t pgno, struct ramet_err *err)
{
    const struct ramet_segment_info *const segment =
        ramet_table_segment(commit, pgno);
    const struct wanted_chunk *const last =
        b->wanted_count > 0 ? &b->wanted[b->wanted_count - 1] : NULL;
    uint32_t index;

    if (segment == NULL || segment->frames != NULL || segment->chunk_count == 0)
        return RAMET_OK;
    index = ramet_table_chunk_of(segment, pgno);
    if ((last != NULL && last->segment == segment && last->index == index) ||
        ramet_table_has_chunk(b->history, segment, index))
        return RAMET_OK;
    if ((last == NULL || last->segment != segment) && wants_all(b, segment))
        return bring_all(b, commit, segment, err);
    add(b, commit, segment, index);
    note_extras(b, commit, segment, pgno);
    return b->wanted_count == AT_ONCE ? bring_wanted(b, err) : RAMET_OK;
}

enum ramet_rc
ramet_table_bring(struct ramet_history *history,
                  const struct ramet_commit_object *const *commits,
                  const struct ramet_located *located, size_t count,
                  struct ramet_err *err)
{
    struct bringing *b;
    enum ramet_rc rc = RAMET_OK;

    assert(located != NULL && commits != NULL);
    if ((history->store->traits & RAMET_STORE_READS_PARTS) == 0)
        return RAMET_OK;
    b = ramet_alloc(sizeof(*b));
    if (b == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "chunks of frame tables");
    b->history = history;
    b->wanted_count = 0;
    b->part_count = 0;
    b->extra_count = 0;
    for (size_t i = 0; i < count && rc == RAMET_OK; i++) {
        if (commits[i] != NULL)
            rc = want(b, commits[i], located[i].image_pgno, err);
    }
    if (rc == RAMET_OK && b->wanted_count > 0)
        rc = bring_wanted(b, err);
    ramet_free(b);
    return rc;
}
