/*
 * verb_serve.c - `ramet serve`: the server, from its own options table.
 */
#include <stdio.h>
#include <string.h>

#include "cli/exit.h"
#include "server/server.h"

static const struct cli_option serve_options[] = {
    {"listen", "HOST:PORT", "where to listen (127.0.0.1:7411); port 0: any"},
    {"data", "DIR", "keep the objects in this directory (ramet-data)"},
    {"store", "URL", "or in this store: file:///dir, s3://bucket/prefix"},
    {"token-file", "F", "ask clients for the token in this file"},
    {"insecure", NULL, "listen beyond loopback without a token"},
    {"tls-cert", "F", "serve HTTPS with this certificate chain (PEM)"},
    {"tls-key", "F", "and its key"},
    {"cache-dir", "DIR", "keep a cache on this disk"},
    {"cache-memory", "SIZE", "cache in memory (24M)"},
    {"cache-disk", "SIZE", "limit of the cache on disk (1G)"},
    {"access-log", "F", "off, stderr or a file (stderr)"},
    {"prefetch-queries", NULL, "run statements that clients prefetch by"},
    {"workers", "N", "threads that work on the store (8)"},
    {"max-connections", "N", "connections at a time (4096)"},
    {"drain", "SECONDS", "finish what was begun, at a stop (10)"},
    {NULL, NULL, NULL},
};

/* The option's name as ramet.conf spells it. */
static void
config_name(const char *option, char *out, size_t size)
{
    snprintf(out, size, "%s", option);
    for (char *c = out; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
}

/* The command line over what ramet.conf and the environment say. */
static enum ramet_rc
apply_command_line(const struct cli_args *args,
                   struct ramet_server_options *options, struct ramet_err *err)
{
    for (size_t i = 0; serve_options[i].name != NULL; i++) {
        const char *value = args->values[i];
        char name[64];
        enum ramet_rc rc;

        if (value == NULL)
            continue;
        if (serve_options[i].value == NULL)
            value = "true";
        config_name(serve_options[i].name, name, sizeof(name));
        rc = ramet_server_options_set(options, name, value, err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

static int
run_serve(const struct cli_args *args)
{
    struct ramet_server_options options;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (cli_flag(args, "data") && cli_flag(args, "store"))
        return cli_usage(args->verb, "--data and --store exclude each other");
    ramet_server_options_init(&options);
    rc = ramet_server_options_load(&options, args->config, &err);
    if (rc == RAMET_OK)
        rc = apply_command_line(args, &options, &err);
    if (rc == RAMET_OK)
        rc = ramet_server_run(&options, &err);
    return rc == RAMET_OK ? CLI_DONE : cli_fail(args, NULL, rc, &err);
}

const struct cli_verb cli_verb_serve = {
    .name = "serve",
    .operands = "",
    .operands_min = 0,
    .operands_max = 0,
    .summary = "run the server",
    .details =
        "Serves volumes over HTTP until SIGTERM, which finishes what was "
        "begun.\n"
        "With no options it listens on loopback and keeps its objects in the\n"
        "directory ramet-data. SIGHUP reads token, certificate and key again.\n"
        "Every option can stand in ramet.conf, section [server], or in the\n"
        "environment (RAMET_LISTEN, …); the command line wins.",
    .example = "  $ ramet serve --listen 127.0.0.1:7411 --data /srv/ramet",
    .options = serve_options,
    .reports = false,
    .run = run_serve,
};
