/*
 * api_volumes.c - volumes and their names, heads, changes, keys, events.
 */
#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "server/conditional.h"
#include "server/query.h"
#include "server/server_impl.h"

#define LIST_LIMIT 1000u
#define ANSWER_MAX (1u << 20)

/* ---- list ------------------------------------------------------------------- */

struct listing {
    struct ramet_buf *out;
    const char *after;
    uint64_t limit, count;
    bool more;
};

static bool
list_volume(void *ctx, const char *name, const struct ramet_vid *volume)
{
    struct listing *list = ctx;
    char id[RAMET_ID_TEXT_SIZE];

    assert(list->count <= list->limit);
    ramet_id_format(&volume->id, id);
    /* Those without a name come last, in the order of their ids; "/ID" is a
     * place among them. */
    if (name[0] != '\0'
            ? list->after[0] == '/' || strcmp(name, list->after) <= 0
            : list->after[0] == '/' && strcmp(id, list->after + 1) <= 0)
        return true;
    if (list->count == list->limit) {
        list->more = true;
        return false;
    }
    ramet_render_text(list->out, "%s{\"name\":\"%s\",\"id\":\"%s\"}",
                      list->count > 0 ? "," : "", name, id);
    list->count++;
    return true;
}

static void
list_volumes(struct call *call)
{
    const char *after = ramet_http_query(call->rq, "after");
    struct listing list = {.after = after != NULL ? after : ""};
    struct ramet_buf out;
    struct ramet_err err;
    enum ramet_rc rc;

    if (!ramet_api_number(call, "limit", LIST_LIMIT, LIST_LIMIT, &list.limit))
        return;
    ramet_buf_init(&out, ANSWER_MAX);
    list.out = &out;
    ramet_render_text(&out, "{\"volumes\":[");
    rc = ramet_catalog_list(call->server->store, list_volume, &list, &err);
    if (rc != RAMET_OK) {
        ramet_buf_done(&out);
        ramet_api_failed(call, NULL, rc, &err);
        return;
    }
    ramet_render_text(&out, "],\"more\":%s}\n", list.more ? "true" : "false");
    ramet_http_set_header(call->rq, "Cache-Control", "no-store");
    ramet_render_reply(call->rq, 200, RAMET_TYPE_JSON, &out);
}

/* ---- create ------------------------------------------------------------------- */

/* {"name":…, "id":…}: both checked; *out_has_id. */
static enum ramet_rc
parse_create(struct call *call, bool *out_has_id, struct ramet_err *err)
{
    size_t len;
    const uint8_t *body = ramet_http_body(call->rq, &len);
    json_t *json =
        json_loadb((const char *)body, len, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *id = json_string_value(json_object_get(json, "id"));
    enum ramet_rc rc = RAMET_OK;

    assert(out_has_id != NULL);
    *out_has_id = id != NULL;
    if (json == NULL)
        rc = RAMET_FAIL(err, RAMET_EINVAL, "the body is not JSON");
    else if (name == NULL || !ramet_name_valid(name))
        rc = RAMET_FAIL(err, RAMET_EINVAL,
                        "name: 1 to 128 of A-Za-z0-9._-, not beginning with a "
                        "dot, is wanted");
    else if (id != NULL && !ramet_id_parse(id, &call->volume.id))
        rc = RAMET_FAIL(err, RAMET_EINVAL, "id: malformed");
    else if (id != NULL && ramet_id_is_nil(&call->volume.id))
        rc = RAMET_FAIL(err, RAMET_EINVAL, "id: an id can't be all zeros");
    else
        (void)snprintf(call->name, sizeof(call->name), "%s", name);
    json_decref(json);
    return rc;
}

static void
create_volume(struct call *call)
{
    struct ramet_objstore *store = call->server->store;
    char id[RAMET_ID_TEXT_SIZE], location[64 + RAMET_NAME_MAX];
    struct ramet_vid there;
    struct ramet_buf out;
    struct ramet_err err;
    bool has_id;
    unsigned status = 201;
    enum ramet_rc rc;

    rc = parse_create(call, &has_id, &err);
    if (rc != RAMET_OK) {
        ramet_api_refused(call, rc, &err);
        return;
    }
    rc = ramet_catalog_resolve(store, call->name, &there, &err);
    if (rc == RAMET_OK &&
        (!has_id || ramet_id_compare(&there.id, &call->volume.id) != 0))
        rc = RAMET_FAIL(&err, RAMET_EEXIST, "\"%s\" names another volume",
                        call->name);
    else if (rc == RAMET_OK)
        status = 200;
    else if (rc == RAMET_ENOTFOUND) {
        rc = has_id ? RAMET_OK : ramet_id_new(&call->volume.id, &err);
        if (rc == RAMET_OK &&
            !ramet_gone_enter(call->server->gone, &call->volume)) {
            ramet_api_gone(call->rq, &call->volume);
            return;
        }
        if (rc == RAMET_OK) {
            rc = ramet_catalog_bind(store, call->name, &call->volume, false,
                                    &err);
            ramet_gone_leave(call->server->gone, &call->volume);
        }
    }
    if (rc != RAMET_OK) {
        ramet_api_failed(call, NULL, rc, &err);
        return;
    }
    ramet_id_format(&call->volume.id, id);
    (void)snprintf(location, sizeof(location), "/v1/volumes/%s", call->name);
    if (status == 201)
        ramet_http_set_header(call->rq, "Location", location);
    ramet_buf_init(&out, 1024);
    ramet_render_text(&out, "{\"name\":\"%s\",\"id\":\"%s\"}\n", call->name,
                      id);
    ramet_render_reply(call->rq, status, RAMET_TYPE_JSON, &out);
}

void
ramet_api_volumes(struct call *call)
{
    if (ramet_http_method_of(call->rq) == RAMET_HTTP_POST)
        create_volume(call);
    else
        list_volumes(call);
}

/* ---- one volume --------------------------------------------------------------- */

/* The newest head; replies and gives false where there is none to be had. */
static bool
newest_head(struct call *call, struct ramet_open_volume *vol,
            struct ramet_head *out_head)
{
    struct ramet_err err;
    enum ramet_rc rc =
        ramet_history_newest(ramet_open_volume_history(vol), out_head, &err);

    assert(vol != NULL);
    if (rc == RAMET_OK && out_head->lsn == 0 && call->has_id)
        rc = RAMET_FAIL(&err, RAMET_ENOTFOUND,
                        "volume \"%s\" has no commit here", call->name);
    if (rc == RAMET_OK)
        return true;
    ramet_api_failed(call, &call->volume, rc, &err);
    return false;
}

void
ramet_api_volume(struct call *call)
{
    struct ramet_open_volume *vol = ramet_api_open_volume(call);
    char id[RAMET_ID_TEXT_SIZE];
    struct ramet_head head;
    struct ramet_buf out;

    if (vol == NULL)
        return;
    if (newest_head(call, vol, &head)) {
        ramet_id_format(&call->volume.id, id);
        ramet_buf_init(&out, 4096);
        ramet_render_text(&out, "{\"id\":\"%s\",", id);
        if (!call->has_id)
            ramet_render_text(&out, "\"name\":\"%s\",", call->name);
        ramet_render_text(&out, "\"head\":");
        ramet_render_head(&out, &head);
        ramet_render_text(&out, "}\n");
        ramet_http_set_header(call->rq, "Cache-Control", "no-store");
        ramet_render_reply(call->rq, 200, RAMET_TYPE_JSON, &out);
    }
    ramet_open_volume_put(vol);
}

void
ramet_api_head(struct call *call)
{
    struct ramet_open_volume *vol = ramet_api_open_volume(call);
    struct ramet_head head;
    char hash[33], etag[40];
    struct ramet_buf out;
    const char *known = ramet_http_header(call->rq, "If-None-Match");

    if (vol == NULL)
        return;
    if (newest_head(call, vol, &head)) {
        ramet_render_hash(&head.hash, hash);
        (void)snprintf(etag, sizeof(etag), "\"%s\"", hash);
        ramet_http_set_header(call->rq, "Cache-Control", "no-cache");
        ramet_http_set_header(call->rq, "ETag", etag);
        if (known != NULL && ramet_api_etag_matches(known, etag)) {
            ramet_http_reply(call->rq, 304, NULL, NULL, 0);
        } else {
            ramet_buf_init(&out, 4096);
            ramet_render_head(&out, &head);
            ramet_render_text(&out, "\n");
            ramet_render_reply(call->rq, 200, RAMET_TYPE_JSON, &out);
        }
    }
    ramet_open_volume_put(vol);
}

/* Streams, caches and writers hold something of it: once it has ended it is
 * marked, and nothing of it is written or served, whatever they hold. */
static enum ramet_rc
delete_volume(struct ramet_server *server, const struct ramet_vid *volume,
              struct ramet_err *err)
{
    enum ramet_rc rc = ramet_catalog_end(server->store, volume, err);

    assert(!ramet_id_is_nil(&volume->id));
    if (rc != RAMET_OK)
        return rc;
    ramet_gone_mark(server->gone, volume);
    rc = ramet_catalog_delete(server->store, volume, err);
    ramet_cache_forget(server->cache, volume);
    ramet_volume_table_drop(server->volumes, volume, true);
    return rc;
}

void
ramet_api_delete(struct call *call)
{
    struct ramet_server *server = call->server;
    struct ramet_err err;
    bool exists = false;
    enum ramet_rc rc = RAMET_OK;

    if (!call->has_id) /* not ramet_api_resolve(): a deletion may be repeated */
        rc = ramet_catalog_resolve(server->store, call->name, &call->volume,
                                   &err);
    if (rc == RAMET_OK)
        rc = ramet_catalog_exists(server->store, &call->volume, &exists, &err);
    if (rc == RAMET_OK && !exists)
        rc = RAMET_FAIL(&err, RAMET_ENOTFOUND, "there is no volume \"%s\"",
                        call->name);
    if (rc == RAMET_OK)
        rc = delete_volume(server, &call->volume, &err);
    if (rc == RAMET_OK)
        ramet_http_reply(call->rq, 204, NULL, NULL, 0);
    else
        ramet_api_failed(call, NULL, rc, &err);
}

/* ---- changes ------------------------------------------------------------------ */

/* What an answer has at most, however much changed: it waits in memory for a
 * client that may be slow. */
#define CHANGES_RUNS_MAX 16384u
/* ",[4294967295,4294967295]" and what ends the answer. */
#define CHANGE_TEXT_MAX 32u

struct changes {
    struct ramet_pageset set;
    struct ramet_head head;
    uint64_t after;
    size_t next; /* run */
    bool begun;
};

static enum ramet_rc
produce_changes(void *state, struct ramet_buf *out, bool *out_done,
                struct ramet_err *err)
{
    struct changes *changes = state;

    assert(changes->next <= changes->set.run_count);
    (void)err;
    if (!changes->begun) {
        changes->begun = true;
        ramet_render_text(out,
                          "{\"after\":%" PRIu64 ",\"head\":", changes->after);
        ramet_render_head(out, &changes->head);
        ramet_render_text(out, ",\"count\":%" PRIu64 ",\"changed\":[",
                          ramet_pageset_count(&changes->set));
    }
    while (changes->next < changes->set.run_count &&
           out->len + CHANGE_TEXT_MAX < RAMET_HTTP_STREAM_BYTES) {
        const struct ramet_run *run = &changes->set.runs[changes->next];

        ramet_render_text(out, "%s[%" PRIu32 ",%" PRIu32 "]",
                          changes->next > 0 ? "," : "", run->first, run->last);
        changes->next++;
    }
    *out_done = changes->next == changes->set.run_count;
    if (*out_done)
        ramet_render_text(out, "]}\n");
    return RAMET_OK;
}

static void
free_changes(void *state)
{
    struct changes *changes = state;

    ramet_pageset_done(&changes->set);
    ramet_free(changes);
}

static size_t
changes_held(const struct changes *changes)
{
    assert(changes->set.run_count <= changes->set.run_capacity);
    return sizeof(*changes) +
           changes->set.run_capacity * sizeof(struct ramet_run);
}

static const struct ramet_http_stream_ops changes_ops = {
    .produce = produce_changes, .free = free_changes};

static enum ramet_rc
find_changes(struct ramet_history *history, struct changes *changes,
             struct ramet_err *err)
{
    const struct ramet_point to = ramet_head_point(&changes->head);
    struct ramet_point from;
    struct ramet_head after;
    enum ramet_rc rc;

    assert(changes->after <= changes->head.lsn);
    rc = ramet_history_head(history, changes->after, &after, err);
    if (rc != RAMET_OK)
        return rc;
    from = ramet_head_point(&after);
    return ramet_history_changed(history, &from, &to, &changes->set, err);
}

void
ramet_api_changes(struct call *call)
{
    struct ramet_open_volume *vol = NULL;
    struct changes *changes = ramet_calloc(1, sizeof(*changes));
    struct ramet_err err;
    uint64_t at;
    enum ramet_rc rc;

    if (changes == NULL) {
        ramet_render_problem(call->rq, 503, RAMET_ENOMEM, "out of memory",
                             NULL);
        return;
    }
    ramet_pageset_init(&changes->set);
    changes->set.run_max = CHANGES_RUNS_MAX;
    if (!ramet_api_number(call, "after", 0, UINT64_MAX - 1, &changes->after) ||
        !ramet_api_number(call, "at", 0, UINT64_MAX - 1, &at))
        goto done;
    vol = ramet_api_open_volume(call);
    if (vol == NULL)
        goto done;
    rc = at > 0 ? ramet_history_head(ramet_open_volume_history(vol), at,
                                     &changes->head, &err)
                : ramet_history_newest(ramet_open_volume_history(vol),
                                       &changes->head, &err);
    if (rc == RAMET_OK && changes->after > changes->head.lsn)
        rc = RAMET_FAIL(&err, RAMET_EINVAL,
                        "after=%" PRIu64 " is past LSN %" PRIu64,
                        changes->after, changes->head.lsn);
    if (rc == RAMET_OK && changes->head.lsn > 0)
        rc = find_changes(ramet_open_volume_history(vol), changes, &err);
    if (rc != RAMET_OK) {
        ramet_api_failed(call, &call->volume, rc, &err);
        goto done;
    }
    ramet_http_set_header(call->rq, "Cache-Control", "no-store");
    ramet_http_reply_stream(call->rq, 200, RAMET_TYPE_JSON, UINT64_MAX,
                            &(const struct ramet_http_stream){
                                .ops = &changes_ops,
                                .state = changes,
                                .state_bytes = changes_held(changes)});
    changes = NULL;

done:
    ramet_open_volume_put(vol);
    if (changes != NULL)
        free_changes(changes);
}

/* ---- keys --------------------------------------------------------------------- */

static bool
list_key(void *ctx, const char *key, uint64_t size_bytes)
{
    struct listing *list = ctx;

    assert(list->count <= list->limit);
    if (list->count == list->limit) {
        list->more = true;
        return false;
    }
    ramet_render_text(list->out, "%s[\"%s\",%" PRIu64 "]",
                      list->count > 0 ? "," : "", key, size_bytes);
    list->count++;
    return true;
}

/* What a store may be asked for: the characters of keys, no dot-dot. */
static bool
is_key_text(const char *text)
{
    bool begins_part = true;
    size_t len = 0;

    assert(text != NULL);
    for (; text[len] != '\0'; len++) {
        const char c = text[len];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                           c == '.';

        if (c == '/' ? begins_part : !plain || (begins_part && c == '.'))
            return false;
        begins_part = c == '/';
    }
    return len < RAMET_KEY_MAX - 1;
}

void
ramet_api_keys(struct call *call)
{
    const char *prefix = ramet_http_query(call->rq, "prefix");
    const char *after = ramet_http_query(call->rq, "after");
    struct listing list = {.after = after != NULL ? after : ""};
    struct ramet_buf out;
    struct ramet_err err;
    enum ramet_rc rc;

    if (!ramet_api_number(call, "limit", LIST_LIMIT, LIST_LIMIT, &list.limit))
        return;
    if (prefix == NULL || !is_key_text(prefix) || !is_key_text(list.after) ||
        (strncmp(prefix, "names/", 6) != 0 &&
         strncmp(prefix, "volumes/", 8) != 0)) {
        ramet_render_problem(call->rq, 400, RAMET_EINVAL,
                             "prefix must begin with names/ or volumes/, and "
                             "prefix and after be parts of keys",
                             NULL);
        return;
    }
    ramet_buf_init(&out, ANSWER_MAX);
    list.out = &out;
    ramet_render_text(&out, "{\"keys\":[");
    rc = ramet_objstore_list(call->server->store, prefix, list.after, list_key,
                             &list, &err);
    if (rc != RAMET_OK) {
        ramet_buf_done(&out);
        ramet_api_failed(call, NULL, rc, &err);
        return;
    }
    ramet_render_text(&out, "],\"more\":%s}\n", list.more ? "true" : "false");
    ramet_http_set_header(call->rq, "Cache-Control", "no-store");
    ramet_render_reply(call->rq, 200, RAMET_TYPE_JSON, &out);
}

/* ---- events -------------------------------------------------------------------- */

void
ramet_api_events(struct call *call)
{
    const char *last = ramet_http_header(call->rq, "Last-Event-ID");
    struct ramet_open_volume *vol;
    struct ramet_head head;
    struct ramet_err err;
    uint64_t after;
    char *end;
    enum ramet_rc rc;

    if (!ramet_api_number(call, "after", UINT64_MAX, UINT64_MAX - 1, &after))
        return;
    if (last != NULL && last[0] >= '0' && last[0] <= '9') {
        const unsigned long long value = strtoull(last, &end, 10);

        if (*end == '\0' && value < UINT64_MAX)
            after = value;
    }
    vol = ramet_api_open_volume(call);
    if (vol == NULL)
        return;
    if (newest_head(call, vol, &head)) {
        rc = ramet_open_volume_subscribe(vol, after, call->rq, &err);
        if (rc != RAMET_OK)
            ramet_api_failed(call, &call->volume, rc, &err);
    }
    ramet_open_volume_put(vol);
}

void
ramet_api_news(struct call *call)
{
    struct ramet_watched watched[RAMET_NEWS_VOLUMES_MAX];
    struct ramet_err err;
    unsigned count = 0;
    size_t len;
    const uint8_t *body = ramet_http_body(call->rq, &len);
    enum ramet_rc rc = ramet_news_decode(body, len, watched, &count, &err);

    if (rc != RAMET_OK) {
        ramet_api_refused(call, rc, &err);
        return;
    }
    rc =
        ramet_news_reply(call->server->volumes, watched, count, call->rq, &err);
    if (rc != RAMET_OK)
        ramet_api_failed(call, NULL, rc, &err);
}
