/*
 * verb_sync.c - `ramet push`, `pull`, `fetch`, `sync` and `hydrate`: pages
 * and commits between a replica and its remote.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/exit.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/replicas.h"
#include "cli/report.h"
#include "cli/stop.h"
#include "cli/target.h"
#include "client/volume/file_wait.h"

#define WAIT_MS 60000u

typedef enum ramet_rc
sync_step(struct ramet_file *file, struct ramet_sync_result *out,
          struct ramet_err *err);

static bool
is_one_of_several(const struct cli_args *args, const char *path)
{
    return args->operand_count > 1 || strcmp(path, args->operands[0]) != 0;
}

/* Open, one step under a progress line, tell. */
static int
run_step(const struct cli_args *args, const char *path, sync_step *step,
         const char *done)
{
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
    if (is_one_of_several(args, path) && !args->json && !args->quiet) {
        cli_print_text(path);
        printf(": ");
    }
    return cli_report_sync(args, done, path, &result, &progress);
}

/* Push, and say by what name others find what was pushed. */
static int
run_token(const struct cli_args *args)
{
    const char *const path = args->operands[0];
    char token[RAMET_COMMIT_TOKEN_SIZE] = "";
    struct ramet_file *file = NULL;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    rc = cli_file_open(args, path, &file, &err);
    if (rc == RAMET_OK)
        rc = ramet_file_wait_durable(file, WAIT_MS, token, &err);
    ramet_file_close(file);
    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &err);
    if (args->json)
        return cli_print_json(json_pack("{s:s, s:o, s:s}", "verb", "push",
                                        "file", cli_json_text(path), "token",
                                        token));
    printf("%s\n", token);
    return CLI_DONE;
}

static int
run_push(const struct cli_args *args)
{
    return cli_flag(args, "token")
               ? run_token(args)
               : run_step(args, args->operands[0], ramet_file_push, "pushed");
}

/* Until it is there, then the pull that tells where the file stands. */
static int
wait_for(const struct cli_args *args, const char *token)
{
    const char *const timeout = cli_value(args, "timeout");
    const char *const path = args->operands[0];
    uint64_t timeout_ms = WAIT_MS;
    struct ramet_file *file = NULL;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (timeout != NULL && !cli_parse_duration(timeout, &timeout_ms))
        return cli_usage(args->verb,
                         "--timeout %s: not a time, like 500ms, 30s", timeout);
    rc = cli_file_open(args, path, &file, &err);
    if (rc == RAMET_OK)
        rc = ramet_file_wait(file, token, timeout_ms, NULL, &err);
    ramet_file_close(file);
    return rc == RAMET_OK ? CLI_DONE : cli_fail(args, path, rc, &err);
}

static int
run_pull(const struct cli_args *args)
{
    const char *const token = cli_value(args, "wait");
    int code = CLI_DONE;

    if (token == NULL && cli_value(args, "timeout") != NULL)
        return cli_usage(args->verb, "--timeout goes with --wait");
    if (token != NULL)
        code = wait_for(args, token);
    return code == CLI_DONE
               ? run_step(args, args->operands[0], ramet_file_pull, "pulled")
               : code;
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

/* Several files, each by itself: the first failure is what it ends with. */
struct syncing {
    const struct cli_args *args;
    int code;
};

static bool
sync_file(void *ctx, const char *path)
{
    struct syncing *const syncing = ctx;
    const int code = run_step(syncing->args, path, ramet_file_sync, "synced");

    if (syncing->code == CLI_DONE)
        syncing->code = code;
    return !cli_stop_wanted();
}

static void
sync_directory(struct syncing *syncing, const char *path)
{
    struct ramet_err err = {0};
    const enum ramet_rc rc = cli_replicas_in(path, sync_file, syncing, &err);
    int code = CLI_DONE;

    if (rc != RAMET_OK)
        code = cli_fail(syncing->args, path, rc, &err);
    if (syncing->code == CLI_DONE)
        syncing->code = code;
}

static int
run_sync(const struct cli_args *args)
{
    struct syncing syncing = {.args = args, .code = CLI_DONE};

    if (cli_flag(args, "follow"))
        return cli_follow(args);
    for (int i = 0; i < args->operand_count && !cli_stop_wanted(); i++) {
        if (cli_is_directory(args->operands[i]))
            sync_directory(&syncing, args->operands[i]);
        else
            (void)sync_file(&syncing, args->operands[i]);
    }
    return syncing.code;
}

static int
run_hydrate(const struct cli_args *args)
{
    return run_step(args, args->operands[0], ramet_file_hydrate, "brought");
}

static const struct cli_option push_options[] = {
    {"token", NULL, "print a token of the commit, for pull --wait"},
    {NULL, NULL, NULL},
};

static const struct cli_option pull_options[] = {
    {"wait", "TOKEN", "until the commit of that token, or LSN, is there"},
    {"timeout", "TIME", "with --wait: no longer than this (1m)"},
    {NULL, NULL, NULL},
};

const struct cli_verb cli_verb_push = {
    .name = "push",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "send local commits to the remote",
    .details =
        "Sends what was committed here since the last push, as one commit at\n"
        "the remote. A file that is not a database is compared with its "
        "checksums\n"
        "first, and what was changed in place is sent. Exit 3: the remote has\n"
        "commits that this replica lacks; nothing was lost on either side.",
    .example = "  $ ramet push app.db",
    .options = push_options,
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
    .options = pull_options,
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
    .operands = "FILE|DIRECTORY ...",
    .operands_min = 1,
    .operands_max = CLI_OPERANDS_MAX,
    .summary = "pull, then push",
    .details =
        "Pulls, then pushes. With --follow it stays and keeps on until "
        "SIGTERM\n"
        "or SIGINT: commits by any process are pushed as they come, and those\n"
        "of others pulled, each told in a line with its time. Made for a "
        "sidecar\n"
        "of programs that live for one request. It outlives an unreachable\n"
        "remote and a divergence, and tells of both on stderr; if it is "
        "diverged\n"
        "at the end, it exits with 3. Of a DIRECTORY it takes the replicas in "
        "it,\n"
        "and with --follow also those that appear there later. One that fails\n"
        "does not stop the others. While it runs, tools that know nothing of\n"
        "Ramet see no database in the files: open them with vfs=ramet.",
    .example = "  $ ramet sync app.db\n"
               "  $ ramet sync --follow /var/lib/app",
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
