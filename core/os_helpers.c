/*
 * os_helpers.c - loops over short transfers, and whole files; see os.h.
 *
 * A transfer of no bytes where some were due, and -EAGAIN, end a loop as a
 * failure: nothing here may spin.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "core/os.h"
#include "core/rights.h"

#define IOV_BATCH 1024 /* Linux takes no more at once */
#define READ_FIRST 4096u

/* How long replace_file() waits for another that replaces the same file. */
#define REPLACE_WAIT_MS 10000u
#define REPLACE_POLL_US 2000u

enum ramet_rc
ramet_os_read_some(const struct ramet_os *os, int fd, void *buf, size_t len,
                   uint64_t offset, size_t *out_got, const char *what,
                   struct ramet_err *err)
{
    size_t got = 0;

    while (got < len) {
        const struct iovec iov = {(uint8_t *)buf + got, len - got};
        const ssize_t result = os->preadv(os->ctx, fd, &iov, 1, offset + got);

        if (result < 0)
            return RAMET_FAIL_OS(err, (int)result, "read %s at %" PRIu64, what,
                                 offset + got);
        if (result == 0)
            break;
        assert((size_t)result <= len - got);
        got += (size_t)result;
    }
    *out_got = got;
    return RAMET_OK;
}

enum ramet_rc
ramet_os_read_full(const struct ramet_os *os, int fd, void *buf, size_t len,
                   uint64_t offset, const char *what, struct ramet_err *err)
{
    size_t got = 0;
    const enum ramet_rc rc =
        ramet_os_read_some(os, fd, buf, len, offset, &got, what, err);

    if (rc != RAMET_OK)
        return rc;
    if (got < len)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s ends at %" PRIu64 ", %zu bytes short", what,
                          offset + got, len - got);
    return RAMET_OK;
}

/* Drop the first `done` bytes of the vector. */
static void
advance_iov(struct iovec **iov, int *iovcnt, size_t done)
{
    while (*iovcnt > 0 && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        (*iov)++;
        (*iovcnt)--;
    }
    if (done > 0) {
        assert(*iovcnt > 0);
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

enum ramet_rc
ramet_os_writev_full(const struct ramet_os *os, int fd, struct iovec *iov,
                     int iovcnt, uint64_t offset, const char *what,
                     struct ramet_err *err)
{
    advance_iov(&iov, &iovcnt, 0); /* leading parts may be empty */
    while (iovcnt > 0) {
        const int batch = iovcnt < IOV_BATCH ? iovcnt : IOV_BATCH;
        ssize_t result = os->pwritev(os->ctx, fd, iov, batch, offset);

        if (result == 0) /* never for a file, but it must not spin */
            result = -EIO;
        if (result < 0)
            return RAMET_FAIL_OS(err, (int)result, "write %s at %" PRIu64, what,
                                 offset);
        offset += (uint64_t)result;
        advance_iov(&iov, &iovcnt, (size_t)result);
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_os_write_full(const struct ramet_os *os, int fd, const void *buf,
                    size_t len, uint64_t offset, const char *what,
                    struct ramet_err *err)
{
    struct iovec iov = {(void *)(uintptr_t)buf, len};

    return ramet_os_writev_full(os, fd, &iov, 1, offset, what, err);
}

/* Read from the start to the end into *data, growing it; *out_len <= max. */
static enum ramet_rc
read_growing(const struct ramet_os *os, int fd, const char *path, size_t max,
             uint64_t size_hint, uint8_t **data, size_t *out_len,
             struct ramet_err *err)
{
    size_t capacity = size_hint < max ? (size_t)size_hint : max;
    size_t len = 0;

    if (capacity < READ_FIRST && capacity < max)
        capacity = max < READ_FIRST ? max : READ_FIRST;
    for (;;) { /* one byte more than allowed tells "too big" from "just so" */
        size_t got = 0;
        enum ramet_rc rc;
        uint8_t *const grown = ramet_realloc(*data, capacity + 1);

        if (grown == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "read %s: %zu bytes", path,
                              capacity);
        *data = grown;
        rc = ramet_os_read_some(os, fd, grown + len, capacity + 1 - len, len,
                                &got, path, err);
        if (rc != RAMET_OK)
            return rc;
        len += got;
        if (len <= capacity)
            break;
        if (capacity == max)
            return RAMET_FAIL(err, RAMET_ETOOBIG,
                              "%s is larger than the limit of %zu bytes", path,
                              max);
        capacity = capacity <= max / 2 ? capacity * 2 : max;
    }
    (*data)[len] = 0;
    *out_len = len;
    return RAMET_OK;
}

/* Read the file just opened, of that size, and close it. */
static enum ramet_rc
read_opened(const struct ramet_os *os, int fd, uint64_t size, const char *path,
            size_t max, uint8_t **out_data, size_t *out_len,
            struct ramet_err *err)
{
    uint8_t *data = NULL;
    size_t len = 0;
    enum ramet_rc rc;

    assert(max < SIZE_MAX);
    rc = size > max ? RAMET_FAIL(err, RAMET_ETOOBIG,
                                 "%s has %" PRIu64 " bytes, the limit is %zu",
                                 path, size, max)
                    : read_growing(os, fd, path, max, size, &data, &len, err);
    os->close(os->ctx, fd);
    if (rc == RAMET_OK) {
        *out_data = data;
        *out_len = len;
    } else {
        ramet_free(data);
    }
    return rc;
}

enum ramet_rc
ramet_os_read_file(const struct ramet_os *os, int dirfd, const char *path,
                   size_t max, uint8_t **out_data, size_t *out_len,
                   struct ramet_err *err)
{
    struct ramet_os_stat st;
    int result;
    /* O_NONBLOCK: a FIFO in the place of a file must not hang us. */
    const int fd =
        os->open(os->ctx, dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "open %s", path);
    result = os->stat(os->ctx, fd, &st);
    if (result < 0) {
        os->close(os->ctx, fd);
        return RAMET_FAIL_OS(err, result, "stat %s", path);
    }
    return read_opened(os, fd, st.size_bytes, path, max, out_data, out_len,
                       err);
}

enum ramet_rc
ramet_os_read_own_file(const struct ramet_os *os, int dirfd, const char *name,
                       size_t max, uint8_t **out_data, size_t *out_len,
                       struct ramet_err *err)
{
    struct ramet_os_stat st;
    const int fd = ramet_rights_open_look(os, dirfd, name, O_RDONLY, &st);

    return fd < 0 ? RAMET_FAIL_OS(err, fd, "open %s", name)
                  : read_opened(os, fd, st.size_bytes, name, max, out_data,
                                out_len, err);
}

/* Is `fd` the file that `path` names now? 1, 0, or a negated errno. */
static int
is_same_file(const struct ramet_os *os, int dirfd, const char *path, int fd)
{
    struct ramet_os_stat by_fd;
    struct ramet_os_stat by_path;
    int result = os->stat(os->ctx, fd, &by_fd);

    if (result < 0)
        return result;
    result = os->stat_at(os->ctx, dirfd, path, &by_path);
    if (result == -ENOENT)
        return 0;
    if (result < 0)
        return result;
    return by_fd.device == by_path.device && by_fd.inode == by_path.inode;
}

/*
 * Open, lock and empty the temporary file. Its name is fixed, so that what a
 * crash leaves is used again by the next call; the lock keeps two callers
 * apart; and since the one before us may have renamed the file that we opened,
 * the name is looked at again once we have the lock. The descriptor, or a
 * negated errno: -EAGAIN when somebody else is at it, -ESTALE to try again.
 */
static int
try_temporary(const struct ramet_os *os, int dirfd, const char *path,
              const struct ramet_rights *rights)
{
    struct ramet_os_stat st;
    int fd = ramet_rights_open(os, dirfd, path, O_RDWR);
    int result;

    if (fd == -ENOENT)
        fd = ramet_rights_make(os, dirfd, path, O_RDWR, rights);
    if (fd == -EACCES && os->stat_at(os->ctx, dirfd, path, &st) == 0 &&
        st.size_bytes == 0) { /* who made it died before it was given away */
        result = os->unlink(os->ctx, dirfd, path, false);
        return result == 0 ? -ESTALE : result;
    }
    if (fd < 0)
        return fd == -EEXIST ? -ESTALE : fd;
    result = os->lock(os->ctx, fd, 0, 1, RAMET_LOCK_EXCLUSIVE);
    if (result == 0) {
        result = is_same_file(os, dirfd, path, fd);
        result = result == 0 ? -ESTALE : result;
    }
    if (result >= 0)
        result = os->truncate(os->ctx, fd, 0);
    if (result >= 0 && rights != NULL) {
        result = os->stat(os->ctx, fd, &st);
        if (result == 0)
            result = ramet_rights_apply(os, fd, &st, rights, rights->mode);
        if (result == -EPERM) { /* somebody else left it: another one, then */
            result = os->unlink(os->ctx, dirfd, path, false);
            result = result == 0 ? -ESTALE : result;
        }
    }
    if (result < 0) {
        os->close(os->ctx, fd);
        return result;
    }
    return fd;
}

static enum ramet_rc
open_temporary(const struct ramet_os *os, int dirfd, const char *path,
               const struct ramet_rights *rights, int *out_fd,
               struct ramet_err *err)
{
    const uint64_t give_up_at =
        os->mono_ns(os->ctx) + UINT64_C(1000000) * REPLACE_WAIT_MS;

    for (;;) {
        const int fd = try_temporary(os, dirfd, path, rights);

        if (fd >= 0) {
            *out_fd = fd;
            return RAMET_OK;
        }
        if (fd != -EAGAIN && fd != -ESTALE)
            return RAMET_FAIL_OS(err, fd, "create %s", path);
        if (os->mono_ns(os->ctx) >= give_up_at)
            return RAMET_FAIL(err, RAMET_EBUSY, "%s is in use", path);
        if (fd == -EAGAIN)
            os->sleep_us(os->ctx, REPLACE_POLL_US);
    }
}

/* From the open temporary file to the name; *io_renamed once that took place. */
static enum ramet_rc
put_in_place(const struct ramet_os *os, int dirfd, int fd,
             const char *temporary, const char *path, bool *io_renamed,
             struct ramet_err *err)
{
    int result = os->sync(os->ctx, fd);

    if (result < 0)
        return RAMET_FAIL_OS(err, result, "sync %s", temporary);
    result = os->rename(os->ctx, dirfd, temporary, dirfd, path);
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "rename %s to %s", temporary, path);
    *io_renamed = true;
    result = os->sync(os->ctx, dirfd);
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "sync the directory of %s", path);
    return RAMET_OK;
}

enum ramet_rc
ramet_os_replace_file(const struct ramet_os *os, int dirfd, const char *path,
                      const struct ramet_rights *rights, const void *data,
                      size_t len, struct ramet_err *err)
{
    char *const temporary = ramet_asprintf("%s.tmp", path);
    bool renamed = false;
    enum ramet_rc rc;
    int fd = -1;

    assert(strchr(path, '/') == NULL);
    if (temporary == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "replace %s", path);
    rc = open_temporary(os, dirfd, temporary, rights, &fd, err);
    if (rc != RAMET_OK)
        goto done;
    rc = ramet_os_write_full(os, fd, data, len, 0, temporary, err);
    if (rc != RAMET_OK)
        goto done;
    rc = put_in_place(os, dirfd, fd, temporary, path, &renamed, err);

done:
    /* Unlinked while it is still locked: it can't be another's by now. */
    if (fd >= 0 && !renamed)
        os->unlink(os->ctx, dirfd, temporary, false);
    if (fd >= 0)
        os->close(os->ctx, fd);
    ramet_free(temporary);
    return rc;
}
