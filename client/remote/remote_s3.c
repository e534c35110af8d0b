/*
 * remote_s3.c - a bucket as a remote, without a server in between.
 *
 * Opening it costs no request: what is asked first shows whether it is there.
 * Only where a store may have to be made is it looked for.
 *
 * Layer: client.
 */
#include <assert.h>

#include "client/remote/remote.h"
#include "core/alloc.h"
#include "pagestore/s3/s3store.h"

static void
s3_close(struct ramet_remote *remote)
{
    ramet_objstore_close(remote->store);
    ramet_free(remote);
}

static bool
s3_clock_ahead(struct ramet_remote *remote, int64_t *out_ms)
{
    assert(remote->store != NULL);
    return ramet_s3store_clock_ahead(remote->store, out_ms);
}

static uint64_t
s3_requests(const struct ramet_remote *remote)
{
    struct ramet_store_requests counts;
    uint64_t sum = 0;

    assert(remote->store != NULL);
    if (!ramet_objstore_requests(remote->store, &counts))
        return 0;
    for (unsigned kind = 0; kind < RAMET_REQUEST_KINDS; kind++)
        sum += counts.by_kind[kind];
    return sum;
}

/* No wait: the caller polls. */
static const struct ramet_remote_ops s3_ops = {
    .clock_ahead = s3_clock_ahead,
    .requests = s3_requests,
    .close = s3_close,
};

enum ramet_rc
ramet_remote_open_s3(const struct ramet_url *url,
                     const struct ramet_remote_options *options,
                     struct ramet_remote **out_remote, struct ramet_err *err)
{
    const struct ramet_s3_options s3 = {
        .configured = options->s3_configured,
        .connect_timeout_ms = options->connect_timeout_ms,
        .stall_timeout_ms = options->stall_timeout_ms,
    };
    struct ramet_remote *const remote = ramet_calloc(1, sizeof(*remote));
    enum ramet_rc rc;

    if (remote == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "remote: no memory");
    remote->ops = &s3_ops;
    remote->url = *url;
    rc = ramet_s3store_open(url->root, url->query, &s3, &remote->store, err);
    if (rc == RAMET_OK && options->create_store)
        rc = ramet_catalog_check(remote->store, true, err);
    if (rc != RAMET_OK) {
        s3_close(remote);
        return rc;
    }
    assert(remote->store != NULL);
    *out_remote = remote;
    return RAMET_OK;
}
