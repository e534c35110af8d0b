/*
 * deadline.c - see deadline.h.
 *
 * Layer: client.
 */
#include "client/volume/deadline.h"

#include <assert.h>
#include <inttypes.h>

#define STEP_MS 20u /* how soon an interrupt is seen */

static bool
is_over(void *ctx)
{
    const struct ramet_deadline *const d = ctx;

    assert(d->os != NULL && d->inner != &d->base);
    return d->os->mono_ns(d->os->ctx) >= d->until_ns ||
           (d->inner != NULL && d->inner->is_over(d->inner->ctx));
}

static bool
wait_a_little(void *ctx)
{
    const struct ramet_deadline *const d = ctx;

    assert(d->os != NULL);
    d->os->sleep_us(d->os->ctx, STEP_MS * 1000u);
    return !is_over(ctx);
}

void
ramet_deadline_begin(struct ramet_deadline *d, struct ramet_file *file,
                     uint64_t timeout_ms)
{
    *d = (struct ramet_deadline){
        .base = {.wait = wait_a_little, .is_over = is_over, .ctx = d},
        .inner = file->patience,
        .os = file->os,
        .until_ns = file->os->mono_ns(file->os->ctx) + timeout_ms * 1000000u};
    assert(d->inner != &d->base);
    file->patience = &d->base;
}

void
ramet_deadline_end(const struct ramet_deadline *d, struct ramet_file *file)
{
    assert(file->patience == &d->base);
    file->patience = d->inner;
}

bool
ramet_deadline_is_over(const struct ramet_deadline *d)
{
    assert(d->base.ctx == d);
    return d->base.is_over(d->base.ctx);
}

bool
ramet_deadline_wait(struct ramet_deadline *d)
{
    assert(d->base.ctx == d);
    return d->base.wait(d->base.ctx);
}

bool
ramet_deadline_may_pass(enum ramet_rc rc)
{
    return rc == RAMET_EUNREACHABLE || rc == RAMET_ETIMEOUT ||
           rc == RAMET_EUNKNOWN || rc == RAMET_EBUSY ||
           rc == RAMET_ECANCELLED || rc == RAMET_ESNAPSHOT;
}

enum ramet_rc
ramet_deadline_in_vain(const struct ramet_file *file,
                       const struct ramet_deadline *d, const char *what,
                       uint64_t timeout_ms, const struct ramet_err *last,
                       struct ramet_err *err)
{
    assert(file->patience == &d->base);
    if (d->inner != NULL && d->inner->is_over(d->inner->ctx))
        return RAMET_FAIL(err, RAMET_ECANCELLED, "%s: the wait was cancelled",
                          file->path);
    return RAMET_FAIL(err, RAMET_ETIMEOUT,
                      "%s: %s after %" PRIu64 " ms%s%.250s", file->path, what,
                      timeout_ms, last->code != RAMET_OK ? ": " : "",
                      last->code != RAMET_OK ? last->text : "");
}
