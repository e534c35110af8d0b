/*
 * fuzz_s3_answers.c - hostile bytes as what services answer: S3's lists, errors
 * and ids, and credentials as XML and JSON.
 *
 * Whatever is accepted is whole: keys and tokens end, credentials have a name.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagestore/s3/key_answers.h"
#include "pagestore/s3/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_s3_answers: %s\n", what);
        abort();
    }
}

static bool
see(void *ctx, const char *key, uint64_t size_bytes)
{
    size_t *const count = ctx;

    (void)size_bytes;
    require(strlen(key) < RAMET_S3_LONG_KEY_MAX, "a key without end");
    return ++*count < 5;
}

static void
fuzz_listing(const uint8_t *data, size_t size)
{
    struct ramet_s3_listing *const l = calloc(1, sizeof(*l));
    size_t count = 0;

    if (l == NULL)
        return;
    l->visit = see;
    l->ctx = &count;
    if (ramet_s3_listing_parse(data, size, l, NULL) == RAMET_OK) {
        require(count <= 5, "visited after it had enough");
        require(!l->more || l->token[0] != '\0', "no way to go on");
    }
    free(l);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_s3_error error;
    struct ramet_s3_keys keys;
    char id[32];

    fuzz_listing(data, size);
    if (ramet_s3_error_parse(data, size, &error))
        require(error.code[0] != '\0', "an error without a code");
    (void)ramet_s3_field(data, size, "InitiateMultipartUploadResult/UploadId",
                         id, sizeof(id));
    if (ramet_s3_keys_from_json(data, size, &keys, NULL) == RAMET_OK)
        require(keys.access[0] != '\0', "credentials without a name");
    if (ramet_s3_keys_from_xml(data, size, &keys, NULL) == RAMET_OK)
        require(keys.access[0] != '\0', "credentials without a name");
    return 0;
}
