/*
 * pins.c - who sees which snapshot: the pin slots of all sessions. The full fences are
 * the other half of invariant (1) of session/pin.c.
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

    assert(slot < RAMET_PIN_SLOTS);
    if (os->lock(os->ctx, session->lock_fd, RAMET_LOCK_SLOTS + slot, 1,
                 RAMET_LOCK_EXCLUSIVE) != 0)
        return false;
    ramet_pos_store(&replica->head->pins[slot].tail, RAMET_NO_POS);
    ramet_lock_drop(os, session->lock_fd, RAMET_LOCK_SLOTS + slot);
    return true;
}

struct ramet_pos
ramet_index_least_pin(struct ramet_session *session, struct ramet_pos from)
{
    struct ramet_index_head *const head = session->replica->head;
    const uint64_t used = atomic_load(&head->header.all.slot_hint);
    struct ramet_pos least = RAMET_POS_MAX;

    assert(session->lock_fd >= 0);
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < used && i < RAMET_PIN_SLOTS; i++) {
        const struct ramet_pos tail = ramet_pos_load(&head->pins[i].tail);

        if (!ramet_pos_is_none(tail) && !ramet_pos_before(tail, from) &&
            ramet_pos_before(tail, least) && i != session->slot &&
            !clear_if_dead(session, i))
            least = tail;
    }
    return least;
}

static unsigned
add_tail(struct ramet_pos tail, struct ramet_pos *tails, unsigned count)
{
    unsigned at = count;

    assert(count <= RAMET_PIN_SLOTS && !ramet_pos_is_none(tail));
    while (at > 0 && ramet_pos_before(tails[at - 1], tail))
        at--;
    if (at > 0 && ramet_pos_same(tails[at - 1], tail))
        return count;
    memmove(tails + at + 1, tails + at, (count - at) * sizeof(*tails));
    tails[at] = tail;
    return count + 1;
}

unsigned
ramet_index_pins(struct ramet_session *session, struct ramet_pos below,
                 struct ramet_pos *out_tails)
{
    struct ramet_index_head *const head = session->replica->head;
    const uint64_t used = atomic_load(&head->header.all.slot_hint);
    unsigned count = 0;

    if (session->is_pinned &&
        ramet_pos_before(session->pin.snapshot.tail, below))
        count = add_tail(session->pin.snapshot.tail, out_tails, count);
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < used && i < RAMET_PIN_SLOTS; i++) {
        const struct ramet_pos tail = ramet_pos_load(&head->pins[i].tail);

        if (!ramet_pos_is_none(tail) && ramet_pos_before(tail, below) &&
            i != session->slot && !clear_if_dead(session, i))
            count = add_tail(tail, out_tails, count);
    }
    assert(count <= RAMET_PIN_SLOTS + 1);
    return count;
}
