/*
 * patience.c - see core/patience.h.
 */
#include "core/patience.h"

#include <assert.h>

void
ramet_patience_begin(struct ramet_patience *patience, uint64_t window_ms,
                     uint64_t now_ms, uint64_t moved_bytes)
{
    assert(window_ms > 0);
    *patience = (struct ramet_patience){
        .window_ms = window_ms, .began_ms = now_ms, .moved = moved_bytes};
}

bool
ramet_patience_is_lost(struct ramet_patience *patience, uint64_t now_ms,
                       uint64_t moved_bytes)
{
    const uint64_t span_ms = now_ms - patience->began_ms;
    const uint64_t moved = moved_bytes - patience->moved;

    if (span_ms < patience->window_ms)
        return false;
    if (moved < RAMET_RATE_MIN * span_ms / 1000)
        return true;
    patience->began_ms = now_ms;
    patience->moved = moved_bytes;
    return false;
}

uint64_t
ramet_patience_total_ms(uint64_t window_ms, uint64_t bytes)
{
    return 3 * window_ms + bytes * 1000 / RAMET_RATE_MIN;
}
