/*
 * pagemap.c - see pagemap.h.
 *
 *   (1) capacity is 0 or a power of two, and a third of the slots is free: a
 *       probe ends
 *   (2) between a key's home and its slot no slot is free
 *
 * Layer: prefetch.
 */
#include "prefetch/pagemap.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"

#define CAPACITY_MIN 64u

void
ramet_pagemap_done(struct ramet_pagemap *map)
{
    ramet_free(map->slots);
    *map = (struct ramet_pagemap){.slots = NULL};
}

void
ramet_pagemap_clear(struct ramet_pagemap *map)
{
    assert(map->count == 0 || map->slots != NULL);
    if (map->count > 0)
        memset(map->slots, 0, (size_t)map->capacity * 2 * sizeof(*map->slots));
    map->count = 0;
}

static uint32_t
home_of(const struct ramet_pagemap *map, uint32_t pgno)
{
    const uint32_t mixed = pgno * 2654435769u;

    assert(map->capacity > 0 && (map->capacity & (map->capacity - 1)) == 0);
    return (mixed ^ mixed >> 15) & (map->capacity - 1);
}

/* The slot that has `pgno`, or the free one where it would go. */
static uint32_t
probe(const struct ramet_pagemap *map, uint32_t pgno)
{
    uint32_t slot = home_of(map, pgno);

    assert(map->count < map->capacity); /* invariant (1) */
    while (map->slots[2 * slot] != 0 && map->slots[2 * slot] != pgno)
        slot = (slot + 1) & (map->capacity - 1);
    return slot;
}

bool
ramet_pagemap_get(const struct ramet_pagemap *map, uint32_t pgno,
                  uint32_t *out_value)
{
    uint32_t slot;

    if (map->count == 0 || pgno == 0)
        return false;
    slot = probe(map, pgno);
    if (map->slots[2 * slot] == 0)
        return false;
    *out_value = map->slots[2 * slot + 1];
    return true;
}

static bool
grow(struct ramet_pagemap *map)
{
    struct ramet_pagemap larger = {
        .capacity = map->capacity == 0 ? CAPACITY_MIN : map->capacity * 2,
        .count = map->count,
    };

    assert(map->capacity <= UINT32_MAX / 4);
    larger.slots =
        ramet_calloc((size_t)larger.capacity * 2, sizeof(*larger.slots));
    if (larger.slots == NULL)
        return false;
    for (uint32_t i = 0; i < map->capacity; i++) {
        const uint32_t pgno = map->slots[2 * i];

        if (pgno != 0) {
            const uint32_t slot = probe(&larger, pgno);

            larger.slots[2 * slot] = pgno;
            larger.slots[2 * slot + 1] = map->slots[2 * i + 1];
        }
    }
    ramet_free(map->slots);
    *map = larger;
    return true;
}

bool
ramet_pagemap_put(struct ramet_pagemap *map, uint32_t pgno, uint32_t value)
{
    uint32_t slot;

    assert(pgno != 0);
    if (map->count >= map->capacity - map->capacity / 3 && !grow(map))
        return false;
    slot = probe(map, pgno);
    if (map->slots[2 * slot] == 0) {
        map->slots[2 * slot] = pgno;
        map->count++;
    }
    assert(map->slots[2 * slot] == pgno && map->count < map->capacity);
    map->slots[2 * slot + 1] = value;
    return true;
}

bool
ramet_pagemap_slot(const struct ramet_pagemap *map, uint32_t slot,
                   uint32_t *out_pgno)
{
    assert(slot < map->capacity);
    *out_pgno = map->slots[2 * slot];
    return *out_pgno != 0;
}

void
ramet_pagemap_erase(struct ramet_pagemap *map, uint32_t pgno)
{
    const uint32_t mask = map->capacity - 1;
    uint32_t hole;

    if (map->count == 0 || pgno == 0)
        return;
    hole = probe(map, pgno);
    if (map->slots[2 * hole] == 0)
        return;
    /* What follows, and may not stand behind a free slot, moves up. */
    for (uint32_t next = (hole + 1) & mask; map->slots[2 * next] != 0;
         next = (next + 1) & mask) {
        const uint32_t home = home_of(map, map->slots[2 * next]);

        if (((next - home) & mask) >= ((next - hole) & mask)) {
            map->slots[2 * hole] = map->slots[2 * next];
            map->slots[2 * hole + 1] = map->slots[2 * next + 1];
            hole = next;
        }
    }
    assert(map->count > 0);
    map->slots[2 * hole] = 0;
    map->count--;
}
