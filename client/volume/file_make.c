/*
 * file_make.c - makes replicas: `ramet init` and `ramet clone`.
 *
 * Layer: client.
 */
#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "client/remote/config.h"
#include "client/remote/remote.h"
#include "client/remote/remote_client.h"
#include "client/remote/token.h"
#include "client/store/exchange.h"
#include "client/store/path.h"
#include "client/store/replicas.h"
#include "client/store/store.h"
#include "client/sync/progress.h"
#include "client/volume/file.h"
#include "client/volume/file_impl.h"
#include "core/alloc.h"

enum ramet_rc
ramet_file_init(const char *path, const char *url,
                const struct ramet_file_options *options,
                ramet_progress_fn *progress, void *progress_ctx,
                struct ramet_sync_result *out, struct ramet_err *err)
{
    struct ramet_file_options mine = *options;
    struct ramet_file *file = NULL;
    enum ramet_rc rc;

    mine.remote = url;
    mine.sync = RAMET_SYNC_MANUAL;
    mine.at = NULL;
    mine.stateless = false;
    mine.flags |= RAMET_OPEN_ADOPT;
    rc = ramet_file_open(path, &mine, &file, err);
    if (rc != RAMET_OK)
        return rc;
    assert(file->sync == RAMET_SYNC_MANUAL);
    if (file->stateless != NULL) {
        rc = RAMET_FAIL(err, RAMET_EINVAL,
                        "%.200s: names a snapshot; leave out what follows '@'",
                        url);
        goto done;
    }
    assert(ramet_file_is_whole(file) && file->stateless == NULL);
    atomic_store(&file->replica_sync->may_create, true);
    ramet_file_set_progress(file, progress, progress_ctx);
    /* Done already, but for what was committed since: that is push's. */
    if (file->state.newest.lsn > 0) {
        if (out != NULL)
            *out = (struct ramet_sync_result){
                .durable_lsn = file->state.newest.lsn,
                .remote_lsn = file->state.newest.lsn,
            };
        goto done;
    }
    rc = ramet_file_push(file, out, err);
    /* Most checksums were taken as it was read: the rest is holes. */
    if (rc == RAMET_OK)
        rc = ramet_session_sum(file->session, err);

done:
    ramet_file_close(file);
    return rc;
}

/* ---- clone ---------------------------------------------------------------- */

static enum ramet_rc
hydrate_at(const char *path, const struct ramet_file_options *options,
           ramet_progress_fn *progress, void *progress_ctx,
           struct ramet_sync_result *out, struct ramet_err *err)
{
    struct ramet_file_options mine = *options;
    struct ramet_file *file = NULL;
    enum ramet_rc rc;

    mine.remote = NULL;
    mine.binding_first = true;
    mine.sync = RAMET_SYNC_MANUAL;
    mine.at = NULL;
    mine.stateless = false;
    mine.flags &= ~(unsigned)(RAMET_OPEN_READONLY | RAMET_OPEN_CREATE);
    rc = ramet_file_open(path, &mine, &file, err);
    if (rc != RAMET_OK)
        return rc;
    assert(file->stateless == NULL);
    assert(file->sync == RAMET_SYNC_MANUAL);
    assert((file->flags & (RAMET_OPEN_READONLY | RAMET_OPEN_CREATE)) == 0);
    ramet_file_set_progress(file, progress, progress_ctx);
    rc = ramet_file_hydrate(file, out, err);
    if (rc == RAMET_OK && file->state.kind == RAMET_KIND_BLOB)
        rc = ramet_session_sum(file->session, err);
    ramet_file_close(file);
    return rc;
}

/* One name in the folder, and the name of the directory beside it. */
struct name_pair {
    const char *file;
    char *dir;
};

/*
 * The directory goes first: a crash between the two renames then leaves a
 * replica without its base, which an open names as such, and never a file
 * that looks whole and is not known to be a replica.
 */
static int
move_both(const struct ramet_os *os, int folder, const struct name_pair *from,
          const struct name_pair *to)
{
    int result = os->rename(os->ctx, folder, from->dir, folder, to->dir);

    assert(folder >= 0);
    assert(from->dir != NULL && to->dir != NULL);
    if (result < 0)
        return result;
    result = os->rename(os->ctx, folder, from->file, folder, to->file);
    if (result == 0)
        return os->sync(os->ctx, folder);
    os->rename(os->ctx, folder, to->dir, folder, from->dir); /* as it was */
    return result;
}

/* Both are in one folder, which is opened once. */
static enum ramet_rc
move_replica(const struct ramet_os *os, const char *from, const char *to,
             struct ramet_err *err)
{
    const char *const slash = strrchr(to, '/');
    char *const folder = ramet_asprintf("%.*s/", (int)(slash - to), to);
    struct name_pair old = {strrchr(from, '/') + 1, NULL};
    struct name_pair new = {slash + 1, NULL};
    enum ramet_rc rc = RAMET_OK;
    int result;
    int fd = -1;

    assert(strncmp(from, to, (size_t)(slash - to) + 1) == 0);
    old.dir = ramet_asprintf("%s-ramet", old.file);
    new.dir = ramet_asprintf("%s-ramet", new.file);
    if (folder == NULL || old.dir == NULL || new.dir == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", to);
        goto done;
    }
    assert(strchr(old.file, '/') == NULL && strchr(new.file, '/') == NULL);
    fd = os->open(os->ctx, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);
    result = fd < 0 ? fd : move_both(os, fd, &old, &new);
    if (result < 0)
        rc = RAMET_FAIL_OS(err, result, "%s: rename", to);

done:
    if (fd >= 0)
        os->close(os->ctx, fd);
    ramet_free(folder);
    ramet_free(old.dir);
    ramet_free(new.dir);
    return rc;
}

/* What a clone is made of. */
struct cloning {
    const struct ramet_os *os;
    const struct ramet_file_options *options;
    struct ramet_remote_client *client;
    const char *path; /* absolute */
    struct ramet_vid volume;
    struct ramet_head head; /* the newest */
    ramet_progress_fn *progress;
    void *progress_ctx;
};

/* A blob is there whole or not at all. */
static enum ramet_rc
clone_whole(const struct cloning *cloning,
            const struct ramet_replica_options *replica,
            struct ramet_sync_result *out, struct ramet_err *err)
{
    const struct ramet_os *const os = cloning->os;
    uint64_t random = 0;
    char *temporary;
    enum ramet_rc rc;

    assert(cloning->head.kind == RAMET_KIND_BLOB);
    assert(cloning->head.lsn > 0);
    if (os->random(os->ctx, &random, sizeof(random)) < 0)
        random = os->mono_ns(os->ctx);
    temporary = ramet_asprintf("%s.clone-%016" PRIx64, cloning->path, random);
    if (temporary == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "clone: no memory");
    rc = ramet_file_clone_lazily(temporary, cloning->client, &cloning->volume,
                                 &cloning->head, replica, err);
    if (rc == RAMET_OK)
        rc = hydrate_at(temporary, cloning->options, cloning->progress,
                        cloning->progress_ctx, out, err);
    if (rc == RAMET_OK)
        rc = move_replica(os, temporary, cloning->path, err);
    if (rc != RAMET_OK)
        (void)!ramet_replica_delete(os, temporary, NULL);
    ramet_free(temporary);
    return rc;
}

static enum ramet_rc
clone_lazily(const struct cloning *cloning,
             const struct ramet_replica_options *replica,
             struct ramet_sync_result *out, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(cloning->head.kind != RAMET_KIND_BLOB || cloning->options->lazy);
    assert(cloning->head.lsn > 0);
    rc =
        ramet_file_clone_lazily(cloning->path, cloning->client,
                                &cloning->volume, &cloning->head, replica, err);
    if (rc != RAMET_OK)
        return rc;
    if (out != NULL)
        *out = (struct ramet_sync_result){.durable_lsn = cloning->head.lsn,
                                          .remote_lsn = cloning->head.lsn};
    if (!cloning->options->hydrate)
        return RAMET_OK;
    return hydrate_at(cloning->path, cloning->options, cloning->progress,
                      cloning->progress_ctx, out, err);
}

static enum ramet_rc
run_clone(struct cloning *cloning, struct ramet_sync_result *out,
          struct ramet_err *err)
{
    const struct ramet_replica_options replica = {
        .os = cloning->os,
        .cache_limit_bytes = cloning->options->cache_limit_bytes,
    };
    enum ramet_rc rc;

    assert(cloning->client != NULL);
    assert(cloning->path[0] == '/');
    rc = ramet_file_find_newest(cloning->client, &cloning->volume,
                                &cloning->head, err);
    /* Only now: the remote has what comes in its place. */
    if (rc == RAMET_OK && ramet_replica_is_orphan(cloning->os, cloning->path))
        rc = ramet_replica_clear_orphan(cloning->os, cloning->path, err);
    if (rc != RAMET_OK)
        return rc;
    return cloning->head.kind == RAMET_KIND_BLOB && !cloning->options->lazy
               ? clone_whole(cloning, &replica, out, err)
               : clone_lazily(cloning, &replica, out, err);
}

enum ramet_rc
ramet_file_clone(const char *url, const char *path,
                 const struct ramet_file_options *options,
                 ramet_progress_fn *progress, void *progress_ctx,
                 struct ramet_sync_result *out, struct ramet_err *err)
{
    struct cloning cloning = {
        .os = options->os != NULL ? options->os : ramet_os_system(),
        .options = options,
        .progress = progress,
        .progress_ctx = progress_ctx,
    };
    struct ramet_os_stat st;
    struct ramet_url parsed;
    char *absolute = NULL;
    enum ramet_rc rc;

    rc = ramet_config_remote(options->config, url, &parsed, err);
    if (rc != RAMET_OK)
        return rc;
    if (parsed.has_lsn || parsed.has_time)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%.200s: a replica begins at the newest commit; "
                          "`ramet export` or `ramet restore` bring a past one",
                          url);
    rc = ramet_path_resolve(cloning.os, path, &absolute, NULL, err);
    if (rc != RAMET_OK)
        return rc;
    assert(absolute[0] == '/');
    assert(!parsed.has_lsn && !parsed.has_time);
    cloning.path = absolute;
    if ((ramet_replica_exists(cloning.os, absolute) &&
         !ramet_replica_is_orphan(cloning.os, absolute)) ||
        (cloning.os->stat_at(cloning.os->ctx, AT_FDCWD, absolute, &st) == 0 &&
         !ramet_replica_is_leftover(cloning.os, absolute)))
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s: is there already", path);
    if (rc == RAMET_OK)
        rc = ramet_file_open_client(options, &parsed, RAMET_NAMED_FOR_GOOD,
                                    &cloning.client, err);
    if (rc == RAMET_OK)
        rc = run_clone(&cloning, out, err);
    ramet_remote_client_close(cloning.client);
    ramet_free(absolute);
    return rc;
}
