/*
 * asks.c - see asks.h.
 *
 * The ring is the order in which asks were made. Two places run along it, that
 * of the next urgent ask to take and that of the next other one.
 *
 * Layer: prefetch.
 */
#include "prefetch/asks.h"

#include <assert.h>

#include "core/alloc.h"

#define WASTE_OVER 128u /* pages over which waste is told */

struct ramet_ask {
    struct ramet_run *run;
    uint64_t place;
    uint32_t epoch; /* of the run */
    uint32_t pgno;  /* 0: none */
    enum ramet_ask_state state;
    bool is_urgent;
    bool is_waited_for; /* by a reader: nothing ahead */
};

bool
ramet_asks_init(struct ramet_asks *asks, uint32_t max)
{
    assert(max > 0 && (max & (max - 1)) == 0);
    *asks = (struct ramet_asks){.max = max};
    asks->ring = ramet_calloc(max, sizeof(*asks->ring));
    return asks->ring != NULL;
}

void
ramet_asks_done(struct ramet_asks *asks)
{
    ramet_pagemap_done(&asks->slot_of);
    ramet_free(asks->ring);
}

void
ramet_asks_reserve(struct ramet_asks *asks, uint32_t max)
{
    const uint32_t before = asks->max;
    uint32_t after = before;
    struct ramet_ask *ring;

    assert(before > 0 && (before & (before - 1)) == 0);
    assert(max <= UINT32_MAX / 2 + 1); /* doubling gets there */
    while (after < max)
        after *= 2;
    if (after == before)
        return;
    ring = ramet_calloc(after, sizeof(*ring));
    if (ring == NULL)
        return;
    ramet_pagemap_clear(&asks->slot_of);
    for (uint32_t i = 0; i < before; i++) {
        const struct ramet_ask *const ask = &asks->ring[i];
        const uint32_t slot = (uint32_t)(ask->place & (after - 1));
        /* Places less than a round apart have slots of their own. */
        assert(ask->pgno == 0 || ring[slot].pgno == 0);

        /* There is room: the map was as full before. */
        if (ask->pgno != 0 &&
            ramet_pagemap_put(&asks->slot_of, ask->pgno, slot))
            ring[slot] = *ask;
    }
    ramet_free(asks->ring);
    asks->ring = ring;
    asks->max = after;
}

static struct ramet_ask *
find(const struct ramet_asks *asks, uint32_t pgno)
{
    uint32_t slot;

    assert(asks->ring != NULL);
    return ramet_pagemap_get(&asks->slot_of, pgno, &slot) ? &asks->ring[slot]
                                                          : NULL;
}

enum ramet_ask_state
ramet_asks_state(const struct ramet_asks *asks, uint32_t pgno)
{
    const struct ramet_ask *const ask = find(asks, pgno);

    return ask == NULL ? RAMET_ASK_NONE : ask->state;
}

/* The run that still counts it, or NULL. */
static struct ramet_run *
run_of(const struct ramet_ask *ask)
{
    assert(ask->run == NULL || ask->epoch <= ask->run->epoch);
    return ask->run != NULL && ask->run->epoch == ask->epoch ? ask->run : NULL;
}

static bool
is_taken(const struct ramet_ask *ask)
{
    assert(ask->pgno != 0 && ask->state != RAMET_ASK_NONE);
    return ask->state == RAMET_ASK_UNDER_WAY || ask->state == RAMET_ASK_ARRIVED;
}

/* It is not ahead of its reader any more. */
static void
leave_run(struct ramet_asks *asks, struct ramet_ask *ask)
{
    struct ramet_run *const run = run_of(ask);

    if (run != NULL) {
        assert(run->ahead > 0);
        run->ahead--;
        if (is_taken(ask)) {
            assert(run->taken > 0 && asks->live > 0);
            run->taken--;
            asks->live--;
        }
    }
    ask->run = NULL;
}

static void
drop(struct ramet_asks *asks, struct ramet_ask *ask)
{
    assert(ask->pgno != 0);
    leave_run(asks, ask);
    if (ask->state == RAMET_ASK_UNDER_WAY)
        asks->under_way--;
    else if (ask->state == RAMET_ASK_QUEUED)
        asks->queued--;
    ramet_pagemap_erase(&asks->slot_of, ask->pgno);
    ask->pgno = 0;
    ask->state = RAMET_ASK_NONE;
}

/* A new ask, or NULL on no memory. */
static struct ramet_ask *
insert(struct ramet_asks *asks, uint32_t pgno, enum ramet_ask_state state)
{
    const uint64_t place = asks->next;
    const uint32_t slot = (uint32_t)(place & (asks->max - 1));
    struct ramet_ask *const ask = &asks->ring[slot];

    assert(find(asks, pgno) == NULL);
    assert(pgno != 0);
    assert(state == RAMET_ASK_QUEUED || state == RAMET_ASK_UNDER_WAY);
    if (ask->pgno != 0)
        drop(asks, ask);
    if (!ramet_pagemap_put(&asks->slot_of, pgno, slot))
        return NULL;
    *ask = (struct ramet_ask){.place = place, .pgno = pgno, .state = state};
    asks->next++;
    if (state == RAMET_ASK_UNDER_WAY)
        asks->under_way++;
    else
        asks->queued++;
    assert(asks->queued + asks->under_way <= asks->max); /* invariant (3) */
    return ask;
}

static void
join_run(struct ramet_ask *ask, struct ramet_run *run)
{
    assert(ask->pgno != 0 && ask->run == NULL);
    ask->run = run;
    ask->epoch = run->epoch;
    run->ahead++;
}

void
ramet_asks_add(struct ramet_asks *asks, uint32_t pgno, struct ramet_run *run,
               bool is_urgent)
{
    struct ramet_ask *const ask = insert(asks, pgno, RAMET_ASK_QUEUED);

    assert(run != NULL);
    if (ask == NULL)
        return;
    ask->is_urgent = is_urgent;
    join_run(ask, run);
}

void
ramet_asks_adopt(struct ramet_asks *asks, uint32_t pgno, struct ramet_run *run)
{
    struct ramet_ask *const ask = find(asks, pgno);

    assert(run != NULL && run->taken <= run->ahead); /* invariant (2) */
    if (ask == NULL || ask->is_waited_for || run_of(ask) == run)
        return;
    leave_run(asks, ask);
    join_run(ask, run);
    if (is_taken(ask)) {
        run->taken++;
        asks->live++;
    }
}

/* Its page is read. */
static void
use(struct ramet_asks *asks, struct ramet_ask *ask)
{
    struct ramet_run *const run = run_of(ask);

    assert(ask->pgno != 0);
    if (is_taken(ask) && !ask->is_waited_for) {
        asks->used++;
        if (run != NULL)
            run->used++;
    }
    leave_run(asks, ask);
}

struct ramet_run *
ramet_asks_wanted(struct ramet_asks *asks, uint32_t pgno, bool is_here)
{
    struct ramet_ask *ask = find(asks, pgno);
    struct ramet_run *const run = ask != NULL ? ask->run : NULL;

    if (ask != NULL) {
        use(asks, ask);
        if (ask->state != RAMET_ASK_UNDER_WAY || is_here) {
            drop(asks, ask);
            ask = NULL;
        }
    }
    if (ask == NULL && !is_here)
        ask = insert(asks, pgno, RAMET_ASK_UNDER_WAY);
    if (ask != NULL)
        ask->is_waited_for = true;
    return run;
}

void
ramet_asks_landed(struct ramet_asks *asks, uint32_t pgno, bool is_lost)
{
    struct ramet_ask *const ask = find(asks, pgno);

    if (ask == NULL || ask->state != RAMET_ASK_UNDER_WAY)
        return;
    if (is_lost && !ask->is_waited_for)
        asks->asked--;
    if (is_lost || ask->is_waited_for) {
        drop(asks, ask);
        return;
    }
    assert(asks->under_way > 0 && is_taken(ask));
    ask->state = RAMET_ASK_ARRIVED;
    asks->under_way--;
}

void
ramet_asks_end_run(struct ramet_asks *asks, struct ramet_run *run)
{
    const uint32_t all = run->taken + run->used;

    assert(run->taken <= run->ahead && run->taken <= asks->live);
    asks->live -= run->taken;
    if (all > 0)
        asks->waste += ((double)run->taken / all - asks->waste) *
                       (all < WASTE_OVER ? (double)all / WASTE_OVER : 1);
    assert(asks->waste >= 0 && asks->waste <= 1);
    *run = (struct ramet_run){.epoch = run->epoch + 1};
}

void
ramet_asks_forget(struct ramet_asks *asks)
{
    for (uint32_t i = 0; i < asks->max; i++)
        if (asks->ring[i].pgno != 0)
            drop(asks, &asks->ring[i]);
    assert(asks->under_way == 0 && asks->queued == 0);
}

/* The next queued ask of this kind from `*at` on, whose run goes on. */
static struct ramet_ask *
next_of(struct ramet_asks *asks, uint64_t *at, bool is_urgent)
{
    assert(*at <= asks->next);
    if (asks->next - *at > asks->max)
        *at = asks->next - asks->max;
    for (; *at < asks->next; (*at)++) {
        struct ramet_ask *const ask = &asks->ring[*at & (asks->max - 1)];

        if (ask->pgno == 0 || ask->place != *at ||
            ask->state != RAMET_ASK_QUEUED || ask->is_urgent != is_urgent)
            continue;
        if (run_of(ask) != NULL)
            return ask;
        drop(asks, ask);
    }
    return NULL;
}

uint32_t
ramet_asks_take(struct ramet_asks *asks)
{
    struct ramet_ask *ask = next_of(asks, &asks->urgent_at, true);

    if (ask == NULL)
        ask = next_of(asks, &asks->queued_at, false);
    if (ask == NULL)
        return 0;
    assert(ask->state == RAMET_ASK_QUEUED && asks->queued > 0);
    assert(run_of(ask) != NULL);
    ask->state = RAMET_ASK_UNDER_WAY;
    ask->run->taken++;
    asks->queued--;
    asks->under_way++;
    asks->asked++;
    asks->live++;
    return ask->pgno;
}
