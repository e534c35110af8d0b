/*
 * verb_verify.c - `ramet verify`: every page here, or every object there,
 * against its hash.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/stop.h"
#include "cli/target.h"
#include "client/store/exchange.h"

struct findings {
    const struct cli_args *args;
    struct cli_progress *progress;
    json_t *damage; /* texts */
    uint64_t checked;
    uint64_t bad;
    uint64_t left;   /* of those, still damaged; of a volume all of them */
    uint64_t deltas; /* pages that were made of them, of a volume */
};

static int
report_findings(const struct findings *found, const char *target,
                const char *what)
{
    char checked[CLI_TEXT_SIZE], bad[CLI_TEXT_SIZE], made[CLI_TEXT_SIZE];
    const int code = found->bad > 0 ? CLI_DAMAGED : CLI_DONE;

    if (found->args->json) {
        const int printed = cli_print_json(json_pack(
            "{s:s, s:o, s:I, s:I, s:I, s:I, s:O}", "verb", "verify", "target",
            cli_json_text(target), "checked", (json_int_t)found->checked,
            "deltas", (json_int_t)found->deltas, "damaged",
            (json_int_t)found->bad, "left", (json_int_t)found->left, "damage",
            found->damage));

        return printed == CLI_DONE ? code : printed;
    }
    if (!found->args->quiet && found->deltas > 0)
        printf("%s page%s made of deltas and checked\n",
               cli_count(made, found->deltas),
               cli_plural(found->deltas, "", "s"));
    if (!found->args->quiet)
        printf("%s %s%s checked, %s damaged\n",
               cli_count(checked, found->checked), what,
               cli_plural(found->checked, "", "s"), cli_count(bad, found->bad));
    return code;
}

/* A second look, at what the first one found and mended. */
static enum ramet_rc
look_at_file(struct findings *found, struct ramet_file *file,
             struct ramet_err *err)
{
    struct ramet_session *const session = ramet_file_session(file);
    uint64_t checked;
    enum ramet_rc rc =
        ramet_session_verify(session, &found->checked, &found->bad, err);

    if (rc != RAMET_OK || found->bad == 0)
        return rc;
    return ramet_session_verify(session, &checked, &found->left, err);
}

static void
say_what_is_left(const struct findings *found)
{
    char left[CLI_TEXT_SIZE];

    if (found->left == 0)
        fprintf(stderr,
                "ramet: verify: all that was damaged was mended, or is when it "
                "is read\n");
    else
        fprintf(
            stderr,
            "ramet: verify: %s page%s damaged still: what the remote has is "
            "brought again when it can be reached; what was never pushed "
            "'ramet adopt' takes as it is, or 'ramet reset' gives up\n",
            cli_count(left, found->left),
            cli_plural(found->left, " is", "s are"));
}

static int
verify_file(struct findings *found, const char *path)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;
    struct ramet_err err = {0};
    enum ramet_rc rc;
    int code;

    cli_file_options(found->args, &options);
    options.flags |= RAMET_OPEN_VERIFY;
    rc = ramet_file_open(path, &options, &file, &err);
    if (rc == RAMET_OK)
        rc = look_at_file(found, file, &err);
    ramet_file_close(file);
    if (rc != RAMET_OK)
        return cli_fail(found->args, path, rc, &err);
    code = report_findings(found, path, "page");
    if (found->bad > 0)
        say_what_is_left(found);
    return code;
}

static void
note(void *ctx, bool damaged, const char *text, uint64_t done, uint64_t total)
{
    struct findings *const found = ctx;
    const struct ramet_progress step = {
        .verb = "verify", .pages_done = done, .pages_total = total};

    found->checked = done;
    (void)cli_progress_step(found->progress, &step);
    if (!damaged)
        return;
    found->bad++;
    if (found->args->json) {
        (void)json_array_append_new(found->damage, cli_json_text(text));
        return;
    }
    cli_progress_end(found->progress);
    printf("damaged: ");
    cli_print_text(text);
    putchar('\n');
}

static int
verify_url(struct findings *found, const char *url)
{
    struct cli_volume volume = {0};
    struct ramet_err err = {0};
    enum ramet_rc rc;

    rc = cli_volume_open(found->args, url, RAMET_NAMED_BY_USER, &volume, &err);
    if (rc == RAMET_OK)
        rc = ramet_history_verify(volume.history, note, found, &found->deltas,
                                  &err);
    cli_volume_close(&volume);
    cli_progress_end(found->progress);
    found->left = found->bad;
    /* Damage was told as it was found; what else went wrong was not. */
    if (rc != RAMET_OK && !(rc == RAMET_ECORRUPT && found->bad > 0))
        return cli_fail(found->args, url, rc, &err);
    return report_findings(found, url, "object");
}

static int
run_verify(const struct cli_args *args)
{
    struct cli_progress progress;
    struct findings found = {
        .args = args, .progress = &progress, .damage = json_array()};
    const char *const target = args->operands[0];
    int code;

    cli_progress_begin(&progress, args->quiet);
    code = cli_is_url(target) ? verify_url(&found, target)
                              : verify_file(&found, target);
    json_decref(found.damage);
    return code;
}

const struct cli_verb cli_verb_verify = {
    .name = "verify",
    .operands = "FILE|URL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "check everything against its hash",
    .details =
        "Of a replica: checks each page that is here, and brings those that "
        "are\n"
        "damaged again from the remote. Of a volume: reads every object at "
        "every\n"
        "LSN, and makes each page that is stored as a delta. Names what is "
        "damaged,\n"
        "and exits with 7 then, also where all of it was mended: \"left\" "
        "(with\n"
        "--json) says how much was not, and another run exits with 0.",
    .example = "  $ ramet verify file:///backups/app.db",
    .reports = true,
    .run = run_verify,
};
