/*
 * make.c - a replica comes into being: from nothing, from a plain file, or as
 * a clone of a remote volume; and goes.
 *
 *   (1) until `state` is there, there is no replica: a crash leaves a directory
 *       that the next opener takes up or removes
 *   (2) nothing is copied, and the file is not changed, when it is adopted
 */
#include "client/store/life/make.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/life/detached.h"
#include "client/store/life/explain.h"
#include "client/store/life/identity.h"
#include "client/store/life/location.h"
#include "client/store/life/orphan.h"
#include "client/store/life/registry.h"
#include "client/store/life/remove.h"
#include "client/store/path.h"
#include "client/store/replicas.h"
#include "client/store/shared/base.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define CLONE_TRIES 8u
#define BASE_TEMPORARY "base.tmp"

static enum ramet_rc
start_state(struct ramet_replica *replica, struct ramet_state_file *state,
            struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(!replica->is_ready);
    memset(state, 0, sizeof(*state));
    rc = ramet_id_new(&state->base_id, err);
    if (rc == RAMET_OK)
        rc = ramet_state_stamp_place(replica, state, err);
    if (rc == RAMET_OK)
        rc = ramet_mark_token_new(replica->os, &state->mark_next, err);
    state->default_held = true;
    state->presence_is_checked = true;
    state->is_clean = true;
    state->oldest_log = 1;
    state->oldest_fetched = 1;
    state->fold.newest.tail = ramet_pos_first(1);
    return rc;
}

/* What a file that is yet to be written will need at its first commit and close:
 * their names are synced along with that of the lock file. */
static enum ramet_rc
make_empty_files(struct ramet_replica *replica, struct ramet_state_file *state,
                 struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    char log[32];
    const char *const names[] = {RAMET_PRESENCE_NAME, log};

    assert(state->is_clean && state->fold.newest.page_count == 0);
    ramet_frame_file_name(RAMET_FRAMES_LOG, state->oldest_log, log);
    for (unsigned i = 0; i < 2; i++) {
        const int fd = ramet_dir_open_or_make(os, replica->dir_fd, names[i]);

        if (fd < 0)
            return RAMET_FAIL_OS(err, fd, "make %s", names[i]);
        os->close(os->ctx, fd);
    }
    state->kept_log = state->oldest_log;
    return RAMET_OK;
}

static enum ramet_rc
sync_base(const struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const int result = os->sync(os->ctx, replica->base_fd);

    assert(replica->base_fd >= 0);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_OS(err, result, "sync %s", replica->path);
}

enum ramet_rc
ramet_make_names_last(struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    int result = os->sync(os->ctx, replica->dir_fd);

    assert(replica->dir_fd >= 0 && replica->parent_fd >= 0);
    if (result == 0)
        result = os->sync(os->ctx, replica->parent_fd);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_OS(err, result, "sync the directory of %s",
                                       replica->path);
}

enum ramet_rc
ramet_make_replica(struct ramet_replica *replica,
                   const struct ramet_replica_options *options,
                   struct ramet_state_file *state, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const bool create = (options->flags & RAMET_OPEN_CREATE) != 0;
    uint8_t header[RAMET_TRUE_HEADER_SIZE] = {0};
    struct ramet_os_stat st;
    size_t got = 0;
    enum ramet_rc rc;
    int fd;

    assert(replica->base_fd < 0 && !replica->is_ready); /* invariant (1) */
    fd = os->open(os->ctx, replica->parent_fd, replica->name,
                  O_RDWR | O_NOFOLLOW | (create ? O_CREAT : 0), 0666);
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "open %s", replica->path);
    replica->base_fd = fd; /* and stays open: see base.c */
    if (os->stat(os->ctx, fd, &st) < 0 || (st.mode & 0170000u) != 0100000u)
        return RAMET_FAIL(err, RAMET_EINVAL, "%s is not a regular file",
                          replica->path);
    if (st.size_bytes != 0 && (options->flags & RAMET_OPEN_ADOPT) == 0)
        return ramet_fail_no_replica(replica->path, true, err);
    rc = ramet_os_read_some(os, fd, header, sizeof(header), 0, &got,
                            replica->path, err);
    if (rc == RAMET_OK && ramet_base_is_any_mark(header))
        rc = RAMET_FAIL(err, RAMET_ENOTFOUND,
                        "%s belongs to a replica whose directory %s-ramet is "
                        "not complete; it holds nothing by itself",
                        replica->path, replica->path);
    if (rc == RAMET_OK)
        rc = start_state(replica, state, err);
    if (rc == RAMET_OK)
        rc = ramet_state_describe_file(options, &st, header, state, err);
    if (rc == RAMET_OK && state->fold.newest.page_count != 0)
        state->fold.oldest_later_ms = os->wall_ms(os->ctx);
    if (rc == RAMET_OK && state->fold.kind == RAMET_KIND_SQLITE)
        rc = ramet_base_look_for_users(replica, fd, err);
    if (rc == RAMET_OK && os->lock(os->ctx, fd, RAMET_PENDING_BYTE + 2, 1,
                                   RAMET_LOCK_SHARED) == -EAGAIN)
        rc = RAMET_FAIL(err, RAMET_EBUSY, "another program has %s open",
                        replica->path);
    if (rc == RAMET_OK)
        rc = st.size_bytes == 0 ? make_empty_files(replica, state, err)
                                : sync_base(replica, err);
    if (rc == RAMET_OK)
        rc = ramet_make_names_last(replica, err);
    if (rc == RAMET_OK)
        rc = ramet_state_file_write(os, replica->dir_fd, state, err);
    state->copies = 2;
    return rc;
}

/* ---- clones -------------------------------------------------------------- */

/* The mark, durable, in a file as long as the volume. */
static enum ramet_rc
write_clone_base(struct ramet_replica *replica,
                 const struct ramet_state_file *state, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const uint64_t length = state->fold.newest.byte_length;
    uint8_t mark[RAMET_TRUE_HEADER_SIZE];
    int result;
    enum ramet_rc rc;

    assert(replica->base_fd >= 0 && !state->is_clean);
    ramet_base_mark(&state->base_id, state->mark_next, mark);
    rc = ramet_os_write_full(os, replica->base_fd, mark, sizeof(mark), 0,
                             replica->path, err);
    if (rc != RAMET_OK)
        return rc;
    result = length > sizeof(mark)
                 ? os->truncate(os->ctx, replica->base_fd, length)
                 : 0;
    if (result == 0)
        result = os->sync(os->ctx, replica->base_fd);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_OS(err, result, "make %s", replica->path);
}

/* The base of a clone gets its name once it has the mark: what a crash leaves
 * is known for what it is. */
enum ramet_rc
ramet_make_absent_base(struct ramet_replica *replica,
                       const struct ramet_state_file *state,
                       struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    int result;
    enum ramet_rc rc;

    assert(!replica->is_ready && !state->is_clean);
    replica->base_fd = ramet_dir_make_anew(os, replica->dir_fd, BASE_TEMPORARY);
    if (replica->base_fd < 0)
        return RAMET_FAIL_OS(err, replica->base_fd, "create %s-ramet/%s",
                             replica->path, BASE_TEMPORARY);
    rc = write_clone_base(replica, state, err);
    if (rc != RAMET_OK)
        return rc;
    /* The directory first: that tells it from a file that lost its own. */
    result = os->sync(os->ctx, replica->dir_fd);
    if (result == 0)
        result = os->sync(os->ctx, replica->parent_fd);
    if (result == 0)
        result = os->link(os->ctx, replica->dir_fd, BASE_TEMPORARY,
                          replica->parent_fd, replica->name);
    os->unlink(os->ctx, replica->dir_fd, BASE_TEMPORARY, false);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_OS(err, result, "create %s", replica->path);
}

static enum ramet_rc
describe_clone(const struct ramet_replica_options *options, const char *remote,
               const struct ramet_vid *volume,
               const struct ramet_remote_point *point, const uint8_t *page1,
               struct ramet_state_file *state, struct ramet_err *err)
{
    struct ramet_snapshot *const s = &state->fold.newest;

    assert(point->page_count == 0 || point->lsn != 0);
    if (strlen(remote) >= RAMET_URL_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "a remote's URL is too long");
    if (point->page_count != 0 && !ramet_page_size_ok(point->page_size))
        return RAMET_FAIL(err, RAMET_EINVAL, "a page size of %u",
                          point->page_size);
    strcpy(state->fold.remote, remote);
    state->fold.volume = *volume;
    state->fold.kind = options->kind != 0 ? options->kind : RAMET_KIND_SQLITE;
    state->fold.lsn_time_ms = point->time_ms;
    state->fold.least_page_count_later = point->page_count;
    s->page_size = point->page_size;
    s->page_count = point->page_count;
    s->byte_length = point->byte_length;
    s->lsn = point->lsn;
    s->lsn_hash = point->hash;
    s->remote_page_count = point->page_count;
    if (page1 != NULL) {
        memcpy(s->header, page1, RAMET_TRUE_HEADER_SIZE);
        s->counter = ramet_get_be32(page1 + 24);
    }
    state->default_held = false;
    state->is_clean = false;
    state->is_lazy = state->fold.kind == RAMET_KIND_BLOB;
    state->base_page_count = point->page_count;
    state->base_page_size = point->page_size;
    return RAMET_OK;
}

/* Page 1 goes into the base at once: everybody reads it first. */
static enum ramet_rc
keep_first_page(struct ramet_replica *replica, struct ramet_state_file *state,
                const uint8_t *page1, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const uint32_t page_size = state->base_page_size;
    uint64_t value;
    int result;
    enum ramet_rc rc;

    assert(!replica->is_ready && !state->is_clean);
    if (page1 == NULL || state->base_page_count == 0)
        return RAMET_OK;
    rc = ramet_os_write_full(os, replica->base_fd,
                             page1 + RAMET_TRUE_HEADER_SIZE,
                             page_size - RAMET_TRUE_HEADER_SIZE,
                             RAMET_TRUE_HEADER_SIZE, replica->path, err);
    if (rc != RAMET_OK)
        return rc;
    result = os->sync(os->ctx, replica->base_fd);
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "sync %s", replica->path);
    value = ramet_presence_sum(1, page1, page_size);
    rc = ramet_presence_write(replica, 1, 1, &value, err);
    if (rc == RAMET_OK)
        rc = ramet_presence_sync(replica, state, err);
    return rc;
}

static enum ramet_rc
fill_clone(struct ramet_replica *replica,
           const struct ramet_replica_options *options, const char *remote,
           const struct ramet_vid *volume,
           const struct ramet_remote_point *point, const uint8_t *page1,
           struct ramet_err *err)
{
    struct ramet_state_file *const state = ramet_calloc(1, sizeof(*state));
    enum ramet_rc rc;

    assert(!replica->is_ready);
    if (state == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to clone");
    rc = start_state(replica, state, err);
    if (rc == RAMET_OK)
        rc = describe_clone(options, remote, volume, point, page1, state, err);
    if (rc == RAMET_OK) {
        ramet_replica_adopt_state(replica, state);
        rc = ramet_make_absent_base(replica, state, err);
    }
    if (rc == RAMET_OK)
        rc = keep_first_page(replica, state, page1, err);
    if (rc == RAMET_OK)
        rc = ramet_make_names_last(replica, err);
    if (rc == RAMET_OK)
        rc = ramet_state_file_write(replica->os, replica->dir_fd, state, err);
    ramet_state_file_done(state);
    ramet_free(state);
    return rc;
}

/* Nobody else makes, opens or removes it now. *out_again: it was being removed. */
static enum ramet_rc
lock_clone(struct ramet_replica_location *location, bool *out_again,
           struct ramet_err *err)
{
    enum ramet_rc rc = ramet_replica_location_enter(location, true, err);

    if (rc == RAMET_OK && location->is_readonly)
        rc = RAMET_FAIL(err, RAMET_EREADONLY, "%s-ramet can't be written",
                        location->path);
    if (rc == RAMET_OK)
        rc = ramet_lock_wait(location->os, location->lock_fd, RAMET_LOCK_OPEN,
                             RAMET_LOCK_EXCLUSIVE, RAMET_LOCK_WAIT_MS,
                             "it is being opened", err);
    if (rc != RAMET_OK)
        return rc;
    *out_again =
        !ramet_replica_location_has_lock(location, location->parent_fd);
    return !*out_again ? RAMET_OK
                       : RAMET_FAIL(err, RAMET_EBUSY, "%s is being deleted",
                                    location->path);
}

static enum ramet_rc
clone_once(const struct ramet_os *os, const char *path,
           const struct ramet_replica_options *options, const char *remote,
           const struct ramet_vid *volume,
           const struct ramet_remote_point *point, const uint8_t *page1,
           bool *out_again, struct ramet_err *err)
{
    struct ramet_replica_location location;
    struct ramet_replica *replica = NULL;
    struct ramet_os_stat st;
    enum ramet_rc rc = ramet_replica_location_find(os, path, &location, err);

    *out_again = false;
    if (rc != RAMET_OK)
        return rc;
    if (ramet_replica_location_has(&location, RAMET_TOMBSTONE) == 1)
        rc = ramet_remove_deleted(os, path, err);
    if (rc == RAMET_OK)
        rc = ramet_detached_finish(os, path, err);
    /* Without a directory it can't be what a clone left. */
    if (rc == RAMET_OK &&
        (ramet_replica_location_has(&location, "state") == 1 ||
         (os->stat_at(os->ctx, location.parent_fd, location.name, &st) == 0 &&
          ramet_replica_location_has(&location, RAMET_DIR_LOCK) != 1)))
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s is there already", path);
    if (rc == RAMET_OK)
        rc = lock_clone(&location, out_again, err);
    if (rc == RAMET_OK && ramet_replica_location_has(&location, "state") != 0)
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s is there already", path);
    if (rc == RAMET_OK)
        rc = ramet_remove_leftover(&location, err);
    if (rc == RAMET_OK)
        rc = ramet_orphan_finish(&location, err);
    if (rc == RAMET_OK)
        rc = ramet_registry_get(&location, &replica, err);
    if (rc == RAMET_OK) {
        rc = fill_clone(replica, options, remote, volume, point, page1, err);
        ramet_registry_put(replica);
    }
    ramet_replica_location_done(&location);
    return rc;
}

enum ramet_rc
ramet_replica_create_clone(const char *path,
                           const struct ramet_replica_options *options,
                           const char *remote, const struct ramet_vid *volume,
                           const struct ramet_remote_point *point,
                           const uint8_t *page1, struct ramet_err *err)
{
    static const struct ramet_replica_options none;
    unsigned tries = CLONE_TRIES;
    bool again;
    enum ramet_rc rc;

    if (options == NULL)
        options = &none;
    do
        rc = clone_once(options->os != NULL ? options->os : ramet_os_system(),
                        path, options, remote, volume, point, page1, &again,
                        err);
    while (again && --tries > 0);
    return rc;
}

/* ---- the end ------------------------------------------------------------- */

bool
ramet_replica_exists(const struct ramet_os *os, const char *path)
{
    char *resolved = NULL;
    bool exists;

    if (os == NULL)
        os = ramet_os_system();
    if (ramet_path_resolve(os, path, &resolved, NULL, NULL) != RAMET_OK)
        return false;
    exists = ramet_replica_exists_at(os, resolved);
    ramet_free(resolved);
    return exists;
}

bool
ramet_replica_exists_at(const struct ramet_os *os, const char *resolved)
{
    struct ramet_replica_location location;
    bool exists;

    assert(resolved[0] == '/');
    if (ramet_replica_location_at(os, resolved, &location, NULL) != RAMET_OK)
        return false;
    exists = ramet_replica_location_has(&location, "state") == 1 ||
             ramet_replica_location_has(&location, RAMET_TOMBSTONE) == 1;
    ramet_replica_location_done(&location);
    return exists;
}

enum ramet_volume_kind
ramet_replica_kind(const struct ramet_os *os, const char *path)
{
    struct ramet_replica_location location;
    struct ramet_state_file state;
    enum ramet_volume_kind kind = 0;

    if (ramet_replica_location_find(os, path, &location, NULL) != RAMET_OK)
        return 0;
    if (ramet_replica_location_enter(&location, false, NULL) == RAMET_OK &&
        ramet_state_file_read(os, location.dir_fd, &state, NULL) == RAMET_OK) {
        kind = state.fold.kind;
        ramet_state_file_done(&state);
    }
    ramet_replica_location_done(&location);
    return kind;
}
