/*
 * park.c - a replica that nobody is at does with few descriptors, where this
 * process has many: its directory, the base, and a lock file for each session. The
 * others are opened again when they are needed.
 *
 * Layer: client, store/life.
 */
#include <assert.h>

#include "client/store/exchange.h"
#include "client/store/life/registry.h"
#include "client/store/log/recent.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"

bool
ramet_replica_should_park(void)
{
    return ramet_registry_is_crowded();
}

static bool
is_log_synced(const struct ramet_replica *replica)
{
    const struct ramet_index_header *const header = &replica->head->header;
    struct ramet_published newest;

    assert(ramet_is_held(replica, RAMET_LOCK_WRITE));
    ramet_index_newest(replica, &newest);
    return !ramet_pos_before(ramet_pos_load(&header->all.synced),
                             newest.snapshot.tail) &&
           atomic_load(&header->all.sync_failed) == 0;
}

/* With the write and checkpoint locks. */
static void
let_go(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    if (ramet_base_lock(session, 0, NULL) != RAMET_OK)
        return;
    ramet_recent_forget_all(replica);
    ramet_index_let_go(replica);
    if (is_log_synced(replica))
        ramet_frame_files_let_go(replica);
    ramet_base_unlock(session);
}

void
ramet_session_park(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;

    if (!ramet_replica_should_park() || replica->is_readonly ||
        session->is_reserved || session->is_pinned ||
        ramet_session_check_fork(session, NULL) != RAMET_OK ||
        ramet_write_lock_internally(session, 0, NULL) != RAMET_OK)
        return; /* somebody is at it */
    if (ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE, 0, "",
                   NULL) == RAMET_OK) {
        let_go(session);
        ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
    }
    ramet_write_unlock(session);
}
