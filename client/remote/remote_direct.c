/*
 * remote_direct.c - a directory as a remote, without a server in between.
 *
 * Layer: client.
 */
#include <assert.h>
#include <fcntl.h>

#include "client/remote/remote.h"
#include "core/alloc.h"

/* The store goes on in the directory that it opened, whatever becomes of the
 * name: whoever restores a backup moves that one away and puts another there.
 */
struct direct {
    struct ramet_remote remote;
    uint64_t device, inode; /* of the directory when it was opened */
};

static void
direct_close(struct ramet_remote *remote)
{
    ramet_objstore_close(remote->store);
    ramet_free(remote);
}

/* Of the directory itself, at the end of all links. */
static bool
look(const struct ramet_url *url, struct ramet_os_stat *out_stat)
{
    const struct ramet_os *const os = ramet_os_system();
    const int fd =
        os->open(os->ctx, AT_FDCWD, url->root, O_RDONLY | O_DIRECTORY, 0);
    bool there;

    assert(url->root[0] == '/');
    if (fd < 0)
        return false;
    there = os->stat(os->ctx, fd, out_stat) == 0;
    os->close(os->ctx, fd);
    return there;
}

static bool
direct_moved(struct ramet_remote *remote)
{
    const struct direct *const direct = (const struct direct *)remote;
    struct ramet_os_stat st;

    assert(remote->store != NULL);
    return !look(&remote->url, &st) || st.device != direct->device ||
           st.inode != direct->inode;
}

/* No prefetch: a read costs no round trip. No wait: the caller polls. */
static const struct ramet_remote_ops direct_ops = {
    .moved = direct_moved,
    .close = direct_close,
};

enum ramet_rc
ramet_remote_open_direct(const struct ramet_url *url,
                         const struct ramet_remote_options *options,
                         struct ramet_remote **out_remote,
                         struct ramet_err *err)
{
    struct direct *const direct = ramet_calloc(1, sizeof(*direct));
    struct ramet_remote *const remote = &direct->remote;
    struct ramet_os_stat st;
    enum ramet_rc rc;

    if (direct == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "remote: no memory");
    remote->ops = &direct_ops;
    remote->url = *url;
    rc = ramet_dirstore_open(NULL, url->root, options->create_store,
                             &remote->store, err);
    if (rc == RAMET_OK)
        rc = ramet_catalog_check(remote->store, options->create_store, err);
    if (rc != RAMET_OK) {
        direct_close(remote);
        return rc;
    }
    if (look(url, &st)) { /* if not, the next look finds it moved */
        direct->device = st.device;
        direct->inode = st.inode;
    }
    assert(remote->store != NULL);
    *out_remote = remote;
    return RAMET_OK;
}
