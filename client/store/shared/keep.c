/*
 * keep.c - see keep.h.
 *
 * Layer: client.
 */
#include "client/store/keep.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "client/store/format/dir.h"
#include "client/store/shared/replica.h"

static enum ramet_rc
fail(const struct ramet_replica *replica, const char *name, int result,
     struct ramet_err *err)
{
    assert(result < 0);
    return RAMET_FAIL_OS(err, result, "%s-ramet/%s", replica->path, name);
}

enum ramet_rc
ramet_keep_write(struct ramet_replica *replica, const char *name,
                 const void *data, size_t len, struct ramet_err *err)
{
    assert(!replica->is_readonly);
    return ramet_dir_replace(replica->os, replica->dir_fd, name, data, len,
                             err);
}

enum ramet_rc
ramet_keep_read(struct ramet_replica *replica, const char *name, size_t max,
                uint8_t **out_data, size_t *out_len, struct ramet_err *err)
{
    return ramet_os_read_own_file(replica->os, replica->dir_fd, name, max,
                                  out_data, out_len, err);
}

enum ramet_rc
ramet_keep_peek(struct ramet_replica *replica, const char *name, void *buf,
                size_t len, size_t *out_got, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const int fd = ramet_rights_open(os, replica->dir_fd, name, O_RDONLY);
    enum ramet_rc rc;

    assert(ramet_is_one_name(name));
    *out_got = 0;
    if (fd == -ENOENT)
        return RAMET_OK;
    if (fd < 0)
        return fail(replica, name, fd, err);
    rc = ramet_os_read_some(os, fd, buf, len, 0, out_got, name, err);
    os->close(os->ctx, fd);
    return rc;
}

void
ramet_keep_forget(struct ramet_replica *replica, const char *name)
{
    const struct ramet_os *const os = replica->os;

    assert(ramet_is_one_name(name));
    os->unlink(os->ctx, replica->dir_fd, name, false);
    os->sync(os->ctx, replica->dir_fd);
}

enum ramet_rc
ramet_keep_size(struct ramet_replica *replica, const char *name,
                uint64_t *out_size, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;
    const int result = os->stat_at(os->ctx, replica->dir_fd, name, &st);

    assert(ramet_is_one_name(name));
    if (result < 0)
        return fail(replica, name, result, err);
    *out_size = st.size_bytes;
    return RAMET_OK;
}

enum ramet_rc
ramet_keep_open(struct ramet_replica *replica, const char *name, bool anew,
                int *out_fd, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const int fd = anew ? ramet_dir_make_anew(os, replica->dir_fd, name)
                        : ramet_dir_open_or_make(os, replica->dir_fd, name);

    assert(!replica->is_readonly);
    *out_fd = fd;
    return fd >= 0 ? RAMET_OK : fail(replica, name, fd, err);
}

enum ramet_rc
ramet_keep_rename(struct ramet_replica *replica, const char *from,
                  const char *to, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const int result =
        os->rename(os->ctx, replica->dir_fd, from, replica->dir_fd, to);

    assert(ramet_is_one_name(from) && ramet_is_one_name(to));
    return result >= 0 ? RAMET_OK : fail(replica, to, result, err);
}

enum ramet_rc
ramet_keep_folder(struct ramet_replica *replica, const char *name, int *out_fd,
                  struct ramet_rights *out_rights, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const int fd = ramet_dir_folder(os, replica->dir_fd, name);
    int result = fd;

    assert(!replica->is_readonly);
    if (fd >= 0) {
        result = ramet_dir_rights(os, replica->dir_fd, out_rights);
        if (result < 0)
            os->close(os->ctx, fd);
    }
    if (result < 0)
        return fail(replica, name, result, err);
    *out_fd = fd;
    return RAMET_OK;
}
