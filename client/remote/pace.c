/*
 * pace.c - see pace.h.
 */
#include "client/remote/pace.h"

#include <assert.h>

/* A sample of the rate: shorter ones tell of buffers, not of the link. */
#define SAMPLE_BYTES (32u << 10)
#define SAMPLE_NS 2000000u
#define RATE_MAX (UINT64_C(1) << 40)

void
ramet_pace_init(struct ramet_pace *pace)
{
    *pace = (struct ramet_pace){.delay_ns = 0};
    ramet_mutex_init(&pace->mutex);
}

void
ramet_pace_done(struct ramet_pace *pace)
{
    assert(pace->under_way == 0);
    ramet_mutex_done(&pace->mutex);
}

void
ramet_pace_begin(struct ramet_pace *pace, struct ramet_pace_run *run)
{
    ramet_mutex_lock(&pace->mutex);
    *run = (struct ramet_pace_run){.alone = pace->under_way == 0};
    pace->under_way++;
    assert(pace->under_way > 0 && run->first_ns == 0);
    ramet_mutex_unlock(&pace->mutex);
}

void
ramet_pace_bytes(struct ramet_pace *pace, struct ramet_pace_run *run,
                 size_t bytes, uint64_t now_ns)
{
    ramet_mutex_lock(&pace->mutex);
    assert(pace->under_way > 0);
    pace->moved += bytes;
    if (run->first_ns == 0) { /* that much was there at once */
        run->first_ns = now_ns;
        run->moved_at_first = pace->moved;
    }
    ramet_mutex_unlock(&pace->mutex);
}

/* A quarter of the way to the sample. */
static uint64_t
nearer(uint64_t value, uint64_t sample)
{
    return value == 0 ? sample : value - value / 4 + sample / 4;
}

/* Invariant (3). */
static uint64_t
rate_after(uint64_t rate, uint64_t sample)
{
    return sample >= rate ? nearer(rate, sample)
                          : rate - rate / 16 + sample / 16;
}

void
ramet_pace_end(struct ramet_pace *pace, struct ramet_pace_run *run,
               uint64_t delay_ns, uint64_t now_ns)
{
    uint64_t moved, span_ns;

    ramet_mutex_lock(&pace->mutex);
    assert(pace->under_way > 0);
    pace->under_way--;
    if (delay_ns > 0 && (run->alone || pace->delay_ns == 0 ||
                         delay_ns < pace->delay_ns)) /* invariant (1) */
        pace->delay_ns = nearer(pace->delay_ns, delay_ns);
    moved = pace->moved - run->moved_at_first;
    span_ns = now_ns - run->first_ns;
    assert(run->moved_at_first <= pace->moved);
    if (run->first_ns != 0 && moved >= SAMPLE_BYTES && span_ns >= SAMPLE_NS &&
        moved < RATE_MAX / 1000)
        pace->rate = rate_after(pace->rate, moved * 1000000 / (span_ns / 1000));
    ramet_mutex_unlock(&pace->mutex);
}

size_t
ramet_pace_budget(struct ramet_pace *pace)
{
    uint64_t delay_us, rate, bytes;

    ramet_mutex_lock(&pace->mutex);
    delay_us = pace->delay_ns / 1000;
    rate = pace->rate;
    ramet_mutex_unlock(&pace->mutex);
    if (delay_us == 0 || rate == 0)
        return RAMET_PACE_BUDGET_FIRST;
    if (rate / 1000 > UINT64_MAX / 4 / delay_us)
        return RAMET_PACE_BUDGET_MAX;
    assert(delay_us > 0 && rate > 0);
    bytes = 4 * delay_us * (rate / 1000) / 1000;
    if (bytes < RAMET_PACE_BUDGET_MIN)
        return RAMET_PACE_BUDGET_MIN;
    return bytes < RAMET_PACE_BUDGET_MAX ? (size_t)bytes
                                         : RAMET_PACE_BUDGET_MAX;
}

uint64_t
ramet_pace_delay_ns(struct ramet_pace *pace)
{
    uint64_t delay_ns;

    ramet_mutex_lock(&pace->mutex);
    delay_ns = pace->delay_ns;
    ramet_mutex_unlock(&pace->mutex);
    return delay_ns;
}

uint64_t
ramet_pace_moved(struct ramet_pace *pace)
{
    uint64_t moved;

    ramet_mutex_lock(&pace->mutex);
    moved = pace->moved;
    ramet_mutex_unlock(&pace->mutex);
    return moved;
}
