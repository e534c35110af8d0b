/*
 * location.c - see location.h. Whose directory it is, trust.c decides.
 */
#include "client/store/life/location.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "client/store/format/dir.h"
#include "client/store/path.h"
#include "core/alloc.h"

#define ENTER_TRIES 20u

enum ramet_rc
ramet_replica_location_find(const struct ramet_os *os, const char *path,
                            struct ramet_replica_location *out_location,
                            struct ramet_err *err)
{
    char *resolved = NULL;
    enum ramet_rc rc = ramet_path_resolve(os, path, &resolved, NULL, err);

    if (rc == RAMET_OK)
        rc = ramet_replica_location_at(os, resolved, out_location, err);
    ramet_free(resolved);
    return rc;
}

enum ramet_rc
ramet_replica_location_at(const struct ramet_os *os, const char *resolved,
                          struct ramet_replica_location *out_location,
                          struct ramet_err *err)
{
    struct ramet_replica_location location = {.os = os,
                                              .path = ramet_strdup(resolved),
                                              .parent_fd = -1,
                                              .dir_fd = -1,
                                              .lock_fd = -1};
    const char *slash;
    char *parent = NULL;
    enum ramet_rc rc = RAMET_OK;

    assert(resolved[0] == '/');
    if (location.path == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a path");
    slash = strrchr(location.path, '/');
    if (slash[1] == '\0') {
        rc = RAMET_FAIL(err, RAMET_EINVAL, "'%s' is not a file name", resolved);
        goto done;
    }
    parent = slash == location.path
                 ? ramet_strdup("/")
                 : ramet_asprintf("%.*s", (int)(slash - location.path),
                                  location.path);
    location.name = ramet_strdup(slash + 1);
    location.dir_name = ramet_asprintf("%s-ramet", slash + 1);
    if (parent == NULL || location.name == NULL || location.dir_name == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a path");
        goto done;
    }
    location.parent_fd =
        os->open(os->ctx, AT_FDCWD, parent, O_RDONLY | O_DIRECTORY, 0);
    if (location.parent_fd < 0)
        rc =
            RAMET_FAIL_OS(err, location.parent_fd, "open directory %s", parent);

done:
    ramet_free(parent);
    assert(rc != RAMET_OK || location.parent_fd >= 0);
    if (rc == RAMET_OK)
        *out_location = location;
    else
        ramet_replica_location_done(&location);
    return rc;
}

void
ramet_replica_location_done(struct ramet_replica_location *location)
{
    const struct ramet_os *const os = location->os;

    if (location->lock_fd >= 0)
        os->close(os->ctx, location->lock_fd);
    if (location->dir_fd >= 0)
        os->close(os->ctx, location->dir_fd);
    if (location->parent_fd >= 0)
        os->close(os->ctx, location->parent_fd);
    ramet_free(location->path);
    ramet_free(location->name);
    ramet_free(location->dir_name);
    location->lock_fd = location->dir_fd = location->parent_fd = -1;
    location->path = location->name = location->dir_name = NULL;
}

/* ---- looking -------------------------------------------------------------- */

static void
look_at_base(struct ramet_replica_location *location)
{
    const struct ramet_os *const os = location->os;
    const int result = os->stat_at(os->ctx, location->parent_fd, location->name,
                                   &location->base);

    assert(location->parent_fd >= 0);
    location->has_base = result == 0 ? 1 : result == -ENOENT ? 0 : result;
    location->is_seen = true;
}

/* What it says of a name that is not there, and of what is no directory. */
static int
as_answer(int result)
{
    return result == 0 ? 1
           : result == -ENOENT || result == -ENOTDIR || result == -ELOOP
               ? 0
               : result;
}

void
ramet_replica_location_look(struct ramet_replica_location *location)
{
    const struct ramet_os *const os = location->os;

    assert(location->parent_fd >= 0 && location->lock_fd < 0);
    if (location->dir_fd >= 0)
        os->close(os->ctx, location->dir_fd);
    location->dir_fd =
        ramet_rights_open_folder(os, location->parent_fd, location->dir_name);
    look_at_base(location);
}

int
ramet_replica_location_sees(const struct ramet_replica_location *location,
                            const char *name)
{
    const struct ramet_os *const os = location->os;
    struct ramet_os_stat st;

    assert(location->is_seen);
    return as_answer(location->dir_fd < 0
                         ? location->dir_fd
                         : os->stat_at(os->ctx, location->dir_fd, name, &st));
}

int
ramet_replica_location_has(const struct ramet_replica_location *location,
                           const char *name)
{
    const struct ramet_os *const os = location->os;
    const int dir =
        ramet_rights_open_folder(os, location->parent_fd, location->dir_name);
    struct ramet_os_stat st;
    int result = dir;

    assert(location->parent_fd >= 0);
    if (dir >= 0) {
        result = os->stat_at(os->ctx, dir, name, &st);
        os->close(os->ctx, dir);
    }
    return as_answer(result);
}

/* ---- entering ------------------------------------------------------------- */

/* Its owner's alone, until it gets the access of the base. */
static enum ramet_rc
make_dir(const struct ramet_replica_location *location, struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    const int result =
        os->mkdir(os->ctx, location->parent_fd, location->dir_name, 0700);

    assert(location->parent_fd >= 0);
    return result == 0 || result == -EEXIST
               ? RAMET_OK
               : RAMET_FAIL_OS(err, result, "create directory %s-ramet",
                               location->path);
}

static enum ramet_rc
open_dir(struct ramet_replica_location *location, struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    const int fd =
        ramet_rights_open_folder(os, location->parent_fd, location->dir_name);

    assert(location->dir_fd < 0);
    if (fd == -ENOTDIR || fd == -ELOOP)
        return RAMET_FAIL_SYS(err, RAMET_EAUTH, EPERM,
                              "%s-ramet is a link or a file; there a replica "
                              "has a directory, made by itself: move it away",
                              location->path);
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "open directory %s-ramet",
                             location->path);
    location->dir_fd = fd;
    return RAMET_OK;
}

/* Beside no base the umask chose the mode of the lock file: the directory, its
 * maker's alone until now, follows. */
static int
open_to_users(const struct ramet_replica_location *location,
              const struct ramet_os_stat *lock)
{
    const struct ramet_os *const os = location->os;
    const struct ramet_rights rights = ramet_rights_of(lock);
    struct ramet_os_stat dir;
    const int result = os->stat(os->ctx, location->dir_fd, &dir);

    assert(location->dir_fd >= 0);
    return result < 0
               ? result
               : ramet_rights_apply(os, location->dir_fd, &dir, &rights,
                                    ramet_rights_folder_mode(rights.mode));
}

/* All that is made later takes its access from the lock file: so it has that of
 * the base, as far as it is ours to give. */
static int
copy_base_rights(const struct ramet_replica_location *location, int fd,
                 bool is_new)
{
    const struct ramet_os *const os = location->os;
    const struct ramet_os_stat *const lock = &location->lock;
    struct ramet_rights rights;
    struct ramet_os_stat base;
    unsigned user;

    assert(fd >= 0 && location->is_seen);
    if (!ramet_replica_location_base(location, &base))
        return is_new ? open_to_users(location, lock) : 0;
    rights = ramet_rights_of(&base);
    user = os->user(os->ctx);
    if ((user != 0 && user != lock->uid) || lock->size_bytes != 0)
        return 0;
    return ramet_rights_apply(os, fd, lock, &rights, rights.mode);
}

static int
make_lock(struct ramet_replica_location *location)
{
    const struct ramet_os *const os = location->os;
    const int fd =
        ramet_rights_make(os, location->dir_fd, RAMET_DIR_LOCK, O_RDWR, NULL);
    const int result = fd < 0 ? fd : os->stat(os->ctx, fd, &location->lock);

    assert(location->dir_fd >= 0 && location->lock_fd < 0);
    if (fd >= 0 && result < 0)
        os->close(os->ctx, fd);
    return result < 0 ? result : fd;
}

/* *out_is_gone: the directory was removed since it was opened, in which alone no file
 * can be made. */
static enum ramet_rc
open_lock(struct ramet_replica_location *location, bool make, bool *out_is_gone,
          struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    bool is_new;
    int result = 0;
    int fd;

    assert(location->dir_fd >= 0 && location->lock_fd < 0);
    do {
        is_new = false;
        fd = ramet_rights_open_look(os, location->dir_fd, RAMET_DIR_LOCK,
                                    O_RDWR, &location->lock);
        if (fd == -ENOENT && make) {
            is_new = true;
            fd = make_lock(location);
        }
    } while (fd == -EEXIST); /* somebody else just made it */
    *out_is_gone = fd == -ENOENT && make;
    if (fd == -EACCES || fd == -EROFS || fd == -EPERM) {
        location->is_readonly = true;
        fd = ramet_rights_open_look(os, location->dir_fd, RAMET_DIR_LOCK,
                                    O_RDONLY, &location->lock);
    }
    if (fd >= 0)
        result = copy_base_rights(location, fd, is_new);
    if (fd < 0 || (result < 0 && result != -EROFS)) {
        if (fd >= 0)
            os->close(os->ctx, fd);
        else
            result = fd;
        return RAMET_FAIL_OS(err, result, "open %s-ramet/%s", location->path,
                             RAMET_DIR_LOCK);
    }
    location->lock_fd = fd;
    return RAMET_OK;
}

/* An empty directory that may not be used goes, and ours comes: nothing is
 * lost. */
static bool
remove_empty(struct ramet_replica_location *location)
{
    const struct ramet_os *const os = location->os;

    assert(location->dir_fd >= 0);
    os->close(os->ctx, location->dir_fd);
    location->dir_fd = -1;
    return os->unlink(os->ctx, location->parent_fd, location->dir_name, true) ==
           0;
}

static enum ramet_rc
enter(struct ramet_replica_location *location, bool make, bool *out_is_gone,
      struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    enum ramet_rc rc = RAMET_OK;

    assert(location->lock_fd < 0);
    if (!location->is_seen)
        look_at_base(location);
    if (make && location->dir_fd >= 0) { /* what was looked at may be gone */
        os->close(os->ctx, location->dir_fd);
        location->dir_fd = -1;
    }
    for (bool is_last = !make;; is_last = true) {
        assert(location->is_seen);
        if (make)
            rc = make_dir(location, err);
        if (rc == RAMET_OK && location->dir_fd < 0)
            rc = open_dir(location, err);
        if (rc == RAMET_OK)
            rc = ramet_location_check(location, err);
        if (rc == RAMET_OK || is_last || location->dir_fd < 0 ||
            !remove_empty(location))
            break;
    }
    *out_is_gone = false;
    return rc == RAMET_OK ? open_lock(location, make, out_is_gone, err) : rc;
}

enum ramet_rc
ramet_replica_location_enter(struct ramet_replica_location *location, bool make,
                             struct ramet_err *err)
{
    unsigned tries = ENTER_TRIES;
    bool is_gone;
    enum ramet_rc rc;

    assert(location->lock_fd < 0); /* entered once */
    do
        rc = enter(location, make, &is_gone, err);
    while (is_gone && --tries > 0);
    return rc;
}

bool
ramet_replica_location_has_lock(const struct ramet_replica_location *location,
                                int parent_fd)
{
    const struct ramet_os *const os = location->os;
    char path[NAME_MAX + sizeof("/" RAMET_DIR_LOCK)];
    struct ramet_os_stat named;
    const int len =
        snprintf(path, sizeof(path), "%s/" RAMET_DIR_LOCK, location->dir_name);

    assert(location->lock_fd >= 0 && parent_fd >= 0);
    return len > 0 && (size_t)len < sizeof(path) &&
           os->stat_at(os->ctx, parent_fd, path, &named) == 0 &&
           location->lock.device == named.device &&
           location->lock.inode == named.inode;
}
