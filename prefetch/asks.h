/*
 * asks.h - pages that were asked for ahead of their reader.
 *
 * An ask is queued, then taken (under way), then arrived, until its page is
 * read. Each belongs to a *run*: one scan, or one search along a link. A run
 * knows how many of its asks were not read yet, and when it is over they are
 * forgotten as its own: in vain, unless somebody reads them all the same.
 *
 *   (1) a page has at most one ask
 *   (2) run->ahead is the number of its asks of the current epoch
 *   (3) there are at most `max` asks; the oldest makes room
 *
 * Layer: prefetch, internal.
 */
#ifndef RAMET_PREFETCH_ASKS_H
#define RAMET_PREFETCH_ASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "prefetch/pagemap.h"
#include "prefetch/prefetch.h"

struct ramet_run {
    uint32_t epoch;
    uint32_t ahead; /* queued, under way, or here, and not read */
    uint32_t taken; /* of these, not queued any more */
    uint32_t used;  /* taken and read */
};

enum ramet_ask_state {
    RAMET_ASK_NONE,
    RAMET_ASK_QUEUED,
    RAMET_ASK_UNDER_WAY,
    RAMET_ASK_ARRIVED
};

struct ramet_ask;
struct ramet_asks {
    struct ramet_ask *ring;
    uint32_t max;  /* a power of two */
    uint64_t next; /* place of the next ask; its slot modulo max */
    struct ramet_pagemap slot_of;
    uint64_t urgent_at; /* where to look for the next queued one of a kind */
    uint64_t queued_at;
    uint32_t queued;
    uint32_t under_way;
    uint64_t live; /* taken and not read, of runs that go on */
    uint64_t asked;
    uint64_t used;
    double waste; /* part of what runs of late brought in vain */
};

bool ramet_asks_init(struct ramet_asks *asks, uint32_t max);
/* Room for `max` at least; on no memory it stays as it is. */
void ramet_asks_reserve(struct ramet_asks *asks, uint32_t max);
void ramet_asks_done(struct ramet_asks *asks);

enum ramet_ask_state
ramet_asks_state(const struct ramet_asks *asks, uint32_t pgno);
/* Queue a page that has no ask. `is_urgent`: before all that are not. */
void ramet_asks_add(struct ramet_asks *asks, uint32_t pgno,
                    struct ramet_run *run, bool is_urgent);
/* A page that has an ask is one of this run as well. */
void
ramet_asks_adopt(struct ramet_asks *asks, uint32_t pgno, struct ramet_run *run);
/* A page is about to be read; if it is not here, it is under way from now on,
 * and not counted as asked ahead. The run that had asked for it, or NULL. */
struct ramet_run *
ramet_asks_wanted(struct ramet_asks *asks, uint32_t pgno, bool is_here);
/* It arrived, or (`is_lost`) will not. */
void ramet_asks_landed(struct ramet_asks *asks, uint32_t pgno, bool is_lost);
/* Of none of these anything is heard any more. */
void ramet_asks_forget(struct ramet_asks *asks);
void ramet_asks_end_run(struct ramet_asks *asks, struct ramet_run *run);
/* The next queued page, now under way; 0: none. */
uint32_t ramet_asks_take(struct ramet_asks *asks);

#endif
