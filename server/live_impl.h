/*
 * live_impl.h - what live.c (the table, maps, polling) and live_events.c
 * (events and who waits for them) share.
 *
 * Order of locks: lives->lock, then live->lock, then a feed's.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_LIVE_IMPL_H
#define RAMET_SERVER_LIVE_IMPL_H

#include "core/thread.h"
#include "server/live.h"

#define RAMET_LIVE_BUCKETS 256u
#define EVENT_BYTES_MAX 640u

struct event {
    uint64_t lsn;
    size_t len;
    char text[EVENT_BYTES_MAX];
};

struct subscriber {
    struct subscriber *next, **link; /* live->lock */
    struct ramet_live *live;         /* a reference */
    struct ramet_http_feed *feed;
    uint64_t sent_lsn; /* live->lock */
    bool heartbeat;    /* live->lock: one is due */
    bool said_gone;
    size_t out_pos, out_len;
    char out[EVENT_BYTES_MAX];
};

struct ramet_live {
    struct ramet_live *chain;         /* lives->lock */
    struct ramet_live *newer, *older; /* lives->lock; idle ones only */
    struct ramet_lives *lives;
    struct ramet_vid volume;
    struct ramet_history *history;
    unsigned refs; /* lives->lock */
    bool asked;    /* lives->lock: since the last heartbeat */
    bool orphan;   /* lives->lock: not in the table any more */
    struct ramet_mutex lock;
    struct subscriber *subscribers; /* lock */
    bool deleted, say_gone;         /* lock */
    struct event *ring;             /* lock; RAMET_LIVE_EVENTS, or NULL */
    uint64_t ring_first, ring_next; /* lock; LSNs held: [first, next) */
    /* Jobs hold a reference while queued. */
    struct ramet_job map_job;
    bool map_busy;    /* lock */
    uint64_t map_lsn; /* lock: make one of this, 0: done */
    struct ramet_job poll_job;
    bool poll_busy;       /* lock */
    uint64_t poll_due_ms; /* lock: the next look */
    uint64_t moved_ms;    /* lock: when something last came; 0: just now */
};

struct ramet_lives {
    struct ramet_objstore *base, *store; /* itself, and through the cache */
    struct ramet_work *work;
    struct ramet_gone *gone;
    struct ramet_metrics *metrics;
    struct ramet_mutex lock;
    struct ramet_live *buckets[RAMET_LIVE_BUCKETS];
    struct ramet_live *newest, *oldest; /* idle */
    unsigned idle_count, count;
    uint64_t heartbeat_ms; /* ticker only */
};

/* One more reference; with lives->lock held. */
void ramet_live_ref(struct ramet_live *live);
/* live_events.c: tell of all commits up to `newest` that were not told of. */
void
ramet_live_publish(struct ramet_live *live, const struct ramet_head *newest);

#endif
