/*
 * os.h - the operating system behind a table that tests replace.
 *
 * Everything durable that Ramet does goes through `struct ramet_os`: files,
 * directories, locks, the clock and the random generator. The product passes
 * ramet_os_system(); the crash and fault tests pass a table that counts,
 * fails or cuts the power at the n-th operation. No code above tests for it.
 *
 * Conventions of the table: results are >= 0, or a negated errno; EINTR is
 * retried inside; all paths are relative to `dirfd` (AT_FDCWD allowed);
 * descriptors are opened O_CLOEXEC. The helpers below it loop over short
 * transfers and fill a struct ramet_err.
 *
 * Locks are Linux open-file-description locks (F_OFD_SETLK): they belong to
 * the open file, conflict between two handles of one process, and are not
 * lost when some other descriptor of the file is closed. In a child of fork()
 * each descriptor on which a lock was ever tried, its duplicates, and each by
 * which a file may be written but at its end, answer -EBADF to all but close;
 * and what was mapped shared is zeros of the child's own: so nothing that the
 * child does with its parent's handles reaches the parent.
 *
 * Layer: core. The only place with Linux calls.
 */
#ifndef RAMET_CORE_OS_H
#define RAMET_CORE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "core/err.h"

enum ramet_lock_mode { RAMET_UNLOCK, RAMET_LOCK_SHARED, RAMET_LOCK_EXCLUSIVE };

struct ramet_os_stat {
    uint64_t size_bytes;
    uint64_t block_bytes; /* really allocated */
    uint64_t device;
    uint64_t inode;
    int64_t mtime_ns;
    int64_t ctime_ns;
    uint32_t mode; /* st_mode */
    uint32_t link_count;
    uint32_t uid;
    uint32_t gid;
};

/* Called for each entry but "." and ".."; a non-zero result stops the walk and
 * is what list() returns. */
typedef int ramet_dir_visit(void *ctx, const char *name, bool is_dir);

struct ramet_os {
    void *ctx; /* the test double's own state; NULL for the system */
    /* Reads leave the times of a file alone, if its owner is who opens it. */
    int (*open)(void *ctx, int dirfd, const char *path, int flags,
                unsigned mode);
    int (*close)(void *ctx, int fd);
    int (*dup)(void *ctx, int fd); /* O_CLOEXEC, same file description */
    ssize_t (*preadv)(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                      uint64_t offset);
    ssize_t (*pwritev)(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                       uint64_t offset);
    int (*datasync)(void *ctx, int fd); /* fdatasync */
    int (*sync)(void *ctx, int fd);     /* fsync; for directories too */
    int (*truncate)(void *ctx, int fd, uint64_t size);
    /* Allocate blocks for [offset, offset+len), growing the file. */
    int (*allocate)(void *ctx, int fd, uint64_t offset, uint64_t len);
    int (*punch)(void *ctx, int fd, uint64_t offset, uint64_t len);
    /* The next data at or after `offset`: its start, or -ENXIO at the end. */
    int64_t (*seek_data)(void *ctx, int fd, uint64_t offset);
    int (*stat)(void *ctx, int fd, struct ramet_os_stat *out);
    /* Of a link the link itself, if it is the path's last element. */
    int (*stat_at)(void *ctx, int dirfd, const char *path,
                   struct ramet_os_stat *out);
    /* Where a symbolic link leads: at most `size` bytes without a final 0, and
     * their number; -EINVAL if it is no link. */
    int (*read_link)(void *ctx, int dirfd, const char *path, char *out,
                     size_t size);
    int (*set_mtime)(void *ctx, int fd, int64_t mtime_ns);
    int (*chmod)(void *ctx, int fd, unsigned mode);
    int (*chown)(void *ctx, int fd, unsigned uid, unsigned gid);
    unsigned (*user)(void *ctx); /* whose rights the process has now; 0: root */
    int (*link)(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
                const char *new_path);
    int (*rename)(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
                  const char *new_path);
    int (*unlink)(void *ctx, int dirfd, const char *path, bool is_dir);
    int (*mkdir)(void *ctx, int dirfd, const char *path, unsigned mode);
    int (*list)(void *ctx, int dirfd, const char *path, ramet_dir_visit *visit,
                void *visit_ctx);
    /* Try to lock or unlock bytes [offset, offset+len); -EAGAIN if held. */
    int (*lock)(void *ctx, int fd, uint64_t offset, uint64_t len,
                enum ramet_lock_mode mode);
    /* 1 if `mode` on the bytes would conflict with another holder, else 0. */
    int (*lock_held)(void *ctx, int fd, uint64_t offset, uint64_t len,
                     enum ramet_lock_mode mode);
    int (*map)(void *ctx, int fd, uint64_t offset, size_t len, bool writable,
               void **out); /* MAP_SHARED; fd -1: anonymous private memory */
    int (*unmap)(void *ctx, void *addr, size_t len);
    uint64_t (*wall_ms)(void *ctx); /* Unix time */
    uint64_t (*mono_ns)(void *ctx); /* monotonic */
    /* The same, and a machine that sleeps does not stop it: how old something is. */
    uint64_t (*boot_ns)(void *ctx);
    void (*sleep_us)(void *ctx, uint64_t us);
    int (*random)(void *ctx, void *out, size_t len);
};

struct ramet_rights; /* core/rights.h */

const struct ramet_os *ramet_os_system(void);

/*
 * The number of fork()s between the process that loaded the library and this
 * one: a handle keeps the value it was made under, and one that differs is
 * somebody else's. No system call: the kernel wipes a word in each child.
 */
unsigned ramet_os_fork_count(void);

/* ---- helpers over the table; `what` names the file in error texts -------- */

/* Read exactly len bytes, or RAMET_ECORRUPT ("ends at …") at end of file. */
RAMET_NODISCARD enum ramet_rc
ramet_os_read_full(const struct ramet_os *os, int fd, void *buf, size_t len,
                   uint64_t offset, const char *what, struct ramet_err *err);
/* Read up to len bytes; *out_got < len only at end of file. */
RAMET_NODISCARD enum ramet_rc
ramet_os_read_some(const struct ramet_os *os, int fd, void *buf, size_t len,
                   uint64_t offset, size_t *out_got, const char *what,
                   struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_os_write_full(const struct ramet_os *os, int fd, const void *buf,
                    size_t len, uint64_t offset, const char *what,
                    struct ramet_err *err);
/* As write_full for a vector; the iov array is used up (modified). */
RAMET_NODISCARD enum ramet_rc
ramet_os_writev_full(const struct ramet_os *os, int fd, struct iovec *iov,
                     int iovcnt, uint64_t offset, const char *what,
                     struct ramet_err *err);
/* Whole small file into a new block (ramet_free), at most `max` bytes
 * (RAMET_ETOOBIG); RAMET_ENOTFOUND if it is not there. One more byte follows,
 * not counted, and is 0: text may be used as it is. */
RAMET_NODISCARD enum ramet_rc
ramet_os_read_file(const struct ramet_os *os, int dirfd, const char *path,
                   size_t max, uint8_t **out_data, size_t *out_len,
                   struct ramet_err *err);
/* The same of a file that lies where we keep our own: no link is followed, and
 * what has a second name somewhere is not read (core/rights.h). */
RAMET_NODISCARD enum ramet_rc
ramet_os_read_own_file(const struct ramet_os *os, int dirfd, const char *name,
                       size_t max, uint8_t **out_data, size_t *out_len,
                       struct ramet_err *err);
/* Replace `path` so that after a crash it holds the old bytes or the new:
 * temporary file in the same directory, fsync, rename, fsync of `dirfd`
 * (which must be the directory that holds `path`; no slash in it). The
 * temporary file is `path`.tmp, under a lock: what a crash leaves of it is
 * used up by the next call, and callers at once take turns (RAMET_EBUSY after
 * ten seconds), made with `rights`, or NULL: as the umask has it. After a
 * failure the file holds the old bytes, unless it was
 * the directory's fsync that failed: then either. */
RAMET_NODISCARD enum ramet_rc
ramet_os_replace_file(const struct ramet_os *os, int dirfd, const char *path,
                      const struct ramet_rights *rights, const void *data,
                      size_t len, struct ramet_err *err);

#endif
