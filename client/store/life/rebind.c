/*
 * rebind.c - a replica goes over to a copy of its volume.
 *
 *   (1) nobody else has it open: whoever has may be talking to the remote that it
 *       leaves
 *   (2) nothing is on its way there: no push and no commit whose end isn't known
 *   (3) it stands on the commit that the caller found in the copy, still
 */
#include <assert.h>
#include <string.h>

#include "client/store/exchange.h"
#include "client/store/format/state.h"
#include "client/store/life/explain.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"

enum ramet_rc
ramet_session_check_resolved(struct ramet_session *session,
                             struct ramet_replica_state *state,
                             struct ramet_err *err)
{
    struct ramet_cid doubt;
    enum ramet_rc rc = ramet_session_doubt(session, &doubt, err);

    if (rc == RAMET_OK)
        rc = ramet_session_state(session, state, err);
    if (rc != RAMET_OK ||
        (ramet_id_is_nil(&doubt.id) && ramet_id_is_nil(&state->intent.id)))
        return rc;
    return RAMET_FAIL(err, RAMET_EUNKNOWN,
                      "%s: a commit was sent, and no answer came: 'ramet push "
                      "FILE' finds out what became of it",
                      session->replica->path);
}

/* Invariant (3): the fold, and the remote in `state`, which is a stage of it. */
static enum ramet_rc
check_point(struct ramet_session *session, const struct ramet_point *point,
            struct ramet_err *err)
{
    struct ramet_replica_state state = {.kind = 0};
    enum ramet_rc rc = ramet_session_check_resolved(session, &state, err);

    assert(ramet_holds(session, RAMET_LOCK_LIVE)); /* invariant (1) */
    if (rc == RAMET_OK &&
        (state.newest.lsn != point->lsn ||
         !ramet_hash_equal(&state.newest.lsn_hash, &point->hash)))
        rc = RAMET_FAIL(
            err, RAMET_ESNAPSHOT,
            "%s: was pulled or pushed while the other remote was being asked",
            session->replica->path);
    ramet_replica_state_done(&state);
    return rc;
}

static enum ramet_rc
write_remote(struct ramet_session *session, const char *remote,
             struct ramet_err *err)
{
    const struct ramet_replica *const replica = session->replica;
    struct ramet_state_file *const file = ramet_calloc(1, sizeof(*file));
    enum ramet_rc rc;

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    assert(strlen(remote) < RAMET_URL_MAX);
    if (file == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for the state");
    rc = ramet_state_file_read(replica->os, replica->dir_fd, file, err);
    if (rc == RAMET_OK) {
        strcpy(file->fold.remote, remote);
        rc = ramet_state_file_write(replica->os, replica->dir_fd, file, err);
    }
    ramet_state_file_done(file);
    ramet_free(file);
    return rc;
}

enum ramet_rc
ramet_session_rebind(struct ramet_session *session, const char *remote,
                     const struct ramet_point *point, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    assert(!session->is_reserved);
    if (rc != RAMET_OK)
        return rc;
    if (session->is_readonly)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s is open for reading only",
                          session->replica->path);
    if (strlen(remote) >= RAMET_URL_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "a remote's URL is too long");
    rc = ramet_session_be_alone(session, err);
    if (rc == RAMET_OK)
        rc = check_point(session, point, err);
    if (rc == RAMET_OK)
        rc = ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE,
                        RAMET_LOCK_WAIT_MS, "a checkpoint is under way", err);
    if (rc == RAMET_OK) {
        rc = write_remote(session, remote, err);
        ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
    }
    if (ramet_holds(session, RAMET_LOCK_OPEN))
        ramet_unlock(session, RAMET_LOCK_OPEN);
    return rc;
}
