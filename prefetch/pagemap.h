/*
 * pagemap.h - a hash table from page numbers to 32-bit values.
 *
 * Open addressing with linear probing; erasing closes the gap, so that there
 * are no tombstones. Key 0 is no page and marks a free slot.
 *
 * Layer: prefetch, internal.
 */
#ifndef RAMET_PREFETCH_PAGEMAP_H
#define RAMET_PREFETCH_PAGEMAP_H

#include <stdbool.h>
#include <stdint.h>

struct ramet_pagemap {
    uint32_t *slots; /* pairs of key and value */
    uint32_t capacity;
    uint32_t count;
};

/* Zeroed is an empty map. */
void ramet_pagemap_done(struct ramet_pagemap *map);
void ramet_pagemap_clear(struct ramet_pagemap *map);
bool ramet_pagemap_get(const struct ramet_pagemap *map, uint32_t pgno,
                       uint32_t *out_value);
/* In place of what was there. False: no memory, and nothing changed. */
bool
ramet_pagemap_put(struct ramet_pagemap *map, uint32_t pgno, uint32_t value);
/* What is in slot `slot`, from 0 to capacity - 1; false: nothing. */
bool ramet_pagemap_slot(const struct ramet_pagemap *map, uint32_t slot,
                        uint32_t *out_pgno);
void ramet_pagemap_erase(struct ramet_pagemap *map, uint32_t pgno);

#endif
