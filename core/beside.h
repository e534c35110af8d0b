/*
 * beside.h - one thing done on a thread of its own while its caller does another,
 * and then waits for it: two requests that need nothing of each other, say.
 *
 *   (1) The caller's waiter (waiting.h) is asked by the caller's thread alone;
 *       that it has had enough reaches the other thread.
 *   (2) Where no thread can be had it is done first, on the caller's.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_BESIDE_H
#define RAMET_CORE_BESIDE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "core/err.h"
#include "core/thread.h"

typedef enum ramet_rc ramet_beside_run(void *ctx, struct ramet_err *err);

struct ramet_beside {
    ramet_beside_run *run;
    void *ctx;
    struct ramet_thread thread;
    struct ramet_mutex mutex;
    struct ramet_cond ended;
    bool done; /* mutex */
    atomic_bool had_enough;
    enum ramet_rc rc;
    struct ramet_err err;
};

/* `run` begins; what it works with stays as it is until the end. `name` as of
 * ramet_thread_start(). */
void ramet_beside_start(struct ramet_beside *beside, const char *name,
                        ramet_beside_run *run, void *ctx);
/* Nobody needs it any more: its waiter is over. */
void ramet_beside_give_up(struct ramet_beside *beside);
/* Waits for its end, once: what it came to. */
RAMET_NODISCARD enum ramet_rc
ramet_beside_end(struct ramet_beside *beside, struct ramet_err *err);

#endif
