/*
 * place.h - which bucket of which service an s3:// URL means, and whether the
 * environment's credentials may go there.
 *
 *     s3://bucket/prefix?endpoint=http://host:port&region=…&style=path
 *
 * Where no endpoint= stands, the environment's or the profile's is it, else
 * AWS's own. **Credentials that were found in the environment (variables,
 * files, the machine's own) go to**
 *
 *   (1) AWS's own S3 hosts, over https
 *   (2) an endpoint that the environment or the profile names
 *   (3) an endpoint that ramet.conf, or the operator of a server, names
 *
 * and nowhere else: an endpoint= in a URL that somebody sent gets requests
 * without any signature. Endpoints are compared whole, as scheme, host and
 * port: `s3.eu-west-1.amazonaws.com.example` is not AWS's, nor is a machine
 * that anybody may rent under amazonaws.com.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_PLACE_H
#define RAMET_PAGESTORE_S3_PLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "core/origin.h"

#define RAMET_S3_BUCKET_MAX 64u
#define RAMET_S3_PREFIX_MAX 512u
#define RAMET_S3_REGION_MAX 64u

enum ramet_s3_style {
    RAMET_S3_STYLE_AUTO, /* AWS: host, others: path */
    RAMET_S3_STYLE_PATH, /* https://host/bucket/key */
    RAMET_S3_STYLE_HOST  /* https://bucket.host/key */
};

/* What the URL says; "" where it says nothing. */
struct ramet_s3_place {
    char bucket[RAMET_S3_BUCKET_MAX];
    char prefix[RAMET_S3_PREFIX_MAX]; /* without slashes at its ends */
    char endpoint[RAMET_ORIGIN_MAX];
    char region[RAMET_S3_REGION_MAX];
    enum ramet_s3_style style;
};

/* `root` is "s3://bucket/prefix", `query` what stood after '?'. NULL: it is
 * right; else why not, a constant. */
const char *ramet_s3_place_parse(const char *root, const char *query,
                                 struct ramet_s3_place *out_place);

struct ramet_s3_settings; /* settings.h */

/* Where requests go, and what they are signed for. */
struct ramet_s3_target {
    struct ramet_origin origin; /* of the endpoint, bucket not in it */
    char
        host[RAMET_ORIGIN_MAX + RAMET_S3_BUCKET_MAX + 10]; /* the Host header */
    char bucket[RAMET_S3_BUCKET_MAX];
    char region[RAMET_S3_REGION_MAX];
    bool path_style;
    bool trusted;        /* the rule above */
    const char *why_not; /* it is not trusted; a constant */
};

/* RAMET_EINVAL: an endpoint is no URL. `configured`: case (3). */
RAMET_NODISCARD enum ramet_rc
ramet_s3_resolve(const struct ramet_s3_place *place,
                 const struct ramet_s3_settings *settings, bool configured,
                 struct ramet_s3_target *out_target, struct ramet_err *err);

/* Case (1). */
bool ramet_s3_is_aws(const struct ramet_origin *origin);
/* Do both texts name the same scheme, host and port? */
bool ramet_s3_same_endpoint(const char *a, const char *b);

#endif
