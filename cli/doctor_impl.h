/*
 * doctor_impl.h - what doctor.c (getting there, and reading) and doctor_write.c
 * (writing, racing, how fast) share.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_DOCTOR_IMPL_H
#define RAMET_CLI_DOCTOR_IMPL_H

#include "cli/doctor.h"

struct doctor {
    const struct cli_args *args;
    cli_finding_fn *report;
    void *ctx;
    enum ramet_rc rc; /* of the first problem */
    struct ramet_url url;
    struct ramet_remote *remote;
};

double cli_doctor_now_s(void);
void cli_doctor_fine(struct doctor *d, const char *name, const char *fmt, ...)
    RAMET_PRINTF(3, 4);
void cli_doctor_skipped(struct doctor *d, const char *name, const char *why);
/* Gives `rc` back. */
enum ramet_rc
cli_doctor_problem(struct doctor *d, const char *name, enum ramet_rc rc,
                   const char *text, const char *todo);
static inline bool
cli_doctor_is_refusal(enum ramet_rc rc)
{
    return rc == RAMET_EAUTH || rc == RAMET_EREADONLY;
}

/* Tries out writing, under a volume of its own, and takes it away again. */
void cli_doctor_write(struct doctor *d);

#endif
