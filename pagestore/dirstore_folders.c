/*
 * dirstore_folders.c - the folders of a directory store: opened, made, made
 * durable, given to whom the store belongs; see dirstore_impl.h.
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
#include "pagestore/dirstore_impl.h"

enum ramet_rc
ramet_dirstore_fail(const struct dirstore *dir, int negated, const char *key,
                    const char *what, struct ramet_err *err)
{
    assert(negated < 0 && what != NULL);
    return RAMET_FAIL_OS(err, negated, "%s/%s: %s", dir->name, key, what);
}

/* ---- directories ---------------------------------------------------------- */

/* A folder of the store, "" being the root; invariant (2). */
int
ramet_dirstore_folder(const struct dirstore *dir, const char *path)
{
    assert(dir->root_fd >= 0);
    assert(path[0] == '\0' || ramet_key_valid(path)); /* invariant (2) */
    return ramet_rights_open_below(dir->os, dir->root_fd,
                                   path[0] == '\0' ? "." : path,
                                   O_RDONLY | O_DIRECTORY);
}

const char *
ramet_dirstore_name_of(const char *key)
{
    const char *slash = strrchr(key, '/');

    assert(ramet_key_valid(key));
    return slash == NULL ? key : slash + 1;
}

/* What was just made, by invariant (3). */
int
ramet_dirstore_give(const struct dirstore *dir, int fd)
{
    const uint32_t group = dir->rights.mode & 0070;
    struct ramet_os_stat st;
    int rc;

    assert(fd >= 0);
    if (!dir->gives)
        return 0;
    rc = dir->os->stat(dir->os->ctx, fd, &st);
    if (rc < 0)
        return rc;
    return ramet_rights_apply(dir->os, fd, &st, &dir->rights,
                              (st.mode & 0777) |
                                  ((group & 0020) == 0 ? 0
                                   : S_ISDIR(st.mode)  ? group
                                                       : group & 0060));
}

/* A folder in an open one, made if it is not there; 0 or a negated errno. */
int
ramet_dirstore_make_folder(const struct dirstore *dir, int parent_fd,
                           const char *name)
{
    int rc = dir->os->mkdir(dir->os->ctx, parent_fd, name, 0777);
    int fd;

    assert(parent_fd >= 0 && strchr(name, '/') == NULL); /* invariant (2) */
    if (rc == -EEXIST)
        return 0;
    if (rc < 0 || !dir->gives)
        return rc;
    fd = ramet_rights_open_folder(dir->os, parent_fd, name);
    if (fd < 0)
        return fd;
    rc = ramet_dirstore_give(dir, fd);
    dir->os->close(dir->os->ctx, fd);
    return rc;
}

/* The directory of `key`, "" for the root. */
void
ramet_dirstore_directory_of(const char *key, char out[RAMET_KEY_MAX])
{
    const char *slash = strrchr(key, '/');
    const size_t len = slash == NULL ? 0 : (size_t)(slash - key);

    assert(len < RAMET_KEY_MAX);
    memcpy(out, key, len);
    out[len] = '\0';
}

static uint64_t
directory_hash(const char *path)
{
    const uint64_t hash = ramet_hash64(path, strlen(path));

    assert(path != NULL);
    return hash == 0 ? 1 : hash;
}

static bool
is_durable(struct dirstore *dir, const char *path)
{
    const uint64_t hash = directory_hash(path);
    bool found = false;

    assert(path[0] == '\0' || ramet_key_valid(path));
    ramet_mutex_lock(&dir->mutex);
    for (unsigned i = 0; i < RAMET_DIRSTORE_DURABLE_MAX && !found; i++)
        found = dir->durable[i] == hash;
    ramet_mutex_unlock(&dir->mutex);
    return found;
}

static void
remember_durable(struct dirstore *dir, const char *path)
{
    assert(path[0] == '\0' || ramet_key_valid(path));
    ramet_mutex_lock(&dir->mutex);
    dir->durable[dir->durable_next++ % RAMET_DIRSTORE_DURABLE_MAX] =
        directory_hash(path);
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

    assert(len <= strlen(path));
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

    assert(path[0] != '\0');
    for (size_t len = strlen(path); len > 0; len--) {
        int rc;

        if (path[len] != '/' && path[len] != '\0')
            continue;
        rc = sync_parent(dir->os, path, len);
        if (rc < 0)
            return RAMET_FAIL_OS(
                err, rc, "%s: can't sync the directories above it", dir->name);
    }
    remember_durable(dir, "");
    return RAMET_OK;
}

/* Make `path` and its parents where they are missing, and sync each into its
 * parent, whoever made it: invariant (1). */
static enum ramet_rc
make_durable(struct dirstore *dir, const char *path, struct ramet_err *err)
{
    char part[RAMET_KEY_MAX];
    char parent[RAMET_KEY_MAX];

    assert(strlen(path) < RAMET_KEY_MAX);
    if (!is_durable(dir, "")) {
        const enum ramet_rc rc = make_root_durable(dir, err);

        if (rc != RAMET_OK)
            return rc;
    }
    for (size_t len = 1; path[0] != '\0' && len <= strlen(path); len++) {
        const char *what = "can't sync the directory above it";
        int fd;
        int rc;

        if (path[len] != '/' && path[len] != '\0')
            continue;
        memcpy(part, path, len);
        part[len] = '\0';
        ramet_dirstore_directory_of(part, parent);
        fd = ramet_dirstore_folder(dir, parent);
        if (fd < 0)
            return ramet_dirstore_fail(dir, fd, parent,
                                       "can't open the directory", err);
        rc = ramet_dirstore_make_folder(dir, fd, ramet_dirstore_name_of(part));
        if (rc < 0)
            what = "can't make the directory";
        else
            rc = dir->os->sync(dir->os->ctx, fd);
        dir->os->close(dir->os->ctx, fd);
        if (rc < 0)
            return ramet_dirstore_fail(dir, rc, part, what, err);
    }
    if (path[0] != '\0')
        remember_durable(dir, path);
    return RAMET_OK;
}

/* The folder that a key goes into, made durable; its descriptor. */
enum ramet_rc
ramet_dirstore_target(struct dirstore *dir, const char *parent, int *out_fd,
                      struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;
    int fd = -ENOENT;

    if (is_durable(dir, parent))
        fd = ramet_dirstore_folder(dir, parent);
    if (fd == -ENOENT) { /* not known, or somebody removed it since */
        rc = make_durable(dir, parent, err);
        if (rc != RAMET_OK)
            return rc;
        fd = ramet_dirstore_folder(dir, parent);
    }
    if (fd < 0)
        return ramet_dirstore_fail(dir, fd, parent, "can't open the directory",
                                   err);
    *out_fd = fd;
    return RAMET_OK;
}

/* What root makes in somebody's folder is his. */
static int
make_one(const struct ramet_os *os, const char *path)
{
    const int made = os->mkdir(os->ctx, AT_FDCWD, path, 0777);
    struct ramet_os_stat above;
    struct ramet_os_stat st;
    int parent = -1;
    int fd;
    int rc;

    assert(path[0] != '\0');
    if (made < 0 || os->user(os->ctx) != 0)
        return made;
    fd = ramet_rights_open_folder(os, AT_FDCWD, path);
    if (fd >= 0)
        parent = os->open(os->ctx, fd, "..", O_RDONLY | O_DIRECTORY, 0);
    rc = fd < 0 ? fd : parent < 0 ? parent : 0;
    if (rc == 0)
        rc = os->stat(os->ctx, fd, &st);
    if (rc == 0)
        rc = os->stat(os->ctx, parent, &above);
    if (rc == 0) {
        const struct ramet_rights rights = ramet_rights_of(&above);

        rc = ramet_rights_apply(os, fd, &st, &rights, st.mode & 0777);
    }
    if (parent >= 0)
        (void)os->close(os->ctx, parent);
    if (fd >= 0)
        (void)os->close(os->ctx, fd);
    return rc;
}

/* Make `path` with its parents. What can't be made is found out by open. */
int
ramet_dirstore_make_root(const struct ramet_os *os, const char *path)
{
    const size_t path_len = strlen(path);
    char *part = ramet_strdup(path);
    int failed = 0;

    assert(path_len > 0);
    if (part == NULL)
        return -ENOMEM;
    for (size_t len = 1; len <= path_len; len++) {
        int rc;

        if (path[len] != '/' && path[len] != '\0')
            continue;
        part[len] = '\0';
        rc = make_one(os, part);
        if (rc < 0 && rc != -EEXIST)
            failed = rc;
        part[len] = path[len];
    }
    ramet_free(part);
    return failed;
}

/* Whose the root is, as it is opened. */
int
ramet_dirstore_look_at_root(struct dirstore *dir)
{
    struct ramet_os_stat st;
    const int rc = dir->os->stat(dir->os->ctx, dir->root_fd, &st);

    assert(dir->root_fd >= 0);
    if (rc < 0)
        return rc;
    dir->rights = ramet_rights_of(&st);
    dir->gives = dir->os->user(dir->os->ctx) == 0 || (st.mode & 0020) != 0;
    return 0;
}
