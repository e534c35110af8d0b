/*
 * verb_profiles.c - `ramet profiles`: the warm profiles of a volume, listed and
 * deleted.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/exit.h"
#include "cli/output.h"
#include "cli/target.h"
#include "metastore/profile.h"

struct profiles {
    const struct cli_args *args;
    struct cli_json_array array;
};

static bool
show_profile(void *ctx, const char *name, const struct ramet_profile *profile,
             enum ramet_rc rc, const struct ramet_err *err)
{
    struct profiles *const p = ctx;
    const uint64_t recent = ramet_pageset_count(&profile->recent);
    const uint64_t older = ramet_pageset_count(&profile->older);
    char time[32];

    ramet_time_format(profile->time_ms, time);
    if (p->args->json) {
        cli_json_array_add(
            &p->array,
            rc == RAMET_OK
                ? json_pack("{s:s, s:I, s:I, s:s, s:I, s:I}", "name", name,
                            "number", (json_int_t)profile->seq, "lsn",
                            (json_int_t)profile->lsn, "time", time, "pages",
                            (json_int_t)recent, "older_pages",
                            (json_int_t)older)
                : json_pack("{s:s, s:I, s:s}", "name", name, "number",
                            (json_int_t)profile->seq, "error", err->text));
        return true;
    }
    cli_print_text(name);
    if (rc != RAMET_OK) {
        printf("  can't be read: ");
        cli_print_text(err->text);
        putchar('\n');
        return true;
    }
    printf("  %" PRIu64 " pages, %" PRIu64 " older; of LSN %" PRIu64
           ", %s; number %" PRIu64 "\n",
           recent, older, profile->lsn, time, profile->seq);
    return true;
}

static enum ramet_rc
list(struct profiles *p, const struct cli_volume *volume, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_profile_list(
        volume->remote->store, &volume->id, show_profile, p, err);

    if (rc == RAMET_OK && p->args->json)
        (void)cli_json_array_end(&p->array);
    return rc;
}

static enum ramet_rc
delete_profile(const struct cli_args *args, const struct cli_volume *volume,
               const char *name, struct ramet_err *err)
{
    enum ramet_rc rc;

    if (!ramet_name_valid(name))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "\"%.140s\" is not a profile's name", name);
    rc = ramet_profile_remove(volume->remote->store, &volume->id, name, err);
    if (rc == RAMET_OK && args->json)
        (void)cli_print_json(
            json_pack("{s:s, s:s}", "verb", "profiles", "deleted", name));
    else if (rc == RAMET_OK && !args->quiet)
        printf("deleted the profile %s\n", name);
    return rc;
}

static const struct cli_option profiles_options[] = {
    {"delete", "NAME", "delete that profile"},
    {NULL, NULL, NULL},
};

static int
run_profiles(const struct cli_args *args)
{
    const char *const name = cli_value(args, "delete");
    struct profiles p = {.args = args};
    struct cli_volume volume = {.remote = NULL};
    struct ramet_err err = {0};
    enum ramet_rc rc = cli_volume_open(args, args->operands[0],
                                       RAMET_NAMED_BY_USER, &volume, &err);

    if (rc == RAMET_OK)
        rc = name != NULL ? delete_profile(args, &volume, name, &err)
                          : list(&p, &volume, &err);
    cli_volume_close(&volume);
    return rc == RAMET_OK ? CLI_DONE
                          : cli_fail(args, args->operands[0], rc, &err);
}

const struct cli_verb cli_verb_profiles = {
    .name = "profiles",
    .operands = "URL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "the warm profiles of a volume",
    .details =
        "Lists the warm profiles of the volume at URL: under a name each, "
        "which\n"
        "pages processes that opened it with profile=NAME read first. The "
        "next\n"
        "one with that name asks for all of them at once. With --delete NAME\n"
        "that profile goes; processes that use the name record it anew.",
    .example = "  $ ramet profiles https://ramet.example/app\n"
               "  $ ramet profiles --delete web https://ramet.example/app",
    .options = profiles_options,
    .reports = true,
    .run = run_profiles,
};
