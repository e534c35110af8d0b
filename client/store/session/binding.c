/*
 * binding.c - what the state file says of a replica's remote: which it is, and
 * whether what the remote has comes here by itself.
 *
 *   (1) it changes under the checkpoint lock; what was decided without the write
 *       lock is checked again under it: nothing was written meanwhile
 */
#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/state.h"
#include "client/store/log/publish.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"

#define BIND_WAIT_MS 10000u

/* The state as it is on disk; free_state() it, whatever comes of it. */
static enum ramet_rc
load_state(const struct ramet_replica *replica,
           struct ramet_state_file **out_file, struct ramet_err *err)
{
    *out_file = ramet_calloc(1, sizeof(**out_file));
    return *out_file == NULL
               ? RAMET_FAIL(err, RAMET_ENOMEM, "no memory for the state")
               : ramet_state_file_read(replica->os, replica->dir_fd, *out_file,
                                       err);
}

static void
free_state(struct ramet_state_file *file)
{
    if (file != NULL)
        ramet_state_file_done(file);
    ramet_free(file);
}

/* Of a replica that has no volume yet: where its volume is to be, and, unless
 * nil, which it is. */
static enum ramet_rc
write_binding(struct ramet_session *session, const char *remote,
              const struct ramet_vid *volume, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_state_file *file;
    enum ramet_rc rc = load_state(replica, &file, err);

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT)); /* invariant (1) */
    if (rc == RAMET_OK && !ramet_id_is_nil(&file->fold.volume.id)) {
        if (ramet_id_compare(&file->fold.volume.id, &volume->id) != 0)
            rc = RAMET_FAIL(err, RAMET_EEXIST, "%s is bound to %s already",
                            replica->path, file->fold.remote);
    } else if (rc == RAMET_OK) {
        strcpy(file->fold.remote, remote);
        file->fold.volume = *volume;
        rc = ramet_state_file_write(replica->os, replica->dir_fd, file, err);
    }
    free_state(file);
    return rc;
}

enum ramet_rc
ramet_session_bind(struct ramet_session *session, const char *remote,
                   const struct ramet_vid *volume, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK)
        return rc;
    if (session->is_readonly)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s is open for reading only",
                          replica->path);
    if (strlen(remote) >= RAMET_URL_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "a remote's URL is too long");
    rc = ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE,
                    RAMET_LOCK_WAIT_MS, "a checkpoint is under way", err);
    if (rc != RAMET_OK)
        return rc;
    rc = write_binding(session, remote, volume, err);
    ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
    return rc;
}

enum ramet_rc
ramet_session_bind_unchanged(struct ramet_session *session,
                             const struct ramet_snapshot *base,
                             const char *remote, const struct ramet_vid *volume,
                             struct ramet_err *err)
{
    struct ramet_published newest;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc == RAMET_OK)
        rc = ramet_write_lock_internally(session, BIND_WAIT_MS, err);
    if (rc != RAMET_OK)
        return rc;
    if (!ramet_is_recovered(session->replica))
        rc = ramet_recover_prepared(session, err);
    ramet_index_newest(session->replica, &newest);
    if (rc == RAMET_OK &&
        !ramet_pos_same(newest.snapshot.tail, base->tail)) /* (1) */
        rc = RAMET_FAIL(err, RAMET_ESNAPSHOT,
                        "%s: was written to while its remote was asked",
                        session->replica->path);
    assert(ramet_holds(session, RAMET_LOCK_WRITE)); /* invariant (1) */
    if (rc == RAMET_OK)
        rc = ramet_session_bind(session, remote, volume, err);
    ramet_write_unlock(session);
    return rc;
}

/* ---- lazy blobs ------------------------------------------------------------ */

enum ramet_rc
ramet_session_is_lazy(struct ramet_session *session, bool *out_lazy,
                      struct ramet_err *err)
{
    struct ramet_state_file *file;
    const enum ramet_rc rc = load_state(session->replica, &file, err);

    assert(session->replica->kind == RAMET_KIND_BLOB);
    *out_lazy = rc == RAMET_OK && file->is_lazy;
    free_state(file);
    return rc;
}

static enum ramet_rc
write_not_lazy(struct ramet_session *session, struct ramet_err *err)
{
    const struct ramet_replica *const replica = session->replica;
    struct ramet_state_file *file;
    enum ramet_rc rc = load_state(replica, &file, err);

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT)); /* invariant (1) */
    if (rc == RAMET_OK && file->is_lazy) {
        file->is_lazy = false;
        rc = ramet_state_file_write(replica->os, replica->dir_fd, file, err);
    }
    free_state(file);
    return rc;
}

enum ramet_rc
ramet_session_end_lazy(struct ramet_session *session, struct ramet_err *err)
{
    bool is_lazy;
    enum ramet_rc rc = ramet_session_is_lazy(session, &is_lazy, err);

    assert(!ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    if (rc != RAMET_OK || !is_lazy || session->is_readonly)
        return rc;
    rc = ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE,
                    RAMET_LOCK_WAIT_MS, "a checkpoint is under way", err);
    if (rc != RAMET_OK)
        return rc;
    rc = write_not_lazy(session, err);
    ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
    return rc;
}
