/*
 * dir.c - see dir.h.
 *
 * Layer: client.
 */
#include "client/store/format/dir.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define OPEN_TRIES 3u

int
ramet_dir_rights(const struct ramet_os *os, int dir_fd,
                 struct ramet_rights *out)
{
    struct ramet_os_stat st;
    const int result = os->stat_at(os->ctx, dir_fd, RAMET_DIR_LOCK, &st);

    assert(dir_fd >= 0); /* invariant (1) */
    if (result < 0)
        return result;
    if (!S_ISREG(st.mode))
        return -ENXIO;
    *out = ramet_rights_of(&st);
    return 0;
}

struct names {
    const struct ramet_os *os;
    int dir_fd;
    struct ramet_os_stat file;
    uint32_t count;
};

static int
count_name(void *ctx, const char *name, bool is_dir)
{
    struct names *const names = ctx;
    struct ramet_os_stat st;

    if (!is_dir &&
        names->os->stat_at(names->os->ctx, names->dir_fd, name, &st) == 0 &&
        st.inode == names->file.inode && st.device == names->file.device)
        names->count++;
    return 0;
}

/* -EMLINK: it has names elsewhere, or one was taken away while they were
 * counted. */
static int
open_linked(const struct ramet_os *os, int dir_fd, const char *name, int flags)
{
    struct names names = {.os = os, .dir_fd = dir_fd};
    const int fd =
        os->open(os->ctx, dir_fd, name, flags | O_NOFOLLOW | O_NONBLOCK, 0);
    int result;

    assert(dir_fd >= 0 && ramet_is_one_name(name));
    if (fd < 0)
        return fd;
    result = os->stat(os->ctx, fd, &names.file);
    if (result == 0 && !S_ISREG(names.file.mode))
        result = -ENXIO;
    if (result == 0)
        result = os->list(os->ctx, dir_fd, ".", count_name, &names);
    if (result == 0 && names.count == names.file.link_count)
        return fd;
    os->close(os->ctx, fd);
    return result == 0 ? -EMLINK : result;
}

int
ramet_dir_open(const struct ramet_os *os, int dir_fd, const char *name,
               int flags)
{
    int fd = -EMLINK;

    assert(dir_fd >= 0 && ramet_is_one_name(name)); /* invariant (1) */
    for (unsigned i = 0; i < OPEN_TRIES && fd == -EMLINK; i++) {
        fd = ramet_rights_open(os, dir_fd, name, flags);
        if (fd == -EMLINK)
            fd = open_linked(os, dir_fd, name, flags);
    }
    return fd;
}

int
ramet_dir_make(const struct ramet_os *os, int dir_fd, const char *name)
{
    struct ramet_rights rights;
    const int result = ramet_dir_rights(os, dir_fd, &rights);

    assert(ramet_is_one_name(name)); /* invariant (1) */
    return result < 0 ? result
                      : ramet_rights_make(os, dir_fd, name, O_RDWR, &rights);
}

int
ramet_dir_make_anew(const struct ramet_os *os, int dir_fd, const char *name)
{
    const int result = os->unlink(os->ctx, dir_fd, name, false);

    assert(dir_fd >= 0 && ramet_is_one_name(name)); /* invariant (1) */
    return result == 0 || result == -ENOENT ? ramet_dir_make(os, dir_fd, name)
                                            : result;
}

int
ramet_dir_open_or_make_look(const struct ramet_os *os, int dir_fd,
                            const char *name, struct ramet_os_stat *out_st)
{
    int fd;

    assert(dir_fd >= 0 && ramet_is_one_name(name)); /* invariant (1) */
    do {
        fd = ramet_rights_open_look(os, dir_fd, name, O_RDWR, out_st);
        if (fd == -ENOENT) {
            *out_st = (struct ramet_os_stat){.size_bytes = 0};
            fd = ramet_dir_make(os, dir_fd, name);
        }
    } while (fd == -EEXIST); /* somebody else just made it */
    return fd;
}

int
ramet_dir_open_or_make(const struct ramet_os *os, int dir_fd, const char *name)
{
    struct ramet_os_stat st;

    return ramet_dir_open_or_make_look(os, dir_fd, name, &st);
}

int
ramet_dir_give_rights(const struct ramet_os *os, int dir_fd, int fd)
{
    struct ramet_rights rights;
    struct ramet_os_stat st;
    int result = os->stat(os->ctx, fd, &st);

    assert(dir_fd >= 0 && fd >= 0);
    if (result == 0)
        result = ramet_dir_rights(os, dir_fd, &rights);
    if (result == 0)
        result = ramet_rights_apply(os, fd, &st, &rights, rights.mode);
    if (result == 0)
        result = os->stat(os->ctx, fd, &st);
    if (result == 0 && os->user(os->ctx) == 0 && st.uid != rights.uid)
        result = -EPERM;
    return result;
}

/* A new folder's access and name. */
static int
finish_folder(const struct ramet_os *os, int dir_fd, int fd)
{
    struct ramet_rights rights;
    struct ramet_os_stat st;
    int result = os->stat(os->ctx, fd, &st);

    assert(dir_fd >= 0 && fd >= 0);
    if (result == 0)
        result = ramet_dir_rights(os, dir_fd, &rights);
    if (result == 0)
        result = ramet_rights_apply(os, fd, &st, &rights,
                                    ramet_rights_folder_mode(rights.mode));
    return result == 0 ? os->sync(os->ctx, dir_fd) : result;
}

int
ramet_dir_folder(const struct ramet_os *os, int dir_fd, const char *name)
{
    const int made = os->mkdir(os->ctx, dir_fd, name, 0700);
    int result;
    int fd;

    assert(ramet_is_one_name(name)); /* invariant (1) */
    if (made < 0 && made != -EEXIST)
        return made;
    fd = ramet_rights_open_folder(os, dir_fd, name);
    if (fd < 0 || made == -EEXIST)
        return fd;
    result = finish_folder(os, dir_fd, fd);
    if (result == 0)
        return fd;
    os->close(os->ctx, fd);
    return result;
}

enum ramet_rc
ramet_dir_replace(const struct ramet_os *os, int dir_fd, const char *name,
                  const void *data, size_t len, struct ramet_err *err)
{
    struct ramet_rights rights;
    const int result = ramet_dir_rights(os, dir_fd, &rights);

    assert(ramet_is_one_name(name)); /* invariant (1) */
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "replace %s: stat %s", name,
                             RAMET_DIR_LOCK);
    return ramet_os_replace_file(os, dir_fd, name, &rights, data, len, err);
}
