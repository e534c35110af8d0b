/*
 * placed.h - where pages lie, as found lately: (volume, LSN, hash, page)
 * -> place.
 *
 * What history finds out by reading heads and nodes is kept here in 80 bytes,
 * so that an event thread can answer a warm page read without waiting for
 * anything. A fixed table; a newer entry takes an older one's place.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_PLACED_H
#define RAMET_SERVER_PLACED_H

#include "metastore/commit.h"
#include "pagestore/frame.h"

struct ramet_placed;

struct ramet_placed *ramet_placed_new(size_t entries);
void ramet_placed_free(struct ramet_placed *placed);
/* A hash of zeros is one like any other: of requests that name none. */
void
ramet_placed_put(struct ramet_placed *placed, const struct ramet_vid *volume,
                 const struct ramet_point *at, uint32_t pgno,
                 const struct ramet_frame *frame);
/* False: not known. out_frame has volume, kind, segment, lsn, offset, length
 * and page count (0: a page of zeros), the rest is zero. */
bool
ramet_placed_get(struct ramet_placed *placed, const struct ramet_vid *volume,
                 const struct ramet_point *at, uint32_t pgno,
                 struct ramet_frame *out_frame);

#endif
