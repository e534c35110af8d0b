/*
 * pace.h - what a link is found to be like: how long an answer takes to begin,
 * how fast bytes come, and so how much should be under way.
 *
 *   (1) The delay is measured of requests that had the link for themselves: what
 *       waits behind others would make it seem longer, and more be asked for.
 *       Others only lower it.
 *   (2) The rate is that of all that came while an answer did, so that several
 *       answers at a time count as one stream.
 *   (3) It is taken for less only slowly: whoever takes what comes may have been
 *       held up for a moment, and the link is as fast as it was.
 *
 * Pure but for its mutex: the caller says what time it is. Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_PACE_H
#define RAMET_CLIENT_REMOTE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/thread.h"

/* Under way while nothing is known, and in any case. */
#define RAMET_PACE_BUDGET_FIRST (512u << 10)
#define RAMET_PACE_BUDGET_MIN (512u << 10)
#define RAMET_PACE_BUDGET_MAX (16u << 20)

struct ramet_pace {
    struct ramet_mutex mutex;
    uint64_t delay_ns; /* 0: not known; as the next */
    uint64_t rate;     /* bytes in a second */
    uint64_t moved;    /* bytes, all in all */
    unsigned under_way;
};

/* One request. */
struct ramet_pace_run {
    uint64_t first_ns;       /* when its answer began; 0: it did not */
    uint64_t moved_at_first; /* of all */
    bool alone;              /* no other was under way when it began */
};

void ramet_pace_init(struct ramet_pace *pace);
void ramet_pace_done(struct ramet_pace *pace);

void ramet_pace_begin(struct ramet_pace *pace, struct ramet_pace_run *run);
/* Some of its answer is here. */
void ramet_pace_bytes(struct ramet_pace *pace, struct ramet_pace_run *run,
                      size_t bytes, uint64_t now_ns);
/* It ended. `delay_ns`: from when it was sent to its answer's first byte; 0:
 * not known. */
void ramet_pace_end(struct ramet_pace *pace, struct ramet_pace_run *run,
                    uint64_t delay_ns, uint64_t now_ns);

/* How many bytes may be under way: four times what the link holds. With twice
 * that it is full as long as nobody is held up; a checkpoint that moves pages,
 * or a busy processor, holds up for about as long as a round trip takes. */
size_t ramet_pace_budget(struct ramet_pace *pace);
uint64_t ramet_pace_delay_ns(struct ramet_pace *pace); /* 0: not known */
uint64_t ramet_pace_moved(struct ramet_pace *pace);

#endif
