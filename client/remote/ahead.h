/*
 * ahead.h - which pages to bring besides the one that is waited for.
 *
 * A predictor (prefetch/) for each of the readers of a volume: what one reads
 * must not look like a jump of another. The pipeline tells of all that is missed,
 * read and brought, and brings what it is answered, in that order.
 *
 * Thread-safe, by a mutex of its own, under which it asks what is here: the
 * pipeline's mutex is not held. Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_AHEAD_H
#define RAMET_CLIENT_REMOTE_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metastore/history.h"
#include "prefetch/prefetch.h"

struct ramet_ahead;

/* What is here, without asking the remote. */
struct ramet_ahead_view {
    bool (*is_here)(void *ctx, const struct ramet_point *at, uint32_t pgno);
    bool (*peek)(void *ctx, const struct ramet_point *at, uint32_t pgno,
                 uint8_t *out_page, size_t page_size);
    void *ctx;
};

/* Where its answers go: pages of one commit. */
struct ramet_ahead_list {
    struct ramet_head head;
    uint32_t *pgnos;
    size_t count, max; /* max: what the link has room for, in pages */
    uint32_t budget;   /* what it holds twice, in pages */
    uint32_t room;     /* how many may be here and not read yet */
};

/* NULL on no memory. */
struct ramet_ahead *ramet_ahead_new(const struct ramet_ahead_view *view);
void ramet_ahead_free(struct ramet_ahead *ahead);
/* Nobody reads any more: forget all that was seen. */
void ramet_ahead_clear(struct ramet_ahead *ahead);

/* `reader`, any address that is his alone, waits for `pgno`, which is not here. */
void ramet_ahead_missed(struct ramet_ahead *ahead, const void *reader,
                        const struct ramet_head *head, uint32_t pgno,
                        struct ramet_ahead_list *list);
/* He has it now; or read one that was here. */
void ramet_ahead_got(struct ramet_ahead *ahead, const void *reader,
                     const struct ramet_head *head, uint32_t pgno,
                     const uint8_t *page, struct ramet_ahead_list *list);
void ramet_ahead_was_read(struct ramet_ahead *ahead, const void *reader,
                          const struct ramet_head *head, uint32_t pgno,
                          const uint8_t *page, struct ramet_ahead_list *list);
/* A page came, whoever asked for it. */
void ramet_ahead_came(struct ramet_ahead *ahead, const struct ramet_point *at,
                      uint32_t pgno, const uint8_t *page,
                      struct ramet_ahead_list *list);
/* These did not come, and are asked for no more. */
void ramet_ahead_lost(struct ramet_ahead *ahead, const struct ramet_point *at,
                      const uint32_t *pgnos, size_t count);

struct ramet_prefetch_counts ramet_ahead_counts(struct ramet_ahead *ahead);
/* Of all readers of this process that ended. */
struct ramet_prefetch_counts ramet_ahead_counts_process(void);

#endif
