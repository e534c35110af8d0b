/*
 * bind.c - the first push gives the volume its name.
 *
 * Layer: client, sync.
 */
#include "client/sync/bind.h"

#include <inttypes.h>

#include "client/remote/remote.h"
#include "client/remote/source.h"
#include "client/store/exchange.h"
#include "client/sync/link.h"

/* *out_is_new: the name meant nothing before, and the volume is this run's. */
static enum ramet_rc
bind_name(struct ramet_sync *sync, struct ramet_vid *out_volume,
          bool *out_is_new, struct ramet_err *err)
{
    struct ramet_vid fresh;
    enum ramet_rc rc;

    *out_is_new = false;
    if (!atomic_load(&sync->link->may_create))
        return ramet_source_resolve(sync->source, out_volume, err);
    rc = ramet_id_new(&fresh.id, err);
    if (rc == RAMET_OK)
        rc = ramet_source_claim(sync->source, &fresh, out_volume, err);
    if (rc == RAMET_OK)
        *out_is_new = ramet_id_compare(&out_volume->id, &fresh.id) == 0;
    return rc;
}

/*
 * The name goes to the volume first, then the replica to the volume. A crash
 * in between leaves a name for a volume without commits, and such a one
 * belongs to whoever makes its first commit.
 */
static enum ramet_rc
bind_replica(struct ramet_sync *sync, struct ramet_err *err)
{
    const struct ramet_snapshot base = sync->state->newest;
    struct ramet_head head = {.lsn = 0};
    struct ramet_vid volume;
    const char *text;
    enum ramet_rc rc;

    rc = bind_name(sync, &volume, &sync->made_volume, err);
    if (rc == RAMET_OK && !sync->made_volume)
        rc = ramet_source_newest(sync->source, &volume, &head, err);
    if (rc != RAMET_OK)
        return rc;
    if (head.lsn > 0 &&
        (ramet_sync_pending(sync) || sync->state->newest.byte_length > 0))
        return RAMET_FAIL(err, RAMET_EEXIST,
                          "%s: %.200s is there already (at LSN %" PRIu64
                          "), and this file does not come from it; choose "
                          "another name, or clone it",
                          sync->link->path, ramet_source_text(sync->source),
                          head.lsn);
    if (head.lsn > 0 && head.kind != sync->state->kind)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: %.200s is %s, this file is not; clone it to "
                          "another name",
                          sync->link->path, ramet_source_text(sync->source),
                          head.kind == RAMET_KIND_SQLITE ? "a database"
                                                         : "a plain file");
    text = ramet_source_text(sync->source);
    rc = head.lsn > 0 ? ramet_session_bind_unchanged(sync->session, &base, text,
                                                     &volume, err)
                      : ramet_session_bind(sync->session, text, &volume, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_link_set_volume(sync->link, &volume);
    return ramet_sync_look(sync, err);
}

enum ramet_rc
ramet_sync_bind(struct ramet_sync *sync, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    if (sync->history != NULL)
        return RAMET_OK;
    /* Another process may have done it while the push lock was waited for. */
    if (!ramet_link_volume(sync->link, &sync->volume))
        rc = bind_replica(sync, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_connect(sync, err);
    if (rc == RAMET_OK && sync->made_volume)
        ramet_history_made(sync->history);
    return rc;
}
