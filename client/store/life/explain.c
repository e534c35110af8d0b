/*
 * explain.c - see explain.h.
 */
#include "client/store/life/explain.h"

#include <assert.h>
#include <errno.h>

#include "client/store/format/dir.h"
#include "client/store/format/state.h"
#include "client/store/shared/replica.h"

enum ramet_rc
ramet_replica_read_state(const struct ramet_replica *replica,
                         struct ramet_state_file *out_state,
                         struct ramet_err *err)
{
    struct ramet_err own = {.code = RAMET_OK};
    const enum ramet_rc rc =
        ramet_state_file_read(replica->os, replica->dir_fd, out_state, &own);

    assert(replica->dir_fd >= 0);
    if (rc == RAMET_ECORRUPT)
        return RAMET_FAIL(err, rc,
                          "%.180s-ramet: damaged (%.60s); 'ramet restore URL "
                          "FILE --replace' begins anew with what the remote "
                          "has, and keeps this",
                          replica->path, own.text);
    if (rc != RAMET_OK && err != NULL)
        *err = own;
    return rc;
}

enum ramet_rc
ramet_fail_base(const struct ramet_replica *replica, int errnum,
                struct ramet_err *err)
{
    const enum ramet_rc rc =
        errnum == ENOENT ? RAMET_EFOREIGN : ramet_rc_of_errno(errnum);

    assert(errnum > 0);
    return RAMET_FAIL_SYS(err, rc, errnum, "open %s", replica->path);
}

enum ramet_rc
ramet_fail_no_replica(const char *path, bool is_file, struct ramet_err *err)
{
    if (!is_file)
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%s does not exist; 'ramet clone URL FILE' makes a "
                          "replica of a volume",
                          path);
    return RAMET_FAIL(err, RAMET_ENOTFOUND,
                      "%s is not a replica; 'ramet init FILE --remote URL' "
                      "makes it one of a new volume, 'ramet clone URL FILE' "
                      "makes one of a volume that is there",
                      path);
}
