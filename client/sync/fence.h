/*
 * fence.h - making sure that bytes which may still be under way never land.
 *
 * What was sent for a slot, and got no answer, or an answer that the same bytes
 * may not get again, can't be called back. But a slot is taken once: a *fence*,
 * a commit that changes nothing, wins it, or finds it taken.
 *
 *   (1) a fence has the time of what it stands on, and no more than that: no
 *       clock keeps it out, and no history by time shows it
 *   (2) a replica that stands on what a fence stands on may stand on the fence,
 *       with all that is pending
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_FENCE_H
#define RAMET_CLIENT_SYNC_FENCE_H

#include "client/sync/sync.h"

/* Win the slot after `base`, the remote's newest, or find it taken. Needs the
 * push lock and a history. */
RAMET_NODISCARD enum ramet_rc
ramet_fence_slot(struct ramet_sync *sync, const struct ramet_head *base,
                 struct ramet_err *err);
/* Invariant (2): move on over the fences that come next, up to `newest_lsn`, the
 * remote's newest. Needs the push lock, a history, and no intent; brings the
 * state up to date. Whoever died between a fence and this is found again here,
 * and not taken for diverged. */
RAMET_NODISCARD enum ramet_rc
ramet_fence_pass(struct ramet_sync *sync, uint64_t newest_lsn,
                 struct ramet_err *err);

/*
 * The slot of the intent, which is `point`, is taken: by the intent itself, and
 * then it is durable; or by another, and then it is abandoned, and the replica
 * moves on to that if it is a fence. Needs the push lock and a history; brings
 * the state up to date.
 */
RAMET_NODISCARD enum ramet_rc
ramet_fence_conclude(struct ramet_sync *sync,
                     const struct ramet_remote_point *point,
                     struct ramet_err *err);

#endif
