/*
 * question.c - see question.h.
 */
#include "server/question.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/log.h"
#include "metastore/profile.h"
#include "server/ask_process.h"
#include "server/ask_wire.h"

/* ---- what is asked ---------------------------------------------------------------- */

static void
add_param(struct ramet_asked *q, uint8_t type, const void *bytes, size_t len)
{
    const uint32_t n = (uint32_t)len;

    assert(len <= UINT32_MAX && type >= 1 && type <= 5);
    ramet_buf_u8(&q->params, type);
    ramet_buf_bytes(&q->params, &n, sizeof(n));
    ramet_buf_bytes(&q->params, bytes, len);
    q->param_count++;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
add_blob(struct ramet_asked *q, const json_t *value)
{
    const char *const hex = json_string_value(json_object_get(value, "hex"));
    const size_t len = hex != NULL ? strlen(hex) : 1;
    uint8_t *bytes;
    bool ok;

    if (len % 2 != 0 || len / 2 > RAMET_ASK_BYTES_MAX)
        return false;
    bytes = ramet_alloc(len / 2 + 1);
    ok = bytes != NULL;
    for (size_t i = 0; ok && i < len / 2; i++) {
        const int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

        ok = high >= 0 && low >= 0;
        bytes[i] = (uint8_t)(high * 16 + low);
    }
    if (ok)
        add_param(q, 4, bytes, len / 2);
    ramet_free(bytes);
    return ok;
}

static bool
add_value(struct ramet_asked *q, const json_t *value)
{
    const int64_t integer = json_integer_value(value);
    const double real = json_real_value(value);

    switch (json_typeof(value)) {
    case JSON_INTEGER:
        add_param(q, 1, &integer, sizeof(integer));
        return true;
    case JSON_REAL:
        add_param(q, 2, &real, sizeof(real));
        return true;
    case JSON_STRING:
        add_param(q, 3, json_string_value(value), json_string_length(value));
        return true;
    case JSON_NULL:
        add_param(q, 5, "", 0);
        return true;
    case JSON_OBJECT:
        return add_blob(q, value);
    case JSON_ARRAY:
    case JSON_TRUE:
    case JSON_FALSE:
        break;
    }
    return false;
}

enum ramet_rc
ramet_question_parse(struct json_t *json, struct ramet_asked *out,
                     struct ramet_err *err)
{
    const json_t *const params = json_object_get(json, "params");
    size_t sql_len;

    *out = (struct ramet_asked){
        .sql = json_string_value(json_object_get(json, "sql"))};
    ramet_buf_init(&out->params, RAMET_ASK_BYTES_MAX);
    if (out->sql == NULL)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "{\"sql\":\"SELECT …\"} is wanted");
    sql_len = strlen(out->sql);
    for (size_t i = 0; i < json_array_size(params); i++)
        if (!add_value(out, json_array_get(params, i)))
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "params: number %zu is neither a number, a text, "
                              "null nor {\"hex\":\"…\"}",
                              i + 1);
    if (sql_len > RAMET_ASK_SQL_MAX || out->params.failed != RAMET_OK ||
        out->param_count > RAMET_ASK_PARAMS_MAX ||
        sql_len + out->params.len > RAMET_ASK_BYTES_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG,
                          "a question has at most %u bytes of SQL, %u "
                          "parameters, and %u bytes in all",
                          RAMET_ASK_SQL_MAX, RAMET_ASK_PARAMS_MAX,
                          RAMET_ASK_BYTES_MAX);
    return RAMET_OK;
}

void
ramet_question_done(struct ramet_asked *question)
{
    ramet_buf_done(&question->params);
}

/* ---- what it reads ------------------------------------------------------- */

struct ramet_question {
    struct ramet_ask_process process;
    struct ramet_question_pages *source;
    struct ramet_head head;
    uint64_t left_ms;            /* of RAMET_QUESTION_MS */
    struct ramet_pageset all;    /* that it read so far */
    struct ramet_pageset *fresh; /* the caller's, of this turn */
    uint64_t count;              /* of all */
    bool is_ended;
    bool is_silent; /* the process ended, or hung up, and did not say why */
    char why[RAMET_QUESTION_WHY_SIZE];
};

static void
stop(struct ramet_question *q, const char *why)
{
    assert(why != NULL);
    (void)snprintf(q->why, sizeof(q->why), "%s", why);
    q->is_ended = true;
}

/* Nothing more came of it, or nothing more could be sent to it. */
static void
stop_unheard(struct ramet_question *q)
{
    q->is_silent = ramet_ask_process_now_ms() < q->process.until_ms;
    stop(q, "its time was over");
}

/* NULL, or why not: invariant (3). */
static const char *
note_page(struct ramet_question *q, uint32_t pgno)
{
    assert(pgno > 0);
    if (pgno > q->head.page_count)
        return "it asked for a page that the database does not have";
    if (ramet_pageset_contains(&q->all, pgno))
        return NULL;
    if (q->count == ramet_profile_pages_max(q->head.page_size))
        return "it read as many pages as are sent";
    if (ramet_pageset_add(&q->all, pgno) != RAMET_OK ||
        ramet_pageset_add(q->fresh, pgno) != RAMET_OK)
        return "the server has no memory for it";
    q->count++;
    return NULL;
}

/* A page is asked for. */
static enum ramet_rc
give_page(struct ramet_question *q, uint32_t pgno, struct ramet_err *err)
{
    const char *const why = note_page(q, pgno);
    const uint8_t *page;
    enum ramet_rc rc;

    assert(pgno > 0 && !q->is_ended);
    if (why != NULL) {
        stop(q, why);
        return RAMET_OK;
    }
    rc = ramet_question_pages_read(q->source, pgno, &page, err);
    if (rc == RAMET_OK &&
        !ramet_ask_process_send(&q->process, page, q->head.page_size))
        stop_unheard(q);
    return rc;
}

/* The last that it says. */
static enum ramet_rc
take_end(struct ramet_question *q, struct ramet_err *err)
{
    char text[RAMET_ASK_TEXT_MAX + 1];
    struct ramet_ask_end end;

    if (!ramet_ask_process_receive(&q->process, &end, sizeof(end)) ||
        end.text_len > RAMET_ASK_TEXT_MAX ||
        !ramet_ask_process_receive(&q->process, text, end.text_len)) {
        stop_unheard(q);
        return RAMET_OK;
    }
    q->is_ended = true;
    for (uint32_t i = 0; i < end.text_len; i++)
        if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] >= 127)
            text[i] = '?';
    text[end.text_len] = '\0';
    if (end.outcome == RAMET_ASK_REFUSED)
        return RAMET_FAIL(err, RAMET_EINVAL, "the statement: %s", text);
    if (end.outcome != RAMET_ASK_DONE)
        stop(q, text[0] != '\0' ? text : "it came to a limit");
    return RAMET_OK;
}

static enum ramet_rc
hear(struct ramet_question *q, struct ramet_err *err)
{
    uint32_t pgno;

    assert(!q->is_ended);
    if (!ramet_ask_process_receive(&q->process, &pgno, sizeof(pgno))) {
        stop_unheard(q);
        return RAMET_OK;
    }
    return pgno == 0 ? take_end(q, err) : give_page(q, pgno, err);
}

/* ---- how it goes --------------------------------------------------------- */

static void
send_statement(struct ramet_question *q, const struct ramet_asked *asked)
{
    const struct ramet_ask_begin first = {
        .magic = RAMET_ASK_MAGIC,
        .page_size = q->head.page_size,
        .page_count = q->head.page_count,
        .sql_len = (uint32_t)strlen(asked->sql),
        .param_count = asked->param_count,
        .param_bytes = (uint32_t)asked->params.len,
    };

    assert(asked->sql != NULL);
    if (!ramet_ask_process_send(&q->process, &first, sizeof(first)) ||
        !ramet_ask_process_send(&q->process, asked->sql, first.sql_len) ||
        !ramet_ask_process_send(&q->process, asked->params.data,
                                first.param_bytes))
        stop_unheard(q);
}

/* Only turns are of its time: between two of them it waits for us. */
static void
begin_turn(struct ramet_question *q)
{
    assert(q->left_ms <= RAMET_QUESTION_MS);
    q->process.until_ms = ramet_ask_process_now_ms() + q->left_ms;
}

static void
end_turn(struct ramet_question *q)
{
    const uint64_t now = ramet_ask_process_now_ms();

    q->left_ms = q->process.until_ms > now ? q->process.until_ms - now : 0;
    assert(q->left_ms <= RAMET_QUESTION_MS);
}

enum ramet_rc
ramet_question_begin(const char *helper, const struct ramet_asked *asked,
                     struct ramet_question_pages *source,
                     const struct ramet_head *head, struct ramet_question **out,
                     struct ramet_err *err)
{
    struct ramet_question *const q = ramet_calloc(1, sizeof(*q));
    enum ramet_rc rc;

    if (q == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "a question");
    q->source = source;
    q->head = *head;
    q->left_ms = RAMET_QUESTION_MS;
    ramet_pageset_init(&q->all);
    rc = ramet_ask_process_begin(&q->process, helper, err);
    if (rc != RAMET_OK) {
        ramet_free(q);
        return rc;
    }
    begin_turn(q);
    send_statement(q, asked);
    end_turn(q);
    *out = q;
    return RAMET_OK;
}

enum ramet_rc
ramet_question_turn(struct ramet_question *q, uint64_t most,
                    struct ramet_pageset *pages, bool *out_ended,
                    struct ramet_err *err)
{
    const uint64_t before = q->count;
    enum ramet_rc rc = RAMET_OK;

    assert(most > 0);
    q->fresh = pages;
    begin_turn(q);
    while (rc == RAMET_OK && !q->is_ended && q->count - before < most)
        rc = hear(q, err);
    end_turn(q);
    *out_ended = q->is_ended;
    return rc;
}

/* That it was killed is what a limit of the system comes to; how it ended otherwise
 * is for whoever runs the server to know, too. */
static void
say_how_it_ended(struct ramet_question *q, int status)
{
    const bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    const size_t size = sizeof(q->why);

    assert(q->is_silent);
    if (is_killed)
        (void)snprintf(q->why, size,
                       "its process was killed, perhaps for the "
                       "processor time it took");
    else if (WIFSIGNALED(status))
        (void)snprintf(q->why, size, "its process ended by signal %d",
                       WTERMSIG(status));
    else
        (void)snprintf(q->why, size, "its process ended with status %d",
                       WEXITSTATUS(status));
    ramet_log(is_killed ? RAMET_LOG_DEBUG : RAMET_LOG_WARN,
              "a question was not run to its end", "why", q->why, NULL);
}

void
ramet_question_end(struct ramet_question *q, struct ramet_question_stop *out)
{
    int status;

    if (q == NULL)
        return;
    status = ramet_ask_process_end(&q->process);
    if (q->is_silent)
        say_how_it_ended(q, status);
    if (out != NULL)
        memcpy(out->why, q->why, sizeof(out->why));
    ramet_pageset_done(&q->all);
    ramet_free(q);
}
