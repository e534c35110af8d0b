/*
 * profiles.c - see profiles.h.
 */
#include "server/profiles.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"

struct kept {
    struct ramet_vid volume;
    char name[RAMET_NAME_MAX + 1]; /* "": free */
    uint64_t read_ms;
    uint64_t used;
    uint8_t *object; /* NULL: there is none */
    size_t len;
};

struct ramet_profiles {
    const struct ramet_os *os;
    struct ramet_mutex mutex; /* all that follows */
    uint64_t clock;           /* of uses */
    uint64_t forgotten;       /* how often: invariant (3) */
    struct kept kept[RAMET_PROFILES_MAX];
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
    return profiles;
}

static void
drop(struct kept *kept)
{
    ramet_free(kept->object);
    *kept = (struct kept){.object = NULL};
}

void
ramet_profiles_free(struct ramet_profiles *profiles)
{
    if (profiles == NULL)
        return;
    for (size_t i = 0; i < RAMET_PROFILES_MAX; i++)
        drop(&profiles->kept[i]);
    ramet_mutex_done(&profiles->mutex);
    ramet_free(profiles);
}

static uint64_t
now_ms(const struct ramet_profiles *profiles)
{
    return profiles->os->mono_ns(profiles->os->ctx) / 1000000u;
}

/* NULL: it is not kept. Under the mutex. */
static struct kept *
find(struct ramet_profiles *profiles, const struct ramet_vid *volume,
     const char *name)
{
    assert(name[0] != '\0');
    for (size_t i = 0; i < RAMET_PROFILES_MAX; i++) {
        struct kept *const kept = &profiles->kept[i];

        if (strcmp(kept->name, name) == 0 &&
            ramet_id_compare(&kept->volume.id, &volume->id) == 0)
            return kept;
    }
    return NULL;
}

/* Where the next is put: invariant (2). Under the mutex. */
static struct kept *
least_used(struct ramet_profiles *profiles)
{
    struct kept *least = &profiles->kept[0];

    for (size_t i = 1; i < RAMET_PROFILES_MAX; i++)
        if (profiles->kept[i].used < least->used)
            least = &profiles->kept[i];
    return least;
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
        if (kept->len > 0)
            memcpy(out, kept->object, kept->len);
        *out_len = kept->len;
        kept->used = ++profiles->clock;
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
    uint8_t *const copy = len > 0 ? ramet_alloc(len) : NULL;
    struct kept *kept;

    assert(len <= RAMET_PROFILE_OBJECT_MAX);
    if (len > 0 && copy == NULL)
        return;
    if (len > 0)
        memcpy(copy, object, len);
    ramet_mutex_lock(&profiles->mutex);
    if (profiles->forgotten != forgotten) { /* invariant (3) */
        ramet_mutex_unlock(&profiles->mutex);
        ramet_free(copy);
        return;
    }
    kept = find(profiles, volume, name);
    if (kept == NULL)
        kept = least_used(profiles);
    drop(kept);
    *kept = (struct kept){.volume = *volume,
                          .read_ms = read_ms,
                          .used = ++profiles->clock,
                          .object = copy,
                          .len = len};
    memcpy(kept->name, name, strlen(name) + 1);
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
        drop(kept);
    profiles->forgotten++;
    ramet_mutex_unlock(&profiles->mutex);
}
