/*
 * answer.h - what an exchange with an S3 service came to, in Ramet's terms.
 *
 * Services say why in XML, and differ in what they say; a proxy on the way may
 * answer in a service's place, in HTML. So the code in the XML comes first, and
 * the status where there is none; and a 404 without a word of S3 in it is not
 * believed to be about an object.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_ANSWER_H
#define RAMET_PAGESTORE_S3_ANSWER_H

#include <stdbool.h>

#include "core/err.h"
#include "pagestore/s3/engine.h"
#include "pagestore/s3/xml.h"

struct ramet_s3_verdict {
    enum ramet_rc rc; /* RAMET_OK: 2xx, or 416 */
    bool again;       /* the same request may come to something else */
    bool renew;       /* with other credentials */
    bool maybe_done; /* of a request that changes something: no answer that says
                         that it was not */
    bool elsewhere;  /* the bucket is in another region */
    struct ramet_s3_error error;
};

void ramet_s3_judge(const struct ramet_s3_exchange *exchange,
                    struct ramet_s3_verdict *out_verdict);
/* The text of a failure; `what` is "GET volumes/…", `where` the bucket. */
enum ramet_rc ramet_s3_explain(const struct ramet_s3_exchange *exchange,
                               const struct ramet_s3_verdict *verdict,
                               const char *where, const char *what,
                               const char *withheld_why, struct ramet_err *err);

#endif
