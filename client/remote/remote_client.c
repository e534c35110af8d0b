/*
 * remote_client.c - see remote_client.h.
 *
 * Layer: client.
 */
#include "client/remote/remote_client_impl.h"

#include <assert.h>
#include <string.h>

#include "client/remote/meter.h"
#include "client/remote/pace.h"
#include "client/remote/pagecache.h"
#include "client/remote/remote.h"
#include "core/alloc.h"
#include "core/thread.h"

const struct ramet_url *
ramet_remote_client_url(const struct ramet_remote_client *client)
{
    return &client->url;
}

const char *
ramet_remote_client_text(const struct ramet_remote_client *client)
{
    assert(client->text[0] != '\0');
    return client->text;
}

struct ramet_meter *
ramet_remote_client_meter(struct ramet_remote_client *client)
{
    return &client->meter;
}

uint64_t
ramet_remote_client_requests(struct ramet_remote_client *client)
{
    const struct ramet_remote *const remote =
        ramet_remote_client_remote(client);

    if (remote != NULL && remote->ops->requests != NULL)
        return remote->ops->requests(remote);
    return atomic_load(&client->meter.requests);
}

uint64_t
ramet_remote_client_received(struct ramet_remote_client *client)
{
    struct ramet_pace *const pace = ramet_remote_client_pace(client);

    return pace != NULL ? ramet_pace_moved(pace)
                        : atomic_load(&client->meter.bytes_read);
}

struct ramet_pace *
ramet_remote_client_pace(struct ramet_remote_client *client)
{
    struct ramet_remote *const remote = ramet_remote_client_remote(client);

    return remote != NULL && remote->ops->pace != NULL
               ? remote->ops->pace(remote)
               : NULL;
}

void
ramet_remote_client_rest(struct ramet_remote_client *client)
{
    struct ramet_remote *const remote = ramet_remote_client_remote(client);

    if (remote != NULL && remote->ops->rest != NULL)
        remote->ops->rest(remote);
}

static bool
take_offer(void *ctx, const struct ramet_vid *volume,
           const struct ramet_point *at, const uint8_t *object, size_t len);

static enum ramet_rc
no_store(const struct ramet_remote_client *client, struct ramet_err *err)
{
    if (client->url.scheme != RAMET_REMOTE_FILE)
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "remote %.200s: there is no Ramet store; check the "
                          "URL",
                          client->text);
    return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                      "remote %.200s: there is no Ramet store in the directory "
                      "%.200s; check the path, and that its disk is mounted",
                      client->text, client->url.root);
}

static enum ramet_rc
open_remote(struct ramet_remote_client *client, bool create_store,
            struct ramet_remote **out_remote, struct ramet_err *err)
{
    const uint64_t timeout_ms = client->timeout_ms;
    const struct ramet_remote_options options = {
        .create_store = create_store,
        .token = client->token,
        .withheld_why = client->withheld_why,
        .s3_configured = client->s3_configured,
        .connect_timeout_ms = timeout_ms < 5000 ? timeout_ms : 5000,
        .stall_timeout_ms = timeout_ms,
    };
    struct ramet_err own;
    enum ramet_rc rc;

    assert(*out_remote == NULL);
    rc = ramet_remote_open(&client->url, &options, out_remote, &own);
    if (rc == RAMET_ENOTFOUND) /* an unmounted disk looks like this, too */
        rc = no_store(client, &own);
    if (rc != RAMET_OK) {
        ramet_meter_note(&client->meter, rc, &own);
        if (err != NULL)
            *err = own;
    }
    return rc;
}

void
ramet_remote_client_adopt(struct ramet_remote_client *client,
                          struct ramet_remote *remote)
{
    assert(remote->store != NULL && remote != client->remote);
    remote->offer_ctx = client;
    remote->offer = take_offer;
    client->remote = remote;
    ramet_meter_attach(&client->meter, remote->store);
}

static enum ramet_rc
connect_locked(struct ramet_remote_client *client, bool create_store,
               struct ramet_err *err)
{
    const bool is_bucket = client->url.scheme == RAMET_REMOTE_S3;
    struct ramet_remote *remote = NULL;
    enum ramet_rc rc;

    client->makes_store = client->makes_store || (is_bucket && create_store);
    if (client->remote != NULL)
        return RAMET_OK;
    rc = open_remote(client, create_store && !is_bucket, &remote, err);
    if (rc != RAMET_OK)
        return rc;
    assert(remote != NULL);
    ramet_remote_client_adopt(client, remote);
    client->is_looked_at = !is_bucket;
    return RAMET_OK;
}

/* Where the URL leads now. */
static enum ramet_rc
follow_locked(struct ramet_remote_client *client, struct ramet_err *err)
{
    struct ramet_remote *const before = client->remote;
    struct ramet_remote *remote = NULL;
    enum ramet_rc rc;

    if (before == NULL || before->ops->moved == NULL ||
        !before->ops->moved(before))
        return RAMET_OK;
    if (client->former_count == FORMER_MAX)
        return RAMET_FAIL(
            err, RAMET_EUNREACHABLE,
            "remote %.200s: was replaced more than %u times while "
            "it was in use; open the file anew",
            client->text, FORMER_MAX);
    rc = open_remote(client, false, &remote, err);
    if (rc != RAMET_OK)
        return rc;
    assert(client->former_count < FORMER_MAX);
    assert(client->remote == before);
    client->former[client->former_count++] = before;
    ramet_remote_client_adopt(client, remote);
    for (unsigned i = 0; i < client->history_count; i++)
        ramet_history_forget(client->histories[i].history);
    return RAMET_OK;
}

enum ramet_rc
ramet_remote_client_check_name(const struct ramet_remote_client *client,
                               struct ramet_err *err)
{
    return client->url.name[0] != '\0'
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_EINVAL,
                            "remote %.200s: names a store; add the volume's "
                            "name",
                            client->text);
}

enum ramet_rc
ramet_remote_client_connect(struct ramet_remote_client *client,
                            bool create_store, struct ramet_err *err)
{
    /* No store is made for a volume that has no name. */
    enum ramet_rc rc =
        create_store ? ramet_remote_client_check_name(client, err) : RAMET_OK;

    if (rc != RAMET_OK)
        return rc;
    ramet_mutex_lock(&client->mutex);
    rc = connect_locked(client, create_store, err);
    ramet_mutex_unlock(&client->mutex);
    return rc;
}

struct ramet_objstore *
ramet_remote_client_store(struct ramet_remote_client *client)
{
    assert(client->meter.inner != NULL);
    return &client->meter.base;
}

struct ramet_remote *
ramet_remote_client_remote(struct ramet_remote_client *client)
{
    struct ramet_remote *remote;

    ramet_mutex_lock(&client->mutex);
    remote = client->remote;
    ramet_mutex_unlock(&client->mutex);
    return remote;
}

void
ramet_remote_client_begin(struct ramet_remote_client *client)
{
    struct ramet_remote *const remote = ramet_remote_client_remote(client);

    if (remote != NULL && remote->ops->begin != NULL)
        remote->ops->begin(remote);
}

struct known_history *
ramet_remote_client_known(struct ramet_remote_client *client,
                          const struct ramet_vid *volume)
{
    assert(client->history_count <= HISTORIES_MAX);
    for (unsigned i = 0; i < client->history_count; i++)
        if (ramet_id_compare(&client->histories[i].volume.id, &volume->id) == 0)
            return &client->histories[i];
    return NULL;
}

enum ramet_rc
ramet_remote_client_history_locked(struct ramet_remote_client *client,
                                   const struct ramet_vid *volume,
                                   struct ramet_history **out_history,
                                   struct ramet_err *err)
{
    struct known_history *known;
    enum ramet_rc rc;

    rc = connect_locked(client, false, err);
    if (rc == RAMET_OK)
        rc = follow_locked(client, err);
    if (rc != RAMET_OK)
        return rc;
    assert(client->remote != NULL && client->meter.inner != NULL);
    known = ramet_remote_client_known(client, volume);
    if (known == NULL) {
        if (client->history_count == HISTORIES_MAX)
            return RAMET_FAIL(err, RAMET_EBUSY,
                              "remote %.200s: too many volumes under one name "
                              "in one process",
                              client->text);
        known = &client->histories[client->history_count];
        rc = ramet_history_open(&client->meter.base, volume, NULL,
                                &known->history, err);
        if (rc != RAMET_OK)
            return rc;
        known->volume = *volume;
        client->history_count++;
    }
    assert(known->history != NULL);
    *out_history = known->history;
    return RAMET_OK;
}

enum ramet_rc
ramet_remote_client_history(struct ramet_remote_client *client,
                            const struct ramet_vid *volume,
                            struct ramet_history **out_history,
                            struct ramet_err *err)
{
    enum ramet_rc rc;

    ramet_mutex_lock(&client->mutex);
    rc = ramet_remote_client_history_locked(client, volume, out_history, err);
    ramet_mutex_unlock(&client->mutex);
    return rc;
}

void
ramet_remote_client_forget(struct ramet_remote_client *client,
                           const struct ramet_vid *volume)
{
    struct ramet_remote *remote;
    struct known_history *known;

    ramet_mutex_lock(&client->mutex);
    known = ramet_remote_client_known(client, volume);
    remote = client->remote;
    ramet_mutex_unlock(&client->mutex);
    if (known == NULL)
        return;
    /* From below: else a cache that was dropped would be filled from one that
     * is not yet. */
    assert(remote != NULL);
    if (remote->ops->forget != NULL)
        remote->ops->forget(remote, volume);
    ramet_history_forget(known->history);
    ramet_mutex_lock(&client->mutex);
    if (known->cache != NULL)
        ramet_pagecache_clear(known->cache);
    ramet_mutex_unlock(&client->mutex);
}

enum ramet_rc
ramet_remote_client_newest(struct ramet_remote_client *client,
                           const struct ramet_vid *volume,
                           struct ramet_head *out_head, struct ramet_err *err)
{
    struct ramet_history *history = NULL;
    enum ramet_rc rc =
        ramet_remote_client_history(client, volume, &history, err);

    if (rc == RAMET_OK)
        rc = ramet_history_newest(history, out_head, err);
    if (rc != RAMET_EWENTBACK)
        return rc;
    ramet_remote_client_forget(client, volume);
    return ramet_history_newest(history, out_head, err);
}

bool
ramet_remote_client_told(struct ramet_remote_client *client,
                         const struct ramet_vid *volume,
                         struct ramet_head *out_head)
{
    struct ramet_history *history = NULL;
    struct ramet_remote *const remote = ramet_remote_client_remote(client);
    struct ramet_heard heard;
    struct ramet_head head;
    struct ramet_point seen;

    if (remote == NULL || remote->ops->heard == NULL ||
        !remote->ops->heard(remote, volume, &heard) || !heard.is_alive ||
        ramet_remote_client_history(client, volume, &history, NULL) !=
            RAMET_OK ||
        ramet_history_seen(history, &head, NULL) != RAMET_OK)
        return false;
    seen = ramet_head_point(&head);
    if (!ramet_point_equal(&seen, &heard.newest))
        return false;
    *out_head = head;
    return true;
}

uint64_t
ramet_remote_client_confirmed(struct ramet_remote_client *client,
                              const struct ramet_vid *volume,
                              struct ramet_point *out)
{
    struct ramet_remote *const remote = ramet_remote_client_remote(client);
    struct ramet_heard heard;

    if (remote == NULL || remote->ops->heard == NULL ||
        !remote->ops->heard(remote, volume, &heard))
        return 0;
    *out = heard.confirmed;
    return heard.confirmed_ms;
}

/* A commit object that the remote sent by itself. */
static bool
take_offer(void *ctx, const struct ramet_vid *volume,
           const struct ramet_point *at, const uint8_t *object, size_t len)
{
    struct ramet_remote_client *const client = ctx;
    struct known_history *known;
    struct ramet_history *history;

    ramet_mutex_lock(&client->mutex);
    known = ramet_remote_client_known(client, volume);
    history = known != NULL ? known->history : NULL;
    ramet_mutex_unlock(&client->mutex);
    return history != NULL && ramet_history_offer(history, at, object, len);
}

/* A dictionary saves a tenth of what is sent with it, about: it is brought for so many
 * times its length, and for as much as makes up for the request. */
#define DICT_PAYS_FROM 16u
#define DICT_PAYS_FROM_BYTES (256u << 10)

static bool
is_same_place(const struct ramet_extent *a, const struct ramet_extent *b)
{
    return ramet_id_compare(&a->segment.id, &b->segment.id) == 0 &&
           a->offset_bytes == b->offset_bytes &&
           a->length_bytes == b->length_bytes &&
           ramet_hash_equal(&a->hash, &b->hash);
}

/* `dict` is `known`'s from here on. */
static void
know_dict(struct known_history *known, const struct ramet_extent *extent,
          uint8_t *dict, size_t len)
{
    assert(dict != NULL || len == 0);
    ramet_free(known->dict);
    known->dict = dict;
    known->dict_len = len;
    known->dict_extent = *extent;
    known->sent_without = 0;
}

static enum ramet_rc
copy_dict(const uint8_t *dict, size_t len, uint8_t **out_dict, size_t *out_len,
          struct ramet_err *err)
{
    uint8_t *const copy = ramet_alloc(len);

    if (copy == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "dictionary: no memory");
    memcpy(copy, dict, len);
    *out_dict = copy;
    *out_len = len;
    return RAMET_OK;
}

/* Where reading is a request, a small push does without. Under the mutex. */
static bool
pays_for_dict(struct ramet_remote_client *client, struct known_history *known,
              const struct ramet_extent *extent, uint64_t page_bytes)
{
    known->sent_without += page_bytes;
    return client->meter.base.traits == 0 ||
           (known->sent_without >= DICT_PAYS_FROM_BYTES &&
            known->sent_without / DICT_PAYS_FROM >= extent->length_bytes);
}

bool
ramet_remote_client_seeks_dict(struct ramet_remote_client *client,
                               const struct ramet_vid *volume,
                               uint64_t page_bytes)
{
    struct known_history *known;
    bool seeks;

    ramet_mutex_lock(&client->mutex);
    known = ramet_remote_client_known(client, volume);
    assert(known != NULL);
    seeks = client->meter.base.traits == 0 || known->dict != NULL ||
            known->sent_without + page_bytes >= DICT_PAYS_FROM_BYTES;
    if (!seeks)
        known->sent_without += page_bytes;
    ramet_mutex_unlock(&client->mutex);
    return seeks;
}

enum ramet_rc
ramet_remote_client_dict(struct ramet_remote_client *client,
                         const struct ramet_vid *volume,
                         const struct ramet_extent *extent, uint64_t page_bytes,
                         uint8_t **out_dict, size_t *out_len,
                         struct ramet_err *err)
{
    struct known_history *known;
    uint8_t *dict = NULL;
    size_t len = 0;
    bool pays = true;
    enum ramet_rc rc = RAMET_ENOTFOUND;

    *out_dict = NULL;
    ramet_mutex_lock(&client->mutex);
    known = ramet_remote_client_known(client, volume);
    assert(known != NULL);
    if (known->dict != NULL && is_same_place(&known->dict_extent, extent))
        rc = copy_dict(known->dict, known->dict_len, out_dict, out_len, err);
    else
        pays = pays_for_dict(client, known, extent, page_bytes);
    ramet_mutex_unlock(&client->mutex);
    if (rc != RAMET_ENOTFOUND)
        return rc;
    if (!pays)
        return RAMET_OK;
    rc = ramet_dict_load(ramet_remote_client_store(client), extent, &dict, &len,
                         err);
    if (rc != RAMET_OK)
        return rc;
    rc = copy_dict(dict, len, out_dict, out_len, err);
    ramet_mutex_lock(&client->mutex);
    know_dict(known, extent, dict, len);
    ramet_mutex_unlock(&client->mutex);
    return rc;
}

struct ramet_pagecache *
ramet_remote_client_cache(struct ramet_remote_client *client,
                          const struct ramet_vid *volume, size_t limit_bytes)
{
    struct known_history *known;
    struct ramet_pagecache *cache;

    ramet_mutex_lock(&client->mutex);
    known = ramet_remote_client_known(client, volume);
    assert(known != NULL);
    if (known->cache == NULL)
        known->cache = ramet_pagecache_new(limit_bytes);
    cache = known->cache;
    ramet_mutex_unlock(&client->mutex);
    if (cache != NULL)
        ramet_pagecache_grow(cache, limit_bytes);
    return cache;
}
