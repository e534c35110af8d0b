/*
 * bases_table.h - what is known of each page's base image, in memory.
 *
 *   (1) eight bytes a page of a chunk that was asked about, none of another: what the
 *       file says of that *waits*, and is not read
 *   (2) of pages behind RAMET_BASES_PAGES_MAX nothing is ever known
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_BASES_TABLE_H
#define RAMET_CLIENT_SYNC_BASES_TABLE_H

#include "client/sync/bases_format.h"

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

/* What the file says of a chunk, and was not read. */
struct ramet_base_waiting {
    bool is_cut; /* nothing is known of pages above `least` */
    uint32_t least;
    uint32_t next; /* number of what comes after it, from 1; 0: none */
    struct ramet_bases_section section; /* or else this one, */
    uint64_t offset;                    /* which is there */
};

struct ramet_base_chunk {
    uint64_t *words; /* NULL: nothing is known */
    /* What waits on top of that, in order: numbers, 0: none. */
    uint32_t first_waiting, last_waiting;
};

struct ramet_base_table {
    struct ramet_base_chunk *chunks;
    uint32_t chunk_count;
    struct ramet_base_waiting *waiting;
    uint32_t waiting_count, waiting_capacity;
    uint32_t waiting_free; /* the first number that is not in use; 0: none */
    struct ramet_base_packed *packed; /* of what was read */
    uint32_t packed_count, packed_capacity;
    uint64_t packed_bytes;
};

void ramet_base_table_init(struct ramet_base_table *table);
void ramet_base_table_clear(struct ramet_base_table *table); /* frees all */

/* A section that waits. */
RAMET_NODISCARD enum ramet_rc
ramet_base_table_add(struct ramet_base_table *table,
                     const struct ramet_bases_section *section,
                     uint64_t offset);
/* Nothing is known of pages above `least`, now or once what waits was read. */
RAMET_NODISCARD enum ramet_rc
ramet_base_table_cut(struct ramet_base_table *table, uint32_t least);
/* What waits first of a chunk, which waits no more; false: nothing does. */
bool
ramet_base_table_next_waiting(struct ramet_base_table *table, uint32_t chunk,
                              struct ramet_base_waiting *out);
/* Does more than one wait? */
bool ramet_base_table_has_waiting(const struct ramet_base_table *table,
                                  uint32_t chunk, bool *out_more);

/* Of what was read: */

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
/* The next page > `pgno` of which something is known; 0: none. */
uint32_t
ramet_base_table_next(const struct ramet_base_table *table, uint32_t pgno);

#endif
