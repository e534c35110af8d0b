/*
 * predictor.c - what all rules of a predictor ask by.
 *
 * Layer: prefetch.
 */
#include "prefetch/predictor.h"

#define WASTE_MUCH .5
#define WASTE_MOST .75

bool
ramet_predictor_lacks(struct ramet_prefetch *p, uint32_t pgno)
{
    const struct ramet_prefetch_view *const view = &p->forest.view;

    return pgno != 0 && pgno <= p->forest.page_count &&
           ramet_asks_state(&p->asks, pgno) == RAMET_ASK_NONE &&
           !view->is_here(view->ctx, pgno);
}

bool
ramet_predictor_ask(struct ramet_prefetch *p, uint32_t pgno,
                    struct ramet_run *run, bool is_urgent)
{
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
                       uint32_t least)
{
    if (p->asks.waste > WASTE_MOST)
        window /= 4;
    else if (p->asks.waste > WASTE_MUCH)
        window /= 2;
    if (window < least)
        window = least;
    return window < p->budget ? (uint32_t)window : p->budget;
}
