/*
 * throttle.c - see throttle.h.
 */
#include "pagestore/s3/throttle.h"

#include <assert.h>

#define PAUSE_MS 100u
#define PAUSE_MAX_MS 20000u
#define JITTER_BASE_MS 50u
#define JITTER_MAX_MS 5000u
/* Fewer in flight say little of what the store can bear. */
#define PRESSED_LEAST 32u
#define GROWTH_MILLI 4000u /* for a window of answers */

static unsigned
window(const struct ramet_s3_throttle *t)
{
    const unsigned milli =
        t->window_milli == 0 ? RAMET_S3_WINDOW_MAX * 1000u : t->window_milli;

    assert(milli >= 1000u &&
           milli <= RAMET_S3_WINDOW_MAX * 1000u); /* invariant (2) */
    return milli / 1000u;
}

bool
ramet_s3_throttle_begin(struct ramet_s3_throttle *t, uint64_t now_ms)
{
    if (now_ms < t->paused_until_ms || t->in_flight >= window(t))
        return false;
    t->in_flight++;
    assert(t->in_flight <= RAMET_S3_WINDOW_MAX); /* invariant (2) */
    return true;
}

uint64_t
ramet_s3_throttle_wait_ms(const struct ramet_s3_throttle *t, uint64_t now_ms)
{
    assert(t->window_milli < RAMET_S3_WINDOW_MAX * 1000u); /* 0: all of it */
    return now_ms < t->paused_until_ms ? t->paused_until_ms - now_ms : 0;
}

/* Half of what was in flight: a wide window that was not used is no measure. */
static unsigned
half_window(const struct ramet_s3_throttle *t)
{
    const unsigned all = window(t);
    unsigned pressed = t->in_flight + 1; /* with the one that was told */

    if (pressed < PRESSED_LEAST)
        pressed = PRESSED_LEAST;
    if (pressed > all)
        pressed = all;
    assert(pressed >= 1);
    return pressed > 1 ? pressed / 2 : 1;
}

/* Invariant (1) and the first half of (2). */
static void
slow_down(struct ramet_s3_throttle *t, uint64_t now_ms, uint64_t retry_after_ms)
{
    uint64_t pause_ms = 0;

    /* Those that were in flight together were told the same thing once. */
    if (now_ms >= t->paused_until_ms) {
        pause_ms = (uint64_t)PAUSE_MS << (t->in_a_row < 8 ? t->in_a_row : 8);
        t->window_milli = half_window(t) * 1000u;
        t->in_a_row++;
    }
    if (retry_after_ms > pause_ms)
        pause_ms = retry_after_ms;
    if (pause_ms > PAUSE_MAX_MS)
        pause_ms = PAUSE_MAX_MS;
    assert(pause_ms <= PAUSE_MAX_MS);
    if (now_ms + pause_ms > t->paused_until_ms)
        t->paused_until_ms = now_ms + pause_ms;
}

void
ramet_s3_throttle_end(struct ramet_s3_throttle *t, uint64_t now_ms,
                      bool told_to_slow, uint64_t retry_after_ms)
{
    assert(t->in_flight > 0);
    t->in_flight--;
    if (told_to_slow) {
        slow_down(t, now_ms, retry_after_ms);
        return;
    }
    if (now_ms >= t->paused_until_ms)
        t->in_a_row = 0;
    if (t->window_milli == 0)
        return;
    t->window_milli += GROWTH_MILLI / window(t);
    if (t->window_milli >= RAMET_S3_WINDOW_MAX * 1000u)
        t->window_milli = 0;
}

bool
ramet_s3_throttle_is_on(const struct ramet_s3_throttle *t, uint64_t now_ms)
{
    assert(t->window_milli < RAMET_S3_WINDOW_MAX * 1000u); /* 0: all of it */
    return t->window_milli != 0 || now_ms < t->paused_until_ms;
}

uint64_t
ramet_s3_jitter_ms(uint64_t last_ms, uint16_t random)
{
    const uint64_t least = JITTER_BASE_MS;
    const uint64_t most = last_ms == 0 ? 3 * least : 3 * last_ms;
    const uint64_t pause = least + (most - least) * random / UINT16_MAX;

    assert(pause >= least && pause <= (most > least ? most : least));
    return pause < JITTER_MAX_MS ? pause : JITTER_MAX_MS;
}
