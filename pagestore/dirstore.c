/*
 * dirstore.c - a directory as an object store; a key is a path below it.
 *
 * Writing: a file under tmp/ is written and synced, link(2) gives it its name
 * unless that is taken, the directory is synced, the temporary name removed.
 *
 *   (1) A key's name appears only after all of its bytes are on disk.
 *   (2) Nothing is reported, neither "written" nor "exists", before the
 *       directory that holds the name was synced after the name was there: a
 *       crash of whoever made it, between link and sync, must not let us
 *       report what a power loss takes back.
 *
 * dirstore_impl.h has invariants of its own.
 *
 * A sync that fails after the link leaves it open whether the object survives:
 * that is RAMET_EUNKNOWN.
 *
 * Layer: pagestore.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core/alloc.h"
#include "pagestore/dirstore_impl.h"

#define TMP_NAME_SIZE 33u /* 32 hex digits, NUL */
#define TMP_AGE_MAX_MS (3600u * 1000u)
#define WRITE_PARTS_MAX 16
#define LINK_TRIES 2u

/* A temporary file on its way to becoming `key`. */
struct draft {
    int tmp_fd; /* the folder that `tmp` is in */
    int fd;
    uint64_t size_bytes;
    char tmp[TMP_NAME_SIZE];
};

struct dir_upload {
    struct ramet_upload base;
    struct draft draft;
    char key[RAMET_KEY_MAX];
};

/* ---- drafts --------------------------------------------------------------- */

/* In the folder of unfinished files, open. */
static int
open_tmp(const struct dirstore *dir, int tmp_fd, char out_name[TMP_NAME_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    const struct ramet_os *os = dir->os;
    uint8_t random[16];
    char *at = out_name;
    int rc = os->random(os->ctx, random, sizeof(random));
    int fd;

    assert(tmp_fd >= 0);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof(random); i++) {
        *at++ = hex[random[i] >> 4];
        *at++ = hex[random[i] & 15];
    }
    assert(at == out_name + TMP_NAME_SIZE - 1);
    *at = '\0';
    fd = ramet_rights_make(os, tmp_fd, out_name, O_WRONLY, NULL);
    rc = fd < 0 ? fd : ramet_dirstore_give(dir, fd);
    if (fd >= 0 && rc < 0) {
        (void)os->unlink(os->ctx, tmp_fd, out_name, false);
        (void)os->close(os->ctx, fd);
    }
    return rc < 0 ? rc : fd;
}

/* Its descriptor; nobody needs it to survive a crash. */
static int
open_tmp_folder(const struct dirstore *dir)
{
    int fd = ramet_dirstore_folder(dir, RAMET_DIRSTORE_TMP);

    assert(dir->root_fd >= 0);
    if (fd == -ENOENT) {
        const int rc =
            ramet_dirstore_make_folder(dir, dir->root_fd, RAMET_DIRSTORE_TMP);

        fd = rc < 0 ? rc : ramet_dirstore_folder(dir, RAMET_DIRSTORE_TMP);
    }
    return fd;
}

static enum ramet_rc
draft_open(struct dirstore *dir, const char *key, struct draft *out,
           struct ramet_err *err)
{
    struct draft draft = {.fd = -1};

    assert(ramet_key_valid(key));
    if (strncmp(key, RAMET_DIRSTORE_TMP "/", sizeof(RAMET_DIRSTORE_TMP)) == 0)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s/%s: tmp/ is for unfinished files", dir->name,
                          key);
    draft.tmp_fd = open_tmp_folder(dir);
    if (draft.tmp_fd < 0)
        return ramet_dirstore_fail(
            dir, draft.tmp_fd, RAMET_DIRSTORE_TMP,
            "can't open the directory of unfinished files", err);
    draft.fd = open_tmp(dir, draft.tmp_fd, draft.tmp);
    if (draft.fd < 0) {
        (void)dir->os->close(dir->os->ctx, draft.tmp_fd);
        return ramet_dirstore_fail(dir, draft.fd, key,
                                   "can't make a temporary file", err);
    }
    assert(draft.tmp_fd >= 0 && draft.fd >= 0);
    *out = draft;
    return RAMET_OK;
}

static enum ramet_rc
draft_write(struct dirstore *dir, struct draft *draft,
            const struct iovec *parts, int part_count, const char *key,
            struct ramet_err *err)
{
    struct iovec iov[WRITE_PARTS_MAX];
    enum ramet_rc rc = RAMET_OK;

    assert(draft->fd >= 0 && part_count >= 0);
    while (part_count > 0 && rc == RAMET_OK) {
        const int n =
            part_count < WRITE_PARTS_MAX ? part_count : WRITE_PARTS_MAX;
        uint64_t size = 0;

        for (int i = 0; i < n; i++) {
            iov[i] = parts[i];
            size += parts[i].iov_len;
        }
        if (size > 0)
            rc = ramet_os_writev_full(dir->os, draft->fd, iov, n,
                                      draft->size_bytes, key, err);
        draft->size_bytes += size;
        parts += n;
        part_count -= n;
    }
    return rc;
}

/* Forget the temporary name and the descriptor. A name left behind by an
 * error here is garbage that a later open removes. */
static void
draft_close(struct dirstore *dir, struct draft *draft)
{
    assert(draft->fd >= 0 && draft->tmp_fd >= 0);
    (void)dir->os->unlink(dir->os->ctx, draft->tmp_fd, draft->tmp, false);
    (void)dir->os->close(dir->os->ctx, draft->fd);
    (void)dir->os->close(dir->os->ctx, draft->tmp_fd);
    draft->fd = -1;
}

/* A file system that lost link()'s answer and asked again says "exists" of our
 * own link. (Counting the draft's names would not do: whoever copies the store
 * by hard links makes names too.) */
static bool
is_ours(const struct dirstore *dir, const struct draft *draft, int folder_fd,
        const char *name)
{
    const struct ramet_os *os = dir->os;
    struct ramet_os_stat ours;
    struct ramet_os_stat theirs;

    assert(folder_fd >= 0 && draft->fd >= 0);
    return os->stat(os->ctx, draft->fd, &ours) == 0 &&
           os->stat_at(os->ctx, folder_fd, name, &theirs) == 0 &&
           ours.device == theirs.device && ours.inode == theirs.inode;
}

static enum ramet_rc
fail_link(const struct dirstore *dir, int negated, const char *key,
          struct ramet_err *err)
{
    assert(negated < 0 && negated != -EEXIST);
    if (negated == -EPERM || negated == -EOPNOTSUPP || negated == -ENOSYS)
        return RAMET_FAIL_SYS(err, RAMET_EIO, -negated,
                              "%s/%s: this file system can't link files, "
                              "which put-if-absent needs",
                              dir->name, key);
    if (negated == -ENOENT)
        return RAMET_FAIL_SYS(err, RAMET_EIO, ENOENT,
                              "%s/%s: its temporary file or directory is gone",
                              dir->name, key);
    return ramet_dirstore_fail(dir, negated, key, "can't link", err);
}

/* The synced draft gets its name, if nobody has it. Invariants (1) to (3). */
static enum ramet_rc
draft_link(struct dirstore *dir, struct draft *draft, const char *key,
           struct ramet_err *err)
{
    const struct ramet_os *os = dir->os;
    const char *const name = ramet_dirstore_name_of(key);
    char parent[RAMET_KEY_MAX];
    bool exists = false;
    enum ramet_rc rc;
    int got = -ENOENT;
    int fd = -1;

    ramet_dirstore_directory_of(key, parent);
    for (unsigned i = 0; i < LINK_TRIES && got == -ENOENT; i++) {
        rc = ramet_dirstore_target(dir, parent, &fd, err);
        if (rc != RAMET_OK)
            return rc;
        got = os->link(os->ctx, draft->tmp_fd, draft->tmp, fd, name);
        if (got == -ENOENT) /* somebody removed the directory since */
            (void)os->close(os->ctx, fd);
    }
    if (got == -ENOENT)
        return fail_link(dir, got, key, err);
    assert(fd >= 0); /* the folder that the name is in, or would be */
    exists = got == -EEXIST && !is_ours(dir, draft, fd, name);
    if (got == 0 || got == -EEXIST) {
        const int synced = os->sync(os->ctx, fd);

        rc = synced < 0
                 ? RAMET_FAIL_SYS(err, RAMET_EUNKNOWN, -synced,
                                  "%s/%s: there, but the directory can't be "
                                  "synced",
                                  dir->name, key)
             : exists ? RAMET_FAIL(err, RAMET_EEXIST, "%s/%s: exists",
                                   dir->name, key)
                      : RAMET_OK;
    } else {
        rc = fail_link(dir, got, key, err);
    }
    (void)os->close(os->ctx, fd);
    return rc;
}

static enum ramet_rc
draft_publish(struct dirstore *dir, struct draft *draft, const char *key,
              struct ramet_err *err)
{
    const int got = dir->os->datasync(dir->os->ctx, draft->fd);

    assert(draft->fd >= 0);
    if (got < 0)
        return ramet_dirstore_fail(dir, got, key, "can't sync", err);
    return draft_link(dir, draft, key, err);
}

/* ---- the store ------------------------------------------------------------ */

static enum ramet_rc
dir_put(struct ramet_objstore *store, const char *key,
        const struct iovec *parts, int part_count, struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;
    struct draft draft;
    enum ramet_rc rc = draft_open(dir, key, &draft, err);

    assert(parts != NULL || part_count == 0);
    if (rc != RAMET_OK)
        return rc;
    rc = draft_write(dir, &draft, parts, part_count, key, err);
    if (rc == RAMET_OK)
        rc = draft_publish(dir, &draft, key, err);
    draft_close(dir, &draft);
    return rc;
}

static enum ramet_rc
dir_upload_begin(struct ramet_objstore *store, const char *key,
                 struct ramet_upload **out_upload, struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;
    struct dir_upload *upload = ramet_calloc(1, sizeof(*upload));
    enum ramet_rc rc;

    assert(strlen(key) < RAMET_KEY_MAX);
    if (upload == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s/%s: no memory", dir->name,
                          key);
    rc = draft_open(dir, key, &upload->draft, err);
    if (rc != RAMET_OK) {
        ramet_free(upload);
        return rc;
    }
    upload->base.store = store;
    memcpy(upload->key, key, strlen(key) + 1);
    *out_upload = &upload->base;
    return RAMET_OK;
}

static enum ramet_rc
dir_upload_write(struct ramet_upload *base, const void *data, size_t len,
                 struct ramet_err *err)
{
    struct dir_upload *upload = (struct dir_upload *)base;
    const struct iovec part = {(void *)(uintptr_t)data, len};

    assert(upload->draft.fd >= 0);
    return draft_write((struct dirstore *)base->store, &upload->draft, &part, 1,
                       upload->key, err);
}

static void
dir_upload_abort(struct ramet_upload *base)
{
    struct dir_upload *upload = (struct dir_upload *)base;

    assert(upload->draft.fd >= 0); /* neither finished nor aborted before */
    draft_close((struct dirstore *)base->store, &upload->draft);
    ramet_free(upload);
}

static enum ramet_rc
dir_upload_finish(struct ramet_upload *base, struct ramet_err *err)
{
    struct dir_upload *upload = (struct dir_upload *)base;
    const enum ramet_rc rc = draft_publish((struct dirstore *)base->store,
                                           &upload->draft, upload->key, err);

    assert(upload->draft.fd >= 0);
    dir_upload_abort(base);
    return rc;
}

static enum ramet_rc
fail_absent(const struct dirstore *dir, const char *key, struct ramet_err *err)
{
    assert(key[0] != '\0');
    return RAMET_FAIL(err, RAMET_ENOTFOUND, "%s/%s: not there", dir->name, key);
}

/* Open the object of a key, no link followed (dirstore_impl.h). A link in its
 * place is nothing that a store has. */
static enum ramet_rc
open_object(const struct dirstore *dir, const char *key, int *out_fd,
            struct ramet_os_stat *out_stat, struct ramet_err *err)
{
    const struct ramet_os *os = dir->os;
    const int fd = ramet_rights_open_below(os, dir->root_fd, key, O_RDONLY);
    int got;

    assert(ramet_key_valid(key)); /* it leads nowhere else */
    if (fd == -ENOENT || fd == -ENOTDIR)
        return fail_absent(dir, key, err);
    if (fd == -ELOOP)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s/%s: is a symbolic link, not an object", dir->name,
                          key);
    if (fd < 0)
        return ramet_dirstore_fail(dir, fd, key, "can't open", err);
    got = os->stat(os->ctx, fd, out_stat);
    if (got == 0 && S_ISREG(out_stat->mode)) {
        *out_fd = fd;
        return RAMET_OK;
    }
    (void)os->close(os->ctx, fd);
    if (got < 0)
        return ramet_dirstore_fail(dir, got, key, "can't look at it", err);
    return S_ISDIR(out_stat->mode)
               ? fail_absent(dir, key, err)
               : RAMET_FAIL(err, RAMET_ECORRUPT, "%s/%s: is not a regular file",
                            dir->name, key);
}

static enum ramet_rc
dir_read(struct ramet_objstore *store, const char *key, uint64_t offset,
         void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;
    struct ramet_os_stat st;
    int fd;
    enum ramet_rc rc = open_object(dir, key, &fd, &st, err);

    if (rc != RAMET_OK)
        return rc;
    if (offset > INT64_MAX - len) /* past any file's end */
        *out_got = 0;
    else
        rc = ramet_os_read_some(dir->os, fd, buf, len, offset, out_got, key,
                                err);
    assert(rc != RAMET_OK || *out_got <= len);
    (void)dir->os->close(dir->os->ctx, fd);
    return rc;
}

static enum ramet_rc
dir_size(struct ramet_objstore *store, const char *key,
         uint64_t *out_size_bytes, struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;
    struct ramet_os_stat st;
    int fd;
    const enum ramet_rc rc = open_object(dir, key, &fd, &st, err);

    assert(out_size_bytes != NULL);
    if (rc != RAMET_OK)
        return rc;
    (void)dir->os->close(dir->os->ctx, fd);
    *out_size_bytes = st.size_bytes;
    return RAMET_OK;
}

static enum ramet_rc
dir_list(struct ramet_objstore *store, const char *prefix, const char *after,
         ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;

    assert(after != NULL);
    return ramet_dirstore_walk(dir->os, dir->root_fd, dir->name, prefix, after,
                               visit, ctx, err);
}

/* Durable when it returns, as far as the file system lets us know. */
static enum ramet_rc
dir_remove(struct ramet_objstore *store, const char *key, struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;
    const struct ramet_os *os = dir->os;
    const char *what = "can't remove";
    char parent[RAMET_KEY_MAX];
    int got;
    int fd;

    assert(ramet_key_valid(key));
    ramet_dirstore_directory_of(key, parent);
    fd = ramet_dirstore_folder(dir, parent);
    got = fd < 0 ? fd
                 : os->unlink(os->ctx, fd, ramet_dirstore_name_of(key), false);
    if (got == 0) {
        what = "can't sync the directory of";
        got = os->sync(os->ctx, fd);
    }
    if (fd >= 0)
        (void)os->close(os->ctx, fd);
    return got == 0 || got == -ENOENT || got == -ENOTDIR
               ? RAMET_OK
               : ramet_dirstore_fail(dir, got, key, what, err);
}

static void
dir_close(struct ramet_objstore *store)
{
    struct dirstore *dir = (struct dirstore *)store;

    /* It may have no name yet, and no folder. */
    assert(dir->base.name == NULL || dir->base.name == dir->name);
    if (dir->root_fd >= 0)
        (void)dir->os->close(dir->os->ctx, dir->root_fd);
    ramet_mutex_done(&dir->mutex);
    ramet_free(dir->name);
    ramet_free(dir->path);
    ramet_free(dir);
}

/* ---- opening -------------------------------------------------------------- */

struct sweep {
    const struct dirstore *dir;
    int tmp_fd;
};

/* ramet_dir_visit: remove what a crash left over an hour ago. */
static int
visit_leftover(void *ctx, const char *name, bool is_dir)
{
    const struct sweep *sweep = ctx;
    const struct ramet_os *os = sweep->dir->os;
    struct ramet_os_stat st;

    assert(sweep->tmp_fd >= 0);
    if (!is_dir && os->stat_at(os->ctx, sweep->tmp_fd, name, &st) == 0) {
        const int64_t now_ms = (int64_t)os->wall_ms(os->ctx);

        if (now_ms - st.mtime_ns / 1000000 > (int64_t)TMP_AGE_MAX_MS)
            (void)os->unlink(os->ctx, sweep->tmp_fd, name, false);
    }
    return 0;
}

static void
sweep_leftovers(const struct dirstore *dir)
{
    const struct ramet_os *os = dir->os;
    struct sweep sweep = {dir, ramet_dirstore_folder(dir, RAMET_DIRSTORE_TMP)};

    assert(dir->root_fd >= 0);
    if (sweep.tmp_fd < 0)
        return;
    (void)os->list(os->ctx, sweep.tmp_fd, ".", visit_leftover, &sweep);
    (void)os->close(os->ctx, sweep.tmp_fd);
}

enum ramet_rc
ramet_dirstore_open(const struct ramet_os *os, const char *path, bool create,
                    struct ramet_objstore **out_store, struct ramet_err *err)
{
    static const struct ramet_objstore_ops ops = {
        .put = dir_put,
        .upload_begin = dir_upload_begin,
        .upload_write = dir_upload_write,
        .upload_finish = dir_upload_finish,
        .upload_abort = dir_upload_abort,
        .read = dir_read,
        .size = dir_size,
        .list = dir_list,
        .remove = dir_remove,
        .close = dir_close,
    };
    struct dirstore *dir = ramet_calloc(1, sizeof(*dir));
    int made = 0;
    enum ramet_rc rc;

    assert(path != NULL && path[0] != '\0');
    if (dir == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", path);
    dir->base.ops = &ops;
    dir->os = os != NULL ? os : ramet_os_system();
    dir->root_fd = -1;
    ramet_mutex_init(&dir->mutex);
    dir->name = ramet_asprintf("file://%s", path);
    dir->path = ramet_strdup(path);
    if (dir->name == NULL || dir->path == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", path);
        goto done;
    }
    dir->base.name = dir->name;
    if (create)
        made = ramet_dirstore_make_root(dir->os, path);
    dir->root_fd =
        dir->os->open(dir->os->ctx, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (dir->root_fd < 0) {
        const int cause = made < 0 ? made : dir->root_fd;

        rc = RAMET_FAIL_OS(err, cause, "%s: can't %s the directory", dir->name,
                           made < 0 ? "make" : "open");
        goto done;
    }
    made = ramet_dirstore_look_at_root(dir);
    if (made < 0) {
        rc = RAMET_FAIL_OS(err, made, "%s: can't look at the directory",
                           dir->name);
        goto done;
    }
    assert(dir->base.ops == &ops && dir->base.name != NULL);
    sweep_leftovers(dir);
    *out_store = &dir->base;
    dir = NULL; /* now the caller's */
    rc = RAMET_OK;
done:
    if (dir != NULL)
        dir_close(&dir->base);
    return rc;
}

enum ramet_rc
ramet_dirstore_call(struct ramet_objstore *store, const char *name,
                    struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;
    char *copy = ramet_strdup(name);

    assert(name != NULL && dir->base.name == dir->name);
    if (copy == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", dir->name);
    ramet_free(dir->name);
    dir->name = copy;
    dir->base.name = copy;
    return RAMET_OK;
}
