/*
 * stats.c - see stats.h.
 */
#include "cli/stats.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/output.h"
#include "client/remote/ahead.h"
#include "pagestore/s3/tally.h"

static bool
read_counts(struct ramet_store_requests *out)
{
    uint64_t sum = 0;

    ramet_s3_tally_process(out);
    for (unsigned kind = 0; kind < RAMET_REQUEST_KINDS; kind++)
        sum += out->by_kind[kind];
    return sum > 0;
}

json_t *
cli_stats_json(void)
{
    struct ramet_store_requests counts;
    json_t *json;

    if (!read_counts(&counts))
        return NULL;
    json = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "bytes_sent",
                     (json_int_t)counts.bytes_sent, "bytes_received",
                     (json_int_t)counts.bytes_received, "repeats",
                     (json_int_t)counts.repeats, "hedges",
                     (json_int_t)counts.hedges, "slowdowns",
                     (json_int_t)counts.slowdowns, "nano_usd",
                     (json_int_t)counts.nano_usd);
    for (unsigned kind = 0; json != NULL && kind < RAMET_REQUEST_KINDS; kind++)
        (void)json_object_set_new(
            json, ramet_request_kind_name((enum ramet_request_kind)kind),
            json_integer((json_int_t)counts.by_kind[kind]));
    return json;
}

json_t *
cli_stats_prefetch_json(void)
{
    const struct ramet_prefetch_counts counts = ramet_ahead_counts_process();

    if (counts.asked == 0)
        return NULL;
    return json_pack("{s:I, s:I, s:I}", "pages", (json_int_t)counts.asked,
                     "used", (json_int_t)counts.used, "vain",
                     (json_int_t)counts.vain);
}

static void
print_prefetch(void)
{
    const struct ramet_prefetch_counts counts = ramet_ahead_counts_process();

    if (counts.asked > 0)
        fprintf(stderr,
                "prefetch: %" PRIu64 " %s brought ahead of reads; %" PRIu64
                " in vain\n",
                counts.asked, cli_plural(counts.asked, "page", "pages"),
                counts.vain);
}

static void
print_requests(void)
{
    struct ramet_store_requests counts;
    char sent[CLI_TEXT_SIZE], received[CLI_TEXT_SIZE];
    const char *comma = "";

    if (!read_counts(&counts))
        return;
    fputs("bucket: ", stderr);
    for (unsigned kind = 0; kind < RAMET_REQUEST_KINDS; kind++) {
        if (counts.by_kind[kind] == 0)
            continue;
        fprintf(stderr, "%s%" PRIu64 " %s", comma, counts.by_kind[kind],
                ramet_request_kind_name((enum ramet_request_kind)kind));
        comma = ", ";
    }
    fprintf(stderr, "; %s sent, %s received; $%.7f at list price",
            cli_bytes(sent, counts.bytes_sent),
            cli_bytes(received, counts.bytes_received),
            (double)counts.nano_usd / 1e9);
    if (counts.repeats > 0 || counts.slowdowns > 0)
        fprintf(stderr, "; %" PRIu64 " repeated, %" PRIu64 " told to slow down",
                counts.repeats, counts.slowdowns);
    if (counts.hedges > 0)
        fprintf(stderr, "; %" PRIu64 " asked twice", counts.hedges);
    fputc('\n', stderr);
}

void
cli_stats_print(void)
{
    print_prefetch();
    print_requests();
}
