/*
 * verb_detach.c - `ramet detach`: a replica leaves its remote.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/target.h"
#include "client/store/replicas.h"

static void
print_detached(const char *path, const struct ramet_detached *detached)
{
    char count[CLI_TEXT_SIZE];

    cli_print_text(path);
    printf(" is a plain file now");
    if (detached->remote[0] != '\0') {
        printf("; it left ");
        cli_print_text(detached->remote);
    }
    putchar('\n');
    if (detached->unpushed_commits != 0)
        printf("%s %s the remote does not have %s in it\n",
               cli_count(count, detached->unpushed_commits),
               cli_plural(detached->unpushed_commits, "commit that",
                          "commits that"),
               detached->unpushed_commits == 1 ? "is" : "are");
    if (detached->has_lost) {
        printf("what was set aside stays in ");
        cli_print_text(path);
        printf("-ramet/lost/\n");
    }
}

static int
run_detach(const struct cli_args *args)
{
    const char *const path = args->operands[0];
    struct ramet_detached detached;
    struct ramet_err err = {0};
    const enum ramet_rc rc = ramet_replica_detach(NULL, path, &detached, &err);

    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &err);
    if (args->json)
        return cli_print_json(json_pack(
            "{s:s, s:o, s:o, s:I, s:b}", "verb", "detach", "file",
            cli_json_text(path), "remote",
            cli_json_text(detached.remote[0] != '\0' ? detached.remote : NULL),
            "unpushed_commits", (json_int_t)detached.unpushed_commits,
            "has_lost", detached.has_lost));
    if (!args->quiet)
        print_detached(path, &detached);
    return CLI_DONE;
}

const struct cli_verb cli_verb_detach = {
    .name = "detach",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "leave the remote: FILE is a plain file again",
    .details =
        "FILE stays, with all that was committed to it, pushed or not, and\n"
        "FILE-ramet/ goes, but for lost/. The volume at the remote is not\n"
        "touched. Refused while a program has FILE open, and while pages of "
        "it\n"
        "are not here ('ramet hydrate FILE' brings them).",
    .example = "  $ ramet detach app.db",
    .reports = true,
    .run = run_detach,
};
