/*
 * predictor.h - a predictor's state, for the files that have its rules.
 *
 * Layer: prefetch, internal.
 */
#ifndef RAMET_PREFETCH_PREDICTOR_H
#define RAMET_PREFETCH_PREDICTOR_H

#include "prefetch/asks.h"
#include "prefetch/forest.h"
#include "prefetch/prefetch.h"
#include "prefetch/sequence.h"

#define RAMET_TREES 32u
#define RAMET_LINKS 48u
#define RAMET_RECENT 4u   /* trees whose leaves may lead to others' */
#define RAMET_WISHES 256u /* rows whose overflow is wanted, in leaves to come */
#define RAMET_EXPANDED_MAX 16384u
#define RAMET_CHAINS_MAX 4096u

/* Reads of one tree. */
struct ramet_tree {
    uint32_t root; /* 0: free */
    uint64_t used; /* turn */
    int depth;     /* level of the leaves; -1: none was read yet */
    uint32_t last; /* leaf; 0: none */
    /* A scan: */
    int direction;
    uint32_t length; /* steps so far */
    uint32_t window; /* leaves to have ahead; 0: no scan */
    uint32_t rest;   /* leaves to read before looking ahead again */
    bool is_range;   /* it did not begin at an end of the tree */
    struct ramet_run run;
    uint32_t ascents; /* jumps forward by a little, in a row */
    /* Overflow chains: */
    uint32_t chains_read;
    double contiguity; /* how often page p + 1 follows page p */
    double row_pages;  /* pages that a row brings */
};

/* Rows of leaves of `source` lead, by their column, to leaves of `target`. */
struct ramet_link {
    struct ramet_tree *source; /* NULL: free */
    uint32_t source_root;
    uint32_t column;
    struct ramet_tree *target;
    uint32_t target_root;
    uint64_t used; /* turn */
    uint32_t score;
    uint32_t misses;
    /* The search that is under way: */
    uint32_t leaf; /* of the source */
    uint32_t row;
    uint32_t followed;
    int direction;
    bool is_guess; /* another row may have been it */
    bool is_range; /* past the rows with one leading value */
    uint32_t window;
    uint32_t rest; /* rows to follow before looking ahead again */
    struct ramet_run run;
    /* Searches that are over: */
    uint32_t searches;
    double mean_length;
};

struct ramet_wish {
    uint32_t leaf; /* 0: free */
    int64_t rowid;
};

struct ramet_prefetch {
    bool is_database;
    uint32_t budget;
    uint32_t room; /* pages of a scan that are ahead of its reader, at most */
    bool is_full;  /* as much is under way as may be */
    bool is_surveyed;
    bool is_fresh; /* what is read now was missed, or brought ahead */
    struct ramet_forest forest;
    struct ramet_pagemap roots; /* as the schema has them */
    struct ramet_asks asks;
    const struct ramet_run *wanted_by; /* had asked for what is read now */
    struct ramet_run loose; /* asks of no scan and no link; never ends */
    struct ramet_sequence sequence;
    struct ramet_tree trees[RAMET_TREES];
    struct ramet_link links[RAMET_LINKS];
    struct ramet_recent {
        struct ramet_tree *tree; /* NULL: none */
        uint32_t leaf;
        uint64_t turn; /* when it was read */
    } recent[RAMET_RECENT];
    /* Overflow pages that are to come: the tree's slot << 24 | how many follow
     * the page. */
    struct ramet_pagemap chain_of;
    struct ramet_pagemap expanded; /* leaves whose chains were asked for */
    struct ramet_wish wishes[RAMET_WISHES];
    uint32_t wish_hand;
};

/* predictor.c: is the page neither here nor asked for? */
bool ramet_predictor_lacks(struct ramet_prefetch *p, uint32_t pgno);
/* Ask for a page that is lacking, for `run`; true: it is under way for it. */
bool ramet_predictor_ask(struct ramet_prefetch *p, uint32_t pgno,
                         struct ramet_run *run, bool is_urgent);

/* A window that has grown to `window`, at most `most`, and less where much of
 * what was brought of late was in vain. */
uint32_t ramet_predictor_window(const struct ramet_prefetch *p, uint64_t window,
                                uint32_t least, uint32_t most);
/* That of who has read `length` pages in order. */
uint32_t ramet_predictor_scan_window(const struct ramet_prefetch *p,
                                     uint32_t length, bool is_range);

/* tree.c: the tree that the page belongs to; NULL: not known. */
struct ramet_tree *
ramet_tree_of(struct ramet_prefetch *p, uint32_t pgno, unsigned *out_level);
struct ramet_tree *ramet_tree_make(struct ramet_prefetch *p, uint32_t root);

static inline bool
ramet_tree_is(const struct ramet_tree *tree, uint32_t root)
{
    return tree->root != 0 && tree->root == root;
}

/* survey.c: look at what is here of all trees. */
void ramet_survey(struct ramet_prefetch *p);
/* Page 1 tells what of a page is in use; a leaf of the schema, roots. */
void ramet_survey_page_1(struct ramet_prefetch *p, const uint8_t *page);
void
ramet_survey_schema(struct ramet_prefetch *p, const struct ramet_btpage *page);

/* scan.c: a leaf is about to be read, another than the last one. */
void ramet_scan_step(struct ramet_prefetch *p, struct ramet_tree *tree,
                     uint32_t leaf);
void ramet_scan_continue(struct ramet_prefetch *p, struct ramet_tree *tree);
/* interiors.c: an interior page was read. */
void ramet_interiors_read(struct ramet_prefetch *p, struct ramet_node *node);

/* link.c: a leaf was read by a jump. */
void ramet_link_seen(struct ramet_prefetch *p, struct ramet_tree *tree,
                     uint32_t leaf);
/* Go on with links that waited for a page of this tree. */
void
ramet_link_continue(struct ramet_prefetch *p, const struct ramet_tree *tree);
/* Does a link bring leaves of this tree? */
bool
ramet_link_feeds(const struct ramet_prefetch *p, const struct ramet_tree *tree);
bool ramet_link_follows(const struct ramet_prefetch *p,
                        const struct ramet_tree *source);
/* The tree's slot is to be another's. */
void
ramet_link_drop_tree(struct ramet_prefetch *p, const struct ramet_tree *tree);

/* overflow.c: a page of no tree is about to be read; is it one of a chain? */
bool ramet_overflow_want(struct ramet_prefetch *p, uint32_t pgno);
/* A page of a chain is here. */
void ramet_overflow_follow(struct ramet_prefetch *p, uint32_t pgno,
                           const uint8_t *page);
/* All chains of a leaf that is here, once until it is read. */
void ramet_overflow_expand_once(struct ramet_prefetch *p,
                                struct ramet_tree *tree, uint32_t leaf);
/* Those of one row; the leaf may be yet to come. */
void
ramet_overflow_expand_row(struct ramet_prefetch *p, struct ramet_tree *tree,
                          uint32_t leaf, int64_t rowid);
/* A leaf arrived: what was wished of it. */
void ramet_overflow_arrived(struct ramet_prefetch *p, struct ramet_tree *tree,
                            uint32_t leaf);
/* Do readers of this tree read its overflow pages? */
bool ramet_overflow_is_read(const struct ramet_tree *tree);

#endif
