/*
 * s3store.h - a bucket as an object store. docs/s3.md has what is asked of it.
 *
 *   (1) The commit point is one PUT with `If-None-Match: *`, and nothing else:
 *       the completion of a multipart upload is not, for there are services
 *       that ignore a condition on it. Uploads go to names that nobody else
 *       has, and look whether something is there before they complete.
 *   (2) Before the first write a store proves that of two writers one wins
 *       (probe.c), or was proven before; one that does not is refused.
 *   (3) A put whose answer was lost is repeated; if then the key exists, what
 *       is there is read, and decides.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_S3STORE_H
#define RAMET_PAGESTORE_S3_S3STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "pagestore/objstore.h"

struct ramet_s3_options {
    bool configured;             /* who names the endpoint may: place.h (3) */
    bool hide_place;             /* error texts don't say where it is */
    uint64_t connect_timeout_ms; /* 0: 5,000 */
    uint64_t stall_timeout_ms;   /* 0: 10,000 */
};

/* `root` is "s3://bucket/prefix", `query` what follows '?' in a URL. No request
 * is made. RAMET_EINVAL: the place, or the environment, is wrong. */
RAMET_NODISCARD enum ramet_rc
ramet_s3store_open(const char *root, const char *query,
                   const struct ramet_s3_options *options,
                   struct ramet_objstore **out_store, struct ramet_err *err);

/* By how much this machine's clock is ahead of the store's, as its answers
 * say; false: none came yet. */
bool ramet_s3store_clock_ahead(struct ramet_objstore *store, int64_t *out_ms);

#endif
