/*
 * question.c - see question.h.
 */
#include "server/question.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/log.h"
#include "metastore/profile.h"
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

/* ---- the process --------------------------------------------------------- */

struct asking {
    pid_t pid;
    int fd;
    uint64_t until_ms;
};

static uint64_t
now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static bool
exists(const char *path)
{
    return access(path, X_OK) == 0;
}

bool
ramet_question_find_helper(char *out, size_t size)
{
    static const char *const places[] = {"ramet-ask", "../libexec/ramet-ask"};
    char own[PATH_MAX];
    const ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
    char *slash;

    if (len <= 0)
        return false;
    own[len] = '\0';
    slash = strrchr(own, '/');
    if (slash == NULL)
        return false;
    slash[1] = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if ((size_t)snprintf(out, size, "%s%s", own, places[i]) < size &&
            exists(out))
            return true;
    return false;
}

/* Invariant (1). `fd` is its end of the socket. */
static int
spawn(const char *helper, int fd, pid_t *out_pid)
{
    char name[] = "ramet-ask";
    char *const arguments[] = {name, NULL};
    char *const environment[] = {NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int failed;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    failed = posix_spawn_file_actions_init(&files);
    if (failed != 0)
        return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed == 0) {
        (void)posix_spawnattr_setsigmask(&attributes, &none);
        (void)posix_spawnattr_setsigdefault(&attributes, &all);
        (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                                        POSIX_SPAWN_SETSIGDEF |
                                                        POSIX_SPAWN_SETSID);
        failed = posix_spawn_file_actions_adddup2(&files, fd, STDIN_FILENO);
        if (failed == 0)
            failed =
                posix_spawn_file_actions_adddup2(&files, fd, STDOUT_FILENO);
        if (failed == 0)
            failed = posix_spawn_file_actions_addclosefrom_np(&files, 2);
        if (failed == 0)
            failed = posix_spawn(out_pid, helper, &files, &attributes,
                                 arguments, environment);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&files);
    return failed;
}

static enum ramet_rc
begin(struct asking *asking, const char *helper, struct ramet_err *err)
{
    int ends[2], failed;

    assert(helper != NULL);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return RAMET_FAIL_OS(err, -errno, "a socket for a question");
    failed = spawn(helper, ends[1], &asking->pid);
    (void)close(ends[1]);
    if (failed != 0) {
        (void)close(ends[0]);
        /* Not the client's rights, whichever error it is. */
        return ramet_err_set(err, RAMET_EIO, failed, "%.200s", helper);
    }
    asking->fd = ends[0];
    asking->until_ms = now_ms() + RAMET_QUESTION_MS;
    return RAMET_OK;
}

/* Invariant (2). How it ended, or that we ended it. */
static int
finish(struct asking *asking)
{
    int status = 0;

    assert(asking->pid > 0 && asking->fd >= 0);
    (void)close(asking->fd);
    (void)kill(asking->pid, SIGKILL);
    while (waitpid(asking->pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static bool
wait_for(struct asking *asking, short events)
{
    struct pollfd poller = {.fd = asking->fd, .events = events};
    const uint64_t now = now_ms();

    assert(asking->fd >= 0);
    if (now >= asking->until_ms)
        return false;
    return poll(&poller, 1, (int)(asking->until_ms - now)) > 0;
}

static bool
receive(struct asking *asking, void *out, size_t len)
{
    uint8_t *at = out;

    assert(out != NULL || len == 0);
    while (len > 0) {
        const ssize_t got = recv(asking->fd, at, len, MSG_DONTWAIT);

        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!wait_for(asking, POLLIN))
                return false;
            continue;
        }
        if (got <= 0)
            return false;
        at += got;
        len -= (size_t)got;
    }
    return true;
}

static bool
send_all(struct asking *asking, const void *data, size_t len)
{
    const uint8_t *at = data;

    assert(data != NULL || len == 0);
    while (len > 0) {
        const ssize_t put =
            send(asking->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (put < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!wait_for(asking, POLLOUT))
                return false;
            continue;
        }
        if (put <= 0)
            return false;
        at += put;
        len -= (size_t)put;
    }
    return true;
}

/* ---- what it reads ------------------------------------------------------- */

struct run {
    struct asking asking;
    struct ramet_question_pages *source;
    const struct ramet_head *head;
    struct ramet_pageset *pages;
    uint64_t count;
    struct ramet_question_stop *stop;
    bool is_silent; /* the process ended, or hung up, and did not say why */
};

static void
stop(struct run *run, const char *why)
{
    assert(why != NULL);
    (void)snprintf(run->stop->why, sizeof(run->stop->why), "%s", why);
}

/* Nothing more came of it, or nothing more could be sent to it. */
static void
stop_unheard(struct run *run)
{
    run->is_silent = now_ms() < run->asking.until_ms;
    stop(run, "its time was over");
}

/* NULL, or why not: invariant (3). */
static const char *
note_page(struct run *run, uint32_t pgno)
{
    assert(pgno > 0);
    if (pgno > run->head->page_count)
        return "it asked for a page that the database does not have";
    if (ramet_pageset_contains(run->pages, pgno))
        return NULL;
    if (run->count == ramet_profile_pages_max(run->head->page_size))
        return "it read as many pages as are sent";
    if (ramet_pageset_add(run->pages, pgno) != RAMET_OK)
        return "the server has no memory for it";
    run->count++;
    return NULL;
}

/* A page is asked for. False: that is the end of it. */
static bool
give_page(struct run *run, uint32_t pgno, enum ramet_rc *rc,
          struct ramet_err *err)
{
    const char *const why = note_page(run, pgno);
    const uint8_t *page;

    assert(pgno > 0 && *rc == RAMET_OK);
    if (why != NULL) {
        stop(run, why);
        return false;
    }
    *rc = ramet_question_pages_read(run->source, pgno, &page, err);
    if (*rc != RAMET_OK)
        return false;
    if (send_all(&run->asking, page, run->head->page_size))
        return true;
    stop_unheard(run);
    return false;
}

/* The last that it says. */
static enum ramet_rc
take_end(struct run *run, struct ramet_err *err)
{
    char text[RAMET_ASK_TEXT_MAX + 1];
    struct ramet_ask_end end;

    if (!receive(&run->asking, &end, sizeof(end)) ||
        end.text_len > RAMET_ASK_TEXT_MAX ||
        !receive(&run->asking, text, end.text_len)) {
        stop_unheard(run);
        return RAMET_OK;
    }
    for (uint32_t i = 0; i < end.text_len; i++)
        if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] >= 127)
            text[i] = '?';
    text[end.text_len] = '\0';
    if (end.outcome == RAMET_ASK_REFUSED)
        return RAMET_FAIL(err, RAMET_EINVAL, "the statement: %s", text);
    if (end.outcome != RAMET_ASK_DONE)
        stop(run, text[0] != '\0' ? text : "it came to a limit");
    return RAMET_OK;
}

static enum ramet_rc
talk(struct run *run, const struct ramet_asked *question, struct ramet_err *err)
{
    const struct ramet_ask_begin first = {
        .magic = RAMET_ASK_MAGIC,
        .page_size = run->head->page_size,
        .page_count = run->head->page_count,
        .sql_len = (uint32_t)strlen(question->sql),
        .param_count = question->param_count,
        .param_bytes = (uint32_t)question->params.len,
    };
    enum ramet_rc rc = RAMET_OK;
    uint32_t pgno;

    assert(question->sql != NULL);
    if (send_all(&run->asking, &first, sizeof(first)) &&
        send_all(&run->asking, question->sql, first.sql_len) &&
        send_all(&run->asking, question->params.data, first.param_bytes)) {
        while (receive(&run->asking, &pgno, sizeof(pgno))) {
            if (pgno == 0)
                return take_end(run, err);
            if (!give_page(run, pgno, &rc, err))
                return rc;
        }
    }
    stop_unheard(run);
    return RAMET_OK;
}

/* That it was killed is what a limit of the system comes to; how it ended otherwise
 * is for whoever runs the server to know, too. */
static void
say_how_it_ended(struct run *run, int status)
{
    const bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    char *const why = run->stop->why;
    const size_t size = sizeof(run->stop->why);

    assert(run->is_silent);
    if (is_killed)
        (void)snprintf(why, size,
                       "its process was killed, perhaps for the "
                       "processor time it took");
    else if (WIFSIGNALED(status))
        (void)snprintf(why, size, "its process ended by signal %d",
                       WTERMSIG(status));
    else
        (void)snprintf(why, size, "its process ended with status %d",
                       WEXITSTATUS(status));
    ramet_log(is_killed ? RAMET_LOG_DEBUG : RAMET_LOG_WARN,
              "a question was not run to its end", "why", why, NULL);
}

enum ramet_rc
ramet_question_run(const char *helper, const struct ramet_asked *question,
                   struct ramet_question_pages *source,
                   const struct ramet_head *head,
                   struct ramet_pageset *out_pages,
                   struct ramet_question_stop *out_stop, struct ramet_err *err)
{
    struct run run = {
        .source = source, .head = head, .pages = out_pages, .stop = out_stop};
    enum ramet_rc rc;

    out_stop->why[0] = '\0';
    rc = begin(&run.asking, helper, err);
    if (rc == RAMET_OK) {
        int status;

        rc = talk(&run, question, err);
        status = finish(&run.asking);
        if (run.is_silent)
            say_how_it_ended(&run, status);
    }
    return rc;
}
