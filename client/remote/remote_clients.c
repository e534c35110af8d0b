/*
 * remote_clients.c - the clients of this process, one of each remote: opened, shared,
 * closed, with the pipelines that read by them.
 *
 * Layer: client, remote.
 */
#include <assert.h>
#include <string.h>

#include "client/remote/process.h"
#include "client/remote/remote_client_impl.h"
#include "core/alloc.h"

static struct ramet_remote_client *clients; /* under the process lock */

/* The client of `text` with one more reference, or NULL. Needs the lock. */
static struct ramet_remote_client *
find_client(const char *text)
{
    const unsigned fork_count = ramet_os_fork_count();

    assert(text[0] != '\0');
    for (struct ramet_remote_client *s = clients; s != NULL; s = s->next)
        if (s->fork_count == fork_count && strcmp(s->text, text) == 0) {
            s->refs++;
            return s;
        }
    return NULL;
}

static void
client_free(struct ramet_remote_client *client)
{
    assert(client->history_count <= HISTORIES_MAX &&
           client->former_count <= FORMER_MAX);
    for (unsigned i = 0; i < client->history_count; i++)
        ramet_pipeline_free(client->histories[i].pipeline);
    /* Before the histories: until then it offers them what it hears. */
    ramet_remote_close(client->remote);
    for (unsigned i = 0; i < client->former_count; i++)
        ramet_remote_close(client->former[i]);
    for (unsigned i = 0; i < client->history_count; i++) {
        ramet_history_close(client->histories[i].history);
        ramet_pagecache_free(client->histories[i].cache);
        ramet_free(client->histories[i].dict);
    }
    ramet_buf_done(&client->profile_object);
    ramet_meter_done(&client->meter);
    ramet_mutex_done(&client->mutex);
    ramet_mutex_done(&client->token_mutex);
    ramet_free(client->token);
    ramet_free(client);
}

static struct ramet_remote_client *
client_new(const struct ramet_url *url,
           const struct ramet_remote_client_options *options)
{
    struct ramet_remote_client *const client = ramet_calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    if (options->token != NULL) {
        client->token = ramet_strdup(options->token);
        if (client->token == NULL) {
            ramet_free(client);
            return NULL;
        }
    }
    client->refs = 1;
    client->fork_count = ramet_os_fork_count();
    client->url = *url;
    client->url.has_lsn = false;
    client->url.has_time = false;
    client->timeout_ms = options->timeout_ms;
    client->withheld_why = options->withheld_why;
    client->s3_configured = options->s3_configured;
    ramet_url_format(url, client->text, sizeof(client->text));
    ramet_meter_init(&client->meter,
                     options->os != NULL ? options->os : ramet_os_system());
    ramet_mutex_init(&client->token_mutex);
    assert(client->text[0] != '\0' && client->refs == 1);
    ramet_mutex_init(&client->mutex);
    return client;
}

/* `fresh` was made by who knows a token; `found` may be there without. The remote
 * is told without the mutex: what it hears meanwhile it offers, which takes it. */
static enum ramet_rc
hand_over_token(struct ramet_remote_client *fresh,
                struct ramet_remote_client *found, struct ramet_err *err)
{
    struct ramet_remote *remote = NULL;
    enum ramet_rc rc = RAMET_OK;

    assert(fresh != found);
    ramet_mutex_lock(&found->token_mutex);
    ramet_mutex_lock(&found->mutex);
    if (found->token == NULL && fresh->token != NULL) {
        found->token = fresh->token;
        found->withheld_why = NULL;
        fresh->token = NULL;
        remote = found->remote;
    }
    ramet_mutex_unlock(&found->mutex);
    if (remote != NULL && remote->ops->authorize != NULL)
        rc = remote->ops->authorize(remote, found->token, err);
    ramet_mutex_unlock(&found->token_mutex);
    return rc;
}

enum ramet_rc
ramet_remote_client_open(const struct ramet_url *url,
                         const struct ramet_remote_client_options *options,
                         struct ramet_remote_client **out_client,
                         struct ramet_err *err)
{
    struct ramet_remote_client *const fresh = client_new(url, options);
    struct ramet_remote_client *found;
    enum ramet_rc rc = RAMET_OK;

    if (fresh == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "remote: no memory");
    ramet_process_lock();
    found = find_client(fresh->text);
    if (found == NULL) {
        fresh->next = clients;
        clients = fresh;
    }
    ramet_process_unlock();
    if (found != NULL) {
        rc = hand_over_token(fresh, found, err);
        client_free(fresh);
    }
    if (rc != RAMET_OK) {
        ramet_remote_client_close(found);
        return rc;
    }
    assert(found == NULL || found->fork_count == ramet_os_fork_count());
    *out_client = found != NULL ? found : fresh;
    return RAMET_OK;
}

enum ramet_rc
ramet_remote_client_share(const struct ramet_os *os,
                          struct ramet_remote *remote,
                          struct ramet_remote_client **out_client,
                          struct ramet_err *err)
{
    const struct ramet_remote_client_options options = {.os = os};
    struct ramet_remote_client *client = NULL;
    enum ramet_rc rc;

    assert(remote->ops != NULL);
    rc = ramet_remote_client_open(&remote->url, &options, &client, err);
    if (rc != RAMET_OK) {
        ramet_remote_close(remote);
        return rc;
    }
    ramet_mutex_lock(&client->mutex);
    if (client->remote == NULL) {
        ramet_remote_client_adopt(client, remote);
        remote = NULL;
    }
    ramet_mutex_unlock(&client->mutex);
    if (remote != NULL) {
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s: is connected already",
                        client->text);
        ramet_remote_close(remote);
        ramet_remote_client_close(client);
        return rc;
    }
    *out_client = client;
    return RAMET_OK;
}

struct ramet_remote_client *
ramet_remote_client_ref(struct ramet_remote_client *client)
{
    ramet_process_lock();
    assert(client->refs > 0);
    client->refs++;
    ramet_process_unlock();
    return client;
}

void
ramet_remote_client_close(struct ramet_remote_client *client)
{
    bool last;

    /* In a child of fork() it is the parent's: its sockets must not hear
     * from us. */
    if (client == NULL || client->fork_count != ramet_os_fork_count())
        return;
    ramet_process_lock();
    assert(client->refs > 0);
    last = --client->refs == 0;
    if (last)
        for (struct ramet_remote_client **s = &clients; *s != NULL;
             s = &(*s)->next)
            if (*s == client) {
                *s = client->next;
                break;
            }
    ramet_process_unlock();
    if (last)
        client_free(client);
}

enum ramet_rc
ramet_remote_client_pipeline(struct ramet_remote_client *client,
                             const struct ramet_vid *volume,
                             struct ramet_pipeline **out_pipeline,
                             struct ramet_err *err)
{
    struct ramet_history *history = NULL;
    struct known_history *known;
    enum ramet_rc rc;

    ramet_mutex_lock(&client->mutex);
    rc = ramet_remote_client_history_locked(client, volume, &history, err);
    known = rc == RAMET_OK ? ramet_remote_client_known(client, volume) : NULL;
    if (known != NULL && known->pipeline == NULL)
        known->pipeline = ramet_pipeline_new(client, volume);
    if (known != NULL && known->pipeline == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "pipeline: no memory");
    assert(rc != RAMET_OK || known != NULL);
    if (rc == RAMET_OK)
        *out_pipeline = known->pipeline;
    ramet_mutex_unlock(&client->mutex);
    return rc;
}

struct ramet_prefetch_counts
ramet_remote_client_prefetched(struct ramet_remote_client *client)
{
    struct ramet_pipeline *pipelines[HISTORIES_MAX];
    struct ramet_prefetch_counts sum = {.asked = 0};
    unsigned count = 0;

    ramet_mutex_lock(&client->mutex);
    for (unsigned i = 0; i < client->history_count; i++)
        if (client->histories[i].pipeline != NULL)
            pipelines[count++] = client->histories[i].pipeline;
    ramet_mutex_unlock(&client->mutex);
    for (unsigned i = 0; i < count; i++) {
        const struct ramet_prefetch_counts counts =
            ramet_pipeline_counts(pipelines[i]);

        sum.asked += counts.asked;
        sum.used += counts.used;
        sum.vain += counts.vain;
    }
    assert(count <= HISTORIES_MAX);
    return sum;
}
