/*
 * hedge.h - when a small read is asked for a second time because the first
 * request takes longer than nearly all before it.
 *
 *   (1) only once enough reads have shown what is usual
 *   (2) only after the time within which 19 of 20 came, doubled
 *   (3) at most one read in RAMET_S3_HEDGE_ONE_IN
 *
 * Pure: the mutex is the caller's.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_HEDGE_H
#define RAMET_PAGESTORE_S3_HEDGE_H

#include <stdbool.h>
#include <stdint.h>

#define RAMET_S3_HEDGE_SAMPLES 64u
#define RAMET_S3_HEDGE_ONE_IN 33u

struct ramet_s3_hedge {
    uint32_t samples_ms[RAMET_S3_HEDGE_SAMPLES]; /* the last ones, as a ring */
    uint64_t reads, hedges;
};

void ramet_s3_hedge_note(struct ramet_s3_hedge *h, uint64_t duration_ms);
/* After how long a read now is asked for again; UINT64_MAX: not at all. */
uint64_t ramet_s3_hedge_after_ms(const struct ramet_s3_hedge *h);
/* One was. */
void ramet_s3_hedge_spend(struct ramet_s3_hedge *h);

#endif
