/*
 * ask_vfs.c - see ask_vfs.h.
 *
 *   (1) Each page is asked for once at most in a row: what SQLite reads of one in
 *       pieces comes from the last page that came.
 */
#include "server/ask_vfs.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Where a database's header says that it is in WAL mode, and what it says else. */
#define WAL_MARKS 18u
#define NO_WAL 1u

static struct {
    uint32_t page_size, page_count;
    uint32_t last; /* the page in `page`; 0: none */
    uint8_t page[65536];
} source;

bool
ramet_ask_read(void *out, size_t len)
{
    uint8_t *at = out;

    while (len > 0) {
        const ssize_t got = read(STDIN_FILENO, at, len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        len -= (size_t)got;
    }
    return true;
}

bool
ramet_ask_write(const void *data, size_t len)
{
    const uint8_t *at = data;

    while (len > 0) {
        const ssize_t put = write(STDOUT_FILENO, at, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        at += put;
        len -= (size_t)put;
    }
    return true;
}

/* Invariant (1). */
static bool
fetch(uint32_t pgno)
{
    assert(pgno > 0 && pgno <= source.page_count);
    assert(source.page_size <= sizeof(source.page));
    if (pgno == source.last)
        return true;
    source.last = 0;
    if (!ramet_ask_write(&pgno, sizeof(pgno)) ||
        !ramet_ask_read(source.page, source.page_size))
        return false;
    if (pgno == 1) { /* there is no log beside it, whatever it says */
        source.page[WAL_MARKS] = NO_WAL;
        source.page[WAL_MARKS + 1] = NO_WAL;
    }
    source.last = pgno;
    return true;
}

static int
ask_read(sqlite3_file *file, void *out, int amount, sqlite3_int64 offset)
{
    const sqlite3_int64 size =
        (sqlite3_int64)source.page_size * source.page_count;
    uint8_t *at = out;

    (void)file;
    while (amount > 0) {
        const uint32_t pgno = (uint32_t)(offset / source.page_size) + 1;
        const uint32_t in_page = (uint32_t)(offset % source.page_size);
        uint32_t n = source.page_size - in_page;
        assert(n > 0);

        if (offset < 0 || offset >= size) {
            memset(at, 0, (size_t)amount);
            return SQLITE_IOERR_SHORT_READ;
        }
        if (n > (uint32_t)amount)
            n = (uint32_t)amount;
        if (!fetch(pgno))
            return SQLITE_IOERR_READ;
        memcpy(at, source.page + in_page, n);
        at += n;
        offset += n;
        amount -= (int)n;
    }
    return SQLITE_OK;
}

static int
ask_size(sqlite3_file *file, sqlite3_int64 *out)
{
    (void)file;
    *out = (sqlite3_int64)source.page_size * source.page_count;
    return SQLITE_OK;
}

static int
ask_write_none(sqlite3_file *file, const void *data, int amount,
               sqlite3_int64 offset)
{
    (void)file;
    (void)data;
    (void)amount;
    (void)offset;
    return SQLITE_READONLY;
}

static int
ask_truncate_none(sqlite3_file *file, sqlite3_int64 size)
{
    (void)file;
    (void)size;
    return SQLITE_READONLY;
}

static int
ask_close(sqlite3_file *file)
{
    (void)file;
    return SQLITE_OK;
}

static int
ask_flags(sqlite3_file *file, int flags)
{
    (void)file;
    (void)flags;
    return SQLITE_OK;
}

static int
ask_is_reserved(sqlite3_file *file, int *out)
{
    (void)file;
    *out = 0;
    return SQLITE_OK;
}

static int
ask_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int
ask_sector(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int
ask_traits(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_IMMUTABLE;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = ask_close,
    .xRead = ask_read,
    .xWrite = ask_write_none,
    .xTruncate = ask_truncate_none,
    .xSync = ask_flags,
    .xFileSize = ask_size,
    .xLock = ask_flags,
    .xUnlock = ask_flags,
    .xCheckReservedLock = ask_is_reserved,
    .xFileControl = ask_control,
    .xSectorSize = ask_sector,
    .xDeviceCharacteristics = ask_traits,
};

/* The database, and nothing beside it. */
static int
ask_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
         int *out_flags)
{
    (void)vfs;
    (void)name;
    file->pMethods = NULL;
    if ((flags & SQLITE_OPEN_MAIN_DB) == 0)
        return SQLITE_CANTOPEN;
    file->pMethods = &methods;
    if (out_flags != NULL)
        *out_flags = SQLITE_OPEN_READONLY;
    return SQLITE_OK;
}

static int
ask_delete_none(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    (void)name;
    (void)sync;
    return SQLITE_OK;
}

static int
ask_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs;
    (void)name;
    (void)flags;
    *out = 0;
    return SQLITE_OK;
}

static int
ask_full_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
}

/* Nothing here has to be secret. */
static int
ask_random(sqlite3_vfs *vfs, int len, char *out)
{
    (void)vfs;
    memset(out, 7, (size_t)len);
    return len;
}

static int
ask_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

static int
ask_time(sqlite3_vfs *vfs, double *out)
{
    sqlite3_vfs *const system = sqlite3_vfs_find("unix");

    (void)vfs;
    return system->xCurrentTime(system, out);
}

int
ramet_ask_vfs_register(uint32_t page_size, uint32_t page_count)
{
    static sqlite3_vfs vfs = {
        .iVersion = 1,
        .szOsFile = sizeof(sqlite3_file),
        .mxPathname = 64,
        .zName = "ask",
        .xOpen = ask_open,
        .xDelete = ask_delete_none,
        .xAccess = ask_access,
        .xFullPathname = ask_full_name,
        .xRandomness = ask_random,
        .xSleep = ask_sleep,
        .xCurrentTime = ask_time,
    };

    assert(page_size >= 512 && page_size <= sizeof(source.page));
    source.page_size = page_size;
    source.page_count = page_count;
    return sqlite3_vfs_register(&vfs, 1);
}
