/*
 * catalog_ended.c - was a volume deleted? See catalog.h.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/catalog.h"
#include "metastore/commit.h"

/* Where an end is looked for: what late writers left above it, and it. */
#define END_LOOKS_MAX 16u

/* The newest few keys of commits. */
struct newest_keys {
    char keys[END_LOOKS_MAX][RAMET_KEY_MAX];
    size_t count;
};

static bool
take_newest(void *ctx, const char *key, uint64_t size_bytes)
{
    struct newest_keys *const newest = ctx;

    assert(newest->count < END_LOOKS_MAX);
    (void)size_bytes;
    snprintf(newest->keys[newest->count++], RAMET_KEY_MAX, "%s", key);
    return newest->count < END_LOOKS_MAX;
}

/* *out_there: it can be read; a server gives nothing of a deleted volume, though
 * its keys are listed. */
static enum ramet_rc
is_end(struct ramet_objstore *store, const struct ramet_vid *volume,
       const char *key, bool *out_is, bool *out_there, struct ramet_err *err)
{
    const uint64_t lsn = ~(uint64_t)strtoull(strrchr(key, '/') + 1, NULL, 16);
    uint8_t core[RAMET_COMMIT_CORE_SIZE];
    struct ramet_commit_object commit;
    struct ramet_hash hash;
    size_t got = 0;
    enum ramet_rc rc;

    assert(strrchr(key, '/') != NULL);
    *out_is = false;
    *out_there = false;
    rc = ramet_objstore_read(store, key, 0, core, sizeof(core), &got, err);
    if (rc == RAMET_ENOTFOUND)
        return RAMET_OK;
    *out_there = rc == RAMET_OK;
    if (rc == RAMET_OK && got == sizeof(core) &&
        ramet_commit_decode_core(core, volume, lsn, &commit, &hash, NULL) ==
            RAMET_OK)
        *out_is = commit.role == RAMET_COMMIT_END;
    return rc;
}

/* *out_any: a commit can be read, whatever it is. */
static enum ramet_rc
find_end(struct ramet_objstore *store, const struct ramet_vid *volume,
         char out_key[RAMET_KEY_MAX], bool *out_any, struct ramet_err *err)
{
    struct newest_keys *const newest = ramet_alloc(sizeof(*newest));
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];
    bool found = false;
    enum ramet_rc rc;

    out_key[0] = '\0';
    *out_any = false;
    if (newest == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "list of keys");
    newest->count = 0;
    ramet_id_format(&volume->id, vid);
    snprintf(prefix, sizeof(prefix), "volumes/%s/commits/", vid);
    rc = ramet_objstore_list(store, prefix, "", take_newest, newest, err);
    for (size_t i = 0; rc == RAMET_OK && !found && i < newest->count; i++) {
        bool there;

        rc = is_end(store, volume, newest->keys[i], &found, &there, err);
        *out_any |= there;
        if (rc == RAMET_OK && found)
            snprintf(out_key, RAMET_KEY_MAX, "%s", newest->keys[i]);
    }
    assert(newest->count <= END_LOOKS_MAX && found == (out_key[0] != '\0'));
    ramet_free(newest);
    return rc;
}

enum ramet_rc
ramet_catalog_find_end(struct ramet_objstore *store,
                       const struct ramet_vid *volume,
                       char out_key[RAMET_KEY_MAX], struct ramet_err *err)
{
    bool any;

    assert(out_key != NULL);
    return find_end(store, volume, out_key, &any, err);
}

static enum ramet_rc
has_first(struct ramet_objstore *store, const struct ramet_vid *volume,
          bool *out_has, struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    uint64_t size;
    enum ramet_rc rc;

    assert(out_has != NULL);
    ramet_commit_key(volume, 1, key);
    rc = ramet_objstore_size(store, key, &size, err);
    *out_has = rc == RAMET_OK;
    return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
}

enum ramet_rc
ramet_catalog_is_deleted(struct ramet_objstore *store,
                         const struct ramet_vid *volume, bool *out_deleted,
                         struct ramet_err *err)
{
    char end[RAMET_KEY_MAX] = "";
    bool has = false;
    enum ramet_rc rc = has_first(store, volume, &has, err);

    assert(out_deleted != NULL);
    if (rc == RAMET_OK && has)
        rc = ramet_catalog_find_end(store, volume, end, err);
    *out_deleted = !has || end[0] != '\0';
    return rc;
}

enum ramet_rc
ramet_catalog_is_ended(struct ramet_objstore *store,
                       const struct ramet_vid *volume, bool *out_ended,
                       struct ramet_err *err)
{
    char end[RAMET_KEY_MAX] = "";
    bool has = false;
    bool any = true;
    enum ramet_rc rc = has_first(store, volume, &has, err);

    assert(out_ended != NULL);
    if (rc == RAMET_OK && !has)
        rc = find_end(store, volume, end, &any, err);
    *out_ended = end[0] != '\0' || !any;
    return rc;
}
