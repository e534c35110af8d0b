/*
 * super.h - SQLite's super-journals.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_SUPER_H
#define RAMET_CLIENT_STORE_SHARED_SUPER_H

#include "client/store/shared/session.h"

/* May this record of a dead writer be applied? With a super-journal that is
 * still there it may not. */
RAMET_NODISCARD enum ramet_rc
ramet_super_decide(struct ramet_replica *replica,
                   const struct ramet_trailer *trailer, bool *out_apply,
                   struct ramet_err *err);
/* The record is void now: delete the super-journal unless a journal that it
 * lists still needs it. */
RAMET_NODISCARD enum ramet_rc
ramet_super_forget(struct ramet_replica *replica,
                   const struct ramet_trailer *trailer, struct ramet_err *err);
/* Remove <base>-journal if it is exactly the trailer that goes with a prepared
 * record, and the super-journal that it names if nobody needs that any more.
 * Needs the write lock, and nothing prepared. */
RAMET_NODISCARD enum ramet_rc
ramet_super_clean(struct ramet_replica *replica, struct ramet_err *err);
/* Where some were made and not deleted: delete the super-journals beside the
 * base that nobody needs. Needs the write lock; `is_alone`: nobody else has the
 * file open. */
void ramet_super_sweep(struct ramet_replica *replica, bool is_alone);

#endif
