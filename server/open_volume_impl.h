/*
 * open_volume_impl.h - what open_volume.c (the table), open_volume_watch.c
 * (maps, looking), open_volume_events.c (the ring of events), open_volume_sse.c
 * and news.c (two ways to tell of them) share.
 *
 * Order of locks: table->lock, then vol->lock, then a feed's.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_OPEN_VOLUME_IMPL_H
#define RAMET_SERVER_OPEN_VOLUME_IMPL_H

#include <stdatomic.h>

#include "core/thread.h"
#include "server/open_volume.h"

#define RAMET_OPEN_VOLUME_BUCKETS 256u
#define RAMET_EVENT_BYTES_MAX 640u

/* A commit object, kept once for all who are to be sent it. */
struct ramet_told_object {
    atomic_uint refs;
    _Atomic uint64_t *held; /* what all of them take, from which it goes */
    size_t len;
    uint8_t bytes[];
};
void ramet_told_unref(struct ramet_told_object *object); /* NULL is fine */

struct ramet_event {
    struct ramet_point at;
    uint64_t
        true_ms; /* by ramet_open_volume_clock_ms(): then it was the newest */
    struct ramet_told_object *object; /* NULL: larger, or no room */
    size_t len;
    char text[RAMET_EVENT_BYTES_MAX];
};

/* Who is told of a volume's commits, in whatever form: a place in its line. */
struct ramet_subscriber {
    struct ramet_subscriber *next, **link; /* vol->lock */
    struct ramet_open_volume *vol;         /* a reference */
    struct ramet_http_feed *feed;          /* NULL: not attached */
    uint64_t sent_lsn;                     /* vol->lock */
    bool heartbeat;                        /* vol->lock: one is due */
    bool said_gone;                        /* the feed's, while it is pulled */
};

struct ramet_open_volume {
    struct ramet_open_volume *chain;         /* table->lock */
    struct ramet_open_volume *newer, *older; /* table->lock; idle ones only */
    struct ramet_volume_table *table;
    struct ramet_vid volume;
    struct ramet_history *history;
    unsigned refs; /* table->lock */
    bool asked;    /* table->lock: since the last heartbeat */
    bool orphan;   /* table->lock: not in the table any more */
    struct ramet_mutex lock;
    struct ramet_subscriber *subscribers; /* lock */
    bool deleted, say_gone;               /* lock */
    struct ramet_event *ring; /* lock; RAMET_OPEN_VOLUME_EVENTS, or NULL */
    uint64_t ring_first, ring_next; /* lock; LSNs held: [first, next) */
    struct ramet_point newest;      /* lock: what a look found, and when */
    uint64_t looked_ms;             /* lock; ramet_open_volume_clock_ms() */
    /* Jobs hold a reference while queued. */
    struct ramet_job map_job;
    bool map_busy;    /* lock */
    uint64_t map_lsn; /* lock: make one of this, 0: done */
    struct ramet_job poll_job;
    bool poll_busy;       /* lock */
    uint64_t poll_due_ms; /* lock: the next look */
    uint64_t moved_ms;    /* lock: when something last came; 0: just now */
};

struct ramet_volume_table {
    struct ramet_objstore *base, *store; /* itself, and through the cache */
    struct ramet_cache *cache;
    struct ramet_work *work;
    struct ramet_gone *gone;
    struct ramet_metrics *metrics;
    struct ramet_mutex lock;
    struct ramet_open_volume *buckets[RAMET_OPEN_VOLUME_BUCKETS];
    struct ramet_open_volume *newest, *oldest; /* idle */
    unsigned idle_count, count;
    uint64_t heartbeat_ms; /* ticker only */
};

/* One more reference; with table->lock held. */
void ramet_open_volume_ref(struct ramet_open_volume *vol);

/* open_volume_watch.c. Its commits are not there any more: somebody deleted it,
 * or set the store back. It is dropped; who listens is told. */
RAMET_NODISCARD enum ramet_rc
ramet_open_volume_drop_lost(struct ramet_open_volume *vol, bool *out_deleted,
                            struct ramet_err *err);

/* open_volume_events.c. `newest` was the newest at `true_ms`: tell of all commits up to
 * it that were not told of. `object` is its, or NULL. */
void
ramet_open_volume_publish(struct ramet_open_volume *vol,
                          const struct ramet_head *newest, uint64_t true_ms,
                          const void *object, size_t len);
/* Someone is to be told of what comes after *after (UINT64_MAX: of what comes
 * from now on; then it is set): see to it that the ring has it. With
 * `with_objects`, these as well. Reads heads. */
RAMET_NODISCARD enum ramet_rc
ramet_open_volume_prepare(struct ramet_open_volume *vol, uint64_t *after,
                          bool with_objects, struct ramet_err *err);
/* The event after what the subscriber was sent, as far as the ring reaches back;
 * NULL: none. It counts as sent. With vol->lock held. */
const struct ramet_event *ramet_open_volume_next(struct ramet_subscriber *sub);
/* Into the list, and out of it again; `vol` is referenced until then. */
void ramet_open_volume_attach(struct ramet_subscriber *sub,
                              struct ramet_http_feed *feed);
void ramet_open_volume_detach(struct ramet_subscriber *sub);
/* Commits that came before it was in the list: look once more. Worker. */
void ramet_open_volume_catch_up(struct ramet_open_volume *vol);
/* Drops the ring. */
void ramet_open_volume_free_events(struct ramet_open_volume *vol);

#endif
