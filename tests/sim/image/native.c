/*
 * native.c - see native.h. Files have no locks: nothing but journals and
 * temporary files is kept in them.
 */
#include "tests/sim/image/native.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "core/alloc.h"
#include "tests/sim/image/heap.h"
#include "tests/sim/image/image.h"

struct native {
    sqlite3_file base;
    int fd;
    bool is_named; /* or its name is synced with the next sync */
    char name[100];
};

static const struct ramet_os *
os(void)
{
    return sim_env->os;
}

/* ---- a file ----------------------------------------------------------------- */

static int
file_close(sqlite3_file *file)
{
    os()->close(os()->ctx, ((struct native *)file)->fd);
    return SQLITE_OK;
}

static int
file_read(sqlite3_file *file, void *out, int size, sqlite3_int64 offset)
{
    const struct iovec iov = {out, (size_t)size};
    const ssize_t got = os()->preadv(os()->ctx, ((struct native *)file)->fd,
                                     &iov, 1, (uint64_t)offset);

    if (got < 0)
        return SQLITE_IOERR_READ;
    memset((char *)out + got, 0, (size_t)(size - got));
    return got == size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int
file_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    const struct iovec iov = {(void *)(uintptr_t)data, (size_t)size};
    const ssize_t put = os()->pwritev(os()->ctx, ((struct native *)file)->fd,
                                      &iov, 1, (uint64_t)offset);

    return put == -ENOSPC ? SQLITE_FULL
           : put == size  ? SQLITE_OK
                          : SQLITE_IOERR_WRITE;
}

static int
file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return os()->truncate(os()->ctx, ((struct native *)file)->fd,
                          (uint64_t)size) == 0
               ? SQLITE_OK
               : SQLITE_IOERR_TRUNCATE;
}

/* The folder that the name is in. */
static bool
sync_folder(const char *name)
{
    char folder[100];
    const char *const slash = strrchr(name, '/');
    int fd;
    bool is_synced;

    snprintf(folder, sizeof(folder), "%.*s",
             slash == NULL || slash == name ? 1 : (int)(slash - name), name);
    fd = os()->open(os()->ctx, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return false;
    is_synced = os()->sync(os()->ctx, fd) == 0;
    os()->close(os()->ctx, fd);
    return is_synced;
}

/* With the name of a journal that is new, as SQLite's own does it. */
static int
file_sync(sqlite3_file *file, int flags)
{
    struct native *const native = (struct native *)file;

    (void)flags;
    if (os()->sync(os()->ctx, native->fd) != 0)
        return SQLITE_IOERR_FSYNC;
    if (!native->is_named && sync_folder(native->name))
        native->is_named = true;
    return SQLITE_OK;
}

static int
file_size(sqlite3_file *file, sqlite3_int64 *out_size)
{
    struct ramet_os_stat st;

    if (os()->stat(os()->ctx, ((struct native *)file)->fd, &st) != 0)
        return SQLITE_IOERR_FSTAT;
    *out_size = (sqlite3_int64)st.size_bytes;
    return SQLITE_OK;
}

static int
file_lock(sqlite3_file *file, int level)
{
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int
file_check_reserved(sqlite3_file *file, int *out_reserved)
{
    (void)file;
    *out_reserved = 0;
    return SQLITE_OK;
}

static int
file_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int
file_sector_size(sqlite3_file *file)
{
    (void)file;
    return 512;
}

static int
file_characteristics(sqlite3_file *file)
{
    (void)file;
    return 0;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_lock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

/* ---- the VFS ---------------------------------------------------------------- */

/* A name that nobody has, beside the replica. */
static void
make_name(char *out, size_t size)
{
    uint64_t number = 0;

    os()->random(os()->ctx, &number, sizeof(number));
    snprintf(out, size, "%s.temporary-%016llx", sim_env->path,
             (unsigned long long)number);
}

static int
native_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
            int *out_flags)
{
    struct native *const native = (struct native *)file;
    const int mode = (flags & SQLITE_OPEN_READWRITE) != 0 ? O_RDWR : O_RDONLY;
    char own[100];

    (void)vfs;
    file->pMethods = NULL;
    if (name == NULL) {
        make_name(own, sizeof(own));
        name = own;
        flags |= SQLITE_OPEN_CREATE | SQLITE_OPEN_DELETEONCLOSE;
    }
    native->fd = os()->open(
        os()->ctx, AT_FDCWD, name,
        mode | ((flags & SQLITE_OPEN_CREATE) != 0 ? O_CREAT : 0), 0644);
    if (native->fd < 0)
        return SQLITE_CANTOPEN;
    if ((flags & SQLITE_OPEN_DELETEONCLOSE) != 0)
        os()->unlink(os()->ctx, AT_FDCWD, name, false);
    native->is_named =
        (flags & SQLITE_OPEN_CREATE) == 0 ||
        (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL)) == 0;
    snprintf(native->name, sizeof(native->name), "%s", name);
    file->pMethods = &file_methods;
    if (out_flags != NULL)
        *out_flags = flags;
    return SQLITE_OK;
}

static int
native_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    const int result = os()->unlink(os()->ctx, AT_FDCWD, name, false);

    (void)vfs;
    if (result != 0)
        return result == -ENOENT ? SQLITE_IOERR_DELETE_NOENT
                                 : SQLITE_IOERR_DELETE;
    return sync_directory == 0 || sync_folder(name) ? SQLITE_OK
                                                    : SQLITE_IOERR_DIR_FSYNC;
}

static int
native_access(sqlite3_vfs *vfs, const char *name, int flags, int *out_result)
{
    struct ramet_os_stat st;

    (void)vfs;
    *out_result = os()->stat_at(os()->ctx, AT_FDCWD, name, &st) == 0 &&
                  (flags != SQLITE_ACCESS_EXISTS || st.size_bytes > 0);
    return SQLITE_OK;
}

static int
native_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    snprintf(out, (size_t)size, "%s", name);
    return SQLITE_OK;
}

static int
native_randomness(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    os()->random(os()->ctx, out, (size_t)size);
    return size;
}

static int
native_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    os()->sleep_us(os()->ctx, (uint64_t)microseconds);
    return microseconds;
}

static int
native_current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    (void)vfs;
    *out = INT64_C(210866760000000) + (sqlite3_int64)os()->wall_ms(os()->ctx);
    return SQLITE_OK;
}

static int
native_current_time(sqlite3_vfs *vfs, double *out)
{
    sqlite3_int64 now;

    native_current_time_int64(vfs, &now);
    *out = (double)now / 86400000.0;
    return SQLITE_OK;
}

static int
native_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    (void)size;
    (void)out;
    return 0;
}

static sqlite3_vfs native_vfs = {
    .iVersion = 2,
    .szOsFile = sizeof(struct native),
    .mxPathname = 200,
    .zName = "simulated",
    .xOpen = native_open,
    .xDelete = native_delete,
    .xAccess = native_access,
    .xFullPathname = native_full_pathname,
    .xRandomness = native_randomness,
    .xSleep = native_sleep,
    .xCurrentTime = native_current_time,
    .xGetLastError = native_last_error,
    .xCurrentTimeInt64 = native_current_time_int64,
};

/* ---- memory ----------------------------------------------------------------- */

static void *
heap_alloc(int size)
{
    return ramet_alloc((size_t)size);
}

static void *
heap_realloc(void *block, int size)
{
    return ramet_realloc(block, (size_t)size);
}

static int
heap_size(void *block)
{
    return block == NULL ? 0 : (int)sim_heap_size(block);
}

static int
heap_roundup(int size)
{
    return (size + 7) & ~7;
}

static int
heap_init(void *ctx)
{
    (void)ctx;
    return SQLITE_OK;
}

static void
heap_shutdown(void *ctx)
{
    (void)ctx;
}

static void
trace_log(void *ctx, int code, const char *text)
{
    (void)ctx;
    sim_trace("SQLite logs %d: %s", code, text);
}

void
sim_native_begin(void)
{
    static const sqlite3_mem_methods heap = {
        heap_alloc,   ramet_free, heap_realloc,  heap_size,
        heap_roundup, heap_init,  heap_shutdown, NULL};

    /* One thread has the turn, and SQLite waits for nobody under its mutexes. */
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &heap) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_MULTITHREAD) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_LOG, trace_log, NULL) != SQLITE_OK ||
        sqlite3_initialize() != SQLITE_OK ||
        sqlite3_vfs_register(&native_vfs, 1) != SQLITE_OK)
        sim_fail("SQLite can't be set up");
}
