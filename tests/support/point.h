/*
 * point.h - for tests that know commits by their LSN.
 */
#ifndef RAMET_TESTS_SUPPORT_POINT_H
#define RAMET_TESTS_SUPPORT_POINT_H

#include <string.h>

#include "metastore/history.h"

/* The commit that `history` has at `lsn`; one that nobody has where it has
 * none. Good for four calls more. */
static inline const struct ramet_point *
point_at(struct ramet_history *history, uint64_t lsn)
{
    static _Thread_local struct ramet_point points[4];
    static _Thread_local unsigned next;
    struct ramet_point *const point = &points[next++ % 4];
    struct ramet_head head;

    memset(point, 0, sizeof(*point));
    point->lsn = lsn;
    if (ramet_history_head(history, lsn, &head, NULL) == RAMET_OK)
        point->hash = head.hash;
    return point;
}

#endif
