/*
 * bases_table.h - what is known of each page's base image, in memory.
 *
 *   (1) eight bytes a page, for pages up to RAMET_BASES_PAGES_MAX: nothing is ever
 *       known of those behind
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_BASES_TABLE_H
#define RAMET_CLIENT_SYNC_BASES_TABLE_H

#include "client/sync/bases_format.h"

#define RAMET_BASES_PAGES_MAX (4u << 20)

/* A base image that is packed in the file. */
struct ramet_base_packed {
    enum ramet_base_note_kind kind; /* PACKED or BACK */
    uint32_t pgno;
    uint32_t length;
    uint64_t offset; /* in the file */
    uint64_t sum;
    uint32_t deltas; /* over it, since it was stored in the remote */
    uint64_t delta_bytes;
};

struct ramet_base_table {
    uint64_t **chunks;
    uint32_t chunk_count;
    struct ramet_base_packed *packed;
    uint32_t packed_count, packed_capacity;
    uint64_t packed_bytes;
};

void ramet_base_table_init(struct ramet_base_table *table);
void ramet_base_table_clear(struct ramet_base_table *table); /* frees all */

/* The page itself is an image in the remote, with this checksum (63 bits of it):
 * compare by ramet_base_sum_is(). */
bool ramet_base_table_image(const struct ramet_base_table *table, uint32_t pgno,
                            uint64_t *out_sum);
bool ramet_base_sum_is(uint64_t known, uint64_t sum);
/* The page has a delta over this; NULL: not known. Valid until the table is
 * changed. */
struct ramet_base_packed *
ramet_base_table_packed(const struct ramet_base_table *table, uint32_t pgno);

/* Nothing is known of these pages. */
void ramet_base_table_forget(struct ramet_base_table *table, uint32_t first,
                             uint32_t last);
/* A note; `offset` is where its packed page lies, which the caller knows. */
RAMET_NODISCARD enum ramet_rc
ramet_base_table_note(struct ramet_base_table *table,
                      const struct ramet_base_note *note, uint64_t offset);
/* The same for notes of the images of `count` pages from `first` on, as they are in the
 * file (ramet_bases_note_images()). */
RAMET_NODISCARD enum ramet_rc
ramet_base_table_note_images(struct ramet_base_table *table, uint32_t first,
                             const uint8_t *notes, size_t count);
/* The next page > `pgno` of which something is known; 0: none. */
uint32_t
ramet_base_table_next(const struct ramet_base_table *table, uint32_t pgno);

#endif
