/*
 * delta_steps.h - the steps of a delta: walking them, and making them.
 *
 * Layer: pagestore, internal.
 */
#ifndef RAMET_PAGESTORE_DELTA_STEPS_H
#define RAMET_PAGESTORE_DELTA_STEPS_H

#include "pagestore/delta.h"
#include "pagestore/delta_writer.h" /* shapes */

/* A step: literals, and then `length` bytes of its kind. */
struct ramet_delta_step {
    uint32_t literals;
    enum ramet_delta_kind kind;
    uint32_t at;     /* in the page: where its length begins */
    uint32_t source; /* in the base; of copies and numbers */
    uint32_t length; /* bytes that it makes beside its literals */
};

/* A walk over the steps of one page, which are hostile. */
struct ramet_delta_walk {
    struct ramet_reader in;
    uint32_t page_size;
    uint32_t made; /* bytes of the page */
    int64_t shift; /* source - place of the copy or numbers before */
};

void ramet_delta_walk_init(struct ramet_delta_walk *walk, const uint8_t *steps,
                           size_t len, uint32_t page_size);
/* The next one; false where they make no sense. RAMET_DELTA_END, with literals alone,
 * or a step after which made == page_size is the last. */
bool ramet_delta_walk_next(struct ramet_delta_walk *walk,
                           struct ramet_delta_step *out_step);

/* A copy, as numbers see it. */
struct ramet_delta_run {
    uint32_t source, length, at;
};

/* Where what `number` points to in the base is in the page: in the first run that has
 * it, or else by that which begins soonest after it. */
uint16_t ramet_delta_follow(const struct ramet_delta_run *runs, size_t count,
                            uint16_t number);

/* What makes steps; one thread's. */
struct ramet_delta_maker;
struct ramet_delta_maker *ramet_delta_maker_new(uint32_t page_size);
void ramet_delta_maker_free(struct ramet_delta_maker *maker);
/* The steps of `page` over `base`, and its literals, in memory of the maker until the
 * next call. False: it would be more than `most` bytes. */
bool
ramet_delta_make(struct ramet_delta_maker *maker, const uint8_t *base,
                 const struct ramet_delta_shape *base_shape,
                 const uint8_t *page, const struct ramet_delta_shape *shape,
                 uint32_t most, struct ramet_delta *out_delta);
/* Was the last one not made because it is more than `most`? */
bool ramet_delta_maker_is_over(const struct ramet_delta_maker *maker);

/* Write a step down, behind how many literals it has. *io_shift: of the copy or numbers
 * before, 0 at first. */
void
ramet_delta_put_step(struct ramet_buf *out, const struct ramet_delta_step *step,
                     uint32_t page_size, int64_t *io_shift);

/* From the delta (our own) that makes `page` of `base` the one that makes `base` of
 * `page`, in place of what the buffers had. False: it has too many steps, or there is no
 * memory. */
bool ramet_delta_invert(const struct ramet_delta *delta, const uint8_t *base,
                        const uint8_t *page, uint32_t page_size,
                        struct ramet_buf *steps, struct ramet_buf *literals);

#endif
