/*
 * file_export.c - a snapshot of a file as a plain one, or as a stream of bytes.
 *
 *   (1) the snapshot is pinned from the first byte to the last: the one that whoever
 *       asks has, or the newest
 *   (2) where a replica, or a database in use, stands, nothing is written over
 *
 * Layer: client, volume.
 */
#include <assert.h>
#include <fcntl.h>

#include "client/snapshot.h"
#include "client/store/path.h"
#include "client/store/replicas.h"
#include "client/store/store.h"
#include "client/sync/export.h"
#include "client/sync/progress.h"
#include "client/volume/file.h"
#include "client/volume/file_impl.h"
#include "core/alloc.h"
#include "core/rights.h"
#include "pagestore/segment.h"

#define SEND_BYTES (1u << 20)

struct exporting {
    struct ramet_file *file;
    struct ramet_progress report;
    uint32_t page_size;
    bool was_pinned; /* by whoever asked: it stays so */
};

static enum ramet_rc
read_file(void *ctx, uint64_t offset, void *buf, size_t len,
          struct ramet_err *err)
{
    struct exporting *const exporting = ctx;
    struct ramet_file *const file = exporting->file;
    struct ramet_progress *const report = &exporting->report;
    size_t got = 0;
    enum ramet_rc rc;

    assert(exporting->page_size > 0);
    assert(len > 0);
    rc = ramet_file_read(file, offset, buf, len, &got, err);
    if (rc != RAMET_OK)
        return rc;
    assert(got == len);
    report->pages_done = (offset + len) / exporting->page_size;
    if (file->progress != NULL && !file->progress(file->progress_ctx, report))
        return RAMET_FAIL(err, RAMET_ECANCELLED, "export was cancelled");
    return RAMET_OK;
}

static enum ramet_rc
check_export(struct ramet_file *file, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_file_check_fork(file, err);

    assert(ramet_file_is_whole(file)); /* invariant 1 of file_impl.h */
    if (rc == RAMET_OK && file->session != NULL &&
        ramet_session_is_reserved(file->session))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: export inside a write transaction", file->path);
    return rc;
}

/* Have a snapshot pinned: the one that is, or the newest. */
static enum ramet_rc
begin_export(struct exporting *exporting, struct ramet_file *file,
             struct ramet_err *err)
{
    const struct ramet_snapshot *snap;
    enum ramet_rc rc = RAMET_OK;

    *exporting = (struct exporting){.file = file, .report.verb = "export"};
    exporting->was_pinned =
        file->session != NULL && ramet_session_is_pinned(file->session);
    if (!exporting->was_pinned)
        rc = ramet_file_pin(file, err);
    if (rc != RAMET_OK)
        return rc;
    assert(file->session == NULL ||
           ramet_session_is_pinned(file->session)); /* invariant 1 */
    snap = ramet_file_snapshot(file);
    exporting->page_size = snap->page_size > 0 ? snap->page_size : 1;
    exporting->report.pages_total = snap->page_count;
    return RAMET_OK;
}

static void
end_export(struct exporting *exporting)
{
    assert(exporting->file->session == NULL ||
           ramet_session_is_pinned(exporting->file->session)); /* invariant 1 */
    if (!exporting->was_pinned)
        ramet_file_unpin(exporting->file);
}

/* Straight from a bucket or a directory as much as lies together in it: the pages of a tree do, and
 * those that are neighbours in the file do not. */
static size_t
bytes_at_once(const struct ramet_file *file, size_t usual)
{
    return file->stateless != NULL &&
                   ramet_stateless_reads_groups(file->stateless)
               ? RAMET_SEGMENT_GROUP_BYTES
               : usual;
}

/* Where a replica, or a database in use, stands, nothing is written over. */
static enum ramet_rc
check_target(struct ramet_file *file, const char *out_path,
             struct ramet_err *err)
{
    static const char *const companions[] = {"-wal", "-journal"};
    enum ramet_rc rc = RAMET_OK;

    assert(out_path[0] == '/');
    if (ramet_replica_exists(file->os, out_path))
        return RAMET_FAIL(err, RAMET_EEXIST,
                          "%s: is a replica; export to another name", out_path);
    for (size_t i = 0; rc == RAMET_OK && i < 2; i++) {
        char *const path = ramet_asprintf("%s%s", out_path, companions[i]);
        struct ramet_os_stat st;

        if (path == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "export: no memory");
        else if (file->os->stat_at(file->os->ctx, AT_FDCWD, path, &st) == 0 &&
                 st.size_bytes > 0)
            rc = RAMET_FAIL(err, RAMET_EBUSY,
                            "%s: is there: %s is in use by SQLite", path,
                            out_path);
        ramet_free(path);
    }
    return rc;
}

/* `out_path` is the file itself, not a link to it. */
static enum ramet_rc
export_to(struct ramet_file *file, const char *out_path,
          const struct ramet_rights *rights, struct ramet_err *err)
{
    struct exporting exporting;
    enum ramet_rc rc;

    assert(out_path[0] == '/');
    rc = check_target(file, out_path, err);
    if (rc == RAMET_OK)
        rc = begin_export(&exporting, file, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_export_write(file->os, AT_FDCWD, out_path, rights,
                            ramet_file_snapshot(file)->byte_length,
                            bytes_at_once(file, RAMET_EXPORT_AT_ONCE),
                            read_file, &exporting, err);
    assert(exporting.file == file);
    end_export(&exporting);
    return rc;
}

enum ramet_rc
ramet_file_export(struct ramet_file *file, const char *out_path,
                  const struct ramet_rights *rights, struct ramet_err *err)
{
    char *target = NULL;
    enum ramet_rc rc = check_export(file, err);

    if (rc == RAMET_OK)
        rc = ramet_path_resolve(file->os, out_path, &target, NULL, err);
    if (rc == RAMET_OK)
        rc = export_to(file, target, rights, err);
    assert(rc != RAMET_OK || target != NULL);
    ramet_free(target);
    return rc;
}

enum ramet_rc
ramet_file_send(struct ramet_file *file, ramet_file_sink *sink, void *ctx,
                struct ramet_err *err)
{
    const size_t at_once = bytes_at_once(file, SEND_BYTES);
    uint8_t *const buf = ramet_alloc(at_once);
    struct exporting exporting;
    uint64_t length = 0;
    enum ramet_rc rc = check_export(file, err);

    if (rc == RAMET_OK && buf == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "export: no memory");
    if (rc == RAMET_OK)
        rc = begin_export(&exporting, file, err);
    if (rc != RAMET_OK)
        goto done;
    assert(buf != NULL);
    assert(exporting.file == file);
    length = ramet_file_snapshot(file)->byte_length;
    for (uint64_t at = 0; rc == RAMET_OK && at < length; at += at_once) {
        const size_t n =
            length - at < at_once ? (size_t)(length - at) : at_once;

        assert(n > 0 && n <= at_once);
        rc = read_file(&exporting, at, buf, n, err);
        if (rc == RAMET_OK)
            rc = sink(ctx, buf, n, err);
    }
    end_export(&exporting);

done:
    ramet_free(buf);
    return rc;
}

/* ---- a plain copy --------------------------------------------------------- */

struct copying {
    const struct ramet_os *os;
    int fd;
    const char *path;
};

static enum ramet_rc
read_plain(void *ctx, uint64_t offset, void *buf, size_t len,
           struct ramet_err *err)
{
    const struct copying *const copying = ctx;

    assert(copying->fd >= 0);
    return ramet_os_read_full(copying->os, copying->fd, buf, len, offset,
                              copying->path, err);
}

enum ramet_rc
ramet_file_copy_plain(const char *from, const char *to, struct ramet_err *err)
{
    struct copying copying = {.os = ramet_os_system(), .path = from};
    const struct ramet_os *const os = copying.os;
    struct ramet_os_stat st;
    char *target = NULL;
    enum ramet_rc rc;

    if (os->stat_at(os->ctx, AT_FDCWD, to, &st) == 0)
        return RAMET_FAIL(err, RAMET_EEXIST, "%s: is there already", to);
    copying.fd = os->open(os->ctx, AT_FDCWD, from, O_RDONLY | O_NOFOLLOW, 0);
    if (copying.fd < 0)
        return RAMET_FAIL_OS(err, copying.fd, "open %s", from);
    rc = ramet_path_resolve(os, to, &target, NULL, err);
    if (rc == RAMET_OK && os->stat(os->ctx, copying.fd, &st) < 0)
        rc = RAMET_FAIL(err, RAMET_EIO, "stat %s", from);
    if (rc == RAMET_OK) {
        const struct ramet_rights rights = ramet_rights_of(&st);

        rc =
            ramet_export_write(os, AT_FDCWD, target, &rights, st.size_bytes,
                               RAMET_EXPORT_AT_ONCE, read_plain, &copying, err);
    }
    ramet_free(target);
    os->close(os->ctx, copying.fd);
    return rc;
}
