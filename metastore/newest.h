/*
 * newest.h - what the store says of a line's end, for who appends to it.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_NEWEST_H
#define RAMET_METASTORE_NEWEST_H

#include "metastore/history_core.h"

/* RAMET_EWENTBACK, in words: commit `lsn` is gone or another. */
enum ramet_rc ramet_history_went_back(const struct ramet_history *history,
                                      uint64_t lsn, struct ramet_err *err);
/* The same: an end stands where the line ended. */
enum ramet_rc ramet_history_was_deleted(const struct ramet_history *history,
                                        struct ramet_err *err);
/* Is there a commit `lsn`? A request. */
RAMET_NODISCARD enum ramet_rc
ramet_history_has(struct ramet_history *history, uint64_t lsn, bool *out_has,
                  struct ramet_err *err);
/* There is no commit 1. The LSN of the volume's end, if that is what stands above;
 * else 0: it has no commit. */
RAMET_NODISCARD enum ramet_rc
ramet_history_find_end(struct ramet_history *history, uint64_t *out_end,
                       struct ramet_err *err);

#endif
