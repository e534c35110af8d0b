/*
 * tally.c - see tally.h.
 */
#include "pagestore/s3/tally.h"

static const uint64_t nano_usd[RAMET_REQUEST_KINDS] = {
    [RAMET_REQUEST_PUT] = 5000,  [RAMET_REQUEST_POST] = 5000,
    [RAMET_REQUEST_LIST] = 5000, [RAMET_REQUEST_GET] = 400,
    [RAMET_REQUEST_HEAD] = 400,  [RAMET_REQUEST_DELETE] = 0,
};

void
ramet_s3_tally_add(struct ramet_s3_tally *tally, enum ramet_request_kind kind,
                   uint64_t bytes_sent, uint64_t bytes_received)
{
    atomic_fetch_add_explicit(&tally->by_kind[kind], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&tally->bytes_sent, bytes_sent,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&tally->bytes_received, bytes_received,
                              memory_order_relaxed);
}

void
ramet_s3_tally_read(const struct ramet_s3_tally *tally,
                    struct ramet_store_requests *out)
{
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
