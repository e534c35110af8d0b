/*
 * tree_order.h - the order in which whoever goes through a database's trees wants
 * their pages.
 *
 * Tree by tree, as the schema names them, itself first: interior pages, level by level,
 * then leaves in the order of their keys, then the overflow of their cells. Who goes through
 * a tree asks for many leaves, and then for the chains of many rows: at once where these
 * are pages with consecutive numbers, else for the first page of each, and for the second
 * when he knows which it is. So the pages of a chain that goes on with the next number
 * come one behind the other, and among these the first pages of all others; then come
 * the second pages of the others, the third ones, and so on.
 *
 *   (1) a page has one place: the first that leads to it wins, whatever pages say
 *   (2) the bytes are foreign: any of them gives an order, in bounded time and
 *       memory (12 bytes a page besides the ranks); nothing follows from a wrong one but
 *       that scans are slower
 *   (3) what is not here leads nowhere
 *   (4) leaves are only looked at where they are likely to lead further: those of the
 *       schema, and those of trees where one of some that are looked at has overflow
 *
 * Left out, as if no tree reached them: overflow of interior pages of an index, of
 * trees in whose sample none had any, and what a schema record that is cut off names.
 *
 * Layer: sqliteformat.
 */
#ifndef RAMET_SQLITEFORMAT_TREE_ORDER_H
#define RAMET_SQLITEFORMAT_TREE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

struct ramet_tree_order {
    /* Give page `pgno`, of page_size bytes, if it is here without the network. */
    bool (*read)(void *ctx, uint32_t pgno, uint8_t *out);
    void *ctx;
    uint32_t page_size;
    uint32_t page_count;
    uint64_t reads_max; /* how often it is called at most; then the rest leads
                         nowhere */
};

/* ranks[pgno - 1] of each page, page_count of them: 0 if no tree reaches it,
 * else its place, from 1 on. RAMET_ENOMEM. */
RAMET_NODISCARD enum ramet_rc
ramet_tree_order_find(const struct ramet_tree_order *order, uint32_t *out_ranks,
                      struct ramet_err *err);

#endif
