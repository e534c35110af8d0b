/*
 * forest.h - what is known of a database's b-trees, from pages that were seen.
 *
 * Interior pages are kept as they are, in bounded memory, and with them which
 * page is whose child; beside them a few leaves. A page that is not kept and is
 * here all the same is looked at again. Which trees there are shows by itself:
 * a root is an interior page that nobody has for a child.
 *
 * Pages are foreign, and may be of different commits: what is said of them is
 * likely, no more. Every walk ends, by the bound on a tree's depth.
 *
 *   (1) what was handed out in one turn stays where it is until the next
 *   (2) every child of a kept interior page is a number from 2 to page_count
 *   (3) parent_of has for each page the kept page that named it last
 *
 * Layer: prefetch, internal.
 */
#ifndef RAMET_PREFETCH_FOREST_H
#define RAMET_PREFETCH_FOREST_H

#include "prefetch/pagemap.h"
#include "prefetch/prefetch.h"
#include "sqliteformat/btpage.h"
#include "sqliteformat/record.h"

/* An interior page. */
struct ramet_node {
    struct ramet_btpage page;
    uint8_t *bytes;
    uint32_t pgno; /* 0: free */
    uint64_t turn; /* in which it was last used */
    bool is_warm;  /* used since the clock's hand passed */
    bool was_read; /* and counted with its parent */
    bool siblings_asked;
    uint32_t children_read; /* interior ones */
};

struct ramet_kept_leaf {
    uint8_t *bytes;
    uint32_t pgno; /* 0: free */
    uint64_t turn;
};

struct ramet_forest {
    struct ramet_prefetch_view view;
    uint32_t page_size;
    uint32_t usable;
    uint32_t page_count;
    uint64_t turn;
    struct ramet_node *nodes;
    uint32_t node_max;
    uint32_t hand;
    size_t node_bytes; /* of all of them, and of their children's entries */
    size_t node_bytes_max;
    struct ramet_pagemap node_of;   /* page to its slot in nodes */
    struct ramet_pagemap parent_of; /* page to slot << 16 | index in it */
    struct ramet_kept_leaf *leaves;
    uint32_t leaf_max;
    uint32_t leaf_hand;
    uint8_t *scratch; /* a page */
};

bool ramet_forest_init(struct ramet_forest *forest,
                       const struct ramet_prefetch_options *options);
void ramet_forest_done(struct ramet_forest *forest);
/* Forget all pages. */
void ramet_forest_clear(struct ramet_forest *forest);

/* Keep a page; false: it is none of a b-tree. *out_page is that of the copy,
 * or of `bytes` where there was no room for one. */
bool ramet_forest_learn(struct ramet_forest *forest, uint32_t pgno,
                        const uint8_t *bytes, struct ramet_btpage *out_page);

/* An interior page; NULL: it is not here, or no interior page. */
struct ramet_node *
ramet_forest_node(struct ramet_forest *forest, uint32_t pgno);
/* A leaf; false: it is not here, or no leaf. */
bool ramet_forest_leaf(struct ramet_forest *forest, uint32_t pgno,
                       struct ramet_btpage *out_page);
/* As above, and until the next such call at most: it costs no place among the
 * leaves that are kept. */
bool ramet_forest_glance(struct ramet_forest *forest, uint32_t pgno,
                         struct ramet_btpage *out_page);
/* The first four bytes of any page that is here: those of an overflow page are
 * the next one's number. */
bool ramet_forest_first_bytes(struct ramet_forest *forest, uint32_t pgno,
                              uint8_t out[4]);
/* The page that has `pgno` for its child, and as which; NULL: not known. */
struct ramet_node *ramet_forest_parent(struct ramet_forest *forest,
                                       uint32_t pgno, uint32_t *out_index);
/* The page from which `pgno` descends, maybe itself; 0: none. */
uint32_t ramet_forest_root(struct ramet_forest *forest, uint32_t pgno,
                           unsigned *out_level);

/* The next page of the same level, after it (+1) or before it (-1). 0: there
 * is none, or *out_gap is the interior page that would tell. */
uint32_t ramet_forest_beside(struct ramet_forest *forest, uint32_t pgno,
                             int direction, uint32_t *out_gap);
/* Steps from page `from` to page `to` in the order of the tree, within `max`
 * either way; else 0. */
int ramet_forest_distance(struct ramet_forest *forest, uint32_t from,
                          uint32_t to, uint32_t max);
/* The cell that parts a page from the one after (+1) or before it (-1). */
bool ramet_forest_separator(struct ramet_forest *forest, uint32_t pgno,
                            int direction, struct ramet_btpage *out_page,
                            struct ramet_btcell *out_cell);
/* The value by which a cell is found: the rowid, or the first column. */
bool
ramet_forest_key(const struct ramet_btpage *page,
                 const struct ramet_btcell *cell, struct ramet_value *out_key);

/* Where `key` leads. `depth`: level of the leaves; negative: not known. 0: to
 * no place that is known. *out_is_leaf: to this leaf; else to this interior
 * page, which is not here. */
uint32_t
ramet_forest_find(struct ramet_forest *forest, uint32_t root, int depth,
                  const struct ramet_value *key, bool *out_is_leaf);

#endif
