/*
 * http_made.c - see http_made.h, and http_bring.h, (3).
 */
#include "client/remote/http_made.h"

#include <assert.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/waiting.h"
#include "pagestore/delta_front.h"

/* Ranges of pages with deltas that came, until these are made: so many share the reading
 * of their blocks. */
#define MADE_AFTER 8u
#define MADE_PAGES 128u
/* Who waits for another's block looks so often whether he need not any more; and what
 * takes longer than two seconds is asked for. */
#define BLOCK_WAIT_MS 50u
#define BLOCK_WAITS_MAX 40u

enum ramet_rc
ramet_bringing_give(void *ctx, uint32_t pgno, const uint8_t *page,
                    struct ramet_err *err)
{
    struct ramet_bringing *const b = ctx;

    assert(page != NULL);
    b->visit_rc = b->visit(b->ctx, pgno, page, err);
    return b->visit_rc;
}

int
ramet_bringing_compare_pgno(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

bool
ramet_bringing_holds(const struct ramet_bringing *b,
                     const struct ramet_extent *extent)
{
    char key[RAMET_KEY_MAX];

    ramet_extent_key(extent, key);
    return ramet_ranges_has(b->with->ranges, key, extent->offset_bytes,
                            extent->length_bytes, false);
}

static enum ramet_rc
give_made(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct ramet_bringing *const b = ctx;

    ramet_awaited_given(b->awaited, pgno); /* whatever comes of it */
    return ramet_bringing_give(b, pgno, page, err);
}

/* ---- of loose deltas ----------------------------------------------------------- */

bool
ramet_bringing_holds_block(const struct ramet_bringing *b, uint32_t pgno)
{
    const struct ramet_located *const located =
        ramet_awaited_located(b->awaited, pgno);

    return located != NULL && ramet_located_has_delta(located) &&
           ramet_bringing_holds(b, &located->block.extent);
}

/* The front of a block, which is checked; false: it is not here. One that is wrong is
 * forgotten with all else that was sent ahead. */
static bool
find_front(struct ramet_bringing *b, const struct ramet_extent *block,
           struct ramet_delta_front *out_front)
{
    uint8_t head[2];
    char key[RAMET_KEY_MAX];
    uint32_t length;
    size_t got = 0;

    if (b->front == NULL)
        b->front = ramet_alloc(RAMET_DELTA_FRONT_MAX);
    ramet_extent_key(block, key);
    if (b->front == NULL ||
        !ramet_ranges_get(b->with->ranges, key, block->offset_bytes, head,
                          sizeof(head), &got) ||
        got < sizeof(head))
        return false;
    length = ramet_delta_front_length(head, sizeof(head));
    if (length > 0 &&
        (!ramet_ranges_get(b->with->ranges, key, block->offset_bytes, b->front,
                           length, &got) ||
         got < length))
        return false;
    if (length > 0 &&
        ramet_delta_front_matches(b->front, length, &block->hash) &&
        ramet_delta_front_read(b->front, length, out_front))
        return true;
    ramet_ranges_clear(b->with->ranges);
    ramet_known_forget(b->held);
    return false;
}

/* Its base is here: of a delta that does not make the page no more is heard. */
static enum ramet_rc
make_of_base(void *ctx, uint32_t pgno, const uint8_t *base,
             struct ramet_err *err)
{
    struct ramet_bringing *const b = ctx;
    const struct ramet_located *const located =
        ramet_awaited_located(b->awaited, pgno);
    const struct ramet_delta *const kept =
        ramet_awaited_delta(b->awaited, pgno);
    const uint32_t page_size = ramet_awaited_page_size(b->awaited);
    struct ramet_delta_front front;
    struct ramet_delta delta;

    assert(located != NULL && kept != NULL);
    if (b->page == NULL)
        b->page = ramet_alloc(page_size);
    if (b->page == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "page %u", (unsigned)pgno);
    if (find_front(b, &located->block.extent, &front) &&
        located->position < front.page_count) {
        delta = *kept;
        delta.sum = ramet_delta_front_sum(&front, located->position);
        if (ramet_delta_apply(&delta, base, page_size, b->page, err) ==
            RAMET_OK)
            return give_made(b, pgno, b->page, err);
    }
    ramet_awaited_drop_delta(b->awaited, pgno);
    return RAMET_OK;
}

/* ---- as both parts are here ---------------------------------------------------- */

enum parts { LACKS_SOME, HAS_BLOCK, HAS_DELTA };

static enum parts
find_parts(struct ramet_bringing *b, uint32_t pgno,
           const struct ramet_located *located)
{
    struct ramet_delta_front front;

    if (!ramet_bringing_holds(b, &located->image.extent))
        return LACKS_SOME;
    if (ramet_bringing_holds(b, &located->block.extent))
        return HAS_BLOCK;
    return ramet_awaited_delta(b->awaited, pgno) != NULL &&
                   find_front(b, &located->block.extent, &front)
               ? HAS_DELTA
               : LACKS_SOME;
}

/* Some of those of which both parts are here, of one kind, so that who waits for them need
 * not wait for the end. False: there were none; or they can't be made, and are left to who
 * reads them from the store. */
static bool
make_some(struct ramet_bringing *b, enum parts kind)
{
    uint32_t pgnos[MADE_PAGES];
    size_t count = 0;
    bool has_all = true;
    enum ramet_rc rc;

    assert(b->made <= b->located);
    for (size_t i = b->made; i < b->located && count < MADE_PAGES; i++) {
        const struct ramet_located *const located =
            ramet_awaited_located(b->awaited, b->pgnos[i]);

        if (located != NULL && ramet_located_has_delta(located)) {
            if (find_parts(b, b->pgnos[i], located) == kind)
                pgnos[count++] = b->pgnos[i];
            has_all = false;
        }
        if (has_all)
            b->made = i + 1;
    }
    if (count == 0 || b->visit_rc != RAMET_OK)
        return false;
    qsort(pgnos, count, sizeof(*pgnos), ramet_bringing_compare_pgno);
    if (kind == HAS_BLOCK)
        rc = ramet_history_read_pages(b->history, b->at, pgnos, count, false,
                                      give_made, b, b->err);
    else
        rc = ramet_history_read_bases(b->history, b->at, pgnos, count,
                                      make_of_base, b, b->err);
    return rc == RAMET_OK;
}

void
ramet_bringing_make(struct ramet_bringing *b)
{
    b->parts = 0;
    while (make_some(b, HAS_DELTA))
        continue;
    while (make_some(b, HAS_BLOCK))
        continue;
}

void
ramet_bringing_note_part(struct ramet_bringing *b)
{
    assert(b->awaited != NULL);
    if (++b->parts == MADE_AFTER)
        ramet_bringing_make(b);
}

/* Is there a page whose base's frame came, and whose block did not? */
static bool
lacks_block(struct ramet_bringing *b)
{
    for (size_t i = b->made; i < b->located; i++) {
        const struct ramet_located *const located =
            ramet_awaited_located(b->awaited, b->pgnos[i]);

        if (located != NULL && ramet_located_has_delta(located) &&
            ramet_bringing_holds(b, &located->image.extent) &&
            find_parts(b, b->pgnos[i], located) == LACKS_SOME)
            return true;
    }
    return false;
}

void
ramet_bringing_make_rest(struct ramet_bringing *b,
                         const struct ramet_known_asking *asking)
{
    bool is_any = true; /* one that may bring them */

    ramet_bringing_make(b);
    for (unsigned i = 0;
         i < BLOCK_WAITS_MAX && is_any && b->visit_rc == RAMET_OK &&
         lacks_block(b) && !ramet_waiting_is_over();
         i++) {
        is_any = ramet_known_wait(b->held, asking, BLOCK_WAIT_MS);
        /* Also of the last one, which may have ended just before. */
        ramet_bringing_make(b);
    }
}
