/*
 * frame_locations.h - where pages lie, as found lately: (volume, LSN, hash, page)
 * -> place.
 *
 * What history finds out by reading heads and nodes is kept here in 96 bytes,
 * so that an event thread can answer a warm page read without waiting for
 * anything. A fixed table; a newer entry takes an older one's place.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_FRAME_LOCATIONS_H
#define RAMET_SERVER_FRAME_LOCATIONS_H

#include "metastore/commit.h"
#include "pagestore/frame.h"

struct ramet_frame_locations;

struct ramet_frame_locations *ramet_frame_locations_new(size_t entries);
void ramet_frame_locations_free(struct ramet_frame_locations *locations);
/* A hash of zeros is one like any other: of requests that name none. */
void ramet_frame_locations_put(struct ramet_frame_locations *locations,
                               const struct ramet_vid *volume,
                               const struct ramet_point *at, uint32_t pgno,
                               const struct ramet_frame *frame);
/* False: not known. out_frame has volume, kind, segment, lsn, offset, length,
 * hash and page count (0: a page of zeros), the rest is zero. */
bool ramet_frame_locations_get(struct ramet_frame_locations *locations,
                               const struct ramet_vid *volume,
                               const struct ramet_point *at, uint32_t pgno,
                               struct ramet_frame *out_frame);

#endif
