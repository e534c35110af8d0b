/*
 * verb_init.c - `ramet init` and `ramet clone`: how replicas come into being.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/exit.h"
#include "cli/native.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/target.h"
#include "client/store/replicas.h"

static const struct cli_option init_options[] = {
    {"remote", "URL", "where the new volume is to live (required)"},
    {NULL, NULL, NULL},
};

static void
tell_of_wal(const char *path)
{
    fputs("ramet: init: ", stderr);
    cli_show(stderr, path);
    fputs(" was in WAL mode and is in rollback mode now (journal_mode=delete); "
          "through the extension readers and the writer do not wait for each "
          "other all the same\n",
          stderr);
}

static int
run_init(const struct cli_args *args)
{
    const char *const path = args->operands[0];
    const char *const url = cli_value(args, "remote");
    struct ramet_file_options options;
    struct ramet_sync_result result = {0};
    struct cli_progress progress;
    struct ramet_err err = {0};
    bool was_wal = false;
    enum ramet_rc rc;

    if (url == NULL)
        return cli_usage(args->verb, "needs --remote URL");
    /* Said before the remote is asked: a mistyped FILE is the likelier slip. */
    if (access(path, F_OK) != 0 && !ramet_replica_exists(NULL, path)) {
        const int errnum = errno;

        rc =
            RAMET_FAIL_SYS(&err, ramet_rc_of_errno(errnum), errnum, "%s", path);
        return cli_fail(args, path, rc, &err);
    }
    if (!ramet_replica_exists(NULL, path)) {
        was_wal = cli_native_is_wal(path);
        rc = cli_native_finish(path, &err);
        if (rc != RAMET_OK)
            return cli_fail(args, path, rc, &err);
    }
    cli_file_options(args, &options);
    cli_progress_begin(&progress, args->quiet);
    rc = ramet_file_init(path, url, &options, cli_progress_step, &progress,
                         &result, &err);
    cli_progress_end(&progress);
    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &err);
    if (was_wal && !args->quiet)
        tell_of_wal(path);
    return cli_report_sync(args, "pushed", path, &result, &progress);
}

const struct cli_verb cli_verb_init = {
    .name = "init",
    .operands = "FILE --remote URL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "make FILE a replica of a new volume, and push it",
    .details =
        "Makes FILE, a SQLite database or any other file, a replica of a new\n"
        "volume at the remote, in place, and pushes it. Nothing is copied "
        "here:\n"
        "FILE stays what it is, and FILE-ramet/ beside it keeps the rest. A\n"
        "transaction that a killed program left in FILE-wal or FILE-journal "
        "is\n"
        "finished first, as by the next program to open FILE. A database in "
        "WAL\n"
        "mode goes over to rollback mode, and is told so. Done already, init\n"
        "does nothing; interrupted, run it again and it goes on.",
    .example = "  $ ramet init app.db --remote file:///backups/app.db",
    .options = init_options,
    .reports = true,
    .run = run_init,
};

static const struct cli_option clone_options[] = {
    {"hydrate", NULL, "bring all pages at once"},
    {"lazy", NULL, "no database: bring pages as the library reads them"},
    {"if-absent", NULL, "do nothing if FILE is there already"},
    {NULL, NULL, NULL},
};

static int
report_present(const struct cli_args *args, const char *path)
{
    if (args->json)
        return cli_print_json(json_pack("{s:s, s:o, s:b}", "verb",
                                        args->verb->name, "file",
                                        cli_json_text(path), "present", 1));
    if (!args->quiet) {
        cli_print_text(path);
        printf(" is here already\n");
    }
    return CLI_DONE;
}

/* Whoever works through the library may say so for all of their clones. */
static bool
wants_lazy(const struct cli_args *args)
{
    const char *const value = getenv("RAMET_LAZY");

    return cli_flag(args, "lazy") || (value != NULL && strcmp(value, "1") == 0);
}

static int
run_clone(const struct cli_args *args)
{
    const char *const url = args->operands[0];
    const char *const path = args->operands[1];
    struct ramet_file_options options;
    struct ramet_sync_result result = {0};
    struct cli_progress progress;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    cli_file_options(args, &options);
    options.hydrate = cli_flag(args, "hydrate");
    options.lazy = wants_lazy(args);
    cli_progress_begin(&progress, args->quiet);
    rc = ramet_file_clone(url, path, &options, cli_progress_step, &progress,
                          &result, &err);
    cli_progress_end(&progress);
    if (rc == RAMET_EEXIST && cli_flag(args, "if-absent"))
        return report_present(args, path);
    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &err);
    if (result.pages == 0 && !args->json && !args->quiet) {
        printf("cloned, LSN %" PRIu64 "; pages come when they are read\n",
               result.durable_lsn);
        return CLI_DONE;
    }
    return cli_report_sync(args, "cloned; brought", path, &result, &progress);
}

const struct cli_verb cli_verb_clone = {
    .name = "clone",
    .operands = "URL FILE",
    .operands_min = 2,
    .operands_max = 2,
    .summary = "make FILE a replica of a volume",
    .details =
        "Makes FILE a replica of the volume at URL. A SQLite database comes\n"
        "lazily: pages are fetched when something reads them through the VFS.\n"
        "Other files come whole, since plain programs read them; so does a\n"
        "database with --hydrate. With --lazy, or RAMET_LAZY=1, they do not: "
        "for\n"
        "programs that go through the library, since any other reads zeros "
        "where\n"
        "pages are not here. It begins at the newest commit: export and\n"
        "restore bring a past one (URL@LSN).",
    .example = "  $ ramet clone file:///backups/app.db app.db --hydrate",
    .options = clone_options,
    .reports = true,
    .run = run_clone,
};
