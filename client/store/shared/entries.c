/*
 * entries.c - what the index says of a page: loaded from presence if need be,
 * set, and swapped.
 *
 * An entry is one word, and read without a lock. It is stored with release after what
 * it names was written, and loaded with acquire. Who acts on one that is replaced
 * meanwhile finds out by the frame's head, or by looking at the entry again
 * (version.c); `absent_now` counts about.
 */
#include "client/store/shared/entries.h"

#include <assert.h>

#include "client/store/format/frames.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"

static enum ramet_rc
take_entry(const struct ramet_replica *replica, struct ramet_entry entry,
           struct ramet_entry *out, struct ramet_err *err)
{
    assert(!ramet_entry_is_none(entry)); /* that was loaded */
    *out = entry;
    return !ramet_entry_same(entry, RAMET_ENTRY_UNSEEN)
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "map the index of %s",
                            replica->path);
}

/* Fill in the block of entries around `pgno` from the presence file. */
static enum ramet_rc
load_block(struct ramet_session *session, uint32_t pgno, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const uint32_t first = (pgno - 1) / RAMET_LOAD_BLOCK * RAMET_LOAD_BLOCK + 1;
    const uint64_t in_base =
        atomic_load(&replica->head->header.checkpoint.page_count);
    uint64_t *values;
    enum ramet_rc rc = ramet_index_reserve(replica, pgno, err);

    assert(pgno >= 1);
    assert(ramet_may_read_base(replica));
    if (rc != RAMET_OK)
        return rc;
    values = ramet_alloc(RAMET_LOAD_BLOCK * sizeof(*values));
    if (values == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "index: no memory");
    rc = ramet_presence_read(replica, first, RAMET_LOAD_BLOCK, values, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < RAMET_LOAD_BLOCK; i++) {
        const uint64_t page = (uint64_t)first + i;
        const enum ramet_entry_kind kind =
            page > in_base
                ? RAMET_ENTRY_ZERO
                : ramet_presence_kind(values[i], replica->default_held);
        uint64_t none = 0;

        if (page > UINT32_MAX)
            break;
        if (kind == RAMET_ENTRY_NONE) /* damaged: it stays unknown */
            continue;
        atomic_compare_exchange_strong_explicit(
            ramet_index_slot(replica, (uint32_t)page), &none,
            ramet_entry_of_stamp(kind, 0).raw, memory_order_acq_rel,
            memory_order_relaxed);
    }
    ramet_free(values);
    return rc;
}

enum ramet_rc
ramet_index_load_locked(struct ramet_session *session, uint32_t pgno,
                        struct ramet_entry *out_entry, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_entry entry = ramet_index_known(replica, pgno);
    enum ramet_rc rc;

    assert(ramet_may_read_base(replica));
    assert(pgno != 0);
    if (ramet_entry_is_none(entry)) {
        rc = load_block(session, pgno, err);
        if (rc != RAMET_OK)
            return rc;
        entry = ramet_index_peek(replica, pgno);
        if (ramet_entry_is_none(entry))
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "%s: whether page %u is here can't be told: "
                              "%s-ramet/presence is damaged; 'ramet verify' "
                              "mends what can be mended",
                              replica->path, pgno, replica->path);
    }
    return take_entry(replica, entry, out_entry, err);
}

enum ramet_rc
ramet_index_load(struct ramet_session *session, uint32_t pgno,
                 struct ramet_entry *out_entry, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_entry entry = ramet_index_known(replica, pgno);
    enum ramet_rc rc;

    assert(pgno >= 1);
    if (!ramet_entry_is_none(entry))
        return take_entry(replica, entry, out_entry, err);
    if (replica->has_own_index) /* nobody else is here to shut out */
        return ramet_index_load_locked(session, pgno, out_entry, err);
    rc = ramet_base_lock(session, RAMET_LOCK_WAIT_MS, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_index_load_locked(session, pgno, out_entry, err);
    ramet_base_unlock(session);
    return rc;
}

/* ---- set ------------------------------------------------------------------- */

void
ramet_index_uncount_absent(struct ramet_replica *replica)
{
    _Atomic uint64_t *const count = &replica->head->header.all.absent_now;

    if (atomic_load_explicit(count, memory_order_relaxed) != 0)
        atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}

static void
count_absent(struct ramet_replica *replica, struct ramet_entry before,
             struct ramet_entry after)
{
    _Atomic uint64_t *const count = &replica->head->header.all.absent_now;
    const bool was = ramet_entry_is_absent(before);
    const bool is = ramet_entry_is_absent(after);

    if (was == is)
        return;
    if (is)
        atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    else
        ramet_index_uncount_absent(replica);
}

void
ramet_index_set(struct ramet_replica *replica, uint32_t pgno,
                struct ramet_entry entry)
{
    _Atomic uint64_t *const slot = ramet_index_slot(replica, pgno);

    assert(ramet_may_publish(replica) || ramet_may_write_base(replica));
    assert(slot != NULL && !ramet_entry_is_none(entry));
    count_absent(replica,
                 (struct ramet_entry){atomic_exchange_explicit(
                     slot, entry.raw, memory_order_acq_rel)},
                 entry);
}

bool
ramet_index_swap(struct ramet_replica *replica, uint32_t pgno,
                 struct ramet_entry expected, struct ramet_entry entry)
{
    _Atomic uint64_t *const slot = ramet_index_slot(replica, pgno);
    uint64_t seen = expected.raw;

    assert(slot != NULL && !ramet_entry_is_none(entry));
    assert(ramet_may_publish(replica) || ramet_may_write_base(replica));
    if (!atomic_compare_exchange_strong_explicit(slot, &seen, entry.raw,
                                                 memory_order_acq_rel,
                                                 memory_order_relaxed)) {
        /* What was never loaded stands for its default. */
        if (seen != 0 ||
            !ramet_entry_same(expected, ramet_index_default(replica, pgno)) ||
            !atomic_compare_exchange_strong_explicit(slot, &seen, entry.raw,
                                                     memory_order_acq_rel,
                                                     memory_order_relaxed))
            return false;
    }
    count_absent(replica, expected, entry);
    return true;
}
