/*
 * ahead.h - which pages to bring besides the one that is waited for.
 *
 * The pipeline asks it under its mutex, tells it of all that is read, missed and
 * brought, and brings what it answers, in that order. It does no I/O; pages that
 * are here already, or on their way, it may name: they are not brought again.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_AHEAD_H
#define RAMET_CLIENT_REMOTE_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metastore/history.h"

struct ramet_ahead;

/* Where its answers go. */
struct ramet_ahead_list {
    uint32_t *pgnos;
    size_t count, max; /* max: what the link has room for, in pages */
};

struct ramet_ahead *ramet_ahead_new(void); /* NULL on no memory */
void ramet_ahead_free(struct ramet_ahead *ahead);

/* A reader waits for `pgno`, which is not here; `is_coming`: it was asked for
 * already. */
void ramet_ahead_missed(struct ramet_ahead *ahead,
                        const struct ramet_head *head, uint32_t pgno,
                        bool is_coming, struct ramet_ahead_list *list);
/* A page came; whoever asked for it. */
void ramet_ahead_came(struct ramet_ahead *ahead, const struct ramet_head *head,
                      uint32_t pgno, const uint8_t *page,
                      struct ramet_ahead_list *list);
/* A reader read a page that was here. */
void ramet_ahead_was_read(struct ramet_ahead *ahead,
                          const struct ramet_head *head, uint32_t pgno,
                          const uint8_t *page, struct ramet_ahead_list *list);

#endif
