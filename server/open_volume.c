/*
 * open_volume.c - the volumes in use, their maps, and looking for the commits of
 * others; see open_volume.h for the contract.
 */
#include "server/open_volume_impl.h"

#include <assert.h>

#include "core/alloc.h"

#define HISTORY_CACHE_BYTES (512u << 10)

enum ramet_rc
ramet_volume_table_new(struct ramet_objstore *base, struct ramet_cache *cache,
                       struct ramet_work *work, struct ramet_gone *gone,
                       struct ramet_metrics *metrics,
                       struct ramet_volume_table **out, struct ramet_err *err)
{
    struct ramet_volume_table *table = ramet_calloc(1, sizeof(*table));

    if (table == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "volumes: out of memory");
    table->base = base;
    table->cache = cache;
    table->store = ramet_cache_store(cache);
    table->work = work;
    table->gone = gone;
    table->metrics = metrics;
    ramet_mutex_init(&table->lock);
    *out = table;
    return RAMET_OK;
}

/* ---- the table ------------------------------------------------------------- */

static struct ramet_open_volume **
find_volume(struct ramet_volume_table *table, const struct ramet_vid *volume)
{
    const uint64_t hash = ramet_hash64(volume, sizeof(*volume));
    struct ramet_open_volume **link =
        &table->buckets[hash % RAMET_OPEN_VOLUME_BUCKETS];

    assert(volume != NULL);
    while (*link != NULL &&
           ramet_id_compare(&(*link)->volume.id, &volume->id) != 0)
        link = &(*link)->chain;
    return link;
}

static void
free_volume(struct ramet_open_volume *vol)
{
    assert(vol->subscribers == NULL && !vol->map_busy && !vol->poll_busy);
    ramet_history_close(vol->history);
    ramet_mutex_done(&vol->lock);
    ramet_open_volume_free_events(vol);
    ramet_free(vol);
}

static void
unlist_idle(struct ramet_volume_table *table, struct ramet_open_volume *vol)
{
    assert(table->idle_count > 0);
    *(vol->newer != NULL ? &vol->newer->older : &table->newest) = vol->older;
    *(vol->older != NULL ? &vol->older->newer : &table->oldest) = vol->newer;
    table->idle_count--;
}

/* With table->lock held: takes it out of the table. */
static void
remove_idle(struct ramet_volume_table *table, struct ramet_open_volume *vol)
{
    struct ramet_open_volume **link = find_volume(table, &vol->volume);

    assert(vol->refs == 0 && *link == vol);
    assert(table->count > 0);
    *link = vol->chain;
    unlist_idle(table, vol);
    table->count--;
}

void
ramet_volume_table_free(struct ramet_volume_table *table)
{
    if (table == NULL)
        return;
    while (table->oldest != NULL) {
        struct ramet_open_volume *vol = table->oldest;

        remove_idle(table, vol);
        free_volume(vol);
    }
    assert(table->count == 0);
    ramet_mutex_done(&table->lock);
    ramet_free(table);
}

static struct ramet_open_volume *
make_volume(struct ramet_volume_table *table, const struct ramet_vid *volume,
            struct ramet_err *err)
{
    const struct ramet_history_options options = {
        .cache_bytes = HISTORY_CACHE_BYTES, .behind = table->base};
    struct ramet_open_volume *vol = ramet_calloc(1, sizeof(*vol));
    enum ramet_rc rc;

    assert(table->store != NULL);
    if (vol == NULL) {
        (void)RAMET_FAIL(err, RAMET_ENOMEM, "volume: out of memory");
        return NULL;
    }
    rc = ramet_history_open(table->store, volume, &options, &vol->history, err);
    if (rc != RAMET_OK) {
        ramet_free(vol);
        return NULL;
    }
    vol->table = table;
    vol->volume = *volume;
    ramet_mutex_init(&vol->lock);
    return vol;
}

void
ramet_open_volume_ref(struct ramet_open_volume *vol)
{
    if (vol->refs++ == 0)
        unlist_idle(vol->table, vol);
}

enum ramet_rc
ramet_open_volume_get(struct ramet_volume_table *table,
                      const struct ramet_vid *volume,
                      struct ramet_open_volume **out_vol, struct ramet_err *err)
{
    struct ramet_open_volume *spare = NULL;
    struct ramet_open_volume **link;

    ramet_mutex_lock(&table->lock);
    link = find_volume(table, volume);
    if (*link == NULL) {
        struct ramet_err why = {.code = RAMET_ENOMEM};

        ramet_mutex_unlock(&table->lock);
        spare = make_volume(table, volume, &why);
        if (spare == NULL)
            return RAMET_FAIL(err, why.code, "%s", why.text);
        ramet_mutex_lock(&table->lock);
        link = find_volume(table, volume);
    }
    if (*link == NULL) {
        spare->refs = 1;
        *link = spare;
        table->count++;
        *out_vol = spare;
        spare = NULL;
    } else {
        ramet_open_volume_ref(*link);
        *out_vol = *link;
    }
    assert((*out_vol)->refs > 0 && !(*out_vol)->orphan);
    (*out_vol)->asked = true;
    ramet_mutex_unlock(&table->lock);
    if (spare != NULL) /* somebody else made it meanwhile */
        free_volume(spare);
    return RAMET_OK;
}

void
ramet_open_volume_put(struct ramet_open_volume *vol)
{
    struct ramet_volume_table *table;
    struct ramet_open_volume *evicted = NULL;

    if (vol == NULL)
        return;
    table = vol->table;
    ramet_mutex_lock(&table->lock);
    assert(vol->refs > 0);
    if (--vol->refs == 0 && vol->orphan) {
        evicted = vol;
        table->count--;
    } else if (vol->refs == 0) {
        vol->newer = NULL;
        vol->older = table->newest;
        *(table->newest != NULL ? &table->newest->newer : &table->oldest) = vol;
        table->newest = vol;
        if (++table->idle_count > RAMET_OPEN_VOLUME_IDLE_MAX) {
            evicted = table->oldest;
            remove_idle(table, evicted);
        }
    }
    ramet_mutex_unlock(&table->lock);
    if (evicted != NULL)
        free_volume(evicted);
}

struct ramet_history *
ramet_open_volume_history(struct ramet_open_volume *vol)
{
    assert(vol->history != NULL);
    return vol->history;
}

const struct ramet_vid *
ramet_open_volume_id(const struct ramet_open_volume *vol)
{
    return &vol->volume;
}

void
ramet_volume_table_drop(struct ramet_volume_table *table,
                        const struct ramet_vid *volume, bool deleted)
{
    struct ramet_open_volume *evicted = NULL;
    struct ramet_open_volume **link, *vol;

    ramet_mutex_lock(&table->lock);
    link = find_volume(table, volume);
    vol = *link;
    if (vol != NULL && vol->refs == 0) {
        remove_idle(table, vol);
        evicted = vol;
    } else if (vol != NULL) {
        *link = vol->chain;
        vol->orphan = true;
        ramet_mutex_lock(&vol->lock);
        vol->deleted = true; /* its streams end: who listens comes again */
        vol->say_gone = deleted;
        for (struct ramet_subscriber *s = vol->subscribers; s != NULL;
             s = s->next)
            ramet_http_feed_poke(s->feed);
        ramet_mutex_unlock(&vol->lock);
    }
    ramet_mutex_unlock(&table->lock);
    if (evicted != NULL)
        free_volume(evicted);
}

void
ramet_volume_table_get_stats(struct ramet_volume_table *table,
                             struct ramet_volume_table_stats *out)
{
    ramet_mutex_lock(&table->lock);
    out->volumes = table->count;
    ramet_mutex_unlock(&table->lock);
    out->subscribers = atomic_load_explicit(&table->metrics->subscribers,
                                            memory_order_relaxed) +
                       atomic_load_explicit(&table->metrics->news_streams,
                                            memory_order_relaxed);
}
