/*
 * link_model.h - a trace played through a predictor, over a modelled link.
 *
 * A reader has only what opening brought. A request leaves at once and is at
 * the server half a round trip later; the server sends pages in the order asked
 * for, one link for all, and each can be used half a round trip after its last
 * byte left. The reader takes `cpu_s` for a page. No clock is looked at: time
 * is counted.
 */
#ifndef RAMET_TESTS_PREFETCH_LINK_MODEL_H
#define RAMET_TESTS_PREFETCH_LINK_MODEL_H

#include <stdbool.h>

#include "tests/prefetch/trace.h"

struct link_model {
    double round_trip_s;
    double bytes_per_s;
    double bytes_per_page; /* compressed */
    double cpu_s;
    uint32_t budget;     /* pages; 0: nothing is predicted */
    uint32_t open_pages; /* that opening brings: interior pages, roots first */
    size_t memory_bytes; /* of the predictor; 0: its own */
    bool is_blind;       /* it may not look at pages again that are here */
    bool is_restarted; /* the reader has what opening brought in a cache of his
                            own: he never reads it */
};

struct played {
    /* The longest chain of exchanges, each of which needed the one before. */
    unsigned round_trips;
    unsigned stalls;
    double seconds;
    unsigned requests;
    unsigned needed; /* pages that were read and were not here from the start */
    unsigned vain;   /* pages that were brought and not read */
    unsigned peak;   /* most pages under way at a time */
};

/* 20 ms and 100 Mbit/s. */
struct link_model link_usual(void);
struct played link_play(const struct link_model *model, const char *path,
                        const struct trace *trace);

#endif
