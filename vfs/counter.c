/*
 * counter.c - see counter.h.
 */
#include "vfs/counter.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "sqliteformat/dbheader.h"

#define COUNTER_AT RAMET_DBHEADER_COUNTER_AT
#define VALID_FOR_AT RAMET_DBHEADER_VALID_FOR_AT

void
ramet_counter_done(struct ramet_counter *counter)
{
    ramet_free(counter->page);
    memset(counter, 0, sizeof(*counter));
}

/* Without memory it is merely not known. */
static bool
keep(struct ramet_counter *counter, const uint8_t *page, size_t len)
{
    assert(page != NULL && len >= RAMET_DBHEADER_SIZE);
    if (len > counter->page_capacity) {
        uint8_t *const larger = ramet_realloc(counter->page, len);

        if (larger == NULL)
            return false;
        counter->page = larger;
        counter->page_capacity = len;
    }
    memcpy(counter->page, page, len);
    counter->page_length = len;
    return true;
}

void
ramet_counter_saw(struct ramet_counter *counter,
                  const struct ramet_snapshot *snapshot, const uint8_t *page,
                  size_t len)
{
    assert(page != NULL);
    if (len != snapshot->page_size || counter->is_pending)
        return;
    counter->is_known = keep(counter, page, len);
    counter->pages_seq = snapshot->pages_seq;
}

/* Equal but for the change counters. */
static bool
is_same_otherwise(const uint8_t *a, const uint8_t *b, size_t len)
{
    assert(len >= RAMET_DBHEADER_SIZE);
    return memcmp(a, b, COUNTER_AT) == 0 &&
           memcmp(a + COUNTER_AT + 4, b + COUNTER_AT + 4,
                  VALID_FOR_AT - COUNTER_AT - 4) == 0 &&
           memcmp(a + VALID_FOR_AT + 4, b + VALID_FOR_AT + 4,
                  len - VALID_FOR_AT - 4) == 0;
}

static bool
has_equal_counters(const uint8_t *page)
{
    return memcmp(page + COUNTER_AT, page + VALID_FOR_AT, 4) == 0;
}

bool
ramet_counter_only_counts(const struct ramet_counter *counter,
                          const struct ramet_snapshot *snapshot,
                          const uint8_t *page, size_t len)
{
    assert(!counter->is_known || counter->page_length >= RAMET_DBHEADER_SIZE);
    assert(counter->page_length <= counter->page_capacity);
    return counter->is_known && counter->pages_seq == snapshot->pages_seq &&
           !counter->is_pending && len == counter->page_length &&
           len == snapshot->page_size && has_equal_counters(page) &&
           has_equal_counters(counter->page) &&
           is_same_otherwise(page, counter->page, len);
}

void
ramet_counter_wrote(struct ramet_counter *counter, const uint8_t *page,
                    size_t len)
{
    assert(page == NULL || len >= RAMET_DBHEADER_SIZE);
    counter->is_pending = true;
    counter->is_known = page != NULL && keep(counter, page, len);
}

void
ramet_counter_published(struct ramet_counter *counter, uint64_t base_pages_seq,
                        const struct ramet_snapshot *snapshot)
{
    assert(!counter->is_known || counter->page != NULL);
    if (!counter->is_pending && counter->pages_seq != base_pages_seq)
        counter->is_known = false; /* it was of an older snapshot still */
    counter->pages_seq = snapshot->pages_seq;
    counter->is_pending = false;
}

void
ramet_counter_dropped(struct ramet_counter *counter)
{
    assert(!counter->is_known || counter->page != NULL);
    if (counter->is_pending)
        counter->is_known = false;
    counter->is_pending = false;
}
