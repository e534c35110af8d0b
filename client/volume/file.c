/*
 * file.c - the transaction interface of file.h: one face for replicas and
 * stateless readers. Opening is in file_open.c, the verbs are in file_sync.c,
 * replicas are made in file_make.c.
 *
 * Layer: client.
 */
#include "client/volume/file.h"

#include <assert.h>
#include <inttypes.h>

#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/background.h"
#include "client/sync/durable.h"
#include "client/sync/durable_resolve.h"
#include "client/sync/fetcher.h"
#include "client/sync/progress.h"
#include "client/sync/replica_sync.h"
#include "client/sync/replica_syncs.h"
#include "client/volume/file_impl.h"
#include "client/volume/stateless.h"
#include "core/alloc.h"

static enum ramet_rc
read_only(const struct ramet_file *file, struct ramet_err *err)
{
    const struct ramet_head *const head = ramet_stateless_head(file->stateless);

    assert(file->stateless != NULL && file->session == NULL); /* invariant 1 */
    return RAMET_FAIL(
        err, RAMET_EREADONLY, "%.200s: LSN %" PRIu64 " is read-only",
        ramet_remote_client_text(ramet_stateless_client(file->stateless)),
        head->lsn);
}

void
ramet_file_close(struct ramet_file *file)
{
    if (file == NULL)
        return;
    ramet_warm_end(file->warm);
    assert(file->session == NULL || file->stateless == NULL); /* invariant 1 */
    assert(!file->pushes || file->replica_sync != NULL);
    if (file->session != NULL) {
        /* What is open is given up before its sync state goes. */
        ramet_file_release(file);
        ramet_session_unpin(file->session);
        if (file->pushes)
            ramet_background_leave(file->replica_sync->background,
                                   file->close_wait_ms);
        ramet_replica_sync_close(file->replica_sync);
        ramet_session_close(file->session);
    }
    ramet_stateless_close(file->stateless);
    ramet_replica_state_done(&file->state);
    ramet_durable_done(&file->durable);
    ramet_free(file->path);
    ramet_free(file);
}

bool
ramet_file_is_parents(const struct ramet_file *file)
{
    return file->fork_count != ramet_os_fork_count();
}

enum ramet_rc
ramet_file_check_fork(const struct ramet_file *file, struct ramet_err *err)
{
    assert(file->path != NULL);
    assert(file->os != NULL);
    return ramet_file_is_parents(file)
               ? RAMET_FAIL(err, RAMET_EFORKED,
                            "%s: was opened before fork(); open it again here",
                            file->path)
               : RAMET_OK;
}

struct ramet_session *
ramet_file_session(struct ramet_file *file)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    return file->session;
}

bool
ramet_file_is_readonly(const struct ramet_file *file)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    return file->stateless != NULL || (file->flags & RAMET_OPEN_READONLY) != 0;
}

enum ramet_rc
ramet_file_pin(struct ramet_file *file, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_file_check_fork(file, err);

    assert(ramet_file_is_whole(file)); /* invariant 1 */
    assert(file->sync != RAMET_SYNC_DEFAULT);
    if (rc != RAMET_OK)
        return rc;
    if (file->bounds_age)
        return ramet_file_pin_fresh(file, err);
    return file->stateless != NULL ? ramet_stateless_pin(file->stateless, err)
                                   : ramet_session_pin(file->session, err);
}

void
ramet_file_unpin(struct ramet_file *file)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    assert(file->stateless == NULL || !file->wrote);
    if (file->stateless != NULL) {
        ramet_stateless_unpin(file->stateless);
        return;
    }
    ramet_session_unpin(file->session);
    if (file->wrote)
        ramet_session_park(file->session);
    file->wrote = false;
}

const struct ramet_snapshot *
ramet_file_snapshot(struct ramet_file *file)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    return file->stateless != NULL ? ramet_stateless_snapshot(file->stateless)
                                   : ramet_session_snapshot(file->session);
}

enum ramet_rc
ramet_file_read(struct ramet_file *file, uint64_t offset, void *buf, size_t len,
                size_t *out_got, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(ramet_file_is_whole(file)); /* invariant 1 */
    assert(buf != NULL || len == 0);
    if (file->stateless == NULL)
        return ramet_session_read(file->session, offset, buf, len, out_got,
                                  err);
    rc = ramet_file_check_fork(file, err);
    return rc != RAMET_OK ? rc
                          : ramet_stateless_read(file->stateless, offset, buf,
                                                 len, out_got, err);
}

uint64_t
ramet_file_size(struct ramet_file *file)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    return file->stateless != NULL
               ? ramet_stateless_snapshot(file->stateless)->byte_length
               : ramet_session_size(file->session);
}

/* Was that the reason why no transaction could begin? */
static bool
is_in_doubt(struct ramet_file *file, enum ramet_rc rc)
{
    struct ramet_cid id;

    assert(file->session != NULL);
    return rc == RAMET_ESNAPSHOT &&
           ramet_session_doubt(file->session, &id, NULL) == RAMET_OK &&
           !ramet_id_is_nil(&id.id);
}

/* The write lock, if nothing is unresolved; *out_ready false: without it. */
static enum ramet_rc
reserve_if_ready(struct ramet_file *file, bool *out_ready,
                 struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_reserve(file->session, err);

    assert(file->sync == RAMET_SYNC_COMMIT);
    *out_ready = false;
    if (rc != RAMET_OK)
        return is_in_doubt(file, rc) ? RAMET_OK : rc;
    rc = ramet_durable_is_ready(file->replica_sync, file->session, &file->state,
                                out_ready, err);
    if (rc != RAMET_OK || !*out_ready)
        ramet_session_release(file->session);
    assert(rc != RAMET_OK ||
           *out_ready == ramet_session_is_reserved(file->session));
    return rc;
}

/*
 * With sync=commit nothing may be unresolved when a transaction begins to
 * write. The look is cheap and made under the write lock; what it finds is
 * put right without it, which may move the replica on, and looked at again.
 */
static enum ramet_rc
reserve_durably(struct ramet_file *file, struct ramet_err *err)
{
    bool ready;
    enum ramet_rc rc = reserve_if_ready(file, &ready, err);

    assert(file->commit_timeout_ms > 0);
    if (rc != RAMET_OK || ready)
        return rc;
    rc = ramet_durable_ready(file->replica_sync, file->session,
                             file->commit_timeout_ms, err);
    if (rc == RAMET_OK)
        rc = reserve_if_ready(file, &ready, err);
    if (rc == RAMET_OK && !ready)
        rc = RAMET_FAIL(err, RAMET_ESNAPSHOT,
                        "%s: another commit came in between; begin again",
                        file->path);
    return rc;
}

/* Nobody waits for a remote here: what another process's sync=commit left in
 * doubt is taken back first. */
static enum ramet_rc
reserve_locally(struct ramet_file *file, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_reserve(file->session, err);

    assert(file->sync != RAMET_SYNC_COMMIT);
    if (!is_in_doubt(file, rc))
        return rc;
    rc = ramet_durable_take_back(file->session, err);
    return rc == RAMET_OK ? ramet_session_reserve(file->session, err) : rc;
}

enum ramet_rc
ramet_file_reserve(struct ramet_file *file, struct ramet_err *err)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (file->stateless != NULL)
        return read_only(file, err);
    if (ramet_session_is_reserved(file->session))
        return ramet_session_reserve(file->session, err);
    return file->sync == RAMET_SYNC_COMMIT ? reserve_durably(file, err)
                                           : reserve_locally(file, err);
}

enum ramet_rc
ramet_file_write(struct ramet_file *file, uint64_t offset, const void *buf,
                 size_t len, struct ramet_err *err)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    assert(buf != NULL || len == 0);
    if (file->stateless != NULL)
        return read_only(file, err);
    return ramet_session_write(file->session, offset, buf, len, err);
}

enum ramet_rc
ramet_file_truncate(struct ramet_file *file, uint64_t byte_length,
                    struct ramet_err *err)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (file->stateless != NULL)
        return read_only(file, err);
    return ramet_session_truncate(file->session, byte_length, err);
}

static enum ramet_rc
prepare_durably(struct ramet_file *file, const char *super_journal,
                struct ramet_err *err)
{
    struct ramet_cid id;
    enum ramet_rc rc;

    assert(file->sync == RAMET_SYNC_COMMIT);
    assert(ramet_session_is_reserved(file->session));
    if (super_journal != NULL) {
        ramet_session_discard(file->session);
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: with sync=commit a transaction can't span "
                          "several databases: two remotes can't commit as one",
                          file->path);
    }
    rc = ramet_durable_trim(file->session, file->state.kind, err);
    if (rc == RAMET_OK)
        rc = ramet_id_new(&id.id, err);
    if (rc == RAMET_OK)
        rc = ramet_session_prepare_in_doubt(file->session, &id, err);
    if (rc != RAMET_OK || !ramet_session_has_prepared(file->session))
        return rc;
    assert(!ramet_id_is_nil(&id.id));
    rc = ramet_session_sync(file->session, err);
    if (rc == RAMET_OK)
        rc = ramet_durable_commit(&file->durable, file->replica_sync,
                                  file->session, &file->state, &id, err);
    if (rc != RAMET_OK)
        ramet_session_discard(file->session);
    return rc;
}

enum ramet_rc
ramet_file_prepare(struct ramet_file *file, const char *super_journal,
                   struct ramet_err *err)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (file->stateless != NULL)
        return read_only(file, err);
    if (file->sync == RAMET_SYNC_COMMIT)
        return prepare_durably(file, super_journal, err);
    return ramet_session_prepare(file->session, super_journal, err);
}

enum ramet_rc
ramet_file_sync_local(struct ramet_file *file, struct ramet_err *err)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (file->stateless != NULL)
        return read_only(file, err);
    return ramet_session_sync(file->session, err);
}

void
ramet_file_publish(struct ramet_file *file)
{
    const bool prepared =
        file->session != NULL && ramet_session_has_prepared(file->session);

    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (!prepared)
        return;
    assert(!file->durable.landed || file->sync == RAMET_SYNC_COMMIT);
    ramet_session_publish(file->session);
    if (file->durable.landed)
        ramet_durable_published(&file->durable, file->replica_sync,
                                file->session);
    else
        ramet_background_wake(file->replica_sync->background);
}

void
ramet_file_discard(struct ramet_file *file)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (file->session == NULL)
        return;
    ramet_session_discard(file->session);
    ramet_durable_done(&file->durable); /* if it landed, a pull brings it */
}

void
ramet_file_release(struct ramet_file *file)
{
    if (file->session == NULL)
        return;
    file->wrote = file->wrote || ramet_session_is_reserved(file->session);
    assert(file->stateless == NULL); /* invariant 1 */
    ramet_session_release(file->session);
    ramet_durable_done(&file->durable);
}

enum ramet_rc
ramet_file_prefetch(struct ramet_file *file,
                    const struct ramet_question *question, uint64_t *out_pages,
                    struct ramet_err *err)
{
    const struct ramet_snapshot *snap = ramet_file_snapshot(file);
    struct ramet_point at;
    enum ramet_rc rc = ramet_file_check_fork(file, err);

    assert(ramet_file_is_whole(file)); /* invariant 1 */
    assert(question != NULL);
    *out_pages = 0;
    if (rc != RAMET_OK)
        return rc;
    if (file->stateless != NULL)
        return ramet_stateless_prefetch(file->stateless, question, out_pages,
                                        err);
    if (snap->lsn == 0) /* nothing was read by it yet */
        snap = &file->state.newest;
    at = (struct ramet_point){snap->lsn, snap->lsn_hash};
    if (at.lsn == 0 || ramet_replica_sync_client(file->replica_sync) == NULL)
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%s: has no remote that could run a statement",
                          file->path);
    return ramet_page_fetcher_prefetch(file->replica_sync->fetcher,
                                       file->session, &at, question, out_pages,
                                       err);
}

void
ramet_file_set_progress(struct ramet_file *file, ramet_progress_fn *fn,
                        void *ctx)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    file->progress = fn;
    file->progress_ctx = ctx;
}

void
ramet_file_set_waiter(struct ramet_file *file,
                      const struct ramet_waiter *patience)
{
    assert(patience == NULL ||
           (patience->wait != NULL && patience->is_over != NULL));
    file->patience = patience;
}
