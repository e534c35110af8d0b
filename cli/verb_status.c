/*
 * verb_status.c - `ramet status`: where a replica stands.
 *
 * The remote is asked, since how far behind a replica is can't be told here; a
 * remote that does not answer is part of the answer. --check is for monitoring
 * and tells by exit code. Green is a replica whose commits are in the remote, or
 * on their way there for no longer than --max-lag. What it calls wrong, in this
 * order:
 *
 *   diverged, or the remote went back in time (3)
 *   the remote can't be asked: the code of what hindered it (4 to 7)
 *   no remote, or nothing was ever pushed to it (1)
 *   a commit in doubt (6)
 *   a lag above --max-lag (1)
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/stats.h"
#include "cli/target.h"

/* `deltas`: of the newest content commit at the remote, if it was asked. */
static json_t *
status_json(const struct ramet_file_status *status,
            const struct ramet_delta_counts *deltas)
{
    char volume[RAMET_ID_TEXT_SIZE], replica[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&status->volume.id, volume);
    ramet_id_format(&status->replica.id, replica);
    return json_pack(
        "{s:o, s:s, s:s?, s:s?, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I,"
        " s:o, s:o, s:o, s:b, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:o*}",
        "file", cli_json_text(status->path), "state",
        ramet_sync_state_name(status->state), "remote",
        status->remote[0] == '\0' ? NULL : status->remote, "volume",
        ramet_id_is_nil(&status->volume.id) ? NULL : volume, "replica", replica,
        "local_commits", (json_int_t)status->local_commits, "durable_lsn",
        (json_int_t)status->durable_lsn, "remote_lsn",
        (json_int_t)status->remote_lsn, "pages", (json_int_t)status->pages,
        "cached_pages", (json_int_t)status->cached_pages, "dirty_pages",
        (json_int_t)status->dirty_pages, "page_size",
        (json_int_t)status->page_size, "lag_ms", (json_int_t)status->lag_ms,
        "lag_lsns", (json_int_t)status->lag_lsns, "age_ms",
        status->has_age ? json_integer((json_int_t)status->age_ms)
                        : json_null(),
        "last_contact", cli_json_time(status->last_contact_ms), "last_error",
        cli_json_text(status->last_error[0] == '\0' ? NULL
                                                    : status->last_error),
        "never_pushed", status->never_pushed, "in_doubt", status->in_doubt,
        "unpushed_since", cli_json_time(status->unpushed_since_ms),
        "bases_bytes", (json_int_t)status->bases_bytes, "delta_lsn",
        (json_int_t)deltas->lsn, "delta_pages", (json_int_t)deltas->pages,
        "delta_bytes", (json_int_t)deltas->bytes, "delta_saved_bytes",
        (json_int_t)deltas->saved_bytes, "store_requests", cli_stats_json());
}

/* What the state means, and what one may do. */
static const char *
state_words(const struct ramet_file_status *status)
{
    if (status->state == RAMET_STATE_AHEAD && status->never_pushed)
        return "ahead: nothing of it is in the remote yet; 'ramet push'";
    switch (status->state) {
    case RAMET_STATE_LOCAL:
        return "local: no remote; 'ramet init' gives it one";
    case RAMET_STATE_CLEAN:
        return "clean: nothing to push, nothing new known there";
    case RAMET_STATE_AHEAD:
        return "ahead: local commits are not durable yet; 'ramet push'";
    case RAMET_STATE_BEHIND:
        return "behind: the remote has newer commits; 'ramet pull'";
    case RAMET_STATE_DIVERGED:
        return "DIVERGED: local commits, and the remote went elsewhere; "
               "'ramet reset' adopts the remote and keeps them in lost/";
    case RAMET_STATE_WENTBACK:
        return "WENT BACK: the remote lacks a commit that this replica has "
               "(restored from a backup?); 'ramet export' saves a copy, "
               "'ramet reset' adopts the remote and keeps a copy in lost/";
    case RAMET_STATE_OFFLINE:
        return "offline: the remote did not answer last time";
    }
    return "unknown";
}

static void
print_status(const struct ramet_file_status *status,
             const struct ramet_delta_counts *deltas)
{
    char a[CLI_TEXT_SIZE], b[CLI_TEXT_SIZE], c[CLI_TEXT_SIZE];
    char time[32];

    printf("file      ");
    cli_print_text(status->path);
    printf("\nstate     %s\n", state_words(status));
    if (status->remote[0] != '\0') {
        char volume[RAMET_ID_TEXT_SIZE];

        printf("remote    ");
        cli_print_text(status->remote);
        ramet_id_format(&status->volume.id, volume);
        printf("\nvolume    %s\n", volume);
        printf("LSN       %" PRIu64 " durable, %" PRIu64
               " newest known at the remote\n",
               status->durable_lsn, status->remote_lsn);
    }
    printf("local     %s %s not in the remote yet\n",
           cli_count(a, status->local_commits),
           cli_plural(status->local_commits, "commit", "commits"));
    printf("pages     %s of %s are here, %s to push; page size %" PRIu32 "\n",
           cli_count(a, status->cached_pages), cli_count(b, status->pages),
           cli_count(c, status->dirty_pages), status->page_size);
    if (status->bases_bytes > 0)
        printf("bases     %s of images that deltas are made with\n",
               cli_bytes(a, status->bases_bytes));
    if (deltas->pages > 0)
        cli_print_deltas(deltas);
    if (status->in_doubt)
        printf(
            "in doubt  a commit was sent and got no answer; the next push or "
            "pull finds out what became of it\n");
    if (status->lag_ms > 0)
        printf("lag       %s\n", cli_duration(a, status->lag_ms));
    if (status->last_contact_ms > 0) {
        ramet_time_format(status->last_contact_ms, time);
        printf("contact   %s\n", time);
    }
    if (status->last_error[0] != '\0') {
        printf("error     ");
        cli_print_text(status->last_error);
        putchar('\n');
    }
}

/* The file is not the replica's any more: as much as can be told of it. */
static int
report_foreign(const struct cli_args *args, const char *path,
               const struct ramet_err *err)
{
    int code = CLI_DONE;

    if (args->json) {
        code = cli_print_json(
            json_pack("{s:o, s:s, s:o}", "file", cli_json_text(path), "state",
                      "foreign", "last_error", cli_json_text(err->text)));
    } else if (!args->quiet) {
        printf("file      ");
        cli_print_text(path);
        printf("\nstate     FOREIGN: ");
        cli_print_text(err->text);
        putchar('\n');
    }
    return code == CLI_DONE ? cli_fail(args, path, RAMET_EFOREIGN, err) : code;
}

static int
not_green(const char *why)
{
    fprintf(stderr, "ramet: status: %s\n", why);
    return CLI_FAILED;
}

/* The exit code of --check, and on stderr why. `asked` is what became of
 * asking the remote. */
static int
judge(const struct cli_args *args, const struct ramet_file_status *status,
      enum ramet_rc asked, const struct ramet_err *err, uint64_t max_lag_ms)
{
    char lag[CLI_TEXT_SIZE];

    if (status->state == RAMET_STATE_DIVERGED) {
        struct ramet_err diverged;
        const enum ramet_rc rc =
            RAMET_FAIL(&diverged, RAMET_EDIVERGED,
                       "diverged: local commits on LSN %" PRIu64
                       ", and the remote is at %" PRIu64,
                       status->durable_lsn, status->remote_lsn);

        return cli_fail(args, status->path, rc, &diverged);
    }
    if (asked != RAMET_OK)
        return cli_fail(args, status->path, asked, err);
    if (status->state == RAMET_STATE_LOCAL)
        return not_green("has no remote: nothing of it is anywhere else; "
                         "'ramet init' gives it one");
    if (status->never_pushed)
        return not_green("nothing of it is in the remote yet; 'ramet push'");
    if (status->in_doubt) {
        (void)not_green(
            "a commit was sent and got no answer; 'ramet push' finds "
            "out what became of it");
        return CLI_UNREACHABLE;
    }
    if (status->lag_ms <= max_lag_ms)
        return CLI_DONE;
    fprintf(stderr, "ramet: status: %s behind, more than --max-lag\n",
            cli_duration(lag, status->lag_ms));
    return CLI_FAILED;
}

static const struct cli_option status_options[] = {
    {"offline", NULL, "do not ask the remote"},
    {"check", NULL, "tell by exit code whether all is well"},
    {"max-lag", "TIME", "with --check: fail if older than that (such as 10m)"},
    {NULL, NULL, NULL},
};

static int
run_status(const struct cli_args *args)
{
    const char *const path = args->operands[0];
    const char *const max_lag = cli_value(args, "max-lag");
    const bool check = cli_flag(args, "check");
    const bool ask = !cli_flag(args, "offline");
    struct ramet_file_status status = {0};
    struct ramet_sync_result result = {0};
    struct ramet_file *file = NULL;
    struct ramet_err err = {0}, fetch_err = {0};
    uint64_t max_lag_ms = UINT64_MAX;
    enum ramet_rc rc, asked = RAMET_OK;
    int code = CLI_DONE;

    if (check && !ask)
        return cli_usage(args->verb, "--check has to ask the remote");
    if (max_lag != NULL && !check)
        return cli_usage(args->verb, "--max-lag goes with --check");
    if (max_lag != NULL && !cli_parse_duration(max_lag, &max_lag_ms))
        return cli_usage(args->verb, "--max-lag '%s' is not a time such as 10m",
                         max_lag);
    rc = cli_file_open(args, path, &file, &err);
    if (rc == RAMET_OK)
        rc = ramet_file_status(file, &status, &err);
    if (rc == RAMET_OK && ask && status.remote[0] != '\0') {
        asked = ramet_file_fetch_deltas(file, &result, &fetch_err);
        rc = ramet_file_status(file, &status, &err);
    }
    ramet_file_close(file);
    if (rc == RAMET_EFOREIGN)
        return report_foreign(args, path, &err);
    if (rc != RAMET_OK)
        return cli_fail(args, path, rc, &err);

    if (args->json)
        code = cli_print_json(status_json(&status, &result.deltas));
    else if (!args->quiet)
        print_status(&status, &result.deltas);
    if (check && code == CLI_DONE)
        code = judge(args, &status, asked, &fetch_err, max_lag_ms);
    return code;
}

const struct cli_verb cli_verb_status = {
    .name = "status",
    .operands = "FILE",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "where a replica stands",
    .details =
        "Tells the replica's state: LSNs, local commits, pages held, the last\n"
        "error. It asks the remote where that is, unless --offline is said; a\n"
        "remote that does not answer is no failure but with --check, which\n"
        "tells by exit code: 0 well; 3 diverged, or the remote went back in\n"
        "time; 4 to 7 the remote can't be asked, or a commit is in doubt; 1 "
        "no\n"
        "remote, nothing ever pushed, or the oldest commit that one side "
        "lacks\n"
        "is older than --max-lag.",
    .example = "  $ ramet status app.db --check --max-lag 10m",
    .options = status_options,
    .reports = true,
    .run = run_status,
};
