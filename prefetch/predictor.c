/*
 * predictor.c - what all rules of a predictor ask by.
 *
 * Layer: prefetch.
 */
#include "prefetch/predictor.h"

#include <assert.h>

#define SCAN_WINDOW_MIN 6u
#define SCAN_LONG_FROM 32u /* pages */
#define RANGE_LONG_FROM 128u
#define RANGE_LONGER_FROM 256u
#define SCAN_BUDGETS 4u
#define WASTE_MUCH .5
#define WASTE_MOST .75

bool
ramet_predictor_lacks(struct ramet_prefetch *p, uint32_t pgno)
{
    const struct ramet_prefetch_view *const view = &p->forest.view;

    assert(view->is_here != NULL);
    return pgno != 0 && pgno <= p->forest.page_count &&
           ramet_asks_state(&p->asks, pgno) == RAMET_ASK_NONE &&
           !view->is_here(view->ctx, pgno);
}

bool
ramet_predictor_ask(struct ramet_prefetch *p, uint32_t pgno,
                    struct ramet_run *run, bool is_urgent)
{
    assert(run != NULL);
    switch (ramet_asks_state(&p->asks, pgno)) {
    case RAMET_ASK_NONE:
        if (!ramet_predictor_lacks(p, pgno))
            return false;
        ramet_asks_add(&p->asks, pgno, run, is_urgent);
        return true;
    case RAMET_ASK_QUEUED:
    case RAMET_ASK_UNDER_WAY:
        ramet_asks_adopt(&p->asks, pgno, run);
        return true;
    case RAMET_ASK_ARRIVED:
        break;
    }
    return false;
}

uint32_t
ramet_predictor_window(const struct ramet_prefetch *p, uint64_t window,
                       uint32_t least, uint32_t most)
{
    assert(least <= most);
    if (p->asks.waste > WASTE_MOST)
        window /= 4;
    else if (p->asks.waste > WASTE_MUCH)
        window /= 2;
    if (window < least)
        window = least;
    return window < most ? (uint32_t)window : most;
}

/* What was read tells how much there is to come. Who began at an end of the tree is
 * likely to read all of it: as much again, and three times that once several windows
 * were read. A range may end anywhere: two fifths until it is long, then as much again at
 * first, and twice that. */
static uint64_t
scan_window(uint32_t length, bool is_range)
{
    if (is_range && length < RANGE_LONG_FROM)
        return (uint64_t)length * 2 / 5 + SCAN_WINDOW_MIN;
    if (length < (is_range ? RANGE_LONGER_FROM : SCAN_LONG_FROM))
        return length;
    return (is_range ? 2 : 3) * (uint64_t)length;
}

/* Several answers come side by side, and what came in one is not read before what
 * stands ahead of it in another: so twice the budget may lie here while twice the
 * budget is under way, but past one budget only half of what was read. */
uint32_t
ramet_predictor_scan_window(const struct ramet_prefetch *p, uint32_t length,
                            bool is_range)
{
    const uint32_t most = ramet_predictor_window(p, length / 2, p->budget,
                                                 SCAN_BUDGETS * p->budget);

    assert(p->room >= SCAN_WINDOW_MIN && p->budget >= SCAN_WINDOW_MIN);
    return ramet_predictor_window(p, scan_window(length, is_range),
                                  SCAN_WINDOW_MIN,
                                  most < p->room ? most : p->room);
}
