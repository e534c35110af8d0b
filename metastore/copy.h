/*
 * copy.h - a volume with its whole history, from one store into another.
 *
 * The same objects under the same keys: what has the copy has the volume, with
 * its id, its commits and their hashes. So it can be read, verified, cloned and
 * pulled from like the original, and copied again to bring what came since.
 *
 *   (1) A commit is put when everything that it names has arrived: its segments,
 *       their dictionaries, its page map and the maps that this one refers to.
 *       So a copy that was cut short is a volume that ends earlier.
 *   (2) What arrives is read back and compared with the hashes that lead to it
 *       from the commit, before a commit names it there; damage at the source
 *       gets no further.
 *   (3) Nothing is overwritten. A target whose line is no beginning of the
 *       source's is refused before anything is put.
 *
 * Layer: metastore.
 */
#ifndef RAMET_METASTORE_COPY_H
#define RAMET_METASTORE_COPY_H

#include "metastore/history.h"

struct ramet_copy_progress {
    uint64_t lsn;       /* the target has the commits up to here */
    uint64_t lsn_total; /* and will have them up to here */
    uint64_t commits;   /* that this call put */
    uint64_t objects;   /* commits and all else that it put */
    uint64_t bytes;     /* of them */
};

/* Called now and then by one thread at a time; false stops the copying. */
typedef bool
ramet_copy_step(void *ctx, const struct ramet_copy_progress *progress);

/*
 * Bring the commits of `from` up to and including `upto` (one of its heads) into
 * the store of `to`, a history of the same volume, and all that they name. Up to
 * eight objects are under way at once. Goes on where an earlier call stopped;
 * with nothing new it costs a look at the newest commit of the target and one at
 * the same commit of the source. *out_progress is what was done, also on failure.
 *
 * RAMET_ECONFLICT: the target has commits that `from` lacks; nothing was put.
 * RAMET_ECORRUPT: an object is damaged, here or there; what it is needed for
 * was not put. RAMET_ECANCELLED: `step` said so. Or any code of a store.
 */
RAMET_NODISCARD enum ramet_rc
ramet_history_copy(struct ramet_history *from, const struct ramet_head *upto,
                   struct ramet_history *to, ramet_copy_step *step, void *ctx,
                   struct ramet_copy_progress *out_progress,
                   struct ramet_err *err);

#endif
