/*
 * parts.c - many ranged reads at a time.
 *
 *   (1) At most AT_ONCE of one call are under way; the first of another goes before
 *       those that wait for their turn (engine.h).
 *   (2) Parts are visited as they come, on the caller's thread; when the call
 *       returns none is under way, and nothing writes to its buffers.
 *   (3) One that fails is asked for once more alone, with all its tries.
 *   (4) One that takes longer than nearly all before it is asked for a second time,
 *       once: hedge.h says when.
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/waiting.h"
#include "pagestore/s3/answer.h"
#include "pagestore/s3/s3store_impl.h"

#define AT_ONCE 128u

struct slot {
    const struct ramet_part *part;
    char full[RAMET_S3_KEY_MAX];
    struct ramet_s3_request request;
    struct ramet_s3_try a_try;
    struct ramet_s3_try *second; /* NULL: it was not asked for again */
    bool may_hedge;
};

struct reading {
    struct ramet_s3store *s3;
    ramet_part_visit *visit;
    void *ctx;
    struct slot *slots[AT_ONCE]; /* the first `busy` are under way */
    unsigned busy;
};

static void
slot_free(struct slot *slot)
{
    assert(slot == NULL || slot->a_try.headers == NULL); /* it ended */
    if (slot != NULL)
        ramet_s3_keys_wipe(&slot->a_try.keys);
    ramet_free(slot);
}

static enum ramet_rc
begin(struct reading *r, const struct ramet_part *part, struct ramet_err *err)
{
    struct slot *const slot = r->slots[r->busy];
    enum ramet_rc rc;

    assert(r->busy < AT_ONCE && slot != NULL); /* invariant (1) */
    slot->part = part;
    ramet_s3store_key(r->s3, part->key, slot->full);
    slot->request = (struct ramet_s3_request){.method = "GET",
                                              .kind = RAMET_REQUEST_GET,
                                              .key = slot->full,
                                              .has_range = true,
                                              .range_offset = part->offset,
                                              .range_length = part->len,
                                              .hedge = r->s3->hedge,
                                              .rank = r->busy,
                                              .answer_max = part->len};
    slot->second = NULL;
    slot->may_hedge = ramet_s3_may_hedge(&slot->request);
    if (!slot->may_hedge) /* else two may come */
        slot->request.into = part->buf;
    rc = ramet_s3_try_start(&r->s3->caller, &slot->request, &slot->a_try, err);
    if (rc == RAMET_OK)
        r->busy++;
    return rc;
}

/* Its slot goes behind those that are under way. */
static struct slot *
take_out(struct reading *r, unsigned at)
{
    struct slot *const slot = r->slots[at];

    assert(at < r->busy && r->busy <= AT_ONCE);
    r->slots[at] = r->slots[--r->busy];
    r->slots[r->busy] = slot;
    return slot;
}

/* All of the part; or, if that will do, what there is up to the object's end. */
static bool
is_whole(const struct ramet_s3_exchange *x, const struct ramet_part *part)
{
    const size_t got = ramet_s3_exchange_received(x);

    assert(x->done);
    if (x->code != CURLE_OK || x->status != 206)
        return false;
    return got == part->len || (part->to_end && got < part->len &&
                                x->has_total && x->total == part->offset + got);
}

static enum ramet_rc
end(struct reading *r, struct slot *slot, struct ramet_err *err)
{
    const struct ramet_part *const part = slot->part;
    struct ramet_s3_exchange *const x = &slot->a_try.exchange;
    size_t got;
    enum ramet_rc rc = RAMET_OK;

    ramet_s3_try_end(&r->s3->caller, &slot->request, &slot->a_try);
    got = ramet_s3_exchange_received(x);
    if (is_whole(x, part)) {
        if (x->answer.len > 0) /* else it is there already */
            memcpy(part->buf, x->answer.data, got);
    } else if (x->cancelled)
        rc = RAMET_FAIL(err, RAMET_ECANCELLED, "%s: GET %s: cancelled",
                        r->s3->name, part->key);
    else /* invariant (3) */
        rc = ramet_objstore_read_part(&r->s3->base, part, &got, err);
    ramet_buf_done(&x->answer);
    assert(rc != RAMET_OK || got <= part->len);
    return rc == RAMET_OK ? r->visit(r->ctx, part, got, err) : rc;
}

/* After how long one of them is late; UINT64_MAX: none may be asked for again. */
static uint64_t
late_after_ms(const struct reading *r)
{
    assert(r->busy > 0 && r->busy <= AT_ONCE);
    for (unsigned i = 0; i < r->busy; i++)
        if (r->slots[i]->may_hedge)
            return ramet_s3_hedge_wait_ms(&r->s3->caller,
                                          &r->slots[i]->request);
    return UINT64_MAX;
}

/* Those that are late are asked for again, if they may be: invariant (4). */
static void
hedge_late(struct reading *r, uint64_t after_ms)
{
    const struct ramet_s3_caller *const caller = &r->s3->caller;

    for (unsigned i = 0; i < r->busy; i++) {
        struct slot *const slot = r->slots[i];

        if (!slot->may_hedge || ramet_s3_late_in_ms(&slot->a_try, after_ms) > 0)
            continue;
        slot->may_hedge = false;
        assert(slot->second == NULL);
        /* Others may have been the ones that may, meanwhile. */
        if (ramet_s3_hedge_wait_ms(caller, &slot->request) != UINT64_MAX)
            slot->second = ramet_s3_hedge_start(caller, &slot->request);
    }
}

/* NULL: nobody waits any longer, or one is late. */
static struct ramet_s3_exchange *
wait_for_any(struct reading *r, uint64_t after_ms)
{
    struct ramet_s3_exchange *exchanges[2 * AT_ONCE];
    uint64_t wait_ms = UINT32_MAX;
    size_t count = 0;

    assert(r->busy > 0 && r->busy <= AT_ONCE);
    for (unsigned i = 0; i < r->busy; i++) {
        struct slot *const slot = r->slots[i];

        exchanges[count++] = &slot->a_try.exchange;
        if (slot->second != NULL)
            exchanges[count++] = &slot->second->exchange;
        if (slot->may_hedge && after_ms != UINT64_MAX) {
            const uint64_t left = ramet_s3_late_in_ms(&slot->a_try, after_ms);

            wait_ms = left < wait_ms ? left : wait_ms;
        }
    }
    return ramet_s3_wait(r->s3->caller.bucket->engine, exchanges, count,
                         wait_ms);
}

static bool
is_of_slot(const struct slot *slot, const struct ramet_s3_exchange *x)
{
    return x == &slot->a_try.exchange ||
           (slot->second != NULL && x == &slot->second->exchange);
}

static void
end_hedge(struct reading *r, struct slot *slot,
          const struct ramet_s3_exchange *done)
{
    if (slot->second != NULL)
        ramet_s3_hedge_end(&r->s3->caller, &slot->request, &slot->a_try,
                           slot->second, done);
    slot->second = NULL;
}

/* Wait for one of those under way. */
static enum ramet_rc
end_one(struct reading *r, struct ramet_err *err)
{
    uint64_t after_ms = late_after_ms(r);
    struct ramet_s3_exchange *done;
    struct slot *slot;
    unsigned at = 0;

    while ((done = wait_for_any(r, after_ms)) == NULL &&
           !ramet_waiting_is_over()) {
        if (after_ms != UINT64_MAX)
            hedge_late(r, after_ms);
        after_ms = late_after_ms(r);
    }
    while (done != NULL && !is_of_slot(r->slots[at], done))
        at++;
    slot = take_out(r, at);
    end_hedge(r, slot, done);
    return end(r, slot, err);
}

static void
give_up(struct reading *r)
{
    assert(r->busy <= AT_ONCE); /* invariant (1) */
    while (r->busy > 0) {
        struct slot *const slot = take_out(r, 0);

        end_hedge(r, slot, NULL);
        ramet_s3_cancel(r->s3->caller.bucket->engine, &slot->a_try.exchange);
        ramet_s3_try_end(&r->s3->caller, &slot->request, &slot->a_try);
        ramet_buf_done(&slot->a_try.exchange.answer);
    }
}

enum ramet_rc
ramet_s3_read_parts(struct ramet_objstore *store,
                    const struct ramet_part *parts, size_t count,
                    ramet_part_visit *visit, void *ctx, struct ramet_err *err)
{
    struct reading r = {
        .s3 = (struct ramet_s3store *)store, .visit = visit, .ctx = ctx};
    const size_t slots = count < AT_ONCE ? count : AT_ONCE;
    enum ramet_rc rc = RAMET_OK;

    assert(visit != NULL && (parts != NULL || count == 0));
    for (size_t i = 0; i < slots && rc == RAMET_OK; i++) {
        r.slots[i] = ramet_calloc(1, sizeof(*r.slots[i]));
        if (r.slots[i] == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", r.s3->name);
    }
    for (size_t i = 0; i < count && rc == RAMET_OK; i++) {
        assert(parts[i].len > 0);
        if (r.busy == slots)
            rc = end_one(&r, err);
        if (rc == RAMET_OK)
            rc = begin(&r, &parts[i], err);
    }
    while (r.busy > 0 && rc == RAMET_OK)
        rc = end_one(&r, err);
    give_up(&r);
    for (size_t i = 0; i < slots; i++)
        slot_free(r.slots[i]);
    return rc;
}
