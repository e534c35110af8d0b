/*
 * pacer.c - see pacer.h.
 *
 * Layer: client.
 */
#include "client/sync/pacer.h"

#include <assert.h>

#define SHARE 4u                                       /* rule (1) */
#define DEFER_PUSHES 10u                               /* rule (3) */
#define DEFER_BYTES_PER_MS (RAMET_PACER_REGAIN / 1000) /* rule (3) */
#define PAUSE 3u /* times what lay between the last commits */

void
ramet_pacer_init(struct ramet_pacer *pacer, uint64_t interval_ms)
{
    *pacer = (struct ramet_pacer){.interval_ms = interval_ms,
                                  .allowance = RAMET_PACER_ALLOWANCE};
    ramet_pageset_init(&pacer->pushed);
}

void
ramet_pacer_done(struct ramet_pacer *pacer)
{
    ramet_pageset_done(&pacer->pushed);
}

static uint64_t
later_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t
pause_ms(const struct ramet_pacer *pacer)
{
    return later_of(RAMET_PACER_QUIET_MS, PAUSE * pacer->between_ms);
}

/* What lies between commits: the longest of late, which fades as quicker ones
 * come. What comes after a longer time begins anew. */
static void
note_distance(struct ramet_pacer *pacer, uint64_t now_ms)
{
    const uint64_t passed_ms = now_ms - pacer->last_commit_ms;
    const uint64_t faded_ms = pacer->between_ms * 7 / 8;

    if (passed_ms * PAUSE > RAMET_PACER_QUIET_MAX_MS)
        pacer->between_ms = 0;
    else
        pacer->between_ms = later_of(passed_ms, faded_ms);
    assert(pause_ms(pacer) <= RAMET_PACER_QUIET_MAX_MS);
}

void
ramet_pacer_commit(struct ramet_pacer *pacer, uint64_t now_ms)
{
    assert(now_ms > 0);
    note_distance(pacer, now_ms);
    /* The burst before this commit is over if it was quiet since. */
    if (pacer->dirty_since_ms == 0 &&
        now_ms - pacer->last_commit_ms >= pause_ms(pacer)) {
        ramet_pageset_clear(&pacer->pushed);
        pacer->last_end_ms = 0;
        pacer->last_took_ms = 0;
    }
    if (pacer->dirty_since_ms == 0)
        pacer->dirty_since_ms = now_ms;
    pacer->last_commit_ms = now_ms;
}

static void
regain(struct ramet_pacer *pacer, uint64_t now_ms)
{
    const uint64_t passed_ms = now_ms - pacer->regained_ms;

    assert(pacer->allowance <= RAMET_PACER_ALLOWANCE); /* rule (2) */
    if (passed_ms >= 1000u * RAMET_PACER_ALLOWANCE / RAMET_PACER_REGAIN)
        pacer->allowance = RAMET_PACER_ALLOWANCE;
    else
        pacer->allowance += passed_ms * RAMET_PACER_REGAIN / 1000;
    if (pacer->allowance > RAMET_PACER_ALLOWANCE)
        pacer->allowance = RAMET_PACER_ALLOWANCE;
    pacer->regained_ms = now_ms;
}

/* Pages that are in both. */
static uint64_t
count_common(const struct ramet_pageset *a, const struct ramet_pageset *b)
{
    uint64_t common = 0;
    size_t i = 0;
    size_t j = 0;

    while (i < a->run_count && j < b->run_count) {
        const struct ramet_run x = a->runs[i];
        const struct ramet_run y = b->runs[j];
        const uint32_t first = x.first > y.first ? x.first : y.first;
        const uint32_t last = x.last < y.last ? x.last : y.last;

        if (first <= last)
            common += (uint64_t)last - first + 1;
        if (x.last < y.last)
            i++;
        else
            j++;
    }
    return common;
}

static uint64_t
sooner_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When rule (2) lets it go at the latest, where it sends `again` bytes once
 * more: rule (3). */
static uint64_t
give_up_ms(const struct ramet_pacer *pacer, uint64_t again)
{
    const uint64_t quiet_ms = later_of(pause_ms(pacer), pacer->interval_ms);
    const uint64_t paused =
        pacer->is_writing ? UINT64_MAX : pacer->last_commit_ms + quiet_ms;
    const uint64_t deferred =
        pacer->dirty_since_ms + RAMET_PACER_DEFER_MS +
        DEFER_PUSHES * pacer->last_took_ms +
        sooner_of(again / DEFER_BYTES_PER_MS, RAMET_PACER_DEFER_MAX_MS);

    assert(pacer->dirty_since_ms > 0);
    return sooner_of(paused, deferred);
}

uint64_t
ramet_pacer_due(struct ramet_pacer *pacer, uint64_t now_ms,
                const struct ramet_pageset *pending)
{
    uint64_t due_ms;
    uint64_t again;

    assert(now_ms > 0);
    if (pacer->dirty_since_ms == 0)
        return UINT64_MAX;
    due_ms = pacer->dirty_since_ms + pacer->interval_ms;
    if (pacer->last_end_ms > 0 && pacer->interval_ms > 0)
        due_ms =
            later_of(due_ms, pacer->last_end_ms + SHARE * pacer->last_took_ms);
    if (now_ms < due_ms)
        return due_ms - now_ms;
    if (pending == NULL)
        return 0;
    regain(pacer, now_ms);
    again = count_common(pending, &pacer->pushed) * pacer->bytes_per_page;
    if (again <= pacer->allowance)
        return 0;
    due_ms = give_up_ms(pacer, again);
    if (now_ms >= due_ms)
        return 0;
    /* The allowance grows meanwhile, so look again before that. */
    return due_ms - now_ms < pacer->interval_ms
               ? due_ms - now_ms
               : later_of(pacer->interval_ms, 1);
}

void
ramet_pacer_pushed(struct ramet_pacer *pacer, uint64_t began_ms,
                   uint64_t now_ms, const struct ramet_pageset *pages,
                   uint64_t bytes, bool more)
{
    const uint64_t count = ramet_pageset_count(pages);
    uint64_t again;

    assert(began_ms <= now_ms);
    if (count > 0)
        pacer->bytes_per_page = bytes / count;
    regain(pacer, now_ms);
    again = count_common(pages, &pacer->pushed) * pacer->bytes_per_page;
    pacer->allowance -= again < pacer->allowance ? again : pacer->allowance;
    /* Without memory, or past the bound, the pages count as never pushed. */
    if (ramet_pageset_add_set(&pacer->pushed, pages) != RAMET_OK ||
        pacer->pushed.run_count > RAMET_PACER_RUNS_MAX)
        ramet_pageset_clear(&pacer->pushed);
    pacer->last_end_ms = now_ms;
    pacer->last_took_ms = now_ms - began_ms;
    pacer->dirty_since_ms = more ? later_of(pacer->last_commit_ms, 1) : 0;
    if (pacer->dirty_since_ms > now_ms)
        pacer->dirty_since_ms = now_ms;
}
