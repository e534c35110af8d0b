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
 *   (3) Before the first report about a directory, it and every directory
 *       above it, those above the root included, was made (by whomever) and
 *       synced into its parent. durable[] remembers for which directories this
 *       handle did that, "" being the root.
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
#include "core/hash.h"
#include "core/thread.h"
#include "pagestore/dirstore_walk.h"
#include "pagestore/objstore.h"

#define DURABLE_MAX 64u
#define TMP_NAME_SIZE 40u /* "tmp/", 32 hex digits, NUL */
#define TMP_AGE_MAX_MS (3600u * 1000u)
#define WRITE_PARTS_MAX 16

struct dirstore {
    struct ramet_objstore base;
    const struct ramet_os *os;
    int root_fd;
    char *name; /* what texts call it: "file://" and the path, or another */
    char *path;
    struct ramet_mutex mutex;
    uint64_t durable[DURABLE_MAX]; /* hashes of paths, invariant (3); 0: none */
    unsigned durable_next;
};

/* A temporary file on its way to becoming `key`. */
struct draft {
    int fd;
    uint64_t size_bytes;
    char tmp[TMP_NAME_SIZE];
};

struct dir_upload {
    struct ramet_upload base;
    struct draft draft;
    char key[RAMET_KEY_MAX];
};

static enum ramet_rc
fail_sys(const struct dirstore *dir, int negated, const char *key,
         const char *what, struct ramet_err *err)
{
    return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-negated), -negated,
                          "%s/%s: %s", dir->name, key, what);
}

/* ---- directories ---------------------------------------------------------- */

/* Sync one directory, "" being the root. */
static int
sync_directory(const struct dirstore *dir, const char *path)
{
    const struct ramet_os *os = dir->os;
    int fd;
    int rc;

    if (path[0] == '\0')
        return os->sync(os->ctx, dir->root_fd);
    fd = os->open(os->ctx, dir->root_fd, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    rc = os->sync(os->ctx, fd);
    os->close(os->ctx, fd);
    return rc;
}

/* The directory of `key`, "" for the root. */
static void
directory_of(const char *key, char out[RAMET_KEY_MAX])
{
    const char *slash = strrchr(key, '/');
    const size_t len = slash == NULL ? 0 : (size_t)(slash - key);

    memcpy(out, key, len);
    out[len] = '\0';
}

static uint64_t
directory_hash(const char *path)
{
    const uint64_t hash = ramet_hash64(path, strlen(path));

    return hash == 0 ? 1 : hash;
}

static bool
is_durable(struct dirstore *dir, const char *path)
{
    const uint64_t hash = directory_hash(path);
    bool found = false;

    ramet_mutex_lock(&dir->mutex);
    for (unsigned i = 0; i < DURABLE_MAX && !found; i++)
        found = dir->durable[i] == hash;
    ramet_mutex_unlock(&dir->mutex);
    return found;
}

static void
remember_durable(struct dirstore *dir, const char *path)
{
    ramet_mutex_lock(&dir->mutex);
    dir->durable[dir->durable_next++ % DURABLE_MAX] = directory_hash(path);
    ramet_mutex_unlock(&dir->mutex);
}

/* Sync the directory that holds path[0, len). One that we may not read, or that
 * can't be synced at all, is the affair of whoever made it. */
static int
sync_parent(const struct ramet_os *os, const char *path, size_t len)
{
    char *parent;
    int fd;
    int rc;

    while (len > 0 && path[len - 1] == '/')
        len--;
    if (len == 0)
        return 0; /* the root has no parent */
    while (len > 0 && path[len - 1] != '/')
        len--;
    parent =
        len == 0 ? ramet_strdup(".") : ramet_asprintf("%.*s", (int)len, path);
    if (parent == NULL)
        return -ENOMEM;
    fd = os->open(os->ctx, AT_FDCWD, parent, O_RDONLY | O_DIRECTORY, 0);
    ramet_free(parent);
    if (fd < 0)
        return fd == -EACCES ? 0 : fd;
    rc = os->sync(os->ctx, fd);
    (void)os->close(os->ctx, fd);
    return rc == -EROFS || rc == -EINVAL ? 0 : rc;
}

/* The root and what is above it, each into its parent. */
static enum ramet_rc
make_root_durable(struct dirstore *dir, struct ramet_err *err)
{
    const char *path = dir->path;

    for (size_t len = strlen(path); len > 0; len--) {
        int rc;

        if (path[len] != '/' && path[len] != '\0')
            continue;
        rc = sync_parent(dir->os, path, len);
        if (rc < 0)
            return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-rc), -rc,
                                  "%s: can't sync the directories above it",
                                  dir->name);
    }
    remember_durable(dir, "");
    return RAMET_OK;
}

/* Make `path` and its parents where they are missing, and sync each into its
 * parent, whoever made it: invariant (3). */
static enum ramet_rc
make_durable(struct dirstore *dir, const char *path, struct ramet_err *err)
{
    char part[RAMET_KEY_MAX];
    char parent[RAMET_KEY_MAX];

    if (!is_durable(dir, "")) {
        const enum ramet_rc rc = make_root_durable(dir, err);

        if (rc != RAMET_OK)
            return rc;
    }
    for (size_t len = 1; path[0] != '\0' && len <= strlen(path); len++) {
        int rc;

        if (path[len] != '/' && path[len] != '\0')
            continue;
        memcpy(part, path, len);
        part[len] = '\0';
        rc = dir->os->mkdir(dir->os->ctx, dir->root_fd, part, 0777);
        if (rc < 0 && rc != -EEXIST)
            return fail_sys(dir, rc, part, "can't make the directory", err);
        directory_of(part, parent);
        rc = sync_directory(dir, parent);
        if (rc < 0)
            return fail_sys(dir, rc, parent, "can't sync the directory", err);
    }
    if (path[0] != '\0')
        remember_durable(dir, path);
    return RAMET_OK;
}

/* ---- drafts --------------------------------------------------------------- */

static int
open_tmp(const struct dirstore *dir, char out_name[TMP_NAME_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t random[16];
    char *at = out_name;
    int rc = dir->os->random(dir->os->ctx, random, sizeof(random));

    if (rc < 0)
        return rc;
    memcpy(at, RAMET_DIRSTORE_TMP "/", sizeof(RAMET_DIRSTORE_TMP));
    at += sizeof(RAMET_DIRSTORE_TMP);
    for (size_t i = 0; i < sizeof(random); i++) {
        *at++ = hex[random[i] >> 4];
        *at++ = hex[random[i] & 15];
    }
    *at = '\0';
    return dir->os->open(dir->os->ctx, dir->root_fd, out_name,
                         O_WRONLY | O_CREAT | O_EXCL, 0666);
}

static enum ramet_rc
draft_open(struct dirstore *dir, const char *key, struct draft *out,
           struct ramet_err *err)
{
    struct draft draft = {.fd = -1};

    if (strncmp(key, RAMET_DIRSTORE_TMP "/", sizeof(RAMET_DIRSTORE_TMP)) == 0)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s/%s: tmp/ is for unfinished files", dir->name,
                          key);
    draft.fd = open_tmp(dir, draft.tmp);
    if (draft.fd == -ENOENT) { /* nobody needs it to survive a crash */
        const int rc = dir->os->mkdir(dir->os->ctx, dir->root_fd,
                                      RAMET_DIRSTORE_TMP, 0777);

        if (rc < 0 && rc != -EEXIST)
            return fail_sys(dir, rc, RAMET_DIRSTORE_TMP,
                            "can't make the directory", err);
        draft.fd = open_tmp(dir, draft.tmp);
    }
    if (draft.fd < 0)
        return fail_sys(dir, draft.fd, key, "can't make a temporary file", err);
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
    (void)dir->os->unlink(dir->os->ctx, dir->root_fd, draft->tmp, false);
    (void)dir->os->close(dir->os->ctx, draft->fd);
    draft->fd = -1;
}

/* A file system that lost link()'s answer and asked again says "exists" of our
 * own link. (Counting the draft's names would not do: whoever copies the store
 * by hard links makes names too.) */
static bool
is_ours(const struct dirstore *dir, const struct draft *draft, const char *key)
{
    const struct ramet_os *os = dir->os;
    struct ramet_stat ours;
    struct ramet_stat theirs;

    return os->stat(os->ctx, draft->fd, &ours) == 0 &&
           os->stat_at(os->ctx, dir->root_fd, key, &theirs) == 0 &&
           ours.device == theirs.device && ours.inode == theirs.inode;
}

static enum ramet_rc
fail_link(const struct dirstore *dir, int negated, const char *key,
          struct ramet_err *err)
{
    if (negated == -EPERM || negated == -EOPNOTSUPP || negated == -ENOSYS)
        return RAMET_FAIL_SYS(err, RAMET_EIO, -negated,
                              "%s/%s: this file system can't link files, "
                              "which put-if-absent needs",
                              dir->name, key);
    if (negated == -ENOENT)
        return RAMET_FAIL_SYS(err, RAMET_EIO, ENOENT,
                              "%s/%s: its temporary file or directory is gone",
                              dir->name, key);
    return fail_sys(dir, negated, key, "can't link", err);
}

/* The synced draft gets its name, if nobody has it. Invariants (1) to (3). */
static enum ramet_rc
draft_link(struct dirstore *dir, struct draft *draft, const char *key,
           struct ramet_err *err)
{
    const struct ramet_os *os = dir->os;
    char parent[RAMET_KEY_MAX];
    bool exists;
    enum ramet_rc rc;
    int got;

    directory_of(key, parent);
    if (!is_durable(dir, parent)) {
        rc = make_durable(dir, parent, err);
        if (rc != RAMET_OK)
            return rc;
    }
    got = os->link(os->ctx, dir->root_fd, draft->tmp, dir->root_fd, key);
    if (got == -ENOENT) { /* somebody removed the directory since */
        rc = make_durable(dir, parent, err);
        if (rc != RAMET_OK)
            return rc;
        got = os->link(os->ctx, dir->root_fd, draft->tmp, dir->root_fd, key);
    }
    if (got < 0 && got != -EEXIST)
        return fail_link(dir, got, key, err);
    exists = got == -EEXIST && !is_ours(dir, draft, key);
    got = sync_directory(dir, parent);
    if (got < 0)
        return RAMET_FAIL_SYS(err, RAMET_EUNKNOWN, -got,
                              "%s/%s: there, but the directory can't be synced",
                              dir->name, key);
    if (exists)
        return RAMET_FAIL(err, RAMET_EEXIST, "%s/%s: exists", dir->name, key);
    return RAMET_OK;
}

static enum ramet_rc
draft_publish(struct dirstore *dir, struct draft *draft, const char *key,
              struct ramet_err *err)
{
    const int got = dir->os->datasync(dir->os->ctx, draft->fd);

    if (got < 0)
        return fail_sys(dir, got, key, "can't sync", err);
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

    return draft_write((struct dirstore *)base->store, &upload->draft, &part, 1,
                       upload->key, err);
}

static void
dir_upload_abort(struct ramet_upload *base)
{
    struct dir_upload *upload = (struct dir_upload *)base;

    draft_close((struct dirstore *)base->store, &upload->draft);
    ramet_free(upload);
}

static enum ramet_rc
dir_upload_finish(struct ramet_upload *base, struct ramet_err *err)
{
    struct dir_upload *upload = (struct dir_upload *)base;
    const enum ramet_rc rc = draft_publish((struct dirstore *)base->store,
                                           &upload->draft, upload->key, err);

    dir_upload_abort(base);
    return rc;
}

static enum ramet_rc
fail_absent(const struct dirstore *dir, const char *key, struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_ENOTFOUND, "%s/%s: not there", dir->name, key);
}

static enum ramet_rc
dir_read(struct ramet_objstore *store, const char *key, uint64_t offset,
         void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;
    const struct ramet_os *os = dir->os;
    struct ramet_stat st;
    enum ramet_rc rc;
    int fd = os->open(os->ctx, dir->root_fd, key, O_RDONLY, 0);

    if (fd == -ENOENT || fd == -ENOTDIR)
        return fail_absent(dir, key, err);
    if (fd < 0)
        return fail_sys(dir, fd, key, "can't open", err);
    if (offset > INT64_MAX - len) { /* past any file's end */
        *out_got = 0;
        rc = RAMET_OK;
        goto done;
    }
    rc = ramet_os_read_some(os, fd, buf, len, offset, out_got, key, err);
    if (rc != RAMET_OK && os->stat(os->ctx, fd, &st) == 0 && S_ISDIR(st.mode))
        rc = fail_absent(dir, key, err);
done:
    (void)os->close(os->ctx, fd);
    return rc;
}

static enum ramet_rc
dir_size(struct ramet_objstore *store, const char *key,
         uint64_t *out_size_bytes, struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;
    struct ramet_stat st;
    const int got = dir->os->stat_at(dir->os->ctx, dir->root_fd, key, &st);

    if (got == -ENOENT || got == -ENOTDIR || (got == 0 && S_ISDIR(st.mode)))
        return fail_absent(dir, key, err);
    if (got < 0)
        return fail_sys(dir, got, key, "can't look at it", err);
    *out_size_bytes = st.size_bytes;
    return RAMET_OK;
}

static enum ramet_rc
dir_list(struct ramet_objstore *store, const char *prefix, const char *after,
         ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;

    return ramet_dirstore_walk(dir->os, dir->root_fd, dir->name, prefix, after,
                               visit, ctx, err);
}

/* Durable when it returns, as far as the file system lets us know. */
static enum ramet_rc
dir_remove(struct ramet_objstore *store, const char *key, struct ramet_err *err)
{
    struct dirstore *dir = (struct dirstore *)store;
    char parent[RAMET_KEY_MAX];
    int got = dir->os->unlink(dir->os->ctx, dir->root_fd, key, false);

    if (got == -ENOENT || got == -ENOTDIR)
        return RAMET_OK;
    if (got < 0)
        return fail_sys(dir, got, key, "can't remove", err);
    directory_of(key, parent);
    got = sync_directory(dir, parent);
    if (got < 0 && got != -ENOENT)
        return fail_sys(dir, got, parent, "can't sync the directory", err);
    return RAMET_OK;
}

static void
dir_close(struct ramet_objstore *store)
{
    struct dirstore *dir = (struct dirstore *)store;

    if (dir->root_fd >= 0)
        (void)dir->os->close(dir->os->ctx, dir->root_fd);
    ramet_mutex_done(&dir->mutex);
    ramet_free(dir->name);
    ramet_free(dir->path);
    ramet_free(dir);
}

/* ---- opening -------------------------------------------------------------- */

/* Make `path` with its parents. What can't be made is found out by open. */
static int
make_root(const struct ramet_os *os, const char *path)
{
    const size_t path_len = strlen(path);
    char *part = ramet_strdup(path);
    int failed = 0;

    if (part == NULL)
        return -ENOMEM;
    for (size_t len = 1; len <= path_len; len++) {
        int rc;

        if (path[len] != '/' && path[len] != '\0')
            continue;
        part[len] = '\0';
        rc = os->mkdir(os->ctx, AT_FDCWD, part, 0777);
        if (rc < 0 && rc != -EEXIST)
            failed = rc;
        part[len] = path[len];
    }
    ramet_free(part);
    return failed;
}

/* ramet_dir_visit: remove what a crash left over an hour ago. */
static int
visit_leftover(void *ctx, const char *name, bool is_dir)
{
    const struct dirstore *dir = ctx;
    char *path = ramet_asprintf(RAMET_DIRSTORE_TMP "/%s", name);
    struct ramet_stat st;

    if (path != NULL && !is_dir &&
        dir->os->stat_at(dir->os->ctx, dir->root_fd, path, &st) == 0) {
        const int64_t now_ms = (int64_t)dir->os->wall_ms(dir->os->ctx);

        if (now_ms - st.mtime_ns / 1000000 > (int64_t)TMP_AGE_MAX_MS)
            (void)dir->os->unlink(dir->os->ctx, dir->root_fd, path, false);
    }
    ramet_free(path);
    return 0;
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
        made = make_root(dir->os, path);
    dir->root_fd =
        dir->os->open(dir->os->ctx, AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (dir->root_fd < 0) {
        const int cause = made < 0 ? made : dir->root_fd;

        rc = RAMET_FAIL_SYS(err, ramet_rc_of_errno(-cause), -cause,
                            "%s: can't %s the directory", dir->name,
                            made < 0 ? "make" : "open");
        goto done;
    }
    (void)dir->os->list(dir->os->ctx, dir->root_fd, RAMET_DIRSTORE_TMP,
                        visit_leftover, dir);
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

    if (copy == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", dir->name);
    ramet_free(dir->name);
    dir->name = copy;
    dir->base.name = copy;
    return RAMET_OK;
}
