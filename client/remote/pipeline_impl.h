/*
 * pipeline_impl.h - what the parts of the pipeline share: pipeline_wants.c (the
 * list of what is to come), pipeline_room.c (how much of it may be under way),
 * pipeline_batch.c (what the next request is for),
 * pipeline.c (the threads that bring it), pipeline_keepers.c (those who keep them),
 * pipeline_idle.c (how many of them may be idle), and pipeline_read.c (those who
 * wait).
 *
 * Layer: client, private.
 */
#ifndef RAMET_CLIENT_REMOTE_PIPELINE_IMPL_H
#define RAMET_CLIENT_REMOTE_PIPELINE_IMPL_H

#include <stdatomic.h>

#include "client/remote/ahead.h"
#include "client/remote/pipeline.h"
#include "client/remote/touched.h"
#include "core/os.h"

#define RAMET_PIPELINE_THREADS 12u
/* Requests for what nobody waits for, with those whose pages are being kept; also
 * the number of all requests from which on only readers' are begun. The other threads
 * are for them. */
#define RAMET_AHEAD_BATCHES_ALL 8u
#define RAMET_BATCH_PAGES 512u
#define RAMET_WANT_BUCKETS 4096u

/* Whom a page is for, the most urgent first. */
enum ramet_urgency {
    RAMET_WANT_READ,  /* somebody waits for it */
    RAMET_WANT_WARM,  /* somebody will, of many others at once: of these as many
                         requests as threads are for, whatever the link holds */
    RAMET_WANT_AHEAD, /* somebody will */
    RAMET_WANT_BULK,  /* it is to be here some day */
    RAMET_WANT_HELD, /* not yet to be asked for: what goes with it is looked for */
    RAMET_URGENCIES
};

/* One who waits for a page. */
struct ramet_page_wait {
    struct ramet_page_wait *next;
    uint8_t *out;
    size_t size;
    struct ramet_cond ended;
    bool done;
    enum ramet_rc rc;
    struct ramet_err err;
};

struct ramet_batch;

/* A page that is to come. */
struct ramet_want {
    struct ramet_want *chain;           /* in its bucket */
    struct ramet_want *next, *previous; /* in its queue, or NULL */
    struct ramet_point at;
    uint32_t page_size; /* of that commit */
    uint32_t pgno;
    enum ramet_urgency urgency;
    bool
        is_warm; /* of many that were named at once, whoever waits for it now */
    bool alone;  /* it failed with others: to be asked for by itself */
    struct ramet_batch *batch; /* NULL: in a queue */
    struct ramet_page_wait *waits;
    struct ramet_bulk_read *bulk; /* NULL: none's */
};

struct ramet_want_queue {
    struct ramet_want *first, *last;
    size_t count;
};

/* Pages that came and are yet to be kept, with others. */
#define RAMET_LANDED_PAGES 64u
#define RAMET_LANDED_BYTES (256u << 10)

/* One request. */
struct ramet_batch {
    struct ramet_batch *next;
    struct ramet_pipeline *pipeline;
    struct ramet_point at;
    uint32_t page_size;
    uint32_t pgnos[RAMET_BATCH_PAGES];
    size_t count;
    size_t left;                               /* pages to come */
    bool has_begun;                            /* some have */
    uint32_t landed_pgnos[RAMET_LANDED_PAGES]; /* some of which are not kept */
    uint8_t *landed; /* their pages, which stay as they are until they are kept;
                        its worker's alone beyond landed_count */
    size_t landed_count;
    atomic_bool is_vain; /* nobody needs it any more */
};

struct ramet_worker {
    struct ramet_pipeline *pipeline;
    struct ramet_thread thread;
    bool runs;
};

struct ramet_pipeline {
    struct ramet_remote_client *client; /* its owner */
    struct ramet_vid volume;
    const struct ramet_os *os;
    unsigned fork_count;
    struct ramet_mutex mutex;
    /* All that follows: under the mutex. */
    struct ramet_want *buckets[RAMET_WANT_BUCKETS];
    struct ramet_want_queue queues[RAMET_URGENCIES];
    struct ramet_keeper *keepers;
    struct ramet_cond keeper_left;
    struct ramet_worker workers[RAMET_PIPELINE_THREADS];
    unsigned idle_count;
    struct ramet_cond work;
    struct ramet_batch *batches; /* under way */
    unsigned batch_count;
    unsigned asked_count;  /* of which nothing has come yet */
    size_t left;           /* pages of them to come */
    size_t cost;           /* what a page takes on the link, in bytes */
    uint64_t landings;     /* pages that came */
    uint64_t landed_ns;    /* when the last one did */
    uint64_t costed;       /* landings, and bytes of the client, when `cost` */
    uint64_t costed_bytes; /* was found last */
    atomic_bool is_closing;
    struct ramet_ahead *ahead; /* has a mutex of its own */
    /* Without the mutex: hints, which a reader may see late. */
    atomic_uint quiet; /* reads since a page was missed, or came */
    struct ramet_touched *_Atomic touched; /* told of all reads; or NULL */
    atomic_bool is_warm; /* what is needed was named: until something is missed
                            that was not, nothing is predicted */
};

/* ---- pipeline_wants.c: under the mutex ---------------------------------------- */

struct ramet_want *ramet_want_find(const struct ramet_pipeline *pipeline,
                                   const struct ramet_point *at, uint32_t pgno);
/* One that is not on the list, queued. NULL on no memory. */
struct ramet_want *
ramet_want_add(struct ramet_pipeline *pipeline, const struct ramet_head *head,
               uint32_t pgno, enum ramet_urgency urgency);
/* More urgent than it was; nothing if it is that already, or on its way. */
void ramet_want_hasten(struct ramet_pipeline *pipeline, struct ramet_want *want,
                       enum ramet_urgency urgency);
void
ramet_want_dequeue(struct ramet_pipeline *pipeline, struct ramet_want *want);
/* Back into its queue: its batch failed. */
void
ramet_want_requeue(struct ramet_pipeline *pipeline, struct ramet_want *want);
/* It came (`page`), or it can't be brought (`rc`): whoever waits is told, and it
 * is off the list. */
void ramet_want_end(struct ramet_pipeline *pipeline, struct ramet_want *want,
                    const uint8_t *page, enum ramet_rc rc,
                    const struct ramet_err *err);
/* Nobody keeps pages here any more: whatever is not waited for goes, and
 * requests for nothing else are broken off. */
void ramet_wants_abandon(struct ramet_pipeline *pipeline);

/* ---- pipeline_room.c: under the mutex ------------------------------------------- */

/* What a page takes on the link, in bytes. */
size_t ramet_pipeline_page_cost(const struct ramet_pipeline *pipeline,
                                uint32_t page_size);
/* Some more have come; `received` are all bytes of the client. */
void ramet_pipeline_note_cost(struct ramet_pipeline *pipeline,
                              uint32_t page_size, uint64_t received);
/* Bytes that may be under way for this and what is more urgent. */
size_t ramet_pipeline_budget(struct ramet_pipeline *pipeline,
                             enum ramet_urgency urgency);
/* Pages that may be here and not read yet: as many as all who keep them have room
 * for. */
size_t
ramet_pipeline_kept_pages(struct ramet_pipeline *pipeline, uint32_t page_size);
/* Pages that may be on their way, no more than that. */
size_t
ramet_pipeline_ahead_pages(struct ramet_pipeline *pipeline, uint32_t page_size);
/* Pages in a request. */
size_t ramet_pipeline_share(struct ramet_pipeline *pipeline,
                            enum ramet_urgency urgency, uint32_t page_size);
/* How much of the link's room is not taken, in pages. */
size_t ramet_pipeline_room(struct ramet_pipeline *pipeline, uint32_t page_size);
/* How many pages of bulk reads may be under way at once. */
size_t
ramet_pipeline_bulk_pages(struct ramet_pipeline *pipeline, uint32_t page_size);

/* ---- pipeline_batch.c: under the mutex ------------------------------------------ */

/* The queue from which the next request is to come; RAMET_URGENCIES: none. */
enum ramet_urgency ramet_batch_next_queue(struct ramet_pipeline *pipeline);
/* What to ask for next, under way from here on; NULL: nothing, or no memory. */
struct ramet_batch *ramet_batch_take(struct ramet_pipeline *pipeline);

/* ---- pipeline_idle.c ------------------------------------------------------------ */

/* May this thread wait for something to do? Then it says when it no longer does. */
bool ramet_pipeline_may_idle(void);
void ramet_pipeline_idled(void);

/* ---- pipeline_keepers.c: without the mutex -------------------------------------- */

/* `ctx`: the pipeline. A keeper has this page, or need not have it. */
bool ramet_keepers_have(void *ctx, const struct ramet_point *at, uint32_t pgno);
/* The page as a keeper has it. */
bool ramet_keepers_peek(void *ctx, const struct ramet_point *at, uint32_t pgno,
                        uint8_t *out_page, size_t page_size);
/* Where nobody keeps them, in the client's cache. */
void ramet_keepers_keep(struct ramet_pipeline *pipeline,
                        const struct ramet_point *at, const uint32_t *pgnos,
                        size_t count, const uint8_t *pages, size_t page_size,
                        bool in_bulk);
/* How many pages may come unasked for: more would evict what was read. */
size_t ramet_keepers_room(struct ramet_pipeline *pipeline, uint32_t page_size);

/* ---- pipeline.c ----------------------------------------------------------------- */

/* A page of a batch, or one that came along; ctx: the batch. Without the mutex. */
RAMET_NODISCARD enum ramet_rc
ramet_batch_land(void *ctx, uint32_t pgno, const uint8_t *page,
                 struct ramet_err *err);
/* Keep what came and was not kept. Without the mutex. */
void ramet_batch_keep_landed(struct ramet_batch *batch);
/* The page of that want, if it came and was not kept yet. Under the mutex. */
bool ramet_want_has_landed(const struct ramet_want *want, uint8_t *out);
/* There is something to be asked for: see to it that somebody does. Under the
 * mutex. RAMET_OK also where threads that run will. */
RAMET_NODISCARD enum ramet_rc
ramet_pipeline_wake(struct ramet_pipeline *pipeline, struct ramet_err *err);
/* What the predictor may name now. Without the mutex, as the next. */
struct ramet_ahead_list
ramet_pipeline_list(struct ramet_pipeline *pipeline, uint32_t page_size,
                    bool is_miss, uint32_t pgnos[RAMET_BATCH_PAGES]);
/* Queue what it named; `is_now`: to be asked for at once, else whoever calls has
 * more to queue. */
void ramet_pipeline_expect(struct ramet_pipeline *pipeline,
                           const struct ramet_ahead_list *list, bool is_now);

#endif
