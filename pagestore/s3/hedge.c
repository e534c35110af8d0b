/*
 * hedge.c - see hedge.h.
 */
#include "pagestore/s3/hedge.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_MS 20u /* a scheduler's hiccup is no slow store */

void
ramet_s3_hedge_note(struct ramet_s3_hedge *h, uint64_t duration_ms)
{
    assert(h->hedges <= h->reads);
    h->samples_ms[h->reads++ % RAMET_S3_HEDGE_SAMPLES] =
        duration_ms < UINT32_MAX ? (uint32_t)duration_ms : UINT32_MAX;
}

static int
compare(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    assert(a != NULL && b != NULL);
    return (x > y) - (x < y);
}

uint64_t
ramet_s3_hedge_after_ms(const struct ramet_s3_hedge *h)
{
    uint32_t sorted[RAMET_S3_HEDGE_SAMPLES];
    uint64_t usual;

    assert(h->hedges <= h->reads);
    if (h->reads < RAMET_S3_HEDGE_SAMPLES ||
        (h->hedges + 1) * RAMET_S3_HEDGE_ONE_IN > h->reads)
        return UINT64_MAX;
    memcpy(sorted, h->samples_ms, sizeof(sorted));
    qsort(sorted, RAMET_S3_HEDGE_SAMPLES, sizeof(sorted[0]), compare);
    usual = 2 * (uint64_t)sorted[RAMET_S3_HEDGE_SAMPLES * 19 / 20];
    return usual > LEAST_MS ? usual : LEAST_MS;
}

void
ramet_s3_hedge_spend(struct ramet_s3_hedge *h)
{
    assert(h->reads >= RAMET_S3_HEDGE_SAMPLES); /* invariant (1) */
    h->hedges++;
}
