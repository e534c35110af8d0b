/*
 * orphan.c - a replica's directory whose file somebody deleted, as programs do
 * that know SQLite's file and nothing of ours.
 *
 * Whoever opens the path with the wish to create finds the way clear, as beside
 * a plain database. What held commits that no remote has is set aside first, as
 * FILE-ramet/lost/deleted-<ms>/; all else goes.
 *
 *   (1) nothing in lost/ is removed, here or in a removal
 *   (2) a directory that programs still have open is never emptied: it is moved
 *       as a whole, and they go on in it by its descriptor
 *   (3) what is set aside is moved by rename: first beside the file, under a name
 *       that the next maker of a directory looks for, then into lost/; a crash in
 *       between leaves it in one of the three places, whole
 *   (4) a folder's own name is on disk before anything is moved into it: else the
 *       power takes both
 */
#include "client/store/life/orphan.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "client/store/exchange.h"
#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/life/location.h"
#include "client/store/life/registry.h"
#include "client/store/life/remove.h"
#include "client/store/log/logscan.h"
#include "client/store/replicas.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"

bool
ramet_replica_is_orphan(const struct ramet_os *os, const char *path)
{
    struct ramet_replica_location location;
    struct ramet_os_stat st;
    bool is_orphan;

    if (os == NULL)
        os = ramet_os_system();
    if (ramet_replica_location_find(os, path, &location, NULL) != RAMET_OK)
        return false;
    is_orphan =
        ramet_replica_location_has(&location, "state") == 1 &&
        ramet_replica_location_has(&location, RAMET_TOMBSTONE) == 0 &&
        os->stat_at(os->ctx, location.parent_fd, location.name, &st) == -ENOENT;
    ramet_replica_location_done(&location);
    return is_orphan;
}

/* ---- does it hold what no remote has? ------------------------------------- */

/* What had gone into the file went with it: only what is in the log counts. */
static enum ramet_rc
count_pending(struct ramet_replica *replica, struct ramet_state_file *state,
              bool *out_pending, struct ramet_err *err)
{
    struct ramet_replica_state *const fold = &state->fold;
    struct ramet_scan scan;
    bool found = true;
    bool has_commits = false;
    enum ramet_rc rc;

    assert(!replica->is_ready);
    rc = ramet_state_file_read(replica->os, replica->dir_fd, state, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_replica_adopt_state(replica, state);
    ramet_scan_init(&scan, replica);
    scan.oldest = state->oldest_log;
    while (rc == RAMET_OK && found) {
        rc = ramet_scan_next(&scan, fold->newest.tail, fold->record_sum, &found,
                             err);
        if (rc == RAMET_OK && found) {
            has_commits |= scan.trailer.type == RAMET_RECORD_COMMIT;
            rc = ramet_scan_fold(&scan, fold, scan.trailer.tail, NULL, NULL,
                                 err);
        }
    }
    ramet_scan_done(&scan);
    if (rc == RAMET_OK)
        *out_pending = has_commits && !ramet_id_is_nil(&fold->volume.id) &&
                       fold->commits_in_flight + fold->commits_later != 0;
    return rc;
}

/* In doubt, it does. Alone, with the open byte held. */
static bool
holds_unpushed(const struct ramet_replica_location *location)
{
    struct ramet_state_file *const state = ramet_calloc(1, sizeof(*state));
    struct ramet_replica_location own; /* the registry takes its descriptors */
    struct ramet_replica *replica = NULL;
    bool is_pending = true;

    if (state == NULL ||
        ramet_replica_location_find(location->os, location->path, &own, NULL) !=
            RAMET_OK)
        goto done;
    if (ramet_replica_location_has(&own, "commit") == 0 &&
        ramet_replica_location_enter(&own, false, NULL) == RAMET_OK &&
        ramet_registry_get(&own, &replica, NULL) == RAMET_OK) {
        if (count_pending(replica, state, &is_pending, NULL) != RAMET_OK)
            is_pending = true;
        ramet_frame_files_close_all(replica);
        ramet_registry_put(replica);
    }
    ramet_state_file_done(state);
    ramet_replica_location_done(&own);

done:
    ramet_free(state);
    return is_pending;
}

/* ---- setting aside -------------------------------------------------------- */

static char *
aside_name(const struct ramet_replica_location *location)
{
    assert(ramet_is_one_name(location->dir_name));
    return ramet_asprintf("%s.aside", location->dir_name);
}

/* "deleted-<ms>", not taken yet in the folder. */
static int
name_in_lost(const struct ramet_os *os, int lost_fd, char *out, size_t size)
{
    uint64_t ms = os->wall_ms(os->ctx);
    struct ramet_os_stat st;
    int result;

    assert(lost_fd >= 0);
    do {
        snprintf(out, size, "deleted-%" PRIu64, ms++);
        result = os->stat_at(os->ctx, lost_fd, out, &st);
    } while (result == 0);
    return result == -ENOENT ? 0 : result;
}

/* What was lost before stays where `ramet lost` looks. */
static int
carry_lost(const struct ramet_replica_location *location, const char *aside)
{
    const struct ramet_os *const os = location->os;
    const int from = ramet_rights_open_folder(os, location->parent_fd, aside);
    int result = from;

    assert(location->dir_fd >= 0); /* invariant (3) */
    if (from < 0)
        return from;
    result =
        os->rename(os->ctx, from, RAMET_LOST, location->dir_fd, RAMET_LOST);
    if (result == -ENOENT || result == -ENOTEMPTY || result == -EEXIST)
        result = 0; /* there is none, or one here already: it goes along */
    os->close(os->ctx, from);
    return result;
}

enum ramet_rc
ramet_orphan_finish(const struct ramet_replica_location *location,
                    struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    char *const aside = aside_name(location);
    char name[64];
    struct ramet_os_stat st;
    int lost = -1;
    int result;

    assert(location->dir_fd >= 0);
    if (aside == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
    result = os->stat_at(os->ctx, location->parent_fd, aside, &st);
    if (result == -ENOENT) {
        ramet_free(aside);
        return RAMET_OK;
    }
    if (result == 0)
        result = os->sync(os->ctx, location->parent_fd); /* (4) */
    if (result == 0)
        result = carry_lost(location, aside);
    if (result == 0)
        result = lost = ramet_dir_folder(os, location->dir_fd, RAMET_LOST);
    if (lost >= 0)
        result = os->sync(os->ctx, location->dir_fd); /* (4) */
    if (lost >= 0 && result == 0)
        result = name_in_lost(os, lost, name, sizeof(name));
    if (lost >= 0 && result == 0)
        result = os->rename(os->ctx, location->parent_fd, aside, lost, name);
    if (lost >= 0 && result == 0)
        result = os->sync(os->ctx, lost);
    if (lost >= 0 && result == 0)
        result = os->sync(os->ctx, location->parent_fd);
    if (lost >= 0)
        os->close(os->ctx, lost);
    ramet_free(aside);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_OS(err, result,
                                       "keep what was left of %s in "
                                       "%s-ramet/lost",
                                       location->path, location->path);
}

/* The open byte is held: invariant (3). */
static enum ramet_rc
set_aside(const struct ramet_replica_location *location, struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    char *const aside = aside_name(location);
    struct ramet_replica_location fresh;
    enum ramet_rc rc;
    int result;

    assert(location->lock_fd >= 0);
    if (aside == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
    result = os->rename(os->ctx, location->parent_fd, location->dir_name,
                        location->parent_fd, aside);
    if (result == 0)
        result = os->sync(os->ctx, location->parent_fd);
    ramet_free(aside);
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "set %s-ramet aside", location->path);
    rc = ramet_replica_location_find(os, location->path, &fresh, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_replica_location_enter(&fresh, true, err);
    if (rc == RAMET_OK)
        rc = ramet_orphan_finish(&fresh, err);
    ramet_replica_location_done(&fresh);
    return rc;
}

/* The open byte is held, and the file is not there. */
static enum ramet_rc
clear(struct ramet_replica_location *location, struct ramet_err *err)
{
    const struct ramet_os *const os = location->os;
    const bool alone = !ramet_registry_has(location) &&
                       os->lock(os->ctx, location->lock_fd, RAMET_LOCK_LIVE, 1,
                                RAMET_LOCK_EXCLUSIVE) == 0;
    /* What a crash left under the name that is needed now goes first. */
    const enum ramet_rc rc = ramet_orphan_finish(location, err);

    assert(location->lock_fd >= 0 && location->dir_fd >= 0);
    if (rc != RAMET_OK)
        return rc;
    return !alone || holds_unpushed(location)
               ? set_aside(location, err)
               : ramet_replica_remove(location, err);
}

enum ramet_rc
ramet_replica_clear_orphan(const struct ramet_os *os, const char *path,
                           struct ramet_err *err)
{
    struct ramet_replica_location location;
    struct ramet_os_stat st;
    enum ramet_rc rc;

    if (os == NULL)
        os = ramet_os_system();
    rc = ramet_replica_location_find(os, path, &location, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_replica_location_enter(&location, false, err);
    if (rc == RAMET_OK)
        rc = ramet_lock_wait(os, location.lock_fd, RAMET_LOCK_OPEN,
                             RAMET_LOCK_EXCLUSIVE, RAMET_LOCK_WAIT_MS,
                             "another process is opening or closing it", err);
    /* Looked at once more: somebody may have been quicker. */
    if (rc == RAMET_OK && ramet_replica_location_has(&location, "state") == 1 &&
        os->stat_at(os->ctx, location.parent_fd, location.name, &st) == -ENOENT)
        rc =
            ramet_replica_location_has_lock(&location, location.parent_fd)
                ? clear(&location, err)
                : RAMET_FAIL(err, RAMET_EBUSY,
                             "another process cleared what was left of %s, and "
                             "it was made and deleted again",
                             location.path);
    else if (rc == RAMET_ENOTFOUND)
        rc = RAMET_OK;
    ramet_replica_location_done(&location);
    return rc;
}
