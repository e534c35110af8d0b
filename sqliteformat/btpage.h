/*
 * btpage.h - a page of one of SQLite's b-trees, read where it lies.
 *
 * Pages are foreign bytes. Opening one costs nothing and promises only that its
 * header and the array of cell pointers lie within it; each accessor checks the
 * cell that it is asked for, and says false where that makes no sense.
 *
 * The layout is SQLite's ("Database File Format", 1.6 and 2.1).
 *
 *   (1) nothing outside of the page's usable bytes is read
 *   (2) what a cell points to (`local`) lies in the page and lives as long
 *
 * Layer: sqliteformat.
 */
#ifndef RAMET_SQLITEFORMAT_BTPAGE_H
#define RAMET_SQLITEFORMAT_BTPAGE_H

#include <stdbool.h>
#include <stdint.h>

#define RAMET_BTPAGE_USABLE_MIN 480u /* SQLite's own bound */
#define RAMET_BTREE_DEPTH_MAX 20u    /* as well */

enum ramet_btpage_kind {
    RAMET_INDEX_INTERIOR = 2, /* also of a WITHOUT ROWID table */
    RAMET_TABLE_INTERIOR = 5,
    RAMET_INDEX_LEAF = 10,
    RAMET_TABLE_LEAF = 13
};

struct ramet_btpage {
    const uint8_t *bytes;
    uint32_t usable;   /* of the page, but for what it keeps free at its end */
    uint32_t cells_at; /* the array of cell pointers */
    uint32_t cell_count;
    enum ramet_btpage_kind kind;
};

struct ramet_btcell {
    uint32_t left_child;  /* of interior pages */
    int64_t rowid;        /* of a table's pages */
    uint64_t payload_len; /* the rest: 0 in a table's interior pages */
    const uint8_t *local; /* the part of the payload that is in the page */
    uint32_t local_len;
    uint32_t overflow; /* the page that has what follows; 0: none */
};

/* False: `page`, which is number `pgno`, is no page of a b-tree. */
bool ramet_btpage_open(struct ramet_btpage *out_page, const uint8_t *page,
                       uint32_t pgno, uint32_t usable);
bool ramet_btpage_is_leaf(const struct ramet_btpage *page);
bool ramet_btpage_is_table(const struct ramet_btpage *page);

/* Where the number stands that says where the cells' bytes begin. */
uint32_t ramet_btpage_content_at(const struct ramet_btpage *page);
/* Cell `index`, from 0 to cell_count - 1. */
bool ramet_btpage_cell(const struct ramet_btpage *page, uint32_t index,
                       struct ramet_btcell *out_cell);
/* Child `index` of an interior page, from 0 to cell_count; as it stands there,
 * be it a page of the file or not. */
bool ramet_btpage_child(const struct ramet_btpage *page, uint32_t index,
                        uint32_t *out_pgno);
/* Pages of the chain that has the rest of a cell's payload. */
uint32_t
ramet_btcell_chain_length(const struct ramet_btcell *cell, uint32_t usable);

/* SQLite's varint at `*at`, which moves past it; false: it runs over `end`. */
bool ramet_sqlite_varint(const uint8_t *bytes, uint32_t end, uint32_t *at,
                         uint64_t *out_value);

#endif
