/*
 * http_question.c - the pages that a statement reads, from a server that runs it:
 * what it sends is kept for who reads, and which they are is told.
 *
 *   (1) Pages are told once all is here that they are made of: when the next ones are
 *       named, or the answer has ended.
 */
#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/http_bring.h"
#include "client/remote/http_pages.h"
#include "client/remote/question.h"
#include "core/alloc.h"
#include "metastore/profile.h"

#define ANSWER_MAX (24u << 20)

/* Under which name a server says which pages they are. */
#define QUESTION_NAME "question"

struct asking {
    const struct ramet_http_bring *with;
    const struct ramet_vid *volume;
    struct ramet_pages_stream stream;
    struct ramet_buf
        object; /* the profile whose ranges come; empty: none does */
    ramet_question_visit *visit;
    void *ctx;
    enum ramet_rc rc; /* of the visits, and of what they are told by */
    struct ramet_err err;
    bool has_ranges;
};

static void
take_range(void *ctx, const char *key, uint64_t offset, const uint8_t *data,
           size_t len, bool ends_object)
{
    struct asking *const a = ctx;

    assert(a->with->ranges != NULL);
    a->has_ranges = true;
    ramet_ranges_put(a->with->ranges, key, offset, data, len, ends_object);
}

/* Invariant (1). */
static void
tell_pages(struct asking *a)
{
    struct ramet_profile profile;

    if (a->rc != RAMET_OK || a->object.len == 0)
        return;
    ramet_profile_init(&profile);
    a->rc = ramet_profile_decode(a->volume, QUESTION_NAME, a->object.data,
                                 a->object.len, &profile, &a->err);
    if (a->rc == RAMET_OK)
        a->rc = a->visit(a->ctx, &profile.recent, &a->err);
    ramet_profile_done(&profile);
}

static void
take_profile(void *ctx, const uint8_t *object, size_t len)
{
    struct asking *const a = ctx;

    assert(object != NULL || len == 0);
    tell_pages(a);
    ramet_buf_clear(&a->object);
    ramet_buf_bytes(&a->object, object, len);
    if (a->rc == RAMET_OK && a->object.failed != RAMET_OK)
        a->rc = RAMET_FAIL(&a->err, a->object.failed, "a question's pages");
}

static enum ramet_rc
take_bytes(void *ctx, const uint8_t *data, size_t len, struct ramet_err *err)
{
    struct asking *const a = ctx;
    const enum ramet_rc rc =
        ramet_pages_stream_feed(&a->stream, data, len, err);

    if (a->rc == RAMET_OK)
        return rc;
    if (err != NULL)
        *err = a->err;
    return a->rc;
}

static json_t *
hex_of(const struct ramet_question_value *value)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *const bytes = value->bytes;
    char *const text = ramet_alloc(2 * value->len + 1);
    json_t *json;

    assert(value->type == RAMET_VALUE_IS_BLOB);
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < value->len; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * value->len] = '\0';
    json = json_pack("{s:s}", "hex", text);
    ramet_free(text);
    return json;
}

static json_t *
json_of(const struct ramet_question_value *value)
{
    switch (value->type) {
    case RAMET_VALUE_IS_NULL:
        break;
    case RAMET_VALUE_IS_INTEGER:
        return json_integer(value->integer);
    case RAMET_VALUE_IS_REAL:
        return json_real(value->real);
    case RAMET_VALUE_IS_TEXT:
        return json_stringn(value->bytes, value->len);
    case RAMET_VALUE_IS_BLOB:
        return hex_of(value);
    }
    return json_null();
}

/* NULL: no memory, or what JSON can't say: a text that is not UTF-8, infinity. */
static char *
encode(const struct ramet_question *question, const struct ramet_point *at)
{
    json_t *const params = json_array();
    json_t *all;
    char *text = NULL;
    bool ok = params != NULL;

    assert(question->sql != NULL);
    assert(question->values != NULL || question->value_count == 0);
    for (size_t i = 0; ok && i < question->value_count; i++)
        ok = json_array_append_new(params, json_of(&question->values[i])) == 0;
    all = ok ? json_pack("{s:s, s:I, s:b, s:O}", "sql", question->sql, "lsn",
                         (json_int_t)at->lsn, "early", 1, "params", params)
             : NULL;
    if (all != NULL)
        text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    json_decref(params);
    return text;
}

/* A 404 is the server's own word: it runs no statements, or the volume is not there.
 * Either way the statement may be run here, and tells. */
static enum ramet_rc
explain(const struct ramet_http_bring *with, const struct ramet_http_call *call,
        const struct asking *asking, struct ramet_err *err)
{
    if (call->status != 200)
        return ramet_http_failure(with->pool, call->path, call->status,
                                  call->body.data, call->body.len, false, err);
    if (asking->has_ranges || call->stopped_why[0] == '\0')
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ENOTFOUND,
                      "server %s: did not run the statement: %s",
                      ramet_http_pool_root(with->pool), call->stopped_why);
}

enum ramet_rc
ramet_http_ask(const struct ramet_http_bring *with,
               const struct ramet_vid *volume, const struct ramet_point *at,
               const struct ramet_question *question,
               ramet_question_visit *visit, void *ctx, struct ramet_err *err)
{
    struct asking a = {.with = with,
                       .volume = volume,
                       .visit = visit,
                       .ctx = ctx,
                       .rc = RAMET_OK,
                       .err = {.code = RAMET_OK}};
    char id[RAMET_ID_TEXT_SIZE], path[128];
    struct iovec part = {.iov_base = encode(question, at)};
    struct ramet_http_call call = {
        .method = "POST",
        .path = path,
        .content_type = "application/json",
        .parts = &part,
        .part_count = 1,
        .take = take_bytes,
        .take_ctx = &a,
        .body_max = ANSWER_MAX,
        .fresh = true,
    };
    enum ramet_rc rc;

    if (part.iov_base == NULL) /* it may well run here */
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "server %s: can't be sent a text that is not UTF-8, "
                          "nor a number that is not finite",
                          ramet_http_pool_root(with->pool));
    assert(visit != NULL && at->lsn > 0);
    part.iov_len = strlen(part.iov_base);
    ramet_id_format(&volume->id, id);
    (void)snprintf(path, sizeof(path), "/v1/volumes/%s/prefetch", id);
    ramet_buf_init(&a.object, RAMET_PROFILE_OBJECT_MAX);
    ramet_pages_stream_init(&a.stream, volume, take_range, &a);
    a.stream.profile = take_profile;
    rc = ramet_http_perform(with->pool, &call, err);
    if (rc == RAMET_OK)
        rc = explain(with, &call, &a, err);
    if (rc == RAMET_OK)
        tell_pages(&a);
    if (rc == RAMET_OK && a.rc != RAMET_OK) {
        rc = a.rc;
        if (err != NULL)
            *err = a.err;
    }
    ramet_buf_done(&a.object);
    ramet_pages_stream_done(&a.stream);
    ramet_buf_done(&call.body);
    free(part.iov_base);
    return rc;
}
