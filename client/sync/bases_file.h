/*
 * bases_file.h - the file `bases` of a replica, and what it says.
 *
 * A chain of records, each from one commit to the next that is known. What is not
 * as it was written ends the chain: what follows is overwritten. It is never
 * synced: a record is believed by its checksum, each of its sections by another, a packed
 * page by that of the image.
 *
 * All of it needs the push lock; one thread at a time.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_BASES_FILE_H
#define RAMET_CLIENT_SYNC_BASES_FILE_H

#include "client/store/store.h"
#include "client/sync/bases_step.h"
#include "client/sync/bases_table.h"
#include "core/os.h"

struct ramet_bases_file {
    const struct ramet_os *os;
    struct ramet_replica *replica;
    uint64_t bytes_max;
    int fd; /* -1: not open */
    /* What was read, up to `end`; kept as long as the file is that one. */
    struct ramet_bases_header header;
    uint64_t end;       /* of the last record; 0: nothing was read */
    uint64_t first_end; /* of the first one */
    uint64_t record_count;
    struct ramet_point at; /* where what is known is so; lsn 0: nothing is */
    struct ramet_base_table table;
    struct ramet_bases_step step;
};

/* No I/O. */
void
ramet_bases_file_init(struct ramet_bases_file *file, const struct ramet_os *os,
                      struct ramet_replica *replica);
void ramet_bases_file_done(struct ramet_bases_file *file);

/* Open it, and see what its records have; a file of another volume, or of
 * pages of another size, becomes a new one, and one that has grown to its bound
 * is written anew without what is old. Whatever is returned, close it. */
RAMET_NODISCARD enum ramet_rc
ramet_bases_file_open(struct ramet_bases_file *file,
                      const struct ramet_vid *volume, uint32_t page_size,
                      uint64_t bytes_max);
void ramet_bases_file_close(struct ramet_bases_file *file);
/* Nothing is known any more, here or there. */
RAMET_NODISCARD enum ramet_rc
ramet_bases_file_forget(struct ramet_bases_file *file,
                        const struct ramet_vid *volume, uint32_t page_size);

/* Read what the file says of a page, and of the others of its chunk, into the table. What
 * is not as it was written, or can't be read, leaves nothing known of these. */
void ramet_bases_file_need(struct ramet_bases_file *file, uint32_t pgno);

/* A record: begin, notes by `step`, then end, from which on it is true. */
void ramet_bases_file_begin(struct ramet_bases_file *file);
RAMET_NODISCARD enum ramet_rc
ramet_bases_file_end(struct ramet_bases_file *file,
                     const struct ramet_point *before,
                     const struct ramet_point *after,
                     uint32_t least_page_count);

/* `len` bytes at `offset`. */
RAMET_NODISCARD enum ramet_rc
ramet_bases_file_read(const struct ramet_bases_file *file, void *buf,
                      size_t len, uint64_t offset);

#endif
