/*
 * verb_export.c - `ramet export` and `ramet restore`: snapshots as plain
 * files, written whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "client/store/path.h"
#include "client/store/replicas.h"
#include "core/alloc.h"
#include "core/rights.h"

static int
report_written(const struct cli_args *args, const char *path, uint64_t lsn,
               uint64_t byte_length, const struct cli_progress *progress)
{
    const uint64_t ms = cli_progress_elapsed_ms(progress);
    char bytes[CLI_TEXT_SIZE], took[CLI_TEXT_SIZE];

    if (args->json)
        return cli_print_json(json_pack(
            "{s:s, s:o, s:I, s:I, s:I}", "verb", args->verb->name, "file",
            cli_json_text(path), "lsn", (json_int_t)lsn, "byte_length",
            (json_int_t)byte_length, "ms", (json_int_t)ms));
    if (args->quiet)
        return CLI_DONE;
    printf("wrote ");
    cli_print_text(path);
    printf(": %s, LSN %" PRIu64 " (%s)\n", cli_bytes(bytes, byte_length), lsn,
           cli_duration(took, ms));
    return CLI_DONE;
}

/* Write the snapshot that `file` shows to `path`, whole or not at all. */
static int
write_plain(const struct cli_args *args, const char *source,
            struct ramet_file *file, const char *path,
            const struct ramet_rights *rights, struct cli_progress *progress)
{
    const struct ramet_snapshot *snapshot;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    ramet_file_set_progress(file, cli_progress_step, progress);
    rc = ramet_file_export(file, path, rights, &err);
    cli_progress_end(progress);
    if (rc != RAMET_OK)
        return cli_fail(args, source, rc, &err);
    snapshot = ramet_file_snapshot(file);
    return report_written(args, path, snapshot->lsn, snapshot->byte_length,
                          progress);
}

static enum ramet_rc
print_bytes(void *ctx, const void *bytes, size_t len, struct ramet_err *err)
{
    (void)ctx;
    if (fwrite(bytes, 1, len, stdout) == len)
        return RAMET_OK;
    return RAMET_FAIL_OS(err, -errno, "standard output");
}

/* To standard output: nothing else may stand there. */
static int
print_plain(const struct cli_args *args, const char *source,
            struct ramet_file *file, struct cli_progress *progress)
{
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (isatty(STDOUT_FILENO) == 1)
        return cli_usage(args->verb, "standard output is a terminal");
    ramet_file_set_progress(file, cli_progress_step, progress);
    rc = ramet_file_send(file, print_bytes, NULL, &err);
    cli_progress_end(progress);
    return rc == RAMET_OK ? CLI_DONE : cli_fail(args, source, rc, &err);
}

static int
run_export(const struct cli_args *args)
{
    const char *const source = args->operands[0];
    const bool is_printed = strcmp(args->operands[1], "-") == 0;
    struct ramet_file *file = NULL;
    struct cli_progress progress;
    struct ramet_err err = {0};
    enum ramet_rc rc;
    int code;

    if (is_printed && args->json)
        return cli_usage(args->verb, "'-' and --json both want standard "
                                     "output");
    cli_progress_begin(&progress, args->quiet);
    rc = cli_is_url(source) ? cli_stateless_open(args, source, &file, &err)
                            : cli_file_open(args, source, &file, &err);
    if (rc != RAMET_OK)
        return cli_fail(args, source, rc, &err);
    code = is_printed ? print_plain(args, source, file, &progress)
                      : write_plain(args, source, file, args->operands[1], NULL,
                                    &progress);
    ramet_file_close(file);
    return code;
}

const struct cli_verb cli_verb_export = {
    .name = "export",
    .operands = "FILE|URL OUT",
    .operands_min = 2,
    .operands_max = 2,
    .summary = "write a plain file",
    .details =
        "Writes the newest snapshot of a replica (local commits included) or "
        "of\n"
        "the volume at URL (URL@LSN and URL@TIME: as it was then) to OUT, a\n"
        "plain file, whole or not at all; '-' is standard output.",
    .example = "  $ ramet export file:///backups/app.db@42 then.db\n"
               "  $ ramet export app.db - | zstd > app.db.zst",
    .reports = true,
    .run = run_export,
};

/* ---- restore ------------------------------------------------------------- */

static const struct cli_option restore_options[] = {
    {"if-absent", NULL, "do nothing if FILE is there already"},
    {"replace", NULL, "move what is there aside first, to FILE.before-…"},
    {NULL, NULL, NULL},
};

static bool
is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static enum ramet_rc
move_one(const char *from, const char *to, struct ramet_err *err)
{
    if (!is_there(from))
        return RAMET_OK;
    if (rename(from, to) != 0) {
        const int errnum = errno;

        return RAMET_FAIL_OS(err, -errnum, "%s: can't move it aside", from);
    }
    return RAMET_OK;
}

/* What was renamed in the folder of `path` stays so without power. */
static enum ramet_rc
sync_folder_of(const char *path, struct ramet_err *err)
{
    const struct ramet_os *const os = ramet_os_system();
    const char *const slash = strrchr(path, '/');
    char *const folder = ramet_asprintf(
        "%.*s.", slash == NULL ? 0 : (int)(slash - path) + 1, path);
    int fd, result;

    if (folder == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", path);
    result = fd =
        os->open(os->ctx, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);
    ramet_free(folder);
    if (fd >= 0) {
        result = os->sync(os->ctx, fd);
        os->close(os->ctx, fd);
    }
    return result >= 0
               ? RAMET_OK
               : RAMET_FAIL_OS(err, result, "%s: sync its folder", path);
}

/*
 * FILE and FILE-ramet get the same suffix, so that together they are the
 * replica that they were. The directory goes first, and its new name is on disk
 * before the file moves: a crash in between, or the power, leaves a file that
 * nothing takes for a whole replica, and never a directory without its file, which
 * would be cleared away. What goes wrong moves it back.
 */
static enum ramet_rc
move_aside(const char *path, char *out_aside, size_t out_size,
           struct ramet_err *err)
{
    char directory[4096], directory_aside[4200];
    const long long now = (long long)time(NULL);
    enum ramet_rc rc;

    if ((size_t)snprintf(out_aside, out_size, "%s.before-%lld", path, now) >=
            out_size ||
        (size_t)snprintf(directory, sizeof(directory), "%s-ramet", path) >=
            sizeof(directory))
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: the path is too long", path);
    snprintf(directory_aside, sizeof(directory_aside), "%.4095s-ramet",
             out_aside);
    if (is_there(out_aside) || is_there(directory_aside))
        return RAMET_FAIL(err, RAMET_EEXIST, "%s is there already", out_aside);
    rc = move_one(directory, directory_aside, err);
    if (rc != RAMET_OK)
        return rc;
    if (is_there(directory_aside))
        rc = sync_folder_of(path, err);
    if (rc == RAMET_OK)
        rc = move_one(path, out_aside, err);
    if (rc != RAMET_OK)
        (void)!move_one(directory_aside, directory, NULL);
    return rc;
}

/* FILE itself, where a link to it was named: that is what is moved aside, and
 * written. */
static enum ramet_rc
follow_link(const char *path, char **out_path, struct ramet_err *err)
{
    char *file = NULL;
    bool is_link = false;
    enum ramet_rc rc;

    rc = ramet_path_resolve(ramet_os_system(), path, &file, &is_link, err);
    if (rc != RAMET_OK)
        return rc;
    if (!is_link) { /* as it was named, for what is said of it */
        ramet_free(file);
        file = ramet_strdup(path);
    }
    if (file == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", path);
    *out_path = file;
    return RAMET_OK;
}

/* Mode and owner of what is there: what comes in its place keeps them. */
static bool
find_rights(const char *path, struct ramet_rights *out)
{
    const struct ramet_os *const os = ramet_os_system();
    struct ramet_os_stat st;

    if (os->stat_at(os->ctx, AT_FDCWD, path, &st) < 0 || !S_ISREG(st.mode))
        return false;
    *out = ramet_rights_of(&st);
    return true;
}

/* 0: go on; else the exit code to leave with (in *out_code). */
static bool
make_room(const struct cli_args *args, const char *path, int *out_code)
{
    struct ramet_err err = {0};
    char aside[4096];
    enum ramet_rc rc;

    *out_code = CLI_DONE;
    if (!is_there(path))
        return true;
    if (cli_flag(args, "if-absent")) {
        if (args->json)
            *out_code = cli_print_json(
                json_pack("{s:s, s:o, s:b}", "verb", "restore", "file",
                          cli_json_text(path), "present", 1));
        return false;
    }
    if (!cli_flag(args, "replace")) {
        rc = RAMET_FAIL(&err, RAMET_EEXIST,
                        "is there already; 'ramet restore … --replace' moves "
                        "it aside");
        *out_code = cli_fail(args, path, rc, &err);
        return false;
    }
    rc = move_aside(path, aside, sizeof(aside), &err);
    if (rc != RAMET_OK) {
        *out_code = cli_fail(args, path, rc, &err);
        return false;
    }
    if (!args->quiet) {
        fprintf(stderr, "ramet: restore: what was there is kept as %s\n",
                aside);
    }
    return true;
}

static int
run_restore(const struct cli_args *args)
{
    const char *const url = args->operands[0];
    struct ramet_file *file = NULL;
    struct cli_progress progress;
    struct ramet_err err = {0};
    struct ramet_rights rights;
    bool has_rights;
    char *path = NULL;
    enum ramet_rc rc;
    int code;

    if (!cli_is_url(url))
        return cli_usage(
            args->verb,
            "'%s' is not a URL; of a replica, 'ramet export' writes "
            "a plain file",
            url);
    cli_progress_begin(&progress, args->quiet);
    /* The snapshot is opened first: what is here moves only for one that
     * exists. */
    rc = cli_stateless_open(args, url, &file, &err);
    if (rc != RAMET_OK)
        return cli_fail(args, url, rc, &err);
    rc = follow_link(args->operands[1], &path, &err);
    if (rc == RAMET_OK && ramet_replica_is_orphan(NULL, path))
        rc = ramet_replica_clear_orphan(NULL, path, &err);
    if (rc != RAMET_OK)
        code = cli_fail(args, args->operands[1], rc, &err);
    else {
        has_rights = find_rights(path, &rights);
        if (make_room(args, path, &code))
            code = write_plain(args, url, file, path,
                               has_rights ? &rights : NULL, &progress);
    }
    ramet_free(path);
    ramet_file_close(file);
    return code;
}

const struct cli_verb cli_verb_restore = {
    .name = "restore",
    .operands = "URL@WHEN FILE",
    .operands_min = 2,
    .operands_max = 2,
    .summary = "go back in time",
    .details =
        "Writes the volume as it was at WHEN, an LSN or a time (without it: "
        "the\n"
        "newest), to FILE, a plain file, whole or not at all. A FILE that is\n"
        "there is refused, unless --replace moves it and FILE-ramet/ aside.",
    .example =
        "  $ ramet restore file:///backups/app.db@2026-11-23T10:00:00Z old.db",
    .options = restore_options,
    .reports = true,
    .run = run_restore,
};
