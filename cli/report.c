/*
 * report.c - see report.h.
 */
#include "cli/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/stats.h"

int
cli_report_sync(const struct cli_args *args, const char *done, const char *path,
                const struct ramet_sync_result *result,
                const struct cli_progress *progress)
{
    const uint64_t ms = cli_progress_elapsed_ms(progress);
    char pages[CLI_TEXT_SIZE], bytes[CLI_TEXT_SIZE], took[CLI_TEXT_SIZE];
    char requests[CLI_TEXT_SIZE], deltas[3 * CLI_TEXT_SIZE] = "";

    if (args->json)
        return cli_print_json(json_pack(
            "{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o*, "
            "s:o*}",
            "verb", args->verb->name, "file", cli_json_text(path),
            "durable_lsn", (json_int_t)result->durable_lsn, "remote_lsn",
            (json_int_t)result->remote_lsn, "pages", (json_int_t)result->pages,
            "delta_pages", (json_int_t)result->deltas.pages, "delta_bytes",
            (json_int_t)result->deltas.bytes, "delta_saved_bytes",
            (json_int_t)result->deltas.saved_bytes, "bytes",
            (json_int_t)result->bytes, "requests", (json_int_t)result->requests,
            "ms", (json_int_t)ms, "store_requests", cli_stats_json(),
            "prefetch", cli_stats_prefetch_json()));
    if (args->quiet)
        return CLI_DONE;
    if (result->deltas.pages > 0)
        snprintf(deltas, sizeof(deltas), " (%s as %s, %s saved)",
                 cli_count(pages, result->deltas.pages),
                 cli_plural(result->deltas.pages, "a delta", "deltas"),
                 cli_bytes(bytes, result->deltas.saved_bytes));
    printf("%s %s %s%s, %s in %s %s; LSN %" PRIu64 " (%s)\n", done,
           cli_count(pages, result->pages),
           cli_plural(result->pages, "page", "pages"), deltas,
           cli_bytes(bytes, result->bytes),
           cli_count(requests, result->requests),
           cli_plural(result->requests, "request", "requests"),
           result->durable_lsn, cli_duration(took, ms));
    return CLI_DONE;
}

void
cli_print_deltas(const struct ramet_delta_counts *deltas)
{
    char count[CLI_TEXT_SIZE], bytes[CLI_TEXT_SIZE];
    char whole[CLI_TEXT_SIZE], saved[CLI_TEXT_SIZE];

    printf("deltas    %s of LSN %" PRIu64 ", %s for %s of pages: %s saved\n",
           cli_count(count, deltas->pages), deltas->lsn,
           cli_bytes(bytes, deltas->bytes),
           cli_bytes(whole, deltas->bytes + deltas->saved_bytes),
           cli_bytes(saved, deltas->saved_bytes));
}
