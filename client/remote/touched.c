/*
 * touched.c - see touched.h.
 */
#include "client/remote/touched.h"

#include <assert.h>

void
ramet_touched_init(struct ramet_touched *touched)
{
    *touched = (struct ramet_touched){.count = 0};
    ramet_mutex_init(&touched->mutex);
    ramet_pageset_init(&touched->pages);
}

void
ramet_touched_done(struct ramet_touched *touched)
{
    ramet_pageset_done(&touched->pages);
    ramet_mutex_done(&touched->mutex);
}

void
ramet_touched_note(struct ramet_touched *touched, uint64_t lsn,
                   uint32_t page_size, uint32_t max, uint32_t pgno,
                   bool was_missed)
{
    ramet_mutex_lock(&touched->mutex);
    if (touched->page_size != page_size) {
        ramet_pageset_clear(&touched->pages);
        touched->count = 0;
        touched->page_size = page_size;
    }
    touched->lsn = lsn;
    touched->missed = touched->missed || was_missed;
    if (touched->count < max &&
        !ramet_pageset_contains(&touched->pages, pgno) &&
        ramet_pageset_add(&touched->pages, pgno) == RAMET_OK)
        touched->count++;
    assert(touched->count == 0 || touched->page_size == page_size);
    ramet_mutex_unlock(&touched->mutex);
}
