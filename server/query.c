/*
 * query.c - see query.h.
 */
#include "server/query.h"

#include <inttypes.h>

bool
ramet_api_number(struct call *call, const char *name, uint64_t fallback,
                 uint64_t max, uint64_t *out)
{
    const char *text = ramet_http_query(call->rq, name);
    struct ramet_err err;

    *out = fallback;
    if (text == NULL)
        return true;
    if (ramet_api_decimal(text, out) && *out <= max)
        return true;
    (void)RAMET_FAIL(&err, RAMET_EINVAL,
                     "query parameter %s: a number from 0 to %" PRIu64
                     " is wanted",
                     name, max);
    ramet_api_refused(call, RAMET_EINVAL, &err);
    return false;
}
