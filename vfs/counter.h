/*
 * counter.h - commits that change nothing of page 1 but SQLite's counter.
 *
 * In rollback mode SQLite writes page 1 with each commit, to count it; in WAL
 * mode it does not. What it reads there is its handle's own number (page1.h),
 * so that such a write can be left out: half of a one-row commit.
 *
 *   (1) Left out is only a page 1 that equals what SQLite last read or wrote,
 *       but for bytes 24-27 and 92-95, of the snapshot that is pinned.
 *   (2) The first commit after the replica was opened, and after each record
 *       that is no commit (an intent, what landed, a pull), writes page 1: the
 *       header of a clean file, and of each LSN, differs from the one before,
 *       for those who go by it.
 *   (3) Where nothing else was written there is nothing to commit: who sets
 *       `user_version` to what it is makes no commit, and pushes none.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_COUNTER_H
#define RAMET_VFS_COUNTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/store/store.h"

/* Zeroed knows nothing. */
struct ramet_counter {
    uint8_t *page; /* page 1 as SQLite last read or wrote it ... */
    size_t page_capacity;
    size_t page_length;
    uint64_t pages_seq; /* ... in snapshots with this one, if is_known */
    bool is_known;
    bool is_pending; /* `page` was written, and is not published yet */
};

void ramet_counter_done(struct ramet_counter *counter);
/* Page 1 was read from the snapshot, and shown like this. */
void ramet_counter_saw(struct ramet_counter *counter,
                       const struct ramet_snapshot *snapshot,
                       const uint8_t *page, size_t len);
/* Is this write of page 1 one that only counts? By invariant (1). */
bool ramet_counter_only_counts(const struct ramet_counter *counter,
                               const struct ramet_snapshot *snapshot,
                               const uint8_t *page, size_t len);
/* Page 1, or a part of it (`page` NULL), was written to the transaction. */
void ramet_counter_wrote(struct ramet_counter *counter, const uint8_t *page,
                         size_t len);
/* The transaction was published, as `snapshot`, on top of `base_pages_seq`. */
void
ramet_counter_published(struct ramet_counter *counter, uint64_t base_pages_seq,
                        const struct ramet_snapshot *snapshot);
/* It was given up. */
void ramet_counter_dropped(struct ramet_counter *counter);

#endif
