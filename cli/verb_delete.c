/*
 * verb_delete.c - `ramet delete`: a volume goes, with its history.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/target.h"

struct deletion {
    struct ramet_remote *remote;
    struct ramet_url url;
    struct ramet_vid volume;
    struct ramet_head head; /* lsn 0: no commit, or not known any more */
};

/* Of a deletion that was cut short the head is gone, and perhaps the name: it is
 * finished by the volume's id. */
static enum ramet_rc
find_volume(const struct cli_args *args, struct deletion *d,
            struct ramet_err *err)
{
    struct ramet_history *history = NULL;
    struct ramet_err none;
    enum ramet_rc rc = cli_remote_open(
        args, args->operands[0], RAMET_NAMED_BY_USER, &d->url, &d->remote, err);

    if (rc != RAMET_OK)
        return rc;
    if (d->url.name[0] == '\0')
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "names a store, not a volume in it; see 'ramet ls "
                          "%s'",
                          args->operands[0]);
    if (d->url.has_lsn || d->url.has_time)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "names a snapshot; a volume is deleted as a whole");
    rc = ramet_catalog_check(d->remote->store, false, err);
    if (rc == RAMET_OK)
        rc = ramet_catalog_resolve(d->remote->store, d->url.name, &d->volume,
                                   err);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_history_open(d->remote->store, &d->volume, NULL, &history,
                           &none) != RAMET_OK ||
        ramet_history_newest(history, &d->head, &none) != RAMET_OK)
        d->head.lsn = 0;
    if (history != NULL)
        ramet_history_close(history);
    return RAMET_OK;
}

/* "app, volume 0193…, LSN 42 of 2026-11-23T10:00:00Z, 8.2 MB" */
static void
describe(FILE *to, const struct deletion *d)
{
    char id[RAMET_ID_TEXT_SIZE], time[32], bytes[CLI_TEXT_SIZE];

    ramet_id_format(&d->volume.id, id);
    cli_show(to, d->url.name);
    fprintf(to, ", volume %s", id);
    if (d->head.lsn == 0)
        return;
    ramet_time_format(d->head.time_ms, time);
    fprintf(to, ", LSN %" PRIu64 " of %s, %s", d->head.lsn, time,
            cli_bytes(bytes, d->head.byte_length));
}

/* The volume's name, typed, is a yes. */
static bool
ask(const struct deletion *d)
{
    char line[RAMET_NAME_MAX + 2] = "";
    char url[RAMET_URL_MAX];

    ramet_url_format(&d->url, url, sizeof(url));
    fprintf(stderr, "Delete ");
    cli_show(stderr, url);
    fprintf(stderr, "?\n  ");
    describe(stderr, d);
    fprintf(stderr, "\nIts whole history goes, and replicas of it keep only "
                    "what they hold.\nType its name to delete it: ");
    fflush(stderr);
    if (fgets(line, sizeof(line), stdin) == NULL)
        return false;
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, d->url.name) == 0;
}

static int
report_delete(const struct cli_args *args, const struct deletion *d)
{
    char id[RAMET_ID_TEXT_SIZE], url[RAMET_URL_MAX];

    ramet_id_format(&d->volume.id, id);
    ramet_url_format(&d->url, url, sizeof(url));
    if (args->json)
        return cli_print_json(
            json_pack("{s:s, s:s, s:s, s:I, s:I}", "verb", "delete", "url", url,
                      "volume", id, "lsn", (json_int_t)d->head.lsn,
                      "byte_length", (json_int_t)d->head.byte_length));
    if (!args->quiet) {
        printf("deleted ");
        describe(stdout, d);
        putchar('\n');
    }
    return CLI_DONE;
}

static const struct cli_option delete_options[] = {
    {"yes", NULL, "do not ask"},
    {NULL, NULL, NULL},
};

static int
run_delete(const struct cli_args *args)
{
    struct deletion d = {.remote = NULL};
    const bool asks = !cli_flag(args, "yes");
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (asks && isatty(STDIN_FILENO) == 0)
        return cli_usage(args->verb, "it asks on a terminal; elsewhere say "
                                     "--yes");
    rc = find_volume(args, &d, &err);
    if (rc == RAMET_OK && asks && !ask(&d))
        rc = RAMET_FAIL(&err, RAMET_ECANCELLED, "not deleted");
    if (rc == RAMET_OK)
        rc = ramet_remote_delete(d.remote, &d.volume, &err);
    ramet_remote_close(d.remote);
    return rc == RAMET_OK ? report_delete(args, &d)
                          : cli_fail(args, args->operands[0], rc, &err);
}

const struct cli_verb cli_verb_delete = {
    .name = "delete",
    .operands = "URL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "delete a volume with its history",
    .details =
        "Deletes the volume that URL names: every commit, snapshot and name "
        "of\n"
        "it. On a terminal it asks, and the volume's name is to be typed;\n"
        "elsewhere it needs --yes. Replicas keep what they hold ('ramet "
        "hydrate'\n"
        "first, then 'ramet detach'); nothing brings the rest back. If it is "
        "cut\n"
        "short, run it again.",
    .example = "  $ ramet delete --yes file:///backups/app",
    .options = delete_options,
    .reports = true,
    .run = run_delete,
};
