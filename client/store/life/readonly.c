/*
 * readonly.c - reading a replica in a directory that can't be written.
 *
 * Such a session can take shared locks only: it has no pin slot, and no index
 * but its own, made from state, presence and log. While it is there the shared
 * lock on the byte `unpinned` keeps checkpoints from moving anything.
 *
 *   (1) a record of a writer that is at work may yet be voided: the last one
 *       counts only when nobody holds the write lock after it was read
 */
#include "client/store/life/readonly.h"

#include <assert.h>
#include <fcntl.h>

#include "client/store/format/state.h"
#include "client/store/life/explain.h"
#include "client/store/log/follow.h"
#include "client/store/shared/base_check.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"

static enum ramet_rc
build_own_index(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    struct ramet_state_file *const state = ramet_calloc(1, sizeof(*state));
    struct ramet_base_look look;
    uint64_t absent = 0;
    int64_t none;
    int fd = -1;
    enum ramet_rc rc;

    assert(replica->is_readonly && replica->head == NULL);
    if (state == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to open %s",
                          replica->path);
    rc = ramet_replica_read_state(replica, state, err);
    if (rc == RAMET_OK && replica->base_fd < 0) {
        replica->base_fd = os->open(os->ctx, replica->parent_fd, replica->name,
                                    O_RDONLY | O_NOFOLLOW, 0);
        if (replica->base_fd < 0)
            rc = ramet_fail_base(replica, -replica->base_fd, err);
    }
    if (rc == RAMET_OK) {
        ramet_replica_adopt_state(replica, state);
        replica->has_own_index = true;
        rc = ramet_base_check(replica, state, ramet_index_seen_ctime(replica),
                              &look, err);
    }
    if (rc == RAMET_OK)
        rc = ramet_index_create(replica, &fd, &none, err);
    if (rc == RAMET_OK) {
        ramet_index_begin(replica, state);
        rc = ramet_presence_count_absent(replica, state->base_page_count,
                                         &absent, err);
        atomic_store(&replica->head->header.base.absent, absent);
        atomic_store(&replica->head->header.all.absent_now, absent);
        atomic_store(&replica->head->header.base.is_marked,
                     look.form == RAMET_BASE_MARKED);
    }
    if (rc == RAMET_OK && look.has_happened)
        rc = ramet_readonly_catch_up(session, err);
    if (rc == RAMET_OK)
        rc = ramet_base_compare(replica, &look, false, err);
    ramet_state_file_done(state);
    ramet_free(state);
    return rc;
}

enum ramet_rc
ramet_readonly_open(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    enum ramet_rc rc =
        ramet_lock(session, RAMET_LOCK_UNPINNED, RAMET_LOCK_SHARED,
                   RAMET_LOCK_WAIT_MS, "a checkpoint is under way", err);

    assert(replica->is_readonly && session->slot == RAMET_NO_SLOT);
    if (rc == RAMET_OK && !replica->is_ready)
        rc = build_own_index(session, err);
    if (rc != RAMET_OK)
        return rc;
    replica->is_ready = true;
    replica->live_count++;
    ramet_session_enter(session);
    return RAMET_OK;
}
