/*
 * place_order.h - pages in the order in which they lie, for whoever wants many of them
 * and not in any order of his own.
 *
 * Layer: metastore.
 */
#ifndef RAMET_METASTORE_PLACE_ORDER_H
#define RAMET_METASTORE_PLACE_ORDER_H

#include "metastore/history.h"

/* Are ranges read here (a bucket, a directory), so that pages which lie together are
 * one? Then it pays to ask for pages by where they lie. Of a server they are not: it sends
 * pages. */
bool ramet_history_reads_ranges(const struct ramet_history *history);
/* Sort pages, which ascend and come once, by where their images lie: those that are
 * neighbours afterwards can be read together. As ramet_history_locate() else; they are
 * as they were after a failure. */
RAMET_NODISCARD enum ramet_rc
ramet_history_sort_by_place(struct ramet_history *history,
                            const struct ramet_point *at, uint32_t *io_pgnos,
                            size_t count, struct ramet_err *err);

#endif
