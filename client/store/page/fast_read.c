/*
 * fast_read.c - the short way to a page that the base has, as it has nearly all
 * that are read. Scans are read ahead.
 *
 *   (1) nothing is locked; what was read counts only if the page's entry is the
 *       same afterwards
 *   (2) what was read ahead counts only while the page's entry is the one from
 *       before it was read: none of the base comes back with other bytes, for
 *       their stamps grow, and a page that never had one never changed
 *   (3) what is not plain is left to the long way, which finds out and says so
 */
#include "client/store/page/fast_read.h"

#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/page/retained.h"
#include "client/store/shared/index.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"

#define PAGES_MAX 16u         /* read at once */
#define BYTES_MAX (64u << 10) /* likewise */
#define SKIP_MAX 8u           /* pages that a scan may leave out */

struct ramet_ahead {
    uint32_t first;
    uint32_t count;
    uint32_t page_size;
    struct ramet_entry entries[PAGES_MAX];
    uint8_t bytes[BYTES_MAX];
};

/* By invariant (2). */
static bool
take_ahead(const struct ramet_session *session, uint32_t pgno,
           struct ramet_entry entry, uint8_t *out)
{
    const struct ramet_ahead *const ahead = session->ahead;
    const uint32_t page_size = session->pin.snapshot.page_size;
    uint32_t at;

    assert(session->is_pinned && pgno >= 1);
    if (ahead == NULL || ahead->page_size != page_size)
        return false;
    at = pgno - ahead->first; /* what is before it wraps around */
    if (at >= ahead->count || !ramet_entry_same(ahead->entries[at], entry))
        return false;
    memcpy(out, ahead->bytes + (size_t)at * page_size, page_size);
    return true;
}

/* Each further read of a scan brings twice as many pages as the one before. */
static uint32_t
choose_count(const struct ramet_session *session, uint32_t pgno)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    uint32_t count = session->scan_count * 2;
    uint32_t fit;

    assert(session->is_pinned);
    if (count == 0 || pgno - session->scan_next > SKIP_MAX)
        return 1;
    fit = BYTES_MAX / s->page_size;
    count = count < PAGES_MAX ? count : PAGES_MAX;
    count = count < fit ? count : fit;
    fit = s->page_count - pgno + 1;
    return count < fit ? count : fit;
}

/* Entries of the pages from `pgno` on, as far as the base has those. */
static uint32_t
note_entries(struct ramet_replica *replica, uint32_t pgno, uint32_t max,
             struct ramet_entry *out)
{
    uint32_t count = 0;

    while (count < max) {
        const struct ramet_entry entry =
            ramet_index_known(replica, pgno + count);

        if (ramet_entry_kind(entry) != RAMET_ENTRY_HELD)
            break;
        out[count++] = entry;
    }
    return count;
}

/* What `iov` has room for, from page `pgno` on; false: not even that page. */
static bool
read_base(struct ramet_replica *replica, uint32_t pgno, uint32_t page_size,
          const struct iovec *iov, int iovcnt, size_t *out_got)
{
    const ssize_t got =
        replica->os->preadv(replica->os->ctx, replica->base_fd, iov, iovcnt,
                            (uint64_t)(pgno - 1) * page_size);

    assert(pgno >= 1);
    if (got < (ssize_t)page_size)
        return false;
    *out_got = (size_t)got;
    return true;
}

/* Page `pgno` into `out`, and some that follow into the buffer. */
static bool
read_ahead(struct ramet_session *session, uint32_t pgno, uint32_t count,
           uint8_t *out)
{
    const uint32_t page_size = session->pin.snapshot.page_size;
    struct ramet_ahead *const ahead = session->ahead;
    struct iovec iov[2] = {{out, page_size}, {ahead->bytes, 0}};
    size_t got;

    assert(count >= 1);
    ahead->page_size = page_size;
    ahead->first = pgno + 1;
    ahead->count = 0;
    iov[1].iov_len = (size_t)note_entries(session->replica, pgno + 1, count - 1,
                                          ahead->entries) *
                     page_size;
    if (!read_base(session->replica, pgno, page_size, iov, 2, &got))
        return false;
    ahead->count = (uint32_t)(got / page_size) - 1;
    return true;
}

static bool
read_pages(struct ramet_session *session, uint32_t pgno, uint8_t *out)
{
    const uint32_t page_size = session->pin.snapshot.page_size;
    const uint32_t count = choose_count(session, pgno);
    const struct iovec iov = {out, page_size};
    size_t got;

    assert(session->is_pinned);
    session->scan_next = pgno + count;
    session->scan_count = count;
    if (count > 1 && session->ahead == NULL)
        session->ahead = ramet_alloc(sizeof(*session->ahead));
    return count > 1 && session->ahead != NULL
               ? read_ahead(session, pgno, count, out)
               : read_base(session->replica, pgno, page_size, &iov, 1, &got);
}

/* By a checkpoint: the base may be too new. Looked at after entry and base. */
static bool
is_passed(const struct ramet_session *session)
{
    return ramet_retained_counts(session->replica, session->pin.snapshot.tail);
}

bool
ramet_fast_read(struct ramet_session *session, uint32_t pgno, uint8_t *out)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_entry entry = ramet_index_known(replica, pgno);
    bool done;

    assert(session->is_pinned && pgno != 0);
    assert(session->is_pinned && pgno <= session->pin.snapshot.page_count);
    if (ramet_entry_kind(entry) != RAMET_ENTRY_HELD || pgno == 1 ||
        replica->base_fd < 0 || is_passed(session))
        return false;
    if (take_ahead(session, pgno, entry, out))
        return true;
    done = read_pages(session, pgno, out);
    atomic_thread_fence(memory_order_acquire); /* after what was read */
    return done &&
           ramet_entry_same(ramet_index_known(replica, pgno),
                            entry) && /* (1) */
           !is_passed(session);
}
