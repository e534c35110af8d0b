/*
 * file_open.c - opens a file: chooses among replica and snapshot, opens, clones or
 * makes the replica, and starts what belongs to it. See file_opening.h.
 *
 * Layer: client, volume.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "client/remote/remote.h"
#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/path.h"
#include "client/store/replicas.h"
#include "client/store/store.h"
#include "client/sync/background.h"
#include "client/sync/fetcher.h"
#include "client/sync/point.h"
#include "client/sync/replica_sync.h"
#include "client/sync/replica_syncs.h"
#include "client/sync/rest.h"
#include "client/sync/sync.h"
#include "client/volume/file.h"
#include "client/volume/file_impl.h"
#include "client/volume/file_opening.h"
#include "client/volume/stateless.h"
#include "core/alloc.h"
#include "sqliteformat/dbheader.h"

#define PUSH_INTERVAL_MS 50u
#define COMMIT_TIMEOUT_MS 10000u
#define CLOSE_WAIT_MS 2000u

void
ramet_file_options_init(struct ramet_file_options *options)
{
    *options = (struct ramet_file_options){.close_wait_ms = -1,
                                           .bases_limit_bytes = -1};
}

/* And more than a clone that was cut off, which the next one takes up. */
static bool
file_is_there(const struct ramet_os *os, const char *path)
{
    struct ramet_os_stat st;

    assert(path[0] == '/');
    return os->stat_at(os->ctx, AT_FDCWD, path, &st) == 0 &&
           !ramet_replica_is_leftover(os, path);
}

/* 64 KiB pages cost a large file a sixteenth of the bookkeeping; small ones
 * send less when a byte of them changes. */
static uint32_t
blob_page_size(uint64_t size_bytes)
{
    if (size_bytes >= 1u << 30)
        return 65536;
    return size_bytes >= 64u << 20 ? 16384 : 4096;
}

void
ramet_file_guess_kind(const struct ramet_os *os, const char *path,
                      struct ramet_replica_options *options)
{
    uint8_t header[RAMET_DBHEADER_MAGIC_SIZE];
    struct ramet_os_stat st = {.size_bytes = 0};
    size_t got = 0;
    int fd;

    if (options->kind != 0)
        return;
    fd = os->open(os->ctx, AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (os->stat(os->ctx, fd, &st) == 0 &&
        ramet_os_read_some(os, fd, header, sizeof(header), 0, &got, path,
                           NULL) == RAMET_OK &&
        !(got == sizeof(header) && ramet_dbheader_begins(header))) {
        assert(got <= sizeof(header));
        options->kind = RAMET_KIND_BLOB;
        if (options->page_size == 0)
            options->page_size = blob_page_size(st.size_bytes);
    }
    os->close(os->ctx, fd);
}

/* ---- a replica ------------------------------------------------------------ */

enum ramet_rc
ramet_file_find_newest(struct ramet_remote_client *client,
                       struct ramet_vid *out_volume,
                       struct ramet_head *out_head, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(client != NULL);
    /* What a failed opening was told is stale. */
    ramet_remote_client_begin(client);
    rc = ramet_remote_client_resolve(client, out_volume, err);
    if (rc == RAMET_OK)
        rc = ramet_remote_client_newest_to_read(client, out_volume, out_head,
                                                err);
    if (rc == RAMET_OK && out_head->lsn == 0)
        rc = RAMET_FAIL(err, RAMET_ENOTFOUND, "%.200s: has no commit yet",
                        ramet_remote_client_text(client));
    assert(rc != RAMET_OK || out_head->lsn > 0);
    return rc;
}

enum ramet_rc
ramet_file_clone_lazily(const char *path, struct ramet_remote_client *client,
                        const struct ramet_vid *volume,
                        const struct ramet_head *head,
                        const struct ramet_replica_options *options,
                        struct ramet_err *err)
{
    struct ramet_remote_point point;
    struct ramet_replica_options mine = *options;
    uint8_t *page1 = NULL;
    enum ramet_rc rc;

    assert(head->lsn > 0);
    assert(path[0] == '/');
    rc = ramet_sync_page1(client, volume, head, &page1, err);
    if (rc != RAMET_OK)
        return rc;
    assert(page1 != NULL || head->page_count == 0 ||
           head->kind != RAMET_KIND_SQLITE);
    mine.kind = head->kind;
    ramet_sync_point_of(head, &point);
    rc = ramet_replica_create_clone(path, &mine,
                                    ramet_remote_client_text(client), volume,
                                    &point, page1, err);
    ramet_free(page1);
    return rc;
}

/* There is nothing at the path, and a remote is named. */
static enum ramet_rc
clone_if_there(struct ramet_opening *opening,
               const struct ramet_replica_options *replica,
               struct ramet_err *err)
{
    const bool create = (opening->options->flags & RAMET_OPEN_CREATE) != 0;
    struct ramet_remote_client *client = NULL;
    struct ramet_vid volume;
    struct ramet_head head;
    enum ramet_rc rc;

    assert(opening->has_url);
    assert(opening->cloned_from == NULL);
    rc = ramet_file_open_client(opening->options, &opening->url,
                                opening->naming, &client, err);
    if (rc == RAMET_OK)
        rc = ramet_remote_client_connect(client, create, err);
    if (rc == RAMET_OK)
        rc = ramet_file_find_newest(client, &volume, &head, err);
    if (rc == RAMET_OK)
        rc = ramet_file_clone_lazily(opening->path, client, &volume, &head,
                                     replica, err);
    if (rc == RAMET_EEXIST) /* somebody else just made it */
        rc = RAMET_OK;
    if (rc == RAMET_ENOTFOUND && create) /* it comes into being by a push */
        rc = RAMET_OK;
    opening->cloned_from = client;
    return rc;
}

/* A blob that was edited in place is what a blob is for: take it as it is. */
static enum ramet_rc
open_session(struct ramet_opening *opening,
             struct ramet_replica_options *replica, struct ramet_err *err)
{
    struct ramet_file *const file = opening->file;
    struct ramet_replica_options unasked = *replica;
    uint64_t changed;
    enum ramet_rc rc;

    assert(file->stateless == NULL); /* invariant 1 */
    assert(file->session == NULL);
    rc = ramet_session_open_state(opening->path, replica, &file->session,
                                  &file->state, err);
    if (rc != RAMET_EFOREIGN ||
        ramet_replica_kind(opening->os, opening->path) != RAMET_KIND_BLOB ||
        (replica->flags & RAMET_OPEN_READONLY) != 0)
        return rc;
    unasked.flags |= RAMET_OPEN_UNASKED;
    rc = ramet_replica_adopt_base(opening->path, &unasked, &changed, err);
    return rc == RAMET_OK
               ? ramet_session_open_state(opening->path, replica,
                                          &file->session, &file->state, err)
               : rc;
}

static enum ramet_sync_mode
choose_mode(const struct ramet_file *file, enum ramet_sync_mode asked)
{
    const bool has_remote =
        ramet_replica_sync_client(file->replica_sync) != NULL;

    assert(file->replica_sync != NULL);
    if (asked == RAMET_SYNC_DEFAULT)
        asked = RAMET_SYNC_AUTO;
    if (asked == RAMET_SYNC_AUTO &&
        (!has_remote || ramet_replica_is_readonly(file->replica_sync->replica)))
        return RAMET_SYNC_MANUAL;
    if (asked == RAMET_SYNC_COMMIT && (file->flags & RAMET_OPEN_READONLY) != 0)
        return RAMET_SYNC_MANUAL; /* it commits nothing */
    assert(asked != RAMET_SYNC_DEFAULT);
    return asked;
}

/* What does not fit into the cache would fall out again. */
static void
bring_rest(struct ramet_file *file, const struct ramet_file_options *options)
{
    uint64_t max_bytes = options->hydrate_max_bytes > 0
                             ? options->hydrate_max_bytes
                             : RAMET_REST_MAX_BYTES;

    assert(file->replica_sync->fetcher != NULL);
    if (options->cache_limit_bytes > 0 &&
        options->cache_limit_bytes < max_bytes)
        max_bytes = options->cache_limit_bytes;
    assert(max_bytes > 0);
    ramet_page_fetcher_bring_rest(file->replica_sync->fetcher, max_bytes);
}

static enum ramet_rc
start_sync(struct ramet_opening *opening, struct ramet_err *err)
{
    const struct ramet_file_options *const options = opening->options;
    struct ramet_file *const file = opening->file;
    uint64_t interval_ms = options->push_interval_ms > 0
                               ? options->push_interval_ms
                               : PUSH_INTERVAL_MS;
    enum ramet_rc rc;

    assert(file->session != NULL &&
           file->replica_sync != NULL); /* invariant 1 */
    assert(!file->pushes);
    if (interval_ms == RAMET_PUSH_AT_ONCE)
        interval_ms = 0;
    file->sync = choose_mode(file, options->sync);
    if (file->sync == RAMET_SYNC_COMMIT &&
        ramet_replica_sync_client(file->replica_sync) == NULL)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: sync=commit needs a remote (remote=URL, or "
                          "'ramet init' first)",
                          opening->path);
    assert(file->sync != RAMET_SYNC_DEFAULT);
    if (options->hydrate_auto)
        bring_rest(file, options);
    file->fetch_timeout_ms = file->replica_sync->fetch_timeout_ms;
    file->bounds_age = options->bounds_age &&
                       ramet_replica_sync_client(file->replica_sync) != NULL;
    file->max_stale_ms = options->max_stale_ms;
    file->close_wait_ms = file->sync == RAMET_SYNC_AUTO ? CLOSE_WAIT_MS : 0;
    if (options->close_wait_ms >= 0)
        file->close_wait_ms = (uint64_t)options->close_wait_ms;
    if (file->sync != RAMET_SYNC_AUTO)
        return RAMET_OK;
    if ((file->flags & RAMET_OPEN_READONLY) != 0)
        interval_ms = RAMET_ONLY_FOLLOWS;
    rc = ramet_background_start(file->replica_sync, file->session, interval_ms,
                                err);
    file->pushes = rc == RAMET_OK && interval_ms != RAMET_ONLY_FOLLOWS;
    return rc;
}

static bool
has_base(const struct ramet_opening *opening)
{
    struct ramet_os_stat st;

    assert(opening->path[0] == '/');
    return opening->os->stat_at(opening->os->ctx, AT_FDCWD, opening->path,
                                &st) == 0;
}

/* Somebody deleted the file, and whoever opens it now would make one. */
static bool
is_deleted(const struct ramet_opening *opening)
{
    assert(opening->path[0] == '/');
    return (opening->options->flags & RAMET_OPEN_CREATE) != 0 &&
           !has_base(opening) &&
           ramet_replica_is_orphan(opening->os, opening->path);
}

/* Of a plain file that is going to be a replica. (One that became a replica while
 * we looked has a mark in place of its header, and its kind in its state.) */
static enum ramet_rc
choose_kind(const struct ramet_opening *opening,
            struct ramet_replica_options *replica, struct ramet_err *err)
{
    struct ramet_replica_options found = {.kind = 0};
    struct ramet_os_stat st;

    assert(opening->file->session == NULL);
    ramet_file_guess_kind(opening->os, opening->path, replica);
    if (replica->kind != RAMET_KIND_SQLITE || !opening->has_url ||
        opening->os->stat_at(opening->os->ctx, AT_FDCWD, opening->path, &st) <
            0 ||
        st.size_bytes == 0)
        return RAMET_OK;
    ramet_file_guess_kind(opening->os, opening->path, &found);
    return found.kind == RAMET_KIND_BLOB &&
                   !ramet_replica_exists(opening->os, opening->path)
               ? ramet_opening_refuse_no_database(opening, err)
               : RAMET_OK;
}

/* Of what could not be opened as it is: clear what a deleted file left, clone,
 * or choose what is to be made. */
static enum ramet_rc
prepare_path(struct ramet_opening *opening,
             struct ramet_replica_options *replica, struct ramet_err *err)
{
    const struct ramet_os *const os = opening->os;
    bool is_replica = ramet_replica_exists_at(os, opening->path);
    enum ramet_rc rc = RAMET_OK;

    assert(opening->file->session == NULL);
    assert(opening->cloned_from == NULL);
    if (is_replica && is_deleted(opening)) {
        rc = ramet_replica_clear_orphan(os, opening->path, err);
        is_replica = false;
    }
    if (rc != RAMET_OK || is_replica)
        return rc;
    if (file_is_there(os, opening->path))
        return choose_kind(opening, replica, err);
    if (replica->kind == 0)
        replica->kind = opening->options->kind_of_new;
    return opening->has_url ? clone_if_there(opening, replica, err) : RAMET_OK;
}

static enum ramet_rc
open_replica(struct ramet_opening *opening, struct ramet_err *err)
{
    const struct ramet_file_options *const options = opening->options;
    struct ramet_file *const file = opening->file;
    struct ramet_replica_options replica = {
        .os = opening->os,
        .flags = options->flags | RAMET_OPEN_RESOLVED,
        .kind = options->kind,
        .page_size = options->page_size,
        .cache_limit_bytes = options->cache_limit_bytes,
    };
    struct ramet_replica_options as_it_is = replica;
    enum ramet_rc rc = RAMET_ENOTFOUND;

    assert(file->session == NULL && file->stateless == NULL);
    assert(opening->path == file->path);
    as_it_is.flags &= ~(unsigned)(RAMET_OPEN_CREATE | RAMET_OPEN_ADOPT);
    if (has_base(opening)) /* then it mostly is a replica, too */
        rc = open_session(opening, &as_it_is, err);
    if (rc == RAMET_ENOTFOUND) {
        if (err != NULL)
            err->code = RAMET_OK;
        rc = prepare_path(opening, &replica, err);
    }
    if (rc == RAMET_OK && file->session == NULL)
        rc = open_session(opening, &replica, err);
    if (rc == RAMET_OK)
        rc = ramet_replica_sync_open(file->session, opening->path, opening->os,
                                     ramet_fetch_timeout_of(options),
                                     &file->replica_sync, err);
    if (rc == RAMET_OK && options->bases_limit_bytes >= 0)
        atomic_store(&file->replica_sync->bases_bytes,
                     (uint64_t)options->bases_limit_bytes);
    if (rc == RAMET_OK)
        rc = ramet_opening_attach_remote(opening, err);
    if (rc == RAMET_OK)
        rc = start_sync(opening, err);
    assert(rc != RAMET_OK || ramet_file_is_whole(file)); /* invariant 1 */
    return rc;
}

/* ---- open ----------------------------------------------------------------- */

/* The file at the end of all links; with RAMET_OPEN_NOFOLLOW there must be
 * none. */
static enum ramet_rc
find_file(const char *path, const struct ramet_file_options *options,
          struct ramet_file *file, struct ramet_err *err)
{
    bool is_link = false;
    enum ramet_rc rc;

    assert(file->os != NULL);
    assert(file->path == NULL);
    rc = ramet_path_resolve(file->os, path, &file->path, &is_link, err);
    if (rc == RAMET_OK && is_link &&
        (options->flags & RAMET_OPEN_NOFOLLOW) != 0)
        rc = RAMET_FAIL_SYS(err, RAMET_EINVAL, ELOOP,
                            "%.200s: is a symbolic link", path);
    assert(rc != RAMET_OK || file->path[0] == '/');
    return rc;
}

static enum ramet_rc
check_profile(const struct ramet_file_options *options, struct ramet_err *err)
{
    if (options->profile == NULL || ramet_name_valid(options->profile))
        return RAMET_OK;
    return RAMET_FAIL(
        err, RAMET_EINVAL,
        "profile=%.140s: is not a name: 1 to 128 of A-Z a-z 0-9 . _ "
        "-, not beginning with a dot",
        options->profile);
}

/* Before the first read: what comes of it is nobody's failure. */
static void
warm_up(struct ramet_file *file, const char *profile)
{
    const bool may_keep = (file->flags & RAMET_OPEN_READONLY) == 0;
    const struct ramet_point at = {file->state.newest.lsn,
                                   file->state.newest.lsn_hash};

    assert(ramet_file_is_whole(file)); /* invariant 1 */
    assert(file->warm == NULL);
    assert(ramet_name_valid(profile));
    if (file->stateless != NULL)
        file->warm = ramet_stateless_warm(file->stateless, profile, may_keep);
    else if (ramet_replica_sync_client(file->replica_sync) != NULL)
        file->warm = ramet_page_fetcher_warm(
            file->replica_sync->fetcher, file->session, &at, profile, may_keep);
}

enum ramet_rc
ramet_file_open(const char *path, const struct ramet_file_options *options,
                struct ramet_file **out_file, struct ramet_err *err)
{
    struct ramet_opening opening = {
        .options = options,
        .os = options->os != NULL ? options->os : ramet_os_system(),
    };
    struct ramet_file *file = ramet_calloc(1, sizeof(*file));
    enum ramet_rc rc;

    if (file == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", path);
    opening.file = file;
    file->os = opening.os;
    file->fork_count = ramet_os_fork_count();
    file->flags = options->flags;
    file->commit_timeout_ms = options->commit_timeout_ms > 0
                                  ? options->commit_timeout_ms
                                  : COMMIT_TIMEOUT_MS;
    rc = check_profile(options, err);
    if (rc == RAMET_OK)
        rc = find_file(path, options, file, err);
    if (rc == RAMET_OK) {
        opening.path = file->path;
        rc = ramet_opening_find_url(&opening, err);
    }
    if (rc != RAMET_OK)
        goto done;
    if (options->at != NULL || options->stateless ||
        (opening.url_is_explicit &&
         (opening.url.has_lsn || opening.url.has_time)))
        rc = ramet_opening_stateless(&opening, err);
    else
        rc = open_replica(&opening, err);
    if (rc != RAMET_OK)
        goto done;
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    assert(file->sync != RAMET_SYNC_DEFAULT);
    if (options->profile != NULL)
        warm_up(file, options->profile);
    *out_file = file;
    file = NULL;

done:
    ramet_remote_client_close(opening.cloned_from);
    ramet_file_close(file);
    return rc;
}
