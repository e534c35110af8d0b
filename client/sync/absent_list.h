/*
 * absent_list.h - the pages that are not here, some at a time, in the order in which
 * they are best asked for.
 *
 * That is the order of the file; but where ranges are read (a bucket, a directory) those of a
 * group come by where they lie (docs/format.md, "Frame table"), as far as that is
 * known: what is asked for at a time is few ranges then.
 *
 *   (1) each page once; of what came meanwhile nothing, if the caller says so
 *   (2) memory: as many pages as are listed at once
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_ABSENT_LIST_H
#define RAMET_CLIENT_SYNC_ABSENT_LIST_H

#include "client/store/store.h"
#include "metastore/history.h"

#define RAMET_ABSENT_AT_ONCE 4096u

struct ramet_absent_list {
    struct ramet_history *history;
    struct ramet_point at;
    uint32_t page_size;
    bool is_by_place;
    uint32_t after; /* all up to there were listed */
    uint32_t from;  /* those that are listed are above it */
    size_t count, next;
    uint32_t *pgnos; /* RAMET_ABSENT_AT_ONCE */
};

/* From page `after` + 1 on. RAMET_ENOMEM. */
RAMET_NODISCARD enum ramet_rc
ramet_absent_list_begin(struct ramet_absent_list *list,
                        struct ramet_history *history,
                        const struct ramet_head *head, uint32_t after,
                        struct ramet_err *err);
void ramet_absent_list_end(struct ramet_absent_list *list);
/* The next ones, `max` at most, until the next call; none: there are no more. The
 * session is pinned at the list's point. `again`: some that were listed
 * may be here by now, and are left out. */
RAMET_NODISCARD enum ramet_rc
ramet_absent_list_next(struct ramet_absent_list *list,
                       struct ramet_session *session, size_t max, bool again,
                       const uint32_t **out_pgnos, size_t *out_count,
                       struct ramet_err *err);
/* All up to there were given, or came: where another list may go on. */
uint32_t ramet_absent_list_after(const struct ramet_absent_list *list);

#endif
