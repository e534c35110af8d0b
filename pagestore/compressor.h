/*
 * compressor.h - pages in, compressed frames out, in order, by any number of
 * threads and in bounded memory.
 *
 * Pages are copied into batches of about 256 KiB; a batch is compressed as a
 * whole, by the caller's thread or by one of the compressor's own, and handed
 * to the sink on the caller's thread, in the order in which it was filled.
 *
 * Layer: pagestore, used by segment_writer.c.
 */
#ifndef RAMET_PAGESTORE_COMPRESSOR_H
#define RAMET_PAGESTORE_COMPRESSOR_H

#include "pagestore/segment.h"

/* A frame of a batch; its body follows that of the one before. */
struct ramet_packed_frame {
    uint32_t first_pgno;
    uint32_t page_count;
    uint32_t length_bytes;
    struct ramet_hash hash; /* XXH3-128 */
};

/* What the sink gets: `frame_count` bodies that fill `len` bytes. Borrowed. */
struct ramet_packed {
    const struct ramet_packed_frame *frames;
    uint32_t frame_count;
    const uint8_t *bodies;
    size_t len;
};

typedef enum ramet_rc
ramet_compressor_sink(void *ctx, const struct ramet_packed *packed,
                      struct ramet_err *err);

struct ramet_compressor;

/* Threads that the system does not give are done without. */
RAMET_NODISCARD enum ramet_rc
ramet_compressor_new(uint32_t page_size, const struct ramet_codec *codec,
                     ramet_compressor_sink *sink, void *ctx,
                     struct ramet_compressor **out_compressor,
                     struct ramet_err *err);
/* Add one page. May call the sink, and wait for a batch to be compressed.
 * Fails with what the sink returned, or RAMET_ENOMEM. */
RAMET_NODISCARD enum ramet_rc
ramet_compressor_add(struct ramet_compressor *compressor, uint32_t pgno,
                     const uint8_t *page, struct ramet_err *err);
/* Hand all that was added to the sink. */
RAMET_NODISCARD enum ramet_rc
ramet_compressor_flush(struct ramet_compressor *compressor,
                       struct ramet_err *err);
/* Stops and joins its threads; what was not flushed is dropped. */
void ramet_compressor_free(struct ramet_compressor *compressor);

#endif
