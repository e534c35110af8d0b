/*
 * readahead.h - how many pages a miss should bring.
 *
 * Misses that ascend are taken for a scan, a few of them at a time: each
 * further miss of a scan brings twice as many pages as the one before. Pure.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_REMOTE_READAHEAD_H
#define RAMET_CLIENT_REMOTE_READAHEAD_H

#include <stdint.h>

#define RAMET_STREAMS 8u
/* What one miss brings at most. */
#define RAMET_READAHEAD_PAGES 64u
#define RAMET_READAHEAD_BYTES (1u << 20)

/* Zeroed: nothing was missed yet. */
struct ramet_readahead {
    struct {
        uint32_t next;  /* the miss that would continue it; 0: unused */
        uint32_t count; /* pages that it brought last */
        uint64_t used;
    } streams[RAMET_STREAMS];
    uint64_t clock;
};

/* A miss of `pgno`: from there on that many pages, 1 to `max`. */
uint32_t ramet_readahead_miss(struct ramet_readahead *readahead, uint32_t pgno,
                              uint32_t max);

#endif
