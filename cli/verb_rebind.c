/*
 * verb_rebind.c - `ramet rebind`: a replica goes over to a copy of its volume.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/target.h"

static void
print_rebound(const char *path, const struct ramet_rebound *rebound)
{
    char count[CLI_TEXT_SIZE];

    cli_print_text(path);
    printf(" is a replica of ");
    cli_print_text(rebound->to);
    printf(" now, at LSN %" PRIu64, rebound->durable_lsn);
    if (rebound->remote_lsn != rebound->durable_lsn)
        printf(" of %" PRIu64, rebound->remote_lsn);
    putchar('\n');
    if (rebound->local_commits != 0)
        printf("%s local %s with the next push\n",
               cli_count(count, rebound->local_commits),
               cli_plural(rebound->local_commits, "commit goes there",
                          "commits go there"));
}

static int
run_rebind(const struct cli_args *args)
{
    const char *const path = args->operands[0];
    struct ramet_file_options options;
    struct ramet_rebound rebound;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    cli_file_options(args, &options);
    rc = ramet_file_rebind(path, args->operands[1], &options, &rebound, &err);
    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &err);
    if (args->json)
        return cli_print_json(json_pack(
            "{s:s, s:o, s:s, s:s, s:I, s:I, s:I}", "verb", "rebind", "file",
            cli_json_text(path), "from", rebound.from, "to", rebound.to,
            "durable_lsn", (json_int_t)rebound.durable_lsn, "remote_lsn",
            (json_int_t)rebound.remote_lsn, "local_commits",
            (json_int_t)rebound.local_commits));
    if (!args->quiet)
        print_rebound(path, &rebound);
    return CLI_DONE;
}

const struct cli_verb cli_verb_rebind = {
    .name = "rebind",
    .operands = "FILE URL",
    .operands_min = 2,
    .operands_max = 2,
    .summary = "go over to a copy of the volume",
    .details =
        "FILE becomes a replica of URL, which must be a copy of its volume: "
        "it\n"
        "has to have the very commit on which FILE stands. Local commits come\n"
        "along and are pushed there. Refused while a program has FILE open, "
        "and\n"
        "while it is not known what became of a push. Exit 3: no copy of this\n"
        "volume, or one that is behind or went another way.",
    .example = "  $ ramet rebind app.db http://127.0.0.1:7411/app",
    .reports = true,
    .run = run_rebind,
};
