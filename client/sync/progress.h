/*
 * progress.h - how far a verb is, and what it did.
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_PROGRESS_H
#define RAMET_CLIENT_SYNC_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "metastore/commit.h"

/* ---- sync verbs. None may be called inside a write transaction of this
 * file (RAMET_EINVAL). They block; progress is optional. A file that was opened
 * for reading only (RAMET_OPEN_READONLY) refuses them with RAMET_EREADONLY,
 * whatever other files of the process may do to the same replica; with
 * RAMET_OPEN_PULL it may fetch and pull, and a pull of its does nothing else:
 * no commit is resolved, no volume bound. ------------------------------------ */
struct ramet_progress {
    const char *verb; /* "push", "hydrate", … */
    const char *unit; /* what is counted; NULL: "pages" */
    uint64_t pages_done, pages_total;
    uint64_t bytes_done, bytes_total; /* compressed, over the wire */
};

typedef bool ramet_progress_fn(void *ctx, const struct ramet_progress *p);

struct ramet_sync_result {
    uint64_t durable_lsn;
    uint64_t remote_lsn;
    uint64_t pages;
    /* Of a push: those of the pages that were sent as deltas. Of a look for them: of
     * the remote's newest content commit. */
    struct ramet_delta_counts deltas;
    uint64_t bytes; /* sent or fetched */
    uint64_t requests;
    uint64_t
        pulled_commits; /* of the remote, that this replica stands on now */
    uint64_t pushed_commits; /* local ones, that the remote has now */
};

#endif
