/*
 * source.c - see source.h.
 *
 * Layer: client.
 */
#include "client/remote/source.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/meter.h"
#include "client/remote/pace.h"
#include "client/remote/pagecache.h"
#include "client/remote/pipeline.h"
#include "client/remote/process.h"
#include "client/remote/remote.h"
#include "client/snapshot.h"
#include "core/alloc.h"
#include "core/thread.h"

#define FORMER_MAX 16u   /* directories that were moved away */
#define HISTORIES_MAX 8u /* a name that was moved so often meanwhile */

struct known_history {
    struct ramet_vid volume;
    struct ramet_history *history;
    struct ramet_pagecache *cache; /* NULL: none needed yet, as the next */
    struct ramet_pipeline *pipeline;
    struct ramet_place dict_place;
    uint8_t *dict; /* NULL: none was asked for */
    size_t dict_len;
};

struct ramet_source {
    struct ramet_source *next; /* under the process lock, as refs */
    unsigned refs;
    unsigned fork_count;
    struct ramet_url url;
    char text[RAMET_URL_MAX];
    char *token;              /* under mutex, as the next */
    const char *withheld_why; /* NULL: none is */
    bool s3_configured;
    bool is_looked_at; /* under mutex: it is a store of our format */
    uint64_t timeout_ms;
    struct ramet_meter meter;
    struct ramet_mutex mutex;    /* invariant (2) */
    struct ramet_remote *remote; /* NULL: not connected yet */
    struct ramet_remote *former[FORMER_MAX];
    unsigned former_count;
    bool was_opened; /* under mutex: what an opening asks was asked for */
    struct known_history histories[HISTORIES_MAX];
    unsigned history_count;
};

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
    for (unsigned i = 0; i < source->history_count; i++) {
        ramet_history_close(source->histories[i].history);
        ramet_pagecache_free(source->histories[i].cache);
        ramet_free(source->histories[i].dict);
    }
    ramet_remote_close(source->remote);
    for (unsigned i = 0; i < source->former_count; i++)
        ramet_remote_close(source->former[i]);
    ramet_meter_done(&source->meter);
    ramet_mutex_done(&source->mutex);
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
    ramet_mutex_init(&source->mutex);
    return source;
}

/* `fresh` was made by who knows a token; `found` may be there without. */
static enum ramet_rc
hand_over_token(struct ramet_source *fresh, struct ramet_source *found,
                struct ramet_err *err)
{
    struct ramet_remote *remote = NULL;
    enum ramet_rc rc = RAMET_OK;

    ramet_mutex_lock(&found->mutex);
    if (found->token == NULL && fresh->token != NULL) {
        found->token = fresh->token;
        found->withheld_why = NULL;
        fresh->token = NULL;
        remote = found->remote;
    }
    if (remote != NULL && remote->ops->authorize != NULL)
        rc = remote->ops->authorize(remote, found->token, err);
    ramet_mutex_unlock(&found->mutex);
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
        source->remote = remote;
        ramet_meter_attach(&source->meter, remote->store);
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

const struct ramet_url *
ramet_source_url(const struct ramet_source *source)
{
    return &source->url;
}

const char *
ramet_source_text(const struct ramet_source *source)
{
    return source->text;
}

struct ramet_meter *
ramet_source_meter(struct ramet_source *source)
{
    return &source->meter;
}

uint64_t
ramet_source_requests(struct ramet_source *source)
{
    const struct ramet_remote *const remote = ramet_source_remote(source);

    if (remote != NULL && remote->ops->requests != NULL)
        return remote->ops->requests(remote);
    return atomic_load(&source->meter.requests);
}

uint64_t
ramet_source_received(struct ramet_source *source)
{
    struct ramet_pace *const pace = ramet_source_pace(source);

    return pace != NULL ? ramet_pace_moved(pace)
                        : atomic_load(&source->meter.bytes_read);
}

struct ramet_pace *
ramet_source_pace(struct ramet_source *source)
{
    struct ramet_remote *const remote = ramet_source_remote(source);

    return remote != NULL && remote->ops->pace != NULL
               ? remote->ops->pace(remote)
               : NULL;
}

static enum ramet_rc
no_store(const struct ramet_source *source, struct ramet_err *err)
{
    if (source->url.scheme != RAMET_REMOTE_FILE)
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "remote %.200s: there is no Ramet store; check the "
                          "URL",
                          source->text);
    return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                      "remote %.200s: there is no Ramet store in the directory "
                      "%.200s; check the path, and that its disk is mounted",
                      source->text, source->url.root);
}

static enum ramet_rc
open_remote(struct ramet_source *source, bool create_store,
            struct ramet_remote **out_remote, struct ramet_err *err)
{
    const uint64_t timeout_ms = source->timeout_ms;
    const struct ramet_remote_options options = {
        .create_store = create_store,
        .token = source->token,
        .withheld_why = source->withheld_why,
        .s3_configured = source->s3_configured,
        .connect_timeout_ms = timeout_ms < 5000 ? timeout_ms : 5000,
        .stall_timeout_ms = timeout_ms,
    };
    struct ramet_err own;
    enum ramet_rc rc;

    rc = ramet_remote_open(&source->url, &options, out_remote, &own);
    if (rc == RAMET_ENOTFOUND) /* an unmounted disk looks like this, too */
        rc = no_store(source, &own);
    if (rc != RAMET_OK) {
        ramet_meter_note(&source->meter, rc, &own);
        if (err != NULL)
            *err = own;
    }
    return rc;
}

static enum ramet_rc
connect_locked(struct ramet_source *source, bool create_store,
               struct ramet_err *err)
{
    struct ramet_remote *remote = NULL;
    enum ramet_rc rc;

    if (source->remote != NULL)
        return RAMET_OK;
    rc = open_remote(source, create_store, &remote, err);
    if (rc != RAMET_OK)
        return rc;
    source->remote = remote;
    source->is_looked_at =
        source->url.scheme != RAMET_REMOTE_S3 || create_store;
    ramet_meter_attach(&source->meter, remote->store);
    return RAMET_OK;
}

/* A bucket is not looked at when it is opened, for each look costs; but before a
 * name in it means anything. */
static enum ramet_rc
look_at_format(struct ramet_source *source, struct ramet_err *err)
{
    bool looked;
    enum ramet_rc rc;

    ramet_mutex_lock(&source->mutex);
    looked = source->is_looked_at;
    ramet_mutex_unlock(&source->mutex);
    if (looked)
        return RAMET_OK;
    rc = ramet_catalog_check(ramet_source_store(source), false, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_mutex_lock(&source->mutex);
    source->is_looked_at = true;
    ramet_mutex_unlock(&source->mutex);
    return RAMET_OK;
}

/* Where the URL leads now. */
static enum ramet_rc
follow_locked(struct ramet_source *source, struct ramet_err *err)
{
    struct ramet_remote *const before = source->remote;
    struct ramet_remote *remote = NULL;
    enum ramet_rc rc;

    if (before == NULL || before->ops->moved == NULL ||
        !before->ops->moved(before))
        return RAMET_OK;
    if (source->former_count == FORMER_MAX)
        return RAMET_FAIL(
            err, RAMET_EUNREACHABLE,
            "remote %.200s: was replaced more than %u times while "
            "it was in use; open the file anew",
            source->text, FORMER_MAX);
    rc = open_remote(source, false, &remote, err);
    if (rc != RAMET_OK)
        return rc;
    source->former[source->former_count++] = before;
    source->remote = remote;
    ramet_meter_attach(&source->meter, remote->store);
    for (unsigned i = 0; i < source->history_count; i++)
        ramet_history_forget(source->histories[i].history);
    return RAMET_OK;
}

enum ramet_rc
ramet_source_connect(struct ramet_source *source, bool create_store,
                     struct ramet_err *err)
{
    enum ramet_rc rc;

    ramet_mutex_lock(&source->mutex);
    rc = connect_locked(source, create_store, err);
    ramet_mutex_unlock(&source->mutex);
    return rc;
}

struct ramet_objstore *
ramet_source_store(struct ramet_source *source)
{
    assert(source->meter.inner != NULL);
    return &source->meter.base;
}

struct ramet_remote *
ramet_source_remote(struct ramet_source *source)
{
    struct ramet_remote *remote;

    ramet_mutex_lock(&source->mutex);
    remote = source->remote;
    ramet_mutex_unlock(&source->mutex);
    return remote;
}

/* What opening the volume asks, in one exchange: once, for whoever is first. */
static enum ramet_rc
open_volume(struct ramet_source *source, struct ramet_err *err)
{
    struct ramet_remote *remote;
    struct ramet_err own;
    bool is_first;
    enum ramet_rc rc;

    ramet_mutex_lock(&source->mutex);
    is_first = !source->was_opened;
    source->was_opened = true;
    remote = source->remote;
    ramet_mutex_unlock(&source->mutex);
    if (!is_first || remote->ops->open == NULL)
        return RAMET_OK;
    if (err == NULL)
        err = &own;
    rc = remote->ops->open(remote, source->url.name, err);
    ramet_meter_note(&source->meter, rc, err);
    return rc;
}

enum ramet_rc
ramet_source_resolve(struct ramet_source *source, struct ramet_vid *out_volume,
                     struct ramet_err *err)
{
    enum ramet_rc rc;

    if (source->url.name[0] == '\0')
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "remote %.200s: names a store; add the volume's "
                          "name",
                          source->text);
    rc = ramet_source_connect(source, false, err);
    if (rc == RAMET_OK)
        rc = look_at_format(source, err);
    if (rc == RAMET_OK)
        rc = open_volume(source, err);
    if (rc != RAMET_OK)
        return rc;
    return ramet_catalog_resolve(ramet_source_store(source), source->url.name,
                                 out_volume, err);
}

static struct known_history *
find_history(struct ramet_source *source, const struct ramet_vid *volume)
{
    for (unsigned i = 0; i < source->history_count; i++)
        if (ramet_id_compare(&source->histories[i].volume.id, &volume->id) == 0)
            return &source->histories[i];
    return NULL;
}

static enum ramet_rc
history_locked(struct ramet_source *source, const struct ramet_vid *volume,
               struct ramet_history **out_history, struct ramet_err *err)
{
    struct known_history *known;
    enum ramet_rc rc;

    rc = connect_locked(source, false, err);
    if (rc == RAMET_OK)
        rc = follow_locked(source, err);
    if (rc != RAMET_OK)
        return rc;
    known = find_history(source, volume);
    if (known == NULL) {
        if (source->history_count == HISTORIES_MAX)
            return RAMET_FAIL(err, RAMET_EBUSY,
                              "remote %.200s: too many volumes under one name "
                              "in one process",
                              source->text);
        known = &source->histories[source->history_count];
        rc = ramet_history_open(&source->meter.base, volume, NULL,
                                &known->history, err);
        if (rc != RAMET_OK)
            return rc;
        known->volume = *volume;
        source->history_count++;
    }
    *out_history = known->history;
    return RAMET_OK;
}

enum ramet_rc
ramet_source_history(struct ramet_source *source,
                     const struct ramet_vid *volume,
                     struct ramet_history **out_history, struct ramet_err *err)
{
    enum ramet_rc rc;

    ramet_mutex_lock(&source->mutex);
    rc = history_locked(source, volume, out_history, err);
    ramet_mutex_unlock(&source->mutex);
    return rc;
}

void
ramet_source_forget(struct ramet_source *source, const struct ramet_vid *volume)
{
    struct ramet_remote *remote;
    struct known_history *known;

    ramet_mutex_lock(&source->mutex);
    known = find_history(source, volume);
    remote = source->remote;
    ramet_mutex_unlock(&source->mutex);
    if (known == NULL)
        return;
    /* From below, lest what is dropped be filled from what is not yet. */
    if (remote->ops->forget != NULL)
        remote->ops->forget(remote, volume);
    ramet_history_forget(known->history);
    ramet_mutex_lock(&source->mutex);
    if (known->cache != NULL)
        ramet_pagecache_clear(known->cache);
    ramet_mutex_unlock(&source->mutex);
}

enum ramet_rc
ramet_source_newest(struct ramet_source *source, const struct ramet_vid *volume,
                    struct ramet_head *out_head, struct ramet_err *err)
{
    struct ramet_history *history = NULL;
    enum ramet_rc rc = ramet_source_history(source, volume, &history, err);

    if (rc == RAMET_OK)
        rc = ramet_history_newest(history, out_head, err);
    if (rc != RAMET_EWENTBACK)
        return rc;
    ramet_source_forget(source, volume);
    return ramet_history_newest(history, out_head, err);
}

static bool
is_same_place(const struct ramet_place *a, const struct ramet_place *b)
{
    return ramet_id_compare(&a->segment.id, &b->segment.id) == 0 &&
           a->offset_bytes == b->offset_bytes &&
           a->length_bytes == b->length_bytes &&
           ramet_hash_equal(&a->hash, &b->hash);
}

/* `dict` is `known`'s from here on. */
static void
know_dict(struct known_history *known, const struct ramet_place *place,
          uint8_t *dict, size_t len)
{
    ramet_free(known->dict);
    known->dict = dict;
    known->dict_len = len;
    known->dict_place = *place;
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

enum ramet_rc
ramet_source_dict(struct ramet_source *source, const struct ramet_vid *volume,
                  const struct ramet_place *place, uint8_t **out_dict,
                  size_t *out_len, struct ramet_err *err)
{
    struct known_history *known;
    uint8_t *dict = NULL;
    size_t len = 0;
    enum ramet_rc rc = RAMET_ENOTFOUND;

    ramet_mutex_lock(&source->mutex);
    known = find_history(source, volume);
    assert(known != NULL);
    if (known->dict != NULL && is_same_place(&known->dict_place, place))
        rc = copy_dict(known->dict, known->dict_len, out_dict, out_len, err);
    ramet_mutex_unlock(&source->mutex);
    if (rc != RAMET_ENOTFOUND)
        return rc;
    rc = ramet_dict_load(ramet_source_store(source), place, &dict, &len, err);
    if (rc != RAMET_OK)
        return rc;
    rc = copy_dict(dict, len, out_dict, out_len, err);
    ramet_mutex_lock(&source->mutex);
    know_dict(known, place, dict, len);
    ramet_mutex_unlock(&source->mutex);
    return rc;
}

struct ramet_pagecache *
ramet_source_cache(struct ramet_source *source, const struct ramet_vid *volume,
                   size_t limit_bytes)
{
    struct known_history *known;
    struct ramet_pagecache *cache;

    ramet_mutex_lock(&source->mutex);
    known = find_history(source, volume);
    assert(known != NULL);
    if (known->cache == NULL)
        known->cache = ramet_pagecache_new(limit_bytes);
    cache = known->cache;
    ramet_mutex_unlock(&source->mutex);
    if (cache != NULL)
        ramet_pagecache_grow(cache, limit_bytes);
    return cache;
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
    rc = history_locked(source, volume, &history, err);
    known = rc == RAMET_OK ? find_history(source, volume) : NULL;
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

/* ---- pages --------------------------------------------------------------------- */

/* Pages on their way to the caller, and which of the wanted ones were given. */
struct reading {
    const uint32_t *pgnos; /* in the order wanted */
    size_t count;
    struct wanted *wanted; /* ascending */
    size_t given;
    bool want_extra;
    ramet_source_visit *visit;
    void *ctx;
};

struct wanted {
    uint32_t pgno;
    bool given;
};

static int
compare_wanted(const void *left, const void *right)
{
    const uint32_t a = ((const struct wanted *)left)->pgno;
    const uint32_t b = ((const struct wanted *)right)->pgno;

    return a < b ? -1 : a > b;
}

static struct wanted *
find_wanted(const struct reading *r, uint32_t pgno)
{
    const struct wanted key = {.pgno = pgno};

    return bsearch(&key, r->wanted, r->count, sizeof(key), compare_wanted);
}

/* Each wanted page once, in whatever ways it comes. */
static enum ramet_rc
give_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct reading *const r = ctx;
    struct wanted *const wanted = find_wanted(r, pgno);

    if (wanted == NULL && !r->want_extra)
        return RAMET_OK;
    if (wanted != NULL && wanted->given)
        return RAMET_OK;
    if (wanted != NULL) {
        wanted->given = true;
        r->given++;
    }
    return r->visit(r->ctx, pgno, page, err);
}

/* What was not given yet, in the order wanted. */
static size_t
list_left(const struct reading *r, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < r->count; i++)
        if (!find_wanted(r, r->pgnos[i])->given)
            out[count++] = r->pgnos[i];
    return count;
}

static size_t
list_left_ascending(const struct reading *r, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < r->count; i++)
        if (!r->wanted[i].given)
            out[count++] = r->wanted[i].pgno;
    return count;
}

/* As far as the remote brings them. */
static enum ramet_rc
bring(struct ramet_source *source, const struct ramet_vid *volume,
      const struct ramet_point *at, struct reading *r, uint32_t *left,
      struct ramet_err *err)
{
    struct ramet_remote *const remote = ramet_source_remote(source);
    struct ramet_err own;
    size_t given;
    enum ramet_rc rc;

    if (remote->ops->bring == NULL)
        return RAMET_OK;
    if (err == NULL)
        err = &own;
    do {
        const size_t count = list_left(r, left);

        if (count == 0)
            return RAMET_OK;
        given = r->given;
        rc = remote->ops->bring(remote, volume, at, left, count, r->want_extra,
                                give_page, r, err);
    } while (rc == RAMET_OK && r->given > given);
    if (rc == RAMET_EUNREACHABLE || rc == RAMET_ETIMEOUT ||
        (rc == RAMET_OK && r->given > 0))
        ramet_meter_note(&source->meter, rc, err);
    return rc;
}

enum ramet_rc
ramet_source_read_pages(struct ramet_source *source,
                        const struct ramet_vid *volume,
                        const struct ramet_point *at, const uint32_t *pgnos,
                        size_t pgno_count, bool want_extra,
                        ramet_source_visit *visit, void *ctx,
                        struct ramet_err *err)
{
    struct reading r = {.pgnos = pgnos,
                        .count = pgno_count,
                        .want_extra = want_extra,
                        .visit = visit,
                        .ctx = ctx};
    struct ramet_history *history = NULL;
    uint32_t *left = NULL;
    enum ramet_rc rc = ramet_source_history(source, volume, &history, err);

    if (rc != RAMET_OK || pgno_count == 0)
        return rc;
    r.wanted = ramet_calloc(pgno_count, sizeof(*r.wanted));
    left = ramet_alloc(pgno_count * sizeof(*left));
    if (r.wanted == NULL || left == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%zu pages: no memory", pgno_count);
        goto done;
    }
    for (size_t i = 0; i < pgno_count; i++)
        r.wanted[i].pgno = pgnos[i];
    qsort(r.wanted, pgno_count, sizeof(*r.wanted), compare_wanted);
    rc = bring(source, volume, at, &r, left, err);
    if (rc == RAMET_OK && r.given < r.count)
        rc = ramet_history_read_pages(history, at, left,
                                      list_left_ascending(&r, left), want_extra,
                                      give_page, &r, err);

done:
    ramet_free(left);
    ramet_free(r.wanted);
    return rc;
}
