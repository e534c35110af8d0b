/*
 * http_shadow.c - see http_shadow.h.
 */
#include "client/remote/http_shadow.h"

#include <assert.h>

#include "core/alloc.h"
#include "core/thread.h"

#define SHADOWS_MAX 16u
#define CACHE_BYTES (1u << 20)

struct ramet_shadow {
    struct ramet_shadow *next;
    struct ramet_vid volume;
    unsigned users;
    uint64_t last_used; /* a count */
    struct ramet_history *history;
    struct ramet_known known;
};

struct shadow_store {
    struct ramet_objstore store;
    struct ramet_ranges *ranges;
};

struct ramet_shadows {
    struct shadow_store store;
    struct ramet_mutex lock;
    struct ramet_shadow *first; /* lock, as all that follows */
    unsigned count;
    uint64_t uses;
};

static enum ramet_rc
shadow_read(struct ramet_objstore *store, const char *key, uint64_t offset,
            void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct shadow_store *shadow = (struct shadow_store *)store;

    assert(shadow->ranges != NULL);
    if (ramet_ranges_get(shadow->ranges, key, offset, buf, len, out_got))
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_EUNREACHABLE, "%s: was not sent ahead", key);
}

static void
shadow_refresh(struct ramet_objstore *store, const char *key)
{
    (void)key;
    ramet_ranges_clear(((struct shadow_store *)store)->ranges);
}

/* Histories only read here. */
static const struct ramet_objstore_ops shadow_ops = {.read = shadow_read,
                                                     .refresh = shadow_refresh};

struct ramet_shadows *
ramet_shadows_new(struct ramet_ranges *ranges, const char *name)
{
    struct ramet_shadows *const shadows = ramet_calloc(1, sizeof(*shadows));

    assert(ranges != NULL);
    if (shadows == NULL)
        return NULL;
    shadows->store.store = (struct ramet_objstore){
        .ops = &shadow_ops,
        .traits = RAMET_STORE_LISTS_CHEAPLY | RAMET_STORE_MAKES_MAPS |
                  RAMET_STORE_SENDS_AHEAD,
        .name = name,
    };
    shadows->store.ranges = ranges;
    ramet_mutex_init(&shadows->lock);
    return shadows;
}

static void
free_shadow(struct ramet_shadow *shadow)
{
    assert(shadow->users == 0);
    ramet_history_close(shadow->history);
    ramet_known_done(&shadow->known);
    ramet_free(shadow);
}

void
ramet_shadows_free(struct ramet_shadows *shadows)
{
    if (shadows == NULL)
        return;
    while (shadows->first != NULL) {
        struct ramet_shadow *shadow = shadows->first;

        shadows->first = shadow->next;
        free_shadow(shadow);
    }
    assert(shadows->first == NULL);
    ramet_mutex_done(&shadows->lock);
    ramet_free(shadows);
}

void
ramet_shadows_forget(struct ramet_shadows *shadows,
                     const struct ramet_vid *volume)
{
    ramet_mutex_lock(&shadows->lock);
    for (struct ramet_shadow *s = shadows->first; s != NULL; s = s->next) {
        if (ramet_id_compare(&s->volume.id, &volume->id) == 0) {
            ramet_history_forget(s->history);
            ramet_known_forget(&s->known);
        }
    }
    ramet_mutex_unlock(&shadows->lock);
}

/* With the lock held. */
static void
drop_oldest(struct ramet_shadows *shadows)
{
    struct ramet_shadow **oldest = NULL;

    for (struct ramet_shadow **link = &shadows->first; *link != NULL;
         link = &(*link)->next) {
        if ((*link)->users == 0 &&
            (oldest == NULL || (*link)->last_used < (*oldest)->last_used))
            oldest = link;
    }
    assert(oldest == NULL || (*oldest)->users == 0);
    if (oldest != NULL) {
        struct ramet_shadow *shadow = *oldest;

        *oldest = shadow->next;
        shadows->count--;
        free_shadow(shadow);
    }
}

/* With the lock held; NULL on no memory. */
static struct ramet_shadow *
add_shadow(struct ramet_shadows *shadows, const struct ramet_vid *volume)
{
    const struct ramet_history_options options = {.cache_bytes = CACHE_BYTES};
    struct ramet_shadow *shadow;

    if (shadows->count >= SHADOWS_MAX)
        drop_oldest(shadows);
    shadow = ramet_calloc(1, sizeof(*shadow));
    if (shadow == NULL)
        return NULL;
    if (ramet_history_open(&shadows->store.store, volume, &options,
                           &shadow->history, NULL) != RAMET_OK) {
        ramet_free(shadow);
        return NULL;
    }
    assert(shadow->history != NULL && shadow->users == 0);
    shadow->volume = *volume;
    ramet_known_init(&shadow->known, shadows->store.ranges);
    shadow->next = shadows->first;
    shadows->first = shadow;
    shadows->count++;
    return shadow;
}

struct ramet_shadow *
ramet_shadow_take(struct ramet_shadows *shadows, const struct ramet_vid *volume)
{
    struct ramet_shadow *shadow;

    ramet_mutex_lock(&shadows->lock);
    for (shadow = shadows->first; shadow != NULL; shadow = shadow->next) {
        if (ramet_id_compare(&shadow->volume.id, &volume->id) == 0)
            break;
    }
    if (shadow == NULL)
        shadow = add_shadow(shadows, volume);
    if (shadow != NULL) {
        shadow->users++;
        shadow->last_used = ++shadows->uses;
    }
    ramet_mutex_unlock(&shadows->lock);
    return shadow;
}

void
ramet_shadow_give(struct ramet_shadows *shadows, struct ramet_shadow *shadow)
{
    if (shadow == NULL)
        return;
    ramet_mutex_lock(&shadows->lock);
    assert(shadow->users > 0);
    shadow->users--;
    ramet_mutex_unlock(&shadows->lock);
}

struct ramet_history *
ramet_shadow_history(struct ramet_shadow *shadow)
{
    return shadow->history;
}

struct ramet_known *
ramet_shadow_known(struct ramet_shadow *shadow)
{
    return &shadow->known;
}
