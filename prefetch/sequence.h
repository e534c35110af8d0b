/*
 * sequence.h - pages that are read in the order of their numbers.
 *
 * For volumes that are no databases, and for whoever copies a database page by
 * page. A few sequences at a time, as threads of a program would have them.
 *
 * Layer: prefetch, internal.
 */
#ifndef RAMET_PREFETCH_SEQUENCE_H
#define RAMET_PREFETCH_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "prefetch/asks.h"

#define RAMET_SEQUENCES 8u

/* Zeroed: nothing was read yet. */
struct ramet_sequence {
    struct ramet_sequence_stream {
        uint32_t next;   /* the page that would continue it; 0: unused */
        uint32_t length; /* pages read in order */
        uint32_t rest;   /* pages until it is worth to look ahead again */
        uint64_t used;
        struct ramet_run run;
    } streams[RAMET_SEQUENCES];
    uint64_t clock;
};

struct ramet_prefetch;

/* Is the run one of these? */
bool ramet_sequence_has(const struct ramet_sequence *sequence,
                        const struct ramet_run *run);
/* A page is about to be read. `length_min`: steps after which it is believed. */
void ramet_sequence_step(struct ramet_prefetch *p, uint32_t pgno,
                         uint32_t length_min);

#endif
