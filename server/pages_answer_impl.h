/*
 * pages_answer_impl.h - what an answer to a request for pages holds: what a slice of
 * pages needs is found by pages_slice.c and pages_deltas.c, and sent by pages_answer.c.
 *
 * Layer: server, private.
 */
#ifndef RAMET_SERVER_PAGES_ANSWER_IMPL_H
#define RAMET_SERVER_PAGES_ANSWER_IMPL_H

#include "pagestore/delta_loose.h"
#include "server/pages_answer.h"
#include "server/range_set.h"

#define RAMET_SLICE_PAGES 64u
/* Of a slice: a frame, a dictionary, a block of deltas and the front of one for each
 * page, and metadata. */
#define RAMET_SLICE_RANGES_MAX 1024u

struct ramet_answer_range {
    struct ramet_object_range object;
    uint32_t length;
    bool ends_object;
    /* 0: metadata, which the history has read and verified. */
    uint8_t hash_algo;
    struct ramet_hash hash;
};

/* The next pages of a request. */
struct ramet_slice {
    uint32_t asked[RAMET_SLICE_PAGES], sorted[RAMET_SLICE_PAGES];
    size_t count;
    struct ramet_located located[RAMET_SLICE_PAGES]; /* by ascending page */
};

struct ramet_answer {
    struct ramet_server *server;
    struct ramet_open_volume *vol;
    struct ramet_pages_request request;
    struct ramet_point at;          /* where the pages are looked for */
    uint32_t page_size, page_count; /* there */
    uint32_t run, next;             /* the next page: runs[run].first + next */
    uint64_t sent;                  /* range records */
    struct ramet_range_set set;
    struct ramet_answer_range *ranges; /* of this slice */
    size_t range_count, range_next;
    uint32_t copied; /* bytes of ranges[range_next]; 0: its record is to come */
    bool is_wrong;   /* that range, in the store, too */
    struct ramet_loose_writer *loose; /* NULL: none was needed yet */
    struct ramet_buf
        records; /* of loose deltas: they follow the slice's ranges */
    size_t records_copied;
    size_t
        images_at; /* of ranges: from there on the slice's images; before them records */
    struct ramet_answer_source source; /* more == NULL: there are no more */
};

/* ---- pages_ranges.c ---- */

struct ramet_answer_range
ramet_answer_range_of(const struct ramet_extent *extent);
void ramet_answer_add_range(struct ramet_answer *answer,
                            const struct ramet_answer_range *range);

/* ---- pages_slice.c ---- */

/* Locate the next slice, and list what it needs in answer->ranges and records. */
RAMET_NODISCARD enum ramet_rc
ramet_answer_next_slice(struct ramet_answer *answer, struct ramet_err *err);

/* ---- pages_deltas.c ---- */

/* Is this block one of which the client has the front, or gets it otherwise? */
void ramet_answer_pass_over_block(struct ramet_answer *answer,
                                  const struct ramet_extent *block);
/* Of the slice's deltas: whole blocks for who wants these, or for a few pages; else
 * fronts, and loose deltas. What can't be read goes whole, so that whoever sends it says so. */
void ramet_answer_add_deltas(struct ramet_answer *answer,
                             const struct ramet_slice *slice);

#endif
