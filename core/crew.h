/*
 * crew.h - a process's threads for what many have to do now and then.
 *
 * Each member says when it wants to be called again; a few threads call those
 * that are due. So a thousand replicas that push and look for news now and then
 * need no thread each, and one that waits for its remote holds up no other as
 * long as fewer than RAMET_CREW_MAX do.
 *
 *   (1) A member is called by one thread at a time, and what one call did the
 *       next one sees.
 *   (2) A wake during a call is not lost: the member is called once more.
 *   (3) When ramet_crew_leave() returns the member is not being called, and will
 *       not be. The last one's leave ends the threads.
 *   (4) A child of fork() has a crew of its own, without members; its parent's
 *       are not its.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_CREW_H
#define RAMET_CORE_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define RAMET_CREW_MAX 32u /* threads, each for as long as it is needed */

struct ramet_crew_member {
    /* The member's: what it has to do; in how many ms to call it again. */
    uint64_t (*work)(void *ctx);
    void *ctx;
    /* The crew's. */
    uint64_t due_ms;
    size_t place; /* in the queue, from 1; 0: not in it */
    bool runs, again, leaves;
};

/* `member` has `work` and `ctx`; it is called as soon as possible. RAMET_ENOMEM,
 * or what a thread's start came to: it did not join. */
RAMET_NODISCARD enum ramet_rc
ramet_crew_join(struct ramet_crew_member *member, struct ramet_err *err);
/* Call it as soon as possible. Cheap. */
void ramet_crew_wake(struct ramet_crew_member *member);
/* Not from a member's own call. */
void ramet_crew_leave(struct ramet_crew_member *member);

#endif
