/*
 * detach.c - a replica becomes a plain file again: the file stays, and what lies
 * beside it goes.
 *
 *   (1) only what is whole and clean, so that the file has its true header and
 *       has every commit, pushed or not
 *   (2) one rename decides: `state` is the replica, and under the name
 *       RAMET_DETACHED it says that there is none any more. A crash before it
 *       leaves the replica as it was; after it, a plain file with a directory
 *       that whoever makes a replica there clears first
 *   (3) nobody else has it open, from the look until the rename
 *   (4) nothing in lost/ is removed
 *   (5) a sync that failed when the header was put on, in whatever process, proves
 *       nothing for the next one: so it is written once more, and synced. A kill
 *       before its time is put back finds the checksums of all pages known
 */
#include "client/store/exchange.h"
#include "client/store/life/detached.h"
#include "client/store/replicas.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "client/store/format/state.h"
#include "client/store/life/explain.h"
#include "client/store/life/location.h"
#include "client/store/life/remove.h"
#include "client/store/shared/base_check.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "client/store/upkeep/clean_close.h"
#include "client/store/upkeep/maintenance.h"
#include "core/alloc.h"

static enum ramet_rc
refuse_partial(const struct ramet_replica *replica, uint64_t absent,
               struct ramet_err *err)
{
    assert(absent != 0);
    return RAMET_FAIL(err, RAMET_EBUSY,
                      "%s: %" PRIu64 " of its pages are not here yet: 'ramet "
                      "hydrate FILE' brings them",
                      replica->path, absent);
}

/* Invariant (5). */
static enum ramet_rc
write_header(const struct ramet_replica *replica,
             const struct ramet_state_file *state,
             const struct ramet_os_stat *st, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    uint8_t header[RAMET_TRUE_HEADER_SIZE];
    const size_t length = st->size_bytes < sizeof(header)
                              ? (size_t)st->size_bytes
                              : sizeof(header);
    enum ramet_rc rc;
    int result;

    assert(ramet_is_alone(replica) &&
           state->is_clean); /* invariants (1), (3) */
    ramet_state_true_header(state, header);
    rc = ramet_os_write_full(os, replica->base_fd, header, length, 0,
                             replica->path, err);
    if (rc != RAMET_OK)
        return rc;
    result = os->set_mtime(os->ctx, replica->base_fd, st->mtime_ns);
    if (result == 0)
        result = os->sync(os->ctx, replica->base_fd);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_OS(err, result, "sync %s", replica->path);
}

/* Invariant (1), after a clean close: it may have had its reasons not to. */
static enum ramet_rc
make_plain(struct ramet_replica *replica, struct ramet_err *err)
{
    struct ramet_state_file *const state = ramet_calloc(1, sizeof(*state));
    struct ramet_base_look look;
    struct ramet_published newest;
    uint64_t absent = 0;
    enum ramet_rc rc;

    assert(ramet_is_alone(replica)); /* invariant (3) */
    if (state == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to detach %s",
                          replica->path);
    rc = ramet_replica_read_state(replica, state, err);
    if (rc != RAMET_OK)
        goto done;
    ramet_index_newest(replica, &newest);
    rc = ramet_presence_count_absent(replica, state->base_page_count, &absent,
                                     err);
    if (rc == RAMET_OK && absent != 0)
        rc = refuse_partial(replica, absent, err);
    if (rc == RAMET_OK)
        rc = ramet_base_check(replica, state, 0, &look, err);
    if (rc == RAMET_OK && (!state->is_clean || look.form != RAMET_BASE_CLEAN ||
                           state->fold.newest.seq != newest.snapshot.seq))
        rc = RAMET_FAIL(err, RAMET_EBUSY,
                        "%s: what was committed can't be brought into the file "
                        "just now",
                        replica->path);
    if (rc == RAMET_OK)
        rc = write_header(replica, state, &look.st, err);

done:
    ramet_state_file_done(state);
    ramet_free(state);
    return rc;
}

/* The place of a session's replica; its descriptors stay the replica's. */
static enum ramet_rc
place_of(const struct ramet_session *session,
         struct ramet_replica_location *out_location, struct ramet_err *err)
{
    const struct ramet_replica *const replica = session->replica;

    assert(session->lock_fd >= 0 && session->replica->dir_fd >= 0);
    *out_location = (struct ramet_replica_location){
        .os = replica->os,
        .path = replica->path,
        .name = replica->name,
        .dir_name = ramet_asprintf("%s-ramet", replica->name),
        .parent_fd = replica->parent_fd,
        .dir_fd = replica->dir_fd,
        .lock_fd = session->lock_fd,
    };
    return out_location->dir_name != NULL
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
}

/* Invariant (2). */
static enum ramet_rc
leave(struct ramet_session *session, struct ramet_err *err)
{
    const struct ramet_os *const os = session->replica->os;
    struct ramet_replica_location location;
    enum ramet_rc rc = place_of(session, &location, err);
    int result;

    assert(ramet_holds(session, RAMET_LOCK_LIVE)); /* invariant (3) */
    assert(!session->has_left);
    if (rc != RAMET_OK)
        return rc;
    result = os->rename(os->ctx, location.dir_fd, RAMET_STATE_NAME,
                        location.dir_fd, RAMET_DETACHED);
    if (result == 0) {
        session->has_left = true;
        result = os->sync(os->ctx, location.dir_fd);
    }
    rc = result == 0 ? ramet_detached_clear(&location, err)
                     : RAMET_FAIL_OS(err, result, "detach %s", location.path);
    ramet_free(location.dir_name);
    return rc;
}

/* Who reads in a directory that can't be written has that lock alone. */
static enum ramet_rc
leave_unread(struct ramet_session *session, struct ramet_err *err)
{
    enum ramet_rc rc =
        ramet_lock(session, RAMET_LOCK_UNPINNED, RAMET_LOCK_EXCLUSIVE, 0,
                   "a process that may not write there reads it", err);

    assert(ramet_holds(session, RAMET_LOCK_OPEN));
    assert(ramet_holds(session, RAMET_LOCK_LIVE)); /* invariant (3) */
    if (rc != RAMET_OK)
        return rc;
    rc = make_plain(session->replica, err);
    if (rc == RAMET_OK)
        rc = leave(session, err);
    ramet_unlock(session, RAMET_LOCK_UNPINNED);
    return rc;
}

/* What becomes of it is told before it is done. */
static enum ramet_rc
describe(struct ramet_session *session, struct ramet_detached *out,
         struct ramet_err *err)
{
    struct ramet_replica_state state = {.kind = 0};
    struct ramet_cid doubt;
    enum ramet_rc rc = ramet_session_doubt(session, &doubt, err);

    assert(!session->is_reserved && !session->is_readonly);
    if (rc == RAMET_OK && !ramet_id_is_nil(&doubt.id))
        rc = RAMET_FAIL(err, RAMET_EUNKNOWN,
                        "%s: a commit was sent, and no answer came: 'ramet "
                        "push FILE' finds out what became of it",
                        session->replica->path);
    if (rc == RAMET_OK)
        rc = ramet_session_state(session, &state, err);
    if (rc == RAMET_OK && !state.whole)
        rc = refuse_partial(session->replica,
                            state.newest.page_count - state.held_pages, err);
    if (rc == RAMET_OK) {
        memcpy(out->remote, state.remote, sizeof(out->remote));
        out->unpushed_commits =
            state.remote[0] == '\0'
                ? 0
                : state.commits_in_flight + state.commits_later;
    }
    ramet_replica_state_done(&state);
    return rc;
}

static enum ramet_rc
detach_session(struct ramet_session *session, struct ramet_detached *out,
               struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(!session->is_pinned);
    if (session->is_readonly)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s-ramet can't be written",
                          session->replica->path);
    rc = describe(session, out, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_maintenance_stop(session->replica);
    rc = ramet_session_sum(session, err); /* invariant (5) */
    if (rc == RAMET_OK)
        rc = ramet_session_be_alone(session, err); /* invariant (3) */
    if (rc == RAMET_OK)
        rc = ramet_clean_close(session, err);
    if (rc == RAMET_OK)
        rc = leave_unread(session, err);
    if (ramet_holds(session, RAMET_LOCK_OPEN))
        ramet_unlock(session, RAMET_LOCK_OPEN);
    return rc;
}

enum ramet_rc
ramet_replica_detach(const struct ramet_os *os, const char *path,
                     struct ramet_detached *out, struct ramet_err *err)
{
    struct ramet_replica_options options = {.flags = RAMET_OPEN_EXCLUSIVE};
    struct ramet_session *session = NULL;
    struct ramet_replica_location location;
    bool was_left;
    enum ramet_rc rc;

    options.os = os = os != NULL ? os : ramet_os_system();
    *out = (struct ramet_detached){.remote = ""};
    rc = ramet_replica_location_find(os, path, &location, err);
    if (rc != RAMET_OK)
        return rc;
    was_left = ramet_replica_location_has(&location, RAMET_DETACHED) == 1;
    if (was_left) {
        rc = ramet_detached_finish(os, location.path, err);
    } else {
        rc = ramet_session_open(location.path, &options, &session, err);
        if (rc == RAMET_OK)
            rc = detach_session(session, out, err);
        ramet_session_close(session);
    }
    if (rc == RAMET_OK)
        out->has_lost = ramet_replica_location_has(&location, RAMET_LOST) == 1;
    ramet_replica_location_done(&location);
    return rc;
}
