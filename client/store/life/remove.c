/*
 * remove.c - removing a replica, whole, whoever dies at it.
 */
#include "client/store/life/remove.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/life/location.h"
#include "client/store/replicas.h"
#include "client/store/shared/base.h"
#include "client/store/shared/locks.h"
#include "client/store/store.h"
#include "core/bytes.h"

struct removal {
    const struct ramet_os *os;
    int dir_fd;
    unsigned depth; /* in folders of the directory: lost/, or a stranger's */
    const char *tombstone; /* goes last */
};
#define REMOVAL_DEPTH_MAX 16u
#define DELETE_TRIES 20u

static int
remove_entry(void *ctx, const char *name, bool is_dir)
{
    const struct removal *const removal = ctx;
    const struct ramet_os *const os = removal->os;
    int result = 0;

    assert(removal->dir_fd >= 0 && removal->depth <= REMOVAL_DEPTH_MAX);
    assert(removal->depth != 0 || removal->tombstone != NULL);
    if (removal->depth == 0 && (strcmp(name, removal->tombstone) == 0 ||
                                strcmp(name, RAMET_DIR_LOCK) == 0))
        return 0;
    if (removal->depth == 0 && strcmp(name, RAMET_LOST) == 0) {
        result = os->unlink(os->ctx, removal->dir_fd, name, true);
        return result == -ENOTEMPTY || result == -EEXIST || result == -ENOENT
                   ? 0 /* what was set aside is the user's */
                   : result;
    }
    if (is_dir && removal->depth < REMOVAL_DEPTH_MAX) {
        struct removal inner = {os, -1, removal->depth + 1, NULL};

        inner.dir_fd = ramet_rights_open_folder(os, removal->dir_fd, name);
        if (inner.dir_fd < 0)
            return inner.dir_fd;
        result = os->list(os->ctx, inner.dir_fd, ".", remove_entry, &inner);
        os->close(os->ctx, inner.dir_fd);
    }
    if (result == 0)
        result = os->unlink(os->ctx, removal->dir_fd, name, is_dir);
    return result == -ENOENT ? 0 : result;
}

/* What somebody else removed meanwhile is gone as well: the lock goes before the
 * tombstone, and who comes in between finishes the same work. */
static int
unless_gone(int result)
{
    return result == -ENOENT ? 0 : result;
}

/* All but the tombstone. */
static int
remove_contents(const struct ramet_replica_location *location,
                const char *tombstone)
{
    const struct ramet_os *const os = location->os;
    struct removal removal = {os, location->dir_fd, 0, tombstone};
    const int result =
        os->list(os->ctx, location->dir_fd, ".", remove_entry, &removal);

    assert(location->dir_fd >= 0 && location->lock_fd >= 0);
    return result == 0 ? unless_gone(os->unlink(os->ctx, location->dir_fd,
                                                RAMET_DIR_LOCK, false))
                       : result;
}

/* The tombstone goes when nothing is left that it speaks of. That need not last: a
 * directory that comes back holds nothing, or it alone. */
static int
remove_tombstone(const struct ramet_replica_location *location,
                 const char *tombstone)
{
    const struct ramet_os *const os = location->os;
    int result = os->sync(os->ctx, location->dir_fd);

    assert(ramet_is_one_name(tombstone));
    if (result == 0)
        result = os->unlink(os->ctx, location->dir_fd, tombstone, false);
    if (result ==
        -ENOENT) /* the directory by this name may be another by now */
        return 0;
    if (result == 0)
        result =
            os->unlink(os->ctx, location->parent_fd, location->dir_name, true);
    if (result == -ENOTEMPTY || result == -EEXIST) /* lost/ is in it */
        result = 0;
    return unless_gone(result);
}

int
ramet_remove_directory(const struct ramet_replica_location *location,
                       const char *tombstone)
{
    const int result = remove_contents(location, tombstone);

    assert(tombstone != NULL);
    return result == 0 ? remove_tombstone(location, tombstone) : result;
}

enum ramet_rc
ramet_replica_remove(struct ramet_replica_location *location,
                     struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    int result = ramet_dir_open_or_make(os, location->dir_fd, RAMET_TOMBSTONE);

    assert(location->dir_fd >= 0 && location->lock_fd >= 0);
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "delete %s", location->path);
    os->close(os->ctx, result);
    result = os->sync(os->ctx, location->dir_fd);
    if (result == 0) { /* from here on it is deleted */
        result =
            os->unlink(os->ctx, location->parent_fd, location->name, false);
        if (result == -ENOENT)
            result = 0;
    }
    /* Both folders are synced in a row, with nothing written between them: to
     * most disks the second costs little. */
    if (result == 0)
        result = remove_contents(location, RAMET_TOMBSTONE);
    if (result == 0)
        result = os->sync(os->ctx, location->parent_fd);
    if (result == 0)
        result = remove_tombstone(location, RAMET_TOMBSTONE);
    return result == 0
               ? RAMET_OK
               : RAMET_FAIL_OS(err, result, "delete %s", location->path);
}

/* What was looked at, if it is there still once nobody else is at it. *out_again:
 * somebody was quicker, and what is there now was not looked at. */
static enum ramet_rc
remove_seen(struct ramet_replica_location *location, bool is_asked,
            bool *out_again, struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    const int has_tombstone =
        ramet_replica_location_sees(location, RAMET_TOMBSTONE);
    const int has_state =
        is_asked ? ramet_replica_location_sees(location, "state") : 0;
    enum ramet_rc rc;

    assert(location->is_seen && location->lock_fd < 0);
    *out_again = false;
    if (has_state < 0 || has_tombstone < 0)
        return RAMET_FAIL_OS(err, has_state < 0 ? has_state : has_tombstone,
                             "look into %s-ramet", location->path);
    if (has_state == 0 && has_tombstone == 0)
        return RAMET_OK;
    rc = ramet_replica_location_enter(location, true, err);
    if (rc == RAMET_OK)
        rc = ramet_lock_wait(os, location->lock_fd, RAMET_LOCK_OPEN,
                             RAMET_LOCK_EXCLUSIVE, RAMET_LOCK_WAIT_MS,
                             "it is being opened", err);
    if (rc != RAMET_OK)
        return rc;
    if (!ramet_replica_location_has_lock(location, location->parent_fd)) {
        *out_again = true;
        return RAMET_FAIL(err, RAMET_EBUSY, "%s is being deleted",
                          location->path);
    }
    return is_asked ||
                   ramet_replica_location_has(location, RAMET_TOMBSTONE) == 1
               ? ramet_replica_remove(location, err)
               : RAMET_OK;
}

static enum ramet_rc
delete_at(const struct ramet_os *os, const char *path, bool is_asked,
          struct ramet_err *err)
{
    unsigned tries = DELETE_TRIES;
    bool again = true;
    enum ramet_rc rc = RAMET_OK;

    assert(os != NULL);
    while (again && tries-- > 0) {
        struct ramet_replica_location location;

        rc = ramet_replica_location_find(os, path, &location, err);
        if (rc != RAMET_OK)
            return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
        ramet_replica_location_look(&location);
        rc = remove_seen(&location, is_asked, &again, err);
        ramet_replica_location_done(&location);
    }
    return rc;
}

enum ramet_rc
ramet_replica_delete(const struct ramet_os *os, const char *path,
                     struct ramet_err *err)
{
    return delete_at(os != NULL ? os : ramet_os_system(), path, true, err);
}

enum ramet_rc
ramet_remove_deleted(const struct ramet_os *os, const char *path,
                     struct ramet_err *err)
{
    return delete_at(os, path, false, err);
}

static int
is_log_file(void *ctx, const char *name, bool is_dir)
{
    enum ramet_frames_type type;
    uint64_t number;

    (void)ctx;
    return !is_dir && ramet_frame_file_name_parse(name, &type, &number)
               ? -EEXIST
               : 0;
}

/* A clone that was cut off left a base that holds nothing, and no state. With a
 * log it was more than that, and lost its state otherwise. */
static enum ramet_rc
look_at_leftover(const struct ramet_replica_location *location,
                 bool *out_is_there, struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    uint8_t first[RAMET_TRUE_HEADER_SIZE] = {0};
    size_t got = 0;
    enum ramet_rc rc;
    const int fd = os->open(os->ctx, location->parent_fd, location->name,
                            O_RDONLY | O_NOFOLLOW, 0);

    assert(location->dir_fd >= 0);
    *out_is_there = fd != -ENOENT;
    if (fd == -ENOENT)
        return RAMET_OK;
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "open %s", location->path);
    rc = ramet_os_read_some(os, fd, first, sizeof(first), 0, &got,
                            location->path, err);
    os->close(os->ctx, fd);
    if (rc == RAMET_OK &&
        (!ramet_base_is_any_mark(first) ||
         os->list(os->ctx, location->dir_fd, ".", is_log_file, NULL) != 0))
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s is there already",
                        location->path);
    return rc;
}

enum ramet_rc
ramet_remove_leftover(const struct ramet_replica_location *location,
                      struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    bool is_there;
    enum ramet_rc rc = look_at_leftover(location, &is_there, err);
    int result = 0;

    if (rc == RAMET_OK && is_there)
        result =
            os->unlink(os->ctx, location->parent_fd, location->name, false);
    return result == 0
               ? rc
               : RAMET_FAIL_OS(err, result, "remove %s", location->path);
}

bool
ramet_replica_is_leftover(const struct ramet_os *os, const char *path)
{
    struct ramet_replica_location location;
    bool is_there = false;

    if (ramet_replica_location_find(os, path, &location, NULL) != RAMET_OK)
        return false;
    if (ramet_replica_location_has(&location, "state") != 0 ||
        ramet_replica_location_has(&location, RAMET_TOMBSTONE) != 0 ||
        ramet_replica_location_has(&location, RAMET_DIR_LOCK) != 1 ||
        ramet_replica_location_enter(&location, false, NULL) != RAMET_OK ||
        look_at_leftover(&location, &is_there, NULL) != RAMET_OK)
        is_there = false;
    ramet_replica_location_done(&location);
    return is_there;
}
