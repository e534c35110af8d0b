/*
 * logscan.h - reading the log record by record.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_STORE_LOG_LOGSCAN_H
#define RAMET_CLIENT_STORE_LOG_LOGSCAN_H

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/shared/session.h"

struct ramet_scan {
    struct ramet_replica *replica;
    uint64_t oldest; /* no log file before it is looked at */
    struct ramet_frame_file *file;
    uint8_t *window;
    size_t window_len;
    uint64_t window_offset;
    uint64_t window_number;
    struct ramet_pos
        final_until; /* what is before it was published: no longer changes */
    struct ramet_trailer trailer; /* of the record last read */
};

void ramet_scan_init(struct ramet_scan *scan, struct ramet_replica *replica);
void ramet_scan_done(struct ramet_scan *scan);
/*
 * Read the record at `pos` into scan->trailer. *out_found is false where there
 * is no complete record (or no such log file): not an error. The pages are
 * read as well: a header's checksum is theirs, too.
 */
RAMET_NODISCARD enum ramet_rc
ramet_scan_record(struct ramet_scan *scan, struct ramet_pos pos,
                  bool *out_found, struct ramet_err *err);

/* Each frame of scan->trailer's record, in order; it was checked just now. */
typedef enum ramet_rc
ramet_logframe_visit(void *ctx, const struct ramet_logframe *frame,
                     struct ramet_err *err);

RAMET_NODISCARD enum ramet_rc
ramet_scan_frames(struct ramet_scan *scan, ramet_logframe_visit *visit,
                  void *ctx, struct ramet_err *err);
/* Where the record after the one that ends at `tail` may stand: there, or at
 * the start of the next log file, whichever has a complete record that
 * follows `prev`. False: it was the last. */
RAMET_NODISCARD enum ramet_rc
ramet_scan_next(struct ramet_scan *scan, struct ramet_pos tail, uint64_t prev,
                bool *out_found, struct ramet_err *err);
/* Records from fold->newest.tail to the end (or the one with tail `until`), into the
 * fold and, unless NULL, `visit`ed page by page. What this process committed of late
 * is not read (recent.h): such frames have no sum, nor what they replaced. */
RAMET_NODISCARD enum ramet_rc
ramet_scan_fold(struct ramet_scan *scan, struct ramet_replica_state *fold,
                struct ramet_pos until, ramet_logframe_visit *visit,
                void *visit_ctx, struct ramet_err *err);

struct ramet_scan; /* logscan.h */

#endif
