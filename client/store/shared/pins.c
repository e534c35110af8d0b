/*
 * pins.c - who sees which snapshot: the pin slots of all sessions.
 */
#include "client/store/shared/pins.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"

/* Of a slot that has a value: the lock proves that nobody lives in it. */
static bool
clear_if_dead(struct ramet_session *session, uint32_t slot)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;

    if (os->lock(os->ctx, session->lock_fd, RAMET_LOCK_SLOTS + slot, 1,
                 RAMET_LOCK_EXCLUSIVE) != 0)
        return false;
    atomic_store(&replica->head->pins[slot].tail, 0);
    ramet_lock_drop(os, session->lock_fd, RAMET_LOCK_SLOTS + slot);
    return true;
}

uint64_t
ramet_index_least_pin(struct ramet_session *session, uint64_t from)
{
    struct ramet_index_head *const head = session->replica->head;
    const uint64_t used = atomic_load(&head->header.slot_hint);
    uint64_t least = UINT64_MAX;

    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < used && i < RAMET_PIN_SLOTS; i++) {
        const uint64_t tail = atomic_load(&head->pins[i].tail);

        if (tail != 0 && tail >= from && tail < least && i != session->slot &&
            !clear_if_dead(session, i))
            least = tail;
    }
    return least;
}

static unsigned
add_tail(uint64_t tail, uint64_t *tails, unsigned count)
{
    unsigned at = count;

    while (at > 0 && tails[at - 1] < tail)
        at--;
    if (at > 0 && tails[at - 1] == tail)
        return count;
    memmove(tails + at + 1, tails + at, (count - at) * sizeof(*tails));
    tails[at] = tail;
    return count + 1;
}

unsigned
ramet_index_pins(struct ramet_session *session, uint64_t below,
                 uint64_t *out_tails)
{
    struct ramet_index_head *const head = session->replica->head;
    const uint64_t used = atomic_load(&head->header.slot_hint);
    unsigned count = 0;

    if (session->is_pinned && session->pin.snapshot.tail < below)
        count = add_tail(session->pin.snapshot.tail, out_tails, count);
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < used && i < RAMET_PIN_SLOTS; i++) {
        const uint64_t tail = atomic_load(&head->pins[i].tail);

        if (tail != 0 && tail < below && i != session->slot &&
            !clear_if_dead(session, i))
            count = add_tail(tail, out_tails, count);
    }
    return count;
}
