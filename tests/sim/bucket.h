/*
 * bucket.h - an object store somewhere in the network, as machines reach it.
 *
 * The objects are the product's memory store. Between it and each machine is
 * a *link*, on which requests and answers take time, are lost, come late or
 * twice. A write of which no answer came may have been done, may be done later,
 * or never.
 */
#ifndef RAMET_TESTS_SIM_BUCKET_H
#define RAMET_TESTS_SIM_BUCKET_H

#include "pagestore/objstore.h"
#include "tests/sim/sched.h"

/* What may happen to requests of one link; chances in percent. */
struct sim_weather {
    unsigned refused;      /* was not sent */
    unsigned lost_request; /* no answer, and it was not done */
    unsigned lost_reply;   /* no answer, and it was done */
    unsigned late;         /* no answer, and it is done later */
    unsigned twice;        /* done again later */
    unsigned slow;
    unsigned reset; /* of HTTP: the connection ends in the midst of a body */
    bool is_cut;    /* nothing goes through */
};

struct sim_bucket;

struct sim_bucket *sim_bucket_new(void);
void sim_bucket_free(struct sim_bucket *bucket);
/* That it has. */
uint64_t sim_bucket_commits(const struct sim_bucket *bucket);
/* Its objects, from behind. The bytes of one are to be freed; NULL: there is none. */
void sim_bucket_visit(struct sim_bucket *bucket, ramet_objstore_visit *visit,
                      void *ctx);
uint8_t *
sim_bucket_load(struct sim_bucket *bucket, const char *key, size_t *out_len);
void sim_bucket_replace(struct sim_bucket *bucket, const char *key,
                        const uint8_t *bytes, size_t len);
/* A link with this weather, which may change at any time. */
struct ramet_objstore *
sim_link_new(struct sim_bucket *bucket, const struct sim_weather *weather,
             uint64_t seed);
void sim_link_free(struct ramet_objstore *link);
/* Yesterday's copy is made now, and takes the store's place later: what was on its
 * way to it then is lost. A copy has so many commits. */
uint64_t sim_bucket_copy(struct sim_bucket *bucket);
void sim_bucket_restore(struct sim_bucket *bucket);
/* Wait until nothing is on its way any more. */
void sim_bucket_drain(const struct sim_bucket *bucket);

#endif
