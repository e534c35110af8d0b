/*
 * ahead.c - see ahead.h. Misses that ascend are a scan: readahead.h.
 */
#include "client/remote/ahead.h"

#include "client/remote/readahead.h"
#include "core/alloc.h"

struct ramet_ahead {
    struct ramet_readahead readahead;
};

struct ramet_ahead *
ramet_ahead_new(void)
{
    return ramet_calloc(1, sizeof(struct ramet_ahead));
}

void
ramet_ahead_free(struct ramet_ahead *ahead)
{
    ramet_free(ahead);
}

void
ramet_ahead_missed(struct ramet_ahead *ahead, const struct ramet_head *head,
                   uint32_t pgno, bool is_coming, struct ramet_ahead_list *list)
{
    const uint32_t left = head->page_count - pgno + 1;
    uint32_t max = RAMET_READAHEAD_BYTES / head->page_size;
    uint32_t count;

    if (is_coming)
        return;
    if (max > RAMET_READAHEAD_PAGES)
        max = RAMET_READAHEAD_PAGES;
    if (max > list->max + 1)
        max = (uint32_t)list->max + 1;
    if (max > left)
        max = left;
    count = ramet_readahead_miss(&ahead->readahead, pgno, max);

    for (uint32_t i = 1; i < count; i++)
        list->pgnos[list->count++] = pgno + i;
}

void
ramet_ahead_came(struct ramet_ahead *ahead, const struct ramet_head *head,
                 uint32_t pgno, const uint8_t *page,
                 struct ramet_ahead_list *list)
{
    (void)ahead;
    (void)head;
    (void)pgno;
    (void)page;
    (void)list;
}

void
ramet_ahead_was_read(struct ramet_ahead *ahead, const struct ramet_head *head,
                     uint32_t pgno, const uint8_t *page,
                     struct ramet_ahead_list *list)
{
    (void)ahead;
    (void)head;
    (void)pgno;
    (void)page;
    (void)list;
}
