/*
 * detached.c - see detached.h, and the invariants of detach.c.
 */
#include "client/store/life/detached.h"

#include <assert.h>

#include "client/store/format/dir.h"
#include "client/store/life/location.h"
#include "client/store/life/remove.h"
#include "client/store/shared/locks.h"

#define FINISH_TRIES 20u

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

/* *out_again: somebody was quicker, and may have died at it. */
static enum ramet_rc
finish_once(struct ramet_replica_location *location, bool *out_again,
            struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(location->lock_fd < 0);
    *out_again = false;
    if (ramet_replica_location_has(location, RAMET_DETACHED) != 1)
        return RAMET_OK;
    rc = ramet_replica_location_enter(location, true, err);
    if (rc == RAMET_OK)
        rc = ramet_lock_wait(location->os, location->lock_fd, RAMET_LOCK_OPEN,
                             RAMET_LOCK_EXCLUSIVE, RAMET_LOCK_WAIT_MS,
                             "another process is opening it", err);
    if (rc != RAMET_OK ||
        ramet_replica_location_has(location, RAMET_DETACHED) != 1)
        return rc;
    if (!ramet_replica_location_has_lock(location, location->parent_fd)) {
        *out_again = true;
        return RAMET_FAIL(err, RAMET_EBUSY,
                          "another process is clearing %s-ramet",
                          location->path);
    }
    return ramet_detached_clear(location, err);
}

enum ramet_rc
ramet_detached_finish(const struct ramet_os *os, const char *path,
                      struct ramet_err *err)
{
    unsigned tries = FINISH_TRIES;
    bool again = true;
    enum ramet_rc rc = RAMET_OK;

    assert(os != NULL);
    while (again && tries-- > 0) {
        struct ramet_replica_location location;

        rc = ramet_replica_location_find(os, path, &location, err);
        if (rc != RAMET_OK)
            return rc;
        rc = finish_once(&location, &again, err);
        ramet_replica_location_done(&location);
    }
    return rc;
}
