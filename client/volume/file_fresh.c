/*
 * file_fresh.c - how old an answer may be: the invariant of file_wait.h, (2).
 *
 * Layer: client.
 */
#include <assert.h>

#include "client/remote/remote_client.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/replica_sync.h"
#include "client/sync/sync.h"
#include "client/volume/deadline.h"
#include "client/volume/file_impl.h"
#include "client/volume/stateless.h"

static uint64_t
boot_ms(const struct ramet_file *file)
{
    return file->os->boot_ns(file->os->ctx) / 1000000u;
}

/* What was told of does not say that nothing is lacking at `at`: that is not here yet,
 * or the remote went back, and on another way. */
static bool
says_nothing_of(struct ramet_file *file, const struct ramet_point *told,
                const struct ramet_point *at)
{
    assert(file->replica_sync != NULL);
    return told->lsn > at->lsn ||
           (told->lsn == at->lsn && !ramet_point_equal(told, at)) ||
           ramet_replica_sync_lacks_point(file->replica_sync, at);
}

/* When (CLOCK_BOOTTIME, ms) nothing was certainly lacking in a snapshot of `at`; 0:
 * that was never known. */
static uint64_t
confirmed_ms(struct ramet_file *file, const struct ramet_point *at)
{
    struct ramet_remote_client *client;
    struct ramet_point told = {.lsn = 0};
    struct ramet_vid volume;
    uint64_t asked_ms, told_ms = 0;

    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (file->stateless != NULL) {
        asked_ms = ramet_stateless_looked_boot_ms(file->stateless);
    } else {
        asked_ms = ramet_replica_sync_confirmed(file->replica_sync, at->lsn);
        client = ramet_replica_sync_client(file->replica_sync);
        if (client != NULL &&
            ramet_replica_sync_volume(file->replica_sync, &volume))
            told_ms = ramet_remote_client_confirmed(client, &volume, &told);
        if (says_nothing_of(file, &told, at))
            told_ms = 0;
    }
    return told_ms > asked_ms ? told_ms : asked_ms;
}

uint64_t
ramet_file_age_ms(struct ramet_file *file, const struct ramet_point *at)
{
    const uint64_t now_ms = boot_ms(file);
    const uint64_t then_ms = confirmed_ms(file, at);

    if (then_ms == 0)
        return UINT64_MAX;
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

static enum ramet_rc
pin(struct ramet_file *file, struct ramet_err *err)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    return file->stateless != NULL ? ramet_stateless_pin(file->stateless, err)
                                   : ramet_session_pin(file->session, err);
}

static void
unpin(struct ramet_file *file)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (file->stateless != NULL)
        ramet_stateless_unpin(file->stateless);
    else
        ramet_session_unpin(file->session);
}

static const struct ramet_snapshot *
snapshot_of(struct ramet_file *file)
{
    return file->stateless != NULL ? ramet_stateless_snapshot(file->stateless)
                                   : ramet_session_snapshot(file->session);
}

/* For a read that began then; with a snapshot pinned. */
static bool
is_fresh(struct ramet_file *file, uint64_t began_ms)
{
    const struct ramet_point at = ramet_snapshot_point(snapshot_of(file));
    const uint64_t then_ms = confirmed_ms(file, &at);

    assert(file->bounds_age);
    return then_ms > 0 && then_ms + file->max_stale_ms >= began_ms;
}

/* It follows, whatever else the file may. */
static enum ramet_rc
pull(struct ramet_file *file, struct ramet_err *err)
{
    struct ramet_sync sync = {.verb = "pull",
                              .wait_ms = RAMET_VERB_WAIT_MS,
                              .patience = file->patience,
                              .follows = true};
    struct ramet_err own = {.code = RAMET_OK};
    enum ramet_rc rc = RAMET_OK;

    assert(file->stateless == NULL); /* invariant 1 */
    assert(!ramet_session_is_pinned(file->session));
    rc = ramet_sync_begin(&sync, file->replica_sync, file->session, &own);
    if (rc == RAMET_OK)
        rc = ramet_sync_pull(&sync, &own);
    ramet_sync_end(&sync, rc, &own);
    if (rc != RAMET_OK && err != NULL)
        *err = own;
    assert(sync.follows);
    return rc;
}

/* Ask, with nothing pinned. */
static enum ramet_rc
refresh(struct ramet_file *file, struct ramet_err *err)
{
    assert(file->bounds_age);
    return file->stateless != NULL ? ramet_stateless_fetch(file->stateless, err)
                                   : pull(file, err);
}

enum ramet_rc
ramet_file_pin_fresh(struct ramet_file *file, struct ramet_err *err)
{
    struct ramet_err last = {.code = RAMET_OK};
    const uint64_t began_ms = boot_ms(file);
    struct ramet_deadline deadline;
    enum ramet_rc rc = pin(file, err);

    assert(file->bounds_age);
    if (rc != RAMET_OK || is_fresh(file, began_ms))
        return rc;
    assert(file->fetch_timeout_ms > 0);
    ramet_deadline_begin(&deadline, file, file->fetch_timeout_ms);
    for (;;) {
        unpin(file);
        rc = refresh(file, &last);
        if (rc != RAMET_OK && !ramet_deadline_may_pass(rc)) {
            if (err != NULL)
                *err = last;
            break;
        }
        rc = pin(file, err);
        if (rc != RAMET_OK || is_fresh(file, began_ms))
            break;
        if (!ramet_deadline_wait(&deadline)) {
            unpin(file);
            rc = ramet_deadline_in_vain(
                file, &deadline,
                "no answer that is as fresh as max_stale_ms asks for",
                file->fetch_timeout_ms, &last, err);
            break;
        }
    }
    assert(file->patience == &deadline.base);
    ramet_deadline_end(&deadline, file);
    return rc;
}
