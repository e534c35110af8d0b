/*
 * verb_copy.c - `ramet copy`: a volume, with its history, to another place.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/stop.h"
#include "cli/target.h"
#include "metastore/copy.h"

struct copying {
    const struct cli_args *args;
    struct cli_progress progress;
    struct cli_volume from;
    struct ramet_head upto;
    struct ramet_url to_url;
    struct ramet_remote *to;
    struct ramet_history *history; /* of the volume, there */
    struct ramet_copy_progress done;
};

static bool
step(void *ctx, const struct ramet_copy_progress *done)
{
    struct copying *const copying = ctx;
    const struct ramet_progress step = {.verb = "copy",
                                        .unit = "commits",
                                        .pages_done = done->lsn,
                                        .pages_total = done->lsn_total,
                                        .bytes_done = done->bytes};

    return cli_progress_step(&copying->progress, &step);
}

static enum ramet_rc
open_source(struct copying *copying, struct ramet_err *err)
{
    const char *const text = copying->args->operands[0];
    enum ramet_rc rc;

    rc = cli_volume_open(copying->args, text, RAMET_NAMED_BY_USER,
                         &copying->from, err);
    if (rc == RAMET_OK)
        rc = cli_volume_head(&copying->from, &copying->upto, err);
    if (rc == RAMET_OK && copying->upto.lsn == 0)
        rc = RAMET_FAIL(err, RAMET_ENOTFOUND, "has no commit yet");
    return rc;
}

/* The name is free, or the volume's already. It is given at the end, so that
 * nobody finds a part of a volume by it. */
static enum ramet_rc
check_name(struct copying *copying, struct ramet_err *err)
{
    struct ramet_vid named;
    enum ramet_rc rc;

    rc = ramet_catalog_resolve(copying->to->store, copying->to_url.name, &named,
                               err);
    if (rc == RAMET_ENOTFOUND)
        return RAMET_OK;
    if (rc == RAMET_OK &&
        ramet_id_compare(&named.id, &copying->from.id.id) != 0)
        rc = RAMET_FAIL(err, RAMET_ECONFLICT,
                        "the name '%s' is another volume's there",
                        copying->to_url.name);
    return rc;
}

static enum ramet_rc
open_target(struct copying *copying, struct ramet_err *err)
{
    const char *const text = copying->args->operands[1];
    struct ramet_url *const url = &copying->to_url;
    enum ramet_rc rc;

    rc = cli_remote_make(copying->args, text, url, &copying->to, err);
    if (rc != RAMET_OK)
        return rc;
    if (url->has_lsn || url->has_time)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "names a commit; a copy goes to a volume's URL");
    if (url->name[0] == '\0')
        memcpy(url->name, copying->from.url.name, sizeof(url->name));
    rc = ramet_catalog_check(copying->to->store, true, err);
    if (rc == RAMET_OK)
        rc = check_name(copying, err);
    if (rc == RAMET_OK)
        rc = ramet_history_open(copying->to->store, &copying->from.id, NULL,
                                &copying->history, err);
    return rc;
}

/* An id is no name: a volume that is known by its id alone stays so. */
static enum ramet_rc
give_name(struct copying *copying, struct ramet_err *err)
{
    struct ramet_id id;

    if (ramet_id_parse(copying->to_url.name, &id))
        return RAMET_OK;
    return ramet_catalog_bind(copying->to->store, copying->to_url.name,
                              &copying->from.id, false, err);
}

static int
report(const struct copying *copying)
{
    const struct ramet_copy_progress *const done = &copying->done;
    char id[RAMET_ID_TEXT_SIZE], from[RAMET_URL_MAX], to[RAMET_URL_MAX];
    char commits[CLI_TEXT_SIZE], bytes[CLI_TEXT_SIZE], took[CLI_TEXT_SIZE];

    ramet_id_format(&copying->from.id.id, id);
    ramet_url_format(&copying->from.url, from, sizeof(from));
    ramet_url_format(&copying->to_url, to, sizeof(to));
    if (copying->args->json)
        return cli_print_json(json_pack(
            "{s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I}", "verb", "copy",
            "from", cli_json_text(from), "to", cli_json_text(to), "volume", id,
            "lsn", (json_int_t)done->lsn, "commits", (json_int_t)done->commits,
            "objects", (json_int_t)done->objects, "bytes",
            (json_int_t)done->bytes, "elapsed_ms",
            (json_int_t)cli_progress_elapsed_ms(&copying->progress)));
    if (copying->args->quiet)
        return CLI_DONE;
    printf("copied %s commit%s, %s in %" PRIu64 " object%s, LSN %" PRIu64
           " (%s)\n",
           cli_count(commits, done->commits),
           cli_plural(done->commits, "", "s"), cli_bytes(bytes, done->bytes),
           done->objects, cli_plural(done->objects, "", "s"), done->lsn,
           cli_duration(took, cli_progress_elapsed_ms(&copying->progress)));
    return CLI_DONE;
}

static int
run_copy(const struct cli_args *args)
{
    struct copying copying = {.args = args};
    const char *object = args->operands[0];
    struct ramet_err err = {0};
    enum ramet_rc rc;
    int code;

    cli_progress_begin(&copying.progress, args->quiet);
    rc = open_source(&copying, &err);
    if (rc == RAMET_OK) {
        object = args->operands[1];
        rc = open_target(&copying, &err);
    }
    if (rc == RAMET_OK)
        rc = ramet_history_copy(copying.from.history, &copying.upto,
                                copying.history, step, &copying, &copying.done,
                                &err);
    if (rc == RAMET_OK)
        rc = give_name(&copying, &err);
    cli_progress_end(&copying.progress);
    code = rc == RAMET_OK ? report(&copying) : cli_fail(args, object, rc, &err);
    ramet_history_close(copying.history);
    ramet_remote_close(copying.to);
    cli_volume_close(&copying.from);
    return code;
}

const struct cli_verb cli_verb_copy = {
    .name = "copy",
    .operands = "FROM TO",
    .operands_min = 2,
    .operands_max = 2,
    .summary = "a volume with its whole history, to another store",
    .details =
        "Copies the volume at the URL FROM, every commit with all it needs "
        "(of\n"
        "FROM@LSN those up to it), to the URL TO, in a store of any kind. It\n"
        "keeps its id: what can be done with the one can be done with the "
        "other.\n"
        "A TO that ends with '/' names a store, where it gets the same name.\n"
        "What arrives is read back and checked; the commits come last, in "
        "order,\n"
        "so that a copy that was cut short is a volume that ends earlier. Run\n"
        "again, it brings what came since, or goes on where it was cut.\n"
        "Write to one of the two only: a copy that has commits of its own is\n"
        "refused (exit code 3). To move for good, stop the writers, copy, and\n"
        "let the replicas follow with 'ramet rebind'.",
    .example = "  $ ramet copy file:///backups/app.db "
               "https://elsewhere.example/app.db",
    .reports = true,
    .run = run_copy,
};
