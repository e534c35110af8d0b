/*
 * output.c - see output.h.
 */
#include "cli/output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/exit.h"
#include "client/remote/remote.h"
#include "core/alloc.h"
#include "core/show.h"

const char *
cli_bytes(char out[CLI_TEXT_SIZE], uint64_t bytes)
{
    static const char *const units[] = {"B",  "kB", "MB", "GB",
                                        "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 999.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1000;
        unit++;
    }
    snprintf(out, CLI_TEXT_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", value,
             units[unit]);
    return out;
}

const char *
cli_count(char out[CLI_TEXT_SIZE], uint64_t count)
{
    char digits[CLI_TEXT_SIZE];
    const int len = snprintf(digits, sizeof(digits), "%" PRIu64, count);
    int at = 0;

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

const char *
cli_duration(char out[CLI_TEXT_SIZE], uint64_t ms)
{
    const uint64_t s = ms / 1000;

    if (ms < 1000)
        snprintf(out, CLI_TEXT_SIZE, "%" PRIu64 " ms", ms);
    else if (s < 60)
        snprintf(out, CLI_TEXT_SIZE, "%.1f s", (double)ms / 1000);
    else if (s < 3600)
        snprintf(out, CLI_TEXT_SIZE, "%" PRIu64 " min %" PRIu64 " s", s / 60,
                 s % 60);
    else if (s < 86400)
        snprintf(out, CLI_TEXT_SIZE, "%" PRIu64 " h %" PRIu64 " min", s / 3600,
                 s % 3600 / 60);
    else
        snprintf(out, CLI_TEXT_SIZE, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
                 s % 86400 / 3600);
    return out;
}

bool
cli_parse_duration(const char *text, uint64_t *out_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"", 1000},     {"ms", 1},      {"s", 1000},    {"m", 60000},
                 {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
    unsigned long long number;
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    number = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) != 0)
            continue;
        if (number > UINT64_MAX / units[i].ms)
            return false;
        *out_ms = number * units[i].ms;
        return true;
    }
    return false;
}

const char *
cli_plural(uint64_t count, const char *one, const char *many)
{
    return count == 1 ? one : many;
}

void
cli_show(FILE *to, const char *text)
{
    const char *const end = text + strlen(text);

    while (text < end) {
        char shown[RAMET_SHOWN_MAX];

        fwrite(shown, 1, ramet_show_char(RAMET_SHOW_PLAIN, &text, end, shown),
               to);
    }
}

void
cli_print_text(const char *text)
{
    cli_show(stdout, text);
}

static int
out_of_memory(void)
{
    fputs("ramet: out of memory\n", stderr);
    return CLI_FAILED;
}

int
cli_print_json(json_t *value)
{
    int code = CLI_DONE;

    if (value == NULL)
        return out_of_memory();
    if (json_dumpf(value, stdout, JSON_COMPACT | JSON_ENSURE_ASCII) != 0)
        code = CLI_FAILED;
    else
        putchar('\n');
    json_decref(value);
    return code;
}

json_t *
cli_json_text(const char *text)
{
    json_t *json;
    char *ascii;

    if (text == NULL)
        return json_null();
    json = json_string(text);
    if (json != NULL)
        return json;
    ascii = ramet_strdup(text);
    if (ascii == NULL)
        return NULL;
    for (char *c = ascii; *c != '\0'; c++)
        if ((unsigned char)*c > 127)
            *c = '?';
    json = json_string(ascii);
    ramet_free(ascii);
    return json;
}

json_t *
cli_json_time(uint64_t unix_ms)
{
    char text[32];

    if (unix_ms == 0)
        return json_null();
    ramet_time_format(unix_ms, text);
    return json_string(text);
}

void
cli_json_array_add(struct cli_json_array *array, json_t *value)
{
    if (value == NULL) {
        array->failed = true;
        return;
    }
    fputs(array->open ? ",\n" : "[", stdout);
    array->open = true;
    if (json_dumpf(value, stdout, JSON_COMPACT | JSON_ENSURE_ASCII) != 0)
        array->failed = true;
    json_decref(value);
}

int
cli_json_array_end(struct cli_json_array *array)
{
    fputs(array->open ? "]\n" : "[]\n", stdout);
    return array->failed ? out_of_memory() : CLI_DONE;
}
