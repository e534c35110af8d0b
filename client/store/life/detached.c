/*
 * detached.c - see detached.h, and the invariants of detach.c.
 */
#include "client/store/life/detached.h"

#include <assert.h>

#include "client/store/format/dir.h"
#include "client/store/life/location.h"
#include "client/store/life/remove.h"
#include "client/store/shared/locks.h"

enum ramet_rc
ramet_detached_clear(const struct ramet_replica_location *location,
                     struct ramet_err *err)
{
    const int result = ramet_remove_directory(location, RAMET_DETACHED);

    assert(location->dir_fd >= 0 && location->lock_fd >= 0);
    return result == 0
               ? RAMET_OK
               : RAMET_FAIL_OS(err, result,
                               "%s is a plain file now; remove %s-ramet",
                               location->path, location->path);
}

enum ramet_rc
ramet_detached_finish(const struct ramet_os *os, const char *path,
                      struct ramet_err *err)
{
    struct ramet_replica_location location;
    enum ramet_rc rc = ramet_replica_location_find(os, path, &location, err);

    if (rc != RAMET_OK)
        return rc;
    if (ramet_replica_location_has(&location, RAMET_DETACHED) != 1)
        goto done;
    rc = ramet_replica_location_enter(&location, true, err);
    if (rc == RAMET_OK)
        rc = ramet_lock_wait(os, location.lock_fd, RAMET_LOCK_OPEN,
                             RAMET_LOCK_EXCLUSIVE, RAMET_LOCK_WAIT_MS,
                             "another process is opening it", err);
    /* Once more, and by a lock that is still that of the place: somebody may
     * have been quicker. */
    if (rc == RAMET_OK &&
        ramet_replica_location_has(&location, RAMET_DETACHED) == 1 &&
        ramet_replica_location_has_lock(&location))
        rc = ramet_detached_clear(&location, err);

done:
    ramet_replica_location_done(&location);
    return rc;
}
