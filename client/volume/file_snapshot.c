/*
 * file_snapshot.c - opens a snapshot straight from the remote, of the volume that
 * the URL names or that the replica at the path is bound to.
 *
 * Layer: client, volume.
 */
#include <assert.h>

#include "client/remote/remote_client.h"
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "client/store/store.h"
#include "client/volume/file_impl.h"
#include "client/volume/file_opening.h"
#include "client/volume/stateless.h"

/* The binding of the replica at the path, for a look into its past. */
static enum ramet_rc
read_binding(struct ramet_opening *opening, struct ramet_vid *out_volume,
             struct ramet_err *err)
{
    const struct ramet_replica_options replica = {
        .os = opening->os,
        .flags = RAMET_OPEN_READONLY | RAMET_OPEN_RESOLVED,
    };
    struct ramet_replica_state *const state = &opening->file->state;
    struct ramet_session *session = NULL;
    enum ramet_rc rc;

    assert(!opening->url_is_explicit);
    assert(opening->file->session == NULL);
    rc = ramet_session_open(opening->path, &replica, &session, err);
    if (rc == RAMET_OK)
        rc = ramet_session_state(session, state, err);
    ramet_session_close(session);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_id_is_nil(&state->volume.id))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: has no remote, so no older snapshots",
                          opening->path);
    *out_volume = state->volume;
    return ramet_opening_take_url_of_state(opening, err);
}

static enum ramet_rc
find_point(const struct ramet_opening *opening,
           struct ramet_stateless_point *out_point, struct ramet_err *err)
{
    const struct ramet_url *const url = &opening->url;

    assert(opening->has_url);
    *out_point = (struct ramet_stateless_point){.fixed = false};
    if (opening->options->at != NULL) {
        if (opening->url_is_explicit && (url->has_lsn || url->has_time))
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "at=%.64s: the URL names a snapshot, too",
                              opening->options->at);
        return ramet_stateless_point_parse(opening->options->at, out_point,
                                           err);
    }
    assert(!(url->has_lsn && url->has_time));
    out_point->fixed = url->has_lsn || url->has_time;
    if (url->has_lsn)
        out_point->lsn = url->at_lsn;
    else
        out_point->time_ms = url->at_time_ms;
    return RAMET_OK;
}

enum ramet_rc
ramet_opening_stateless(struct ramet_opening *opening, struct ramet_err *err)
{
    struct ramet_file *const file = opening->file;
    struct ramet_remote_client *client = NULL;
    struct ramet_vid volume;
    bool bound = false;
    struct ramet_stateless_point point = {.fixed = false};
    enum ramet_rc rc = RAMET_OK;

    assert(file->session == NULL && file->stateless == NULL);
    assert(opening->path == file->path);
    if (!opening->url_is_explicit &&
        ramet_replica_exists_at(opening->os, opening->path)) {
        rc = read_binding(opening, &volume, err);
        bound = rc == RAMET_OK;
    }
    if (rc == RAMET_OK && !opening->has_url)
        rc = RAMET_FAIL(err, RAMET_EINVAL,
                        "%s: a snapshot without a replica needs remote=URL",
                        opening->path);
    if (rc == RAMET_OK)
        rc = find_point(opening, &point, err);
    if (rc == RAMET_OK)
        rc = ramet_file_open_client(opening->options, &opening->url,
                                    opening->naming == RAMET_NAMED_FOR_GOOD
                                        ? RAMET_NAMED_BY_USER
                                        : opening->naming,
                                    &client, err);
    if (rc == RAMET_OK)
        rc = ramet_stateless_open(client, bound ? &volume : NULL, &point,
                                  opening->options->cache_limit_bytes,
                                  opening->os, &file->stateless, err);
    ramet_remote_client_close(client);
    file->bounds_age = opening->options->bounds_age && !point.fixed;
    file->max_stale_ms = opening->options->max_stale_ms;
    assert((rc == RAMET_OK) == (file->stateless != NULL)); /* invariant 1 */
    file->fetch_timeout_ms = ramet_fetch_timeout_of(opening->options);
    file->sync = RAMET_SYNC_MANUAL;
    return rc;
}
