/*
 * place.c - see place.h. Whose directory it is, trust.c decides.
 */
#include "client/store/life/place.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "client/store/format/dir.h"
#include "client/store/path.h"
#include "core/alloc.h"

enum ramet_rc
ramet_replica_place_find(const struct ramet_os *os, const char *path,
                         struct ramet_replica_place *out_place,
                         struct ramet_err *err)
{
    char *resolved = NULL;
    enum ramet_rc rc = ramet_path_resolve(os, path, &resolved, NULL, err);

    if (rc == RAMET_OK)
        rc = ramet_replica_place_at(os, resolved, out_place, err);
    ramet_free(resolved);
    return rc;
}

enum ramet_rc
ramet_replica_place_at(const struct ramet_os *os, const char *resolved,
                       struct ramet_replica_place *out_place,
                       struct ramet_err *err)
{
    struct ramet_replica_place place = {.os = os,
                                        .path = ramet_strdup(resolved),
                                        .parent_fd = -1,
                                        .dir_fd = -1,
                                        .lock_fd = -1};
    const char *slash;
    char *parent = NULL;
    enum ramet_rc rc = RAMET_OK;

    assert(resolved[0] == '/');
    if (place.path == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a path");
    slash = strrchr(place.path, '/');
    if (slash[1] == '\0') {
        rc = RAMET_FAIL(err, RAMET_EINVAL, "'%s' is no file name", resolved);
        goto done;
    }
    parent =
        slash == place.path
            ? ramet_strdup("/")
            : ramet_asprintf("%.*s", (int)(slash - place.path), place.path);
    place.name = ramet_strdup(slash + 1);
    place.dir_name = ramet_asprintf("%s-ramet", slash + 1);
    if (parent == NULL || place.name == NULL || place.dir_name == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a path");
        goto done;
    }
    place.parent_fd =
        os->open(os->ctx, AT_FDCWD, parent, O_RDONLY | O_DIRECTORY, 0);
    if (place.parent_fd < 0)
        rc = RAMET_FAIL_OS(err, place.parent_fd, "open directory %s", parent);

done:
    ramet_free(parent);
    if (rc == RAMET_OK)
        *out_place = place;
    else
        ramet_replica_place_done(&place);
    return rc;
}

void
ramet_replica_place_done(struct ramet_replica_place *place)
{
    const struct ramet_os *const os = place->os;

    if (place->lock_fd >= 0)
        os->close(os->ctx, place->lock_fd);
    if (place->dir_fd >= 0)
        os->close(os->ctx, place->dir_fd);
    if (place->parent_fd >= 0)
        os->close(os->ctx, place->parent_fd);
    ramet_free(place->path);
    ramet_free(place->name);
    ramet_free(place->dir_name);
    place->lock_fd = place->dir_fd = place->parent_fd = -1;
    place->path = place->name = place->dir_name = NULL;
}

/* ---- entering ------------------------------------------------------------- */

/* Its owner's alone, until it gets the access of the base. */
static enum ramet_rc
make_dir(const struct ramet_replica_place *place, struct ramet_err *err)
{
    const struct ramet_os *const os = place->os;
    const int result =
        os->mkdir(os->ctx, place->parent_fd, place->dir_name, 0700);

    return result == 0 || result == -EEXIST
               ? RAMET_OK
               : RAMET_FAIL_OS(err, result, "make directory %s-ramet",
                               place->path);
}

static enum ramet_rc
open_dir(struct ramet_replica_place *place, struct ramet_err *err)
{
    const struct ramet_os *const os = place->os;
    const int fd =
        ramet_rights_open_folder(os, place->parent_fd, place->dir_name);

    if (fd == -ENOTDIR || fd == -ELOOP)
        return RAMET_FAIL_SYS(err, RAMET_EAUTH, EPERM,
                              "%s-ramet is a link or a file; there a replica "
                              "has a directory, made by itself: move it away",
                              place->path);
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "open directory %s-ramet", place->path);
    place->dir_fd = fd;
    return RAMET_OK;
}

/* Beside no base the umask chose the mode of the lock file: the directory, its
 * maker's alone until now, follows. */
static int
open_to_users(const struct ramet_replica_place *place,
              const struct ramet_stat *lock)
{
    const struct ramet_os *const os = place->os;
    const struct ramet_rights rights = ramet_rights_of(lock);
    struct ramet_stat dir;
    const int result = os->stat(os->ctx, place->dir_fd, &dir);

    return result < 0
               ? result
               : ramet_rights_apply(os, place->dir_fd, &dir, &rights,
                                    ramet_rights_folder_mode(rights.mode));
}

/* All that is made later takes its access from the lock file: so it has that of
 * the base, as far as it is ours to give. */
static int
settle_rights(const struct ramet_replica_place *place, int fd, bool is_new)
{
    const struct ramet_os *const os = place->os;
    const unsigned user = os->user(os->ctx);
    struct ramet_rights rights;
    struct ramet_stat base;
    struct ramet_stat lock;
    const int result = os->stat(os->ctx, fd, &lock);

    if (result < 0)
        return result;
    if (!ramet_replica_place_base(place, &base))
        return is_new ? open_to_users(place, &lock) : 0;
    rights = ramet_rights_of(&base);
    if ((user != 0 && user != lock.uid) || lock.size_bytes != 0)
        return 0;
    return ramet_rights_apply(os, fd, &lock, &rights, rights.mode);
}

static enum ramet_rc
open_lock(struct ramet_replica_place *place, bool make, struct ramet_err *err)
{
    const struct ramet_os *const os = place->os;
    bool is_new;
    int result = 0;
    int fd;

    do {
        is_new = false;
        fd = ramet_rights_open(os, place->dir_fd, RAMET_DIR_LOCK, O_RDWR);
        if (fd == -ENOENT && make) {
            is_new = true;
            fd = ramet_rights_make(os, place->dir_fd, RAMET_DIR_LOCK, O_RDWR,
                                   NULL);
        }
    } while (fd == -EEXIST); /* somebody else just made it */
    if (fd == -EACCES || fd == -EROFS || fd == -EPERM) {
        place->is_readonly = true;
        fd = ramet_rights_open(os, place->dir_fd, RAMET_DIR_LOCK, O_RDONLY);
    }
    if (fd >= 0)
        result = settle_rights(place, fd, is_new);
    if (fd < 0 || (result < 0 && result != -EROFS)) {
        if (fd >= 0)
            os->close(os->ctx, fd);
        else
            result = fd;
        return RAMET_FAIL_OS(err, result, "open %s-ramet/%s", place->path,
                             RAMET_DIR_LOCK);
    }
    place->lock_fd = fd;
    return RAMET_OK;
}

/* An empty directory that may not be used goes, and ours comes: nothing is
 * lost. */
static bool
remove_empty(struct ramet_replica_place *place)
{
    const struct ramet_os *const os = place->os;

    os->close(os->ctx, place->dir_fd);
    place->dir_fd = -1;
    return os->unlink(os->ctx, place->parent_fd, place->dir_name, true) == 0;
}

enum ramet_rc
ramet_replica_place_enter(struct ramet_replica_place *place, bool make,
                          struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    for (bool is_last = !make;; is_last = true) {
        if (make)
            rc = make_dir(place, err);
        if (rc == RAMET_OK)
            rc = open_dir(place, err);
        if (rc == RAMET_OK)
            rc = ramet_place_check(place, err);
        if (rc == RAMET_OK || is_last || place->dir_fd < 0 ||
            !remove_empty(place))
            break;
    }
    return rc == RAMET_OK ? open_lock(place, make, err) : rc;
}

int
ramet_replica_place_has(const struct ramet_replica_place *place,
                        const char *name)
{
    const struct ramet_os *const os = place->os;
    const int dir =
        ramet_rights_open_folder(os, place->parent_fd, place->dir_name);
    struct ramet_stat st;
    int result = dir;

    if (dir >= 0) {
        result = os->stat_at(os->ctx, dir, name, &st);
        os->close(os->ctx, dir);
    }
    return result == 0 ? 1
           : result == -ENOENT || result == -ENOTDIR || result == -ELOOP
               ? 0
               : result;
}
