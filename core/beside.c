/*
 * beside.c - see beside.h.
 *
 * Layer: core.
 */
#include "core/beside.h"

#include <string.h>

#include "core/waiting.h"

#define LOOK_MS                                                                \
    50u /* how often the caller is asked whether it has had enough */

static bool
had_enough(void *ctx)
{
    return atomic_load(&((struct ramet_beside *)ctx)->had_enough);
}

static void *
run_it(void *arg)
{
    struct ramet_beside *const beside = arg;
    const struct ramet_waiter waiter = {.is_over = had_enough, .ctx = beside};
    enum ramet_rc rc;

    (void)ramet_waiting_set(&waiter);
    rc = beside->run(beside->ctx, &beside->err);
    ramet_mutex_lock(&beside->mutex);
    beside->rc = rc;
    beside->done = true;
    ramet_cond_signal(&beside->ended);
    ramet_mutex_unlock(&beside->mutex);
    return NULL;
}

void
ramet_beside_start(struct ramet_beside *beside, const char *name,
                   ramet_beside_run *run, void *ctx)
{
    memset(beside, 0, sizeof(*beside));
    ramet_mutex_init(&beside->mutex);
    ramet_cond_init(&beside->ended);
    beside->run = run;
    beside->ctx = ctx;
    if (ramet_thread_start(&beside->thread, name, run_it, beside, NULL) ==
        RAMET_OK)
        return;
    beside->rc = run(ctx, &beside->err); /* invariant (2) */
    beside->done = true;
}

void
ramet_beside_give_up(struct ramet_beside *beside)
{
    atomic_store(&beside->had_enough, true);
}

enum ramet_rc
ramet_beside_end(struct ramet_beside *beside, struct ramet_err *err)
{
    bool done = false;

    while (!done) {
        if (ramet_waiting_is_over()) /* invariant (1) */
            ramet_beside_give_up(beside);
        ramet_mutex_lock(&beside->mutex);
        if (!beside->done)
            (void)ramet_cond_wait_ms(&beside->ended, &beside->mutex, LOOK_MS);
        done = beside->done;
        ramet_mutex_unlock(&beside->mutex);
    }
    ramet_thread_join(&beside->thread);
    ramet_cond_done(&beside->ended);
    ramet_mutex_done(&beside->mutex);
    if (beside->rc != RAMET_OK && err != NULL)
        *err = beside->err;
    return beside->rc;
}
