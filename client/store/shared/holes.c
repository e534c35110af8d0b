/*
 * holes.c - pages of the base that are zeros because there is nothing of them
 * on the disk: a sparse file is not read to find that out.
 *
 *   (1) what a hole says of a page counts only if its index entry says "in the
 *       base" before and after the look, and is the same entry
 */
#include "client/store/shared/holes.h"

#include <assert.h>
#include <errno.h>

#include "client/store/format/frames.h"
#include "client/store/shared/index.h"
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

uint32_t
ramet_session_hole(struct ramet_session *session, uint32_t pgno, uint32_t most)
{
    struct ramet_replica *const replica = session->replica;
    const uint64_t in_base =
        atomic_load(&replica->head->header.checkpoint.page_count);
    struct ramet_entry entries[AT_ONCE];
    uint32_t count = 0;
    uint32_t hole;

    assert(pgno >= 1);
    if (ramet_session_is_parents(session) || ramet_session_has_own(session))
        return 0;
    if (most > AT_ONCE)
        most = AT_ONCE;
    for (; count < most && (uint64_t)pgno + count <= in_base; count++) {
        entries[count] = ramet_index_known(replica, pgno + count);
        if (ramet_entry_kind(entries[count]) != RAMET_ENTRY_HELD)
            break;
    }
    if (count == 0)
        return 0;
    hole =
        ramet_base_hole(replica, session->pin.snapshot.page_size, pgno, count);
    atomic_thread_fence(memory_order_acquire);
    for (uint32_t i = 0; i < hole; i++)
        if (!ramet_entry_same(ramet_index_known(replica, pgno + i),
                              entries[i])) /* (1) */
            return i;
    return hole;
}
