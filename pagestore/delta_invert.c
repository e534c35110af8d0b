/*
 * delta_invert.c - from a delta to one that leads back.
 *
 * What a delta copies from its base to its page can be copied from there back, and most
 * numbers follow. What it left out of its base is a literal. So the way back costs a look
 * at the steps, and no comparing of pages.
 *
 * Layer: pagestore.
 */
#include <string.h>

#include "pagestore/delta_steps.h"

/* Steps that make the base: `source` is in the page, `at` in the base. */
struct way {
    struct ramet_delta_step pieces[RAMET_DELTA_COPIES_MAX];
    uint32_t count;
};

/* The copies and numbers of a delta, turned about; false: too many. */
static bool
turn_about(const struct ramet_delta *delta, uint32_t page_size, struct way *way)
{
    struct ramet_delta_walk walk;
    struct ramet_delta_step step;

    way->count = 0;
    ramet_delta_walk_init(&walk, delta->steps, delta->steps_len, page_size);
    while (walk.made < page_size) {
        uint32_t i;

        if (!ramet_delta_walk_next(&walk, &step))
            return false;
        if (step.kind != RAMET_DELTA_COPY && step.kind != RAMET_DELTA_NUMBERS)
            continue;
        if (way->count == RAMET_DELTA_COPIES_MAX)
            return false;
        /* They come nearly in order. */
        for (i = way->count++; i > 0 && way->pieces[i - 1].at > step.source;
             i--)
            way->pieces[i] = way->pieces[i - 1];
        way->pieces[i] = (struct ramet_delta_step){0, step.kind, step.source,
                                                   step.at, step.length};
    }
    return true;
}

/* Two that make the same bytes: the later one makes what is left. */
static void
cut_overlaps(struct way *way)
{
    uint32_t done = 0, kept = 0;

    for (uint32_t i = 0; i < way->count; i++) {
        struct ramet_delta_step piece = way->pieces[i];
        const uint32_t skip = piece.at < done ? done - piece.at : 0;

        if (skip >= piece.length ||
            (skip > 0 && piece.kind == RAMET_DELTA_NUMBERS))
            continue;
        piece.at += skip;
        piece.source += skip;
        piece.length -= skip;
        done = piece.at + piece.length;
        way->pieces[kept++] = piece;
    }
    way->count = kept;
}

/* Do these numbers follow the copies? */
static bool
do_follow(const struct ramet_delta_run *runs, size_t run_count,
          const struct ramet_delta_step *piece, const uint8_t *base,
          const uint8_t *page)
{
    for (uint32_t i = 0; i < piece->length; i += 2) {
        if (ramet_delta_follow(runs, run_count,
                               ramet_get_be16(page + piece->source + i)) !=
            ramet_get_be16(base + piece->at + i))
            return false;
    }
    return true;
}

/* Numbers that do not follow are literals. */
static void
check_numbers(struct way *way, const uint8_t *base, const uint8_t *page)
{
    struct ramet_delta_run runs[RAMET_DELTA_COPIES_MAX];
    uint32_t run_count = 0, kept = 0;

    for (uint32_t i = 0; i < way->count; i++) {
        const struct ramet_delta_step *const piece = &way->pieces[i];

        if (piece->kind == RAMET_DELTA_COPY)
            runs[run_count++] = (struct ramet_delta_run){
                piece->source, piece->length, piece->at};
    }
    for (uint32_t i = 0; i < way->count; i++) {
        const struct ramet_delta_step piece = way->pieces[i];

        if (piece.kind == RAMET_DELTA_COPY ||
            do_follow(runs, run_count, &piece, base, page))
            way->pieces[kept++] = piece;
    }
    way->count = kept;
}

static void
put_literals(struct ramet_buf *steps, struct ramet_buf *literals,
             const uint8_t *base, uint32_t from, uint32_t to)
{
    ramet_buf_varint(steps, to - from);
    if (to > from)
        ramet_buf_bytes(literals, base + from, to - from);
}

bool
ramet_delta_invert(const struct ramet_delta *delta, const uint8_t *base,
                   const uint8_t *page, uint32_t page_size,
                   struct ramet_buf *steps, struct ramet_buf *literals)
{
    struct way way;
    uint32_t made = 0;
    int64_t shift = 0;

    if (!turn_about(delta, page_size, &way))
        return false;
    cut_overlaps(&way);
    check_numbers(&way, base, page);
    ramet_buf_clear(steps);
    ramet_buf_clear(literals);
    for (uint32_t i = 0; i < way.count; i++) {
        const struct ramet_delta_step *const piece = &way.pieces[i];

        put_literals(steps, literals, base, made, piece->at);
        ramet_delta_put_step(steps, piece, page_size, &shift);
        made = piece->at + piece->length;
    }
    if (made < page_size)
        put_literals(steps, literals, base, made, page_size);
    return steps->failed == RAMET_OK && literals->failed == RAMET_OK;
}
