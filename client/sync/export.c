/*
 * export.c - see export.h.
 *
 * Layer: client.
 */
#include "client/sync/export.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "client/remote/remote.h"
#include "client/store/keep.h"
#include "client/store/store.h"
#include "client/sync/sync.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define HOLE_BYTES 4096u /* what a hole is made of */
#define LOST "lost"
#define LOST_NAMES_MAX 1000u

/* The directory of `path`, opened, and where its last part begins. */
static enum ramet_rc
open_parent(const struct ramet_os *os, int dirfd, const char *path, int *out_fd,
            const char **out_name, struct ramet_err *err)
{
    const char *const slash = strrchr(path, '/');
    char *dir = NULL;
    int fd;

    if (slash == NULL)
        dir = ramet_strdup(".");
    else
        dir = ramet_asprintf("%.*s", slash == path ? 1 : (int)(slash - path),
                             path);
    if (dir == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", path);
    fd = os->open(os->ctx, dirfd, dir, O_RDONLY | O_DIRECTORY, 0);
    ramet_free(dir);
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "%s: its directory", path);
    *out_fd = fd;
    *out_name = slash != NULL ? slash + 1 : path;
    return RAMET_OK;
}

/* Write what is not zero of a chunk that begins at `offset`. */
static enum ramet_rc
write_chunk(const struct ramet_os *os, int fd, const uint8_t *data, size_t len,
            uint64_t offset, const char *what, struct ramet_err *err)
{
    size_t start = 0; /* of what is gathered and not written yet */
    enum ramet_rc rc;

    assert(fd >= 0 && start <= len);
    for (size_t at = 0; at < len;) {
        const size_t n = len - at < HOLE_BYTES ? len - at : HOLE_BYTES;

        if (ramet_bytes_are_zero(data + at, n)) {
            if (at > start) {
                rc = ramet_os_write_full(os, fd, data + start, at - start,
                                         offset + start, what, err);
                if (rc != RAMET_OK)
                    return rc;
            }
            start = at + n;
        }
        at += n;
    }
    if (start >= len)
        return RAMET_OK;
    return ramet_os_write_full(os, fd, data + start, len - start,
                               offset + start, what, err);
}

static enum ramet_rc
write_all(const struct ramet_os *os, int fd, uint64_t byte_length,
          size_t at_once, ramet_export_read *read, void *ctx, const char *what,
          struct ramet_err *err)
{
    uint8_t *const buf = ramet_alloc(at_once);
    enum ramet_rc rc = RAMET_OK;
    int result;

    assert(fd >= 0);
    if (buf == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", what);
    result = os->truncate(os->ctx, fd, byte_length);
    if (result < 0)
        rc = RAMET_FAIL_OS(err, result, "%s: its size", what);
    for (uint64_t at = 0; rc == RAMET_OK && at < byte_length;) {
        const uint64_t left = byte_length - at;
        const size_t n = left < at_once ? (size_t)left : at_once;

        rc = read(ctx, at, buf, n, err);
        if (rc == RAMET_OK)
            rc = write_chunk(os, fd, buf, n, at, what, err);
        at += n;
    }
    ramet_free(buf);
    if (rc != RAMET_OK)
        return rc;
    result = os->sync(os->ctx, fd);
    if (result < 0)
        rc = RAMET_FAIL_OS(err, result, "%s: sync", what);
    return rc;
}

/* Where `to` is new and its folder can't be synced, it goes again: who is told of a
 * failure finds what there was, and may say the same once more. */
static enum ramet_rc
rename_synced(const struct ramet_os *os, int dirfd, const char *from,
              const char *to, bool is_new, struct ramet_err *err)
{
    int result = os->rename(os->ctx, dirfd, from, dirfd, to);

    assert(strchr(to, '/') == NULL); /* in one folder */
    if (result == 0) {
        result = os->sync(os->ctx, dirfd);
        if (result < 0 && is_new)
            os->unlink(os->ctx, dirfd, to, false);
    }
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "%s: rename", to);
    return RAMET_OK;
}

/* "name.tmp-1234": beside the target, so that rename() stays in one disk. */
static char *
temporary_name(const struct ramet_os *os, const char *name)
{
    uint64_t random = 0;

    assert(strchr(name, '/') == NULL);
    if (os->random(os->ctx, &random, sizeof(random)) < 0)
        random = os->mono_ns(os->ctx);
    return ramet_asprintf("%.200s.tmp-%016" PRIx64, name, random);
}

enum ramet_rc
ramet_export_write(const struct ramet_os *os, int dirfd, const char *path,
                   const struct ramet_rights *rights, uint64_t byte_length,
                   size_t at_once, ramet_export_read *read, void *ctx,
                   struct ramet_err *err)
{
    const char *name = NULL;
    struct ramet_rights replaced;
    struct ramet_os_stat st;
    char *temporary = NULL;
    int parent = -1;
    int fd = -1;
    int looked;
    enum ramet_rc rc;

    rc = open_parent(os, dirfd, path, &parent, &name, err);
    if (rc != RAMET_OK)
        return rc;
    assert(parent >= 0 && name != NULL);
    temporary = temporary_name(os, name);
    if (temporary == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", path);
        goto done;
    }
    looked = os->stat_at(os->ctx, parent, name, &st);
    if (rights == NULL && looked == 0 && S_ISREG(st.mode)) {
        replaced = ramet_rights_of(&st);
        rights = &replaced;
    }
    fd = ramet_rights_make(os, parent, temporary, O_RDWR, rights);
    if (fd < 0) {
        rc = RAMET_FAIL_OS(err, fd, "%s", path);
        goto done;
    }
    rc = write_all(os, fd, byte_length, at_once, read, ctx, path, err);
    if (rc == RAMET_OK)
        rc = rename_synced(os, parent, temporary, name, looked == -ENOENT, err);
    if (rc != RAMET_OK)
        os->unlink(os->ctx, parent, temporary, false);

done:
    if (fd >= 0)
        os->close(os->ctx, fd);
    os->close(os->ctx, parent);
    ramet_free(temporary);
    return rc;
}

/* ---- what a reset gives up ------------------------------------------------ */

static enum ramet_rc
read_session(void *ctx, uint64_t offset, void *buf, size_t len,
             struct ramet_err *err)
{
    size_t got = 0;
    const enum ramet_rc rc =
        ramet_session_read(ctx, offset, buf, len, &got, err);

    assert(rc != RAMET_OK || got == len);
    return rc;
}

/* "<time>-<lsn>[-n].<ext>", not taken yet; time without ':' for the sake of
 * other systems' file names. */
static char *
lost_name(const struct ramet_sync *sync, int dir_fd)
{
    const struct ramet_os *const os = sync->replica_sync->os;
    const char *const name = strrchr(sync->replica_sync->path, '/');
    const char *ext =
        strrchr(name != NULL ? name + 1 : sync->replica_sync->path, '.');
    char when[32];
    size_t n = 0;

    assert(dir_fd >= 0);
    ramet_time_format(os->wall_ms(os->ctx), when);
    for (const char *p = when; *p != '\0' && *p != '.'; p++)
        if (*p != '-' && *p != ':')
            when[n++] = *p;
    when[n] = '\0';
    if (ext == NULL || strlen(ext) > 32)
        ext = sync->state->kind == RAMET_KIND_BLOB ? ".bin" : ".db";
    for (unsigned i = 0; i < LOST_NAMES_MAX; i++) {
        char suffix[16] = "";
        struct ramet_os_stat st;
        char *file;

        if (i > 0)
            snprintf(suffix, sizeof(suffix), "-%u", i);
        file = ramet_asprintf("%sZ-%" PRIu64 "%s%s", when,
                              sync->state->newest.lsn, suffix, ext);
        if (file == NULL || os->stat_at(os->ctx, dir_fd, file, &st) == -ENOENT)
            return file;
        ramet_free(file);
    }
    return NULL;
}

/* With the snapshot pinned. */
static enum ramet_rc
write_lost(struct ramet_sync *sync, char **out_path, struct ramet_err *err)
{
    const struct ramet_os *const os = sync->replica_sync->os;
    struct ramet_rights rights;
    char *name = NULL;
    char *path = NULL;
    int dir_fd = -1;
    enum ramet_rc rc = ramet_keep_folder(sync->replica_sync->replica, LOST,
                                         &dir_fd, &rights, err);

    assert(ramet_session_is_pinned(sync->session));
    if (rc != RAMET_OK)
        return rc;
    name = lost_name(sync, dir_fd);
    if (name != NULL)
        path = ramet_asprintf("%s-ramet/" LOST "/%s", sync->replica_sync->path,
                              name);
    if (path == NULL)
        rc = RAMET_FAIL(err, RAMET_EFULL, "%s-ramet/" LOST ": no name is left",
                        sync->replica_sync->path);
    else
        rc = ramet_export_write(
            os, dir_fd, name, &rights, ramet_session_size(sync->session),
            RAMET_EXPORT_AT_ONCE, read_session, sync->session, err);
    os->close(os->ctx, dir_fd);
    ramet_free(name);
    if (rc == RAMET_OK)
        *out_path = path;
    else
        ramet_free(path);
    return rc;
}

enum ramet_rc
ramet_export_lost(struct ramet_sync *sync, char **out_path,
                  struct ramet_err *err)
{
    uint64_t spent_ms = 0;
    enum ramet_rc rc;

    do
        rc = ramet_session_pin(sync->session, err);
    while (rc == RAMET_EBUSY && ramet_sync_retry(sync, &spent_ms));
    if (rc == RAMET_OK &&
        !ramet_pos_same(ramet_session_snapshot(sync->session)->tail,
                        sync->state->newest.tail))
        rc = RAMET_FAIL(err, RAMET_ESNAPSHOT,
                        "%s: was changed before it could be copied",
                        sync->replica_sync->path);
    if (rc == RAMET_OK)
        rc = write_lost(sync, out_path, err);
    ramet_session_unpin(sync->session);
    return rc;
}

void
ramet_export_forget_lost(struct ramet_sync *sync, const char *path)
{
    const struct ramet_os *const os = sync->replica_sync->os;
    struct ramet_rights rights;
    int dir_fd = -1;

    assert(strrchr(path, '/') != NULL);
    if (ramet_keep_folder(sync->replica_sync->replica, LOST, &dir_fd, &rights,
                          NULL) != RAMET_OK)
        return;
    os->unlink(os->ctx, dir_fd, strrchr(path, '/') + 1, false);
    os->close(os->ctx, dir_fd);
}
