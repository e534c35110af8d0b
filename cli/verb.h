/*
 * verb.h - what a verb of the `ramet` command is, and what it is given.
 *
 * A verb is one row of a table: its names and options as data, one function.
 * The parser, the help texts and the suggestions for mistyped words all read
 * that table, so that a verb can't accept what its help does not tell.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_VERB_H
#define RAMET_CLI_VERB_H

#include <stdbool.h>
#include <stddef.h>

#include "core/nearest.h"

#define CLI_OPERANDS_MAX 256
#define CLI_OPTIONS_MAX 16

struct cli_option {
    const char *name;  /* without the dashes */
    const char *value; /* how its value is called, NULL: a flag */
    const char *help;
};

struct cli_verb;

/* What was typed, checked against the verb's row. Strings point into argv. */
struct cli_args {
    const struct cli_verb *verb;
    const char *operands[CLI_OPERANDS_MAX];
    int operand_count;
    const char *values[CLI_OPTIONS_MAX]; /* as verb->options; "" for a flag */
    bool json;
    bool quiet;
    bool stats;
    bool help;
    const char *config; /* ramet.conf, or NULL: found by its rules */
};

struct cli_verb {
    const char *name;
    const char *operands; /* "FILE OUT", for the usage line */
    int operands_min, operands_max;
    const char *summary;                     /* one line, no full stop */
    const char *details;                     /* paragraphs of the help text */
    const char *example;                     /* lines of "$ …" */
    const struct cli_option *options;        /* ends with a NULL name */
    bool reports;                            /* takes --json */
    int (*run)(const struct cli_args *args); /* gives the exit code */
};

/* All verbs, in the order of the help text; ends with a NULL name. */
extern const struct cli_verb *const cli_verbs[];
const struct cli_verb *cli_verb_find(const char *name);

/* The value of an option of the verb's table (asserted), NULL if not given. */
const char *cli_value(const struct cli_args *args, const char *option);
bool cli_flag(const struct cli_args *args, const char *option);

/*
 * Parse what follows the verb. Returns an exit code: 0, or 2 after having
 * said on stderr what is wrong, with the nearest word that exists.
 */
int cli_parse(const struct cli_verb *verb, int argc, char **argv,
              struct cli_args *out_args);
/* The candidate nearest to `word`, NULL if none is near. */
const char *cli_nearest(const char *word, ramet_word_at *next, const void *ctx);

void cli_help_overview(void);
void cli_help_verb(const struct cli_verb *verb);

extern const struct cli_verb cli_verb_adopt, cli_verb_cat, cli_verb_clone,
    cli_verb_copy, cli_verb_delete, cli_verb_detach, cli_verb_doctor,
    cli_verb_export, cli_verb_fetch, cli_verb_hydrate, cli_verb_info,
    cli_verb_init, cli_verb_log, cli_verb_lost, cli_verb_ls, cli_verb_profiles,
    cli_verb_pull, cli_verb_push, cli_verb_rebind, cli_verb_reset,
    cli_verb_restore, cli_verb_serve, cli_verb_status, cli_verb_sync,
    cli_verb_verify;

#endif
