/*
 * backoff.c - see backoff.h.
 */
#include "client/sync/backoff.h"

#include <assert.h>

void
ramet_backoff_fail(struct ramet_backoff *backoff, const struct ramet_os *os,
                   uint64_t now_ms, bool for_long)
{
    uint16_t random = 0;

    assert(backoff->delay_ms <= RAMET_BACKOFF_MAX_MS);
    backoff->delay_ms =
        backoff->delay_ms == 0 ? RAMET_BACKOFF_MIN_MS : backoff->delay_ms * 2;
    if (backoff->delay_ms > RAMET_BACKOFF_MAX_MS || for_long)
        backoff->delay_ms = RAMET_BACKOFF_MAX_MS;
    if (os->random(os->ctx, &random, sizeof(random)) < 0)
        random = UINT16_MAX / 2;
    /* 3/4 to 5/4 of it: replicas that lost a remote together don't come back
     * together. */
    backoff->until_ms = now_ms + backoff->delay_ms * 3 / 4 +
                        backoff->delay_ms / 2 * random / UINT16_MAX;
    assert(backoff->until_ms > now_ms);
}

uint64_t
ramet_backoff_left(const struct ramet_backoff *backoff, uint64_t now_ms)
{
    return backoff->until_ms > now_ms ? backoff->until_ms - now_ms : 0;
}
