/*
 * delta.c - see delta.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/delta.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/delta_steps.h"

/* ---- steps ---------------------------------------------------------------- */

void
ramet_delta_walk_init(struct ramet_delta_walk *walk, const uint8_t *steps,
                      size_t len, uint32_t page_size)
{
    assert(ramet_page_size_valid(page_size));
    assert(steps != NULL || len == 0);
    *walk = (struct ramet_delta_walk){.page_size = page_size};
    ramet_reader_init(&walk->in, steps, len);
}

/* Where a copy or numbers come from. */
static bool
read_source(struct ramet_delta_walk *walk, struct ramet_delta_step *step)
{
    const uint64_t more =
        ramet_read_varint_max(&walk->in, 4 * (uint64_t)RAMET_PAGE_SIZE_MAX);
    int64_t source;

    assert(step->at + step->length <= walk->page_size);
    walk->shift +=
        (more & 1) != 0 ? -(int64_t)(more / 2) - 1 : (int64_t)(more / 2);
    source = (int64_t)step->at + walk->shift;
    if (walk->in.bad || source < 0 ||
        source + (int64_t)step->length > (int64_t)walk->page_size)
        return false;
    step->source = (uint32_t)source;
    assert(step->source + step->length <= walk->page_size);
    return true;
}

bool
ramet_delta_walk_next(struct ramet_delta_walk *walk,
                      struct ramet_delta_step *out_step)
{
    struct ramet_delta_step step = {.kind = RAMET_DELTA_END};
    uint32_t left = walk->page_size - walk->made;
    uint64_t what;

    assert(left > 0);
    step.literals = (uint32_t)ramet_read_varint_max(&walk->in, left);
    step.at = walk->made + step.literals;
    left -= step.literals;
    if (left > 0) {
        what = ramet_read_varint_max(&walk->in, 4 * (uint64_t)left + 3);
        step.kind = (enum ramet_delta_kind)(what & 3);
        step.length = (uint32_t)(what / 4);
        if (step.kind == RAMET_DELTA_NUMBERS)
            step.length *= 2;
        else if (step.length == 0)
            step.length = left;
        if (walk->in.bad || step.kind == RAMET_DELTA_END || step.length == 0 ||
            step.length > left ||
            (step.kind != RAMET_DELTA_ZEROS && !read_source(walk, &step)))
            return false;
    }
    if (walk->in.bad)
        return false;
    walk->made = step.at + step.length;
    assert(walk->made <= walk->page_size);
    *out_step = step;
    return true;
}

uint16_t
ramet_delta_follow(const struct ramet_delta_run *runs, size_t count,
                   uint16_t number)
{
    const struct ramet_delta_run *after = NULL;

    assert(runs != NULL || count == 0);
    for (size_t i = 0; i < count; i++) {
        const struct ramet_delta_run *const run = &runs[i];

        if (number >= run->source && number - run->source < run->length)
            return (uint16_t)(number - run->source + run->at);
        if (run->source > number &&
            (after == NULL || run->source < after->source))
            after = run;
    }
    return after == NULL ? number
                         : (uint16_t)(number + after->at - after->source);
}

/* ---- blocks --------------------------------------------------------------- */

/* How long one page's steps are, and its literals. */
static bool
measure_steps(const uint8_t *steps, size_t len, uint32_t page_size,
              uint32_t *out_len, uint64_t *out_literals)
{
    struct ramet_delta_walk walk;
    struct ramet_delta_step step;
    uint64_t literals = 0;

    ramet_delta_walk_init(&walk, steps, len, page_size);
    while (walk.made < page_size) {
        if (!ramet_delta_walk_next(&walk, &step))
            return false;
        literals += step.literals;
    }
    assert(walk.made == page_size && literals <= page_size);
    *out_len = (uint32_t)(len - ramet_reader_left(&walk.in));
    *out_literals = literals;
    return true;
}

enum ramet_rc
ramet_delta_cursor_open_loose(struct ramet_delta_cursor *cursor,
                              uint32_t page_count, const uint8_t *content,
                              size_t len, uint32_t page_size,
                              struct ramet_err *err)
{
    struct ramet_reader in;

    assert(ramet_page_size_valid(page_size) && page_count > 0);
    *cursor = (struct ramet_delta_cursor){.page_size = page_size,
                                          .front.page_count = page_count};
    ramet_reader_init(&in, content, len);
    cursor->steps_len =
        (size_t)ramet_read_varint_max(&in, RAMET_DELTA_BLOCK_MAX);
    cursor->steps = ramet_read_bytes(&in, cursor->steps_len);
    cursor->literals_len = ramet_reader_left(&in);
    cursor->literals = ramet_read_bytes(&in, cursor->literals_len);
    if (in.bad)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "block of deltas: truncated content");
    return RAMET_OK;
}

enum ramet_rc
ramet_delta_cursor_open(struct ramet_delta_cursor *cursor,
                        const uint8_t *content, size_t len, uint32_t page_size,
                        struct ramet_err *err)
{
    struct ramet_delta_front front;
    enum ramet_rc rc;

    if (!ramet_delta_front_read(content, len, &front))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "block of deltas: truncated front");
    rc = ramet_delta_cursor_open_loose(
        cursor, front.page_count, content + front.length_bytes,
        len - front.length_bytes, page_size, err);
    cursor->front = front;
    return rc;
}

/* The part of the page that the cursor is at; the last page's use up what there is. */
static bool
measure_part(const struct ramet_delta_cursor *cursor, struct ramet_delta *delta)
{
    const uint8_t *const steps = cursor->steps + cursor->steps_at;
    const size_t steps_left = cursor->steps_len - cursor->steps_at;
    const size_t literals_left = cursor->literals_len - cursor->literals_at;
    uint64_t literals = 0;

    assert(cursor->steps_at <= cursor->steps_len &&
           cursor->literals_at <= cursor->literals_len);
    if (!measure_steps(steps, steps_left, cursor->page_size, &delta->steps_len,
                       &literals) ||
        literals > literals_left)
        return false;
    assert(delta->steps_len <= steps_left); /* of delta.h, (2) */
    delta->steps = steps;
    delta->literals = cursor->literals + cursor->literals_at;
    delta->literals_len = (uint32_t)literals;
    return cursor->position + 1 < cursor->front.page_count ||
           (delta->steps_len == steps_left && literals == literals_left);
}

enum ramet_rc
ramet_delta_cursor_find(struct ramet_delta_cursor *cursor, uint32_t position,
                        struct ramet_delta *out_delta, struct ramet_err *err)
{
    struct ramet_delta delta = {.steps_len = 0};

    assert(cursor->front.page_count > 0); /* it was opened */
    if (position >= cursor->front.page_count)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "block of deltas: %" PRIu32 " pages, and no page "
                          "%" PRIu32,
                          cursor->front.page_count, position);
    if (position < cursor->position)
        cursor->position = cursor->steps_at = cursor->literals_at = 0;
    for (;;) {
        if (!measure_part(cursor, &delta))
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "block of deltas: truncated delta %" PRIu32,
                              position);
        if (cursor->position == position)
            break;
        cursor->position++;
        cursor->steps_at += delta.steps_len;
        cursor->literals_at += delta.literals_len;
    }
    if (cursor->front.sums != NULL)
        delta.sum = ramet_delta_front_sum(&cursor->front, position);
    *out_delta = delta;
    return RAMET_OK;
}

uint8_t *
ramet_delta_copy(const struct ramet_delta *delta, struct ramet_delta *out_delta)
{
    uint8_t *const block =
        ramet_alloc((size_t)delta->steps_len + delta->literals_len);

    assert(delta->steps_len > 0 && delta->steps != NULL);
    if (block == NULL)
        return NULL;
    memcpy(block, delta->steps, delta->steps_len);
    if (delta->literals_len > 0)
        memcpy(block + delta->steps_len, delta->literals, delta->literals_len);
    *out_delta = *delta;
    out_delta->steps = block;
    out_delta->literals = block + delta->steps_len;
    return block;
}

/* ---- making a page -------------------------------------------------------- */

/* The copies of a delta, which its numbers follow; false: it has too many. */
static bool
list_runs(const struct ramet_delta *delta, uint32_t page_size,
          struct ramet_delta_run *runs, size_t *out_count)
{
    struct ramet_delta_walk walk;
    struct ramet_delta_step step;
    size_t count = 0;

    ramet_delta_walk_init(&walk, delta->steps, delta->steps_len, page_size);
    while (walk.made < page_size) {
        if (!ramet_delta_walk_next(&walk, &step))
            return false;
        if (step.kind != RAMET_DELTA_COPY)
            continue;
        if (count == RAMET_DELTA_COPIES_MAX)
            return false;
        runs[count++] =
            (struct ramet_delta_run){step.source, step.length, step.at};
    }
    assert(count <= RAMET_DELTA_COPIES_MAX);
    *out_count = count;
    return true;
}

static void
put_numbers(const struct ramet_delta_run *runs, size_t run_count,
            const uint8_t *from, uint32_t length, uint8_t *out)
{
    assert(length % 2 == 0 && run_count <= RAMET_DELTA_COPIES_MAX);
    for (uint32_t i = 0; i < length; i += 2) {
        const uint16_t number =
            ramet_delta_follow(runs, run_count, ramet_get_be16(from + i));

        out[i] = (uint8_t)(number >> 8);
        out[i + 1] = (uint8_t)number;
    }
}

/* The page that the steps make, right or not; false: they make none. */
static bool
follow_steps(const struct ramet_delta *delta, const uint8_t *base,
             uint32_t page_size, uint8_t *out)
{
    struct ramet_delta_run runs[RAMET_DELTA_COPIES_MAX];
    size_t run_count = 0;
    bool has_runs = false;
    struct ramet_delta_walk walk;
    struct ramet_delta_step step;
    uint32_t used = 0;

    ramet_delta_walk_init(&walk, delta->steps, delta->steps_len, page_size);
    while (walk.made < page_size) {
        uint8_t *const at = out + walk.made;

        if (!ramet_delta_walk_next(&walk, &step) ||
            step.literals > delta->literals_len - used)
            return false;
        if (step.literals > 0)
            memcpy(at, delta->literals + used, step.literals);
        used += step.literals;
        assert(used <= delta->literals_len &&
               step.at + step.length <= page_size);
        switch (step.kind) {
        case RAMET_DELTA_COPY:
            memcpy(out + step.at, base + step.source, step.length);
            break;
        case RAMET_DELTA_NUMBERS:
            has_runs =
                has_runs || list_runs(delta, page_size, runs, &run_count);
            if (!has_runs)
                return false;
            put_numbers(runs, run_count, base + step.source, step.length,
                        out + step.at);
            break;
        case RAMET_DELTA_ZEROS:
            memset(out + step.at, 0, step.length);
            break;
        case RAMET_DELTA_END:
            break;
        }
    }
    return ramet_reader_left(&walk.in) == 0 && used == delta->literals_len;
}

bool
ramet_delta_makes(const struct ramet_delta *delta, const uint8_t *base,
                  const uint8_t *page, uint32_t page_size, uint8_t *made)
{
    return follow_steps(delta, base, page_size, made) &&
           memcmp(made, page, page_size) == 0;
}

enum ramet_rc
ramet_delta_apply(const struct ramet_delta *delta, const uint8_t *base,
                  uint32_t page_size, uint8_t *out, struct ramet_err *err)
{
    assert(base != out);
    assert(ramet_page_size_valid(page_size));
    if (!follow_steps(delta, base, page_size, out) ||
        ramet_hash64(out, page_size) != delta->sum)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "delta and its base don't make the page");
    return RAMET_OK;
}
