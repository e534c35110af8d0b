/*
 * journal.h - a rollback journal that nobody else ever sees.
 *
 * SQLite keeps a journal to undo a transaction. Here the replica's snapshot
 * survives a crash by itself, so that the journal serves only ROLLBACK within
 * one handle: it lives in memory, spills to an unlinked temporary file past
 * RAMET_JOURNAL_WINDOW, and is never synced.
 *
 * It is also where the VFS learns three things that SQLite tells nobody:
 *
 *   begun     a transaction has written pages, so that EXCLUSIVE is wanted
 *             for a spill or a commit and not by BEGIN EXCLUSIVE;
 *   full      synchronous=FULL: syncJournal() (pager.c) then syncs, writes
 *             the 12 bytes of the record count, and syncs again, while
 *             NORMAL only does the latter two;
 *   was_read  pages are put back: SQLite reads whole pages of its journal for
 *             that alone (syncJournal() looks for 8 bytes behind its end).
 *
 *   (1) Bytes [0, window_start) are in the spill file, [window_start, size)
 *       in memory; no spill file: window_start is 0.
 *   (2) In a child of fork() it can only be closed.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_JOURNAL_H
#define RAMET_VFS_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "vfs/api.h"

#define RAMET_JOURNAL_WINDOW (1u << 20)
/* Memory kept between transactions of a handle. */
#define RAMET_JOURNAL_KEEP (64u << 10)

/* Zeroed is a closed, empty journal. */
struct ramet_journal {
    bool is_open;
    bool begun;
    bool synced;
    bool full;
    bool was_read;       /* since ramet_journal_take_read() */
    unsigned fork_count; /* of the process that opened it */
    unsigned writes_since_sync;
    int last_write_length;
    uint64_t size;
    uint64_t window_start;
    uint64_t window_capacity;
    uint8_t *window;
    sqlite3_file *spill; /* opened on `under` when first needed */
    sqlite3_vfs *under;
};

/* Make `file` a handle on `journal`, which must be closed. With `owned` the
 * handle frees it when it is closed. `under` supplies temporary files. */
void ramet_journal_open(struct ramet_journal *journal, sqlite3_vfs *under,
                        sqlite3_file *file, bool owned);
/* What a file handle on a journal takes. */
int ramet_journal_handle_size(void);
/* A transaction ended: forget what was learnt of it. */
void ramet_journal_end(struct ramet_journal *journal);
/* Was a page of it read since it was asked this? */
static inline bool
ramet_journal_take_read(struct ramet_journal *journal)
{
    const bool was_read = journal->was_read;

    journal->was_read = false;
    return was_read;
}
/* Free memory and spill file. */
void ramet_journal_done(struct ramet_journal *journal);

/* The last commit asked for no more than synchronous=NORMAL. In doubt false. */
bool ramet_journal_says_normal(const struct ramet_journal *journal);

#endif
