/*
 * name_object.c - see name_object.h.
 */
#include "metastore/name_object.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/hash.h"

#define NAME_MAGIC "RAMTNAM\x01"

static bool
is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool
ramet_name_valid(const char *name)
{
    const size_t len = strlen(name);

    assert(name != NULL);
    if (len == 0 || len > RAMET_NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_name_char(name[i]))
            return false;
    }
    return true;
}

void
ramet_name_key(const char *name, uint64_t seq, char out[RAMET_KEY_MAX])
{
    assert(seq > 0 && strlen(name) <= RAMET_NAME_MAX);
    snprintf(out, RAMET_KEY_MAX, "names/%s/%016" PRIx64, name, ~seq);
}

static struct ramet_hash
name_hash(const char *name, const uint8_t *object)
{
    uint8_t bytes[RAMET_NAME_MAX + 32];
    const size_t len = strlen(name);

    assert(len <= RAMET_NAME_MAX);
    memcpy(bytes, name, len);
    memcpy(bytes + len, object, 32);
    return ramet_hash128(bytes, len + 32);
}

void
ramet_name_encode(const char *name, uint64_t seq,
                  const struct ramet_vid *volume,
                  uint8_t out[RAMET_NAME_OBJECT_SIZE])
{
    struct ramet_hash hash;

    assert(seq > 0 && ramet_name_valid(name));
    memcpy(out, NAME_MAGIC, 8);
    ramet_put_le64(out + 8, seq);
    memcpy(out + 16, &volume->id, RAMET_ID_SIZE);
    hash = name_hash(name, out);
    memcpy(out + 32, &hash, RAMET_HASH_SIZE);
}

enum ramet_rc
ramet_name_read(struct ramet_objstore *store, const char *name, uint64_t seq,
                struct ramet_vid *out_volume, struct ramet_err *err)
{
    uint8_t object[RAMET_NAME_OBJECT_SIZE + 1];
    struct ramet_hash hash;
    char key[RAMET_KEY_MAX];
    size_t got = 0;
    enum ramet_rc rc;

    assert(ramet_name_valid(name) && seq > 0);
    ramet_name_key(name, seq, key);
    rc = ramet_objstore_read(store, key, 0, object, sizeof(object), &got, err);
    if (rc != RAMET_OK)
        return rc;
    if (got >= 8 && memcmp(object, NAME_MAGIC, 7) == 0 &&
        object[7] != NAME_MAGIC[7])
        return RAMET_FAIL(err, RAMET_EVERSION, "%s: version %u", key,
                          object[7]);
    if (got != RAMET_NAME_OBJECT_SIZE)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: %zu bytes", key, got);
    hash = name_hash(name, object);
    if (memcmp(object, NAME_MAGIC, 8) != 0 ||
        ramet_get_le64(object + 8) != seq ||
        memcmp(object + 32, &hash, RAMET_HASH_SIZE) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: damaged", key);
    memcpy(&out_volume->id, object + 16, RAMET_ID_SIZE);
    return RAMET_OK;
}

bool
ramet_name_key_parse(const char *key, char name[RAMET_NAME_MAX + 1],
                     uint64_t *out_seq)
{
    const char *const start = key + strlen("names/");
    const char *const slash = strchr(start, '/');
    char expected[RAMET_KEY_MAX];
    uint64_t seq;

    assert(strncmp(key, "names/", strlen("names/")) == 0);
    if (slash == NULL || slash - start > (ptrdiff_t)RAMET_NAME_MAX)
        return false;
    memcpy(name, start, (size_t)(slash - start));
    name[slash - start] = '\0';
    if (!ramet_name_valid(name))
        return false;
    seq = ~(uint64_t)strtoull(slash + 1, NULL, 16);
    if (seq == 0)
        return false;
    ramet_name_key(name, seq, expected);
    if (strcmp(expected, key) != 0)
        return false;
    *out_seq = seq;
    return true;
}
