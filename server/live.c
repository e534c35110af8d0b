/*
 * live.c - the volumes in use, their maps, and looking for the commits of
 * others; see live.h for the contract.
 */
#include "server/live_impl.h"

#include <assert.h>

#include "core/alloc.h"

#define HISTORY_CACHE_BYTES (512u << 10)

enum ramet_rc
ramet_lives_new(struct ramet_objstore *base, struct ramet_cache *cache,
                struct ramet_work *work, struct ramet_gone *gone,
                struct ramet_metrics *metrics, struct ramet_lives **out,
                struct ramet_err *err)
{
    struct ramet_lives *lives = ramet_calloc(1, sizeof(*lives));

    if (lives == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "volumes: out of memory");
    lives->base = base;
    lives->cache = cache;
    lives->store = ramet_cache_store(cache);
    lives->work = work;
    lives->gone = gone;
    lives->metrics = metrics;
    ramet_mutex_init(&lives->lock);
    *out = lives;
    return RAMET_OK;
}

/* ---- the table ------------------------------------------------------------- */

static struct ramet_live **
find_live(struct ramet_lives *lives, const struct ramet_vid *volume)
{
    const uint64_t hash = ramet_hash64(volume, sizeof(*volume));
    struct ramet_live **link = &lives->buckets[hash % RAMET_LIVE_BUCKETS];

    while (*link != NULL &&
           ramet_id_compare(&(*link)->volume.id, &volume->id) != 0)
        link = &(*link)->chain;
    return link;
}

static void
free_live(struct ramet_live *live)
{
    assert(live->subscribers == NULL && !live->map_busy && !live->poll_busy);
    ramet_history_close(live->history);
    ramet_mutex_done(&live->lock);
    ramet_live_free_events(live);
    ramet_free(live);
}

static void
unlist_idle(struct ramet_lives *lives, struct ramet_live *live)
{
    *(live->newer != NULL ? &live->newer->older : &lives->newest) = live->older;
    *(live->older != NULL ? &live->older->newer : &lives->oldest) = live->newer;
    lives->idle_count--;
}

/* With lives->lock held: takes it out of the table. */
static void
remove_idle(struct ramet_lives *lives, struct ramet_live *live)
{
    struct ramet_live **link = find_live(lives, &live->volume);

    assert(live->refs == 0 && *link == live);
    *link = live->chain;
    unlist_idle(lives, live);
    lives->count--;
}

void
ramet_lives_free(struct ramet_lives *lives)
{
    if (lives == NULL)
        return;
    while (lives->oldest != NULL) {
        struct ramet_live *live = lives->oldest;

        remove_idle(lives, live);
        free_live(live);
    }
    assert(lives->count == 0);
    ramet_mutex_done(&lives->lock);
    ramet_free(lives);
}

static struct ramet_live *
make_live(struct ramet_lives *lives, const struct ramet_vid *volume,
          struct ramet_err *err)
{
    const struct ramet_history_options options = {
        .cache_bytes = HISTORY_CACHE_BYTES, .behind = lives->base};
    struct ramet_live *live = ramet_calloc(1, sizeof(*live));
    enum ramet_rc rc;

    if (live == NULL) {
        (void)RAMET_FAIL(err, RAMET_ENOMEM, "volume: out of memory");
        return NULL;
    }
    rc =
        ramet_history_open(lives->store, volume, &options, &live->history, err);
    if (rc != RAMET_OK) {
        ramet_free(live);
        return NULL;
    }
    live->lives = lives;
    live->volume = *volume;
    ramet_mutex_init(&live->lock);
    return live;
}

void
ramet_live_ref(struct ramet_live *live)
{
    if (live->refs++ == 0)
        unlist_idle(live->lives, live);
}

enum ramet_rc
ramet_live_get(struct ramet_lives *lives, const struct ramet_vid *volume,
               struct ramet_live **out_live, struct ramet_err *err)
{
    struct ramet_live *spare = NULL;
    struct ramet_live **link;

    ramet_mutex_lock(&lives->lock);
    link = find_live(lives, volume);
    if (*link == NULL) {
        struct ramet_err why = {.code = RAMET_ENOMEM};

        ramet_mutex_unlock(&lives->lock);
        spare = make_live(lives, volume, &why);
        if (spare == NULL)
            return RAMET_FAIL(err, why.code, "%s", why.text);
        ramet_mutex_lock(&lives->lock);
        link = find_live(lives, volume);
    }
    if (*link == NULL) {
        spare->refs = 1;
        *link = spare;
        lives->count++;
        *out_live = spare;
        spare = NULL;
    } else {
        ramet_live_ref(*link);
        *out_live = *link;
    }
    (*out_live)->asked = true;
    ramet_mutex_unlock(&lives->lock);
    if (spare != NULL) /* somebody else made it meanwhile */
        free_live(spare);
    return RAMET_OK;
}

void
ramet_live_put(struct ramet_live *live)
{
    struct ramet_lives *lives;
    struct ramet_live *evicted = NULL;

    if (live == NULL)
        return;
    lives = live->lives;
    ramet_mutex_lock(&lives->lock);
    assert(live->refs > 0);
    if (--live->refs == 0 && live->orphan) {
        evicted = live;
        lives->count--;
    } else if (live->refs == 0) {
        live->newer = NULL;
        live->older = lives->newest;
        *(lives->newest != NULL ? &lives->newest->newer : &lives->oldest) =
            live;
        lives->newest = live;
        if (++lives->idle_count > RAMET_LIVE_IDLE_MAX) {
            evicted = lives->oldest;
            remove_idle(lives, evicted);
        }
    }
    ramet_mutex_unlock(&lives->lock);
    if (evicted != NULL)
        free_live(evicted);
}

struct ramet_history *
ramet_live_history(struct ramet_live *live)
{
    return live->history;
}

const struct ramet_vid *
ramet_live_volume(const struct ramet_live *live)
{
    return &live->volume;
}

void
ramet_lives_drop(struct ramet_lives *lives, const struct ramet_vid *volume,
                 bool deleted)
{
    struct ramet_live *evicted = NULL;
    struct ramet_live **link, *live;

    ramet_mutex_lock(&lives->lock);
    link = find_live(lives, volume);
    live = *link;
    if (live != NULL && live->refs == 0) {
        remove_idle(lives, live);
        evicted = live;
    } else if (live != NULL) {
        *link = live->chain;
        live->orphan = true;
        ramet_mutex_lock(&live->lock);
        live->deleted = true; /* its streams end: who listens comes again */
        live->say_gone = deleted;
        for (struct ramet_subscriber *s = live->subscribers; s != NULL;
             s = s->next)
            ramet_http_feed_poke(s->feed);
        ramet_mutex_unlock(&live->lock);
    }
    ramet_mutex_unlock(&lives->lock);
    if (evicted != NULL)
        free_live(evicted);
}

void
ramet_lives_get_stats(struct ramet_lives *lives, struct ramet_lives_stats *out)
{
    ramet_mutex_lock(&lives->lock);
    out->volumes = lives->count;
    ramet_mutex_unlock(&lives->lock);
    out->subscribers = atomic_load_explicit(&lives->metrics->subscribers,
                                            memory_order_relaxed) +
                       atomic_load_explicit(&lives->metrics->news_streams,
                                            memory_order_relaxed);
}
