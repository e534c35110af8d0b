/*
 * fuzz_config.c - hostile bytes as ramet.conf. What is accepted answers
 * questions about remotes and tokens without harm.
 */
#include <stdint.h>
#include <stdlib.h>

#include "client/remote/config.h"
#include "client/store/store.h"
#include "core/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_config *config = NULL;
    struct ramet_err err;
    char url[RAMET_URL_MAX];
    char *token = NULL;

    if (size > RAMET_CONFIG_BYTES_MAX ||
        ramet_config_parse("/nowhere/ramet.conf", (const char *)data, size,
                           &config, &err) != RAMET_OK)
        return 0;
    if (ramet_config_url(config, "a:b", url, sizeof(url), &err) == RAMET_OK &&
        ramet_config_token(config, url, &token, &err) == RAMET_OK)
        ramet_free(token);
    ramet_config_free(config);
    return 0;
}
