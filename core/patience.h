/*
 * core/patience.h - for how long a transfer is waited for.
 *
 * A server decides when a transfer ends, unless the client does. It ends one
 *
 *   (1) in which less than RAMET_RATE_MIN moved, averaged over a window
 *       that is as long as a silence may be; so silence ends it as well
 *   (2) that takes longer than its bytes would at that rate, and three windows
 *
 * Both are docs/protocol.md, "A client's patience".
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_PATIENCE_H
#define RAMET_CORE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#define RAMET_RATE_MIN 1024u /* bytes a second */

struct ramet_patience {
    uint64_t window_ms;
    uint64_t began_ms; /* of this window */
    uint64_t moved;    /* when it began */
};

void ramet_patience_begin(struct ramet_patience *patience, uint64_t window_ms,
                          uint64_t now_ms, uint64_t moved_bytes);
/* Invariant (1); `moved_bytes` in all so far, in either direction. */
bool ramet_patience_is_lost(struct ramet_patience *patience, uint64_t now_ms,
                            uint64_t moved_bytes);
/* Invariant (2), in milliseconds. */
uint64_t ramet_patience_total_ms(uint64_t window_ms, uint64_t bytes);

#endif
