/*
 * fetched.h - pages that were fetched, until a checkpoint moves them.
 *
 * Layer: client, store/page.
 */
#ifndef RAMET_CLIENT_STORE_PAGE_FETCHED_H
#define RAMET_CLIENT_STORE_PAGE_FETCHED_H

#include "client/store/format/frames.h"
#include "client/store/shared/session.h"

struct ramet_fetched {
    struct ramet_logframe frame;
    struct ramet_point at; /* which commit has it so */
    const uint8_t *page;   /* NULL: zeros */
    uint32_t page_size;
};

typedef enum ramet_rc
ramet_fetched_visit(void *ctx, const struct ramet_fetched *fetched,
                    struct ramet_err *err);

/* Each whole frame of fetch files `first` … `last`; *out_end: where they end. */
RAMET_NODISCARD enum ramet_rc
ramet_fetched_walk(struct ramet_replica *replica, uint64_t first, uint64_t last,
                   ramet_fetched_visit *visit, void *ctx,
                   struct ramet_pos *out_end, struct ramet_err *err);
/* Fetched pages that are appended at once: 64 KiB together at most, so that a file
 * has room for them wherever one page of any size would have. */
#define RAMET_FETCHED_RUN 16u
#define RAMET_FETCHED_RUN_BYTES RAMET_PAGE_SIZE_MAX
/* That are given at once, to be placed where that may be (placed.h): 256 KiB at most. */
#define RAMET_GIVEN_RUN 64u
#define RAMET_GIVEN_RUN_BYTES (256u << 10)

struct ramet_fetched_page {
    uint32_t pgno;
    struct ramet_entry
        expected; /* its entry, to be swapped if it is still that */
    struct ramet_entry replaced; /* what the frame names */
    const uint8_t *page;         /* NULL: zeros */
};

/* Append fetched pages by one write, and then swap their entries. Base lock. */
RAMET_NODISCARD enum ramet_rc
ramet_fetched_append(struct ramet_replica *replica,
                     const struct ramet_fetched_page *pages, size_t count,
                     const struct ramet_point *at, uint32_t page_size,
                     struct ramet_err *err);
/* A fetched page that had replaced a version in the log: that version instead.
 * RAMET_ENOTFOUND: its file was retired, so the entry is stale. */
RAMET_NODISCARD enum ramet_rc
ramet_fetched_see_through(struct ramet_replica *replica, uint32_t pgno,
                          struct ramet_entry *io_entry, struct ramet_err *err);
/* So many bytes are worth a checkpoint. */
uint64_t ramet_fetched_enough(const struct ramet_replica *replica);
/* Enough was fetched for that. */
bool ramet_fetched_is_much(struct ramet_replica *replica);
/* A checkpoint has been over all of it. */
void ramet_fetched_was_seen(struct ramet_replica *replica);
/* Apply the fetch files after a crash; alone. */
RAMET_NODISCARD enum ramet_rc
ramet_fetched_recover(struct ramet_session *session, struct ramet_err *err);

#endif
