/*
 * profile_store.c - profiles in a store: the highest number of a name counts, and
 * is the first in a list; see profile.h.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "metastore/profile.h"

#define KEYS_MAX 1024u /* of a name: more are nobody's doing here */

static void
prefix_of(const struct ramet_vid *volume, const char *name,
          char out[RAMET_KEY_MAX])
{
    char id[RAMET_ID_TEXT_SIZE];

    assert(name[0] == '\0' || ramet_name_valid(name));
    ramet_id_format(&volume->id, id);
    (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/profiles/%s%s", id, name,
                   name[0] != '\0' ? "/" : "");
}

void
ramet_profile_key(const struct ramet_vid *volume, const char *name,
                  uint64_t seq, char out[RAMET_KEY_MAX])
{
    char id[RAMET_ID_TEXT_SIZE];

    assert(strlen(name) <= RAMET_NAME_MAX);
    ramet_id_format(&volume->id, id);
    (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/profiles/%s/%016" PRIx64, id,
                   name, ~seq);
}

/* "volumes/<vid>/profiles/<name>/<~seq>" behind a prefix without a name. */
static bool
parse_key(const struct ramet_vid *volume, const char *key, size_t prefix_len,
          char out_name[RAMET_NAME_MAX + 1], uint64_t *out_seq)
{
    const char *const start = key + prefix_len;
    const char *const slash = strchr(start, '/');
    char expected[RAMET_KEY_MAX];

    assert(strlen(key) >= prefix_len);
    if (slash == NULL || slash - start > (ptrdiff_t)RAMET_NAME_MAX)
        return false;
    memcpy(out_name, start, (size_t)(slash - start));
    out_name[slash - start] = '\0';
    *out_seq = ~(uint64_t)strtoull(slash + 1, NULL, 16);
    ramet_profile_key(volume, out_name, *out_seq, expected);
    return ramet_name_valid(out_name) && *out_seq > 0 &&
           strcmp(expected, key) == 0;
}

/* ---- lists --------------------------------------------------------------------- */

struct listed {
    char name[RAMET_NAME_MAX + 1];
    uint64_t seq;
};

struct listing {
    const struct ramet_vid *volume;
    size_t prefix_len;
    struct listed *items;
    size_t count, max;
    bool newest_only; /* of each name */
    bool is_full;
};

static bool
take_key(void *ctx, const char *key, uint64_t size_bytes)
{
    struct listing *const list = ctx;
    struct listed item;

    assert(list->count <= list->max && !list->is_full);
    (void)size_bytes;
    if (!parse_key(list->volume, key, list->prefix_len, item.name, &item.seq))
        return true;
    if (list->newest_only && list->count > 0 &&
        strcmp(list->items[list->count - 1].name, item.name) == 0)
        return true;
    list->is_full = list->count == list->max;
    if (list->is_full)
        return false;
    list->items[list->count++] = item;
    return true;
}

/* Keys of `name`, or of all where it is "". `list->items` is the caller's. */
static enum ramet_rc
list_keys(struct ramet_objstore *store, const struct ramet_vid *volume,
          const char *name, size_t max, bool newest_only, struct listing *list,
          struct ramet_err *err)
{
    char prefix[RAMET_KEY_MAX];

    assert(max > 0);
    *list = (struct listing){
        .volume = volume, .max = max, .newest_only = newest_only};
    prefix_of(volume, "", prefix);
    list->prefix_len = strlen(prefix);
    list->items = ramet_alloc(max * sizeof(*list->items));
    if (list->items == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "list of profiles");
    prefix_of(volume, name, prefix);
    return ramet_objstore_list(store, prefix, "", take_key, list, err);
}

static enum ramet_rc
newest_seq(struct ramet_objstore *store, const struct ramet_vid *volume,
           const char *name, uint64_t *out_seq, struct ramet_err *err)
{
    char prefix[RAMET_KEY_MAX], key[RAMET_KEY_MAX], all[RAMET_KEY_MAX];
    char found[RAMET_NAME_MAX + 1];
    struct ramet_hash told;
    enum ramet_rc rc;

    assert(ramet_name_valid(name));
    *out_seq = 0;
    prefix_of(volume, name, prefix);
    rc = ramet_objstore_first(store, prefix, key, &told, err);
    if (rc != RAMET_OK || key[0] == '\0')
        return rc;
    prefix_of(volume, "", all);
    if (!parse_key(volume, key, strlen(all), found, out_seq))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: does not belong to a profile", key);
    return RAMET_OK;
}

/* ---- read ---------------------------------------------------------------------- */

static enum ramet_rc
read_object(struct ramet_objstore *store, const struct ramet_vid *volume,
            const char *name, uint64_t seq, uint8_t *out, size_t *out_len,
            struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];

    assert(seq > 0);
    ramet_profile_key(volume, name, seq, key);
    return ramet_objstore_read(store, key, 0, out, RAMET_PROFILE_OBJECT_MAX,
                               out_len, err);
}

enum ramet_rc
ramet_profile_read_object(struct ramet_objstore *store,
                          const struct ramet_vid *volume, const char *name,
                          uint8_t *out, size_t *out_len, struct ramet_err *err)
{
    uint64_t seq;
    enum ramet_rc rc = newest_seq(store, volume, name, &seq, err);

    *out_len = 0;
    if (rc == RAMET_OK && seq > 0)
        rc = read_object(store, volume, name, seq, out, out_len, err);
    return rc;
}

static enum ramet_rc
read_seq(struct ramet_objstore *store, const struct ramet_vid *volume,
         const char *name, uint64_t seq, struct ramet_profile *profile,
         struct ramet_err *err)
{
    uint8_t *const object = ramet_alloc(RAMET_PROFILE_OBJECT_MAX);
    size_t len = 0;
    enum ramet_rc rc;

    assert(seq > 0);
    if (object == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "profile %s", name);
    rc = read_object(store, volume, name, seq, object, &len, err);
    if (rc == RAMET_OK)
        rc = ramet_profile_decode(volume, name, object, len, profile, err);
    if (rc == RAMET_OK && profile->seq != seq) {
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "profile %s: has the number of another", name);
        ramet_profile_done(profile);
    }
    profile->seq = seq;
    ramet_free(object);
    return rc;
}

enum ramet_rc
ramet_profile_read(struct ramet_objstore *store, const struct ramet_vid *volume,
                   const char *name, struct ramet_profile *profile,
                   struct ramet_err *err)
{
    uint64_t seq;
    enum ramet_rc rc = newest_seq(store, volume, name, &seq, err);

    assert(profile != NULL);
    if (rc == RAMET_OK && seq > 0)
        rc = read_seq(store, volume, name, seq, profile, err);
    return rc;
}

enum ramet_rc
ramet_profile_list(struct ramet_objstore *store, const struct ramet_vid *volume,
                   ramet_profile_visit *visit, void *ctx, struct ramet_err *err)
{
    struct listing list;
    bool more = true;
    enum ramet_rc rc =
        list_keys(store, volume, "", RAMET_PROFILE_NAMES_MAX, true, &list, err);

    assert(visit != NULL);
    for (size_t i = 0; rc == RAMET_OK && more && i < list.count; i++) {
        const struct listed *const item = &list.items[i];
        struct ramet_profile profile;
        struct ramet_err why = {.code = RAMET_OK};
        enum ramet_rc read;

        ramet_profile_init(&profile);
        read = read_seq(store, volume, item->name, item->seq, &profile, &why);
        if (read == RAMET_OK || read == RAMET_ECORRUPT ||
            read == RAMET_EVERSION)
            more = visit(ctx, item->name, &profile, read, &why);
        else if (read != RAMET_ENOTFOUND) { /* else it was just replaced */
            rc = read;
            if (err != NULL)
                *err = why;
        }
        ramet_profile_done(&profile);
    }
    ramet_free(list.items);
    return rc;
}

/* ---- write --------------------------------------------------------------------- */

/* Is there room for one more name, unless it is there already? */
static enum ramet_rc
check_room(struct ramet_objstore *store, const struct ramet_vid *volume,
           const char *name, struct ramet_err *err)
{
    struct listing list;
    bool is_there = false;
    enum ramet_rc rc =
        list_keys(store, volume, "", RAMET_PROFILE_NAMES_MAX, true, &list, err);

    assert(ramet_name_valid(name));
    for (size_t i = 0; rc == RAMET_OK && i < list.count; i++)
        is_there = is_there || strcmp(list.items[i].name, name) == 0;
    if (rc == RAMET_OK && !is_there && list.count == RAMET_PROFILE_NAMES_MAX)
        rc = RAMET_FAIL(err, RAMET_ETOOBIG,
                        "the volume has %u profiles, which is the most; delete "
                        "some",
                        RAMET_PROFILE_NAMES_MAX);
    ramet_free(list.items);
    return rc;
}

/* Those of that name up to `last`; that they stay is nobody's failure. */
static enum ramet_rc
remove_upto(struct ramet_objstore *store, const struct ramet_vid *volume,
            const char *name, uint64_t last, size_t *out_count,
            struct ramet_err *err)
{
    struct listing list;
    enum ramet_rc rc =
        list_keys(store, volume, name, KEYS_MAX, false, &list, err);

    assert(ramet_name_valid(name) && out_count != NULL);
    *out_count = 0;
    for (size_t i = 0; rc == RAMET_OK && i < list.count; i++) {
        char key[RAMET_KEY_MAX];

        if (list.items[i].seq > last)
            continue;
        ramet_profile_key(volume, name, list.items[i].seq, key);
        rc = ramet_objstore_remove(store, key, err);
        *out_count += rc == RAMET_OK;
    }
    ramet_free(list.items);
    return rc;
}

enum ramet_rc
ramet_profile_write(struct ramet_objstore *store,
                    const struct ramet_vid *volume, const char *name,
                    struct ramet_profile *profile, struct ramet_err *err)
{
    struct ramet_buf object;
    char key[RAMET_KEY_MAX];
    size_t removed;
    enum ramet_rc rc;

    if (profile->seq == UINT64_MAX) /* by hostile hands: nobody counts so far */
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "profile %s: there is no number after its own", name);
    rc = profile->seq == 0 ? check_room(store, volume, name, err) : RAMET_OK;
    if (rc != RAMET_OK)
        return rc;
    profile->seq++;
    assert(profile->seq >= 1);
    ramet_buf_init(&object, RAMET_PROFILE_OBJECT_MAX);
    rc = ramet_profile_encode(volume, name, profile, &object);
    ramet_profile_key(volume, name, profile->seq, key);
    if (rc == RAMET_OK) {
        const struct iovec part = {object.data, object.len};

        rc = ramet_objstore_put(store, key, &part, 1, err);
    }
    ramet_buf_done(&object);
    if (rc == RAMET_OK && profile->seq > 1 &&
        remove_upto(store, volume, name, profile->seq - 1, &removed, NULL) !=
            RAMET_OK)
        return RAMET_OK; /* whoever writes next takes them away */
    return rc;
}

enum ramet_rc
ramet_profile_follows(struct ramet_objstore *store,
                      const struct ramet_vid *volume, const char *name,
                      uint64_t seq, struct ramet_err *err)
{
    uint64_t newest;
    enum ramet_rc rc = newest_seq(store, volume, name, &newest, err);

    if (rc != RAMET_OK)
        return rc;
    if (seq <= newest)
        return RAMET_FAIL(err, RAMET_EEXIST,
                          "profile %s is at number %" PRIu64 " already", name,
                          newest);
    if (seq - newest != 1)
        return RAMET_FAIL(err, RAMET_ECONFLICT,
                          "profile %s is at number %" PRIu64
                          ", and the next is one more",
                          name, newest);
    assert(seq == newest + 1);
    return newest > 0 ? RAMET_OK : check_room(store, volume, name, err);
}

enum ramet_rc
ramet_profile_remove(struct ramet_objstore *store,
                     const struct ramet_vid *volume, const char *name,
                     struct ramet_err *err)
{
    size_t removed;
    const enum ramet_rc rc =
        remove_upto(store, volume, name, UINT64_MAX, &removed, err);

    assert(ramet_name_valid(name));
    if (rc == RAMET_OK && removed == 0)
        return RAMET_FAIL(err, RAMET_ENOTFOUND, "there is no profile \"%s\"",
                          name);
    return rc;
}

/* ---- copy ---------------------------------------------------------------------- */

struct copying {
    struct ramet_objstore *to;
    const struct ramet_vid *volume;
    enum ramet_rc rc;
    struct ramet_err *err;
};

static bool
copy_one(void *ctx, const char *name, const struct ramet_profile *profile,
         enum ramet_rc rc, const struct ramet_err *err)
{
    struct copying *const copying = ctx;
    struct ramet_profile there, copy;

    assert(copying->rc == RAMET_OK);
    (void)err;
    if (rc != RAMET_OK)
        return true; /* a malformed hint stays where it is */
    ramet_profile_init(&there);
    rc = ramet_profile_read(copying->to, copying->volume, name, &there,
                            copying->err);
    if (rc == RAMET_ECORRUPT) /* ours goes over it */
        rc = RAMET_OK;
    if (rc == RAMET_OK &&
        (there.seq == 0 || there.time_ms < profile->time_ms)) {
        copy = *profile; /* its sets are borrowed */
        copy.seq = there.seq;
        rc = ramet_profile_write(copying->to, copying->volume, name, &copy,
                                 copying->err);
    }
    ramet_profile_done(&there);
    if (rc == RAMET_EEXIST || rc == RAMET_EVERSION || rc == RAMET_ETOOBIG)
        rc = RAMET_OK; /* there is another there, or no room for one more */
    copying->rc = rc;
    return copying->rc == RAMET_OK;
}

enum ramet_rc
ramet_profile_copy(struct ramet_objstore *from, struct ramet_objstore *to,
                   const struct ramet_vid *volume, struct ramet_err *err)
{
    struct copying copying = {
        .to = to, .volume = volume, .rc = RAMET_OK, .err = err};
    const enum ramet_rc rc =
        ramet_profile_list(from, volume, copy_one, &copying, err);

    assert(from != to);
    return rc != RAMET_OK ? rc : copying.rc;
}
