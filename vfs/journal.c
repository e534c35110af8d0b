/*
 * journal.c - see journal.h.
 */
#include "vfs/journal.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/os.h"

/* sizeof(aJournalMagic) + 4 in pager.c: the record count of a header. */
#define RECORD_COUNT_LENGTH 12

#define PAGE_SIZE_MIN 512
#define PIECE 65536

struct handle {
    sqlite3_file base; /* first: SQLite knows no more */
    struct ramet_journal *journal;
    bool owned;
};

static struct ramet_journal *
journal_of(sqlite3_file *file)
{
    assert(((struct handle *)file)->journal != NULL);
    return ((struct handle *)file)->journal;
}

/* In a child of fork() the spill file, and its file offset, are the parent's
 * still: the transaction that it undoes is, too. */
static bool
is_parents(const struct ramet_journal *journal)
{
    return journal->fork_count != ramet_os_fork_count();
}

static void
close_spill(struct ramet_journal *journal)
{
    if (journal->spill == NULL)
        return;
    if (journal->spill->pMethods != NULL)
        journal->spill->pMethods->xClose(journal->spill);
    ramet_free(journal->spill);
    journal->spill = NULL;
}

static void
make_empty(struct ramet_journal *journal)
{
    assert(journal->window_start <= journal->size); /* invariant (1) */
    close_spill(journal);
    journal->size = 0;
    journal->window_start = 0;
    if (journal->window_capacity > RAMET_JOURNAL_KEEP) {
        ramet_free(journal->window);
        journal->window = NULL;
        journal->window_capacity = 0;
    }
}

void
ramet_journal_end(struct ramet_journal *journal)
{
    journal->begun = false;
    journal->synced = false;
    journal->full = false;
    journal->was_read = false;
    journal->writes_since_sync = 0;
}

void
ramet_journal_done(struct ramet_journal *journal)
{
    make_empty(journal);
    assert(journal->spill == NULL && journal->size == 0);
    ramet_free(journal->window);
    journal->window = NULL;
    journal->window_capacity = 0;
}

bool
ramet_journal_says_normal(const struct ramet_journal *journal)
{
    assert(!journal->full || journal->synced);
    return journal->synced && !journal->full;
}

static int
open_spill(struct ramet_journal *journal)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                      SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE |
                      SQLITE_OPEN_TEMP_JOURNAL;
    sqlite3_file *spill;
    int rc;

    assert(journal->spill == NULL && journal->under != NULL);
    spill = ramet_calloc(1, (size_t)journal->under->szOsFile);
    if (spill == NULL)
        return SQLITE_NOMEM;
    rc = journal->under->xOpen(journal->under, NULL, spill, flags, NULL);
    if (rc != SQLITE_OK) {
        ramet_free(spill);
        return rc;
    }
    journal->spill = spill;
    return SQLITE_OK;
}

/* Move all of the window to the spill file, invariant (1). SQLite's own VFS
 * takes no more than 128 KiB at a time (seekAndWriteFd() in os_unix.c). */
static int
flush_window(struct ramet_journal *journal)
{
    const uint64_t length = journal->size - journal->window_start;
    int rc = SQLITE_OK;

    assert(journal->window_start < journal->size && journal->window != NULL);
    if (journal->spill == NULL)
        rc = open_spill(journal);
    for (uint64_t at = 0; at < length && rc == SQLITE_OK; at += PIECE) {
        const int piece = length - at < PIECE ? (int)(length - at) : PIECE;

        rc = journal->spill->pMethods->xWrite(
            journal->spill, journal->window + at, piece,
            (sqlite3_int64)journal->window_start + (sqlite3_int64)at);
    }
    if (rc == SQLITE_OK)
        journal->window_start = journal->size;
    return rc;
}

/* Room in the window for bytes up to journal offset `end`. */
static int
grow_window(struct ramet_journal *journal, uint64_t end)
{
    uint64_t wanted = journal->window_capacity;
    uint8_t *window;

    assert(end >= journal->window_start);
    if (wanted == 0)
        wanted = 16u << 10;
    while (wanted < end - journal->window_start)
        wanted *= 2;
    if (wanted == journal->window_capacity)
        return SQLITE_OK;
    window = ramet_realloc(journal->window, (size_t)wanted);
    if (window == NULL)
        return SQLITE_NOMEM;
    journal->window = window;
    journal->window_capacity = wanted;
    return SQLITE_OK;
}

/* Bytes that were in the window until it was flushed, and perhaps more. */
static int
write_flushed(struct ramet_journal *journal, const uint8_t *bytes, int length,
              uint64_t offset)
{
    const uint64_t end = offset + (uint64_t)length;
    const int rc = journal->spill->pMethods->xWrite(
        journal->spill, bytes, length, (sqlite3_int64)offset);

    assert(journal->window_start == journal->size);
    assert(journal->spill != NULL && offset < journal->window_start);
    if (rc == SQLITE_OK && end > journal->size) {
        journal->size = end;
        journal->window_start = end;
    }
    return rc;
}

/* Bytes from `offset` on, all at or past window_start. */
static int
write_window(struct ramet_journal *journal, const uint8_t *bytes, int length,
             uint64_t offset)
{
    const uint64_t end = offset + (uint64_t)length;
    int rc;

    assert(offset >= journal->window_start && length > 0);
    if (end - journal->window_start > RAMET_JOURNAL_WINDOW &&
        journal->size > journal->window_start) {
        rc = flush_window(journal);
        if (rc != SQLITE_OK)
            return rc;
        if (offset < journal->window_start)
            return write_flushed(journal, bytes, length, offset);
    }
    rc = grow_window(journal, end);
    if (rc != SQLITE_OK)
        return rc;
    if (offset > journal->size) /* a gap up to the next sector */
        memset(journal->window + (journal->size - journal->window_start), 0,
               (size_t)(offset - journal->size));
    memcpy(journal->window + (offset - journal->window_start), bytes,
           (size_t)length);
    if (end > journal->size)
        journal->size = end;
    return SQLITE_OK;
}

static int
journal_write(sqlite3_file *file, const void *buf, int length,
              sqlite3_int64 offset)
{
    struct ramet_journal *journal = journal_of(file);
    const uint8_t *bytes = buf;
    uint64_t at = (uint64_t)offset;

    assert(offset >= 0 && length > 0);
    if (is_parents(journal))
        return SQLITE_MISUSE;
    if (offset == 0 && length != RECORD_COUNT_LENGTH) { /* its first header */
        ramet_journal_end(journal);
        journal->begun = true;
    }
    journal->writes_since_sync++;
    journal->last_write_length = length;

    if (at < journal->window_start) {
        const uint64_t left = journal->window_start - at;
        const int below = (uint64_t)length < left ? length : (int)left;
        const int rc = journal->spill->pMethods->xWrite(journal->spill, bytes,
                                                        below, offset);

        if (rc != SQLITE_OK || below == length)
            return rc;
        bytes += below;
        length -= below;
        at += (uint64_t)below;
    }
    return write_window(journal, bytes, length, at);
}

static int
journal_read(sqlite3_file *file, void *buf, int length, sqlite3_int64 offset)
{
    struct ramet_journal *journal = journal_of(file);
    uint8_t *out = buf;
    uint64_t at = (uint64_t)offset;
    bool is_short = false;

    assert(offset >= 0 && length >= 0);
    if (is_parents(journal))
        return SQLITE_MISUSE;
    journal->was_read |= length >= PAGE_SIZE_MIN;
    if (at + (uint64_t)length > journal->size) {
        const int held = at < journal->size ? (int)(journal->size - at) : 0;

        memset(out + held, 0, (size_t)(length - held));
        length = held;
        is_short = true;
    }
    if (length > 0 && at < journal->window_start) {
        const uint64_t left = journal->window_start - at;
        const int below = (uint64_t)length < left ? length : (int)left;
        const int rc =
            journal->spill->pMethods->xRead(journal->spill, out, below, offset);

        if (rc != SQLITE_OK)
            return rc == SQLITE_IOERR_SHORT_READ ? SQLITE_IOERR_READ : rc;
        out += below;
        length -= below;
        at += (uint64_t)below;
    }
    if (length > 0)
        memcpy(out, journal->window + (at - journal->window_start),
               (size_t)length);
    return is_short ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int
journal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct ramet_journal *journal = journal_of(file);
    const uint64_t wanted = (uint64_t)size;

    assert(size >= 0 && journal->window_start <= journal->size);
    if (wanted >= journal->size)
        return SQLITE_OK;
    if (wanted == 0) {
        make_empty(journal);
        return SQLITE_OK;
    }
    if (wanted < journal->window_start)
        journal->window_start = wanted; /* the file's rest is overwritten */
    journal->size = wanted;
    return SQLITE_OK;
}

static int
journal_sync(sqlite3_file *file, int flags)
{
    struct ramet_journal *journal = journal_of(file);

    assert(journal->is_open);
    (void)flags;
    if (journal->synced && journal->writes_since_sync == 1 &&
        journal->last_write_length == RECORD_COUNT_LENGTH)
        journal->full = true;
    journal->synced = true;
    journal->writes_since_sync = 0;
    return SQLITE_OK;
}

static int
journal_size(sqlite3_file *file, sqlite3_int64 *out_size)
{
    assert(out_size != NULL);
    *out_size = (sqlite3_int64)journal_of(file)->size;
    return SQLITE_OK;
}

static int
journal_close(sqlite3_file *file)
{
    struct handle *handle = (struct handle *)file;
    struct ramet_journal *journal = handle->journal;

    assert(journal->is_open);
    make_empty(journal);
    journal->is_open = false;
    if (handle->owned) {
        ramet_journal_done(journal);
        ramet_free(journal);
    }
    handle->journal = NULL;
    file->pMethods = NULL;
    return SQLITE_OK;
}

/* Journals are never locked; SQLite calls none of these on one. */
static int
journal_no_lock(sqlite3_file *file, int level)
{
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int
journal_not_reserved(sqlite3_file *file, int *out_reserved)
{
    (void)file;
    *out_reserved = 0;
    return SQLITE_OK;
}

static int
journal_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int
journal_sector_size(sqlite3_file *file)
{
    (void)file;
    return 512;
}

static int
journal_characteristics(sqlite3_file *file)
{
    (void)file;
    return 0;
}

static const sqlite3_io_methods journal_methods = {
    .iVersion = 1,
    .xClose = journal_close,
    .xRead = journal_read,
    .xWrite = journal_write,
    .xTruncate = journal_truncate,
    .xSync = journal_sync,
    .xFileSize = journal_size,
    .xLock = journal_no_lock,
    .xUnlock = journal_no_lock,
    .xCheckReservedLock = journal_not_reserved,
    .xFileControl = journal_control,
    .xSectorSize = journal_sector_size,
    .xDeviceCharacteristics = journal_characteristics,
};

void
ramet_journal_open(struct ramet_journal *journal, sqlite3_vfs *under,
                   sqlite3_file *file, bool owned)
{
    struct handle *handle = (struct handle *)file;

    assert(!journal->is_open);
    assert(under != NULL);
    journal->is_open = true;
    journal->fork_count = ramet_os_fork_count();
    journal->under = under;
    handle->journal = journal;
    handle->owned = owned;
    handle->base.pMethods = &journal_methods;
}

int
ramet_journal_handle_size(void)
{
    return (int)sizeof(struct handle);
}
