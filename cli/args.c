/*
 * args.c - from argv to struct cli_args, by the verb's own table.
 *
 * Long options only, "--name value" or "--name=value", anywhere among the
 * operands; "--" ends them. What the table does not know is refused with the
 * nearest word that it does.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli/exit.h"
#include "cli/verb.h"

/* Taken by every verb; --json only by those that report. */
static const struct cli_option common[] = {
    {"json", NULL, "print the result as JSON"},
    {"quiet", NULL, "print nothing but errors"},
    {"config", "FILE", "read this ramet.conf"},
    {"stats", NULL, "at the end: requests to buckets, prices, prefetch"},
    {"help", NULL, "show this text"},
};
enum {
    COMMON_JSON,
    COMMON_QUIET,
    COMMON_CONFIG,
    COMMON_STATS,
    COMMON_HELP,
    COMMON_COUNT
};

static size_t
own_count(const struct cli_verb *verb)
{
    size_t count = 0;

    while (verb->options != NULL && verb->options[count].name != NULL)
        count++;
    assert(count <= CLI_OPTIONS_MAX);
    return count;
}

/* The i-th option that `verb` takes, its own first. */
static const struct cli_option *
option_at(const struct cli_verb *verb, size_t i)
{
    const size_t own = own_count(verb);

    if (i < own)
        return &verb->options[i];
    i -= own;
    if (!verb->reports)
        i++; /* no --json */
    return i < COMMON_COUNT ? &common[i] : NULL;
}

static const char *
option_name_at(const void *ctx, size_t i)
{
    const struct cli_option *const option = option_at(ctx, i);

    return option == NULL ? NULL : option->name;
}

const char *
cli_nearest(const char *word, ramet_word_at *next, const void *ctx)
{
    size_t distance;
    const char *const best = ramet_nearest(word, next, ctx, &distance);

    return distance <= 1 + strlen(word) / 3 ? best : NULL;
}

const char *
cli_value(const struct cli_args *args, const char *option)
{
    const struct cli_option *const options = args->verb->options;

    for (size_t i = 0; i < own_count(args->verb); i++)
        if (strcmp(options[i].name, option) == 0)
            return args->values[i];
    assert(!"an option that the verb's table does not have");
    return NULL;
}

bool
cli_flag(const struct cli_args *args, const char *option)
{
    return cli_value(args, option) != NULL;
}

static void
keep(const struct cli_verb *verb, const struct cli_option *option,
     const char *value, struct cli_args *out_args)
{
    if (option == &common[COMMON_JSON])
        out_args->json = true;
    else if (option == &common[COMMON_QUIET])
        out_args->quiet = true;
    else if (option == &common[COMMON_CONFIG])
        out_args->config = value;
    else if (option == &common[COMMON_STATS])
        out_args->stats = true;
    else if (option == &common[COMMON_HELP])
        out_args->help = true;
    else
        out_args->values[option - verb->options] = value;
}

static int
refuse_option(const struct cli_verb *verb, const char *word)
{
    const char *const near = cli_nearest(word, option_name_at, verb);

    if (near != NULL)
        return cli_usage(verb, "unknown option --%s; did you mean --%s?", word,
                         near);
    return cli_usage(verb, "unknown option --%s", word);
}

static const struct cli_option *
find_option(const struct cli_verb *verb, const char *name, size_t name_len)
{
    const struct cli_option *option;

    for (size_t i = 0; (option = option_at(verb, i)) != NULL; i++)
        if (strlen(option->name) == name_len &&
            strncmp(option->name, name, name_len) == 0)
            return option;
    return NULL;
}

/* One "--…" word; *i is its index in argv, moved on over a value. */
static int
parse_option(const struct cli_verb *verb, int argc, char **argv, int *i,
             struct cli_args *out_args)
{
    const char *const word = argv[*i] + 2;
    const char *const equals = strchr(word, '=');
    const size_t len = equals == NULL ? strlen(word) : (size_t)(equals - word);
    const struct cli_option *const option = find_option(verb, word, len);
    const char *value = "";

    if (option == NULL)
        return refuse_option(verb, word);
    if (option->value == NULL && equals != NULL)
        return cli_usage(verb, "--%s takes no value", option->name);
    if (option->value != NULL) {
        if (equals == NULL && *i + 1 >= argc)
            return cli_usage(verb, "--%s needs a value: --%s %s", option->name,
                             option->name, option->value);
        value = equals == NULL ? argv[++*i] : equals + 1;
    }
    keep(verb, option, value, out_args);
    return CLI_DONE;
}

int
cli_parse(const struct cli_verb *verb, int argc, char **argv,
          struct cli_args *out_args)
{
    bool options_over = false;
    int code = CLI_DONE;

    *out_args = (struct cli_args){.verb = verb};
    for (int i = 0; i < argc && code == CLI_DONE; i++) {
        if (!options_over && strcmp(argv[i], "--") == 0)
            options_over = true;
        else if (!options_over && strcmp(argv[i], "-h") == 0)
            out_args->help = true;
        else if (!options_over && strncmp(argv[i], "--", 2) == 0)
            code = parse_option(verb, argc, argv, &i, out_args);
        else if (!options_over && argv[i][0] == '-' && argv[i][1] != '\0')
            code = refuse_option(verb, argv[i] + 1);
        else if (out_args->operand_count == verb->operands_max)
            code = cli_usage(verb, "'%s' is one operand too many", argv[i]);
        else
            out_args->operands[out_args->operand_count++] = argv[i];
    }
    if (code == CLI_DONE && !out_args->help &&
        out_args->operand_count < verb->operands_min)
        code = cli_usage(verb, "needs %s", verb->operands);
    return code;
}

static void
print_option(const struct cli_option *option)
{
    char left[64];

    snprintf(left, sizeof(left), "--%s%s%s", option->name,
             option->value == NULL ? "" : " ",
             option->value == NULL ? "" : option->value);
    printf("  %-22s %s\n", left, option->help);
}

void
cli_help_verb(const struct cli_verb *verb)
{
    const struct cli_option *option;

    printf("usage: ramet %s %s%s[options]\n\n%s\n", verb->name, verb->operands,
           verb->operands[0] == '\0' ? "" : " ", verb->details);
    printf("\noptions:\n");
    for (size_t i = 0; (option = option_at(verb, i)) != NULL; i++)
        print_option(option);
    printf("\nexample:\n%s\n", verb->example);
}

void
cli_help_overview(void)
{
    printf("usage: ramet VERB [operands] [options]\n\n"
           "Page-level replication of SQLite databases and other files.\n\n");
    for (size_t i = 0; cli_verbs[i] != NULL; i++)
        printf("  %-8s %-17s  %s\n", cli_verbs[i]->name, cli_verbs[i]->operands,
               cli_verbs[i]->summary);
    printf(
        "\n  help     [VERB]             this text, or a verb's\n"
        "  version                     what this is\n"
        "\nA remote is file:///dir/name, http://host:port/name, or NAME:name "
        "by ramet.conf;\n…/name@42 and …/name@2026-11-23T10:00:00Z name a "
        "snapshot.\n\n"
        "exit status: 0 done; 1 failed; 2 wrong usage; 3 diverged or "
        "conflict;\n4 not found; 5 not permitted; 6 remote out of reach; "
        "7 damaged\n\n"
        "example:\n"
        "  $ ramet init app.db --remote file:///backups/app.db\n"
        "  $ ramet clone file:///backups/app.db copy.db\n");
}
