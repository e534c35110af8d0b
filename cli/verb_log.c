/*
 * verb_log.c - `ramet log`: a volume's history, newest first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/stop.h"
#include "cli/target.h"
#include "metastore/go_back.h"

/* How one volume is shown. */
struct log_view {
    const struct cli_args *args;
    struct cli_json_array array;
    uint64_t limit; /* commits at most */
};

static const char *
role_text(enum ramet_commit_role role)
{
    switch (role) {
    case RAMET_COMMIT_CONTENT:
        return "";
    case RAMET_COMMIT_FENCE:
        return ", fence";
    case RAMET_COMMIT_END:
        return ", end";
    case RAMET_COMMIT_UPKEEP:
        return ", upkeep";
    }
    return "";
}

static void
show_commit(struct log_view *view, const struct ramet_commit_object *commit)
{
    const uint64_t changed = ramet_commit_changed_pages(commit);
    char time[32], writer[RAMET_ID_TEXT_SIZE], id[RAMET_ID_TEXT_SIZE];
    const struct ramet_delta_counts deltas = ramet_commit_delta_counts(commit);
    char pages[CLI_TEXT_SIZE], size[CLI_TEXT_SIZE], bytes[CLI_TEXT_SIZE];
    char delta_bytes[CLI_TEXT_SIZE], saved[CLI_TEXT_SIZE];
    char as_deltas[4 * CLI_TEXT_SIZE] = "";

    ramet_time_format(commit->time_ms, time);
    ramet_id_format(&commit->writer.id, writer);
    ramet_id_format(&commit->id.id, id);
    if (view->args->json) {
        cli_json_array_add(
            &view->array,
            json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, "
                      "s:I, s:b, s:I, s:I}",
                      "lsn", (json_int_t)commit->lsn, "time", time, "id", id,
                      "writer", writer, "changed_pages", (json_int_t)changed,
                      "delta_pages", (json_int_t)deltas.pages, "floor",
                      (json_int_t)commit->floor, "page_count",
                      (json_int_t)commit->page_count, "page_size",
                      (json_int_t)commit->page_size, "byte_length",
                      (json_int_t)commit->byte_length, "stored_bytes",
                      (json_int_t)ramet_commit_stored_bytes(commit), "fence",
                      commit->role == RAMET_COMMIT_FENCE, "delta_bytes",
                      (json_int_t)deltas.bytes, "delta_saved_bytes",
                      (json_int_t)deltas.saved_bytes));
        return;
    }
    if (deltas.pages > 0)
        snprintf(as_deltas, sizeof(as_deltas), "; %s as %s, %s, %s saved",
                 cli_count(pages, deltas.pages),
                 cli_plural(deltas.pages, "a delta", "deltas"),
                 cli_bytes(delta_bytes, deltas.bytes),
                 cli_bytes(saved, deltas.saved_bytes));
    printf("%8" PRIu64 "  %s  %9s %s changed (%s stored%s), %s%s\n",
           commit->lsn, time, cli_count(pages, changed),
           cli_plural(changed, "page ", "pages"),
           cli_bytes(bytes, ramet_commit_stored_bytes(commit)), as_deltas,
           cli_bytes(size, commit->byte_length), role_text(commit->role));
}

static enum ramet_rc
show_history(struct log_view *view, struct cli_volume *volume,
             struct ramet_err *err)
{
    struct ramet_history_back back = {.at_once = 0};
    struct ramet_head head;
    uint64_t least;
    enum ramet_rc rc;

    rc = cli_volume_head(volume, &head, err);
    if (rc != RAMET_OK)
        return rc;
    least = view->limit < head.lsn ? head.lsn - view->limit + 1 : 1;
    for (uint64_t lsn = head.lsn; lsn >= least; lsn--) {
        struct ramet_commit_object commit;

        if (cli_stop_wanted())
            return RAMET_FAIL(err, RAMET_ECANCELLED, "interrupted");
        ramet_commit_init(&commit);
        rc = ramet_history_go_back(volume->history, &back, lsn, least, &commit,
                                   err);
        if (rc == RAMET_OK)
            show_commit(view, &commit);
        ramet_commit_done(&commit);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

/* The remote of a replica; with local commits, says so first. */
static enum ramet_rc
remote_of_file(const struct log_view *view, const char *path,
               char out_url[RAMET_URL_MAX], struct ramet_err *err)
{
    struct ramet_file_status status = {0};
    struct ramet_file *file = NULL;
    enum ramet_rc rc;

    rc = cli_file_open(view->args, path, &file, err);
    if (rc == RAMET_OK)
        rc = ramet_file_status(file, &status, err);
    ramet_file_close(file);
    if (rc != RAMET_OK)
        return rc;
    if (status.remote[0] == '\0')
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "has no remote, so it has no history; 'ramet init' "
                          "gives it one");
    if (status.local_commits > 0 && !view->args->json)
        printf("   local  %" PRIu64 " %s on LSN %" PRIu64 ", not pushed yet\n",
               status.local_commits,
               cli_plural(status.local_commits, "commit", "commits"),
               status.durable_lsn);
    snprintf(out_url, RAMET_URL_MAX, "%s", status.remote);
    return RAMET_OK;
}

static const struct cli_option log_options[] = {
    {"limit", "N", "show the newest N commits (all)"},
    {NULL, NULL, NULL},
};

static int
run_log(const struct cli_args *args)
{
    struct log_view view = {.args = args, .limit = UINT64_MAX};
    const char *const limit = cli_value(args, "limit");
    const char *const target = args->operands[0];
    struct cli_volume volume = {0};
    const enum ramet_naming naming =
        cli_is_url(target) ? RAMET_NAMED_BY_USER : RAMET_NAMED_BY_REPLICA;
    char url[RAMET_URL_MAX];
    struct ramet_err err = {0};
    enum ramet_rc rc = RAMET_OK;
    int code = CLI_DONE;

    if (limit != NULL) {
        char *end;

        errno = 0;
        view.limit = strtoull(limit, &end, 10);
        if (errno != 0 || limit[0] < '0' || limit[0] > '9' || *end != '\0')
            return cli_usage(args->verb, "--limit '%s' is not a number", limit);
    }
    if (cli_is_url(target))
        snprintf(url, sizeof(url), "%s", target);
    else
        rc = remote_of_file(&view, target, url, &err);
    if (rc == RAMET_OK)
        rc = cli_volume_open(args, url, naming, &volume, &err);
    if (rc == RAMET_OK)
        rc = show_history(&view, &volume, &err);
    if (args->json && (rc == RAMET_OK || view.array.open))
        code = cli_json_array_end(&view.array);
    cli_volume_close(&volume);
    return rc == RAMET_OK ? code : cli_fail(args, target, rc, &err);
}

const struct cli_verb cli_verb_log = {
    .name = "log",
    .operands = "FILE|URL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "history of a volume",
    .details =
        "Lists the commits of a volume, newest first: LSN, time, how many "
        "pages\n"
        "changed, how long it was then. Of a replica it shows its remote's\n"
        "history, and local commits that are not there yet. A URL with @LSN "
        "or\n"
        "@TIME begins there.",
    .example = "  $ ramet log file:///backups/app.db --limit 10",
    .options = log_options,
    .reports = true,
    .run = run_log,
};
