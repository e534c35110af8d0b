/*
 * touched.h - which pages were read, as far as a warm profile would hold them.
 *
 * The first so many that are told, each once, whatever the number of reads.
 *
 * Thread-safe. Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_TOUCHED_H
#define RAMET_CLIENT_REMOTE_TOUCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "core/pageset.h"
#include "core/thread.h"

struct ramet_touched {
    struct ramet_mutex mutex;
    struct ramet_pageset pages; /* under the mutex, as all that follows */
    uint64_t count;
    uint32_t page_size; /* 0: none was told */
    uint64_t lsn;       /* at which one was told last */
    bool missed;        /* one of them was not here */
};

void ramet_touched_init(struct ramet_touched *touched);
void ramet_touched_done(struct ramet_touched *touched);
/* Pages of another size begin it anew. */
void ramet_touched_note(struct ramet_touched *touched, uint64_t lsn,
                        uint32_t page_size, uint32_t max, uint32_t pgno,
                        bool was_missed);

#endif
