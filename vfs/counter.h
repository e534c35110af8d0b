/*
 * counter.h - commits that change nothing of page 1 but SQLite's counter.
 *
 * In rollback mode SQLite writes page 1 with each commit, to count it; in WAL
 * mode it does not. Here the record's trailer has the counter, and what page 1
 * shows comes from there (page1.h), so that such a write can be left out:
 * half of a one-row commit.
 *
 *   (1) Left out is only a page 1 that equals the snapshot's but for bytes
 *       24-27 and 92-95, and counts on by one: the number that a commit
 *       without page 1 gets. Until it is published, reads show that number.
 *   (2) Each handle writes page 1 at least with its first commit, and always
 *       once there is a remote: the header of a clean file, and of each LSN,
 *       differs from the one before, for those who go by it.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_COUNTER_H
#define RAMET_VFS_COUNTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/replica.h"

/* Zeroed knows nothing. */
struct ramet_counter {
    uint8_t *page; /* page 1 as stored ... */
    size_t page_capacity;
    size_t page_length;
    uint64_t seq; /* ... in the snapshot of this number, if is_known */
    bool is_known;
    bool is_pending;  /* `page` was written, and is not published yet */
    bool was_written; /* by this handle, invariant (2) */
    bool is_left_out; /* in the transaction that is going on */
};

void ramet_counter_done(struct ramet_counter *counter);
/* Page 1 was read from the snapshot, as stored. */
void ramet_counter_saw(struct ramet_counter *counter,
                       const struct ramet_snapshot *snapshot,
                       const uint8_t *page, size_t len);
/* May this write of page 1 be left out? Remembers it if so. */
bool ramet_counter_leaves_out(struct ramet_counter *counter,
                              const struct ramet_snapshot *snapshot,
                              const uint8_t *page, size_t len);
/* Page 1, or a part of it (`page` NULL), was written to the transaction. */
void ramet_counter_wrote(struct ramet_counter *counter, const uint8_t *page,
                         size_t len);
/* The transaction was published, as `snapshot`, on top of `base_seq`. */
void ramet_counter_published(struct ramet_counter *counter, uint64_t base_seq,
                             const struct ramet_snapshot *snapshot);
/* It was given up. */
void ramet_counter_dropped(struct ramet_counter *counter);

#endif
