/*
 * verb_doctor.c - `ramet doctor`: is all well with a remote, seen from here?
 */
#include <stdio.h>

#include "cli/doctor.h"
#include "cli/exit.h"
#include "cli/output.h"

struct findings {
    const struct cli_args *args;
    json_t *checks;
};

static const char *
state_name(enum cli_finding_state state)
{
    switch (state) {
    case CLI_FINDING_OK:
        return "ok";
    case CLI_FINDING_PROBLEM:
        return "problem";
    case CLI_FINDING_SKIPPED:
        return "skipped";
    }
    return "";
}

static void
tell(void *ctx, const struct cli_finding *finding)
{
    struct findings *const findings = ctx;

    if (findings->args->json) {
        (void)json_array_append_new(
            findings->checks,
            json_pack(
                "{s:s, s:s, s:s?, s:o, s:s}", "name", finding->name, "state",
                state_name(finding->state), "code",
                finding->rc == RAMET_OK ? NULL : ramet_rc_name(finding->rc),
                "text", cli_json_text(finding->text), "todo", finding->todo));
        return;
    }
    if (findings->args->quiet && finding->state != CLI_FINDING_PROBLEM)
        return;
    printf("%-8s %-12s ", state_name(finding->state), finding->name);
    cli_print_text(finding->text);
    if (finding->todo[0] != '\0')
        printf("; %s", finding->todo);
    putchar('\n');
    (void)fflush(stdout); /* each as it is found: some take a while */
}

static const struct cli_option doctor_options[] = {
    {"read-only", NULL, "write nothing there"},
    {NULL, NULL, NULL},
};

static int
run_doctor(const struct cli_args *args)
{
    const char *const url = args->operands[0];
    struct findings findings = {.args = args, .checks = json_array()};
    const enum ramet_rc rc =
        cli_doctor(args, url, !cli_flag(args, "read-only"), tell, &findings);
    int code = (int)cli_exit_of(rc);

    if (args->json) {
        const int printed = cli_print_json(json_pack(
            "{s:s, s:o, s:b, s:O}", "verb", "doctor", "url", cli_json_text(url),
            "ok", rc == RAMET_OK, "checks", findings.checks));

        if (code == CLI_DONE)
            code = printed;
    }
    json_decref(findings.checks);
    return code;
}

const struct cli_verb cli_verb_doctor = {
    .name = "doctor",
    .operands = "URL",
    .operands_min = 1,
    .operands_max = 1,
    .summary = "try out a remote: reach, rights, conditions, speed",
    .details =
        "Tries out what Ramet needs of the remote, a volume or a store, as "
        "seen "
        "from\n"
        "here, and says a line about each: 'ok', or 'problem' and what to do. "
        "The exit\n"
        "code is that of the first problem. Writes some 8 MiB under a volume "
        "of "
        "its own,\n"
        "which it deletes again; with --read-only nothing.",
    .example = "  $ ramet doctor https://ramet.example.org/app",
    .options = doctor_options,
    .reports = true,
    .run = run_doctor,
};
