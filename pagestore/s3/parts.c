/*
 * parts.c - many ranged reads at a time.
 *
 *   (1) At most AT_ONCE of one call are under way, so that one reader leaves
 *       room for the others of the process.
 *   (2) Parts are visited as they come, on the caller's thread; when the call
 *       returns none is under way, and nothing writes to its buffers.
 *   (3) One that fails is asked for once more alone, with all its tries.
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/s3/answer.h"
#include "pagestore/s3/s3store_impl.h"

#define AT_ONCE 16u

struct slot {
    const struct ramet_part *part;
    char full[RAMET_S3_KEY_MAX];
    struct ramet_s3_request request;
    struct ramet_s3_try a_try;
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
                                              .answer_max = part->len};
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
    assert(x->done);
    if (x->code != CURLE_OK || x->status != 206)
        return false;
    return x->answer.len == part->len ||
           (part->to_end && x->answer.len < part->len && x->has_total &&
            x->total == part->offset + x->answer.len);
}

static enum ramet_rc
end(struct reading *r, struct slot *slot, struct ramet_err *err)
{
    const struct ramet_part *const part = slot->part;
    struct ramet_s3_exchange *const x = &slot->a_try.exchange;
    size_t got;
    enum ramet_rc rc = RAMET_OK;

    ramet_s3_try_end(&r->s3->caller, &slot->request, &slot->a_try);
    got = x->answer.len;
    if (is_whole(x, part))
        memcpy(part->buf, x->answer.data, got);
    else if (x->cancelled)
        rc = RAMET_FAIL(err, RAMET_ECANCELLED, "%s: GET %s: cancelled",
                        r->s3->name, part->key);
    else /* invariant (3) */
        rc = ramet_objstore_read_part(&r->s3->base, part, &got, err);
    ramet_buf_done(&x->answer);
    assert(rc != RAMET_OK || got <= part->len);
    return rc == RAMET_OK ? r->visit(r->ctx, part, got, err) : rc;
}

/* Wait for one of those under way. */
static enum ramet_rc
end_one(struct reading *r, struct ramet_err *err)
{
    struct ramet_s3_exchange *exchanges[AT_ONCE], *done;
    unsigned at = 0;

    assert(r->busy > 0);
    for (unsigned i = 0; i < r->busy; i++)
        exchanges[i] = &r->slots[i]->a_try.exchange;
    done = ramet_s3_wait(r->s3->caller.bucket->engine, exchanges, r->busy,
                         UINT32_MAX);
    while (done != NULL && exchanges[at] != done)
        at++;
    return end(r, take_out(r, at), err);
}

static void
give_up(struct reading *r)
{
    assert(r->busy <= AT_ONCE); /* invariant (1) */
    while (r->busy > 0) {
        struct slot *const slot = take_out(r, 0);

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
