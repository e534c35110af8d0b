/*
 * trust.c - whose a replica's directory is, and to whom it is open.
 *
 * Somebody who may write where the file lies may have made a directory of that
 * name, with files or links in it. It is used if it belongs to us, to root or
 * to who has the file; or if the file is written by others too, then by them.
 * And it may not be written by more users than the file: then nobody else put
 * anything into it.
 *
 *   (1) Its mode says that all in it has been given the access of the file: it
 *       is set last, but for what it takes from others, which is taken first.
 *   (2) What root finds in it that is not the file's owner's may have been
 *       moved there by who owns the directory: core/rights.h, invariant (3).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "client/store/format/dir.h"
#include "client/store/life/location.h"

#define OTHERS_WRITE 022u
#define DEPTH_MAX 2u /* lost/, and what is set aside there as a folder */
#define GROUP_FOR_ALL                                                          \
    (S_ISGID | S_IWOTH) /* a folder that gives its group away */

struct judge {
    const struct ramet_replica_location *location;
    const struct ramet_os *os;
    unsigned user;
    struct ramet_os_stat dir;
    struct ramet_os_stat base; /* as far as has_base */
    bool has_base;
    struct ramet_rights rights; /* that of the base */
};

bool
ramet_replica_location_base(const struct ramet_replica_location *location,
                            struct ramet_os_stat *out)
{
    assert(location->is_seen);
    if (location->has_base != 1 || !S_ISREG(location->base.mode))
        return false;
    *out = location->base;
    return true;
}

/* ---- may it be used ------------------------------------------------------- */

static bool
has_trusted_owner(const struct judge *j)
{
    struct ramet_os_stat parent = {.mode = GROUP_FOR_ALL};

    assert(j->location->parent_fd >= 0);
    if (j->dir.uid == j->user || j->dir.uid == 0)
        return true;
    if (j->os->stat(j->os->ctx, j->location->parent_fd, &parent) < 0)
        return false;
    if (!j->has_base) /* who owns that could put anything in its place */
        return j->dir.uid == parent.uid;
    if (j->dir.uid == j->base.uid || (j->base.mode & S_IWOTH) != 0)
        return true;
    /* A member of its group made it; nobody else can have that group, but
     * where a folder gives it to whoever makes something in it. */
    return (j->base.mode & S_IWGRP) != 0 && j->dir.gid == j->base.gid &&
           (parent.mode & GROUP_FOR_ALL) != GROUP_FOR_ALL;
}

/* Those who may write it and not the file, as bits of a mode. */
static uint32_t
writers_too_many(const struct judge *j)
{
    struct ramet_os_stat beside = j->base;
    uint32_t may = 0;

    assert(j->location->dir_fd >= 0);
    /* Without the base the lock file tells what its access was. */
    if (j->has_base || (j->os->stat_at(j->os->ctx, j->location->dir_fd,
                                       RAMET_DIR_LOCK, &beside) == 0 &&
                        S_ISREG(beside.mode)))
        may = beside.gid == j->dir.gid ? beside.mode
                                       : beside.mode & ~(uint32_t)S_IWGRP;
    return j->dir.mode & OTHERS_WRITE & ~may;
}

/* Stops at what was not put there by the file's users, or does not belong there. */
static int
visit_foreign(void *ctx, const char *name, bool is_dir)
{
    const struct judge *const j = ctx;
    struct ramet_os_stat st;

    assert(j->has_base); /* `rights` is set */
    if (j->os->stat_at(j->os->ctx, j->location->dir_fd, name, &st) < 0)
        return 0; /* it just went */
    return (is_dir ? S_ISDIR(st.mode) : S_ISREG(st.mode)) &&
                   (st.uid == 0 || st.uid == j->dir.uid || st.uid == j->user ||
                    st.uid == j->rights.uid)
               ? 0
               : -EPERM;
}

/* It was made when the file was open to more users, or the umask was. */
static bool
can_be_closed(const struct judge *j)
{
    struct ramet_os_stat st;

    return j->has_base && (j->user == 0 || j->user == j->dir.uid) &&
           j->os->stat_at(j->os->ctx, j->location->dir_fd, "state", &st) == 0 &&
           j->os->list(j->os->ctx, j->location->dir_fd, ".", visit_foreign,
                       (void *)(uintptr_t)j) == 0;
}

/* ---- the access of the file ------------------------------------------------ */

static int
give_rights(const struct judge *j, int fd, bool is_folder)
{
    const uint32_t mode =
        is_folder ? ramet_rights_folder_mode(j->rights.mode) : j->rights.mode;
    struct ramet_os_stat st;
    const int result = j->os->stat(j->os->ctx, fd, &st);

    assert(fd >= 0 && j->has_base);
    if (result < 0 || (j->user != 0 && j->user != st.uid))
        return result; /* another member of the group made it */
    return ramet_rights_apply(j->os, fd, &st, &j->rights, mode);
}

struct folder {
    const struct judge *judge;
    int fd;
    unsigned depth;
};

static int
visit_entry(void *ctx, const char *name, bool is_dir)
{
    const struct folder *const folder = ctx;
    const struct judge *const j = folder->judge;
    const int fd = is_dir && folder->depth >= DEPTH_MAX
                       ? -EISDIR /* Ramet makes none there */
                   : is_dir ? ramet_rights_open_folder(j->os, folder->fd, name)
                            : ramet_dir_open(j->os, folder->fd, name, O_RDONLY);
    struct folder inner = {j, fd, folder->depth + 1};
    int result = 0;

    assert(folder->fd >= 0 && folder->depth <= DEPTH_MAX);
    if (fd < 0) /* it went, or does not belong there: nothing opens it */
        return 0;
    if (is_dir)
        result = j->os->list(j->os->ctx, fd, ".", visit_entry, &inner);
    if (result == 0)
        result = give_rights(j, fd, is_dir);
    j->os->close(j->os->ctx, fd);
    return result;
}

/* By invariant (1). */
static int
follow_base(const struct judge *j)
{
    const uint32_t mode = ramet_rights_folder_mode(j->rights.mode);
    const uint32_t taken = j->dir.mode & 0777 & ~mode;
    struct folder folder = {j, j->location->dir_fd, 0};
    int result = 0;

    assert(j->has_base && j->location->dir_fd >= 0);
    if (taken != 0)
        result =
            j->os->chmod(j->os->ctx, folder.fd, j->dir.mode & 07777 & ~taken);
    if (result == 0)
        result = j->os->list(j->os->ctx, folder.fd, ".", visit_entry, &folder);
    return result == 0 ? give_rights(j, folder.fd, true) : result;
}

/* Where the group is another, and can't be given, the mode has none. */
static bool
is_as_base(const struct judge *j)
{
    const uint32_t mode = ramet_rights_folder_mode(j->rights.mode);
    const uint32_t groupless = (mode & 0707) | (mode & 07) << 3;
    const uint32_t now = j->dir.mode & 0777;

    assert(j->has_base);
    if (j->user == 0 && j->dir.uid != j->rights.uid)
        return false;
    if (j->dir.gid == j->rights.gid)
        return now == mode;
    return now == groupless && j->os->chown(j->os->ctx, j->location->dir_fd,
                                            j->dir.uid, j->rights.gid) != 0;
}

enum ramet_rc
ramet_location_check(const struct ramet_replica_location *location,
                     struct ramet_err *err)
{
    struct judge j = {.location = location,
                      .os = location->os,
                      .user = location->os->user(location->os->ctx)};
    int result = j.os->stat(j.os->ctx, location->dir_fd, &j.dir);

    assert(location->dir_fd >= 0 && location->is_seen);
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "stat %s-ramet", location->path);
    j.has_base = ramet_replica_location_base(location, &j.base);
    if (j.has_base)
        j.rights = ramet_rights_of(&j.base);
    if (!has_trusted_owner(&j))
        return RAMET_FAIL_SYS(err, RAMET_EAUTH, EPERM,
                              "%s-ramet belongs to user %u, who does not have "
                              "the file: what is in it can't be trusted; move "
                              "it away, or give it to the file's owner",
                              location->path, j.dir.uid);
    if (writers_too_many(&j) != 0 && !can_be_closed(&j))
        return RAMET_FAIL_SYS(err, RAMET_EAUTH, EPERM,
                              "%s-ramet can be written by users who can't "
                              "write the file: what is in it can't be trusted; "
                              "move it away, or `chmod go-w` it",
                              location->path);
    if (!j.has_base || (j.user != 0 && j.user != j.dir.uid) || is_as_base(&j))
        return RAMET_OK;
    result = follow_base(&j);
    if (result == -EROFS || result == -EPERM) /* it is not ours to give */
        result = 0;
    return result == 0
               ? RAMET_OK
               : RAMET_FAIL_OS(
                     err, result,
                     "set the permissions of %s-ramet to those of the file",
                     location->path);
}
