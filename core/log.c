/*
 * log.c - logfmt or JSON lines; see log.h.
 *
 * A line is put together in a buffer on the stack and written by one write(2),
 * so that lines of threads and processes do not mix. A value that does not fit
 * is cut; the line stays well formed, since every append that can't be whole
 * is left out and room for the end is kept.
 *
 *   (1) line.len <= TEXT_MAX, and one more for a closing quote
 *   (2) target_fd and is_json are written before `threshold` is released, and
 *       never after
 */
#include "core/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/os.h"
#include "core/show.h"
#include "core/thread.h"

#define LINE_MAX_BYTES 4096u
#define TEXT_MAX (LINE_MAX_BYTES - 3) /* closing quote, brace, newline */
#define LEVEL_OFF (RAMET_LOG_ERROR + 1)

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    bool json;
};

static struct ramet_mutex init_mutex = RAMET_MUTEX_INIT;
static bool was_read;      /* under init_mutex: the environment */
static int target_fd = -1; /* set once */
static bool is_json;
static atomic_int threshold = LEVEL_OFF; /* invariant (2) */

static const char *const level_names[] = {"debug", "info", "warn", "error"};

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&init_mutex);
}

static int
level_of_name(const char *name)
{
    for (int level = RAMET_LOG_DEBUG; level <= RAMET_LOG_ERROR; level++)
        if (name != NULL && strcmp(name, level_names[level]) == 0)
            return level;
    return RAMET_LOG_INFO;
}

/* The descriptor to log to. */
static int
open_target(const char *target)
{
    const struct ramet_os *const os = ramet_os_system();
    int fd;

    if (strcmp(target, "stderr") == 0)
        return STDERR_FILENO;
    fd = os->open(os->ctx, AT_FDCWD, target, O_WRONLY | O_CREAT | O_APPEND,
                  0666);
    /* Nobody hears that the log can't be had but by standard error. */
    return fd >= 0 ? fd : STDERR_FILENO;
}

void
ramet_log_init_from_env(bool default_on)
{
    const char *const format = getenv("RAMET_LOG_FORMAT");
    const char *const target = getenv("RAMET_LOG");

    ramet_mutex_lock(&init_mutex);
    if (!was_read) {
        was_read = true;
        is_json = format != NULL && strcmp(format, "json") == 0;
        if (target != NULL && target[0] != '\0')
            target_fd = open_target(target);
    }
    if (target_fd < 0 && default_on)
        target_fd = STDERR_FILENO;
    if (target_fd >= 0)
        atomic_store_explicit(&threshold,
                              level_of_name(getenv("RAMET_LOG_LEVEL")),
                              memory_order_release);
    ramet_mutex_unlock(&init_mutex);
}

bool
ramet_log_enabled(enum ramet_log_level level)
{
    return (int)level >= atomic_load_explicit(&threshold, memory_order_acquire);
}

/* Append all of it or nothing; false if it does not fit. */
static bool
put_text(struct line *line, const char *text, size_t len)
{
    if (line->len + len > TEXT_MAX)
        return false;
    memcpy(line->text + line->len, text, len);
    line->len += len;
    return true;
}

static void
put_escaped(struct line *line, const char *value)
{
    line->len +=
        ramet_show_text(RAMET_SHOW_QUOTED, value, strlen(value),
                        line->text + line->len, TEXT_MAX - line->len + 1);
}

/* logfmt: can the value stand without quotes? */
static bool
is_bare(const char *value)
{
    for (const unsigned char *at = (const unsigned char *)value; *at != '\0';
         at++)
        if (*at <= ' ' || *at >= 0x7f || *at == '"' || *at == '=' ||
            *at == '\\')
            return false;
    return value[0] != '\0';
}

static void
put_field(struct line *line, const char *key, const char *value)
{
    const bool first = line->len <= 1;
    const bool quoted = line->json || !is_bare(value);
    const size_t key_len = strlen(key);
    const size_t before = line->len;
    bool fits = true;

    if (!first)
        fits = put_text(line, line->json ? "," : " ", 1);
    if (line->json)
        fits = fits && put_text(line, "\"", 1);
    fits = fits && put_text(line, key, key_len);
    fits = fits && put_text(line, line->json ? "\":" : "=", line->json ? 2 : 1);
    if (quoted)
        fits = fits && put_text(line, "\"", 1);
    if (!fits) {
        line->len = before;
        return;
    }
    put_escaped(line, value);
    if (quoted) /* by invariant (1) there is room, whatever was cut */
        line->text[line->len++] = '"';
}

static void
put_time(struct line *line)
{
    const struct ramet_os *const os = ramet_os_system();
    const uint64_t ms = os->wall_ms(os->ctx);
    const time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    char text[64];

    if (gmtime_r(&seconds, &utc) == NULL)
        return;
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ",
             utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
             utc.tm_min, utc.tm_sec, (unsigned)(ms % 1000));
    put_field(line, "ts", text);
}

static void
finish_line(struct line *line)
{
    ssize_t written;

    assert(line->len <= TEXT_MAX + 1);
    if (line->json)
        line->text[line->len++] = '}';
    line->text[line->len++] = '\n';
    do
        written = write(target_fd, line->text, line->len);
    while (written < 0 && errno == EINTR);
    /* A log that can't be written is not worth failing for. */
}

void
ramet_log(enum ramet_log_level level, const char *msg, ...)
{
    const int saved_errno = errno;
    struct line line;
    const char *key;
    va_list args;

    assert(level >= RAMET_LOG_DEBUG && level <= RAMET_LOG_ERROR);
    if (!ramet_log_enabled(level))
        return;
    line.len = 0;
    line.json = is_json;
    if (line.json)
        line.text[line.len++] = '{';
    put_time(&line);
    put_field(&line, "level", level_names[level]);
    put_field(&line, "msg", msg);
    va_start(args, msg);
    while ((key = va_arg(args, const char *)) != NULL) {
        const char *const value = va_arg(args, const char *);

        put_field(&line, key, value != NULL ? value : "");
        if (value == NULL) /* a list cut short by a missing value */
            break;
    }
    va_end(args);
    finish_line(&line);
    errno = saved_errno;
}

const char *
ramet_log_num(char buf[RAMET_LOG_NUM_SIZE], uint64_t value)
{
    snprintf(buf, RAMET_LOG_NUM_SIZE, "%" PRIu64, value);
    return buf;
}
