/*
 * http_made.c - see http_made.h, and http_bring.h, (3).
 */
#include "client/remote/http_made.h"

#include <assert.h>
#include <stdlib.h>

#include "core/waiting.h"

/* Ranges of pages with deltas that came, until these are made: so many share the reading
 * of their blocks. */
#define MADE_AFTER 48u
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

/* Some of those of which both parts are here, so that who waits for them need not wait
 * for the end. False: there were none; or they can't be made, and are left to who
 * reads them from the store. */
static bool
make_some(struct ramet_bringing *b)
{
    uint32_t pgnos[MADE_PAGES];
    size_t count = 0;
    bool has_all = true;

    assert(b->made <= b->located);
    for (size_t i = b->made; i < b->located && count < MADE_PAGES; i++) {
        const struct ramet_located *const located =
            ramet_awaited_located(b->awaited, b->pgnos[i]);

        if (located != NULL && ramet_located_has_delta(located)) {
            if (ramet_bringing_holds(b, &located->image.extent) &&
                ramet_bringing_holds(b, &located->block.extent))
                pgnos[count++] = b->pgnos[i];
            else
                has_all = false;
        }
        if (has_all)
            b->made = i + 1;
    }
    if (count == 0 || b->visit_rc != RAMET_OK)
        return false;
    qsort(pgnos, count, sizeof(*pgnos), ramet_bringing_compare_pgno);
    return ramet_history_read_pages(b->history, b->at, pgnos, count, false,
                                    give_made, b, b->err) == RAMET_OK;
}

void
ramet_bringing_make(struct ramet_bringing *b)
{
    b->parts = 0;
    while (make_some(b))
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
lacks_block(const struct ramet_bringing *b)
{
    for (size_t i = b->made; i < b->located; i++) {
        const struct ramet_located *const located =
            ramet_awaited_located(b->awaited, b->pgnos[i]);

        if (located != NULL && ramet_located_has_delta(located) &&
            ramet_bringing_holds(b, &located->image.extent) &&
            !ramet_bringing_holds(b, &located->block.extent))
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
