/*
 * remote.c - in the place of client/remote/remote.c: a directory is the
 * product's own on a simulated disk, a bucket is the simulator's.
 */
#include "client/remote/remote.h"

#include "core/alloc.h"
#include "tests/sim/image/image.h"

static void
close_bucket(struct ramet_remote *remote)
{
    ramet_free(remote); /* the store is the simulator's */
}

static const struct ramet_remote_ops bucket_ops = {.close = close_bucket};

static enum ramet_rc
open_bucket(const struct ramet_url *url,
            const struct ramet_remote_options *options,
            struct ramet_remote **out_remote, struct ramet_err *err)
{
    /* As client/remote/remote_s3.c: each look costs. */
    if (options->create_store) {
        const enum ramet_rc rc =
            ramet_catalog_check(sim_env->bucket, true, err);

        if (rc != RAMET_OK)
            return rc;
    }
    *out_remote = ramet_calloc(1, sizeof(**out_remote));
    if (*out_remote == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "remote: no memory");
    (*out_remote)->ops = &bucket_ops;
    (*out_remote)->store = sim_env->bucket;
    (*out_remote)->url = *url;
    return RAMET_OK;
}

static enum ramet_rc
open_server(const struct ramet_url *url,
            const struct ramet_remote_options *options,
            struct ramet_remote **out_remote, struct ramet_err *err)
{
    struct ramet_remote_options filled = *options;

    filled.connect_timeout_ms = 2000;
    filled.stall_timeout_ms = 3000;
    return ramet_remote_open_http(url, &filled, out_remote, err);
}

enum ramet_rc
ramet_remote_open(const struct ramet_url *url,
                  const struct ramet_remote_options *options,
                  struct ramet_remote **out_remote, struct ramet_err *err)
{
    return url->scheme == RAMET_REMOTE_FILE
               ? ramet_remote_open_direct(url, options, out_remote, err)
           : url->scheme == RAMET_REMOTE_HTTP
               ? open_server(url, options, out_remote, err)
               : open_bucket(url, options, out_remote, err);
}

enum ramet_rc
ramet_remote_delete(struct ramet_remote *remote, const struct ramet_vid *volume,
                    struct ramet_err *err)
{
    return remote->ops->delete_volume != NULL
               ? remote->ops->delete_volume(remote, volume, err)
               : ramet_catalog_delete(remote->store, volume, err);
}

void
ramet_remote_close(struct ramet_remote *remote)
{
    if (remote != NULL)
        remote->ops->close(remote);
}
