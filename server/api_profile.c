/*
 * api_profile.c - warm profiles: written once under the next number, and taken
 * away. They are read as any object is (api_objects.c), and come with an opening
 * (api_open.c).
 *
 *   (1) What is written is a whole profile of the path's volume, name and number,
 *       recorded at a commit that there is, and the volume has room for it: it tells
 *       others what to bring.
 *   (2) Whoever opens after that was answered is told of it: what is kept of the
 *       profile (profiles.h) is forgotten once the store has changed, or may have.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "metastore/profile.h"
#include "server/server_impl.h"

void
ramet_api_profile_begin(struct call *call)
{
    const char *const match = ramet_http_header(call->rq, "If-None-Match");

    if (match == NULL || strcmp(match, "*") != 0)
        ramet_render_problem(call->rq, 428, RAMET_EINVAL,
                             "objects are written once: send If-None-Match: *",
                             NULL);
    else if (!call->has_id)
        ramet_render_problem(call->rq, 400, RAMET_EINVAL,
                             "write objects by the volume's id, not its name",
                             NULL);
    else
        ramet_http_want_body(call->rq, RAMET_PROFILE_OBJECT_MAX);
}

static enum ramet_rc
check_lsn(struct ramet_open_volume *vol, uint64_t lsn, struct ramet_err *err)
{
    struct ramet_head newest;
    const enum ramet_rc rc =
        ramet_history_newest(ramet_open_volume_history(vol), &newest, err);

    if (rc == RAMET_OK && lsn > newest.lsn)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "a profile of LSN %" PRIu64
                          ", and the newest commit is %" PRIu64,
                          lsn, newest.lsn);
    return rc;
}

/* Invariant (1). */
static enum ramet_rc
check(struct call *call, struct ramet_open_volume *vol, const uint8_t *body,
      size_t len, struct ramet_err *err)
{
    struct ramet_profile profile;
    char key[RAMET_KEY_MAX], said[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(call->has_id && call->route == RAMET_ROUTE_PROFILE);
    ramet_profile_init(&profile);
    rc = ramet_profile_decode(&call->volume, call->profile, body, len, &profile,
                              err);
    ramet_api_object_key(call, key);
    ramet_profile_key(&call->volume, call->profile, profile.seq, said);
    if (rc == RAMET_OK && strcmp(key, said) != 0)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "the body is not the object that the path names");
    if (rc == RAMET_OK)
        rc = check_lsn(vol, profile.lsn, err);
    if (rc == RAMET_OK)
        rc = ramet_profile_follows(call->server->store, &call->volume,
                                   call->profile, profile.seq, err);
    ramet_profile_done(&profile);
    return rc;
}

/* Of a volume that was not deleted here. */
static enum ramet_rc
put(struct call *call, const uint8_t *body, size_t len, struct ramet_err *err)
{
    const struct iovec part = {(void *)(uintptr_t)body, len};
    char key[RAMET_KEY_MAX];

    assert(call->route == RAMET_ROUTE_PROFILE && body != NULL);
    ramet_api_object_key(call, key);
    return ramet_objstore_put(call->server->store, key, &part, 1, err);
}

void
ramet_api_profile_put(struct call *call)
{
    struct ramet_open_volume *const vol = ramet_api_open_volume(call);
    struct ramet_err err;
    size_t len;
    const uint8_t *const body = ramet_http_body(call->rq, &len);
    enum ramet_rc rc;

    if (vol == NULL)
        return;
    rc = check(call, vol, body, len, &err);
    ramet_open_volume_put(vol);
    if (rc == RAMET_OK &&
        !ramet_gone_enter(call->server->gone, &call->volume)) {
        ramet_api_gone(call->rq, &call->volume);
        return;
    }
    if (rc == RAMET_OK) {
        rc = put(call, body, len, &err);
        ramet_gone_leave(call->server->gone, &call->volume);
    }
    /* Also where it was refused: who was told of another by us may have built on
     * that. */
    ramet_profiles_forget(call->server->profiles, &call->volume, call->profile);
    if (rc == RAMET_OK)
        ramet_http_reply(call->rq, 201, NULL, NULL, 0);
    else if (rc == RAMET_EEXIST)
        ramet_render_problem(call->rq, 412, rc,
                             "there is such an object already", NULL);
    else
        ramet_api_refused(call, rc, &err);
}

void
ramet_api_profile_remove(struct call *call)
{
    char key[RAMET_KEY_MAX];
    struct ramet_err err;
    enum ramet_rc rc;

    if (!ramet_api_resolve(call))
        return;
    ramet_api_object_key(call, key);
    rc = ramet_objstore_remove(call->server->store, key, &err);
    ramet_profiles_forget(call->server->profiles, &call->volume, call->profile);
    if (rc == RAMET_OK)
        ramet_http_reply(call->rq, 204, NULL, NULL, 0);
    else
        ramet_api_failed(call, NULL, rc, &err);
}
