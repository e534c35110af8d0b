/*
 * recent.h - what this process committed of late, as it was written: a checkpoint or
 * a push that folds the log need not read those records again.
 *
 *   (1) A record is noted when it is published: nobody takes it back any more.
 *   (2) It is found by its number and by the sum of the one before it, as in the
 *       log, so that it follows there whoever else wrote in between.
 *   (3) What is not here is read: records of other types and of other processes,
 *       large ones, and those that were forgotten.
 *   (4) It tells which pages were written, and where; not that they are whole there.
 *       Whoever reads one checks it.
 *   (5) Once a sync of the log failed nothing is found here: what the disk may have
 *       let go of is read, as whoever recovers would read it (log_sync.c).
 *
 * Thread-safe. Layer: client, store/log.
 */
#ifndef RAMET_CLIENT_STORE_LOG_RECENT_H
#define RAMET_CLIENT_STORE_LOG_RECENT_H

#include "client/store/format/frames.h"
#include "client/store/format/writeset.h"
#include "client/store/shared/replica.h"

#define RAMET_RECENT_FRAMES 6u /* of a record; one with more is not noted */

/* A record that commits, with what it wrote: as a scan of the log has it, but for the
 * frames' sums and what they replaced. */
struct ramet_recent_record {
    struct ramet_trailer trailer;
    uint32_t frame_count;
    struct ramet_logframe frames[RAMET_RECENT_FRAMES];
};

/* A record that is published now, and its pages. Write lock. */
void ramet_recent_note(struct ramet_replica *replica,
                       const struct ramet_trailer *trailer,
                       const struct ramet_writeset *writes);
/* Record `seq` that follows the one with the sum `prev`. */
bool ramet_recent_find(struct ramet_replica *replica, uint64_t seq,
                       uint64_t prev, struct ramet_recent_record *out);
/* Those before `end`: they are in the base. */
void ramet_recent_forget(struct ramet_replica *replica, struct ramet_pos end);
void ramet_recent_forget_all(struct ramet_replica *replica);
/* All of it, by who has the replica to himself, be it in a child of fork(). */
void ramet_recent_done(struct ramet_replica *replica);

#endif
