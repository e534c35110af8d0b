/*
 * trailer.c - see trailer.h. The bytes are those of writeSuperJournal() in
 * pager.c: page number of the lock page, name, its length, the sum of its
 * bytes (as signed chars), the journal's magic.
 */
#include "vfs/trailer.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/os.h"

#define TRAILER_FIXED 20u /* all but the name */
#define NAME_MAX_BYTES 4096u

static const uint8_t journal_magic[8] = {0xd9, 0xd5, 0x05, 0xf9,
                                         0x20, 0xa1, 0x63, 0xd7};

static int
open_journal(sqlite3_vfs *under, const char *journal_name, int flags,
             sqlite3_file **out_file)
{
    sqlite3_file *file = ramet_calloc(1, (size_t)under->szOsFile);
    int rc;

    assert(under != NULL && journal_name != NULL);
    if (file == NULL)
        return SQLITE_NOMEM;
    rc = under->xOpen(under, journal_name, file,
                      flags | SQLITE_OPEN_MAIN_JOURNAL, NULL);
    if (rc != SQLITE_OK)
        ramet_free(file);
    else
        *out_file = file;
    return rc;
}

static void
close_journal(sqlite3_file *file)
{
    assert(file->pMethods != NULL);
    file->pMethods->xClose(file);
    ramet_free(file);
}

/* The length, or 0 where the name is longer than any that SQLite makes. */
static size_t
make_trailer(const char *name, uint8_t out[TRAILER_FIXED + NAME_MAX_BYTES])
{
    const size_t length = strlen(name);
    uint32_t sum = 0;

    if (length == 0 || length > NAME_MAX_BYTES)
        return 0;
    for (size_t i = 0; i < length; i++)
        sum += (uint32_t)(int32_t)(signed char)name[i];
    /* Any page number will do, but its first byte must be 0: a journal that
     * begins with 0 is not hot (hasHotJournal() in pager.c). */
    ramet_put_be32(out, 0x40000000u / 4096u + 1u);
    memcpy(out + 4, name, length);
    ramet_put_be32(out + 4 + length, (uint32_t)length);
    ramet_put_be32(out + 8 + length, sum);
    memcpy(out + 12 + length, journal_magic, sizeof(journal_magic));
    assert(out[0] == 0); /* not hot */
    return TRAILER_FIXED + length;
}

int
ramet_trailer_write(sqlite3_vfs *under, const char *journal_name,
                    const char *super_journal)
{
    uint8_t bytes[TRAILER_FIXED + NAME_MAX_BYTES];
    const size_t length = make_trailer(super_journal, bytes);
    sqlite3_file *file = NULL;
    int rc;

    assert(length <= sizeof(bytes));
    if (length == 0)
        return SQLITE_CANTOPEN;
    rc = open_journal(under, journal_name,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &file);
    if (rc != SQLITE_OK)
        return rc;
    rc = file->pMethods->xTruncate(file, 0);
    if (rc == SQLITE_OK)
        rc = file->pMethods->xWrite(file, bytes, (int)length, 0);
    if (rc == SQLITE_OK) /* the directory too, for one that was created */
        rc = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
    close_journal(file);
    if (rc != SQLITE_OK)
        ramet_trailer_remove(under, journal_name);
    return rc;
}

void
ramet_trailer_remove(sqlite3_vfs *under, const char *journal_name)
{
    assert(journal_name != NULL);
    /* Left behind, it says nothing false: its super-journal is gone, or was
     * void before this was called. */
    (void)under->xDelete(under, journal_name, 0);
}

/* Nothing but a trailer? */
static bool
is_trailer(sqlite3_file *file)
{
    uint8_t bytes[TRAILER_FIXED + NAME_MAX_BYTES];
    sqlite3_int64 size = 0;
    uint32_t length;

    if (file->pMethods->xFileSize(file, &size) != SQLITE_OK)
        return false;
    if (size == 0)
        return true; /* a crash came before its first byte */
    if (size <= (sqlite3_int64)TRAILER_FIXED ||
        size > (sqlite3_int64)sizeof(bytes) ||
        file->pMethods->xRead(file, bytes, (int)size, 0) != SQLITE_OK)
        return false;
    length = ramet_get_be32(bytes + size - 16);
    return bytes[0] == 0 && length == (uint32_t)size - TRAILER_FIXED &&
           memcmp(bytes + size - 8, journal_magic, 8) == 0;
}

/* Asked of the system itself: whether there is one is no business of the VFS
 * below, and an error there would be no reason to fail a commit. */
static bool
is_there(const char *journal_name)
{
    const struct ramet_os *os = ramet_os_system();
    struct ramet_os_stat st;

    return os->stat_at(os->ctx, AT_FDCWD, journal_name, &st) == 0;
}

void
ramet_trailer_remove_stale(sqlite3_vfs *under, const char *journal_name)
{
    sqlite3_file *file = NULL;
    bool stale;

    if (!is_there(journal_name) ||
        open_journal(under, journal_name, SQLITE_OPEN_READONLY, &file) !=
            SQLITE_OK)
        return;
    stale = is_trailer(file);
    close_journal(file);
    if (stale)
        ramet_trailer_remove(under, journal_name);
}
