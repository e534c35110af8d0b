/*
 * go_back.h - through all commits, the newest first: where several reads take as
 * long as one, ever more heads are read at a time.
 *
 * Layer: metastore.
 */
#ifndef RAMET_METASTORE_GO_BACK_H
#define RAMET_METASTORE_GO_BACK_H

#include "metastore/history.h"

/* How far heads were brought; zeros before the first commit. One thread's. */
struct ramet_history_back {
    uint64_t brought; /* from this LSN on */
    uint64_t at_once; /* the last time */
};

/* Commit `lsn` as ramet_history_commit() gives it, the one below the one before.
 * Nothing below `least`, which is 1 or more, is brought. */
RAMET_NODISCARD enum ramet_rc
ramet_history_go_back(struct ramet_history *history,
                      struct ramet_history_back *back, uint64_t lsn,
                      uint64_t least, struct ramet_commit_object *out_commit,
                      struct ramet_err *err);

#endif
