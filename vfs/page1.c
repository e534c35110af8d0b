/*
 * page1.c - see page1.h.
 */
#include "vfs/page1.h"

#include <assert.h>
#include <string.h>

struct numbers {
    uint32_t counter;
    uint32_t shift;
};

/* Invariants (2) and (4): what they are while `s` is pinned. A handle that has
 * shown nothing yet has no number to avoid. */
static struct numbers
numbers_at(const struct ramet_page1 *page1, const struct ramet_snapshot *s)
{
    struct numbers n = {s->counter, page1->shift};

    assert(!page1->is_known || page1->was_read);
    if (page1->is_known && page1->pages_seq == s->pages_seq)
        n.counter = page1->counter;
    else if (page1->was_read)
        n.counter = ramet_number_after(page1->highest, s->counter);
    if (!ramet_dbheader_is(s->header, s->byte_length)) {
        n.shift = 0; /* invariant (6): nothing is shown with one */
    } else if (page1->was_read && page1->schema_seq != s->schema_seq) {
        const uint32_t stored = ramet_dbheader_cookie(s->header);

        n.shift = ramet_number_after(page1->highest_cookie, stored + n.shift) -
                  stored;
    }
    return n;
}

static void
show(struct numbers n, uint8_t *header, size_t len)
{
    assert(header != NULL || len == 0);
    if (ramet_dbheader_is(header, len)) /* invariant (6) */
        ramet_dbheader_show(header, n.counter,
                            ramet_dbheader_cookie(header) + n.shift);
}

void
ramet_page1_show(const struct ramet_page1 *page1,
                 const struct ramet_snapshot *s, uint8_t *header, size_t len)
{
    show(numbers_at(page1, s), header, len);
}

static void
raise(uint32_t *highest, uint32_t number, bool was_read)
{
    if (!was_read || ramet_number_is_ahead(number, *highest))
        *highest = number;
}

/* SQLite has these numbers in mind now. */
static void
note(struct ramet_page1 *page1, const uint8_t *page)
{
    assert(page != NULL);
    page1->counter = ramet_dbheader_counter(page);
    raise(&page1->highest, page1->counter, page1->was_read);
    raise(&page1->highest_cookie, ramet_dbheader_cookie(page), page1->was_read);
    page1->was_read = true;
}

void
ramet_page1_read(struct ramet_page1 *page1, const struct ramet_snapshot *s,
                 bool is_own, uint8_t *page, size_t len)
{
    const struct numbers n = numbers_at(page1, s);

    show(n, page, len);
    note(page1, page);
    assert(page1->was_read);
    page1->shift = n.shift;
    page1->schema_seq = s->schema_seq;
    page1->pages_seq = s->pages_seq;
    page1->is_known = true;
    if (!is_own)
        page1->published = page1->counter;
}

void
ramet_page1_wrote(struct ramet_page1 *page1, const uint8_t *page)
{
    note(page1, page);
}

bool
ramet_page1_is_put_back(const struct ramet_page1 *page1,
                        const struct ramet_snapshot *s, const uint8_t *page)
{
    uint8_t shown[RAMET_DBHEADER_SIZE];

    assert(page != NULL);
    if (!ramet_dbheader_is(s->header, s->byte_length))
        return false;
    memcpy(shown, s->header, sizeof(shown));
    ramet_dbheader_show(shown, page1->published, 0);
    return memcmp(page + RAMET_DBHEADER_COUNTER_AT,
                  shown + RAMET_DBHEADER_COUNTER_AT, 4) == 0 &&
           memcmp(page + RAMET_DBHEADER_VALID_FOR_AT,
                  shown + RAMET_DBHEADER_VALID_FOR_AT, 4) == 0;
}

void
ramet_page1_published(struct ramet_page1 *page1, uint64_t base_pages_seq,
                      const struct ramet_snapshot *s)
{
    assert(!page1->is_known || page1->was_read);
    if (page1->pages_seq != base_pages_seq)
        page1->is_known = false;
    page1->pages_seq = s->pages_seq;
    page1->published = page1->counter;
}

void
ramet_page1_forget(struct ramet_page1 *page1)
{
    page1->is_known = false;
}

static bool
overlaps(uint64_t offset, size_t len, uint64_t at)
{
    assert(at + 4 <= RAMET_DBHEADER_SIZE);
    return len > 0 && offset < at + 4 && offset + len > at;
}

bool
ramet_page1_touches(uint64_t offset, size_t len)
{
    return overlaps(offset, len, RAMET_DBHEADER_COUNTER_AT) ||
           overlaps(offset, len, RAMET_DBHEADER_COOKIE_AT) ||
           overlaps(offset, len, RAMET_DBHEADER_VALID_FOR_AT);
}

bool
ramet_page1_wants_wal(const void *buf, size_t len)
{
    const uint8_t *bytes = buf;

    assert(bytes != NULL);
    return ramet_dbheader_is(bytes, len) &&
           (bytes[RAMET_DBHEADER_FORMATS_AT] == 2 ||
            bytes[RAMET_DBHEADER_FORMATS_AT + 1] == 2);
}
