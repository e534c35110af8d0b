/*
 * state.h - the state file, and the fold over records that it is a stage of.
 *
 * `state` holds who the replica is, what it is bound to, and the fold over all
 * records up to the oldest file of the log. Recovery, the checkpointer
 * and the pusher go on from there with ramet_fold_*().
 *
 *   (1) before the first remote commit all pages pend: `later` is 1 … count
 *   (2) pages of `in_flight` and `later` are within the sizes that the file
 *       had since they were written; past the least size, no image is zero
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_FORMAT_STATE_H
#define RAMET_CLIENT_STORE_FORMAT_STATE_H

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/format/unsynced.h"
#include "client/store/store.h"

#define RAMET_STATE_NAME "state"

/* Greatest `mark_now` and `mark_next`; 0: none. */
#define RAMET_MARK_TOKEN_MAX 0x3ffffu

/*
 * The numbers in the header that the base had when it was last clean. A native
 * SQLite that idles over it may remember them, so they are shown again only
 * with the same pages, and the same schema: sqliteformat/dbheader.h.
 */
struct ramet_clean_header {
    bool is_set; /* false: it never had a header */
    uint32_t counter, cookie;
    uint32_t own_counter, own_cookie; /* snapshot.counter, and the stored
                                         cookie, at that time */
};

struct ramet_state_file {
    struct ramet_replica_state fold;
    struct ramet_id base_id; /* in the replica mark; a copy keeps it */
    uint64_t host;           /* hash of what tells this machine */
    uint64_t lock_device, lock_inode;
    bool default_held;        /* presence 0 means held */
    bool presence_is_checked; /* its words have check bits */
    bool is_unsummed;         /* pages may be without a checksum; see sums.h */
    bool is_clean;    /* the base may have the true header; log is empty */
    bool is_adopting; /* ramet adopt was interrupted */
    bool is_lazy; /* a blob whose pages come as they are read; see exchange.h */
    /* What the base's inode says when nobody is at it; see base_check.h. */
    uint64_t base_device, base_inode, base_size;
    int64_t base_mtime_ns;
    int64_t base_ctime_ns; /* 0: not known */
    uint32_t mark_now;     /* the mark's token when nobody writes the base */
    uint32_t mark_next;    /* ... and what whoever changes it next puts there */
    uint64_t oldest_log;   /* log file that follows the fold */
    uint64_t oldest_fetched;
    /* A log file whose name lasts, and which has nothing that counts until its
     * salt is another; only if it is `oldest_log`'s. */
    uint64_t kept_log, kept_salt;
    unsigned copies; /* as it was read: slots.h */
    uint32_t base_page_count;
    uint32_t base_page_size;
    struct ramet_unsynced unsynced; /* none, unless it is clean */
    struct ramet_clean_header clean_header;
};

void ramet_state_file_done(struct ramet_state_file *state);
/* Choose what a clean base has in page 1 from now on. */
void ramet_state_choose_clean_header(struct ramet_state_file *state);
/* The first 100 bytes of a clean base: the stored ones with those numbers. */
void ramet_state_true_header(const struct ramet_state_file *state,
                             uint8_t out[RAMET_TRUE_HEADER_SIZE]);
/* Read and check. RAMET_ENOTFOUND if there is none. */
RAMET_NODISCARD enum ramet_rc
ramet_state_file_read(const struct ramet_os *os, int dir_fd,
                      struct ramet_state_file *out_state,
                      struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_state_file_write(const struct ramet_os *os, int dir_fd,
                       const struct ramet_state_file *state,
                       struct ramet_err *err);
/* The decoder alone, for the fuzzer. */
RAMET_NODISCARD enum ramet_rc
ramet_state_file_decode(const uint8_t *data, size_t len,
                        struct ramet_state_file *out_state,
                        struct ramet_err *err);

/* ---- fold_record.c -------------------------------------------------------- */

RAMET_NODISCARD enum ramet_rc
ramet_fold_copy(struct ramet_replica_state *dst,
                const struct ramet_replica_state *src, struct ramet_err *err);
/* A record: begin, then each of its frames in order, then end. */
RAMET_NODISCARD enum ramet_rc
ramet_fold_begin(struct ramet_replica_state *fold,
                 const struct ramet_trailer *trailer, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_fold_frame(struct ramet_replica_state *fold,
                 const struct ramet_trailer *trailer,
                 const struct ramet_logframe *frame, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_fold_end(struct ramet_replica_state *fold,
               const struct ramet_trailer *trailer, struct ramet_err *err);

#endif
