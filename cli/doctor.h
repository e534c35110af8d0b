/*
 * doctor.h - what a remote can do for whoever asks here and now: each thing that
 * Ramet needs of it, tried out.
 *
 * What is written for that is a segment under a volume of its own, whose id
 * nobody has; it is deleted at the end. If this process is killed before, it
 * stays, as a volume without a name or a commit; `ramet delete` takes it.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_DOCTOR_H
#define RAMET_CLI_DOCTOR_H

#include <stdbool.h>

#include "cli/target.h"

enum cli_finding_state {
    CLI_FINDING_OK,
    CLI_FINDING_PROBLEM,
    CLI_FINDING_SKIPPED
};

struct cli_finding {
    const char *name; /* "clock" */
    enum cli_finding_state state;
    enum ramet_rc rc; /* of a problem */
    char text[RAMET_ERR_TEXT_MAX];
    const char *todo; /* what to do about it; "" */
};

typedef void cli_finding_fn(void *ctx, const struct cli_finding *finding);

/*
 * Try out what `text` names, a volume or a store, and report each finding.
 * `writes` false: nothing is written there. RAMET_OK, or the code of the first
 * problem; the errors of single checks are in the findings.
 */
enum ramet_rc cli_doctor(const struct cli_args *args, const char *text,
                         bool writes, cli_finding_fn *report, void *ctx);

#endif
