/*
 * access.c - see access.h for the contract.
 */
#include "server/access.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/show.h"
#include "core/thread.h"

#define BUFFER_BYTES (1u << 20)
#define FLUSH_MS 500u
#define LINE_MAX_BYTES 1024u

struct ramet_access_log {
    char *path; /* NULL: standard error */
    int fd;
    struct ramet_mutex lock;
    char *fill; /* lock */
    size_t fill_len;
    uint64_t dropped;
    time_t second; /* lock: the one that `stamp` shows */
    char stamp[24];
    struct ramet_cond wake;
    bool stopping; /* lock */
    bool woken;    /* lock: since the last flush */
    struct ramet_thread writer;
    struct ramet_mutex write_lock;
    char *drain; /* write_lock */
};

static int
open_log(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

static void
write_all(int fd, const char *data, size_t len)
{
    assert(fd >= 0 && (data != NULL || len == 0));
    while (len > 0) {
        const ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* a log that can't be written is no reason to stop */
        data += n;
        len -= (size_t)n;
    }
}

/* Write what waits. */
static void
flush(struct ramet_access_log *log)
{
    char number[RAMET_LOG_NUM_SIZE];
    uint64_t dropped;
    size_t len;
    char *swap;

    ramet_mutex_lock(&log->write_lock);
    ramet_mutex_lock(&log->lock);
    swap = log->drain;
    log->drain = log->fill;
    log->fill = swap;
    len = log->fill_len;
    assert(len <= BUFFER_BYTES);
    log->fill_len = 0;
    dropped = log->dropped;
    log->dropped = 0;
    log->woken = false;
    ramet_mutex_unlock(&log->lock);
    write_all(log->fd, log->drain, len);
    ramet_mutex_unlock(&log->write_lock);
    if (dropped > 0)
        ramet_log(RAMET_LOG_WARN, "access log too slow, lines dropped", "lines",
                  ramet_log_num(number, dropped), NULL);
}

static void *
run_writer(void *arg)
{
    struct ramet_access_log *log = arg;
    bool stop;

    do {
        ramet_mutex_lock(&log->lock);
        if (!log->stopping && log->fill_len < BUFFER_BYTES / 4)
            (void)ramet_cond_wait_ms(&log->wake, &log->lock, FLUSH_MS);
        stop = log->stopping;
        ramet_mutex_unlock(&log->lock);
        flush(log);
    } while (!stop);
    return NULL;
}

enum ramet_rc
ramet_access_open(const char *where, struct ramet_access_log **out,
                  struct ramet_err *err)
{
    struct ramet_access_log *log = NULL;
    enum ramet_rc rc = RAMET_OK;

    if (strcmp(where, "off") == 0 || where[0] == '\0') {
        *out = NULL;
        return RAMET_OK;
    }
    log = ramet_calloc(1, sizeof(*log));
    if (log == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "access log: out of memory");
    ramet_mutex_init(&log->lock);
    ramet_mutex_init(&log->write_lock);
    ramet_cond_init(&log->wake);
    log->fd = STDERR_FILENO;
    log->fill = ramet_alloc(BUFFER_BYTES);
    log->drain = ramet_alloc(BUFFER_BYTES);
    if (strcmp(where, "stderr") != 0) {
        log->path = ramet_strdup(where);
        log->fd = log->path != NULL ? open_log(where) : -1;
        if (log->path == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "access log: out of memory");
        else if (log->fd < 0)
            rc = RAMET_FAIL_OS(err, -errno, "access log %s", where);
    }
    if (rc == RAMET_OK && (log->fill == NULL || log->drain == NULL))
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "access log: out of memory");
    if (rc == RAMET_OK)
        rc = ramet_thread_start(&log->writer, "ramet-access", run_writer, log,
                                err);
    if (rc == RAMET_OK)
        *out = log;
    else
        ramet_access_close(log);
    return rc;
}

void
ramet_access_close(struct ramet_access_log *log)
{
    if (log == NULL)
        return;
    ramet_mutex_lock(&log->lock);
    log->stopping = true;
    ramet_cond_broadcast(&log->wake);
    ramet_mutex_unlock(&log->lock);
    ramet_thread_join(&log->writer);
    if (log->path != NULL && log->fd >= 0)
        (void)close(log->fd);
    ramet_cond_done(&log->wake);
    ramet_mutex_done(&log->write_lock);
    ramet_mutex_done(&log->lock);
    ramet_free(log->path);
    ramet_free(log->fill);
    ramet_free(log->drain);
    ramet_free(log);
}

void
ramet_access_reopen(struct ramet_access_log *log)
{
    int fd;

    if (log == NULL || log->path == NULL)
        return;
    fd = open_log(log->path);
    if (fd < 0)
        return; /* the old one goes on */
    ramet_mutex_lock(&log->write_lock);
    (void)close(log->fd);
    log->fd = fd;
    ramet_mutex_unlock(&log->write_lock);
}

/* What a peer said, as a logfmt value that is cut to fit. */
static const char *
quoted(char *out, size_t size, const char *text)
{
    size_t len;

    assert(size > 3 && text != NULL);
    out[0] = '"';
    len = ramet_show_text(RAMET_SHOW_QUOTED, text, strlen(text), out + 1,
                          size - 2);
    memcpy(out + 1 + len, "\"", 2);
    return out;
}

static void
stamp(struct ramet_access_log *log, const struct timespec *now)
{
    struct tm tm;

    assert(now->tv_nsec >= 0);
    if (log->second == now->tv_sec)
        return;
    log->second = now->tv_sec;
    (void)gmtime_r(&now->tv_sec, &tm);
    (void)strftime(log->stamp, sizeof(log->stamp), "%Y-%m-%dT%H:%M:%S", &tm);
}

void
ramet_access_add(struct ramet_access_log *log,
                 const struct ramet_access_line *line)
{
    char method[32], path[400], agent[120];
    struct timespec now;
    int len;

    if (log == NULL)
        return;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    ramet_mutex_lock(&log->lock);
    stamp(log, &now);
    if (BUFFER_BYTES - log->fill_len < LINE_MAX_BYTES) {
        log->dropped++;
        ramet_mutex_unlock(&log->lock);
        return;
    }
    assert(log->fill_len <= BUFFER_BYTES - LINE_MAX_BYTES);
    len = snprintf(
        log->fill + log->fill_len, LINE_MAX_BYTES,
        "ts=%s.%03ldZ level=info msg=request peer=%s method=%s "
        "path=%s status=%u in=%llu out=%llu us=%llu agent=%s\n",
        log->stamp, now.tv_nsec / 1000000, line->peer,
        quoted(method, sizeof(method), line->method),
        quoted(path, sizeof(path), line->path), line->status,
        (unsigned long long)line->bytes_in, (unsigned long long)line->bytes_out,
        (unsigned long long)line->duration_us,
        quoted(agent, sizeof(agent), line->agent != NULL ? line->agent : ""));
    assert(len > 0 && (size_t)len < LINE_MAX_BYTES); /* all parts are bounded */
    log->fill_len += (size_t)len;
    if (log->fill_len >= BUFFER_BYTES / 4 && !log->woken) {
        log->woken = true;
        ramet_cond_signal(&log->wake);
    }
    ramet_mutex_unlock(&log->lock);
}
