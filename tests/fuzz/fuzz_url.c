/*
 * fuzz_url.c - hostile text as a remote URL and as a point in time.
 *
 * What is accepted has a normal form, which is accepted again and means the
 * same but for the snapshot, and is its own normal form.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/remote.h"
#include "client/store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_url: %s\n", what);
        abort();
    }
}

static void
fuzz_time(const char *text)
{
    char back[32];
    uint64_t ms;
    uint64_t again;

    if (!ramet_time_parse(text, &ms))
        return;
    ramet_time_format(ms, back);
    if (ms <= 253402300799999u) {
        require(ramet_time_parse(back, &again), "a time that can't be read");
        require(again == ms, "another time");
    }
}

static void
fuzz_url(const char *text)
{
    struct ramet_url url;
    struct ramet_url again;
    struct ramet_err err;
    char normal[4 * RAMET_URL_MAX];
    char second[4 * RAMET_URL_MAX];

    if (ramet_url_parse(text, &url, &err) != RAMET_OK)
        return;
    require(!(url.has_lsn && url.has_time), "two snapshots");
    ramet_url_format(&url, normal, sizeof(normal));
    require(strlen(normal) < RAMET_URL_MAX, "too long a normal form");
    require(ramet_url_parse(normal, &again, &err) == RAMET_OK, err.text);
    require(strcmp(url.root, again.root) == 0, "another root");
    require(strcmp(url.name, again.name) == 0, "another name");
    require(strcmp(url.query, again.query) == 0, "another query");
    ramet_url_format(&again, second, sizeof(second));
    require(strcmp(normal, second) == 0, "another normal form");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *const text = malloc(size + 1);

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    fuzz_url(text);
    fuzz_time(text);
    free(text);
    return 0;
}
