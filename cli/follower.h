/*
 * follower.h - one file that `ramet sync --follow` keeps in step.
 *
 *   (1) A local commit, of whatever process, is noticed within 20 ms: looking
 *       costs a pin, no system call.
 *   (2) The remote is asked every interval; after a failure the interval
 *       doubles, to a minute, and one success brings it back.
 *   (3) On a stop, what is pending is pushed once more.
 *   (4) A file that goes away, or can't be opened, is waited for. What was found
 *       in a directory, and is gone or has no remote, is nobody's failure.
 *
 * Each has a thread, so that a remote that does not answer holds up no other.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_FOLLOWER_H
#define RAMET_CLI_FOLLOWER_H

#include <stdatomic.h>

#include "cli/verb.h"
#include "client/volume/file.h"
#include "core/thread.h"

struct cli_follower {
    struct cli_follower *next;
    const struct cli_args *args;
    char *path;
    bool is_found; /* in a directory: invariant (4) */
    uint64_t interval_ms;
    struct ramet_thread thread;
    _Atomic bool is_over; /* it was found, and is gone: to be joined */
    /* The thread's own, and others' once it has ended. */
    struct ramet_file *file;
    uint64_t pause_ms; /* until the next try; interval_ms unless failing */
    uint64_t told_lsn;
    uint64_t seen_seq;   /* local record up to which all was pushed */
    enum ramet_rc state; /* of the last try */
};

/* Zeroed but for args, path, is_found and interval_ms; `file` if it is open. */
RAMET_NODISCARD enum ramet_rc
cli_follower_start(struct cli_follower *follower, struct ramet_err *err);
/* Wait for its end, which a stop brings; free it. Gives what it ended with. */
enum ramet_rc cli_follower_end(struct cli_follower *follower);

#endif
