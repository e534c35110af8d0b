/*
 * api_commits.c - the list of commits, and committing.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "core/log.h"
#include "server/query.h"
#include "server/server_impl.h"

/* A head as JSON, or what stands before one in bytes, is shorter. */
#define HEAD_TEXT_MAX 640u

/* ---- the list ----------------------------------------------------------------- */

struct commit_list {
    struct ramet_server *server;
    struct ramet_open_volume *vol;
    uint64_t next, last; /* LSNs to send: [next, last] */
    bool as_json;
    /* A head of which part was sent: of LSN `next`. */
    uint64_t sent, length; /* length 0: none */
};

static enum ramet_rc
append_json(struct commit_list *list, struct ramet_buf *out,
            struct ramet_err *err)
{
    struct ramet_head head;
    const enum ramet_rc rc = ramet_history_head(
        ramet_open_volume_history(list->vol), list->next, &head, err);

    assert(list->as_json && list->next <= list->last);
    if (rc != RAMET_OK)
        return rc;
    ramet_render_head(out, &head);
    ramet_buf_u8(out, '\n');
    list->next++;
    return RAMET_OK;
}

/* Of a head that does not fit into a piece: as it is stored, since it can't be
 * checked before all of it is here. */
static enum ramet_rc
append_part(struct commit_list *list, struct ramet_buf *out,
            struct ramet_err *err)
{
    const uint64_t left = list->length - list->sent;
    const size_t room = RAMET_HTTP_STREAM_BYTES - out->len;
    const size_t len = left < room ? (size_t)left : room;
    uint8_t *to = ramet_buf_extend(out, len);
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(len > 0 && out->len <= RAMET_HTTP_STREAM_BYTES);
    if (to == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "commits: out of memory");
    ramet_commit_key(ramet_open_volume_id(list->vol), list->next, key);
    rc = ramet_objstore_read_full(list->server->store, key, list->sent, to, len,
                                  err);
    if (rc != RAMET_OK)
        return rc;
    list->sent += len;
    if (list->sent == list->length) {
        list->length = 0;
        list->next++;
    }
    return RAMET_OK;
}

static enum ramet_rc
append_head(struct commit_list *list, struct ramet_buf *out,
            struct ramet_err *err)
{
    struct ramet_history *history = ramet_open_volume_history(list->vol);
    uint8_t *bytes = NULL;
    size_t len;
    enum ramet_rc rc;

    assert(list->length == 0 && list->next <= list->last);
    rc = ramet_history_head_length(history, list->next, &len, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_buf_le64(out, list->next);
    ramet_buf_le32(out, (uint32_t)len);
    if (len > RAMET_HTTP_STREAM_BYTES - out->len) {
        list->length = len;
        list->sent = 0;
        return append_part(list, out, err);
    }
    rc = ramet_history_head_bytes(history, list->next, &bytes, &len, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_buf_bytes(out, bytes, len);
    ramet_free(bytes);
    list->next++;
    return RAMET_OK;
}

static enum ramet_rc
produce_commits(void *state, struct ramet_buf *out, bool *out_done,
                struct ramet_err *err)
{
    struct commit_list *list = state;
    enum ramet_rc rc = RAMET_OK;

    assert(list->next > 0);
    while (rc == RAMET_OK && list->next <= list->last &&
           out->len + HEAD_TEXT_MAX < RAMET_HTTP_STREAM_BYTES) {
        if (list->as_json)
            rc = append_json(list, out, err);
        else if (list->length > 0)
            rc = append_part(list, out, err);
        else
            rc = append_head(list, out, err);
    }
    if (rc != RAMET_OK)
        (void)ramet_api_note_loss(list->server, ramet_open_volume_id(list->vol),
                                  &rc, err);
    *out_done = list->next > list->last;
    return rc;
}

static void
free_commits(void *state)
{
    struct commit_list *list = state;

    ramet_open_volume_put(list->vol);
    ramet_free(list);
}

static const struct ramet_http_stream_ops commits_ops = {
    .produce = produce_commits, .free = free_commits};

void
ramet_api_commits(struct call *call)
{
    const char *accept = ramet_http_header(call->rq, "Accept");
    const bool as_json =
        accept != NULL && strcasecmp(accept, "application/x-ndjson") == 0;
    struct commit_list *list;
    struct ramet_open_volume *vol;
    struct ramet_head newest;
    struct ramet_err err;
    uint64_t after, limit;
    enum ramet_rc rc;

    if (!ramet_api_number(call, "after", 0, UINT64_MAX - 1, &after) ||
        !ramet_api_number(call, "limit", UINT64_MAX, UINT64_MAX, &limit))
        return;
    vol = ramet_api_open_volume(call);
    if (vol == NULL)
        return;
    rc = ramet_history_newest(ramet_open_volume_history(vol), &newest, &err);
    list = ramet_calloc(1, sizeof(*list));
    if (rc == RAMET_OK && list == NULL)
        rc = RAMET_FAIL(&err, RAMET_ENOMEM, "out of memory");
    if (rc != RAMET_OK) {
        ramet_api_failed(call, &call->volume, rc, &err);
        ramet_free(list);
        ramet_open_volume_put(vol);
        return;
    }
    assert(after < UINT64_MAX); /* so that there is a next one */
    list->server = call->server;
    list->vol = vol;
    list->as_json = as_json;
    list->next = after + 1;
    list->last = newest.lsn;
    if (list->next <= list->last && list->last - list->next >= limit)
        list->last = list->next + limit - 1;
    ramet_http_set_header(call->rq, "Cache-Control", "no-store");
    ramet_http_reply_stream(
        call->rq, 200,
        as_json ? "application/x-ndjson" : "application/vnd.ramet.commits",
        UINT64_MAX,
        &(const struct ramet_http_stream){
            .ops = &commits_ops, .state = list, .state_bytes = sizeof(*list)});
}

/* ---- committing ---------------------------------------------------------------- */

static void
reply_conflict(struct call *call, struct ramet_open_volume *vol,
               const struct ramet_err *why)
{
    struct ramet_head newest;
    struct ramet_err err;
    const enum ramet_rc rc =
        ramet_history_newest(ramet_open_volume_history(vol), &newest, &err);

    atomic_fetch_add_explicit(&call->server->metrics.conflicts, 1,
                              memory_order_relaxed);
    if (rc == RAMET_OK)
        ramet_render_conflict(call->rq, why->text, &newest);
    else
        ramet_api_failed(call, &call->volume, rc, &err);
}

static void
log_commit(const struct call *call, const struct ramet_head *head)
{
    char id[RAMET_ID_TEXT_SIZE], number[RAMET_LOG_NUM_SIZE];

    assert(head->lsn > 0);
    if (!ramet_log_enabled(RAMET_LOG_DEBUG))
        return;
    ramet_id_format(&call->volume.id, id);
    ramet_log(RAMET_LOG_DEBUG, "committed", "volume", id, "lsn",
              ramet_log_num(number, head->lsn), NULL);
}

/* Of a commit that was taken. */
static void
count_pages(const struct call *call, uint64_t lsn, const uint8_t *object,
            size_t len)
{
    struct ramet_metrics *const metrics = &call->server->metrics;
    struct ramet_commit_object commit;
    struct ramet_hash hash;
    uint32_t head_length = 0;

    ramet_commit_init(&commit);
    if (ramet_commit_head_length(object, &head_length, NULL) == RAMET_OK &&
        ramet_commit_decode(object, head_length, &call->volume, lsn, len,
                            &commit, &hash, NULL) == RAMET_OK) {
        const struct ramet_delta_counts deltas =
            ramet_commit_delta_counts(&commit);

        atomic_fetch_add_explicit(&metrics->commit_pages,
                                  ramet_commit_changed_pages(&commit),
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&metrics->commit_delta_pages, deltas.pages,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&metrics->commit_delta_bytes, deltas.bytes,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&metrics->commit_delta_saved_bytes,
                                  deltas.saved_bytes, memory_order_relaxed);
    }
    ramet_commit_done(&commit);
}

static void
reply_committed(struct call *call, struct ramet_open_volume *vol,
                uint64_t true_ms, const uint8_t *object, size_t len)
{
    const uint64_t lsn = ramet_get_le64(object + 16);
    struct ramet_head head;
    struct ramet_buf out;
    struct ramet_err err;
    const enum ramet_rc rc =
        ramet_history_head(ramet_open_volume_history(vol), lsn, &head, &err);

    assert(object != NULL && len >= 24);
    if (rc != RAMET_OK) {
        /* It is in all the same: say "unknown", and it is asked again. */
        ramet_api_failed(call, NULL, RAMET_EUNKNOWN, &err);
        return;
    }
    atomic_fetch_add_explicit(&call->server->metrics.commits, 1,
                              memory_order_relaxed);
    count_pages(call, lsn, object, len);
    log_commit(call, &head);
    ramet_buf_init(&out, 4096);
    ramet_render_head(&out, &head);
    ramet_render_text(&out, "\n");
    ramet_render_reply(call->rq, 201, RAMET_TYPE_JSON, &out);
    ramet_open_volume_committed(vol, &head, true_ms, object, len);
}

/* A commit on top of what is not here: what is here ends before it, since it was
 * deleted or set back before this server looked. */
static enum ramet_rc
stands_on_nothing(const struct ramet_head *newest, struct ramet_err *err)
{
    assert(newest != NULL);
    return RAMET_FAIL(err, RAMET_EWENTBACK,
                      "the volume ends at LSN %" PRIu64
                      " here, before what this commit is based on: it was "
                      "deleted, or the store restored from a backup",
                      newest->lsn);
}

static void
take_commit(struct call *call, struct ramet_open_volume *vol)
{
    struct ramet_history *history = ramet_open_volume_history(vol);
    struct ramet_head newest;
    struct ramet_err err;
    size_t len;
    const uint8_t *object = ramet_http_body(call->rq, &len);
    uint64_t true_ms;
    enum ramet_rc rc;

    /* The store may have been set back meanwhile: what is in memory of the base
     * must not lead to a commit above a gap. */
    rc = ramet_history_newest(history, &newest, &err);
    if (rc != RAMET_OK) {
        ramet_api_failed(call, &call->volume, rc, &err);
        return;
    }
    rc = ramet_history_validate(history, object, len, &err);
    if ((rc == RAMET_ENOTFOUND || rc == RAMET_ECONFLICT) &&
        ramet_get_le64(object + 16) > newest.lsn + 1)
        rc = stands_on_nothing(&newest, &err);
    if (rc != RAMET_OK && rc != RAMET_ECONFLICT) {
        /* What is wrong was sent; where the store failed the code says so. */
        ramet_api_refused(call, rc, &err);
        return;
    }
    true_ms = ramet_open_volume_clock_ms();
    if (rc == RAMET_OK)
        rc = ramet_history_append(history, object, len, &newest, &err);
    if (rc == RAMET_OK)
        reply_committed(call, vol, true_ms, object, len);
    else if (rc == RAMET_ECONFLICT)
        reply_conflict(call, vol, &err);
    else
        ramet_api_failed(call, &call->volume, rc, &err);
}

void
ramet_api_commit(struct call *call)
{
    struct ramet_gone *gone = call->server->gone;
    struct ramet_open_volume *vol = ramet_api_open_volume(call);

    if (vol == NULL)
        return;
    if (ramet_gone_enter(gone, &call->volume)) {
        take_commit(call, vol);
        ramet_gone_leave(gone, &call->volume);
    } else {
        ramet_api_gone(call->rq, &call->volume);
    }
    ramet_open_volume_put(vol);
}
