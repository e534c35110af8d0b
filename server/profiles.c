/*
 * profiles.c - see profiles.h.
 */
#include "server/profiles.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/lru_table.h"
#include "core/thread.h"

#define BUCKETS 128u

struct kept {
    struct ramet_lru_link link; /* first */
    struct ramet_vid volume;
    char name[RAMET_NAME_MAX + 1];
    uint64_t read_ms;
    size_t len; /* 0: there is none */
    uint8_t object[];
};

struct ramet_profiles {
    const struct ramet_os *os;
    struct ramet_mutex mutex; /* all that follows */
    uint64_t forgotten;       /* how often: invariant (3) */
    struct ramet_lru_link *buckets[BUCKETS];
    struct ramet_lru_table table; /* each costs 1 */
};

struct ramet_profiles *
ramet_profiles_new(const struct ramet_os *os)
{
    struct ramet_profiles *const profiles = ramet_calloc(1, sizeof(*profiles));

    assert(os != NULL);
    if (profiles == NULL)
        return NULL;
    profiles->os = os;
    ramet_mutex_init(&profiles->mutex);
    ramet_lru_table_init(&profiles->table, profiles->buckets, BUCKETS);
    return profiles;
}

static void
drop(struct ramet_profiles *profiles, struct kept *kept)
{
    ramet_lru_table_remove(&profiles->table, &kept->link);
    ramet_free(kept);
}

static struct kept *
oldest(const struct ramet_profiles *profiles)
{
    return (struct kept *)profiles->table.oldest;
}

void
ramet_profiles_free(struct ramet_profiles *profiles)
{
    if (profiles == NULL)
        return;
    while (oldest(profiles) != NULL)
        drop(profiles, oldest(profiles));
    ramet_mutex_done(&profiles->mutex);
    ramet_free(profiles);
}

static uint64_t
now_ms(const struct ramet_profiles *profiles)
{
    return profiles->os->mono_ns(profiles->os->ctx) / 1000000u;
}

static uint64_t
hash_of(const struct ramet_vid *volume, const char *name)
{
    return ramet_hash64_seeded(
        name, strlen(name),
        ramet_hash64(volume->id.bytes, sizeof(volume->id.bytes)));
}

/* NULL: it is not kept. Under the mutex. */
static struct kept *
find(const struct ramet_profiles *profiles, const struct ramet_vid *volume,
     const char *name)
{
    struct ramet_lru_link *link =
        ramet_lru_table_first(&profiles->table, hash_of(volume, name));

    for (; link != NULL; link = ramet_lru_table_next(link)) {
        struct kept *const kept = (struct kept *)link;

        if (strcmp(kept->name, name) == 0 &&
            ramet_id_compare(&kept->volume.id, &volume->id) == 0)
            return kept;
    }
    return NULL;
}

/* False: it is to be read; *out_forgotten as keep() wants it. */
static bool
take(struct ramet_profiles *profiles, const struct ramet_vid *volume,
     const char *name, uint8_t *out, size_t *out_len, uint64_t *out_forgotten)
{
    const uint64_t now = now_ms(profiles);
    struct kept *kept;
    bool found = false;

    ramet_mutex_lock(&profiles->mutex);
    kept = find(profiles, volume, name);
    if (kept != NULL && now - kept->read_ms < RAMET_PROFILES_FRESH_MS) {
        assert(kept->len <= RAMET_PROFILE_OBJECT_MAX);
        memcpy(out, kept->object, kept->len);
        *out_len = kept->len;
        ramet_lru_table_use(&profiles->table, &kept->link);
        found = true;
    }
    *out_forgotten = profiles->forgotten;
    ramet_mutex_unlock(&profiles->mutex);
    return found;
}

/* Without memory it is read again the next time. */
static void
keep(struct ramet_profiles *profiles, const struct ramet_vid *volume,
     const char *name, const uint8_t *object, size_t len, uint64_t read_ms,
     uint64_t forgotten)
{
    struct kept *const kept = ramet_alloc(sizeof(*kept) + len);
    struct kept *before;

    assert(len <= RAMET_PROFILE_OBJECT_MAX);
    if (kept == NULL)
        return;
    *kept = (struct kept){.volume = *volume, .read_ms = read_ms, .len = len};
    memcpy(kept->name, name, strlen(name) + 1);
    memcpy(kept->object, object, len);
    ramet_mutex_lock(&profiles->mutex);
    if (profiles->forgotten != forgotten) { /* invariant (3) */
        ramet_mutex_unlock(&profiles->mutex);
        ramet_free(kept);
        return;
    }
    before = find(profiles, volume, name);
    if (before == NULL && profiles->table.bytes == RAMET_PROFILES_MAX)
        before = oldest(profiles); /* invariant (2) */
    if (before != NULL)
        drop(profiles, before);
    ramet_lru_table_add(&profiles->table, &kept->link, hash_of(volume, name),
                        1);
    ramet_mutex_unlock(&profiles->mutex);
}

enum ramet_rc
ramet_profiles_read(struct ramet_profiles *profiles,
                    struct ramet_objstore *store,
                    const struct ramet_vid *volume, const char *name,
                    uint8_t *out, size_t *out_len, struct ramet_err *err)
{
    const uint64_t began_ms = now_ms(profiles);
    uint64_t forgotten;
    enum ramet_rc rc;

    assert(ramet_name_valid(name));
    if (take(profiles, volume, name, out, out_len, &forgotten))
        return RAMET_OK;
    rc = ramet_profile_read_object(store, volume, name, out, out_len, err);
    if (rc == RAMET_OK)
        keep(profiles, volume, name, out, *out_len, began_ms, forgotten);
    return rc;
}

void
ramet_profiles_forget(struct ramet_profiles *profiles,
                      const struct ramet_vid *volume, const char *name)
{
    struct kept *kept;

    ramet_mutex_lock(&profiles->mutex);
    kept = find(profiles, volume, name);
    if (kept != NULL)
        drop(profiles, kept);
    profiles->forgotten++;
    ramet_mutex_unlock(&profiles->mutex);
}
