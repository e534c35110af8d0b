/*
 * http_budget.c - see http_budget.h for the contract.
 */
#include "server/http_budget.h"

#include <assert.h>
#include <string.h>

#define SHARE 4u /* of what it leaves free a client may hold so many times */

void
ramet_budget_init(struct ramet_budget *budget, size_t total)
{
    memset(budget, 0, sizeof(*budget));
    budget->total = total;
    ramet_mutex_init(&budget->lock);
}

void
ramet_budget_done(struct ramet_budget *budget)
{
    assert(budget->held[RAMET_HOLD_LONG] == 0 &&
           budget->held[RAMET_HOLD_SHORT] == 0);
    ramet_mutex_done(&budget->lock);
}

static size_t
limit_of(const struct ramet_budget *budget, enum ramet_holding kind)
{
    const size_t short_part = budget->total / 8;

    assert(kind == RAMET_HOLD_SHORT || kind == RAMET_HOLD_LONG);
    return kind == RAMET_HOLD_SHORT ? short_part : budget->total - short_part;
}

/* With the lock held. */
static bool
fits(const struct ramet_budget *budget, enum ramet_holding kind,
     const size_t *of_client, size_t bytes)
{
    const size_t limit = limit_of(budget, kind);
    const size_t held = budget->held[kind];

    assert(*of_client <= held);
    if (bytes > limit || held > limit - bytes)
        return false;
    return (*of_client + bytes) / SHARE <= limit - held - bytes;
}

bool
ramet_budget_hold(struct ramet_budget *budget, enum ramet_holding kind,
                  uint32_t client, size_t bytes)
{
    size_t *of_client = &budget->of_client[kind][client % RAMET_BUDGET_CLIENTS];
    bool ok;

    ramet_mutex_lock(&budget->lock);
    ok = fits(budget, kind, of_client, bytes);
    if (ok) {
        budget->held[kind] += bytes;
        assert(budget->held[kind] <= limit_of(budget, kind));
        *of_client += bytes;
    }
    ramet_mutex_unlock(&budget->lock);
    return ok;
}

void
ramet_budget_let_go(struct ramet_budget *budget, enum ramet_holding kind,
                    uint32_t client, size_t bytes)
{
    size_t *of_client = &budget->of_client[kind][client % RAMET_BUDGET_CLIENTS];

    if (bytes == 0)
        return;
    ramet_mutex_lock(&budget->lock);
    assert(budget->held[kind] >= bytes && *of_client >= bytes);
    budget->held[kind] -= bytes;
    *of_client -= bytes;
    ramet_mutex_unlock(&budget->lock);
}

size_t
ramet_budget_held(struct ramet_budget *budget)
{
    size_t held;

    ramet_mutex_lock(&budget->lock);
    held = budget->held[RAMET_HOLD_LONG] + budget->held[RAMET_HOLD_SHORT];
    ramet_mutex_unlock(&budget->lock);
    return held;
}

bool
ramet_budget_is_crowded(struct ramet_budget *budget)
{
    const size_t limit = limit_of(budget, RAMET_HOLD_LONG);
    size_t held;

    ramet_mutex_lock(&budget->lock);
    held = budget->held[RAMET_HOLD_LONG];
    ramet_mutex_unlock(&budget->lock);
    return held > limit / 2;
}
