/*
 * link_rows.h - the rows of a leaf, and the columns by which they may lead to
 * another tree.
 *
 * Rows of an index stand in its interior pages as well: the one before a leaf
 * is its row 0, the one after it its last.
 *
 * Layer: prefetch, internal.
 */
#ifndef RAMET_PREFETCH_LINK_ROWS_H
#define RAMET_PREFETCH_LINK_ROWS_H

#include "prefetch/forest.h"

#define RAMET_COLUMNS_MAX 8u

/* Good until the turn ends. */
struct ramet_rows {
    uint32_t leaf;
    struct ramet_btpage page;
    uint32_t count; /* of rows, the two beside the leaf included */
    bool has_before;
    bool has_after;
    struct ramet_btcell before;
    struct ramet_btcell after;
};

/* False: the leaf is not here. */
bool ramet_rows_open(struct ramet_forest *forest, uint32_t leaf,
                     struct ramet_rows *out_rows);
/* A row's column; of a table's rows, column 0 is the rowid. */
bool ramet_rows_value(const struct ramet_rows *rows, uint32_t row,
                      uint32_t column, struct ramet_value *out_value);
/* The columns to try, likeliest first: an index's last, where the rowid is. */
uint32_t ramet_rows_columns(const struct ramet_rows *rows,
                            uint32_t out_columns[RAMET_COLUMNS_MAX]);
/* Where to begin, going this way. */
uint32_t ramet_rows_first(const struct ramet_rows *rows, int direction);
/* Do two rows begin with the same value? */
bool ramet_rows_agree(const struct ramet_rows *a, uint32_t row_a,
                      const struct ramet_rows *b, uint32_t row_b);

#endif
