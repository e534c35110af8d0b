/*
 * tally.h - requests to a store, counted by kind, and what they cost.
 *
 * The prices are those that AWS asks for S3 Standard in us-east-1: half a cent
 * for a thousand PUT, POST and LIST, a twenty-fifth of a cent for a thousand
 * GET and HEAD, nothing for DELETE; others ask about as much. Bytes that leave
 * AWS's network cost more than that, and are counted beside it.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_TALLY_H
#define RAMET_PAGESTORE_S3_TALLY_H

#include <stdatomic.h>
#include <stdint.h>

#include "pagestore/objstore.h"

struct ramet_s3_tally {
    atomic_uint_least64_t by_kind[RAMET_REQUEST_KINDS];
    atomic_uint_least64_t bytes_sent, bytes_received;
    atomic_uint_least64_t repeats;   /* of requests that failed */
    atomic_uint_least64_t hedges;    /* second requests for slow reads */
    atomic_uint_least64_t slowdowns; /* 503 and 429 */
};

void
ramet_s3_tally_add(struct ramet_s3_tally *tally, enum ramet_request_kind kind,
                   uint64_t bytes_sent, uint64_t bytes_received);
/* What all of this process asked, of whichever bucket. */
void ramet_s3_tally_process(struct ramet_store_requests *out);
void ramet_s3_tally_repeat(struct ramet_s3_tally *tally);
void ramet_s3_tally_hedge(struct ramet_s3_tally *tally);
void ramet_s3_tally_slowdown(struct ramet_s3_tally *tally);
void ramet_s3_tally_read(const struct ramet_s3_tally *tally,
                         struct ramet_store_requests *out);

#endif
