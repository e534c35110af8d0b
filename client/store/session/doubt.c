/*
 * doubt.c - commits that count once the remote has them (sync=commit).
 *
 * The record of such a commit has the flag RAMET_RECORD_DOUBT and the commit's
 * id, is complete and synced before anything is sent, and says in its word
 * what became of it: nothing yet, void, or confirmed. Whoever finds it without
 * a word, its writer gone, has it *in doubt*: only the remote knows.
 *
 *   (1) it is the last in the log: nothing follows it, no log file is closed
 *       behind it, and no close leaves a clean file, until the doubt ends
 *   (2) in doubt it is never applied, by nobody: readers see what was before
 *   (3) the doubt ends under the push lock and the write lock: of those who
 *       ask the remote, and those who give it up, there is one at a time
 *   (4) the word is on disk before the record is published: what follows it in
 *       the log proves nothing
 *
 * Layer: client.
 */
#include "client/store/session/doubt.h"

#include <assert.h>
#include <string.h>

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/log/log_sync.h"
#include "client/store/log/logscan.h"
#include "client/store/log/publish.h"
#include "client/store/log/void.h"
#include "client/store/session/barrier.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"

#define END_WAIT_MS 10000u

enum ramet_rc
ramet_doubt_check(const struct ramet_replica *replica, struct ramet_err *err)
{
    assert(ramet_is_held(replica, RAMET_LOCK_WRITE));
    if (!ramet_is_in_doubt(replica))
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                      "%s: a commit is in doubt: it was sent, and whether the "
                      "remote has it is not known",
                      replica->path);
}

static enum ramet_rc
confirm_record(struct ramet_replica *replica,
               const struct ramet_record_span *span, struct ramet_err *err)
{
    struct ramet_frame_file *file;
    enum ramet_rc rc = ramet_frame_file_get(
        replica, RAMET_FRAMES_LOG, ramet_pos_file(span->start), &file, err);

    assert(ramet_pos_file(span->start) == ramet_pos_file(span->trailer_pos));
    assert(ramet_may_publish(replica));
    if (rc == RAMET_OK)
        rc = ramet_record_write_word(
            replica, file, span, ramet_trailer_confirm_value(span->void_value),
            err);
    return rc == RAMET_OK ? ramet_log_flush(replica, file, err) : rc;
}

enum ramet_rc
ramet_session_confirm(struct ramet_session *session, struct ramet_err *err)
{
    assert(session->is_reserved && session->prepared.is_set);
    assert(!ramet_id_is_nil(&session->doubt.id));
    return confirm_record(session->replica, &session->prepared.span, err);
}

/* The record in doubt, in `scan`, if there is one. Needs the write lock. */
static enum ramet_rc
find_record(struct ramet_session *session, struct ramet_scan *scan,
            bool *out_found, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_published newest;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    *out_found = false;
    if (!ramet_is_recovered(replica))
        rc = ramet_recover_prepared(session, err);
    if (rc != RAMET_OK || !ramet_is_in_doubt(replica))
        return rc;
    ramet_index_newest(replica, &newest);
    rc =
        ramet_scan_next(scan, newest.snapshot.tail, newest.sum, out_found, err);
    if (rc == RAMET_OK && *out_found)
        *out_found = ramet_trailer_in_doubt(&scan->trailer);
    return rc;
}

/* As above, with the lock for as long as `use` takes. */
typedef enum ramet_rc
use_record(struct ramet_session *session, struct ramet_scan *scan, bool found,
           void *ctx, struct ramet_err *err);

static enum ramet_rc
with_record(struct ramet_session *session, uint64_t wait_ms, use_record *use,
            void *ctx, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_scan scan;
    bool entered;
    bool found = false;
    enum ramet_rc rc = ramet_write_lock_internally(session, wait_ms, err);

    if (rc != RAMET_OK)
        return rc;
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    entered = ramet_epoch_enter(session);
    ramet_scan_init(&scan, replica);
    scan.oldest = atomic_load(&replica->head->header.checkpoint.oldest);
    rc = find_record(session, &scan, &found, err);
    if (rc == RAMET_OK)
        rc = use(session, &scan, found, ctx, err);
    ramet_scan_done(&scan);
    ramet_epoch_leave(session, entered);
    ramet_write_unlock(session);
    return rc;
}

static enum ramet_rc
note_id(struct ramet_session *session, struct ramet_scan *scan, bool found,
        void *ctx, struct ramet_err *err)
{
    struct ramet_cid *const out_id = ctx;

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    (void)session;
    (void)err;
    if (found)
        *out_id = scan->trailer.commit;
    return RAMET_OK;
}

enum ramet_rc
ramet_session_doubt_settled(struct ramet_session *session,
                            struct ramet_cid *out_commit, struct ramet_err *err)
{
    const struct ramet_index_header *const header =
        &session->replica->head->header;
    const enum ramet_rc rc = ramet_session_check_fork(session, err);

    assert(session->lock_fd >= 0 || session->replica->is_readonly);
    memset(out_commit, 0, sizeof(*out_commit));
    if (rc != RAMET_OK || session->replica->is_readonly ||
        session->is_reserved ||
        (!ramet_is_in_doubt(session->replica) &&
         ramet_pos_is_none(ramet_pos_load(&header->log.prepared))))
        return rc;
    return with_record(session, 0, note_id, out_commit, err);
}

enum ramet_rc
ramet_session_doubt(struct ramet_session *session, struct ramet_cid *out_commit,
                    struct ramet_err *err)
{
    const enum ramet_rc rc =
        ramet_session_doubt_settled(session, out_commit, err);

    return rc == RAMET_EBUSY ? RAMET_OK : rc; /* of one who lives */
}

struct ending {
    const struct ramet_cid *commit;
    bool landed;
};

/* Those of the old page size, if it changes, as a pull does. */
static enum ramet_rc
wait_for_readers(struct ramet_session *session,
                 const struct ramet_trailer *trailer, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_published newest;

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    ramet_index_newest(replica, &newest);
    if (trailer->page_size == newest.snapshot.page_size ||
        atomic_load(&replica->head->header.log.high_water) == 0)
        return RAMET_OK;
    return ramet_wait_alone_as(session, session, err);
}

static enum ramet_rc
end_doubt(struct ramet_session *session, struct ramet_scan *scan, bool found,
          void *ctx, struct ramet_err *err)
{
    const struct ending *const ending = ctx;
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const struct ramet_record_span span = ramet_record_span_of(&scan->trailer);
    const bool had_barrier = session->has_barrier;
    enum ramet_rc rc;

    assert(ramet_holds(session, RAMET_LOCK_PUSH)); /* invariant (3) */
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    if (!found ||
        ramet_id_compare(&scan->trailer.commit.id, &ending->commit->id) != 0)
        return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                          "%s: the commit is not in doubt any more",
                          replica->path);
    if (!ending->landed) {
        rc = ramet_void_record(replica, &span, err);
        ramet_pos_store(&header->log.doubt,
                        RAMET_NO_POS); /* void, or that is pending */
        return rc;
    }
    rc = wait_for_readers(session, &scan->trailer, err);
    if (rc == RAMET_OK)
        rc = confirm_record(replica, &span, err); /* invariant (4) */
    if (rc == RAMET_OK)
        rc = ramet_apply_record(session, scan, err);
    if (rc == RAMET_OK)
        ramet_pos_store(&header->log.doubt, RAMET_NO_POS);
    if (!had_barrier)
        ramet_session_lower_barrier(session);
    return rc;
}

enum ramet_rc
ramet_session_end_doubt(struct ramet_session *session,
                        const struct ramet_cid *commit, bool landed,
                        struct ramet_err *err)
{
    struct ending ending = {commit, landed};
    const enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK)
        return rc;
    assert(ramet_holds(session, RAMET_LOCK_PUSH) &&
           !session->is_reserved); /* invariant (3) */
    return with_record(session, END_WAIT_MS, end_doubt, &ending, err);
}
