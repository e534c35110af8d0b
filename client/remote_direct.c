/*
 * remote_direct.c - a directory as a remote, without a server in between.
 *
 * Layer: client.
 */
#include "client/remote.h"
#include "core/alloc.h"

static void
direct_close(struct ramet_remote *remote)
{
    ramet_objstore_close(remote->store);
    ramet_free(remote);
}

/* No prefetch: a read costs no round trip. No wait: the caller polls. */
static const struct ramet_remote_ops direct_ops = {.close = direct_close};

enum ramet_rc
ramet_remote_open_direct(const struct ramet_url *url,
                         const struct ramet_remote_options *options,
                         struct ramet_remote **out_remote,
                         struct ramet_err *err)
{
    struct ramet_remote *const remote = ramet_calloc(1, sizeof(*remote));
    enum ramet_rc rc;

    if (remote == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "remote: no memory");
    remote->ops = &direct_ops;
    remote->url = *url;
    rc = ramet_dirstore_open(NULL, url->root, options->create_store,
                             &remote->store, err);
    if (rc == RAMET_OK)
        rc = ramet_catalog_check(remote->store, options->create_store, err);
    if (rc != RAMET_OK) {
        ramet_objstore_close(remote->store);
        ramet_free(remote);
        return rc;
    }
    *out_remote = remote;
    return RAMET_OK;
}
