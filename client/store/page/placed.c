/*
 * placed.c - see placed.h.
 *
 * Which pages this process placed it alone knows, in memory: to all others, and
 * after a crash, they are absent, and are brought again.
 *
 *   (1) what the base has of a page that presence calls absent is nobody's: it is
 *       written under the base lock alone, if the page's entry says absent, in the
 *       base, and no checkpoint that failed or died is waiting to be done again, after
 *       which what the base has there may yet be taken for zeros
 *   (2) presence is told only after a sync of the base since the page was placed, if
 *       its entry is the same still, so that the base's version has not changed, and
 *       no sync of the base has failed since: that may have lost it
 *   (3) until then no reader takes it from the base unseen: a page that the system has
 *       not written yet may still be lost. Who looks compares its checksum
 *   (4) page 1 is kept another way: its first bytes stand elsewhere
 *   (5) entries mean something in one index only: the list goes when the process lets
 *       go of that
 */
#include "client/store/page/placed.h"

#include <assert.h>
#include <stdlib.h>

#include "client/store/shared/base.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/mark.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define READ_WAIT_MS 200u

struct placed_page {
    struct ramet_entry entry; /* when it was placed */
    uint64_t value;           /* of presence */
    uint32_t pgno;
};

/* Under the base lock; but for the two that are asked without it. */
struct ramet_placed {
    uint64_t failed_syncs; /* of the base, when it was empty last */
    uint32_t page_size;
    uint32_t capacity;
    bool is_sorted;
    _Atomic uint32_t count;
    _Atomic uint64_t turns;
    struct placed_page pages[];
};

/* ---- the list ------------------------------------------------------------ */

static uint32_t
count_of(const struct ramet_placed *placed)
{
    return placed == NULL ? 0 : atomic_load(&placed->count);
}

static void
set_count(struct ramet_placed *placed, uint32_t count)
{
    assert(count <= placed->capacity);
    atomic_store(&placed->count, count);
}

void
ramet_placed_forget(struct ramet_replica *replica)
{
    struct ramet_placed *const placed = atomic_load(&replica->placed);

    assert(ramet_may_write_base(replica));
    if (count_of(placed) == 0)
        return;
    set_count(placed, 0);
    atomic_fetch_add(&placed->turns, 1);
}

void
ramet_placed_done(struct ramet_replica *replica)
{
    ramet_free(atomic_load(&replica->placed));
    atomic_store(&replica->placed, NULL);
}

/* By invariant (2) a sync that failed takes all of it. */
static void
forget_what_is_lost(struct ramet_replica *replica)
{
    const uint64_t failed =
        atomic_load(&replica->head->header.base.failed_syncs);

    assert(ramet_may_write_base(replica));
    if (replica->placed == NULL || replica->placed->failed_syncs == failed)
        return;
    ramet_placed_forget(replica);
    replica->placed->failed_syncs = failed;
}

/* Twice what is enough: a checkpoint takes its time to begin. */
static struct ramet_placed *
make_list(const struct ramet_replica *replica, uint32_t page_size)
{
    const uint64_t bytes = 2 * ramet_fetched_enough(replica);
    const size_t capacity = (size_t)(bytes / page_size) + 1;
    struct ramet_placed *const placed =
        ramet_calloc(1, sizeof(*placed) + capacity * sizeof(placed->pages[0]));

    assert(ramet_page_size_ok(page_size));
    if (placed != NULL) {
        placed->capacity = (uint32_t)capacity;
        placed->page_size = page_size;
        placed->failed_syncs =
            atomic_load(&replica->head->header.base.failed_syncs);
    }
    return placed;
}

/* NULL: no memory, or it is full. */
static struct ramet_placed *
have_room(struct ramet_replica *replica, uint32_t page_size, size_t count)
{
    struct ramet_placed *placed = atomic_load(&replica->placed);

    assert(ramet_may_write_base(replica));
    if (placed == NULL) {
        placed = make_list(replica, page_size);
        atomic_store(&replica->placed, placed);
    }
    if (placed == NULL)
        return NULL;
    forget_what_is_lost(replica);
    if (placed->page_size != page_size) {
        ramet_placed_forget(replica);
        placed->page_size = page_size;
    }
    return placed->capacity - count_of(placed) >= count ? placed : NULL;
}

static void
note(struct ramet_placed *placed, const struct ramet_fetched_page *page,
     uint64_t value)
{
    const uint32_t count = count_of(placed);

    assert(count < placed->capacity && value != 0);
    placed->pages[count] =
        (struct placed_page){page->expected, value, page->pgno};
    placed->is_sorted =
        count == 0 ||
        (placed->is_sorted && placed->pages[count - 1].pgno < page->pgno);
    set_count(placed, count + 1);
}

bool
ramet_placed_is_any(struct ramet_replica *replica)
{
    return count_of(atomic_load(&replica->placed)) != 0;
}

bool
ramet_placed_is_much(struct ramet_replica *replica)
{
    const struct ramet_placed *const placed = atomic_load(&replica->placed);
    const uint32_t count = count_of(placed);

    return count != 0 && count >= placed->capacity / 2;
}

uint64_t
ramet_placed_turns(struct ramet_replica *replica)
{
    const struct ramet_placed *const placed = atomic_load(&replica->placed);

    return placed == NULL ? 0 : atomic_load(&placed->turns);
}

/* ---- placing ------------------------------------------------------------- */

/* By invariants (1) and (4). */
static bool
may_be_placed(const struct ramet_replica *replica,
              const struct ramet_fetched_page *page)
{
    assert(page->pgno >= 1);
    return ramet_entry_kind(page->expected) == RAMET_ENTRY_ABSENT &&
           page->pgno != 1 &&
           page->pgno <=
               atomic_load(&replica->head->header.checkpoint.page_count);
}

/* How many from the first on are neighbours in the base, and here. */
static size_t
count_neighbours(const struct ramet_fetched_page *pages, size_t count,
                 uint32_t page_size)
{
    size_t n = 1;

    assert(count >= 1);
    while (pages[0].page != NULL && n < count && pages[n].page != NULL &&
           pages[n].pgno == pages[0].pgno + n &&
           pages[n].page == pages[0].page + n * page_size)
        n++;
    return n;
}

static enum ramet_rc
place_neighbours(struct ramet_replica *replica, struct ramet_placed *placed,
                 const struct ramet_fetched_page *pages, size_t count,
                 struct ramet_err *err)
{
    const uint32_t page_size = placed->page_size;
    enum ramet_rc rc =
        pages[0].page == NULL
            ? ramet_base_punch(replica, page_size, pages[0].pgno, err)
            : ramet_base_write(replica, page_size, pages[0].pgno,
                               (uint32_t)count, pages[0].page, err);

    assert(pages[0].page != NULL || count == 1);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++)
        note(placed, &pages[i],
             pages[i].page == NULL
                 ? RAMET_PRESENCE_ZERO
                 : ramet_presence_sum(pages[i].pgno, pages[i].page, page_size));
    return rc;
}

enum ramet_rc
ramet_placed_put(struct ramet_session *session,
                 struct ramet_fetched_page *pages, size_t *io_count,
                 uint32_t page_size, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_index_header *const header = &replica->head->header;
    struct ramet_fetched_page chosen[RAMET_GIVEN_RUN];
    struct ramet_placed *placed = NULL;
    size_t chosen_count = 0, left = 0, n;
    enum ramet_rc rc;

    assert(ramet_holds(session, RAMET_LOCK_BASE));
    assert(*io_count <= RAMET_GIVEN_RUN);
    if (atomic_load(&header->checkpoint.page_size) == page_size &&
        atomic_load(&header->base.is_recounting) == 0) /* (1) */
        placed = have_room(replica, page_size, *io_count);
    if (placed == NULL)
        return RAMET_OK;
    for (size_t i = 0; i < *io_count; i++)
        if (may_be_placed(replica, &pages[i]))
            chosen[chosen_count++] = pages[i];
        else
            pages[left++] = pages[i];
    *io_count = left;
    if (chosen_count == 0)
        return RAMET_OK;
    rc = ramet_base_begin(session, err);
    if (rc != RAMET_OK)
        return rc;
    for (size_t i = 0; rc == RAMET_OK && i < chosen_count; i += n) {
        n = count_neighbours(chosen + i, chosen_count - i, page_size);
        rc = place_neighbours(replica, placed, chosen + i, n, err);
    }
    ramet_base_rest(replica);
    return rc;
}

/* ---- finding ------------------------------------------------------------- */

static int
compare_placed(const void *a, const void *b)
{
    const uint32_t x = ((const struct placed_page *)a)->pgno;
    const uint32_t y = ((const struct placed_page *)b)->pgno;

    return (x > y) - (x < y);
}

/* A page that was placed twice has the same bytes each time, if its entry is one
 * and the same. */
static const struct placed_page *
find(const struct ramet_placed *placed, uint32_t pgno, struct ramet_entry entry)
{
    const struct placed_page key = {.pgno = pgno};
    const uint32_t count = count_of(placed);
    const struct placed_page *found = NULL;

    if (count != 0 && placed->is_sorted)
        found =
            bsearch(&key, placed->pages, count, sizeof(key), compare_placed);
    for (uint32_t i = 0; count != 0 && !placed->is_sorted && i < count; i++)
        if (placed->pages[i].pgno == pgno &&
            ramet_entry_same(placed->pages[i].entry, entry))
            return &placed->pages[i];
    assert(found == NULL || found->pgno == pgno);
    return found != NULL && ramet_entry_same(found->entry, entry) ? found
                                                                  : NULL;
}

/* By invariant (3). */
static bool
is_as_placed(const struct placed_page *page, const uint8_t *bytes,
             uint32_t page_size)
{
    assert(page->pgno > 1);
    return page->value == RAMET_PRESENCE_ZERO
               ? ramet_bytes_are_zero(bytes, page_size)
               : ramet_presence_sum(page->pgno, bytes, page_size) ==
                     page->value;
}

bool
ramet_placed_read(struct ramet_session *session, uint32_t pgno,
                  struct ramet_entry entry, uint32_t page_size, uint8_t *out)
{
    struct ramet_replica *const replica = session->replica;
    const struct placed_page *page;
    bool found = false;

    assert(atomic_load(&session->epoch) != 0 && pgno >= 1);
    if (!ramet_placed_is_any(replica) ||
        ramet_entry_kind(entry) != RAMET_ENTRY_ABSENT ||
        ramet_base_lock(session, READ_WAIT_MS, NULL) != RAMET_OK)
        return false;
    /* The index has it, too: a reader may have made it up (version.c), for a version
     * later than what was placed. */
    page = ramet_entry_same(ramet_index_peek(replica, pgno), entry)
               ? find(replica->placed, pgno, entry)
               : NULL;
    if (page != NULL && replica->placed->page_size == page_size)
        found =
            ramet_base_read(replica, page_size, pgno, out, NULL) == RAMET_OK &&
            is_as_placed(page, out, page_size);
    ramet_base_unlock(session);
    return found;
}

/* ---- for a checkpoint ---------------------------------------------------- */

/* Ascending, those alone whose entry is what it was, and each page once. */
static void
put_in_order(struct ramet_replica *replica, struct ramet_placed *placed)
{
    const uint32_t count = count_of(placed);
    struct placed_page *const pages = placed->pages;
    uint32_t kept = 0;

    assert(ramet_may_write_base(replica));
    if (!placed->is_sorted)
        qsort(pages, count, sizeof(*pages), compare_placed);
    for (uint32_t i = 0; i < count; i++)
        if (ramet_entry_same(ramet_index_peek(replica, pages[i].pgno),
                             pages[i].entry) &&
            (kept == 0 || pages[kept - 1].pgno != pages[i].pgno))
            pages[kept++] = pages[i];
    placed->is_sorted = true;
    if (kept == 0)
        ramet_placed_forget(replica);
    else
        set_count(placed, kept);
}

enum ramet_rc
ramet_placed_list(struct ramet_replica *replica, uint32_t page_size,
                  struct ramet_pageset *pages, struct ramet_err *err)
{
    struct ramet_placed *const placed = atomic_load(&replica->placed);
    uint32_t count, n;

    assert(ramet_may_write_base(replica));
    forget_what_is_lost(replica);
    if (count_of(placed) != 0 && placed->page_size != page_size)
        ramet_placed_forget(replica);
    if (count_of(placed) == 0)
        return RAMET_OK;
    put_in_order(replica, placed);
    count = count_of(placed);
    for (uint32_t i = 0; i < count; i += n) {
        const uint32_t first = placed->pages[i].pgno;

        for (n = 1; i + n < count && placed->pages[i + n].pgno == first + n;)
            n++;
        if (ramet_pageset_add_run(
                pages, (struct ramet_run){first, first + n - 1}) != RAMET_OK)
            return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
    }
    return RAMET_OK;
}

uint64_t
ramet_placed_value(const struct ramet_replica *replica, uint32_t pgno,
                   struct ramet_entry entry)
{
    const struct placed_page *const page =
        ramet_entry_kind(entry) == RAMET_ENTRY_ABSENT
            ? find(replica->placed, pgno, entry)
            : NULL;

    assert(ramet_may_write_base(replica));
    return page == NULL ? 0 : page->value;
}
