/*
 * finder.c - see finder.h.
 *
 * Layer: client.
 */
#include "client/sync/finder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"

#define SHINGLE 8u
#define SAMPLE_BITS 5u /* one place in 32 is a mark */
#define ASKED_MAX 256u /* marks of a page that are looked up */
#define SHARED_MIN 4u  /* marks in common that are worth a try */

struct slot {
    uint32_t check; /* of the hash */
    uint32_t number;
};

struct ramet_finder {
    uint32_t page_size;
    uint32_t mask;
    struct slot *slots; /* number RAMET_FINDER_NONE: empty */
};

static uint64_t
hash_at(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    v *= UINT64_C(0x9e3779b97f4a7c15);
    return v ^ v >> 29;
}

/* One value all along (free space, padding) is in every page. */
static bool
is_mark(uint64_t hash, const uint8_t *p)
{
    return hash >> (64 - SAMPLE_BITS) == 1 &&
           memcmp(p, p + 1, SHINGLE - 1) != 0;
}

enum ramet_rc
ramet_finder_new(uint32_t page_size, uint32_t pages_max,
                 struct ramet_finder **out_finder, struct ramet_err *err)
{
    struct ramet_finder *const finder = ramet_calloc(1, sizeof(*finder));
    const uint64_t marks =
        (uint64_t)pages_max * (page_size >> SAMPLE_BITS) * 3 / 2;
    uint64_t size = 1024;

    assert(page_size > SHINGLE && pages_max > 0);
    while (size < marks)
        size *= 2;
    if (finder != NULL)
        finder->slots = ramet_alloc(size * sizeof(*finder->slots));
    if (finder == NULL || finder->slots == NULL) {
        ramet_free(finder);
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to compare pages");
    }
    finder->page_size = page_size;
    finder->mask = (uint32_t)(size - 1);
    ramet_finder_clear(finder);
    *out_finder = finder;
    return RAMET_OK;
}

void
ramet_finder_free(struct ramet_finder *finder)
{
    if (finder == NULL)
        return;
    ramet_free(finder->slots);
    ramet_free(finder);
}

void
ramet_finder_clear(struct ramet_finder *finder)
{
    memset(finder->slots, 0xff,
           ((size_t)finder->mask + 1) * sizeof(*finder->slots));
}

void
ramet_finder_add(struct ramet_finder *finder, uint32_t number,
                 const uint8_t *page)
{
    for (uint32_t i = 0; i + SHINGLE <= finder->page_size; i++) {
        const uint64_t hash = hash_at(page + i);

        if (is_mark(hash, page + i))
            finder->slots[hash & finder->mask] =
                (struct slot){(uint32_t)(hash >> 27), number};
    }
}

static int
compare_numbers(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

/* The number that is there most often. */
static uint32_t
commonest(uint32_t *numbers, uint32_t count, uint32_t least)
{
    uint32_t best = RAMET_FINDER_NONE;
    uint32_t most = least - 1;
    uint32_t run = 0;

    qsort(numbers, count, sizeof(*numbers), compare_numbers);
    for (uint32_t i = 0; i < count; i++) {
        run = i > 0 && numbers[i] == numbers[i - 1] ? run + 1 : 1;
        if (run > most) {
            most = run;
            best = numbers[i];
        }
    }
    return best;
}

uint32_t
ramet_finder_ask(const struct ramet_finder *finder, const uint8_t *page,
                 uint32_t other)
{
    uint32_t numbers[ASKED_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i + SHINGLE <= finder->page_size && count < ASKED_MAX;
         i++) {
        const uint64_t hash = hash_at(page + i);
        const struct slot *slot;

        if (!is_mark(hash, page + i))
            continue;
        slot = &finder->slots[hash & finder->mask];
        if (slot->number != RAMET_FINDER_NONE && slot->number != other &&
            slot->check == (uint32_t)(hash >> 27))
            numbers[count++] = slot->number;
    }
    return commonest(numbers, count, SHARED_MIN);
}
