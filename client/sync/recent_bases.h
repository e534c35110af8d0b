/*
 * recent_bases.h - images under the deltas that came along lately, in memory: what
 * a follower makes the next ones with.
 *
 * Whatever it gives is a guess: a delta tells by its sum whether it was right. So
 * nothing has to be told of pulls, resets or other lines, and it may forget at any
 * time.
 *
 *   (1) RAMET_RECENT_BASES_BYTES of images at most; a page has one place.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_RECENT_BASES_H
#define RAMET_CLIENT_SYNC_RECENT_BASES_H

#include <stdint.h>

#define RAMET_RECENT_BASES_BYTES (8u << 20)

struct ramet_recent_bases; /* one thread's at a time */

void ramet_recent_bases_free(struct ramet_recent_bases *recent);
/* NULL: none. Valid until the next put. */
const uint8_t *ramet_recent_bases_get(const struct ramet_recent_bases *recent,
                                      uint32_t pgno, uint32_t page_size);
/* *io_recent is made when it is first needed; without memory nothing is kept. */
void
ramet_recent_bases_put(struct ramet_recent_bases **io_recent, uint32_t pgno,
                       const uint8_t *image, uint32_t page_size);

#endif
