/*
 * tally.c - see tally.h.
 */
#include "pagestore/s3/tally.h"

#include <assert.h>

static const uint64_t nano_usd[RAMET_REQUEST_KINDS] = {
    [RAMET_REQUEST_PUT] = 5000,  [RAMET_REQUEST_POST] = 5000,
    [RAMET_REQUEST_LIST] = 5000, [RAMET_REQUEST_GET] = 400,
    [RAMET_REQUEST_HEAD] = 400,  [RAMET_REQUEST_DELETE] = 0,
};

/* Each counter counts for one store, and for the process. */
static struct ramet_s3_tally process;

static void
add(atomic_uint_least64_t *one, atomic_uint_least64_t *all, uint64_t n)
{
    assert(one != all);

    atomic_fetch_add_explicit(one, n, memory_order_relaxed);
    atomic_fetch_add_explicit(all, n, memory_order_relaxed);
}

void
ramet_s3_tally_add(struct ramet_s3_tally *tally, enum ramet_request_kind kind,
                   uint64_t bytes_sent, uint64_t bytes_received)
{
    assert((unsigned)kind < RAMET_REQUEST_KINDS);
    add(&tally->by_kind[kind], &process.by_kind[kind], 1);
    add(&tally->bytes_sent, &process.bytes_sent, bytes_sent);
    add(&tally->bytes_received, &process.bytes_received, bytes_received);
}

void
ramet_s3_tally_repeat(struct ramet_s3_tally *tally)
{
    assert(tally != &process);
    add(&tally->repeats, &process.repeats, 1);
}

void
ramet_s3_tally_hedge(struct ramet_s3_tally *tally)
{
    assert(tally != &process);
    add(&tally->hedges, &process.hedges, 1);
}

void
ramet_s3_tally_slowdown(struct ramet_s3_tally *tally)
{
    assert(tally != &process);
    add(&tally->slowdowns, &process.slowdowns, 1);
}

void
ramet_s3_tally_process(struct ramet_store_requests *out)
{
    ramet_s3_tally_read(&process, out);
}

void
ramet_s3_tally_read(const struct ramet_s3_tally *tally,
                    struct ramet_store_requests *out)
{
    assert(out != NULL);
    *out = (struct ramet_store_requests){
        .bytes_sent = atomic_load(&tally->bytes_sent),
        .bytes_received = atomic_load(&tally->bytes_received),
        .repeats = atomic_load(&tally->repeats),
        .hedges = atomic_load(&tally->hedges),
        .slowdowns = atomic_load(&tally->slowdowns),
    };
    for (unsigned kind = 0; kind < RAMET_REQUEST_KINDS; kind++) {
        out->by_kind[kind] = atomic_load(&tally->by_kind[kind]);
        out->nano_usd += out->by_kind[kind] * nano_usd[kind];
    }
}
