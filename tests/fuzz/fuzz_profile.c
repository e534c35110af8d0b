/*
 * fuzz_profile.c - hostile bytes as a warm profile.
 *
 * The first byte chooses: as they are, or made well-hashed and of the right
 * volume first. What is accepted keeps its bounds, and is what it was made of.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/hash.h"
#include "metastore/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ramet_vid volume = {.id = {{0x11}}};

static void
require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_profile: %s\n", what);
        abort();
    }
}

static void
seal(uint8_t *object, size_t len)
{
    struct ramet_hash parts[2], hash;

    memcpy(object, "RAMTPRF\x01", 8);
    memcpy(object + 16, &volume, sizeof(volume));
    parts[0] = ramet_hash128("web", 3);
    parts[1] = ramet_hash128(object, len - RAMET_HASH_SIZE);
    hash = ramet_hash128(parts, sizeof(parts));
    memcpy(object + len - RAMET_HASH_SIZE, &hash, sizeof(hash));
}

static void
check(const struct ramet_profile *profile, const uint8_t *object, size_t len)
{
    struct ramet_buf again;

    require(profile->seq > 0 && profile->lsn > 0, "numbers");
    require(ramet_profile_pages(profile) <=
                ramet_profile_pages_max(profile->page_size),
            "too many pages");
    ramet_buf_init(&again, RAMET_PROFILE_OBJECT_MAX);
    require(ramet_profile_encode(&volume, "web", profile, &again) == RAMET_OK,
            "can't be encoded");
    require(again.len == len && memcmp(again.data, object, len) == 0,
            "two encodings");
    ramet_buf_done(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_err err = {.text = ""};
    struct ramet_profile profile;
    uint8_t *object;
    enum ramet_rc rc;

    if (size < 2 || size > 1u << 16)
        return 0;
    object = malloc(size - 1); /* exact, so that reading past it is found */
    if (object == NULL)
        return 0;
    memcpy(object, data + 1, size - 1);
    if (data[0] % 2 == 1 && size - 1 >= 74)
        seal(object, size - 1);
    ramet_profile_init(&profile);
    rc = ramet_profile_decode(&volume, "web", object, size - 1, &profile, &err);
    if (rc == RAMET_OK)
        check(&profile, object, size - 1);
    else
        require(rc == RAMET_ECORRUPT || rc == RAMET_EVERSION, "code");
    ramet_profile_done(&profile);
    free(object);
    return 0;
}
