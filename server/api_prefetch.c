/*
 * api_prefetch.c - prefetch by question: the pages that a statement reads at a
 * snapshot, and all that leads to them, in one answer.
 *
 * It is off unless the server says `prefetch_queries`: then there is no such path.
 *
 * Where the client says `early`, the answer begins while the statement runs: who sends
 * a piece has it run on until there is enough for the next. So the link is as busy as
 * it would be if all was known before, and nobody waits for anybody.
 */
#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "core/alloc.h"
#include "metastore/profile.h"
#include "server/ask_process.h"
#include "server/pages_answer.h"
#include "server/question.h"

/* At a time: each has a worker, and a process. Half of the workers go on with what
 * else is asked. */
#define QUESTIONS_MAX 4u
/* So many make a piece of an answer that begins early: what leads to them is looked
 * up, and told, for each piece. */
#define TURN_PAGES 32u
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

/* ---- one that is under way ------------------------------------------------------- */

/* Has a place among the server's questions until it has ended. */
struct asking {
    struct ramet_server *server;
    struct ramet_vid volume;
    struct ramet_head head;
    struct ramet_question_pages *source;
    struct ramet_question *question; /* NULL: it has ended */
    struct ramet_question_stop stop;
    uint64_t rest_ms; /* from then on the rest of it is one turn */
    bool has_place;
};

/* Its process is gone, what it kept of pages is, and its place is another's: the client
 * may take the answer for long yet. */
static void
end_question(struct asking *asking)
{
    struct ramet_metrics *const metrics = &asking->server->metrics;
    struct ramet_prefetch_counts ahead;

    if (asking->question != NULL) {
        ramet_question_end(asking->question, &asking->stop);
        asking->question = NULL;
        ahead = ramet_question_pages_counts(asking->source);
        ramet_question_pages_close(asking->source);
        asking->source = NULL;
        atomic_fetch_add(&metrics->prefetched_pages, ahead.asked);
        atomic_fetch_add(&metrics->prefetch_used, ahead.used);
        atomic_fetch_add(&metrics->prefetch_vain, ahead.vain);
        atomic_fetch_add(&metrics->questions, 1);
        atomic_fetch_add(&metrics->questions_stopped,
                         asking->stop.why[0] != '\0');
    }
    if (asking->has_place)
        atomic_fetch_sub(&asking->server->questions, 1);
    asking->has_place = false;
}

static void
free_asking(void *ctx)
{
    struct asking *const asking = ctx;

    end_question(asking);
    ramet_question_pages_close(asking->source);
    ramet_free(asking);
}

static enum ramet_rc
begin_question(struct asking *asking, struct ramet_history *history,
               const struct ramet_asked *asked, struct ramet_err *err)
{
    struct ramet_server *const server = asking->server;
    const bool is_far = (server->store->traits & RAMET_STORE_READS_PARTS) != 0;
    enum ramet_rc rc;

    assert(asking->head.lsn > 0 && asking->head.kind == RAMET_KIND_SQLITE);
    asking->rest_ms = ramet_ask_process_now_ms() + RAMET_QUESTION_MS;
    rc = ramet_question_pages_open(history, &asking->head, is_far,
                                   &asking->source, err);
    if (rc == RAMET_OK)
        rc = ramet_question_begin(server->options.prefetch_helper, asked,
                                  asking->source, &asking->head,
                                  &asking->question, err);
    return rc;
}

/* Some pages more; none: it has ended. */
static enum ramet_rc
go_on(struct asking *asking, uint64_t most, struct ramet_pageset *pages,
      struct ramet_err *err)
{
    bool is_ended;
    enum ramet_rc rc =
        ramet_question_turn(asking->question, most, pages, &is_ended, err);

    assert(most > 0);
    atomic_fetch_add(&asking->server->metrics.question_pages,
                     ramet_pageset_count(pages));
    if (rc != RAMET_OK || is_ended)
        end_question(asking);
    return rc;
}

/* A profile record with these pages to `out`, and the request for them. */
static enum ramet_rc
describe(const struct asking *asking, struct ramet_pageset *pages,
         struct ramet_buf *out, struct ramet_pages_request *out_request)
{
    const struct ramet_head *const head = &asking->head;
    struct ramet_profile profile = {.seq = 1,
                                    .lsn = head->lsn,
                                    .time_ms = head->time_ms,
                                    .page_size = head->page_size,
                                    .recent = *pages};
    struct ramet_buf object;
    enum ramet_rc rc;

    assert(head->lsn > 0 && head->page_count > 0);
    *out_request = (struct ramet_pages_request){
        .flags = RAMET_PAGES_METADATA | RAMET_PAGES_DICTS | RAMET_PAGES_HASH,
        .at = ramet_head_point(head),
        .page_count = (uint32_t)ramet_pageset_count(pages),
        .run_count = (uint32_t)pages->run_count,
        .runs = ramet_calloc(pages->run_count + 1, sizeof(*out_request->runs)),
    };
    ramet_buf_init(&object, RAMET_PROFILE_OBJECT_MAX);
    rc = ramet_profile_encode(&asking->volume, PROFILE_NAME, &profile, &object);
    if (rc == RAMET_OK && out_request->runs == NULL)
        rc = RAMET_ENOMEM;
    if (rc == RAMET_OK)
        ramet_range_profile(out, object.data, object.len);
    for (size_t i = 0; rc == RAMET_OK && i < pages->run_count; i++)
        out_request->runs[i] =
            (struct ramet_pages_run){pages->runs[i].first, pages->runs[i].last};
    ramet_buf_done(&object);
    return rc != RAMET_OK ? rc : out->failed;
}

/* What it reads next: a piece of the answer. Where the client takes its time the
 * rest is one piece, so that the process does not wait for him. That a statement
 * fails while it runs is where it stopped. */
static enum ramet_rc
more_pages(void *ctx, struct ramet_buf *out,
           struct ramet_pages_request *out_request, struct ramet_err *err)
{
    struct asking *const asking = ctx;
    struct ramet_pageset pages;
    struct ramet_err own = {.code = RAMET_OK};
    enum ramet_rc rc;

    if (asking->question == NULL)
        return RAMET_OK;
    ramet_pageset_init(&pages);
    rc = go_on(asking,
               ramet_ask_process_now_ms() < asking->rest_ms ? TURN_PAGES
                                                            : UINT64_MAX,
               &pages, &own);
    if (rc == RAMET_EINVAL) {
        (void)snprintf(asking->stop.why, sizeof(asking->stop.why), "%.400s",
                       own.text);
        rc = RAMET_OK;
    }
    if (rc == RAMET_OK && pages.run_count > 0)
        rc = describe(asking, &pages, out, out_request);
    ramet_pageset_done(&pages);
    if (rc != RAMET_OK && err != NULL)
        *err = own;
    return rc;
}

static const char *
why_it_stopped(void *ctx, const char **out_name)
{
    const struct asking *const asking = ctx;

    *out_name = "Ramet-Stopped-Why";
    return asking->stop.why[0] != '\0' ? asking->stop.why : NULL;
}

/* ---- the call ---------------------------------------------------------------------- */

/* All that it read. Takes over `vol` and `asking`. */
static void
reply_whole(struct call *call, struct ramet_open_volume *vol,
            struct asking *asking, struct ramet_pageset *pages)
{
    const struct ramet_head head = asking->head;
    struct ramet_pages_request request;
    struct ramet_buf first;
    bool has_pages;

    assert(vol != NULL && asking->question == NULL);
    ramet_buf_init(&first, RAMET_HTTP_STREAM_BYTES);
    first.failed = describe(asking, pages, &first, &request);
    has_pages = first.failed == RAMET_OK && request.run_count > 0;
    if (asking->stop.why[0] != '\0') {
        ramet_http_set_header(call->rq, "Ramet-Stopped", "1");
        ramet_http_set_header(call->rq, "Ramet-Stopped-Why", asking->stop.why);
    }
    free_asking(asking);
    if (!has_pages)
        ramet_pages_request_done(&request);
    ramet_api_reply_after(call, &first, vol, has_pages ? &request : NULL,
                          &head);
}

/* What it read so far, and then the rest as it reads it. Takes over both. */
static void
reply_early(struct call *call, struct ramet_open_volume *vol,
            struct asking *asking, struct ramet_pageset *pages)
{
    const struct ramet_answer_source source = {
        .more = more_pages,
        .trailer = why_it_stopped,
        .free = free_asking,
        .ctx = asking,
        .pages_max = ramet_profile_pages_max(asking->head.page_size),
    };
    struct ramet_pages_request request;
    struct ramet_answer *answer;
    struct ramet_buf first;
    struct ramet_err err;
    enum ramet_rc rc;

    assert(vol != NULL && asking->question != NULL);
    ramet_buf_init(&first, RAMET_HTTP_STREAM_BYTES);
    rc = describe(asking, pages, &first, &request);
    if (rc != RAMET_OK) {
        (void)RAMET_FAIL(&err, rc, "a question");
        ramet_pages_request_done(&request);
        ramet_open_volume_put(vol);
    } else
        rc = ramet_answer_new(call->server, vol, &request, &asking->head,
                              &answer, &err);
    if (rc != RAMET_OK) {
        free_asking(asking);
        ramet_buf_done(&first);
        ramet_api_failed(call, &call->volume, rc, &err);
        return;
    }
    ramet_answer_set_source(answer, &source);
    ramet_api_reply_pages(call, answer, &first);
}

static unsigned
questions_max(const struct ramet_server *server)
{
    const uint64_t half = server->options.workers / 2;

    return half >= QUESTIONS_MAX ? QUESTIONS_MAX
           : half > 0            ? (unsigned)half
                                 : 1;
}

/* Who takes an answer slowly that is made as he takes it has a place meanwhile, and so
 * for as long as he likes: half of the places are for statements that run to their end
 * at once. */
static bool
may_wait_for_client(const struct ramet_server *server)
{
    return atomic_load(&server->questions) <= (questions_max(server) + 1) / 2;
}

/* Until there is something to answer. Takes over `asking`. */
static void
run(struct call *call, const json_t *json, const struct ramet_asked *asked,
    struct asking *asking)
{
    const bool is_early = json_is_true(json_object_get(json, "early")) &&
                          may_wait_for_client(call->server);
    struct ramet_open_volume *const vol = ramet_api_open_volume(call);
    struct ramet_pageset pages;
    struct ramet_err err;
    enum ramet_rc rc;

    if (vol == NULL) {
        free_asking(asking);
        return;
    }
    asking->volume = call->volume;
    ramet_pageset_init(&pages);
    rc = find_head(json, ramet_open_volume_history(vol), &asking->head, &err);
    if (rc == RAMET_OK)
        rc =
            begin_question(asking, ramet_open_volume_history(vol), asked, &err);
    if (rc == RAMET_OK)
        rc = go_on(asking, is_early ? TURN_PAGES : UINT64_MAX, &pages, &err);
    if (rc == RAMET_OK && asking->question == NULL) {
        reply_whole(call, vol, asking, &pages);
    } else if (rc == RAMET_OK) {
        reply_early(call, vol, asking, &pages);
    } else {
        free_asking(asking);
        ramet_open_volume_put(vol);
        if (rc == RAMET_EINVAL || rc == RAMET_ENOTFOUND)
            ramet_api_refused(call, rc, &err);
        else
            ramet_api_failed(call, &call->volume, rc, &err);
    }
    ramet_pageset_done(&pages);
}

/* With a place; NULL: there is none, or no memory. */
static struct asking *
new_asking(struct ramet_server *server)
{
    struct asking *asking = NULL;

    if (atomic_fetch_add(&server->questions, 1) < questions_max(server))
        asking = ramet_calloc(1, sizeof(*asking));
    if (asking == NULL) {
        atomic_fetch_sub(&server->questions, 1);
        return NULL;
    }
    asking->server = server;
    asking->has_place = true;
    return asking;
}

void
ramet_api_prefetch(struct call *call)
{
    struct asking *const asking = new_asking(call->server);
    struct ramet_asked question;
    struct ramet_err err;
    size_t len;
    const uint8_t *const body = ramet_http_body(call->rq, &len);
    json_t *json;
    enum ramet_rc rc;

    if (asking == NULL) {
        ramet_http_set_header(call->rq, "Retry-After", "1");
        ramet_render_problem(call->rq, 429, RAMET_EBUSY,
                             "the server runs as many questions as it may",
                             NULL);
        return;
    }
    json = json_loadb((const char *)body, len, 0, NULL);
    rc = ramet_question_parse(json, &question, &err);
    if (rc == RAMET_OK) {
        run(call, json, &question, asking);
    } else {
        free_asking(asking);
        ramet_api_refused(call, rc, &err);
    }
    ramet_question_done(&question);
    json_decref(json);
}
