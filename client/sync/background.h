/*
 * background.h - what pushes and pulls for a replica by itself (sync=auto).
 *
 * One per replica and process, started by the first file that wants it; it takes
 * turns with those of others on the process's few threads (core/crew.h). It is
 * woken by commits of this process, and looks by itself for those of others
 * and for remote ones. When to push is the pacer's decision (pacer.h). After
 * a failure it waits, from 0.2 s on twice as long each time up to 30 s, give
 * or take a quarter; when local and remote history have parted it only looks
 * whether they still have.
 *
 * Where the remote can tell of commits by itself (its `wait` hook), a thread of
 * its own listens, the less the more often what it hears does not come true; else
 * it polls, every 0.2 s while something goes on, up to every 5 s when not.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_BACKGROUND_H
#define RAMET_CLIENT_SYNC_BACKGROUND_H

#include "client/store/store.h"

#define RAMET_ONLY_FOLLOWS UINT64_MAX

struct ramet_replica_sync;
struct ramet_background;

/*
 * Start it for `replica_sync`, unless it runs, and join it. `session` is the calling
 * thread's. It pulls and does nothing else (sync.h, invariant (5)) but for the
 * time in which files are joined that may push: `push_interval_ms` after a
 * commit (the first one's counts); RAMET_ONLY_FOLLOWS: this one may not.
 */
RAMET_NODISCARD enum ramet_rc
ramet_background_start(struct ramet_replica_sync *replica_sync,
                       struct ramet_session *session, uint64_t push_interval_ms,
                       struct ramet_err *err);
/* A file that may push is closed: the last one waits up to `wait_ms` for a push
 * of what is left. */
void
ramet_background_leave(struct ramet_background *background, uint64_t wait_ms);
/* A commit was published. Cheap: no lock and no system call while a push is
 * due anyway. NULL is fine. */
void ramet_background_wake(struct ramet_background *background);
/* Something was done that may have mended what it failed at: it tries again
 * now. NULL is fine. */
void ramet_background_retry(struct ramet_background *background);
/* Stop and free it. NULL is fine. */
void ramet_background_stop(struct ramet_background *background);

#endif
