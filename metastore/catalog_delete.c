/*
 * catalog_delete.c - the end of a volume; see catalog.h.
 *
 *   (1) A volume whose commit 1 is gone is deleted. That one goes first, so that
 *       nobody takes what is left of the others for an older snapshot; then
 *       whoever deletes again finishes it, whatever is left.
 */
#include <inttypes.h>
#include <stdio.h>

#include "core/alloc.h"
#include "metastore/catalog.h"
#include "metastore/commit.h"

#define DELETE_AT_ONCE 256u

struct key_batch {
    char keys[DELETE_AT_ONCE][RAMET_KEY_MAX];
    const char *names[DELETE_AT_ONCE];
    size_t count;
};

static bool
collect_key(void *ctx, const char *key, uint64_t size_bytes)
{
    struct key_batch *const batch = ctx;

    (void)size_bytes;
    snprintf(batch->keys[batch->count++], RAMET_KEY_MAX, "%s", key);
    return batch->count < DELETE_AT_ONCE;
}

/* Until nothing is listed. */
static enum ramet_rc
remove_prefix(struct ramet_objstore *store, const char *prefix,
              struct ramet_err *err)
{
    struct key_batch *const batch = ramet_alloc(sizeof(*batch));
    enum ramet_rc rc;

    if (batch == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "list of keys");
    do {
        batch->count = 0;
        rc = ramet_objstore_list(store, prefix, "", collect_key, batch, err);
        for (size_t i = 0; i < batch->count; i++)
            batch->names[i] = batch->keys[i];
        if (rc == RAMET_OK)
            rc = ramet_objstore_remove_many(store, batch->names, batch->count,
                                            err);
    } while (rc == RAMET_OK && batch->count > 0);
    ramet_free(batch);
    return rc;
}

static bool
note_any(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    *(bool *)ctx = true;
    return false;
}

static enum ramet_rc
check_no_forks(struct ramet_objstore *store, const char *vid,
               struct ramet_err *err)
{
    char prefix[RAMET_KEY_MAX];
    bool any = false;
    enum ramet_rc rc;

    snprintf(prefix, sizeof(prefix), "volumes/%s/forks/", vid);
    rc = ramet_objstore_list(store, prefix, "", note_any, &any, err);
    if (rc == RAMET_OK && any)
        rc = RAMET_FAIL(err, RAMET_EBUSY,
                        "volume %s is needed by another that was made from it",
                        vid);
    return rc;
}

struct unbinding {
    struct ramet_objstore *store;
    struct ramet_vid volume;
    enum ramet_rc rc;
    struct ramet_err *err;
};

/* Names come before volumes without one. A name that can't be taken away any
 * more stays, and names nothing. */
static bool
unbind_this(void *ctx, const char *name, const struct ramet_vid *volume)
{
    struct unbinding *const unbinding = ctx;

    if (name[0] == '\0')
        return false;
    if (ramet_id_compare(&volume->id, &unbinding->volume.id) != 0)
        return true;
    unbinding->rc =
        ramet_catalog_unbind(unbinding->store, name, unbinding->err);
    if (unbinding->rc == RAMET_ETOOBIG)
        unbinding->rc = RAMET_OK;
    return unbinding->rc == RAMET_OK;
}

static enum ramet_rc
unbind_all(struct ramet_objstore *store, const struct ramet_vid *volume,
           struct ramet_err *err)
{
    struct unbinding unbinding = {
        .store = store, .volume = *volume, .err = err};
    const enum ramet_rc rc =
        ramet_catalog_list(store, unbind_this, &unbinding, err);

    return rc != RAMET_OK ? rc : unbinding.rc;
}

static enum ramet_rc
remove_all(struct ramet_objstore *store, const char *vid, struct ramet_err *err)
{
    static const char *const kinds[] = {"commits", "maps", "segments"};
    char prefix[RAMET_KEY_MAX];
    enum ramet_rc rc = RAMET_OK;

    for (size_t i = 0; rc == RAMET_OK && i < sizeof(kinds) / sizeof(kinds[0]);
         i++) {
        snprintf(prefix, sizeof(prefix), "volumes/%s/%s/", vid, kinds[i]);
        rc = remove_prefix(store, prefix, err);
    }
    return rc;
}

struct seeking {
    struct ramet_vid volume;
    bool named;
};

static bool
is_this(void *ctx, const char *name, const struct ramet_vid *volume)
{
    struct seeking *const seeking = ctx;

    if (name[0] == '\0')
        return false;
    seeking->named = ramet_id_compare(&volume->id, &seeking->volume.id) == 0;
    return !seeking->named;
}

enum ramet_rc
ramet_catalog_exists(struct ramet_objstore *store,
                     const struct ramet_vid *volume, bool *out_exists,
                     struct ramet_err *err)
{
    struct seeking seeking = {.volume = *volume};
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];
    bool any = false;
    enum ramet_rc rc;

    ramet_id_format(&volume->id, vid);
    snprintf(prefix, sizeof(prefix), "volumes/%s/", vid);
    rc = ramet_objstore_list(store, prefix, "", note_any, &any, err);
    if (rc == RAMET_OK && !any)
        rc = ramet_catalog_list(store, is_this, &seeking, err);
    *out_exists = any || seeking.named;
    return rc;
}

enum ramet_rc
ramet_catalog_has_commits(struct ramet_objstore *store,
                          const struct ramet_vid *volume, bool *out_has,
                          struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    uint64_t size;
    enum ramet_rc rc;

    ramet_commit_key(volume, 1, key);
    rc = ramet_objstore_size(store, key, &size, err);
    *out_has = rc == RAMET_OK;
    return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
}

enum ramet_rc
ramet_catalog_end(struct ramet_objstore *store, const struct ramet_vid *volume,
                  struct ramet_err *err)
{
    char vid[RAMET_ID_TEXT_SIZE], first[RAMET_KEY_MAX];
    enum ramet_rc rc;

    ramet_id_format(&volume->id, vid);
    ramet_commit_key(volume, 1, first);
    rc = check_no_forks(store, vid, err);
    return rc != RAMET_OK ? rc : ramet_objstore_remove(store, first, err);
}

enum ramet_rc
ramet_catalog_delete(struct ramet_objstore *store,
                     const struct ramet_vid *volume, struct ramet_err *err)
{
    char vid[RAMET_ID_TEXT_SIZE];
    enum ramet_rc rc;

    ramet_id_format(&volume->id, vid);
    rc = ramet_catalog_end(store, volume, err); /* invariant (1) */
    if (rc == RAMET_OK)
        rc = unbind_all(store, volume, err);
    if (rc == RAMET_OK)
        rc = remove_all(store, vid, err);
    if (rc == RAMET_OK) /* somebody may have named it meanwhile */
        rc = unbind_all(store, volume, err);
    return rc;
}
