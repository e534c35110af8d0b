/*
 * follow.c - reading on in a log that others write, with an index of one's own.
 */
#include "client/store/log/follow.h"

#include <assert.h>

#include "client/store/format/frames.h"
#include "client/store/log/logscan.h"
#include "client/store/log/publish.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/shared/super.h"

static enum ramet_rc
catch_up(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    struct ramet_scan scan;
    struct ramet_scan next;
    bool found = true;
    enum ramet_rc rc = RAMET_OK;

    assert(session->replica->has_own_index);
    ramet_scan_init(&scan, replica);
    ramet_scan_init(&next, replica);
    scan.oldest = next.oldest =
        atomic_load(&replica->head->header.checkpoint.oldest);
    while (rc == RAMET_OK && found) {
        struct ramet_published newest;
        bool is_last;

        ramet_index_newest(replica, &newest);
        rc = ramet_scan_next(&scan, newest.snapshot.tail, newest.sum, &found,
                             err);
        if (rc != RAMET_OK || !found)
            break;
        rc = ramet_scan_next(&next, scan.trailer.tail, scan.trailer.sum,
                             &is_last, err);
        is_last = !is_last;
        if (rc == RAMET_OK && is_last) { /* invariant (1) */
            if (os->lock_held(os->ctx, session->lock_fd, RAMET_LOCK_WRITE, 1,
                              RAMET_LOCK_SHARED) != 0)
                break;
            rc = ramet_scan_record(&scan, scan.trailer.start, &found, err);
            if (rc != RAMET_OK || !found || scan.trailer.is_void ||
                ramet_trailer_void_value(&scan.trailer) ==
                    ramet_index_void_pending(replica)) /* see void.c */
                break;
        }
        if (rc == RAMET_OK && ramet_trailer_in_doubt(&scan.trailer))
            break; /* see doubt.c */
        if (rc == RAMET_OK)
            rc = ramet_super_decide(replica, &scan.trailer, &found, err);
        if (rc == RAMET_OK && found)
            rc = ramet_apply_record(session, &scan, err);
    }
    ramet_scan_done(&scan);
    ramet_scan_done(&next);
    return rc;
}

enum ramet_rc
ramet_readonly_catch_up(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    bool entered;
    enum ramet_rc rc;

    assert(replica->has_own_index);
    ramet_mutex_lock(&replica->base_mutex); /* its one index's writers */
    entered = ramet_epoch_enter(session);
    rc = catch_up(session, err);
    ramet_epoch_leave(session, entered);
    ramet_mutex_unlock(&replica->base_mutex);
    return rc;
}
