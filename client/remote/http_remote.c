/*
 * http_remote.c - a Ramet server as a remote: its store, pages sent ahead,
 * being told of commits.
 *
 * To know what it lacks for a page, the remote keeps a *shadow* of a volume's
 * history over nothing but the ranges that it holds: if that finds the page's
 * frame, only the frame is asked for; if not, the server sends all that leads
 * there as well. Either way it is one request. What the shadow believes does
 * not matter beyond that: the caller's own history verifies all of it.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/http_conn.h"
#include "client/remote/http_events.h"
#include "client/remote/http_pages.h"
#include "client/remote/http_ranges.h"
#include "client/remote/http_store.h"
#include "client/remote/remote.h"
#include "core/alloc.h"
#include "core/thread.h"

#define RANGES_BYTES (24u << 20)
/* What one request brings at most, in pages' bytes. */
#define AHEAD_BYTES (8u << 20)
#define AHEAD_PAGES_MAX 4096u
/* With all that leads to them: what a server takes; and without knowing how
 * large a page is. */
#define AHEAD_PAGES_FULL 512u
#define AHEAD_PAGES_BLIND 128u
#define ANSWER_MAX (24u << 20)
#define DELETE_ANSWER_MAX (64u << 10)
#define SHADOWS_MAX 16u
#define SHADOW_CACHE_BYTES (1u << 20)

struct shadow {
    struct shadow *next;
    struct ramet_vid volume;
    unsigned users;
    uint64_t last_used; /* a count */
    struct ramet_history *history;
};

struct shadow_store {
    struct ramet_objstore store;
    struct ramet_ranges *ranges;
};

struct http_remote {
    struct ramet_remote remote;
    char name[1100]; /* for error texts */
    struct ramet_http_pool *pool;
    struct ramet_ranges *ranges;
    struct ramet_events *events;
    struct shadow_store shadow_store;
    struct ramet_mutex lock;
    struct shadow *shadows; /* lock */
    unsigned shadow_count;  /* lock */
    uint64_t uses;          /* lock */
};

/* ---- shadows ------------------------------------------------------------------------ */

static enum ramet_rc
shadow_read(struct ramet_objstore *store, const char *key, uint64_t offset,
            void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct shadow_store *shadow = (struct shadow_store *)store;

    if (ramet_ranges_get(shadow->ranges, key, offset, buf, len, out_got))
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_EUNREACHABLE, "%s: was not sent ahead", key);
}

static void
shadow_refresh(struct ramet_objstore *store, const char *key)
{
    (void)key;
    ramet_ranges_clear(((struct shadow_store *)store)->ranges);
}

/* Histories only read here. */
static const struct ramet_objstore_ops shadow_ops = {.read = shadow_read,
                                                     .refresh = shadow_refresh};

static void
free_shadow(struct shadow *shadow)
{
    assert(shadow->users == 0);
    ramet_history_close(shadow->history);
    ramet_free(shadow);
}

/* With the lock held. */
static void
drop_oldest_shadow(struct http_remote *hr)
{
    struct shadow **oldest = NULL;

    for (struct shadow **link = &hr->shadows; *link != NULL;
         link = &(*link)->next) {
        if ((*link)->users == 0 &&
            (oldest == NULL || (*link)->last_used < (*oldest)->last_used))
            oldest = link;
    }
    if (oldest != NULL) {
        struct shadow *shadow = *oldest;

        *oldest = shadow->next;
        hr->shadow_count--;
        free_shadow(shadow);
    }
}

/* NULL on no memory: then it is done without. */
static struct shadow *
take_shadow(struct http_remote *hr, const struct ramet_vid *volume)
{
    const struct ramet_history_options options = {.cache_bytes =
                                                      SHADOW_CACHE_BYTES};
    struct shadow *shadow;

    ramet_mutex_lock(&hr->lock);
    for (shadow = hr->shadows; shadow != NULL; shadow = shadow->next) {
        if (ramet_id_compare(&shadow->volume.id, &volume->id) == 0)
            break;
    }
    if (shadow == NULL) {
        if (hr->shadow_count >= SHADOWS_MAX)
            drop_oldest_shadow(hr);
        shadow = ramet_calloc(1, sizeof(*shadow));
        if (shadow != NULL &&
            ramet_history_open(&hr->shadow_store.store, volume, &options,
                               &shadow->history, NULL) != RAMET_OK) {
            ramet_free(shadow);
            shadow = NULL;
        }
        if (shadow != NULL) {
            shadow->volume = *volume;
            shadow->next = hr->shadows;
            hr->shadows = shadow;
            hr->shadow_count++;
        }
    }
    if (shadow != NULL) {
        shadow->users++;
        shadow->last_used = ++hr->uses;
    }
    ramet_mutex_unlock(&hr->lock);
    return shadow;
}

static void
give_shadow(struct http_remote *hr, struct shadow *shadow)
{
    if (shadow == NULL)
        return;
    ramet_mutex_lock(&hr->lock);
    shadow->users--;
    ramet_mutex_unlock(&hr->lock);
}

/* ---- prefetch ------------------------------------------------------------------------- */

struct plan {
    uint32_t *pgnos; /* to ask for, ascending */
    size_t count;
    unsigned flags;
    uint32_t page_size; /* 0: not known */
};

static bool
holds_place(struct http_remote *hr, const struct ramet_place *place,
            bool unread)
{
    char key[RAMET_KEY_MAX];

    ramet_place_key(place, key);
    return ramet_ranges_has(hr->ranges, key, place->offset_bytes,
                            place->length_bytes, unread);
}

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The first of the pages, and all that leads to them. */
static void
plan_in_full(const uint32_t *pgnos, size_t count, struct plan *plan)
{
    const size_t most =
        plan->page_size == 0
            ? AHEAD_PAGES_BLIND
            : least(AHEAD_PAGES_FULL, AHEAD_BYTES / plan->page_size);

    plan->count = least(count, most);
    memcpy(plan->pgnos, pgnos, plan->count * sizeof(*pgnos));
    plan->flags = RAMET_PAGES_METADATA | RAMET_PAGES_DICTS;
}

/* Which of the pages' frames are not here. RAMET_EUNREACHABLE: the shadow
 * can't tell. */
static enum ramet_rc
plan_by_shadow(struct http_remote *hr, struct shadow *shadow,
               const struct ramet_point *at, const uint32_t *pgnos,
               size_t count, struct plan *plan)
{
    struct ramet_frame *frames;
    struct ramet_head head;
    enum ramet_rc rc;

    rc = ramet_history_head_of(shadow->history, at, &head, NULL);
    if (rc != RAMET_OK)
        return rc;
    plan->page_size = head.page_size;
    count = least(count, AHEAD_BYTES / head.page_size);
    frames = ramet_calloc(count, sizeof(*frames));
    if (frames == NULL)
        return RAMET_ENOMEM;
    rc = ramet_history_locate(shadow->history, at, pgnos, count, frames, NULL);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++) {
        const struct ramet_frame *frame = &frames[i];

        if (frame->page_count == 0)
            continue; /* zeros */
        if (frame->kind == RAMET_FRAME_DICT &&
            !holds_place(hr, &frame->base, false))
            plan->flags |= RAMET_PAGES_DICTS;
        if (!holds_place(hr, &frame->place, true))
            plan->pgnos[plan->count++] = pgnos[i];
    }
    ramet_free(frames);
    return rc;
}

struct arrival {
    struct ramet_ranges *ranges;
};

static void
keep_range(void *ctx, const char *key, uint64_t offset, const uint8_t *data,
           size_t len, bool ends_object)
{
    const struct arrival *arrival = ctx;

    ramet_ranges_put(arrival->ranges, key, offset, data, len, ends_object);
}

/* What no other way of asking would get past: not permitted; or the server has
 * another commit at that LSN. */
static bool
is_refusal(unsigned status)
{
    return status == 401 || status == 403 || status == 409;
}

/* Ask, and keep what comes. */
static enum ramet_rc
ask_for_pages(struct http_remote *hr, const struct ramet_vid *volume,
              const struct ramet_point *at, const struct plan *plan,
              struct ramet_err *err)
{
    struct arrival arrival = {.ranges = hr->ranges};
    char id[RAMET_ID_TEXT_SIZE], path[128];
    struct iovec part;
    struct ramet_http_call call = {
        .method = "POST",
        .path = path,
        .content_type = RAMET_PAGES_TYPE,
        .parts = &part,
        .part_count = 1,
        .body_max = ANSWER_MAX,
    };
    struct ramet_buf body;
    enum ramet_rc rc;

    ramet_id_format(&volume->id, id);
    (void)snprintf(path, sizeof(path), "/v1/volumes/%s/pages", id);
    ramet_buf_init(&body, 256u << 10);
    ramet_pages_encode(&body, at, plan->flags | RAMET_PAGES_HASH, plan->pgnos,
                       plan->count);
    if (body.failed != RAMET_OK) {
        ramet_buf_done(&body);
        return RAMET_OK; /* a hint: do without */
    }
    part = (struct iovec){.iov_base = body.data, .iov_len = body.len};
    rc = ramet_http_perform(hr->pool, &call, err);
    ramet_buf_done(&body);
    if (rc == RAMET_OK && call.status == 200)
        /* What is wrong with it shows when it is read. */
        (void)!ramet_pages_parse(call.body.data, call.body.len, volume,
                                 keep_range, &arrival, NULL);
    else if (rc == RAMET_OK && is_refusal(call.status))
        rc = ramet_http_failure(hr->pool, path, call.status, call.body.data,
                                call.body.len, false, err);
    else if (rc == RAMET_ETOOBIG)
        rc = RAMET_OK;
    ramet_buf_done(&call.body);
    return rc;
}

static enum ramet_rc
http_prefetch(struct ramet_remote *remote, const struct ramet_vid *volume,
              const struct ramet_point *at, const uint32_t *pgnos,
              size_t pgno_count, struct ramet_err *err)
{
    struct http_remote *hr = (struct http_remote *)remote;
    struct shadow *shadow;
    struct plan plan = {.count = 0};
    enum ramet_rc rc = RAMET_EUNREACHABLE;

    if (pgno_count == 0 || at->lsn == 0)
        return RAMET_OK;
    pgno_count = least(pgno_count, AHEAD_PAGES_MAX);
    plan.pgnos = ramet_alloc(pgno_count * sizeof(*plan.pgnos));
    if (plan.pgnos == NULL)
        return RAMET_OK;
    shadow = take_shadow(hr, volume);
    if (shadow != NULL)
        rc = plan_by_shadow(hr, shadow, at, pgnos, pgno_count, &plan);
    give_shadow(hr, shadow);
    if (rc == RAMET_ECORRUPT) /* what was sent ahead was wrong: begin anew */
        ramet_ranges_clear(hr->ranges);
    if (rc != RAMET_OK)
        plan_in_full(pgnos, pgno_count, &plan);
    rc = RAMET_OK;
    if (plan.count > 0)
        rc = ask_for_pages(hr, volume, at, &plan, err);
    ramet_free(plan.pgnos);
    return rc;
}

static enum ramet_rc
http_wait(struct ramet_remote *remote, const struct ramet_vid *volume,
          uint64_t after, uint64_t timeout_ms, const volatile bool *cancel,
          struct ramet_err *err)
{
    struct http_remote *hr = (struct http_remote *)remote;

    return ramet_events_wait(hr->events, volume, after, timeout_ms, cancel,
                             err);
}

static void
http_disbelieve(struct ramet_remote *remote, const struct ramet_vid *volume)
{
    ramet_events_forget(((struct http_remote *)remote)->events, volume);
}

static void
http_forget(struct ramet_remote *remote, const struct ramet_vid *volume)
{
    struct http_remote *hr = (struct http_remote *)remote;

    ramet_ranges_clear(hr->ranges);
    ramet_mutex_lock(&hr->lock);
    for (struct shadow *s = hr->shadows; s != NULL; s = s->next) {
        if (ramet_id_compare(&s->volume.id, &volume->id) == 0)
            ramet_history_forget(s->history);
    }
    ramet_mutex_unlock(&hr->lock);
    ramet_events_forget(hr->events, volume);
}

/* The server has more to do than its store: it ends streams, and forgets. */
static enum ramet_rc
http_delete_volume(struct ramet_remote *remote, const struct ramet_vid *volume,
                   struct ramet_err *err)
{
    struct http_remote *hr = (struct http_remote *)remote;
    char id[RAMET_ID_TEXT_SIZE], path[128];
    struct ramet_http_call call = {
        .method = "DELETE",
        .path = path,
        .changes = true,
        .body_max = DELETE_ANSWER_MAX,
    };
    enum ramet_rc rc;

    ramet_id_format(&volume->id, id);
    (void)snprintf(path, sizeof(path), "/v1/volumes/%s", id);
    rc = ramet_http_perform(hr->pool, &call, err);
    if (rc == RAMET_OK && call.status / 100 == 2 && call.status != 204)
        rc = ramet_http_not_ramet(hr->pool, path, call.status, err);
    else if (rc == RAMET_OK && call.status != 204)
        rc = ramet_http_failure(hr->pool, path, call.status, call.body.data,
                                call.body.len, true, err);
    ramet_buf_done(&call.body);
    http_forget(remote, volume);
    return rc;
}

static bool
http_clock_ahead(struct ramet_remote *remote, int64_t *out_ms)
{
    return ramet_http_clock_ahead(((struct http_remote *)remote)->pool, out_ms);
}

static enum ramet_rc
http_authorize(struct ramet_remote *remote, const char *token,
               struct ramet_err *err)
{
    return ramet_http_authorize(((struct http_remote *)remote)->pool, token,
                                err);
}

static uint64_t
http_requests(const struct ramet_remote *remote)
{
    return ramet_http_requests(((const struct http_remote *)remote)->pool);
}

/* ---- open and close --------------------------------------------------------------------- */

static void
http_close(struct ramet_remote *remote)
{
    struct http_remote *hr = (struct http_remote *)remote;

    while (hr->shadows != NULL) {
        struct shadow *shadow = hr->shadows;

        hr->shadows = shadow->next;
        free_shadow(shadow);
    }
    ramet_events_free(hr->events);
    ramet_objstore_close(hr->remote.store);
    ramet_ranges_free(hr->ranges);
    ramet_http_pool_free(hr->pool);
    ramet_mutex_done(&hr->lock);
    ramet_free(hr);
}

static const struct ramet_remote_ops http_remote_ops = {
    .prefetch = http_prefetch,
    .wait = http_wait,
    .disbelieve = http_disbelieve,
    .forget = http_forget,
    .authorize = http_authorize,
    .clock_ahead = http_clock_ahead,
    .delete_volume = http_delete_volume,
    .requests = http_requests,
    .close = http_close,
};

static enum ramet_rc
open_parts(struct http_remote *hr, const struct ramet_remote_options *options,
           struct ramet_err *err)
{
    enum ramet_rc rc;

    rc = ramet_http_pool_new(hr->remote.url.root, options, &hr->pool, err);
    if (rc != RAMET_OK)
        return rc;
    hr->ranges = ramet_ranges_new(RANGES_BYTES);
    if (hr->ranges == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", hr->name);
    hr->shadow_store.store = (struct ramet_objstore){
        .ops = &shadow_ops,
        .traits = RAMET_STORE_LISTS_CHEAPLY | RAMET_STORE_MAKES_MAPS |
                  RAMET_STORE_SENDS_AHEAD,
        .name = hr->name,
    };
    hr->shadow_store.ranges = hr->ranges;
    rc = ramet_events_new(hr->pool, &hr->events, err);
    if (rc == RAMET_OK)
        rc = ramet_http_store_new(hr->pool, hr->ranges, hr->name,
                                  &hr->remote.store, err);
    return rc;
}

/* No I/O: a server that is out of reach shows at the first request. */
enum ramet_rc
ramet_remote_open_http(const struct ramet_url *url,
                       const struct ramet_remote_options *options,
                       struct ramet_remote **out_remote, struct ramet_err *err)
{
    struct http_remote *hr = ramet_calloc(1, sizeof(*hr));
    struct ramet_remote_options filled = *options;
    enum ramet_rc rc;

    if (hr == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", url->root);
    if (filled.connect_timeout_ms == 0)
        filled.connect_timeout_ms = 5000;
    if (filled.stall_timeout_ms == 0)
        filled.stall_timeout_ms = 10000;
    hr->remote.ops = &http_remote_ops;
    hr->remote.url = *url;
    ramet_mutex_init(&hr->lock);
    (void)snprintf(hr->name, sizeof(hr->name), "%s", url->root);
    rc = open_parts(hr, &filled, err);
    if (rc == RAMET_OK)
        *out_remote = &hr->remote;
    else
        http_close(&hr->remote);
    return rc;
}
