/*
 * verb_sync.c - `ramet push`, `pull`, `fetch`, `sync` and `hydrate`: pages
 * and commits between a replica and its remote.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/exit.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/target.h"

typedef enum ramet_rc
sync_step(struct ramet_file *file, struct ramet_sync_result *out,
          struct ramet_err *err);

/* Open, one step under a progress line, tell. */
static int
run_step(const struct cli_args *args, sync_step *step, const char *done)
{
    const char *const path = args->operands[0];
    struct ramet_sync_result result = {0};
    struct ramet_file *file = NULL;
    struct cli_progress progress;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    cli_progress_begin(&progress, args->quiet);
    rc = cli_file_open(args, path, &file, &err);
    if (rc == RAMET_OK) {
        ramet_file_set_progress(file, cli_progress_step, &progress);
        rc = step(file, &result, &err);
    }
    ramet_file_close(file);
    cli_progress_end(&progress);
    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &err);
    return cli_report_sync(args, done, path, &result, &progress);
}

static int
run_push(const struct cli_args *args)
{
    return run_step(args, ramet_file_push, "pushed");
}

static int
run_pull(const struct cli_args *args)
{
    return run_step(args, ramet_file_pull, "pulled");
}

static int
run_fetch(const struct cli_args *args)
{
    const char *const path = args->operands[0];
    struct ramet_sync_result result = {0};
    struct ramet_file *file = NULL;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    rc = cli_file_open(args, path, &file, &err);
    if (rc == RAMET_OK)
        rc = ramet_file_fetch(file, &result, &err);
    ramet_file_close(file);
    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &err);
    if (args->json)
        return cli_print_json(json_pack(
            "{s:s, s:o, s:I, s:I}", "verb", "fetch", "file",
            cli_json_text(path), "durable_lsn", (json_int_t)result.durable_lsn,
            "remote_lsn", (json_int_t)result.remote_lsn));
    if (!args->quiet)
        printf("the remote is at LSN %" PRIu64 ", this replica at %" PRIu64
               "\n",
               result.remote_lsn, result.durable_lsn);
    return CLI_DONE;
}

static int
run_sync(const struct cli_args *args)
{
    if (cli_flag(args, "follow"))
        return cli_follow(args, args->operands[0]);
    return run_step(args, ramet_file_sync, "synced");
}

static int
run_hydrate(const struct cli_args *args)
{
    return run_step(args, ramet_file_hydrate, "brought");
}

const struct cli_verb cli_verb_push = {
    .name = "push",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "send local commits to the remote",
    .details =
        "Sends what was committed here since the last push, as one commit at\n"
        "the remote. A file that is no database is compared with its "
        "checksums\n"
        "first, and what was changed in place is sent. Exit 3: the remote has\n"
        "commits that this replica lacks; nothing was lost on either side.",
    .example = "  $ ramet push app.db",
    .reports = true,
    .run = run_push,
};

const struct cli_verb cli_verb_pull = {
    .name = "pull",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "adopt the remote's newest commits",
    .details =
        "Brings the replica to the remote's newest commit. For a database "
        "that\n"
        "moves only metadata; changed pages are fetched when they are read.\n"
        "Exit 3: there are local commits that the remote does not have.",
    .example = "  $ ramet pull app.db",
    .reports = true,
    .run = run_pull,
};

const struct cli_verb cli_verb_fetch = {
    .name = "fetch",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "learn of the remote's newest commit",
    .details =
        "Asks the remote for its newest commit and changes nothing that\n"
        "readers of FILE see; 'ramet status FILE' then tells how far\n"
        "behind it is.",
    .example = "  $ ramet fetch app.db",
    .reports = true,
    .run = run_fetch,
};

static const struct cli_option sync_options[] = {
    {"follow", NULL, "stay, and keep both sides in step"},
    {"interval", "TIME", "with --follow: ask the remote so often (1s)"},
    {NULL, NULL, NULL},
};

const struct cli_verb cli_verb_sync = {
    .name = "sync",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "pull, then push",
    .details =
        "Pulls, then pushes. With --follow it stays and keeps on until "
        "SIGTERM\n"
        "or SIGINT: commits by any process are pushed as they come, and those\n"
        "of others pulled. Made for a sidecar of programs that live for one\n"
        "request. It outlives an unreachable remote and a divergence, and "
        "tells\n"
        "of both on stderr; if it is diverged at the end, it exits with 3.",
    .example = "  $ ramet sync --follow app.db",
    .options = sync_options,
    .reports = true,
    .run = run_sync,
};

const struct cli_verb cli_verb_hydrate = {
    .name = "hydrate",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "bring all pages here",
    .details =
        "Fetches every page that is not here yet. After the last program has\n"
        "closed it, a whole replica with nothing to push is a plain SQLite\n"
        "database that every tool opens.",
    .example = "  $ ramet hydrate app.db",
    .reports = true,
    .run = run_hydrate,
};
