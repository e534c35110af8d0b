/*
 * mark.c - the true header goes off the base, and the replica mark on.
 *
 *   (1) the mark is on disk before any page is written: after a crash in the
 *       midst of that the base is known to be ours
 *   (2) it gets the next token before anything else of a base changes, and
 *       until a state says which one that is: what differs from presence then
 *       is in the log, or absent
 *   (3) where a sync of the base failed it is written again: base.c
 */
#include "client/store/shared/mark.h"

#include <assert.h>
#include <errno.h>

#include "client/store/shared/base.h"
#include "client/store/shared/base_check.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"

#define SHARED_REST (RAMET_PENDING_BYTE + 3) /* byte ...02 is ours and shared */
#define SHARED_REST_LEN 509u

/* Keep native SQLite out for the moment: no reader, no writer. */
static enum ramet_rc
lock_natives(struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    int result = os->lock(os->ctx, replica->base_fd, RAMET_PENDING_BYTE, 1,
                          RAMET_LOCK_EXCLUSIVE);

    assert(ramet_is_held(replica, RAMET_LOCK_MARK));
    if (result == 0) {
        result = os->lock(os->ctx, replica->base_fd, SHARED_REST,
                          SHARED_REST_LEN, RAMET_LOCK_EXCLUSIVE);
        if (result != 0)
            os->lock(os->ctx, replica->base_fd, RAMET_PENDING_BYTE, 1,
                     RAMET_UNLOCK);
    }
    if (result == 0)
        return RAMET_OK;
    if (result == -EAGAIN)
        return RAMET_FAIL(err, RAMET_EBUSY,
                          "%s is in use by a program that does not know Ramet",
                          replica->path);
    return RAMET_FAIL_OS(err, result, "lock %s", replica->path);
}

static void
unlock_natives(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;

    assert(ramet_is_held(replica, RAMET_LOCK_MARK));
    os->lock(os->ctx, replica->base_fd, SHARED_REST, SHARED_REST_LEN,
             RAMET_UNLOCK);
    os->lock(os->ctx, replica->base_fd, RAMET_PENDING_BYTE, 1, RAMET_UNLOCK);
}

static bool
is_marked(const struct ramet_replica *replica)
{
    return atomic_load_explicit(&replica->head->header.base.is_marked,
                                memory_order_acquire) != 0;
}

/* The mark, with the next token; invariant (2). */
static enum ramet_rc
write_mark(struct ramet_replica *replica, struct ramet_err *err)
{
    struct ramet_index_header *const header = &replica->head->header;
    const uint32_t token = (uint32_t)atomic_load(&header->base.mark_next);
    uint8_t mark[RAMET_TRUE_HEADER_SIZE];
    enum ramet_rc rc;

    assert(ramet_is_held(replica, RAMET_LOCK_MARK) ||
           ramet_may_write_base(replica));
    ramet_base_mark(&replica->base_id, token, mark);
    rc = ramet_os_write_full(replica->os, replica->base_fd, mark, sizeof(mark),
                             0, replica->path, err);
    if (rc == RAMET_OK)
        atomic_store(&header->base.mark_token, token);
    return rc;
}

static enum ramet_rc
sync_mark(struct ramet_replica *replica, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_base_datasync(replica, err);

    assert(ramet_is_held(replica, RAMET_LOCK_MARK) ||
           ramet_may_write_base(replica));
    if (rc == RAMET_OK)
        atomic_store(&replica->head->header.base.mark_synced, 1);
    return rc;
}

static enum ramet_rc
put_mark_on(struct ramet_replica *replica, struct ramet_err *err)
{
    struct ramet_index_header *const header = &replica->head->header;
    const bool was_at_rest = ramet_base_is_at_rest(replica);
    enum ramet_rc rc = lock_natives(replica, err);

    assert(ramet_is_held(replica, RAMET_LOCK_MARK));
    if (rc != RAMET_OK)
        return rc;
    /* Who dies behind the write has the last to close look for the mark. */
    atomic_store(&header->all.was_written, 1);
    rc = write_mark(replica, err);
    unlock_natives(replica);
    /* Should the power take the mark, checksums tell that the base is ours; if
     * there are none, the mark has to last. */
    if (rc == RAMET_OK && atomic_load(&header->base.is_unsummed) != 0)
        rc = sync_mark(replica, err);
    if (was_at_rest)
        ramet_base_rest(replica);
    if (rc == RAMET_OK)
        atomic_store_explicit(&header->base.is_marked, 1, memory_order_release);
    return rc;
}

static enum ramet_rc
unclean(struct ramet_session *session, bool confirms, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    enum ramet_rc rc;

    assert(ramet_may_publish(replica) || ramet_may_write_base(replica));
    if (is_marked(replica))
        return RAMET_OK;
    /* One at a time: to another the first would look like a native reader. */
    rc = ramet_lock(session, RAMET_LOCK_MARK, RAMET_LOCK_EXCLUSIVE,
                    RAMET_LOCK_WAIT_MS, "another session begins to write", err);
    if (rc != RAMET_OK)
        return rc;
    if (!is_marked(replica)) {
        if (confirms)
            rc = ramet_base_confirm(replica, err);
        if (rc == RAMET_OK)
            rc = put_mark_on(replica, err);
    }
    ramet_unlock(session, RAMET_LOCK_MARK);
    return rc;
}

enum ramet_rc
ramet_base_unclean(struct ramet_session *session, struct ramet_err *err)
{
    return unclean(session, true, err);
}

enum ramet_rc
ramet_base_begin_mending(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    enum ramet_rc rc = unclean(session, false, err);

    assert(ramet_may_write_base(replica));
    if (rc != RAMET_OK)
        return rc;
    atomic_store(&header->all.was_written, 1);
    if (atomic_load(&header->base.mark_token) !=
        atomic_load(&header->base.mark_next))
        rc = write_mark(replica, err);
    if (rc == RAMET_OK && atomic_load(&header->base.mark_synced) == 0)
        rc = sync_mark(replica, err);
    return rc;
}

enum ramet_rc
ramet_base_begin(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    enum ramet_rc rc = ramet_base_unclean(session, err);

    assert(ramet_may_write_base(replica));
    if (rc == RAMET_OK)
        rc = ramet_base_confirm(replica, err);
    if (rc == RAMET_OK)
        rc = ramet_base_begin_mending(session, err);
    if (rc == RAMET_OK) /* until it is at rest again */
        atomic_store(&replica->head->header.base.seen_ctime, 0);
    return rc;
}

enum ramet_rc
ramet_base_mark_anew(struct ramet_replica *replica, struct ramet_err *err)
{
    const enum ramet_rc rc = write_mark(replica, err);

    assert(ramet_may_write_base(replica));
    ramet_base_rest(replica);
    return rc;
}
