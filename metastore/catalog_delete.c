/*
 * catalog_delete.c - the end of a volume; see catalog.h.
 *
 *   (1) First the volume's line is ended: a commit wins the next slot that
 *       nothing may follow, and that stays for ever. So no writer who was late
 *       revives it.
 *   (2) A volume whose commit 1 is gone is deleted. That one goes next, so that
 *       nobody takes what is left of the others for an older snapshot; then
 *       whoever deletes again finishes it, whatever is left.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/catalog.h"
#include "metastore/commit.h"
#include "metastore/head_cache.h"

#define DELETE_AT_ONCE 256u

/* A line that grows while it is to be ended is followed so often. */
#define END_TRIES_MAX 100u

struct key_batch {
    char keys[DELETE_AT_ONCE][RAMET_KEY_MAX];
    const char *names[DELETE_AT_ONCE];
    const char *but; /* this one stays */
    size_t count;
};

static bool
collect_key(void *ctx, const char *key, uint64_t size_bytes)
{
    struct key_batch *const batch = ctx;

    assert(batch->count < DELETE_AT_ONCE);
    (void)size_bytes;
    if (strcmp(key, batch->but) != 0)
        snprintf(batch->keys[batch->count++], RAMET_KEY_MAX, "%s", key);
    return batch->count < DELETE_AT_ONCE;
}

/* Until nothing is listed but `but`. */
static enum ramet_rc
remove_prefix(struct ramet_objstore *store, const char *prefix, const char *but,
              struct ramet_err *err)
{
    struct key_batch *const batch = ramet_alloc(sizeof(*batch));
    enum ramet_rc rc;

    assert(prefix[0] != '\0' && prefix[strlen(prefix) - 1] == '/');
    if (batch == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "list of keys");
    batch->but = but;
    do {
        batch->count = 0;
        rc = ramet_objstore_list(store, prefix, "", collect_key, batch, err);
        assert(batch->count <= DELETE_AT_ONCE);
        for (size_t i = 0; i < batch->count; i++)
            batch->names[i] = batch->keys[i];
        if (rc == RAMET_OK)
            rc = ramet_objstore_remove_many(store, batch->names, batch->count,
                                            err);
    } while (rc == RAMET_OK && batch->count > 0);
    ramet_free(batch);
    return rc;
}

/* ---- the end of the line ------------------------------------------------- */

/* The newest commit; lsn 0 of a volume that has none, or one that can't be read. */
static enum ramet_rc
find_newest(struct ramet_history *history, struct ramet_head *out_head,
            struct ramet_err *err)
{
    struct ramet_hash told;
    uint64_t lsn;
    enum ramet_rc rc;

    *out_head = (struct ramet_head){.lsn = 0};
    rc = ramet_history_find_newest(history, 0, &lsn, &told, err);
    if (rc == RAMET_OK && lsn > 0)
        rc = ramet_history_head(history, lsn, out_head, err);
    if (rc == RAMET_ECORRUPT || rc == RAMET_EVERSION || rc == RAMET_ENOTFOUND)
        return RAMET_OK; /* it goes all the same */
    return rc;
}

/* Once; *out_done unless somebody else won the slot. */
static enum ramet_rc
try_to_end(struct ramet_history *history, bool *out_done, struct ramet_err *err)
{
    struct ramet_head newest;
    struct ramet_buf object;
    enum ramet_rc rc;

    *out_done = true;
    rc = find_newest(history, &newest, err);
    if (rc != RAMET_OK || newest.lsn == 0 || newest.role == RAMET_COMMIT_END)
        return rc;
    assert(newest.lsn >= 1 && newest.role != RAMET_COMMIT_END);
    ramet_buf_init(&object, RAMET_COMMIT_HEAD_MAX);
    rc = ramet_history_encode_end(history, &newest, &object, err);
    if (rc == RAMET_OK)
        rc = ramet_history_append(history, object.data, object.len, NULL, err);
    ramet_buf_done(&object);
    /* Lost to a commit, or to another's end: look again. */
    *out_done = rc != RAMET_ECONFLICT && rc != RAMET_EWENTBACK;
    return *out_done ? rc : RAMET_OK;
}

/* Invariant (1). */
static enum ramet_rc
end_line(struct ramet_objstore *store, const struct ramet_vid *volume,
         struct ramet_err *err)
{
    struct ramet_history *history;
    bool done = false;
    enum ramet_rc rc;

    rc = ramet_history_open(store, volume, NULL, &history, err);
    if (rc != RAMET_OK)
        return rc;
    for (unsigned i = 0; rc == RAMET_OK && !done && i < END_TRIES_MAX; i++)
        rc = try_to_end(history, &done, err);
    if (rc == RAMET_OK && !done)
        rc = RAMET_FAIL(err, RAMET_EBUSY,
                        "others commit to the volume all the time");
    ramet_history_close(history);
    return rc;
}

/* ---- what else there is -------------------------------------------------- */

static bool
note_any(void *ctx, const char *key, uint64_t size_bytes)
{
    assert(ctx != NULL);
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

    assert(strlen(vid) == RAMET_ID_TEXT_SIZE - 1);
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

    assert(unbinding->rc == RAMET_OK); /* a failure ended the list */
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
remove_all(struct ramet_objstore *store, const struct ramet_vid *volume,
           struct ramet_err *err)
{
    static const char *const kinds[] = {"commits", "maps", "segments",
                                        "profiles"};
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX], end[RAMET_KEY_MAX];
    enum ramet_rc rc = ramet_catalog_find_end(store, volume, end, err);

    ramet_id_format(&volume->id, vid);
    for (size_t i = 0; rc == RAMET_OK && i < sizeof(kinds) / sizeof(kinds[0]);
         i++) {
        snprintf(prefix, sizeof(prefix), "volumes/%s/%s/", vid, kinds[i]);
        rc = remove_prefix(store, prefix, end, err);
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

    assert(!seeking->named);
    if (name[0] == '\0')
        return false;
    seeking->named = ramet_id_compare(&volume->id, &seeking->volume.id) == 0;
    return !seeking->named;
}

/* Whether there is one object, or more. */
struct other_keys {
    char first[RAMET_KEY_MAX];
    size_t count;
};

static bool
note_two(void *ctx, const char *key, uint64_t size_bytes)
{
    struct other_keys *const others = ctx;

    assert(others->count < 2);
    (void)size_bytes;
    if (others->count++ == 0)
        snprintf(others->first, sizeof(others->first), "%s", key);
    return others->count < 2;
}

enum ramet_rc
ramet_catalog_exists(struct ramet_objstore *store,
                     const struct ramet_vid *volume, bool *out_exists,
                     struct ramet_err *err)
{
    struct seeking seeking = {.volume = *volume};
    struct other_keys others = {.count = 0};
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];
    char end[RAMET_KEY_MAX] = "";
    bool any;
    enum ramet_rc rc;

    assert(out_exists != NULL);
    ramet_id_format(&volume->id, vid);
    snprintf(prefix, sizeof(prefix), "volumes/%s/", vid);
    rc = ramet_objstore_list(store, prefix, "", note_two, &others, err);
    if (rc == RAMET_OK && others.count == 1)
        rc = ramet_catalog_find_end(store, volume, end, err);
    any = others.count > 1 ||
          (others.count == 1 && strcmp(others.first, end) != 0);
    if (rc == RAMET_OK && !any)
        rc = ramet_catalog_list(store, is_this, &seeking, err);
    *out_exists = any || seeking.named;
    return rc;
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
    if (rc == RAMET_OK)
        rc = end_line(store, volume, err);
    return rc != RAMET_OK ? rc : ramet_objstore_remove(store, first, err);
}

enum ramet_rc
ramet_catalog_delete(struct ramet_objstore *store,
                     const struct ramet_vid *volume, struct ramet_err *err)
{
    char vid[RAMET_ID_TEXT_SIZE];
    enum ramet_rc rc;

    ramet_id_format(&volume->id, vid);
    rc = ramet_catalog_end(store, volume, err);
    if (rc == RAMET_OK)
        rc = unbind_all(store, volume, err);
    if (rc == RAMET_OK)
        rc = remove_all(store, volume, err);
    if (rc == RAMET_OK) /* somebody may have named it meanwhile */
        rc = unbind_all(store, volume, err);
    return rc;
}
