/*
 * open_volume_watch.c - the maps of the volumes in use, and looking for the commits of
 * others.
 */
#include "server/open_volume_impl.h"

#include <assert.h>

#include "core/log.h"
#include "metastore/catalog.h"

#define HEARTBEAT_MS 15000u
/* A map is waited for where the limits are this near. */
#define MAP_URGENT_COMMITS 60u
#define MAP_URGENT_BYTES (30u << 10)

static void
make_map(struct ramet_open_volume *vol, uint64_t lsn)
{
    struct ramet_volume_table *table = vol->table;
    struct ramet_err err;
    bool deleted = false;
    enum ramet_rc rc;

    assert(lsn > 0);
    if (!ramet_gone_enter(table->gone, &vol->volume))
        return;
    rc = ramet_history_make_map(vol->history, lsn, &err);
    ramet_gone_leave(table->gone, &vol->volume);
    if (rc != RAMET_OK &&
        ramet_catalog_is_deleted(table->store, &vol->volume, &deleted, NULL) ==
            RAMET_OK &&
        deleted)
        return; /* deleted by others */
    atomic_fetch_add_explicit(rc == RAMET_OK ? &table->metrics->maps
                                             : &table->metrics->map_failures,
                              1, memory_order_relaxed);
    if (rc != RAMET_OK)
        ramet_log(RAMET_LOG_ERROR, "no page map could be made", "detail",
                  err.text, NULL);
}

static void
make_maps(struct ramet_job *job)
{
    struct ramet_open_volume *vol =
        (void *)((char *)job - offsetof(struct ramet_open_volume, map_job));

    for (;;) {
        uint64_t lsn;

        ramet_mutex_lock(&vol->lock);
        lsn = vol->map_lsn;
        vol->map_lsn = 0;
        if (lsn == 0)
            vol->map_busy = false;
        ramet_mutex_unlock(&vol->lock);
        if (lsn == 0)
            break;
        make_map(vol, lsn);
    }
    ramet_open_volume_put(vol);
}

static void
want_map(struct ramet_open_volume *vol, const struct ramet_head *head)
{
    bool start;

    assert(head->lsn > 0);
    if (head->commits_since_map < RAMET_MAP_EVERY_COMMITS / 2 &&
        head->head_bytes_since_map < RAMET_MAP_EVERY_HEAD_BYTES / 2)
        return;
    ramet_mutex_lock(&vol->lock);
    start = !vol->map_busy;
    vol->map_busy = true;
    vol->map_lsn = head->lsn;
    ramet_mutex_unlock(&vol->lock);
    if (!start)
        return;
    ramet_mutex_lock(&vol->table->lock);
    vol->refs++; /* the caller has one */
    ramet_mutex_unlock(&vol->table->lock);
    vol->map_job.run = make_maps;
    if (head->commits_since_map >= MAP_URGENT_COMMITS ||
        head->head_bytes_since_map >= MAP_URGENT_BYTES)
        make_maps(&vol->map_job);
    else
        ramet_work_continue(vol->table->work, &vol->map_job);
}

void
ramet_open_volume_committed(struct ramet_open_volume *vol,
                            const struct ramet_head *head, uint64_t true_ms,
                            const void *object, size_t len)
{
    ramet_open_volume_publish(vol, head, true_ms, object, len);
    want_map(vol, head);
}

enum ramet_rc
ramet_open_volume_drop_lost(struct ramet_open_volume *vol, bool *out_deleted,
                            struct ramet_err *err)
{
    struct ramet_volume_table *table = vol->table;
    enum ramet_rc rc;

    *out_deleted = false;
    /* What was read of it may stand there no more, or be another now. */
    ramet_cache_forget(table->cache, &vol->volume);
    rc = ramet_catalog_is_deleted(table->store, &vol->volume, out_deleted, err);
    if (rc == RAMET_OK)
        ramet_volume_table_drop(table, &vol->volume, *out_deleted);
    return rc;
}

uint64_t
ramet_open_volume_look_after_ms(bool is_paid, uint64_t quiet_ms)
{
    const uint64_t after_ms = quiet_ms / 8;

    if (!is_paid || after_ms < RAMET_OPEN_VOLUME_LOOK_MIN_MS)
        return RAMET_OPEN_VOLUME_LOOK_MIN_MS;
    return after_ms < RAMET_OPEN_VOLUME_LOOK_MAX_MS
               ? after_ms
               : RAMET_OPEN_VOLUME_LOOK_MAX_MS;
}

static bool
is_paid(const struct ramet_volume_table *table)
{
    return (table->base->traits & RAMET_STORE_IS_PAID) != 0;
}

static void
poll_volume(struct ramet_job *job)
{
    struct ramet_open_volume *vol =
        (void *)((char *)job - offsetof(struct ramet_open_volume, poll_job));
    const uint64_t true_ms = ramet_open_volume_clock_ms();
    struct ramet_head newest;
    bool deleted;
    const enum ramet_rc rc = ramet_history_newest(vol->history, &newest, NULL);

    if (rc == RAMET_OK && newest.lsn > 0)
        ramet_open_volume_publish(vol, &newest, true_ms, NULL, 0);
    else if (rc == RAMET_EWENTBACK)
        (void)!ramet_open_volume_drop_lost(vol, &deleted, NULL);
    ramet_mutex_lock(&vol->lock);
    vol->poll_busy = false;
    ramet_mutex_unlock(&vol->lock);
    ramet_open_volume_put(vol);
}

/* With vol->lock held: is a look due? Then the next one is set. */
static bool
is_look_due(struct ramet_open_volume *vol, uint64_t now_ms)
{
    assert(vol->table != NULL);
    if (vol->subscribers == NULL || vol->poll_busy || vol->deleted ||
        now_ms < vol->poll_due_ms)
        return false;
    if (vol->moved_ms == 0)
        vol->moved_ms = now_ms;
    vol->poll_due_ms =
        now_ms + ramet_open_volume_look_after_ms(is_paid(vol->table),
                                                 now_ms - vol->moved_ms);
    return true;
}

/* With table->lock held. */
static void
tick_volume(struct ramet_open_volume *vol, uint64_t now_ms, bool heartbeat)
{
    bool poll;

    ramet_mutex_lock(&vol->lock);
    poll = is_look_due(vol, now_ms);
    vol->poll_busy = vol->poll_busy || poll;
    for (struct ramet_subscriber *s = vol->subscribers; heartbeat && s != NULL;
         s = s->next) {
        s->heartbeat = true;
        ramet_http_feed_poke(s->feed);
    }
    ramet_mutex_unlock(&vol->lock);
    if (!poll)
        return;
    assert(vol->refs > 0); /* its subscriber's */
    vol->refs++;
    vol->poll_job.run = poll_volume;
    ramet_work_continue(vol->table->work, &vol->poll_job);
}

/* Invariant (3) of open_volume.h; with table->lock held. */
static void
trim_volume(struct ramet_open_volume *vol)
{
    if (vol->table->count > RAMET_OPEN_VOLUME_IDLE_MAX && !vol->asked)
        ramet_history_trim(vol->history);
    vol->asked = false;
}

void
ramet_volume_table_tick(struct ramet_volume_table *table, uint64_t now_ms)
{
    const bool heartbeat = now_ms - table->heartbeat_ms >= HEARTBEAT_MS;

    if (heartbeat)
        table->heartbeat_ms = now_ms;
    ramet_mutex_lock(&table->lock);
    for (unsigned i = 0; i < RAMET_OPEN_VOLUME_BUCKETS; i++) {
        for (struct ramet_open_volume *l = table->buckets[i]; l != NULL;
             l = l->chain)
            if (l->refs > 0) {
                tick_volume(l, now_ms, heartbeat);
                if (heartbeat)
                    trim_volume(l);
            }
    }
    ramet_mutex_unlock(&table->lock);
}
