/*
 * main.c - the `ramet` command: finds the verb and runs it.
 *
 * Layer: cli, the uppermost. Includes the client, the metastore's read side
 * and the server's entry; nothing includes it.
 */
#include <stdio.h>
#include <string.h>

#include "cli/exit.h"
#include "cli/stats.h"
#include "cli/stop.h"
#include "cli/verb.h"
#include "client/ramet.h"
#include "core/alloc.h"
#include "core/log.h"

#include <jansson.h>

/* In the order in which a newcomer meets them. */
const struct cli_verb *const cli_verbs[] = {
    &cli_verb_init,
    &cli_verb_clone,
    &cli_verb_push,
    &cli_verb_pull,
    &cli_verb_fetch,
    &cli_verb_sync,
    &cli_verb_status,
    &cli_verb_log,
    &cli_verb_ls,
    &cli_verb_info,
    &cli_verb_hydrate,
    &cli_verb_export,
    &cli_verb_cat,
    &cli_verb_restore,
    &cli_verb_reset,
    &cli_verb_lost,
    &cli_verb_adopt,
    &cli_verb_verify,
    &cli_verb_copy,
    &cli_verb_doctor,
    &cli_verb_profiles,
    &cli_verb_detach,
    &cli_verb_rebind,
    &cli_verb_delete,
#ifdef RAMET_HAVE_SERVER
    &cli_verb_serve,
#endif
    NULL,
};

const struct cli_verb *
cli_verb_find(const char *name)
{
    for (size_t i = 0; cli_verbs[i] != NULL; i++)
        if (strcmp(cli_verbs[i]->name, name) == 0)
            return cli_verbs[i];
    return NULL;
}

static const char *
verb_name_at(const void *ctx, size_t i)
{
    (void)ctx;
    return cli_verbs[i] == NULL ? NULL : cli_verbs[i]->name;
}

static int
refuse_verb(const char *word)
{
    const char *const near = cli_nearest(word, verb_name_at, NULL);

    if (near != NULL)
        return cli_usage(NULL, "no verb '%s'; did you mean '%s'?", word, near);
    return cli_usage(NULL, "no verb '%s'", word);
}

static bool
is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int
version(int argc, char **argv)
{
    if (argc > 0 && is_help(argv[0]))
        printf("usage: ramet version\n\nPrints the version.\n");
    else if (argc > 0)
        return cli_usage(NULL, "version takes nothing");
    else
        printf("ramet %s\n", RAMET_VERSION_STRING);
    return CLI_DONE;
}

static int
help(int argc, char **argv)
{
    const struct cli_verb *verb;

    if (argc == 0) {
        cli_help_overview();
        return CLI_DONE;
    }
    if (argc > 1)
        return cli_usage(NULL, "help takes one verb");
    if (is_help(argv[0]) || strcmp(argv[0], "help") == 0)
        return help(0, NULL);
    if (strcmp(argv[0], "version") == 0)
        return version(1, (char *[]){"--help"});
    verb = cli_verb_find(argv[0]);
    if (verb == NULL)
        return refuse_verb(argv[0]);
    cli_help_verb(verb);
    return CLI_DONE;
}

static int
run(int argc, char **argv)
{
    const struct cli_verb *verb;
    struct cli_args args;
    int code;

    if (argc < 2)
        return cli_usage(NULL, "a verb is needed, such as 'ramet status FILE'");
    if (strcmp(argv[1], "help") == 0)
        return help(argc - 2, argv + 2);
    if (is_help(argv[1]))
        return help(0, NULL);
    if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0)
        return version(argc - 2, argv + 2);
    verb = cli_verb_find(argv[1]);
    if (verb == NULL)
        return refuse_verb(argv[1]);
    code = cli_parse(verb, argc - 2, argv + 2, &args);
    if (code != CLI_DONE)
        return code;
    if (args.help) {
        cli_help_verb(verb);
        return CLI_DONE;
    }
    code = verb->run(&args);
    if (args.stats)
        cli_stats_print();
    return code;
}

int
main(int argc, char **argv)
{
    json_set_alloc_funcs(ramet_alloc, ramet_free);
    ramet_log_init_from_env(false);
    cli_stop_install();
    return cli_finish(run(argc, argv));
}
