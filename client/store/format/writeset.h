/*
 * writeset.h - which pages a transaction has written, and where they are.
 *
 * A few pages stand in a dense array, found through a hash table; a large
 * transaction goes over to an array by page number in an unlinked temporary
 * file, mapped a piece at a time, so that memory does not grow with it.
 *
 *   (1) an entry of 0 means: not in the set
 *   (2) the table is at most half full, so that every search in it ends
 *   (3) pages are in the pieces as long as there are any, and `fd` is open
 *       then; else in the dense array
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_FORMAT_WRITESET_H
#define RAMET_CLIENT_STORE_FORMAT_WRITESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/store/format/pos.h"
#include "core/err.h"
#include "core/os.h"

struct ramet_written_page {
    struct ramet_entry entry; /* as in the index; the frame's position */
    uint32_t pgno;
    bool is_rewritten;
};

struct ramet_writeset {
    struct ramet_written_page *dense;
    uint32_t count;
    uint32_t capacity;
    uint32_t *table;     /* 1 + place in dense; 0: free */
    uint32_t table_size; /* power of two */
    /* Large: */
    int fd; /* valid while `pieces` is set */
    struct ramet_entry **pieces;
    uint32_t piece_count;
    uint32_t high; /* highest page in the pieces */
};

void ramet_writeset_init(struct ramet_writeset *set);
void ramet_writeset_done(struct ramet_writeset *set, const struct ramet_os *os);
/* Empty it; keeps small memory only. */
void
ramet_writeset_clear(struct ramet_writeset *set, const struct ramet_os *os);
struct ramet_entry
ramet_writeset_get(const struct ramet_writeset *set, uint32_t pgno);
/* Set or replace. `dir_fd`, `slot`: where a temporary file may be made, and a
 * number nobody else uses there. */
RAMET_NODISCARD enum ramet_rc
ramet_writeset_put(struct ramet_writeset *set, const struct ramet_os *os,
                   int dir_fd, uint32_t slot, uint32_t pgno,
                   struct ramet_entry entry, struct ramet_err *err);
/* Take out all pages above `last`. */
void ramet_writeset_truncate(struct ramet_writeset *set, uint32_t last);
void ramet_writeset_remove(struct ramet_writeset *set, uint32_t pgno);
/* Walk: *io_cursor begins at 0; false at the end. Not in page order. */
bool ramet_writeset_next(const struct ramet_writeset *set, uint64_t *io_cursor,
                         uint32_t *out_pgno, struct ramet_entry *out_entry);

#endif
