/*
 * sources.c - the sources of this process: one of each remote, opened, shared,
 * closed, with the pipelines that read by them.
 *
 * Layer: client, remote.
 */
#include <assert.h>
#include <string.h>

#include "client/remote/process.h"
#include "client/remote/source_impl.h"
#include "core/alloc.h"

static struct ramet_source *sources; /* under the process lock */

/* The source of `text` with one more reference, or NULL. Needs the lock. */
static struct ramet_source *
find_source(const char *text)
{
    const unsigned fork_count = ramet_os_fork_count();

    for (struct ramet_source *s = sources; s != NULL; s = s->next)
        if (s->fork_count == fork_count && strcmp(s->text, text) == 0) {
            s->refs++;
            return s;
        }
    return NULL;
}

static void
source_free(struct ramet_source *source)
{
    for (unsigned i = 0; i < source->history_count; i++)
        ramet_pipeline_free(source->histories[i].pipeline);
    /* Before the histories: until then it offers them what it hears. */
    ramet_remote_close(source->remote);
    for (unsigned i = 0; i < source->former_count; i++)
        ramet_remote_close(source->former[i]);
    for (unsigned i = 0; i < source->history_count; i++) {
        ramet_history_close(source->histories[i].history);
        ramet_pagecache_free(source->histories[i].cache);
        ramet_free(source->histories[i].dict);
    }
    ramet_meter_done(&source->meter);
    ramet_mutex_done(&source->mutex);
    ramet_mutex_done(&source->token_mutex);
    ramet_free(source->token);
    ramet_free(source);
}

static struct ramet_source *
source_new(const struct ramet_url *url,
           const struct ramet_source_options *options)
{
    struct ramet_source *const source = ramet_calloc(1, sizeof(*source));

    if (source == NULL)
        return NULL;
    if (options->token != NULL) {
        source->token = ramet_strdup(options->token);
        if (source->token == NULL) {
            ramet_free(source);
            return NULL;
        }
    }
    source->refs = 1;
    source->fork_count = ramet_os_fork_count();
    source->url = *url;
    source->url.has_lsn = false;
    source->url.has_time = false;
    source->timeout_ms = options->timeout_ms;
    source->withheld_why = options->withheld_why;
    source->s3_configured = options->s3_configured;
    ramet_url_format(url, source->text, sizeof(source->text));
    ramet_meter_init(&source->meter,
                     options->os != NULL ? options->os : ramet_os_system());
    ramet_mutex_init(&source->token_mutex);
    ramet_mutex_init(&source->mutex);
    return source;
}

/* `fresh` was made by who knows a token; `found` may be there without. The remote
 * is told without the mutex: what it hears meanwhile it offers, which takes it. */
static enum ramet_rc
hand_over_token(struct ramet_source *fresh, struct ramet_source *found,
                struct ramet_err *err)
{
    struct ramet_remote *remote = NULL;
    enum ramet_rc rc = RAMET_OK;

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
ramet_source_open(const struct ramet_url *url,
                  const struct ramet_source_options *options,
                  struct ramet_source **out_source, struct ramet_err *err)
{
    struct ramet_source *const fresh = source_new(url, options);
    struct ramet_source *found;
    enum ramet_rc rc = RAMET_OK;

    if (fresh == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "remote: no memory");
    ramet_process_lock();
    found = find_source(fresh->text);
    if (found == NULL) {
        fresh->next = sources;
        sources = fresh;
    }
    ramet_process_unlock();
    if (found != NULL) {
        rc = hand_over_token(fresh, found, err);
        source_free(fresh);
    }
    if (rc != RAMET_OK) {
        ramet_source_close(found);
        return rc;
    }
    *out_source = found != NULL ? found : fresh;
    return RAMET_OK;
}

enum ramet_rc
ramet_source_share(const struct ramet_os *os, struct ramet_remote *remote,
                   struct ramet_source **out_source, struct ramet_err *err)
{
    const struct ramet_source_options options = {.os = os};
    struct ramet_source *source = NULL;
    enum ramet_rc rc;

    rc = ramet_source_open(&remote->url, &options, &source, err);
    if (rc != RAMET_OK) {
        ramet_remote_close(remote);
        return rc;
    }
    ramet_mutex_lock(&source->mutex);
    if (source->remote == NULL) {
        ramet_source_adopt(source, remote);
        remote = NULL;
    }
    ramet_mutex_unlock(&source->mutex);
    if (remote != NULL) {
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s: is connected already",
                        source->text);
        ramet_remote_close(remote);
        ramet_source_close(source);
        return rc;
    }
    *out_source = source;
    return RAMET_OK;
}

struct ramet_source *
ramet_source_ref(struct ramet_source *source)
{
    ramet_process_lock();
    source->refs++;
    ramet_process_unlock();
    return source;
}

void
ramet_source_close(struct ramet_source *source)
{
    bool last;

    /* In a child of fork() it is the parent's: its sockets must not hear
     * from us. */
    if (source == NULL || source->fork_count != ramet_os_fork_count())
        return;
    ramet_process_lock();
    assert(source->refs > 0);
    last = --source->refs == 0;
    if (last)
        for (struct ramet_source **s = &sources; *s != NULL; s = &(*s)->next)
            if (*s == source) {
                *s = source->next;
                break;
            }
    ramet_process_unlock();
    if (last)
        source_free(source);
}

enum ramet_rc
ramet_source_pipeline(struct ramet_source *source,
                      const struct ramet_vid *volume,
                      struct ramet_pipeline **out_pipeline,
                      struct ramet_err *err)
{
    struct ramet_history *history = NULL;
    struct known_history *known;
    enum ramet_rc rc;

    ramet_mutex_lock(&source->mutex);
    rc = ramet_source_history_locked(source, volume, &history, err);
    known = rc == RAMET_OK ? ramet_source_known(source, volume) : NULL;
    if (known != NULL && known->pipeline == NULL)
        known->pipeline = ramet_pipeline_new(source, volume);
    if (known != NULL && known->pipeline == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "pipeline: no memory");
    if (rc == RAMET_OK)
        *out_pipeline = known->pipeline;
    ramet_mutex_unlock(&source->mutex);
    return rc;
}

struct ramet_prefetch_counts
ramet_source_prefetched(struct ramet_source *source)
{
    struct ramet_pipeline *pipelines[HISTORIES_MAX];
    struct ramet_prefetch_counts sum = {.asked = 0};
    unsigned count = 0;

    ramet_mutex_lock(&source->mutex);
    for (unsigned i = 0; i < source->history_count; i++)
        if (source->histories[i].pipeline != NULL)
            pipelines[count++] = source->histories[i].pipeline;
    ramet_mutex_unlock(&source->mutex);
    for (unsigned i = 0; i < count; i++) {
        const struct ramet_prefetch_counts counts =
            ramet_pipeline_counts(pipelines[i]);

        sum.asked += counts.asked;
        sum.used += counts.used;
        sum.vain += counts.vain;
    }
    return sum;
}
