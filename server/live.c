/*
 * live.c - the volumes in use, their maps, and looking for the commits of
 * others; see live.h for the contract.
 */
#include "server/live_impl.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "metastore/catalog.h"

#define HISTORY_CACHE_BYTES (512u << 10)
#define HEARTBEAT_MS 15000u
/* So often what was seen of a paid store is looked at, too. */
#define PROVE_MS 60000u
/* A map is waited for where the limits are this near. */
#define MAP_URGENT_COMMITS 60u
#define MAP_URGENT_BYTES (30u << 10)

enum ramet_rc
ramet_lives_new(struct ramet_objstore *base, struct ramet_objstore *store,
                struct ramet_work *work, struct ramet_gone *gone,
                struct ramet_metrics *metrics, struct ramet_lives **out,
                struct ramet_err *err)
{
    struct ramet_lives *lives = ramet_calloc(1, sizeof(*lives));

    if (lives == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "volumes: out of memory");
    lives->base = base;
    lives->store = store;
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
    ramet_free(live->ring);
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

/* ---- maps and polling, in workers ------------------------------------------ */

static void
make_map(struct ramet_live *live, uint64_t lsn)
{
    struct ramet_lives *lives = live->lives;
    struct ramet_err err;
    bool has = true;
    enum ramet_rc rc;

    if (!ramet_gone_enter(lives->gone, &live->volume))
        return;
    rc = ramet_history_make_map(live->history, lsn, &err);
    ramet_gone_leave(lives->gone, &live->volume);
    if (rc != RAMET_OK &&
        ramet_catalog_has_commits(lives->store, &live->volume, &has, NULL) ==
            RAMET_OK &&
        !has)
        return; /* deleted by others */
    atomic_fetch_add_explicit(rc == RAMET_OK ? &lives->metrics->maps
                                             : &lives->metrics->map_failures,
                              1, memory_order_relaxed);
    if (rc != RAMET_OK)
        ramet_log(RAMET_LOG_ERROR, "no page map could be made", "detail",
                  err.text, NULL);
}

static void
make_maps(struct ramet_job *job)
{
    struct ramet_live *live =
        (void *)((char *)job - offsetof(struct ramet_live, map_job));

    for (;;) {
        uint64_t lsn;

        ramet_mutex_lock(&live->lock);
        lsn = live->map_lsn;
        live->map_lsn = 0;
        if (lsn == 0)
            live->map_busy = false;
        ramet_mutex_unlock(&live->lock);
        if (lsn == 0)
            break;
        make_map(live, lsn);
    }
    ramet_live_put(live);
}

static void
want_map(struct ramet_live *live, const struct ramet_head *head)
{
    bool start;

    if (head->commits_since_map < RAMET_MAP_EVERY_COMMITS / 2 &&
        head->head_bytes_since_map < RAMET_MAP_EVERY_HEAD_BYTES / 2)
        return;
    ramet_mutex_lock(&live->lock);
    start = !live->map_busy;
    live->map_busy = true;
    live->map_lsn = head->lsn;
    ramet_mutex_unlock(&live->lock);
    if (!start)
        return;
    ramet_mutex_lock(&live->lives->lock);
    live->refs++; /* the caller has one */
    ramet_mutex_unlock(&live->lives->lock);
    live->map_job.run = make_maps;
    if (head->commits_since_map >= MAP_URGENT_COMMITS ||
        head->head_bytes_since_map >= MAP_URGENT_BYTES)
        make_maps(&live->map_job);
    else
        ramet_work_continue(live->lives->work, &live->map_job);
}

void
ramet_live_committed(struct ramet_live *live, const struct ramet_head *head)
{
    bool watched;

    ramet_mutex_lock(&live->lock);
    watched = live->subscribers != NULL;
    ramet_mutex_unlock(&live->lock);
    if (watched)
        ramet_live_publish(live, head);
    want_map(live, head);
}

/* Its commits are not there any more: somebody deleted it, or set the store
 * back. Who listens is told. */
static void
drop_lost(struct ramet_live *live)
{
    struct ramet_lives *lives = live->lives;
    bool has = true;

    if (ramet_catalog_has_commits(lives->store, &live->volume, &has, NULL) ==
        RAMET_OK)
        ramet_lives_drop(lives, &live->volume, !has);
}

uint64_t
ramet_live_look_after_ms(bool is_paid, uint64_t quiet_ms)
{
    const uint64_t after_ms = quiet_ms / 8;

    if (!is_paid || after_ms < RAMET_LIVE_LOOK_MIN_MS)
        return RAMET_LIVE_LOOK_MIN_MS;
    return after_ms < RAMET_LIVE_LOOK_MAX_MS ? after_ms
                                             : RAMET_LIVE_LOOK_MAX_MS;
}

static bool
is_paid(const struct ramet_lives *lives)
{
    return (lives->base->traits & RAMET_STORE_LISTS_CHEAPLY) != 0;
}

/* Where requests are paid: one cheap one to know that nothing happened, and
 * now and then a second, so that a store that was set back is noticed. */
static enum ramet_rc
look(struct ramet_live *live, bool proves, bool *out_moved)
{
    *out_moved = true;
    if (!is_paid(live->lives))
        return RAMET_OK;
    return ramet_history_look(live->history, proves, out_moved, NULL);
}

static void
poll_volume(struct ramet_job *job)
{
    struct ramet_live *live =
        (void *)((char *)job - offsetof(struct ramet_live, poll_job));
    struct ramet_head newest = {.lsn = 0};
    bool moved, proves;
    enum ramet_rc rc;

    ramet_mutex_lock(&live->lock);
    proves = live->poll_proves;
    ramet_mutex_unlock(&live->lock);
    rc = look(live, proves, &moved);
    if (rc == RAMET_OK && moved)
        rc = ramet_history_newest(live->history, &newest, NULL);
    if (rc == RAMET_OK && newest.lsn > 0)
        ramet_live_publish(live, &newest);
    else if (rc == RAMET_EWENTBACK)
        drop_lost(live);
    ramet_mutex_lock(&live->lock);
    live->poll_busy = false;
    ramet_mutex_unlock(&live->lock);
    ramet_live_put(live);
}

/* With live->lock held: is a look due? Then the next one is set. */
static bool
is_look_due(struct ramet_live *live, uint64_t now_ms)
{
    if (live->subscribers == NULL || live->poll_busy || live->deleted ||
        now_ms < live->poll_due_ms)
        return false;
    if (live->moved_ms == 0)
        live->moved_ms = now_ms;
    live->poll_due_ms =
        now_ms +
        ramet_live_look_after_ms(is_paid(live->lives), now_ms - live->moved_ms);
    live->poll_proves = now_ms - live->proven_ms >= PROVE_MS;
    if (live->poll_proves)
        live->proven_ms = now_ms;
    return true;
}

/* With lives->lock held. */
static void
tick_live(struct ramet_live *live, uint64_t now_ms, bool heartbeat)
{
    bool poll;

    ramet_mutex_lock(&live->lock);
    poll = is_look_due(live, now_ms);
    live->poll_busy = live->poll_busy || poll;
    for (struct subscriber *s = live->subscribers; heartbeat && s != NULL;
         s = s->next) {
        s->heartbeat = true;
        ramet_http_feed_poke(s->feed);
    }
    ramet_mutex_unlock(&live->lock);
    if (!poll)
        return;
    assert(live->refs > 0); /* its subscriber's */
    live->refs++;
    live->poll_job.run = poll_volume;
    ramet_work_continue(live->lives->work, &live->poll_job);
}

/* Invariant (3) of live.h; with lives->lock held. */
static void
trim_live(struct ramet_live *live)
{
    if (live->lives->count > RAMET_LIVE_IDLE_MAX && !live->asked)
        ramet_history_trim(live->history);
    live->asked = false;
}

void
ramet_lives_tick(struct ramet_lives *lives, uint64_t now_ms)
{
    const bool heartbeat = now_ms - lives->heartbeat_ms >= HEARTBEAT_MS;

    if (heartbeat)
        lives->heartbeat_ms = now_ms;
    ramet_mutex_lock(&lives->lock);
    for (unsigned i = 0; i < RAMET_LIVE_BUCKETS; i++) {
        for (struct ramet_live *l = lives->buckets[i]; l != NULL; l = l->chain)
            if (l->refs > 0) {
                tick_live(l, now_ms, heartbeat);
                if (heartbeat)
                    trim_live(l);
            }
    }
    ramet_mutex_unlock(&lives->lock);
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
        for (struct subscriber *s = live->subscribers; s != NULL; s = s->next)
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
                                            memory_order_relaxed);
}
