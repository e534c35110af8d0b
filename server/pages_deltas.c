/*
 * pages_deltas.c - the deltas of a slice of pages: blocks as they are stored, or their
 * fronts, and of their frames what was asked for (docs/protocol.md, "Loose deltas").
 *
 *   (1) A block of short deltas goes whole or not at all, so that who named it has all
 *       of it; of every other one who named it has the front, and is sent loose deltas.
 *   (2) A front is sent once in an answer, and so is a whole block. In the set of what
 *       was sent a front is a range of no length, at the block's place.
 *
 * Layer: server.
 */
#include <assert.h>
#include <string.h>

#include "server/delta_blocks.h"
#include "server/pages_answer_impl.h"

/* Who asks for fewer pages gets whole blocks: he may want their neighbours later. */
#define FEW_PAGES 4u
/* Deltas are short where the front is this part of the block: little would be saved. */
#define SHORT_PART 4u
/* A block is sent whole where so many of its pages are in one slice. */
#define MOST_NUMERATOR 3u
#define MOST_DENOMINATOR 4u
/* A record of loose deltas ends past this. */
#define RECORD_CONTENT (32u << 10)

#define NONE UINT8_MAX

/* One slice's. */
struct work {
    struct ramet_answer *answer;
    const struct ramet_slice *slice;
    struct ramet_frame frames[RAMET_SLICE_PAGES]; /* blocks to be looked into */
    size_t frame_count;
    uint8_t
        frame_of[RAMET_SLICE_PAGES]; /* a page's delta is in which; or NONE */
    bool is_done
        [RAMET_SLICE_PAGES]; /* nothing more is to be sent for its delta */
    const struct ramet_delta *loose[RAMET_SLICE_PAGES];    /* or NULL */
    struct ramet_decoded_block *blocks[RAMET_SLICE_PAGES]; /* they lie in */
    size_t block_count;
};

static bool
wants_loose(const struct ramet_answer *answer)
{
    return (answer->request.flags & RAMET_PAGES_APART) != 0;
}

static bool
wants_few(const struct ramet_answer *answer)
{
    return answer->request.page_count < FEW_PAGES;
}

static bool
is_front_there(const struct ramet_answer *answer,
               const struct ramet_answer_range *block)
{
    return ramet_range_set_has(&answer->set, &block->object, 0);
}

static bool
is_whole_there(const struct ramet_answer *answer,
               const struct ramet_answer_range *block)
{
    return ramet_range_set_has(&answer->set, &block->object, block->length);
}

void
ramet_answer_pass_over_block(struct ramet_answer *answer,
                             const struct ramet_extent *extent)
{
    const struct ramet_answer_range block = ramet_answer_range_of(extent);

    (void)ramet_range_set_add(&answer->set, &block.object,
                              wants_loose(answer) ? 0 : block.length);
}

/* Once: invariant (2). */
static void
add_whole(struct ramet_answer *answer, const struct ramet_extent *extent)
{
    const struct ramet_answer_range block = ramet_answer_range_of(extent);

    if (ramet_range_set_add(&answer->set, &block.object, block.length))
        ramet_answer_add_range(answer, &block);
}

static void
add_front(struct ramet_answer *answer, const struct ramet_extent *extent,
          uint32_t length)
{
    struct ramet_answer_range front = ramet_answer_range_of(extent);

    assert(length > 0 && length < extent->length_bytes);
    if (!ramet_range_set_add(&answer->set, &front.object, 0))
        return;
    front.length = length;
    front.hash_algo = RAMET_HASH_XXH3_128; /* which is the block's */
    ramet_answer_add_range(answer, &front);
}

/* ---- blocks that are read --------------------------------------------------- */

static bool
is_looked_into(const struct ramet_answer *answer,
               const struct ramet_extent *extent)
{
    const struct ramet_answer_range block = ramet_answer_range_of(extent);

    return !is_whole_there(answer, &block) &&
           (!wants_few(answer) || is_front_there(answer, &block));
}

/* The blocks that are to be looked into, each once. */
static void
list_blocks(struct work *work)
{
    for (size_t i = 0; i < work->slice->count; i++) {
        const struct ramet_located *const located = &work->slice->located[i];
        size_t k = 0;

        work->frame_of[i] = NONE;
        if (!wants_loose(work->answer) || !ramet_located_has_delta(located))
            continue;
        while (k < work->frame_count &&
               !ramet_extent_equal(&work->frames[k].extent,
                                   &located->block.extent))
            k++;
        if (k == work->frame_count) {
            if (!is_looked_into(work->answer, &located->block.extent))
                continue;
            work->frames[work->frame_count++] = located->block;
        }
        work->frame_of[i] = (uint8_t)k;
    }
}

/* How many pages of the slice have their deltas there. */
static uint32_t
count_wanted(const struct work *work, size_t frame)
{
    uint32_t count = 0;

    for (size_t i = 0; i < work->slice->count; i++)
        count += work->frame_of[i] == frame;
    return count;
}

static void
mark_done(struct work *work, size_t frame)
{
    for (size_t i = 0; i < work->slice->count; i++)
        if (work->frame_of[i] == frame)
            work->is_done[i] = true;
}

/* Those that the slice wants. A page that the block has not is left as it is: its block
 * goes whole, so that its reader sees that. */
static void
take_deltas(struct work *work, size_t frame,
            const struct ramet_decoded_block *block)
{
    for (size_t i = 0; i < work->slice->count; i++) {
        const uint32_t position = work->slice->located[i].position;

        if (work->frame_of[i] != frame || position >= block->page_count)
            continue;
        assert(work->loose[i] == NULL);
        work->loose[i] = &block->deltas[position];
        work->is_done[i] = true;
    }
}

static void
use_block(struct work *work, size_t frame, struct ramet_decoded_block *block)
{
    struct ramet_answer *const answer = work->answer;
    const struct ramet_extent *const extent = &work->frames[frame].extent;
    const struct ramet_answer_range range = ramet_answer_range_of(extent);
    const bool is_there = is_front_there(answer, &range);
    const uint32_t wanted = count_wanted(work, frame);

    assert(work->block_count < RAMET_SLICE_PAGES && wanted > 0);
    work->blocks[work->block_count++] = block;
    if (block->front_bytes >= range.length / SHORT_PART) {
        if (is_there) /* invariant (1); it is not looked at again */
            (void)ramet_range_set_add(&answer->set, &range.object,
                                      range.length);
        else
            add_whole(answer, extent);
        mark_done(work, frame);
    } else if (!is_there && MOST_DENOMINATOR * wanted >=
                                MOST_NUMERATOR * block->page_count) {
        add_whole(answer, extent);
        mark_done(work, frame);
    } else {
        add_front(answer, extent, block->front_bytes);
        take_deltas(work, frame, block);
    }
}

static enum ramet_rc
take_block(void *ctx, const struct ramet_frame *frame, const uint8_t *content,
           size_t len, struct ramet_err *err)
{
    struct work *const work = ctx;
    struct ramet_decoded_block *block;
    size_t index = 0;
    enum ramet_rc rc;

    while (!ramet_extent_equal(&work->frames[index].extent, &frame->extent))
        index++;
    assert(index < work->frame_count);
    rc = ramet_delta_blocks_add(work->answer->server->delta_blocks,
                                &frame->extent, content, len,
                                work->answer->page_size, &block, err);
    if (rc == RAMET_OK)
        use_block(work, index, block);
    return rc;
}

/* Those that are decoded already, and the others by few reads. One that can't be read goes
 * whole, so that whoever sends it says why. */
static void
use_blocks(struct work *work)
{
    struct ramet_answer *const answer = work->answer;
    struct ramet_frame missing[RAMET_SLICE_PAGES];
    size_t count = 0;

    for (size_t i = 0; i < work->frame_count; i++) {
        struct ramet_decoded_block *const block =
            ramet_delta_blocks_get(answer->server->delta_blocks,
                                   &work->frames[i].extent, answer->page_size);

        if (block != NULL)
            use_block(work, i, block);
        else
            missing[count++] = work->frames[i];
    }
    if (count > 0)
        (void)!ramet_frame_read_many(
            ramet_history_frame_reader(ramet_open_volume_history(answer->vol)),
            missing, count, answer->page_size, take_block, work, NULL);
}

/* ---- loose deltas ------------------------------------------------------------- */

static bool
end_record(struct ramet_answer *answer)
{
    struct ramet_buf record;
    bool is_made;

    if (ramet_loose_writer_pages(answer->loose) == 0)
        return true;
    ramet_buf_init(&record, RAMET_LOOSE_RECORD_MAX);
    is_made = ramet_loose_writer_end(answer->loose, &record, NULL) == RAMET_OK;
    if (is_made) {
        ramet_range_loose(&answer->records, record.data, record.len);
        is_made = answer->records.failed == RAMET_OK;
    }
    ramet_buf_done(&record);
    return is_made;
}

/* False: some can't be sent so. */
static bool
add_loose(struct work *work, size_t index)
{
    struct ramet_answer *const answer = work->answer;

    if (answer->loose == NULL)
        answer->loose = ramet_loose_writer_new();
    if (answer->loose == NULL)
        return false;
    if (ramet_loose_writer_bytes(answer->loose) > RECORD_CONTENT &&
        !end_record(answer))
        return false;
    return ramet_loose_writer_add(answer->loose, work->slice->sorted[index],
                                  work->loose[index]);
}

/* Those that were taken out of their blocks, in the order of their pages. All of a slice
 * come so, or none. */
static void
write_loose(struct work *work)
{
    struct ramet_answer *const answer = work->answer;
    bool is_any = false, is_lost = false;

    assert(answer->records.len == 0);
    for (size_t i = 0; i < work->slice->count && !is_lost; i++) {
        if (work->loose[i] == NULL)
            continue;
        is_lost = !add_loose(work, i);
        is_any = true;
    }
    if (is_any && !is_lost)
        is_lost = !end_record(answer);
    if (!is_lost)
        return;
    /* No memory: no other record can follow, so blocks go whole. */
    answer->request.flags &= ~(unsigned)RAMET_PAGES_APART;
    ramet_buf_clear(&answer->records); /* one may be there in part */
    for (size_t i = 0; i < work->slice->count; i++)
        if (work->loose[i] != NULL)
            work->is_done[i] = false;
}

void
ramet_answer_add_deltas(struct ramet_answer *answer,
                        const struct ramet_slice *slice)
{
    struct work work = {.answer = answer, .slice = slice};

    list_blocks(&work);
    use_blocks(&work);
    write_loose(&work);
    for (size_t i = 0; i < slice->count; i++)
        if (ramet_located_has_delta(&slice->located[i]) && !work.is_done[i])
            add_whole(answer, &slice->located[i].block.extent);
    for (size_t i = 0; i < work.block_count; i++)
        ramet_delta_blocks_put(answer->server->delta_blocks, work.blocks[i]);
}
