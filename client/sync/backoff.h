/*
 * backoff.h - how long to wait after failures: twice as long after each, up to
 * RAMET_BACKOFF_MAX_MS, give or take a quarter.
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_BACKOFF_H
#define RAMET_CLIENT_SYNC_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "core/os.h"

#define RAMET_BACKOFF_MIN_MS 200u
#define RAMET_BACKOFF_MAX_MS 30000u

/* Zeroed: nothing failed. */
struct ramet_backoff {
    uint64_t until_ms; /* 0: none */
    uint64_t delay_ms;
};

/* It failed at `now_ms`; `for_long`: at once the longest. */
void
ramet_backoff_fail(struct ramet_backoff *backoff, const struct ramet_os *os,
                   uint64_t now_ms, bool for_long);
/* How long it is still waited; 0: no more. */
uint64_t
ramet_backoff_left(const struct ramet_backoff *backoff, uint64_t now_ms);

#endif
