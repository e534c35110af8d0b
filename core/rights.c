/*
 * rights.c - see rights.h.
 */
#include "core/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define MODE_BITS 0777u
#define MAKE_TRIES 20u /* others make and remove what we open */

struct ramet_rights
ramet_rights_of(const struct ramet_os_stat *st)
{
    return (struct ramet_rights){
        .mode = st->mode & MODE_BITS,
        .uid = st->uid,
        .gid = st->gid,
    };
}

uint32_t
ramet_rights_folder_mode(uint32_t mode)
{
    const uint32_t any = (mode | mode >> 1) & 0222; /* r or w, at w's place */

    return (mode & 0666) | any >> 1;
}

static int
stop_at_first(void *ctx, const char *name, bool is_dir)
{
    (void)ctx;
    (void)name;
    (void)is_dir;
    return -ENOTEMPTY;
}

/* Invariant (3). */
static bool
may_be_given(const struct ramet_os *os, int fd, const struct ramet_os_stat *st)
{
    if ((st->mode & S_IROTH) != 0)
        return true;
    return S_ISDIR(st->mode)
               ? os->list(os->ctx, fd, ".", stop_at_first, NULL) == 0
               : st->size_bytes == 0;
}

int
ramet_rights_apply(const struct ramet_os *os, int fd,
                   const struct ramet_os_stat *st,
                   const struct ramet_rights *rights, uint32_t mode)
{
    const uint32_t now = st->mode & MODE_BITS;
    const uint32_t special = st->mode & 07000; /* the folder's own affair */
    uint32_t uid = st->uid;
    int result;

    if (uid == rights->uid && st->gid == rights->gid && now == mode)
        return 0; /* as nearly always */
    if (os->user(os->ctx) == 0)
        uid = rights->uid;
    if (uid != st->uid && !may_be_given(os, fd, st))
        mode &= now; /* at most closed further */
    else if ((uid != st->uid || rights->gid != st->gid) &&
             os->chown(os->ctx, fd, uid, rights->gid) != 0)
        mode = (mode & 0707) | (mode & 07) << 3; /* invariant (1) */
    if (now == mode)
        return 0;
    result = os->chmod(os->ctx, fd, special | mode);
    /* Not every file system has modes to choose from; less will do. */
    return result < 0 && (now & ~mode) == 0 ? 0 : result;
}

int
ramet_rights_make(const struct ramet_os *os, int dirfd, const char *name,
                  int flags, const struct ramet_rights *rights)
{
    struct ramet_os_stat st;
    int result;
    /* Nobody else has it open before it is as it should be. */
    const int fd =
        os->open(os->ctx, dirfd, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW,
                 rights != NULL ? 0600 : 0666);

    if (fd < 0 || rights == NULL)
        return fd;
    result = os->stat(os->ctx, fd, &st);
    if (result == 0)
        result = ramet_rights_apply(os, fd, &st, rights, rights->mode);
    if (result < 0) {
        os->unlink(os->ctx, dirfd, name, false);
        os->close(os->ctx, fd);
        return result;
    }
    return fd;
}

int
ramet_rights_open_look(const struct ramet_os *os, int dirfd, const char *name,
                       int flags, struct ramet_os_stat *out_st)
{
    int result;
    /* O_NONBLOCK: a FIFO in the place of a file must not hang us. */
    const int fd = os->open(os->ctx, dirfd, name,
                            flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);

    if (fd < 0)
        return fd;
    result = os->stat(os->ctx, fd, out_st);
    if (result == 0 && !S_ISREG(out_st->mode))
        result = -ENXIO;
    else if (result == 0 && out_st->link_count > 1)
        result = -EMLINK;
    if (result == 0)
        return fd;
    os->close(os->ctx, fd);
    return result;
}

int
ramet_rights_open(const struct ramet_os *os, int dirfd, const char *name,
                  int flags)
{
    struct ramet_os_stat st;

    return ramet_rights_open_look(os, dirfd, name, flags, &st);
}

int
ramet_rights_open_or_make(const struct ramet_os *os, int dirfd,
                          const char *name, const struct ramet_rights *rights)
{
    int fd = -ENOENT;

    for (unsigned i = 0; i < MAKE_TRIES; i++) {
        fd = ramet_rights_open(os, dirfd, name, O_RDWR);
        if (fd == -ENOENT)
            fd = ramet_rights_make(os, dirfd, name, O_RDWR, rights);
        if (fd != -EEXIST)
            break;
    }
    return fd;
}

int
ramet_rights_open_below(const struct ramet_os *os, int dirfd, const char *path,
                        int flags)
{
    char element[NAME_MAX + 1];
    const char *slash;
    int at = dirfd;
    int fd;

    while ((slash = strchr(path, '/')) != NULL) {
        const size_t len = (size_t)(slash - path);

        if (len > NAME_MAX)
            fd = -ENAMETOOLONG;
        else {
            memcpy(element, path, len);
            element[len] = '\0';
            fd = os->open(os->ctx, at, element,
                          O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
        }
        if (at != dirfd)
            os->close(os->ctx, at);
        if (fd < 0)
            return fd;
        at = fd;
        path = slash + 1;
    }
    fd = os->open(os->ctx, at, path, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
                  0);
    if (at != dirfd)
        os->close(os->ctx, at);
    return fd;
}

int
ramet_rights_open_folder(const struct ramet_os *os, int dirfd, const char *name)
{
    return os->open(os->ctx, dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW,
                    0);
}
