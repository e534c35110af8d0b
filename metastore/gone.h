/*
 * gone.h - what became of a commit that was there: of its volume, or of the store.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_GONE_H
#define RAMET_METASTORE_GONE_H

#include "metastore/history_core.h"

/* Each tells RAMET_EWENTBACK, in words. */

/* An end stands where the line ended. */
enum ramet_rc ramet_history_was_deleted(const struct ramet_history *history,
                                        struct ramet_err *err);
/* Commit `lsn`, which was there, is not. Looks whether the volume was deleted: some
 * requests; where nobody can tell just now, the store went back. */
enum ramet_rc ramet_history_is_gone(const struct ramet_history *history,
                                    uint64_t lsn, struct ramet_err *err);
/* Another commit than the one that was there has that number. */
enum ramet_rc ramet_history_is_another(const struct ramet_history *history,
                                       uint64_t lsn, struct ramet_err *err);

#endif
