/*
 * serve_main.c - the server alone, for tests: `--NAME VALUE` for each option.
 */
#include <stdio.h>
#include <string.h>

#include "server/server.h"

int
main(int argc, char **argv)
{
    struct ramet_server_options options;
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc = RAMET_OK;

    ramet_server_options_init(&options);
    for (int i = 1; i + 1 < argc && rc == RAMET_OK; i += 2) {
        if (strcmp(argv[i], "--config") == 0)
            rc = ramet_server_options_load(&options, argv[i + 1], &err);
        else
            rc = ramet_server_options_set(&options, argv[i] + 2, argv[i + 1],
                                          &err);
    }
    if (rc == RAMET_OK)
        rc = ramet_server_run(&options, &err);
    if (rc != RAMET_OK)
        (void)fprintf(stderr, "serve: %s\n", err.text);
    return rc == RAMET_OK ? 0 : 1;
}
