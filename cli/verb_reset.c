/*
 * verb_reset.c - `ramet reset` and `ramet adopt`: the two ways out where this
 * side and the other, or this side and its file, disagree.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/exit.h"
#include "cli/native.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "client/store/exchange.h"
#include "client/store/replicas.h"

static const struct cli_option reset_options[] = {
    {"discard", NULL, "do not keep the local commits in FILE-ramet/lost/"},
    {NULL, NULL, NULL},
};

static int
report_reset(const struct cli_args *args, const char *path, const char *kept,
             const struct ramet_sync_result *result)
{
    if (args->json)
        return cli_print_json(json_pack(
            "{s:s, s:o, s:I, s:I, s:o}", "verb", "reset", "file",
            cli_json_text(path), "durable_lsn", (json_int_t)result->durable_lsn,
            "remote_lsn", (json_int_t)result->remote_lsn, "kept",
            cli_json_text(kept[0] == '\0' ? NULL : kept)));
    if (args->quiet)
        return CLI_DONE;
    printf("at the remote's LSN %" PRIu64 "\n", result->durable_lsn);
    if (kept[0] != '\0') {
        printf("what was here is kept as ");
        cli_print_text(kept);
        putchar('\n');
    }
    return CLI_DONE;
}

static int
run_reset(const struct cli_args *args)
{
    const char *const path = args->operands[0];
    struct ramet_sync_result result = {0};
    struct ramet_file *file = NULL;
    struct cli_progress progress;
    struct ramet_err err = {0};
    char kept[4096] = "";
    enum ramet_rc rc;

    cli_progress_begin(&progress, args->quiet);
    rc = cli_file_open(args, path, &file, &err);
    if (rc == RAMET_OK) {
        ramet_file_set_progress(file, cli_progress_step, &progress);
        rc = ramet_file_reset(file, cli_flag(args, "discard"), kept,
                              sizeof(kept), &result, &err);
    }
    ramet_file_close(file);
    cli_progress_end(&progress);
    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &err);
    return report_reset(args, path, kept, &result);
}

const struct cli_verb cli_verb_reset = {
    .name = "reset",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "adopt the remote's state",
    .details =
        "Gives up local commits that are not in the remote, and adopts its\n"
        "newest state. What is given up is kept as a plain file in\n"
        "FILE-ramet/lost/, unless --discard is said; delete it by hand.",
    .example = "  $ ramet reset app.db",
    .options = reset_options,
    .reports = true,
    .run = run_reset,
};

static int
run_adopt(const struct cli_args *args)
{
    const char *const path = args->operands[0];
    const struct ramet_replica_options options = {.flags =
                                                      RAMET_OPEN_EXCLUSIVE};
    char pages[CLI_TEXT_SIZE];
    struct ramet_err err = {0};
    uint64_t changed = 0;
    enum ramet_rc rc;

    if (!ramet_replica_exists(ramet_os_system(), path))
        rc = RAMET_FAIL(&err, RAMET_ENOTFOUND,
                        "is not a replica; 'ramet init' makes it one");
    else
        rc = cli_native_finish(path, &err);
    if (rc == RAMET_OK)
        rc = ramet_replica_adopt_base(path, &options, &changed, &err);
    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &err);
    if (args->json)
        return cli_print_json(json_pack("{s:s, s:o, s:I}", "verb", "adopt",
                                        "file", cli_json_text(path), "pages",
                                        (json_int_t)changed));
    if (!args->quiet)
        printf("took %s changed %s as a local commit\n",
               cli_count(pages, changed), cli_plural(changed, "page", "pages"));
    return CLI_DONE;
}

const struct cli_verb cli_verb_adopt = {
    .name = "adopt",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "take somebody else's edit of FILE as a local commit",
    .details =
        "A database file that was edited or replaced by a program that knows\n"
        "nothing of Ramet is refused by all other verbs. This one compares it\n"
        "with the checksums and takes what differs as one local commit.",
    .example = "  $ ramet adopt app.db && ramet push app.db",
    .reports = true,
    .run = run_adopt,
};
