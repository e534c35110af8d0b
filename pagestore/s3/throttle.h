/*
 * throttle.h - how hard a bucket is pressed, shared by all requests of the
 * process to it.
 *
 * A store that says 503 SlowDown means everybody, so what one request is told
 * holds for all:
 *
 *   (1) nothing is begun before the time that it named, or a pause that doubles
 *       with each time it says so in a row
 *   (2) the number in flight is halved, of 32 where it was less, and grows by four
 *       for each full window of answers, as TCP's does by one
 *
 * And the pauses before a try is repeated: "decorrelated jitter", a random time
 * from the base to three times the last one, so that clients who failed together
 * don't come back together.
 *
 * Pure but for the mutex of who calls it: times are passed in.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_THROTTLE_H
#define RAMET_PAGESTORE_S3_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define RAMET_S3_WINDOW_MAX 256u

struct ramet_s3_throttle {
    unsigned in_flight;
    unsigned window_milli; /* how many may be, in thousandths; 0: not begun */
    uint64_t paused_until_ms;
    unsigned in_a_row; /* of SlowDown */
};

/* May one more begin now? It counts as begun if so. */
bool ramet_s3_throttle_begin(struct ramet_s3_throttle *t, uint64_t now_ms);
/* When asking again makes sense: 0: not before one has ended. */
uint64_t
ramet_s3_throttle_wait_ms(const struct ramet_s3_throttle *t, uint64_t now_ms);
/* It ended; `told_to_slow`: by 503 or 429, with a Retry-After (0: none). */
void ramet_s3_throttle_end(struct ramet_s3_throttle *t, uint64_t now_ms,
                           bool told_to_slow, uint64_t retry_after_ms);
/* Is the store short of breath? Then nothing is asked twice. */
bool
ramet_s3_throttle_is_on(const struct ramet_s3_throttle *t, uint64_t now_ms);

/* The pause before the next try; `last_ms` was the one before (0: none). */
uint64_t ramet_s3_jitter_ms(uint64_t last_ms, uint16_t random);

#endif
