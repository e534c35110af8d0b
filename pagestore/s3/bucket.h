/*
 * bucket.h - what a process knows of one bucket, shared by all stores in it
 * that are open: where it is, whose keys go there, how hard it may be pressed,
 * how fast it usually answers.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_BUCKET_H
#define RAMET_PAGESTORE_S3_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/thread.h"
#include "pagestore/s3/credentials.h"
#include "pagestore/s3/engine.h"
#include "pagestore/s3/hedge.h"
#include "pagestore/s3/place.h"
#include "pagestore/s3/throttle.h"

struct ramet_s3_bucket {
    struct ramet_s3_bucket *next; /* the process's mutex, as refs */
    unsigned refs, fork_count;
    char *identity; /* two that differ in it are two */
    struct ramet_s3_target target;
    struct ramet_s3_engine *engine;
    struct ramet_s3_credentials *credentials; /* NULL: requests go unsigned */
    char *ca_file;                            /* NULL: the system's */
    struct ramet_s3_throttle throttle;        /* the engine's mutex */
    struct ramet_mutex mutex;
    struct ramet_s3_hedge hedge; /* mutex */
    int64_t date_ms;             /* mutex: the store's clock, 0: not known */
    uint64_t dated_ms;           /* mutex: when that was, by ours */
    bool is_proven;              /* mutex: probe.c */
    struct ramet_mutex proving;  /* while it is, by one thread for all */
};

/* One more reference; no request is made. RAMET_EINVAL: the environment or an
 * endpoint is wrong. `configured`: place.h, case (3). */
RAMET_NODISCARD enum ramet_rc
ramet_s3_bucket_open(const struct ramet_s3_place *place, bool configured,
                     struct ramet_s3_bucket **out_bucket,
                     struct ramet_err *err);
void ramet_s3_bucket_close(struct ramet_s3_bucket *bucket); /* NULL is fine */

#endif
