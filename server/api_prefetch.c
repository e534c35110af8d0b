/*
 * api_prefetch.c - prefetch by question: the pages that a statement reads at a
 * snapshot, and all that leads to them, in one answer.
 *
 * It is off unless the server says `prefetch_queries`: then there is no such path.
 */
#include <assert.h>
#include <inttypes.h>
#include <jansson.h>

#include "core/alloc.h"
#include "metastore/profile.h"
#include "server/pages_answer.h"
#include "server/question.h"

/* At a time: each has a worker, and a process. Half of the workers go on with what
 * else is asked. */
#define QUESTIONS_MAX 4u
/* Under which name its profile record goes. */
#define PROFILE_NAME "question"

/* The commit that it is about: as the client names it, or the newest. */
static enum ramet_rc
find_head(const json_t *json, struct ramet_history *history,
          struct ramet_head *out, struct ramet_err *err)
{
    const json_int_t lsn = json_integer_value(json_object_get(json, "lsn"));
    enum ramet_rc rc =
        lsn > 0 ? ramet_history_head(history, (uint64_t)lsn, out, err)
                : ramet_history_newest(history, out, err);

    if (rc == RAMET_OK && (out->lsn == 0 || out->kind != RAMET_KIND_SQLITE ||
                           out->page_count == 0))
        rc = RAMET_FAIL(err, RAMET_EINVAL, "the volume is no database");
    return rc;
}

/* The pages as a request for them, and as a profile that tells which they are. */
static enum ramet_rc
describe(struct call *call, const struct ramet_head *head,
         struct ramet_pageset *pages, struct ramet_pages_request *out,
         struct ramet_buf *first)
{
    struct ramet_profile profile = {.seq = 1,
                                    .lsn = head->lsn,
                                    .time_ms = head->time_ms,
                                    .page_size = head->page_size,
                                    .recent = *pages};
    struct ramet_buf object;
    enum ramet_rc rc;

    assert(head->lsn > 0 && head->page_count > 0);
    *out = (struct ramet_pages_request){
        .flags = RAMET_PAGES_METADATA | RAMET_PAGES_DICTS | RAMET_PAGES_HASH,
        .at = ramet_head_point(head),
        .page_count = (uint32_t)ramet_pageset_count(pages),
        .run_count = (uint32_t)pages->run_count,
        .runs = ramet_calloc(pages->run_count + 1, sizeof(*out->runs)),
    };
    ramet_buf_init(&object, RAMET_PROFILE_OBJECT_MAX);
    rc = ramet_profile_encode(&call->volume, PROFILE_NAME, &profile, &object);
    if (rc == RAMET_OK && out->runs == NULL)
        rc = RAMET_ENOMEM;
    if (rc == RAMET_OK)
        ramet_range_profile(first, object.data, object.len);
    for (size_t i = 0; rc == RAMET_OK && i < pages->run_count; i++)
        out->runs[i] =
            (struct ramet_pages_run){pages->runs[i].first, pages->runs[i].last};
    ramet_buf_done(&object);
    return rc;
}

/* Takes over `vol`. */
static void
reply(struct call *call, struct ramet_open_volume *vol,
      const struct ramet_head *head, struct ramet_pageset *pages,
      const struct ramet_question_stop *stop)
{
    struct ramet_pages_request request;
    struct ramet_buf first;
    bool has_pages;

    assert(vol != NULL && stop->why != NULL);
    ramet_buf_init(&first, RAMET_HTTP_STREAM_BYTES);
    has_pages = describe(call, head, pages, &request, &first) == RAMET_OK &&
                request.run_count > 0;
    if (stop->why[0] != '\0') {
        ramet_http_set_header(call->rq, "Ramet-Stopped", "1");
        ramet_http_set_header(call->rq, "Ramet-Stopped-Why", stop->why);
    }
    if (!has_pages)
        ramet_pages_request_done(&request);
    ramet_api_reply_after(call, &first, vol, has_pages ? &request : NULL, head);
}

/* Pages of `head` that it reads; what else that brought is counted. */
static enum ramet_rc
find_pages(struct ramet_server *server, struct ramet_history *history,
           const struct ramet_head *head, const struct ramet_asked *question,
           struct ramet_pageset *pages, struct ramet_question_stop *out_stop,
           struct ramet_err *err)
{
    struct ramet_question_pages *source;
    struct ramet_prefetch_counts ahead;
    enum ramet_rc rc;

    assert(head->lsn > 0 && head->kind == RAMET_KIND_SQLITE);
    rc = ramet_question_pages_open(
        history, head, (server->store->traits & RAMET_STORE_READS_PARTS) != 0,
        &source, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_question_run(server->options.prefetch_helper, question, source,
                            head, pages, out_stop, err);
    ahead = ramet_question_pages_counts(source);
    atomic_fetch_add(&server->metrics.prefetched_pages, ahead.asked);
    atomic_fetch_add(&server->metrics.prefetch_used, ahead.used);
    atomic_fetch_add(&server->metrics.prefetch_vain, ahead.vain);
    ramet_question_pages_close(source);
    return rc;
}

static void
run(struct call *call, json_t *json, const struct ramet_asked *question)
{
    struct ramet_server *const server = call->server;
    struct ramet_open_volume *const vol = ramet_api_open_volume(call);
    struct ramet_pageset pages;
    struct ramet_head head;
    struct ramet_err err;
    struct ramet_question_stop stop = {.why = ""};
    enum ramet_rc rc;

    if (vol == NULL)
        return;
    ramet_pageset_init(&pages);
    rc = find_head(json, ramet_open_volume_history(vol), &head, &err);
    if (rc == RAMET_OK)
        rc = find_pages(server, ramet_open_volume_history(vol), &head, question,
                        &pages, &stop, &err);
    atomic_fetch_add(&server->metrics.questions, 1);
    atomic_fetch_add(&server->metrics.questions_stopped, stop.why[0] != '\0');
    atomic_fetch_add(&server->metrics.question_pages,
                     ramet_pageset_count(&pages));
    if (rc == RAMET_OK) {
        reply(call, vol, &head, &pages, &stop);
    } else {
        ramet_open_volume_put(vol);
        if (rc == RAMET_EINVAL || rc == RAMET_ENOTFOUND)
            ramet_api_refused(call, rc, &err);
        else
            ramet_api_failed(call, &call->volume, rc, &err);
    }
    ramet_pageset_done(&pages);
}

static unsigned
questions_max(const struct ramet_server *server)
{
    const uint64_t half = server->options.workers / 2;

    return half >= QUESTIONS_MAX ? QUESTIONS_MAX
           : half > 0            ? (unsigned)half
                                 : 1;
}

void
ramet_api_prefetch(struct call *call)
{
    struct ramet_server *const server = call->server;
    struct ramet_asked question;
    struct ramet_err err;
    size_t len;
    const uint8_t *const body = ramet_http_body(call->rq, &len);
    json_t *json;
    enum ramet_rc rc;

    if (atomic_fetch_add(&server->questions, 1) >= questions_max(server)) {
        atomic_fetch_sub(&server->questions, 1);
        ramet_http_set_header(call->rq, "Retry-After", "1");
        ramet_render_problem(call->rq, 429, RAMET_EBUSY,
                             "the server runs as many questions as it may",
                             NULL);
        return;
    }
    json = json_loadb((const char *)body, len, 0, NULL);
    rc = ramet_question_parse(json, &question, &err);
    if (rc == RAMET_OK)
        run(call, json, &question);
    else
        ramet_api_refused(call, rc, &err);
    ramet_question_done(&question);
    json_decref(json);
    atomic_fetch_sub(&server->questions, 1);
}
