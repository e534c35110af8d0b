/*
 * open.c - opening and closing sessions; docs/replica.md, "Opening".
 *
 *   (1) who opens or closes holds the open byte, so that "nobody else is live"
 *       stays true while it acts on it
 *   (2) all that can fail comes before a session is entered in its replica's
 *       list; from there closing undoes it
 */
#include "client/store/exchange.h"
#include "client/store/life/explain.h"
#include "client/store/log/recent.h"
#include "client/store/page/placed.h"
#include "client/store/replicas.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "client/store/format/state.h"
#include "client/store/life/detached.h"
#include "client/store/life/location.h"
#include "client/store/life/make.h"
#include "client/store/life/orphan.h"
#include "client/store/life/readonly.h"
#include "client/store/life/recover.h"
#include "client/store/life/registry.h"
#include "client/store/life/remove.h"
#include "client/store/log/fold.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "client/store/upkeep/clean_close.h"
#include "client/store/upkeep/maintenance.h"
#include "core/alloc.h"

#define OPEN_TRIES 20u
#define SHARED_BYTE UINT64_C(0x40000002)

/* ---- opening ------------------------------------------------------------- */

struct opening {
    const struct ramet_replica_options *options;
    struct ramet_replica_location location;
    struct ramet_session *session;
    struct ramet_replica_state *state; /* to be told; NULL: nobody asks */
    bool has_state;                    /* it is told */
    bool is_stale; /* the directory was deleted under us: begin again */
};

static enum ramet_rc
open_base(struct ramet_replica *replica, bool readonly, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    int fd;
    int result;

    assert(replica->parent_fd >= 0);
    if (replica->base_fd >= 0)
        return RAMET_OK;
    fd = os->open(os->ctx, replica->parent_fd, replica->name,
                  (readonly ? O_RDONLY : O_RDWR) | O_NOFOLLOW, 0);
    if ((fd == -EACCES || fd == -EROFS || fd == -EPERM) && !readonly)
        return RAMET_FAIL_SYS(err, RAMET_EREADONLY, -fd, "open %s for writing",
                              replica->path);
    if (fd == -ENOENT)
        return RAMET_FAIL(err, RAMET_EFOREIGN,
                          "%s was deleted; 'ramet clone URL FILE' or 'ramet "
                          "restore URL FILE' bring back what the remote has, "
                          "and commits that it does not have are kept: see "
                          "'ramet lost FILE'",
                          replica->path);
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "open %s", replica->path);
    replica->base_fd = fd;
    result = os->lock(os->ctx, fd, SHARED_BYTE, 1, RAMET_LOCK_SHARED);
    if (result == -EAGAIN)
        return RAMET_FAIL(err, RAMET_EBUSY,
                          "%s is being written by a program that does not know "
                          "Ramet",
                          replica->path);
    return RAMET_OK;
}

/* Others are live: use what they made. */
static enum ramet_rc
join_others(struct opening *o, struct ramet_err *err)
{
    struct ramet_replica *const replica = o->session->replica;
    const struct ramet_os *const os = replica->os;
    struct ramet_state_file *state;
    struct ramet_os_stat st;
    enum ramet_rc rc;

    assert(!ramet_holds(o->session, RAMET_LOCK_LIVE));
    assert(ramet_holds(o->session, RAMET_LOCK_OPEN)); /* invariant (1) */
    if (replica->is_ready)
        return RAMET_OK;
    state = ramet_calloc(1, sizeof(*state));
    if (state == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to open %s",
                          replica->path);
    rc = ramet_replica_read_state(replica, state, err);
    if (rc == RAMET_OK) {
        ramet_replica_adopt_state(replica, state);
        rc = ramet_index_map(replica, true, err);
    }
    if (rc == RAMET_OK)
        rc = open_base(replica, false, err);
    if (rc == RAMET_OK && os->stat(os->ctx, replica->base_fd, &st) == 0 &&
        (st.inode != replica->head->header.base_inode ||
         st.device != replica->head->header.base_device))
        rc = RAMET_FAIL(err, RAMET_EFOREIGN,
                        "%s was replaced while it was in use; see 'ramet "
                        "adopt' and 'ramet restore'",
                        replica->path);
    ramet_state_file_done(state);
    ramet_free(state);
    return rc;
}

/* Nobody else is live: bring it to order, or into being. */
static enum ramet_rc
take_over(struct opening *o, struct ramet_err *err)
{
    struct ramet_replica *const replica = o->session->replica;
    struct ramet_state_file *const state = ramet_calloc(1, sizeof(*state));
    enum ramet_rc rc;

    assert(ramet_holds(o->session, RAMET_LOCK_LIVE));
    assert(ramet_holds(o->session, RAMET_LOCK_OPEN)); /* invariant (1) */
    assert(!replica->is_ready);
    if (state == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to open %s",
                          replica->path);
    rc = ramet_replica_read_state(replica, state, err);
    if (rc == RAMET_ENOTFOUND)
        rc = ramet_make_replica(replica, o->options, state, err);
    if (rc == RAMET_OK)
        rc = open_base(replica, replica->is_readonly, err);
    if (rc == RAMET_OK)
        rc = ramet_recover(o->session, state,
                           (o->options->flags & RAMET_OPEN_VERIFY) != 0, err);
    if (rc == RAMET_OK && o->state != NULL)
        o->has_state = ramet_fold_take(replica, &state->fold, o->state);
    ramet_state_file_done(state);
    ramet_free(state);
    return rc;
}

static void
forget_files(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;

    assert(!replica->is_ready && replica->sessions == NULL);
    ramet_frame_files_close_all(replica);
    ramet_recent_done(replica);
    ramet_placed_done(replica);
    ramet_index_unmap(replica);
    if (replica->presence_fd >= 0)
        os->close(os->ctx, replica->presence_fd);
    if (replica->base_fd >= 0)
        os->close(os->ctx, replica->base_fd);
    replica->presence_fd = replica->base_fd = -1;
    replica->presence_is_named = false;
}

/* With the open byte held. */
static enum ramet_rc
become_live(struct opening *o, struct ramet_err *err)
{
    struct ramet_session *const session = o->session;
    struct ramet_replica *const replica = session->replica;
    enum ramet_rc rc;

    assert(ramet_holds(session, RAMET_LOCK_OPEN)); /* invariant (1) */
    if (!ramet_replica_location_has_lock(&o->location, replica->parent_fd)) {
        o->is_stale = true;
        return RAMET_FAIL(err, RAMET_EBUSY, "%s is being deleted",
                          replica->path);
    }
    if (ramet_lock(session, RAMET_LOCK_LIVE, RAMET_LOCK_EXCLUSIVE, 0, "",
                   NULL) == RAMET_OK)
        rc = take_over(o, err);
    else if ((o->options->flags & RAMET_OPEN_EXCLUSIVE) != 0)
        rc =
            RAMET_FAIL(err, RAMET_EBUSY, "%s is open elsewhere", replica->path);
    else
        rc = join_others(o, err);
    if (rc == RAMET_OK)
        rc = ramet_lock(session, RAMET_LOCK_LIVE, RAMET_LOCK_SHARED, 0,
                        "others are opening it", err);
    if (rc == RAMET_OK)
        rc = ramet_session_take_slot(session, err);
    if (rc == RAMET_OK) {
        replica->is_ready = true;
        replica->live_count++;
        if (o->options->cache_limit_bytes != 0)
            replica->cache_limit_bytes = o->options->cache_limit_bytes;
        assert(session->slot != RAMET_NO_SLOT); /* invariant (2) */
        ramet_session_enter(session);
        ramet_maintenance_begin(session);
    } else if (!replica->is_ready) {
        forget_files(replica);
    }
    return rc;
}

static enum ramet_rc
open_session(struct opening *o, struct ramet_err *err)
{
    struct ramet_replica *replica = NULL;
    enum ramet_rc rc = ramet_registry_get(&o->location, &replica, err);

    assert(o->session == NULL && o->location.lock_fd >= 0);
    if (rc != RAMET_OK)
        return rc;
    ramet_mutex_lock(&replica->life_mutex);
    rc = ramet_session_new(replica, false, &o->session, err);
    if (rc == RAMET_OK) {
        o->session->lock_fd = o->location.lock_fd;
        o->session->is_readonly =
            replica->is_readonly ||
            (o->options->flags & RAMET_OPEN_READONLY) != 0;
        if (replica->is_readonly)
            rc = ramet_readonly_open(o->session, err);
        else
            rc = ramet_lock(o->session, RAMET_LOCK_OPEN, RAMET_LOCK_EXCLUSIVE,
                            RAMET_LOCK_WAIT_MS,
                            "another process is opening or closing it", err);
    }
    if (rc == RAMET_OK && !replica->is_readonly) {
        rc = become_live(o, err);
        ramet_unlock(o->session, RAMET_LOCK_OPEN);
    }
    if (rc != RAMET_OK && o->session != NULL) {
        if (!replica->is_ready)
            forget_files(replica);
        ramet_session_free(o->session);
        o->session = NULL;
        o->location.lock_fd = -1; /* closed along */
    } else if (rc == RAMET_OK) {
        o->location.lock_fd = -1; /* the session's */
    }
    ramet_mutex_unlock(&replica->life_mutex);
    if (rc != RAMET_OK)
        ramet_registry_put(replica);
    return rc;
}

/* There is no replica. */
static enum ramet_rc
may_be_made(const struct opening *o, bool *out_make, struct ramet_err *err)
{
    const struct ramet_replica_location *const location = &o->location;
    const unsigned flags = o->options->flags;
    const bool is_there = location->has_base == 1;

    assert(location->is_seen);
    if (is_there && !S_ISREG(location->base.mode))
        return RAMET_FAIL(err, RAMET_EINVAL, "%s is not a regular file",
                          o->location.path);
    *out_make = (flags & RAMET_OPEN_READONLY) == 0 &&
                (!is_there || location->base.size_bytes == 0
                     ? (flags & (RAMET_OPEN_CREATE | RAMET_OPEN_ADOPT)) != 0 &&
                           (is_there || (flags & RAMET_OPEN_CREATE) != 0)
                     : (flags & RAMET_OPEN_ADOPT) != 0);
    if (*out_make && is_there && location->base.link_count > 1)
        return RAMET_FAIL(err, RAMET_EEXIST,
                          "%s has %u names (hard links), and a replica knows "
                          "one: under another it would be a second replica "
                          "over the same bytes; copy the file, and use the "
                          "copy",
                          location->path, location->base.link_count);
    if (!*out_make)
        return ramet_fail_no_replica(location->path, is_there, err);
    return location->dir_fd < 0 /* then nothing was detached */
               ? RAMET_OK
               : ramet_detached_finish(location->os, location->path, err);
}

/* Is there something at the path that may be opened, or made? */
static enum ramet_rc
look_at_place(struct opening *o, bool *out_make, struct ramet_err *err)
{
    struct ramet_replica_location *const location = &o->location;
    const struct ramet_os *const os = location->os;
    const unsigned flags = o->options->flags;
    int result;

    assert(location->lock_fd < 0);
    *out_make = false;
    ramet_replica_location_look(location);
    if (ramet_replica_location_sees(location, RAMET_TOMBSTONE) == 1) {
        const enum ramet_rc rc = ramet_remove_deleted(os, location->path, err);

        if (rc != RAMET_OK)
            return rc;
        ramet_replica_location_look(location);
    }
    result = ramet_replica_location_sees(location, "state");
    if (result == 1 && (flags & RAMET_OPEN_CREATE) != 0 &&
        location->has_base == 0) {
        const enum ramet_rc rc =
            ramet_replica_clear_orphan(os, location->path, err);

        if (rc != RAMET_OK)
            return rc;
        ramet_replica_location_look(location);
        result = ramet_replica_location_sees(location, "state");
    }
    if (result == 1)
        return RAMET_OK;
    if (result < 0) /* there is one, perhaps, and it is shut to us */
        return RAMET_FAIL_OS(err, result, "list %s-ramet", location->path);
    if (location->has_base < 0)
        return RAMET_FAIL_OS(err, location->has_base, "stat %s",
                             location->path);
    return may_be_made(o, out_make, err);
}

static enum ramet_rc
open_at(struct opening *o, const char *path, struct ramet_err *err)
{
    const struct ramet_os *const os =
        o->options->os != NULL ? o->options->os : ramet_os_system();
    enum ramet_rc rc = RAMET_EBUSY;

    assert(o->session == NULL);
    for (unsigned i = 0; i < OPEN_TRIES; i++) {
        bool make = false;

        o->is_stale = false;
        rc = (o->options->flags & RAMET_OPEN_RESOLVED) != 0
                 ? ramet_replica_location_at(os, path, &o->location, err)
                 : ramet_replica_location_find(os, path, &o->location, err);
        if (rc != RAMET_OK)
            return rc;
        rc = look_at_place(o, &make, err);
        if (rc == RAMET_OK)
            rc = ramet_replica_location_enter(&o->location, make, err);
        if (rc == RAMET_OK && make)
            rc = ramet_orphan_finish(&o->location, err);
        if (rc == RAMET_OK)
            rc = open_session(o, err);
        ramet_replica_location_done(&o->location);
        if (!o->is_stale)
            break;
        os->sleep_us(os->ctx, 1000);
    }
    return rc;
}

static const struct ramet_replica_options no_options;

enum ramet_rc
ramet_session_open(const char *path,
                   const struct ramet_replica_options *options,
                   struct ramet_session **out_session, struct ramet_err *err)
{
    struct opening o = {.options = options != NULL ? options : &no_options};
    const enum ramet_rc rc = open_at(&o, path, err);

    if (rc == RAMET_OK)
        *out_session = o.session;
    return rc;
}

enum ramet_rc
ramet_session_open_state(const char *path,
                         const struct ramet_replica_options *options,
                         struct ramet_session **out_session,
                         struct ramet_replica_state *state,
                         struct ramet_err *err)
{
    struct opening o = {.options = options != NULL ? options : &no_options,
                        .state = state};
    enum ramet_rc rc = open_at(&o, path, err);

    assert(state != NULL);
    if (rc == RAMET_OK && !o.has_state) {
        rc = ramet_session_state(o.session, state, err);
        if (rc != RAMET_OK) {
            ramet_session_close(o.session);
            return rc;
        }
    }
    if (rc == RAMET_OK)
        *out_session = o.session;
    return rc;
}

static enum ramet_rc
open_again(const struct ramet_replica *replica,
           struct ramet_session **out_session, struct ramet_err *err)
{
    const struct ramet_replica_options options = {.os = replica->os,
                                                  .flags = RAMET_OPEN_RESOLVED};

    assert(replica->path[0] == '/'); /* as it was resolved */
    return ramet_session_open(replica->path, &options, out_session, err);
}

enum ramet_rc
ramet_session_clone(struct ramet_session *session,
                    struct ramet_session **out_session, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_session_check_fork(session, err);

    return rc != RAMET_OK ? rc : open_again(session->replica, out_session, err);
}

enum ramet_rc
ramet_replica_session(const struct ramet_replica *replica,
                      struct ramet_session **out_session, struct ramet_err *err)
{
    struct ramet_session *session = NULL;
    enum ramet_rc rc = open_again(replica, &session, err);

    if (rc != RAMET_OK)
        return rc;
    if (session->replica != replica) {
        ramet_session_close(session);
        return RAMET_FAIL(err, RAMET_EFOREIGN,
                          "%s was replaced while it was in use", replica->path);
    }
    *out_session = session;
    return RAMET_OK;
}

enum ramet_rc
ramet_session_be_alone(struct ramet_session *session, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_lock(
        session, RAMET_LOCK_OPEN, RAMET_LOCK_EXCLUSIVE, RAMET_LOCK_WAIT_MS,
        "another process is opening or closing it", err);

    assert(!session->replica->is_readonly);
    return rc == RAMET_OK
               ? ramet_lock(session, RAMET_LOCK_LIVE, RAMET_LOCK_EXCLUSIVE, 0,
                            "it is open elsewhere", err)
               : rc;
}

/* ---- closing ------------------------------------------------------------- */

static void
close_live(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;
    bool alone = false;

    assert(replica->live_count >= 1 && !session->is_reserved);
    if (replica->live_count == 1)
        ramet_maintenance_close(session);
    if (ramet_lock(session, RAMET_LOCK_OPEN, RAMET_LOCK_EXCLUSIVE,
                   RAMET_LOCK_WAIT_MS, "", NULL) == RAMET_OK)
        alone = ramet_lock(session, RAMET_LOCK_LIVE, RAMET_LOCK_EXCLUSIVE, 0,
                           "", NULL) == RAMET_OK;
    /* A failure leaves the log for the next opener, and nothing lost. */
    if (alone && !session->has_left &&
        ramet_clean_close(session, NULL) != RAMET_OK)
        alone = false;
}

void
ramet_session_close(struct ramet_session *session)
{
    struct ramet_replica *replica;

    if (session == NULL)
        return;
    replica = session->replica;
    if (ramet_session_is_parents(session)) {
        ramet_session_free(session); /* all else is the parent's */
        ramet_registry_put(replica);
        return;
    }
    ramet_session_release(session);
    ramet_session_lower_barrier(session);
    ramet_session_unpin(session);
    ramet_session_unlock_push(session);
    ramet_mutex_lock(&replica->life_mutex);
    if (!replica->is_readonly)
        close_live(session);
    assert(replica->live_count >= 1 && !session->is_pinned);
    replica->live_count--;
    ramet_session_leave(session);
    ramet_session_free(session); /* and with its descriptor all its locks */
    if (replica->live_count == 0) {
        replica->is_ready = false;
        forget_files(replica);
    }
    ramet_mutex_unlock(&replica->life_mutex);
    ramet_registry_put(replica);
}

bool
ramet_session_has_moved(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    const struct ramet_index_header *header;
    struct ramet_os_stat ours;
    struct ramet_os_stat named;

    if (ramet_session_is_parents(session))
        return true;
    header = &replica->head->header;
    ours = (struct ramet_os_stat){.device = header->base_device,
                                  .inode = header->base_inode};
    if (replica->has_own_index &&
        os->stat(os->ctx, replica->base_fd, &ours) < 0)
        return true;
    return os->stat_at(os->ctx, replica->parent_fd, replica->name, &named) <
               0 ||
           ours.device != named.device || ours.inode != named.inode;
}
