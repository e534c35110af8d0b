/*
 * remote.c - opens a remote by its scheme.
 *
 * Layer: client.
 */
#include "client/remote/remote.h"

#include <assert.h>

enum ramet_rc
ramet_remote_open(const struct ramet_url *url,
                  const struct ramet_remote_options *options,
                  struct ramet_remote **out_remote, struct ramet_err *err)
{
    struct ramet_remote_options filled = *options;

    if (filled.connect_timeout_ms == 0)
        filled.connect_timeout_ms = 5000;
    if (filled.stall_timeout_ms == 0)
        filled.stall_timeout_ms = 10000;
    assert(filled.connect_timeout_ms > 0 && filled.stall_timeout_ms > 0);
    switch (url->scheme) {
    case RAMET_REMOTE_FILE:
        return ramet_remote_open_direct(url, &filled, out_remote, err);
    case RAMET_REMOTE_HTTP:
    case RAMET_REMOTE_HTTPS:
#ifdef RAMET_WITH_HTTP
        return ramet_remote_open_http(url, &filled, out_remote, err);
#else
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "remote %s/%s: http is not built in", url->root,
                          url->name);
#endif
    case RAMET_REMOTE_S3:
#ifdef RAMET_WITH_HTTP
        return ramet_remote_open_s3(url, &filled, out_remote, err);
#else
        return RAMET_FAIL(err, RAMET_EINVAL, "remote %s/%s: s3 is not built in",
                          url->root, url->name);
#endif
    }
    assert(!"a scheme that the parser does not make");
    return RAMET_EINVAL;
}

enum ramet_rc
ramet_remote_delete(struct ramet_remote *remote, const struct ramet_vid *volume,
                    struct ramet_err *err)
{
    assert(remote->ops != NULL && remote->store != NULL);
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
