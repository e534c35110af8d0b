/*
 * copy_impl.h - what copying a volume is made of.
 *
 *   copy_jobs.c     workers that take jobs in their order
 *   copy_objects.c  bringing objects, and verifying what arrived
 *   copy.c          commit after commit, and the whole
 *
 * Workers take jobs in their order: first the page maps, each a job, then
 * the commits. A worker brings what its commit names, verifies it at the
 * target, waits until the commit before has been put, and puts its own. So
 * objects travel side by side, and commits one after another.
 *
 * copy.h has invariants (1) to (3).
 *
 *   (4) A job is taken only when those before it were: whoever waits for its
 *       turn waits for somebody at work.
 *   (5) The first failure ends all: no job is taken after it, no turn comes.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_COPY_IMPL_H
#define RAMET_METASTORE_COPY_IMPL_H

#include "core/thread.h"
#include "metastore/copy.h"
#include "metastore/verify.h"

#define RAMET_COPY_PIECE_BYTES (1u << 20)

struct ramet_copying {
    struct ramet_history *from, *to;
    struct ramet_map_list maps; /* of the source, up to the last commit */
    uint64_t first_lsn;         /* that the target lacks */
    uint64_t trusted_map_lsn;   /* maps up to here were verified there before */
    ramet_copy_step *step;
    void *ctx;
    struct ramet_mutex mutex; /* guards what follows */
    struct ramet_cond turn;
    uint64_t next_job;
    uint64_t job_count;
    enum ramet_rc (*job)(void *worker, uint64_t index, struct ramet_err *err);
    struct ramet_copy_progress progress;
    enum ramet_rc rc; /* the first failure, invariant (5) */
    struct ramet_err err;
};

struct ramet_copy_worker {
    struct ramet_copying *copy;
    struct ramet_verify source; /* objects there */
    struct ramet_verify target; /* and those that arrived */
    struct ramet_err damage;    /* the first that either has found */
    struct ramet_sid last_dict; /* which was verified last */
    uint8_t *piece;             /* RAMET_COPY_PIECE_BYTES */
    struct ramet_thread thread;
};

/* ---- copy_jobs.c ----------------------------------------------------------- */

/* Under the mutex: a failure, if it is the first; who waits is woken. */
void ramet_copy_fail(struct ramet_copying *copy, enum ramet_rc rc,
                     const struct ramet_err *err);
/* Under the mutex: tell how far it is; a stop counts as a failure. */
void ramet_copy_tell(struct ramet_copying *copy);
/* Do jobs 0 to `count` - 1; the first failure of any. */
RAMET_NODISCARD enum ramet_rc
ramet_copy_run(struct ramet_copying *copy, uint64_t count,
               enum ramet_rc (*job)(void *worker, uint64_t index,
                                    struct ramet_err *err),
               struct ramet_err *err);
/* One more object was put. */
void ramet_copy_count(struct ramet_copying *copy, uint64_t bytes);
bool ramet_copy_is_ended(struct ramet_copying *copy);

/* ---- copy_objects.c -------------------------------------------------------- */

/* A job: page map `index` of the list. */
enum ramet_rc
ramet_copy_map(void *worker, uint64_t index, struct ramet_err *err);
/* All that a commit names: invariant (1). Its inline segment travels with it, and is
 * looked at where it comes from. */
RAMET_NODISCARD enum ramet_rc
ramet_copy_named(struct ramet_copy_worker *worker,
                 const struct ramet_loaded_head *head, struct ramet_err *err);

#endif
