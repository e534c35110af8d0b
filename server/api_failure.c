/*
 * api_failure.c - the volume that a call is about, and what is answered where
 * something fails.
 *
 *   (1) What is not the client's doing is in the log, with all of its text.
 *   (2) What a deletion took away is not damage.
 */
#include "core/log.h"

#include "server/server_impl.h"
#include <assert.h>

/* Answer with a failure. What is not the client's doing is the operator's
 * affair: the log says all of it. */
static void
tell(struct call *call, enum ramet_rc rc, const struct ramet_err *err,
     bool from_client)
{
    const unsigned status = ramet_status_of(rc, from_client);
    char number[RAMET_LOG_NUM_SIZE];

    assert(rc != RAMET_OK);
    if (status >= 500)
        ramet_log(RAMET_LOG_ERROR, "request failed", "method",
                  ramet_http_method_name(call->rq), "path",
                  ramet_http_path(call->rq), "status",
                  ramet_log_num(number, status), "code", ramet_rc_name(rc),
                  "detail", err->text, NULL);
    ramet_render_failure(call->rq, rc, err, from_client);
}

void
ramet_api_refused(struct call *call, enum ramet_rc rc,
                  const struct ramet_err *err)
{
    tell(call, rc, err, true);
}

static void
say_deleted(const struct ramet_vid *volume, struct ramet_err *err)
{
    char id[RAMET_ID_TEXT_SIZE];

    assert(volume != NULL);
    ramet_id_format(&volume->id, id);
    (void)RAMET_FAIL(err, RAMET_ENOTFOUND, "volume %s was deleted", id);
}

/* By this server, or (where looking into the store is due anyway) by whoever. */
static bool
was_deleted(struct ramet_server *server, const struct ramet_vid *volume,
            enum ramet_rc rc)
{
    bool deleted = false;

    assert(rc != RAMET_OK);
    if (ramet_gone_has(server->gone, volume))
        return true;
    if (rc != RAMET_ECORRUPT && rc != RAMET_EWENTBACK)
        return false;
    return ramet_catalog_is_deleted(server->base, volume, &deleted, NULL) ==
               RAMET_OK &&
           deleted;
}

void
ramet_api_count_damage(struct ramet_server *server)
{
    atomic_fetch_add_explicit(&server->metrics.damaged, 1,
                              memory_order_relaxed);
}

bool
ramet_api_note_failure(struct ramet_server *server,
                       const struct ramet_vid *volume, enum ramet_rc *rc,
                       struct ramet_err *err)
{
    assert(*rc != RAMET_OK);
    if (was_deleted(server, volume, *rc)) {
        ramet_cache_forget(server->cache, volume);
        ramet_volume_table_drop(server->volumes, volume, true);
        say_deleted(volume, err);
        *rc = RAMET_ENOTFOUND;
        return true;
    }
    /* The store may have been mended. What the history holds was verified. */
    if (*rc == RAMET_ECORRUPT || *rc == RAMET_EWENTBACK)
        ramet_cache_forget(server->cache, volume);
    if (*rc == RAMET_ECORRUPT)
        ramet_api_count_damage(server);
    /* The store was set back: begin anew, and so does who listens. */
    if (*rc == RAMET_EWENTBACK)
        ramet_volume_table_drop(server->volumes, volume, false);
    return false;
}

bool
ramet_api_note_loss(struct ramet_server *server, const struct ramet_vid *volume,
                    enum ramet_rc *rc, struct ramet_err *err)
{
    assert(*rc != RAMET_OK);
    if (*rc == RAMET_ENOTFOUND)
        *rc = RAMET_ECORRUPT;
    return ramet_api_note_failure(server, volume, rc, err);
}

void
ramet_api_failed(struct call *call, const struct ramet_vid *volume,
                 enum ramet_rc rc, const struct ramet_err *err)
{
    struct ramet_err why = *err;

    assert(rc != RAMET_OK);
    if (volume != NULL &&
        ramet_api_note_failure(call->server, volume, &rc, &why) &&
        ramet_api_is_write(call))
        ramet_api_gone(call->rq, volume);
    else
        tell(call, rc, &why, false);
}

void
ramet_api_gone(struct ramet_http_request *rq, const struct ramet_vid *volume)
{
    struct ramet_err err;

    say_deleted(volume, &err);
    ramet_render_problem(rq, 410, RAMET_EWENTBACK, err.text,
                         "nothing was written; what you have is still yours: "
                         "`ramet export` saves it, `ramet init` makes a new "
                         "volume of it");
}

bool
ramet_api_resolve(struct call *call)
{
    struct ramet_err err;
    enum ramet_rc rc = RAMET_OK;

    if (!call->has_id)
        rc = ramet_catalog_resolve(call->server->store, call->name,
                                   &call->volume, &err);
    if (rc == RAMET_OK && ramet_gone_has(call->server->gone, &call->volume)) {
        if (ramet_api_is_write(call)) {
            ramet_api_gone(call->rq, &call->volume);
            return false;
        }
        say_deleted(&call->volume, &err);
        rc = RAMET_ENOTFOUND;
    }
    if (rc != RAMET_OK)
        ramet_api_failed(call, NULL, rc, &err);
    return rc == RAMET_OK;
}

struct ramet_open_volume *
ramet_api_open_volume(struct call *call)
{
    struct ramet_open_volume *vol = NULL;
    struct ramet_err err;
    enum ramet_rc rc;

    if (!ramet_api_resolve(call))
        return NULL;
    rc =
        ramet_open_volume_get(call->server->volumes, &call->volume, &vol, &err);
    if (rc != RAMET_OK)
        ramet_api_failed(call, NULL, rc, &err);
    return vol;
}
