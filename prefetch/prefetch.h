/*
 * prefetch.h - which pages of a volume to bring before they are asked for.
 *
 * A predictor watches one stream of reads (a connection's) of one volume. It is
 * shown each page that is wanted, read or has arrived, and keeps a queue of
 * pages to bring, best first, from which its owner takes as many as the budget
 * allows: docs/prefetch.md has the rules.
 *
 * It is pure logic: no I/O, no clock, no threads. What it is wrong about costs
 * pages that were brought in vain, never a wrong answer; so hostile pages, a
 * snapshot that moved on under it and a lack of memory need no errors.
 *
 *   (1) no page is asked for that is here, asked for already, or not in the
 *       volume
 *   (2) pages that were taken and did not arrive are at most twice the budget
 *   (3) memory is bounded by the options, whatever the pages say
 *
 * Not thread-safe. Layer: prefetch.
 */
#ifndef RAMET_PREFETCH_PREFETCH_H
#define RAMET_PREFETCH_PREFETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAMET_PREFETCH_MEMORY (8u << 20)
#define RAMET_PREFETCH_BUDGET_MIN 8u
#define RAMET_PREFETCH_BUDGET_MAX 8192u

struct ramet_prefetch;

/* What is here of the volume, without asking the network. */
struct ramet_prefetch_view {
    bool (*is_here)(void *ctx, uint32_t pgno);
    /* The page's bytes; false: it is not here. NULL: never. */
    bool (*peek)(void *ctx, uint32_t pgno, uint8_t *out_page);
    void *ctx;
};

struct ramet_prefetch_options {
    uint32_t page_size;
    uint32_t page_count;
    bool is_database;    /* else pages are only numbers */
    size_t memory_bytes; /* about; 0: RAMET_PREFETCH_MEMORY */
    struct ramet_prefetch_view view;
};

/* Pages, each counted once. */
struct ramet_prefetch_counts {
    uint64_t asked; /* taken from the queue */
    uint64_t used;  /* of these, read since */
    uint64_t vain;  /* of these, given up */
};

/* NULL on no memory. */
struct ramet_prefetch *
ramet_prefetch_new(const struct ramet_prefetch_options *options);
void ramet_prefetch_free(struct ramet_prefetch *prefetch); /* NULL is fine */

/* How many pages may be under way at a time: twice what the link holds. */
void ramet_prefetch_set_budget(struct ramet_prefetch *prefetch, uint32_t pages);
/* How many pages may be here, or under way, and not read yet: as many as whoever
 * keeps them has room for. By default four budgets. */
void ramet_prefetch_set_room(struct ramet_prefetch *prefetch, uint32_t pages);
/* The volume is at another commit: what was known of its pages may be wrong. */
void ramet_prefetch_move(struct ramet_prefetch *prefetch, uint32_t page_count);

/* `pgno` is about to be read. Where it is not here, its owner asks for it, and
 * for what is in the queue now. */
void ramet_prefetch_want(struct ramet_prefetch *prefetch, uint32_t pgno,
                         bool is_here);
/* It was read: its bytes. Always after ramet_prefetch_want(). */
void ramet_prefetch_read(struct ramet_prefetch *prefetch, uint32_t pgno,
                         const uint8_t *page);
/* A page came, asked for by whom it may. */
void ramet_prefetch_arrived(struct ramet_prefetch *prefetch, uint32_t pgno,
                            const uint8_t *page);
/* A page that was taken, or wanted, will not come. */
void ramet_prefetch_lost(struct ramet_prefetch *prefetch, uint32_t pgno);
/* The next pages to ask for, at most `max`, best first: how many. */
size_t ramet_prefetch_take(struct ramet_prefetch *prefetch, uint32_t *out_pgnos,
                           size_t max);

struct ramet_prefetch_counts
ramet_prefetch_counts(const struct ramet_prefetch *prefetch);

#endif
