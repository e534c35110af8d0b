/*
 * refusal.h - what a remote does not take, though nobody else was first.
 *
 *   (1) a refusal loses nothing: what was to go stays pending, and an intent
 *       stays as it was, for whatever made the remote refuse may pass
 *   (2) a commit that the remote's clock would refuse is not made
 *   (3) an intent whose very bytes were refused is made anew only where that
 *       fares better, and only after the old bytes were fenced
 *
 * Rights, quotas and sizes are the remote's affair: the same bytes are as good
 * later. Not so a time that was too far ahead, since it is in the bytes; nor
 * segments that the store has lost.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_REFUSAL_H
#define RAMET_CLIENT_SYNC_REFUSAL_H

#include "client/sync/sync.h"

/* Invariant (2), by what the remote said of its clock last; it is asked for
 * nothing. RAMET_ECLOCK: a commit on top of `base` would be too far ahead. */
RAMET_NODISCARD enum ramet_rc
ramet_refusal_by_clock(struct ramet_replica_sync *replica_sync,
                       struct ramet_remote_client *client,
                       const struct ramet_head *base, struct ramet_err *err);
/*
 * The intent in `object` was refused with `err`, by RAMET_ECLOCK or
 * RAMET_EREFUSED. RAMET_OK: it is resolved, in that it landed after all, or by
 * invariant (3) was abandoned; the state is up to date. Else the refusal, or
 * what went wrong at that.
 */
RAMET_NODISCARD enum ramet_rc
ramet_refusal_resolve(struct ramet_sync *sync, const uint8_t *object,
                      size_t len, struct ramet_err *err);
/* For who gives up what was refused: see to it that it can't land after all. */
RAMET_NODISCARD enum ramet_rc
ramet_refusal_fence(struct ramet_sync *sync, struct ramet_err *err);
static inline bool
ramet_refusal_is_one(enum ramet_rc rc)
{
    return rc == RAMET_ECLOCK || rc == RAMET_EREFUSED;
}

#endif
