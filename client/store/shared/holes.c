/*
 * holes.c - pages of the base that are zeros because there is nothing of them
 * on the disk: a sparse file is not read to find that out.
 *
 *   (1) what a hole says of a page counts only if its index entry says "in the
 *       base" before and after the look, and is the same entry
 *   (2) nor does it where presence has another checksum than that of zeros, or can't
 *       be read: the blocks are gone, and who reads the page is told
 */
#include "client/store/shared/holes.h"

#include <assert.h>
#include <errno.h>

#include "client/store/format/frames.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"

#define AT_ONCE 512u

uint32_t
ramet_base_hole(const struct ramet_replica *replica, uint32_t page_size,
                uint32_t pgno, uint32_t most)
{
    const struct ramet_os *const os = replica->os;
    const uint64_t offset = (uint64_t)(pgno - 1) * page_size;
    uint64_t count;
    int64_t data;

    assert(pgno >= 1 && most >= 1);
    if (pgno == 1) /* its first bytes stand elsewhere */
        return 0;
    data = os->seek_data(os->ctx, replica->base_fd, offset);
    if (data == -ENXIO) /* to the end */
        return most;
    if (data < 0 || (uint64_t)data <= offset)
        return 0;
    count = ((uint64_t)data - offset) / page_size;
    return count < most ? (uint32_t)count : most;
}

/* How many pages of a hole presence has no other bytes for: (2). */
static enum ramet_rc
count_zeros(struct ramet_session *session, uint32_t pgno, uint32_t hole,
            uint32_t *out_count, struct ramet_err *err)
{
    static const uint8_t zeros[RAMET_PAGE_SIZE_MAX];
    const uint32_t page_size = session->pin.snapshot.page_size;
    uint64_t values[AT_ONCE];
    uint64_t sum = 0; /* of zeros, once it is needed */
    uint32_t count = 0;
    enum ramet_rc rc = ramet_base_lock(session, RAMET_LOCK_WAIT_MS, err);

    assert(pgno >= 2 && hole >= 1 && hole <= AT_ONCE);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_presence_read(session->replica, pgno, hole, values, err);
    ramet_base_unlock(session);
    for (; rc == RAMET_OK && count < hole; count++) {
        const uint64_t value = values[count];

        if (value == RAMET_PRESENCE_DAMAGED)
            break;
        if (!ramet_presence_is_sum(value))
            continue;
        if (sum == 0)
            sum = ramet_presence_sum(pgno, zeros, page_size);
        if (value != sum)
            break;
    }
    *out_count = count;
    return rc;
}

enum ramet_rc
ramet_session_hole(struct ramet_session *session, uint32_t pgno, uint32_t most,
                   uint32_t *out_count, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const uint64_t in_base =
        atomic_load(&replica->head->header.checkpoint.page_count);
    struct ramet_entry entries[AT_ONCE];
    uint32_t count = 0;
    uint32_t hole;
    enum ramet_rc rc;

    assert(pgno >= 1);
    *out_count = 0;
    if (ramet_session_is_parents(session) || ramet_session_has_own(session) ||
        replica->is_readonly)
        return RAMET_OK;
    if (most > AT_ONCE)
        most = AT_ONCE;
    for (; count < most && (uint64_t)pgno + count <= in_base; count++) {
        entries[count] = ramet_index_known(replica, pgno + count);
        if (ramet_entry_kind(entries[count]) != RAMET_ENTRY_HELD)
            break;
    }
    if (count == 0)
        return RAMET_OK;
    hole =
        ramet_base_hole(replica, session->pin.snapshot.page_size, pgno, count);
    if (hole == 0)
        return RAMET_OK;
    rc = count_zeros(session, pgno, hole, &hole, err);
    if (rc != RAMET_OK)
        return rc;
    atomic_thread_fence(memory_order_acquire);
    for (uint32_t i = 0; i < hole; i++)
        if (!ramet_entry_same(ramet_index_known(replica, pgno + i),
                              entries[i])) /* (1) */
            break;
        else
            *out_count = i + 1;
    return RAMET_OK;
}
