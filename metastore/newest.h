/*
 * newest.h - what the store says of a line's end, for who appends to it.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_NEWEST_H
#define RAMET_METASTORE_NEWEST_H

#include "metastore/history_core.h"

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
