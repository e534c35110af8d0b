/*
 * live_watch.c - the maps of the volumes in use, and looking for the commits of
 * others.
 */
#include "server/live_impl.h"

#include <assert.h>

#include "core/log.h"
#include "metastore/catalog.h"

#define HEARTBEAT_MS 15000u
/* A map is waited for where the limits are this near. */
#define MAP_URGENT_COMMITS 60u
#define MAP_URGENT_BYTES (30u << 10)

static void
make_map(struct ramet_live *live, uint64_t lsn)
{
    struct ramet_lives *lives = live->lives;
    struct ramet_err err;
    bool deleted = false;
    enum ramet_rc rc;

    if (!ramet_gone_enter(lives->gone, &live->volume))
        return;
    rc = ramet_history_make_map(live->history, lsn, &err);
    ramet_gone_leave(lives->gone, &live->volume);
    if (rc != RAMET_OK &&
        ramet_catalog_is_deleted(lives->store, &live->volume, &deleted, NULL) ==
            RAMET_OK &&
        deleted)
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
ramet_live_committed(struct ramet_live *live, const struct ramet_head *head,
                     uint64_t true_ms, const void *object, size_t len)
{
    ramet_live_publish(live, head, true_ms, object, len);
    want_map(live, head);
}

enum ramet_rc
ramet_live_drop_lost(struct ramet_live *live, bool *out_deleted,
                     struct ramet_err *err)
{
    struct ramet_lives *lives = live->lives;
    enum ramet_rc rc;

    *out_deleted = false;
    /* What was read of it may stand there no more, or be another now. */
    ramet_cache_forget(lives->cache, &live->volume);
    rc =
        ramet_catalog_is_deleted(lives->store, &live->volume, out_deleted, err);
    if (rc == RAMET_OK)
        ramet_lives_drop(lives, &live->volume, *out_deleted);
    return rc;
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
    return (lives->base->traits & RAMET_STORE_IS_PAID) != 0;
}

static void
poll_volume(struct ramet_job *job)
{
    struct ramet_live *live =
        (void *)((char *)job - offsetof(struct ramet_live, poll_job));
    const uint64_t true_ms = ramet_live_clock_ms();
    struct ramet_head newest;
    bool deleted;
    const enum ramet_rc rc = ramet_history_newest(live->history, &newest, NULL);

    if (rc == RAMET_OK && newest.lsn > 0)
        ramet_live_publish(live, &newest, true_ms, NULL, 0);
    else if (rc == RAMET_EWENTBACK)
        (void)!ramet_live_drop_lost(live, &deleted, NULL);
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
    for (struct ramet_subscriber *s = live->subscribers; heartbeat && s != NULL;
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
