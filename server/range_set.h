/*
 * range_set.h - which ranges of objects were sent, or need not be: a number for each.
 *
 * Two ranges have the same number once in 2^64: then one of them is taken for sent.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_RANGE_SET_H
#define RAMET_SERVER_RANGE_SET_H

#include "server/pages.h"

/* Open addressing. Zeroed but for `most`. */
struct ramet_range_set {
    uint64_t *slots; /* 0: empty */
    size_t mask, count;
    size_t most; /* what is past this is not remembered, and sent again */
};

/* True if it was not there, or can't be remembered: then it is sent again, which
 * is allowed. */
bool ramet_range_set_add(struct ramet_range_set *set,
                         const struct ramet_object_range *object,
                         uint32_t length_bytes);
bool ramet_range_set_has(const struct ramet_range_set *set,
                         const struct ramet_object_range *object,
                         uint32_t length_bytes);
void ramet_range_set_done(struct ramet_range_set *set);

#endif
