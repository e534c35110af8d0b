/*
 * finder.c - see finder.h.
 *
 * Layer: client.
 */
#include "client/sync/finder.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"

#define MARK_MIN 8u /* bytes */
#define MARK_MAX 24u
/* Marks of a page that is added: each so many bytes, or where it has cells each so many
 * of them, all if they are few. One that is asked about has all. */
#define STRIDE 32u
#define CELLS_STRIDE 4u
#define CELLS_FEW 16u
#define SLOTS_MAX (1u << 20) /* beyond which marks take each other's place */
#define ASKED_MAX 256u       /* marks in common that are counted */
#define SHARED_MIN 2u        /* marks in common that are worth a try */
#define SHARED_MAX 16u       /* pages that are counted */
#define OWN_WORSE 2u         /* times the marks of the page's own base */

struct slot {
    uint32_t check; /* of the hash */
    uint32_t number;
};

struct ramet_finder {
    uint32_t page_size;
    uint32_t mask;
    struct slot *slots; /* number RAMET_FINDER_NONE: empty */
};

/* A mark: the hash of `len` bytes, MARK_MIN at least. */
static uint64_t
hash_at(const uint8_t *p, uint32_t len)
{
    uint64_t v = ramet_get_le64(p) * UINT64_C(0x9e3779b97f4a7c15);

    assert(len >= MARK_MIN && len <= MARK_MAX);
    v = (v ^ v >> 32 ^ ramet_get_le64(p + (len - MARK_MIN) / 2)) *
        UINT64_C(0xc2b2ae3d27d4eb4f);
    v = (v ^ v >> 32 ^ ramet_get_le64(p + len - MARK_MIN)) *
        UINT64_C(0x9e3779b97f4a7c15);
    return v ^ v >> 29;
}

/* One value all along (free space, padding) is in every page. */
static bool
is_mark(const uint8_t *p, uint32_t len)
{
    assert(len >= 2);
    return p[0] != p[len - 1] || memcmp(p, p + 1, len - 1) != 0;
}

enum ramet_rc
ramet_finder_new(uint32_t page_size, uint32_t pages_max,
                 struct ramet_finder **out_finder, struct ramet_err *err)
{
    struct ramet_finder *const finder = ramet_calloc(1, sizeof(*finder));
    const uint64_t marks = (uint64_t)pages_max * (page_size / STRIDE) * 3 / 2;
    uint64_t size = 1024;

    assert(page_size > MARK_MAX && pages_max > 0);
    while (size < marks && size < SLOTS_MAX)
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
    assert(((finder->mask + 1) & finder->mask) == 0); /* a power of two */
    memset(finder->slots, 0xff,
           ((size_t)finder->mask + 1) * sizeof(*finder->slots));
}

/* Mark number `i` of a page, of those as far apart as `stride` where it has no cells;
 * false: there are no more. A cell begins with how long it is, if that is little. */
static bool
next_mark(const struct ramet_finder *finder, const uint8_t *page,
          const struct ramet_delta_shape *shape, uint32_t stride, uint32_t i,
          uint64_t *out_hash, bool *out_is_mark)
{
    const uint32_t last = finder->page_size - MARK_MAX;
    uint32_t at = i * stride, len = MARK_MAX;

    assert(stride >= 1);
    if (shape->count == 0) {
        if (at > last)
            return false;
    } else {
        if (i >= shape->count)
            return false;
        at = ramet_get_be16(page + shape->table + 2 * i);
        at = at <= last ? at : last;
        len = page[at] + 1u;
        len = len < MARK_MIN ? MARK_MIN : len > MARK_MAX ? MARK_MAX : len;
    }
    assert(at + len <= finder->page_size);
    *out_hash = hash_at(page + at, len);
    *out_is_mark = is_mark(page + at, len);
    return true;
}

void
ramet_finder_add(struct ramet_finder *finder, uint32_t number,
                 const uint8_t *page, const struct ramet_delta_shape *shape)
{
    const uint32_t stride = shape->count < CELLS_FEW ? 1 : CELLS_STRIDE;
    uint64_t hash;
    bool is_one;

    assert(number != RAMET_FINDER_NONE);
    for (uint32_t i = 0;
         next_mark(finder, page, shape, STRIDE, i, &hash, &is_one);
         i += stride) {
        if (is_one)
            finder->slots[hash & finder->mask] =
                (struct slot){(uint32_t)(hash >> 32), number};
    }
}

/* Pages that have marks in common with one, and how many. */
struct shared {
    uint32_t number, count;
};

static void
count_mark(struct shared *shared, uint32_t *io_count, uint32_t number)
{
    for (uint32_t i = 0; i < *io_count; i++) {
        if (shared[i].number == number) {
            shared[i].count++;
            return;
        }
    }
    if (*io_count < SHARED_MAX)
        shared[(*io_count)++] = (struct shared){number, 1};
}

uint32_t
ramet_finder_ask(const struct ramet_finder *finder, const uint8_t *page,
                 const struct ramet_delta_shape *shape, uint32_t own,
                 bool *out_is_own_worse)
{
    struct shared shared[SHARED_MAX];
    uint32_t count = 0, hits = 0, of_own = 0, best = SHARED_MAX;
    uint64_t hash;
    bool is_one;

    for (uint32_t i = 0; hits < ASKED_MAX &&
                         next_mark(finder, page, shape, 1, i, &hash, &is_one);
         i++) {
        const struct slot *const slot = &finder->slots[hash & finder->mask];

        if (!is_one || slot->number == RAMET_FINDER_NONE ||
            slot->check != (uint32_t)(hash >> 32))
            continue;
        hits++;
        if (slot->number == own)
            of_own++;
        else
            count_mark(shared, &count, slot->number);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (shared[i].count >= SHARED_MIN &&
            (best == SHARED_MAX || shared[i].count > shared[best].count))
            best = i;
    }
    if (best == SHARED_MAX)
        return RAMET_FINDER_NONE;
    *out_is_own_worse = shared[best].count > of_own * OWN_WORSE;
    return shared[best].number;
}
