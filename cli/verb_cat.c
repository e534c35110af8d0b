/*
 * verb_cat.c - `ramet cat`: bytes of a volume on standard output, without the rest
 * of it being brought.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/exit.h"
#include "cli/target.h"
#include "core/alloc.h"

#define PIECE_BYTES (256u << 10)

/* As in HTTP: both ends count. */
struct range {
    uint64_t first, last;
    bool is_suffix; /* the last `last` bytes */
};

static bool
parse_number(const char **at, uint64_t *out)
{
    const char *p = *at;
    uint64_t value = 0;

    while (*p >= '0' && *p <= '9' && value <= UINT64_MAX / 10 - 1)
        value = value * 10 + (uint64_t)(*p++ - '0');
    if (p == *at)
        return false;
    *at = p;
    *out = value;
    return true;
}

/* "0-99", "100-" (to the end), "-100" (the last ones). */
static bool
parse_range(const char *text, struct range *out)
{
    struct range range = {.first = 0, .last = UINT64_MAX};
    const char *p = text;

    range.is_suffix = *p == '-';
    if (!range.is_suffix && !parse_number(&p, &range.first))
        return false;
    if (*p++ != '-')
        return false;
    if ((range.is_suffix || *p != '\0') && !parse_number(&p, &range.last))
        return false;
    if (*p != '\0' || (!range.is_suffix && range.last < range.first))
        return false;
    *out = range;
    return true;
}

/* The bytes from *out_first on, before *out_end, in a file of `length`. */
static void
place_range(const struct range *range, uint64_t length, uint64_t *out_first,
            uint64_t *out_end)
{
    if (range->is_suffix) {
        *out_first = range->last < length ? length - range->last : 0;
        *out_end = length;
        return;
    }
    *out_first = range->first < length ? range->first : length;
    *out_end = range->last < length ? range->last + 1 : length;
}

static enum ramet_rc
print_piece(struct ramet_file *file, uint64_t at, uint8_t *buf, size_t len,
            struct ramet_err *err)
{
    size_t got = 0;
    const enum ramet_rc rc = ramet_file_read(file, at, buf, len, &got, err);

    if (rc != RAMET_OK)
        return rc;
    if (got != len)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "the volume ends at byte %" PRIu64, at + got);
    if (fwrite(buf, 1, len, stdout) != len)
        return RAMET_FAIL_OS(err, -errno, "standard output");
    return RAMET_OK;
}

static enum ramet_rc
print_range(struct ramet_file *file, const struct range *range,
            struct ramet_err *err)
{
    uint8_t *const buf = ramet_alloc(PIECE_BYTES);
    uint64_t at, end;
    enum ramet_rc rc;

    if (buf == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "cat: no memory");
    rc = ramet_file_pin(file, err);
    if (rc == RAMET_OK) {
        place_range(range, ramet_file_snapshot(file)->byte_length, &at, &end);
        while (rc == RAMET_OK && at < end) {
            const size_t len =
                end - at < PIECE_BYTES ? (size_t)(end - at) : PIECE_BYTES;

            rc = print_piece(file, at, buf, len, err);
            at += len;
        }
        ramet_file_unpin(file);
    }
    if (rc == RAMET_OK && fflush(stdout) != 0)
        rc = RAMET_FAIL_OS(err, -errno, "standard output");
    ramet_free(buf);
    return rc;
}

static int
run_cat(const struct cli_args *args)
{
    const char *const source = args->operands[0];
    const char *const text = cli_value(args, "range");
    struct range range = {.first = 0, .last = UINT64_MAX};
    struct ramet_file *file = NULL;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (args->json)
        return cli_usage(args->verb, "the bytes and --json both want standard "
                                     "output");
    if (text != NULL && !parse_range(text, &range))
        return cli_usage(args->verb, "--range wants 0-99, 100- or -100");
    if (isatty(STDOUT_FILENO) == 1)
        return cli_usage(args->verb, "standard output is a terminal");
    rc = cli_is_url(source) ? cli_stateless_open(args, source, &file, &err)
                            : cli_file_open(args, source, &file, &err);
    if (rc == RAMET_OK)
        rc = print_range(file, &range, &err);
    ramet_file_close(file);
    return rc == RAMET_OK ? CLI_DONE : cli_fail(args, source, rc, &err);
}

static const struct cli_option options[] = {
    {"range", "A-B", "bytes A to B alone, both included; A- and -N as in HTTP"},
    {NULL, NULL, NULL},
};

const struct cli_verb cli_verb_cat = {
    .name = "cat",
    .operands = "FILE|URL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "print a volume's bytes",
    .details =
        "Prints the newest snapshot of a replica (local commits included) or "
        "of\n"
        "the volume at URL (URL@LSN and URL@TIME: as it was then), or a range "
        "of\n"
        "its bytes. Of what is not here only that is brought.",
    .example = "  $ ramet cat http://host:7411/model --range 0-1023 | xxd\n"
               "  $ ramet cat http://host:7411/events.parquet --range -8",
    .options = options,
    .reports = true,
    .run = run_cat,
};
