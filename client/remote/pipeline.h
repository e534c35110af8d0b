/*
 * pipeline.h - pages of one volume on their way here: what readers wait for, what
 * they will need next, and what somebody wants to have.
 *
 * All of a process that lack pages of a volume ask here: replicas, stateless readers,
 * hydrate. Pages are queued, the awaited ones first, and a few threads ask for
 * them, several requests at a time: the next one is sent before the last has
 * ended, as long as the link has room (pace.h). A page that comes is kept by
 * whoever keeps pages here, handed to those who wait for it, and shown to the
 * predictor (ahead.h), which may have more brought.
 *
 *   (1) A page of one commit is asked for once at a time, whoever wants it.
 *   (2) It is kept before it is off the list: who finds it neither here nor on
 *       its way, and no page came in between, is the first to miss it.
 *   (3) A page that is waited for is asked for before all others, and first
 *       among those of its request.
 *   (4) What nobody keeps pages for, or waits for, is neither asked for nor
 *       waited for: a close does not wait for an answer.
 *   (5) A page that can't be brought fails those who wait for it, and no others.
 *   (6) The predictor is told of each page that a reader reads, in his order,
 *       however it came to him: what it is not told of ends a scan.
 *
 * Thread-safe. Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_PIPELINE_H
#define RAMET_CLIENT_REMOTE_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/pageset.h"
#include "core/thread.h"
#include "metastore/history.h"
#include "prefetch/prefetch.h"

struct ramet_remote_client;
struct ramet_pipeline;

/* No I/O. The client owns it, and outlives it. NULL on no memory. */
struct ramet_pipeline *ramet_pipeline_new(struct ramet_remote_client *client,
                                          const struct ramet_vid *volume);
/* Ends what is under way. NULL is fine. */
void ramet_pipeline_free(struct ramet_pipeline *pipeline);

/* Somebody who keeps pages. Zeroed but for these. Its functions are called by
 * any thread, several at a time. */
struct ramet_keeper {
    /* This page of that commit need not be brought. */
    bool (*has)(void *ctx, const struct ramet_point *at, uint32_t pgno);
    /* Keep these, one behind the other at `pages`; `in_bulk`: of a bulk read, for
     * which nobody waits. False: they are of no use here. */
    bool (*keep)(void *ctx, const struct ramet_point *at, const uint32_t *pgnos,
                 size_t count, const uint8_t *pages, size_t page_size,
                 bool in_bulk);
    /* The page as it is here; false: it is not. */
    bool (*peek)(void *ctx, const struct ramet_point *at, uint32_t pgno,
                 uint8_t *out_page, size_t page_size);
    void *ctx;
    size_t ahead_max; /* bytes that may be brought ahead; 0: any */
    /* The pipeline's. */
    struct ramet_keeper *next;
    unsigned calls;
};
void ramet_pipeline_join(struct ramet_pipeline *pipeline,
                         struct ramet_keeper *keeper);
/* Its functions are called no more, and none is being called. */
void ramet_pipeline_leave(struct ramet_pipeline *pipeline,
                          struct ramet_keeper *keeper);

/* Is the page here now? It may have come since it was missed: then its bytes. */
typedef enum ramet_rc
ramet_pipeline_look(void *ctx, uint8_t *out_page, bool *out_here,
                    struct ramet_err *err);
/*
 * Page `pgno` of `head` to `out`; *out_here: `look` found it. `reader`: any
 * address that is the caller's alone. Blocks; RAMET_ETIMEOUT
 * if no page came for `timeout_ms` (0: as long as the remote is waited for),
 * RAMET_ECANCELLED once the thread's waiter has had enough. Others as
 * ramet_remote_client_read_pages().
 */
RAMET_NODISCARD enum ramet_rc
ramet_pipeline_read(struct ramet_pipeline *pipeline, const void *reader,
                    const struct ramet_head *head, uint32_t pgno, uint8_t *out,
                    bool *out_here, uint64_t timeout_ms,
                    ramet_pipeline_look *look, void *look_ctx,
                    struct ramet_err *err);
/* A reader read this page, which was here. False: nothing was missed or brought
 * for long, so that there is no need to tell until something is missed. */
bool ramet_pipeline_note_read(struct ramet_pipeline *pipeline,
                              const void *reader, const struct ramet_head *head,
                              uint32_t pgno, const uint8_t *page);
/* All of these that are not here, before whatever else nobody waits for, in as few
 * requests as may be; but no more than a keeper has room for, of which `brought_before`
 * that are brought for the same have theirs. How many come; 0: all are here, or there is
 * no room. */
size_t ramet_pipeline_bring_ahead(struct ramet_pipeline *pipeline,
                                  const struct ramet_head *head,
                                  const struct ramet_pageset *pages,
                                  size_t brought_before);
/* From here on (`is_on`) `touched` is told of each page that is read, until it is
 * not any more; it outlives the pipeline. False: another is told. */
struct ramet_touched;
bool ramet_pipeline_touches(struct ramet_pipeline *pipeline,
                            struct ramet_touched *touched, bool is_on);
/* Pages that were brought ahead so far. */
struct ramet_prefetch_counts
ramet_pipeline_counts(struct ramet_pipeline *pipeline);

/*
 * A bulk read: many pages that are to be kept, after all that readers want. Whoever
 * does adds pages and waits until few enough are left to come.
 */
struct ramet_bulk_read {
    struct ramet_pipeline *pipeline;
    struct ramet_head head;
    size_t pending;   /* under the pipeline's mutex, as the next */
    size_t waits_for; /* until at most so many are pending */
    uint64_t came;    /* pages */
    enum ramet_rc rc; /* the first failure */
    struct ramet_err err;
    struct ramet_cond some_came;
};
void
ramet_bulk_begin(struct ramet_bulk_read *bulk, struct ramet_pipeline *pipeline,
                 const struct ramet_head *head);
RAMET_NODISCARD enum ramet_rc
ramet_bulk_add(struct ramet_bulk_read *bulk, const uint32_t *pgnos,
               size_t count, struct ramet_err *err);
/* Until at most `most` are to come, or one failed, or the thread's waiter has
 * had enough; at the latest after `ms`: look at what is pending. */
RAMET_NODISCARD enum ramet_rc
ramet_bulk_wait(struct ramet_bulk_read *bulk, size_t most, uint64_t ms,
                size_t *out_pending, uint64_t *out_came, struct ramet_err *err);
/* What did not come is not waited for any more. */
void ramet_bulk_end(struct ramet_bulk_read *bulk);
/* How many pages a bulk read should have to come, so that the link does not idle. */
size_t ramet_bulk_depth(struct ramet_bulk_read *bulk);

#endif
