/*
 * remote_client_opening.c - what opening a volume asks of its remote, in one
 * exchange where the remote can: which it is, its newest commit, what all read,
 * a warm profile.
 *
 * Layer: client, remote.
 */
#include <assert.h>
#include <string.h>

#include "client/remote/remote_client_impl.h"
#include "metastore/profile.h"

/* What opening the volume asks, of whoever is at `name`. */
static enum ramet_rc
ask_opening(struct ramet_remote_client *client, const char *name,
            struct ramet_err *err)
{
    struct ramet_remote *const remote = ramet_remote_client_remote(client);
    struct ramet_opening_question question = {.name = name};
    char profile[RAMET_NAME_MAX + 1];
    struct ramet_buf object;
    struct ramet_err own;
    enum ramet_rc rc;

    ramet_mutex_lock(&client->mutex);
    memcpy(profile, client->profile, sizeof(profile));
    ramet_mutex_unlock(&client->mutex);
    question.profile = profile[0] != '\0' ? profile : NULL;
    question.out_profile = &object;
    if (err == NULL)
        err = &own;
    ramet_buf_init(&object, RAMET_PROFILE_OBJECT_MAX);
    rc = remote->ops->open(remote, &question, err);
    ramet_meter_note(&client->meter, rc, err);
    ramet_mutex_lock(&client->mutex);
    if (rc == RAMET_OK && question.profile != NULL && !client->has_profile) {
        client->has_profile = true;
        client->profile_object = object;
        ramet_buf_init(&object, RAMET_PROFILE_OBJECT_MAX);
    }
    ramet_mutex_unlock(&client->mutex);
    ramet_buf_done(&object);
    return rc;
}

static enum ramet_rc
open_volume(struct ramet_remote_client *client, struct ramet_err *err)
{
    struct ramet_remote *remote;
    bool is_first;

    ramet_mutex_lock(&client->mutex);
    is_first = !client->was_opened;
    client->was_opened = true;
    remote = client->remote;
    ramet_mutex_unlock(&client->mutex);
    return is_first && remote->ops->open != NULL
               ? ask_opening(client, client->url.name, err)
               : RAMET_OK;
}

/* ---- which volume it is ------------------------------------------------------ */

static bool
is_format_known(struct ramet_remote_client *client, bool *out_makes_store)
{
    bool known;

    ramet_mutex_lock(&client->mutex);
    known = client->is_looked_at;
    *out_makes_store = client->makes_store;
    ramet_mutex_unlock(&client->mutex);
    return known;
}

/* A bucket is not looked at when it is opened, for each look costs; but before
 * anything is made in it. (Who looks for what is there: ramet_catalog_find().) */
static enum ramet_rc
look_at_format(struct ramet_remote_client *client, struct ramet_err *err)
{
    bool makes_store;
    enum ramet_rc rc;

    if (is_format_known(client, &makes_store))
        return RAMET_OK;
    rc = ramet_catalog_check(ramet_remote_client_store(client), makes_store,
                             err);
    if (rc != RAMET_OK)
        return rc;
    ramet_mutex_lock(&client->mutex);
    client->is_looked_at = true;
    ramet_mutex_unlock(&client->mutex);
    return RAMET_OK;
}

enum ramet_rc
ramet_remote_client_resolve(struct ramet_remote_client *client,
                            struct ramet_vid *out_volume, struct ramet_err *err)
{
    struct ramet_objstore *store;
    bool makes_store;
    enum ramet_rc rc;

    rc = ramet_remote_client_check_name(client, err);
    if (rc == RAMET_OK)
        rc = ramet_remote_client_connect(client, false, err);
    if (rc == RAMET_OK)
        rc = open_volume(client, err);
    if (rc != RAMET_OK)
        return rc;
    store = ramet_remote_client_store(client);
    return is_format_known(client, &makes_store)
               ? ramet_catalog_resolve(store, client->url.name, out_volume, err)
               : ramet_catalog_find(store, client->url.name, out_volume, err);
}

enum ramet_rc
ramet_remote_client_newest_to_read(struct ramet_remote_client *client,
                                   const struct ramet_vid *volume,
                                   struct ramet_head *out_head,
                                   struct ramet_err *err)
{
    struct ramet_history *history = NULL;
    const enum ramet_rc rc =
        ramet_remote_client_history(client, volume, &history, err);

    assert(out_head != NULL);
    if (rc != RAMET_OK)
        return rc;
    ramet_history_expect_reads(history);
    return ramet_remote_client_newest(client, volume, out_head, err);
}

enum ramet_rc
ramet_remote_client_claim(struct ramet_remote_client *client,
                          const struct ramet_vid *fresh,
                          struct ramet_vid *out_volume, struct ramet_err *err)
{
    enum ramet_rc rc;

    rc = ramet_remote_client_check_name(client, err);
    if (rc == RAMET_OK)
        rc = ramet_remote_client_connect(client, false, err);
    if (rc == RAMET_OK)
        rc = look_at_format(client, err);
    if (rc == RAMET_OK)
        rc = open_volume(client, err);
    if (rc != RAMET_OK)
        return rc;
    return ramet_catalog_claim(ramet_remote_client_store(client),
                               client->url.name, fresh, out_volume, err);
}

/* ---- a warm profile -------------------------------------------------------------- */

void
ramet_remote_client_want_profile(struct ramet_remote_client *client,
                                 const char *name)
{
    assert(ramet_name_valid(name));
    ramet_mutex_lock(&client->mutex);
    if (client->profile[0] == '\0')
        memcpy(client->profile, name, strlen(name) + 1);
    ramet_mutex_unlock(&client->mutex);
}

/* False: it is another that the client asks for. */
static bool
is_wanted_profile(struct ramet_remote_client *client, const char *name,
                  bool *out_is_here)
{
    bool wanted;

    ramet_mutex_lock(&client->mutex);
    wanted = strcmp(client->profile, name) == 0;
    *out_is_here = client->has_profile;
    ramet_mutex_unlock(&client->mutex);
    return wanted;
}

enum ramet_rc
ramet_remote_client_profile(struct ramet_remote_client *client,
                            const struct ramet_vid *volume, const char *name,
                            struct ramet_profile *profile,
                            struct ramet_err *err)
{
    char id[RAMET_ID_TEXT_SIZE];
    bool here;
    enum ramet_rc rc = ramet_remote_client_connect(client, false, err);

    if (rc != RAMET_OK)
        return rc;
    if (ramet_remote_client_remote(client)->ops->open == NULL)
        return ramet_profile_read(ramet_remote_client_store(client), volume,
                                  name, profile, err);
    if (!is_wanted_profile(client, name, &here))
        return RAMET_OK;
    ramet_id_format(&volume->id, id);
    if (!here)
        rc = ask_opening(client, id, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_mutex_lock(&client->mutex);
    if (client->profile_object.len > 0)
        rc = ramet_profile_decode(volume, name, client->profile_object.data,
                                  client->profile_object.len, profile, err);
    ramet_mutex_unlock(&client->mutex);
    return rc;
}

/* ---- a question ------------------------------------------------------------------ */

enum ramet_rc
ramet_remote_client_ask(struct ramet_remote_client *client,
                        const struct ramet_vid *volume,
                        const struct ramet_point *at,
                        const struct ramet_question *question,
                        ramet_question_visit *visit, void *ctx,
                        struct ramet_err *err)
{
    struct ramet_remote *const remote = ramet_remote_client_remote(client);

    if (remote == NULL || remote->ops->ask == NULL)
        return RAMET_FAIL(
            err, RAMET_ENOTFOUND,
            "remote %.200s: is not a server, so it can't run a statement",
            client->text);
    return remote->ops->ask(remote, volume, at, question, visit, ctx, err);
}
