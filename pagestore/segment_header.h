/*
 * segment_header.h - writing the first bytes of a segment.
 *
 * Layer: pagestore, used by segment.c, segment_writer.c and dict.c; and by
 * whoever tries out a store with a segment that holds nothing (cli/doctor_write.c).
 */
#ifndef RAMET_PAGESTORE_SEGMENT_HEADER_H
#define RAMET_PAGESTORE_SEGMENT_HEADER_H

#include "pagestore/segment.h"

/* `page_size` 0 for a dictionary's. */
void ramet_segment_header_put(uint8_t out[RAMET_SEGMENT_HEADER_SIZE],
                              const struct ramet_sid *id, uint32_t page_size);

#endif
