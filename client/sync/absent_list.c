/*
 * absent_list.c - see absent_list.h.
 *
 * Layer: client.
 */
#include "client/sync/absent_list.h"

#include <assert.h>

#include "client/store/exchange.h"
#include "core/alloc.h"
#include "metastore/place_order.h"
#include "pagestore/segment.h"

enum ramet_rc
ramet_absent_list_begin(struct ramet_absent_list *list,
                        struct ramet_history *history,
                        const struct ramet_head *head, uint32_t after,
                        struct ramet_err *err)
{
    assert(history != NULL && head->lsn > 0);
    *list = (struct ramet_absent_list){
        .history = history,
        .at = ramet_head_point(head),
        .page_size = head->page_size,
        .is_by_place = ramet_history_reads_ranges(history),
        .after = after,
        .pgnos = ramet_alloc(RAMET_ABSENT_AT_ONCE * sizeof(*list->pgnos))};
    return list->pgnos != NULL
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "absent pages: no memory");
}

void
ramet_absent_list_end(struct ramet_absent_list *list)
{
    ramet_free(list->pgnos);
    list->pgnos = NULL;
}

static size_t
put_pages(const struct ramet_pageset *set, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < set->run_count; i++)
        for (uint64_t p = set->runs[i].first; p <= set->runs[i].last; p++)
            out[count++] = (uint32_t)p;
    return count;
}

/* How many of the listed pages are of whole groups, or of one: where the last is not
 * known to be the last of its group, it waits for the others. */
static size_t
whole_groups(const struct ramet_absent_list *list)
{
    const uint32_t first = ramet_segment_group(list->pgnos[0], list->page_size);
    const uint32_t last =
        ramet_segment_group(list->pgnos[list->count - 1], list->page_size);
    size_t count = list->count;

    assert(count >= 1 && first <= last);
    if (count < RAMET_ABSENT_AT_ONCE || first == last)
        return count;
    while (ramet_segment_group(list->pgnos[count - 1], list->page_size) == last)
        count--;
    assert(count >= 1);
    return count;
}

static enum ramet_rc
fill(struct ramet_absent_list *list, struct ramet_session *session, size_t max,
     struct ramet_err *err)
{
    struct ramet_pageset absent;
    enum ramet_rc rc;

    assert(max >= 1 && max <= RAMET_ABSENT_AT_ONCE);
    ramet_pageset_init(&absent);
    rc = ramet_session_absent(session, list->after, max, &absent, err);
    list->next = list->count = 0;
    if (rc == RAMET_OK)
        list->count = put_pages(&absent, list->pgnos);
    ramet_pageset_done(&absent);
    if (list->count == 0)
        return rc;
    assert(list->count <= max);
    if (list->is_by_place)
        list->count = whole_groups(list);
    list->from = list->after;
    list->after = list->pgnos[list->count - 1];
    return list->is_by_place
               ? ramet_history_sort_by_place(list->history, &list->at,
                                             list->pgnos, list->count, err)
               : RAMET_OK;
}

/* Those of the listed pages that are not here now: the others are left out. */
static enum ramet_rc
look_again(struct ramet_absent_list *list, struct ramet_session *session,
           struct ramet_err *err)
{
    struct ramet_pageset absent;
    size_t kept = list->next;
    enum ramet_rc rc;

    ramet_pageset_init(&absent);
    rc = ramet_session_absent(session, list->from, RAMET_ABSENT_AT_ONCE,
                              &absent, err);
    for (size_t i = list->next; rc == RAMET_OK && i < list->count; i++)
        if (ramet_pageset_contains(&absent, list->pgnos[i]))
            list->pgnos[kept++] = list->pgnos[i];
    ramet_pageset_done(&absent);
    if (rc == RAMET_OK)
        list->count = kept;
    return rc;
}

enum ramet_rc
ramet_absent_list_next(struct ramet_absent_list *list,
                       struct ramet_session *session, size_t max, bool again,
                       const uint32_t **out_pgnos, size_t *out_count,
                       struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_session_is_pinned(session) && max >= 1);
    if (max > RAMET_ABSENT_AT_ONCE)
        max = RAMET_ABSENT_AT_ONCE;
    if (again && list->next < list->count)
        rc = look_again(list, session, err);
    if (rc == RAMET_OK && list->next == list->count)
        rc = fill(list, session, list->is_by_place ? RAMET_ABSENT_AT_ONCE : max,
                  err);
    if (rc != RAMET_OK)
        return rc;
    *out_count =
        list->count - list->next < max ? list->count - list->next : max;
    *out_pgnos = list->pgnos + list->next;
    list->next += *out_count;
    return RAMET_OK;
}

uint32_t
ramet_absent_list_after(const struct ramet_absent_list *list)
{
    assert(list->next <= list->count);
    return list->next == list->count ? list->after : list->from;
}
