/*
 * fuzz_s3_settings.c - hostile text as AWS's two files, and as what stands
 * behind the '?' of an s3:// URL.
 *
 * Nothing that a URL says makes an endpoint trusted that is not AWS's.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagestore/s3/place.h"
#include "pagestore/s3/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_s3_settings: %s\n", what);
        abort();
    }
}

static void
fuzz_file(const char *text, size_t size)
{
    struct ramet_s3_settings *const s = malloc(sizeof(*s));

    if (s == NULL)
        return;
    for (int is_config = 0; is_config < 2; is_config++) {
        memset(s, 0, sizeof(*s));
        strcpy(s->profile, "default");
        ramet_s3_settings_parse(s, text, size, is_config == 1);
        require(memchr(s->endpoint, 0, sizeof(s->endpoint)) != NULL &&
                    memchr(s->region, 0, sizeof(s->region)) != NULL &&
                    memchr(s->profile_keys.session, 0,
                           sizeof(s->profile_keys.session)) != NULL,
                "a text without end");
    }
    free(s);
}

static void
fuzz_place(const char *query)
{
    const struct ramet_s3_settings none = {.profile = "default"};
    struct ramet_s3_target target;
    struct ramet_s3_place place;

    if (ramet_s3_place_parse("s3://bucket/p", query, &place) != NULL ||
        ramet_s3_resolve(&place, &none, false, &target, NULL) != RAMET_OK)
        return;
    require(strstr(target.host, target.origin.host) != NULL, "another host");
    if (target.trusted)
        require(place.endpoint[0] == '\0' || ramet_s3_is_aws(&target.origin),
                "credentials for an endpoint that only a URL names");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *const text = malloc(size + 1);

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    fuzz_file(text, size);
    fuzz_place(text);
    free(text);
    return 0;
}
