/*
 * awaited.c - see awaited.h.
 */
#include "metastore/awaited.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "metastore/mapnode.h"

#define BUCKETS 1024u
#define NONE UINT32_MAX

struct slot {
    uint32_t pgno;
    uint32_t next_of_page; /* in the chain of its bucket */
    uint32_t next_of_frame;
    bool given;
    uint64_t number; /* of the frame's place */
    struct ramet_located located;
    struct ramet_delta delta;
    uint8_t *copy; /* in which it lies; NULL: there is none */
};

/* Of a page that is stored as a delta: its base's frame, or its block, which it
 * shares with its neighbours. */
struct part {
    uint64_t number; /* of the place */
    uint32_t next;   /* in the chain of its bucket */
    uint32_t pgno;   /* a page that has its delta there; 0: it is an image */
};

struct ramet_awaited {
    struct ramet_history *history;
    struct ramet_point at;
    struct ramet_head head;
    bool want_extra;
    ramet_page_visit *visit;
    void *ctx;
    struct slot *slots;
    uint32_t count, capacity;
    uint32_t by_page[BUCKETS], by_frame[BUCKETS];
    struct part *parts;
    uint32_t part_count, part_capacity;
    uint32_t by_part[BUCKETS];
    size_t delta_bytes; /* of what is kept */
    uint8_t *pages;     /* room for a frame's */
    size_t pages_capacity;
};

enum ramet_rc
ramet_awaited_new(struct ramet_history *history, const struct ramet_point *at,
                  bool want_extra, ramet_page_visit *visit, void *ctx,
                  struct ramet_awaited **out_awaited, struct ramet_err *err)
{
    struct ramet_awaited *const awaited = ramet_calloc(1, sizeof(*awaited));
    enum ramet_rc rc;

    assert(visit != NULL);
    if (awaited == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "awaited pages: no memory");
    awaited->history = history;
    awaited->at = *at;
    awaited->want_extra = want_extra;
    awaited->visit = visit;
    awaited->ctx = ctx;
    memset(awaited->by_page, 0xff, sizeof(awaited->by_page));
    memset(awaited->by_frame, 0xff, sizeof(awaited->by_frame));
    memset(awaited->by_part, 0xff, sizeof(awaited->by_part));
    rc = ramet_history_head_of(history, at, &awaited->head, err);
    if (rc == RAMET_OK)
        *out_awaited = awaited;
    else
        ramet_awaited_free(awaited);
    return rc;
}

void
ramet_awaited_free(struct ramet_awaited *awaited)
{
    if (awaited == NULL)
        return;
    for (uint32_t i = 0; i < awaited->count; i++)
        ramet_free(awaited->slots[i].copy);
    ramet_free(awaited->pages);
    ramet_free(awaited->slots);
    ramet_free(awaited->parts);
    ramet_free(awaited);
}

uint32_t
ramet_awaited_page_size(const struct ramet_awaited *awaited)
{
    assert(awaited->head.lsn == awaited->at.lsn);
    return awaited->head.page_size;
}

/* ---- what is awaited -------------------------------------------------------- */

static uint64_t
number_of(const char *key, uint64_t offset)
{
    assert(key[0] != '\0');
    return ramet_hash64(key, strlen(key)) ^ offset * 0x9e3779b97f4a7c15u;
}

static uint32_t *
bucket_of_page(struct ramet_awaited *awaited, uint32_t pgno)
{
    assert(pgno >= 1);
    return &awaited->by_page[pgno % BUCKETS];
}

static uint32_t *
bucket_of_frame(struct ramet_awaited *awaited, uint64_t number)
{
    assert(awaited->count <= awaited->capacity);
    return &awaited->by_frame[(number >> 32) % BUCKETS];
}

static struct slot *
find_page(const struct ramet_awaited *awaited, uint32_t pgno)
{
    uint32_t i = awaited->by_page[pgno % BUCKETS];

    assert(pgno >= 1);
    while (i != NONE && awaited->slots[i].pgno != pgno)
        i = awaited->slots[i].next_of_page;
    assert(i == NONE || i < awaited->count);
    return i != NONE ? &awaited->slots[i] : NULL;
}

static bool
reserve(struct ramet_awaited *awaited, size_t count)
{
    const size_t needed = awaited->count + count;
    size_t capacity = awaited->capacity > 0 ? awaited->capacity : 64;
    struct slot *grown;

    assert(count > 0 && awaited->count <= awaited->capacity);
    if (needed >= NONE)
        return false;
    while (capacity < needed)
        capacity *= 2;
    if (capacity == awaited->capacity)
        return true;
    grown = ramet_realloc(awaited->slots, capacity * sizeof(*grown));
    if (grown == NULL)
        return false;
    awaited->slots = grown;
    awaited->capacity = (uint32_t)capacity;
    return true;
}

static const struct part *
find_part(const struct ramet_awaited *awaited, uint64_t number)
{
    uint32_t i = awaited->by_part[(number >> 32) % BUCKETS];

    while (i != NONE && awaited->parts[i].number != number)
        i = awaited->parts[i].next;
    assert(i == NONE || i < awaited->part_count);
    return i != NONE ? &awaited->parts[i] : NULL;
}

/* Without memory it is not known: what is asked of it is a guess. */
static void
add_part(struct ramet_awaited *awaited, const struct ramet_extent *extent,
         uint32_t pgno)
{
    char key[RAMET_KEY_MAX];
    uint64_t number;
    uint32_t *bucket;

    ramet_extent_key(extent, key);
    number = number_of(key, extent->offset_bytes);
    if (find_part(awaited, number) != NULL)
        return;
    if (awaited->part_count == awaited->part_capacity) {
        const uint32_t capacity =
            awaited->part_capacity > 0 ? 2 * awaited->part_capacity : 64;
        struct part *const grown =
            ramet_realloc(awaited->parts, capacity * sizeof(*grown));

        if (grown == NULL)
            return;
        awaited->parts = grown;
        awaited->part_capacity = capacity;
    }
    assert(awaited->part_count < awaited->part_capacity);
    bucket = &awaited->by_part[(number >> 32) % BUCKETS];
    awaited->parts[awaited->part_count] = (struct part){number, *bucket, pgno};
    *bucket = awaited->part_count++;
}

static void
add_slot(struct ramet_awaited *awaited, uint32_t pgno,
         const struct ramet_located *located)
{
    const struct ramet_extent *const extent = &located->image.extent;
    const uint32_t index = awaited->count++;
    struct slot *const slot = &awaited->slots[index];
    uint32_t *const page = bucket_of_page(awaited, pgno);
    char key[RAMET_KEY_MAX];
    uint32_t *link;

    assert(pgno >= 1);
    assert(index < awaited->capacity);
    assert(ramet_located_has_delta(located) || located->image_pgno == pgno);
    *slot = (struct slot){.pgno = pgno,
                          .next_of_page = *page,
                          .next_of_frame = NONE,
                          .located = *located};
    *page = index;
    if (ramet_located_has_delta(located)) { /* invariant (3) */
        add_part(awaited, extent, 0);
        add_part(awaited, &located->block.extent, pgno);
        return;
    }
    ramet_extent_key(extent, key);
    slot->number = number_of(key, extent->offset_bytes);
    link = bucket_of_frame(awaited, slot->number);
    slot->next_of_frame = *link;
    *link = index;
}

static enum ramet_rc
give_zeros(struct ramet_awaited *awaited, const uint32_t *pgnos, size_t count,
           const struct ramet_located *located, struct ramet_err *err)
{
    uint8_t *zeros = NULL;
    enum ramet_rc rc = RAMET_OK;

    assert(count > 0);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++) {
        if (located[i].image.page_count > 0)
            continue;
        if (zeros == NULL)
            zeros = ramet_calloc(1, awaited->head.page_size);
        if (zeros == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "a page of zeros");
        rc = awaited->visit(awaited->ctx, pgnos[i], zeros, err);
    }
    ramet_free(zeros);
    return rc;
}

/* What a parent says of a frame is foreign. */
static bool
holds(const struct ramet_located *located)
{
    const struct ramet_frame *const frame = &located->image;

    assert(located->image.page_count == 0 || located->image.first_pgno >= 1);
    return located->image_pgno >= frame->first_pgno &&
           located->image_pgno - frame->first_pgno < frame->page_count;
}

enum ramet_rc
ramet_awaited_add(struct ramet_awaited *awaited, const uint32_t *pgnos,
                  size_t count, struct ramet_err *err)
{
    struct ramet_located *located;
    enum ramet_rc rc;

    assert(pgnos != NULL || count == 0);
    if (count == 0)
        return RAMET_OK;
    located = ramet_calloc(count, sizeof(*located));
    if (located == NULL || !reserve(awaited, count)) {
        ramet_free(located);
        return RAMET_FAIL(err, RAMET_ENOMEM, "%zu pages: no memory", count);
    }
    rc = ramet_history_locate(awaited->history, &awaited->at, pgnos, count,
                              located, err);
    if (rc == RAMET_OK)
        rc = give_zeros(awaited, pgnos, count, located, err);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++) {
        assert(find_page(awaited, pgnos[i]) == NULL);
        if (holds(&located[i]))
            add_slot(awaited, pgnos[i], &located[i]);
    }
    ramet_free(located);
    return rc;
}

const struct ramet_located *
ramet_awaited_located(const struct ramet_awaited *awaited, uint32_t pgno)
{
    const struct slot *const slot = find_page(awaited, pgno);

    return slot != NULL && !slot->given ? &slot->located : NULL;
}

static void
drop_copy(struct ramet_awaited *awaited, struct slot *slot)
{
    if (slot->copy == NULL)
        return;
    awaited->delta_bytes -=
        (size_t)slot->delta.steps_len + slot->delta.literals_len;
    ramet_free(slot->copy);
    slot->copy = NULL;
}

void
ramet_awaited_given(struct ramet_awaited *awaited, uint32_t pgno)
{
    struct slot *const slot = find_page(awaited, pgno);

    if (slot == NULL)
        return;
    assert(ramet_located_has_delta(&slot->located));
    slot->given = true;
    drop_copy(awaited, slot);
}

bool
ramet_awaited_knows(const struct ramet_awaited *awaited, uint32_t pgno)
{
    return find_page(awaited, pgno) != NULL;
}

/* ---- deltas out of their blocks ------------------------------------------------ */

bool
ramet_awaited_keep_delta(struct ramet_awaited *awaited, uint32_t pgno,
                         const struct ramet_delta *delta)
{
    struct slot *const slot = find_page(awaited, pgno);
    const size_t bytes = (size_t)delta->steps_len + delta->literals_len;

    if (slot == NULL || slot->given || !ramet_located_has_delta(&slot->located))
        return false;
    drop_copy(awaited, slot);
    if (bytes > RAMET_AWAITED_DELTAS_MAX - awaited->delta_bytes)
        return false;
    slot->copy = ramet_delta_copy(delta, &slot->delta);
    if (slot->copy != NULL)
        awaited->delta_bytes += bytes;
    return slot->copy != NULL;
}

const struct ramet_delta *
ramet_awaited_delta(const struct ramet_awaited *awaited, uint32_t pgno)
{
    const struct slot *const slot = find_page(awaited, pgno);

    return slot != NULL && slot->copy != NULL ? &slot->delta : NULL;
}

void
ramet_awaited_drop_delta(struct ramet_awaited *awaited, uint32_t pgno)
{
    struct slot *const slot = find_page(awaited, pgno);

    if (slot != NULL)
        drop_copy(awaited, slot);
}

/* ---- what is here ------------------------------------------------------------ */

/* The first of the slots from `index` on that lies in the frame at that place
 * and was not given out. */
static uint32_t
next_in_frame(const struct ramet_awaited *awaited, uint32_t index,
              uint64_t number, const char *key, uint64_t offset, size_t len)
{
    assert(index == NONE || index < awaited->count);
    for (; index != NONE; index = awaited->slots[index].next_of_frame) {
        const struct slot *const slot = &awaited->slots[index];
        const struct ramet_extent *const extent = &slot->located.image.extent;
        char own[RAMET_KEY_MAX];

        if (slot->given || slot->number != number ||
            extent->offset_bytes != offset || extent->length_bytes != len)
            continue;
        ramet_extent_key(extent, own);
        if (strcmp(own, key) == 0)
            break;
    }
    return index;
}

/* Pages of a frame that nobody awaits, where this LSN finds them in it. That it
 * can't be told without reading more is no failure. */
static enum ramet_rc
give_extra(struct ramet_awaited *awaited, const struct ramet_frame *frame,
           struct ramet_err *err)
{
    struct ramet_located found[RAMET_FRAME_PAGES_MAX];
    uint32_t pgnos[RAMET_FRAME_PAGES_MAX];
    size_t count = 0;
    enum ramet_rc rc = RAMET_OK;

    assert(frame->page_count >= 1 &&
           frame->page_count <= RAMET_FRAME_PAGES_MAX);
    for (uint32_t i = 0; i < frame->page_count; i++) {
        const uint32_t pgno = frame->first_pgno + i;

        if (pgno <= awaited->head.page_count &&
            find_page(awaited, pgno) == NULL)
            pgnos[count++] = pgno;
    }
    if (count == 0 ||
        ramet_history_locate(awaited->history, &awaited->at, pgnos, count,
                             found, NULL) != RAMET_OK)
        return RAMET_OK;
    for (size_t i = 0; rc == RAMET_OK && i < count; i++)
        if (holds(&found[i]) && !ramet_located_has_delta(&found[i]) &&
            ramet_frame_same(&found[i].image, frame))
            rc = awaited->visit(awaited->ctx, pgnos[i],
                                awaited->pages +
                                    (size_t)(pgnos[i] - frame->first_pgno) *
                                        awaited->head.page_size,
                                err);
    return rc;
}

static enum ramet_rc
decode(struct ramet_awaited *awaited, const struct ramet_frame *frame,
       const uint8_t *bytes, struct ramet_err *err)
{
    const size_t needed = (size_t)frame->page_count * awaited->head.page_size;

    assert(frame->page_count >= 1);
    if (needed > awaited->pages_capacity) {
        ramet_free(awaited->pages);
        awaited->pages_capacity = 0;
        awaited->pages = ramet_alloc(needed);
        if (awaited->pages == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "a frame of %zu bytes",
                              needed);
        awaited->pages_capacity = needed;
    }
    return ramet_frame_decode(ramet_history_frame_reader(awaited->history),
                              frame, bytes, awaited->head.page_size,
                              awaited->pages, err);
}

enum ramet_rc
ramet_awaited_take(struct ramet_awaited *awaited, const char *key,
                   uint64_t offset, const uint8_t *bytes, size_t len,
                   bool *out_taken, struct ramet_err *err)
{
    const uint64_t number = number_of(key, offset);
    uint32_t index = next_in_frame(awaited, *bucket_of_frame(awaited, number),
                                   number, key, offset, len);
    struct ramet_frame frame;
    enum ramet_rc rc;

    *out_taken = index != NONE;
    if (index == NONE)
        return RAMET_OK;
    frame = awaited->slots[index].located.image;
    rc = decode(awaited, &frame, bytes, err);
    while (rc == RAMET_OK && index != NONE) {
        struct slot *const slot = &awaited->slots[index];

        if (ramet_frame_same(&slot->located.image, &frame)) {
            assert(!slot->given &&
                   slot->pgno >= frame.first_pgno); /* invariant (2) */
            slot->given = true; /* invariant (2), whatever comes of it */
            rc = awaited->visit(awaited->ctx, slot->pgno,
                                awaited->pages +
                                    (size_t)(slot->pgno - frame.first_pgno) *
                                        awaited->head.page_size,
                                err);
        }
        index = next_in_frame(awaited, slot->next_of_frame, number, key, offset,
                              len);
    }
    if (rc == RAMET_OK && awaited->want_extra && frame.page_count > 1)
        rc = give_extra(awaited, &frame, err);
    return rc;
}

bool
ramet_awaited_is_part(const struct ramet_awaited *awaited, const char *key,
                      uint64_t offset)
{
    return awaited->part_count > 0 &&
           find_part(awaited, number_of(key, offset)) != NULL;
}

uint32_t
ramet_awaited_page_of_block(const struct ramet_awaited *awaited,
                            const char *key, uint64_t offset)
{
    const struct part *const part =
        awaited->part_count > 0 ? find_part(awaited, number_of(key, offset))
                                : NULL;

    return part != NULL ? part->pgno : 0;
}
