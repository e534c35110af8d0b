/*
 * output.h - figures and times as people read them, results as JSON.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_OUTPUT_H
#define RAMET_CLI_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_TEXT_SIZE 32

/* "12.3 MB", in powers of 1000; "512 B". */
const char *cli_bytes(char out[CLI_TEXT_SIZE], uint64_t bytes);
/* "48,128". */
const char *cli_count(char out[CLI_TEXT_SIZE], uint64_t count);
/* "340 ms", "12.3 s", "4 min 5 s", "3 h 2 min", "5 d 2 h". */
const char *cli_duration(char out[CLI_TEXT_SIZE], uint64_t ms);
/* "10m", "90s", "500ms", "2h", "1d"; a bare number is seconds. */
bool cli_parse_duration(const char *text, uint64_t *out_ms);
/* "page", "pages": the plural unless count is 1. */
const char *cli_plural(uint64_t count, const char *one, const char *many);

/* Print what others chose, such as names, so that no terminal obeys it
 * (core/show.h). */
void cli_show(FILE *to, const char *text);
void cli_print_text(const char *text); /* to standard output */

/* Print one value and a line feed, and free it. A NULL (out of memory while
 * it was made) is a failure: returns an exit code. */
int cli_print_json(json_t *value);
/* Text that others chose (a path, an error) as a JSON string: what is no UTF-8
 * has a '?' for each byte above 127. NULL gives JSON null. */
json_t *cli_json_text(const char *text);
/* Unix milliseconds as RFC 3339 text; JSON null for 0. */
json_t *cli_json_time(uint64_t unix_ms);

/* An array printed as it grows, one element a line. */
struct cli_json_array {
    bool open;
    bool failed;
};
void cli_json_array_add(struct cli_json_array *array, json_t *value);
int cli_json_array_end(struct cli_json_array *array);

#endif
