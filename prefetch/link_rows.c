/*
 * link_rows.c - see link_rows.h.
 *
 * Layer: prefetch.
 */
#include "prefetch/link_rows.h"

#include <assert.h>

bool
ramet_rows_open(struct ramet_forest *forest, uint32_t leaf,
                struct ramet_rows *out_rows)
{
    struct ramet_rows rows = {.leaf = leaf};
    struct ramet_btpage above;

    assert(leaf != 0);
    if (!ramet_forest_leaf(forest, leaf, &rows.page))
        return false;
    rows.count = rows.page.cell_count + 2;
    if (!ramet_btpage_is_table(&rows.page)) {
        rows.has_before =
            ramet_forest_separator(forest, leaf, -1, &above, &rows.before);
        rows.has_after =
            ramet_forest_separator(forest, leaf, 1, &above, &rows.after);
    }
    *out_rows = rows;
    return true;
}

static bool
find_row(const struct ramet_rows *rows, uint32_t row,
         struct ramet_btcell *out_cell)
{
    assert(rows->count == rows->page.cell_count + 2u);
    if (row == 0) {
        *out_cell = rows->before;
        return rows->has_before;
    }
    if (row + 1 >= rows->count) {
        *out_cell = rows->after;
        return row + 1 == rows->count && rows->has_after;
    }
    return ramet_btpage_cell(&rows->page, row - 1, out_cell);
}

bool
ramet_rows_value(const struct ramet_rows *rows, uint32_t row, uint32_t column,
                 struct ramet_value *out_value)
{
    const bool is_table = ramet_btpage_is_table(&rows->page);
    struct ramet_btcell cell;

    assert(rows->leaf != 0);
    if (!find_row(rows, row, &cell))
        return false;
    if (is_table && column == 0)
        return ramet_forest_key(&rows->page, &cell, out_value);
    return ramet_record_column(cell.local, cell.local_len,
                               is_table ? column - 1 : column, out_value);
}

static uint32_t
count_columns(const struct ramet_rows *rows, uint32_t row)
{
    struct ramet_btcell cell;

    if (!find_row(rows, row, &cell))
        return 0;
    return ramet_record_columns(cell.local, cell.local_len) +
           (ramet_btpage_is_table(&rows->page) ? 1 : 0);
}

uint32_t
ramet_rows_columns(const struct ramet_rows *rows,
                   uint32_t out_columns[RAMET_COLUMNS_MAX])
{
    const bool is_table = ramet_btpage_is_table(&rows->page);
    uint32_t columns;
    uint32_t last;
    uint32_t n = 0;

    if (rows->page.cell_count == 0)
        return 0;
    columns = count_columns(rows, 1);
    last = count_columns(rows, rows->page.cell_count);
    if (last < columns)
        columns = last;
    if (!is_table && columns > 0)
        out_columns[n++] = --columns;
    for (uint32_t c = 0; c < columns && n < RAMET_COLUMNS_MAX; c++)
        out_columns[n++] = c;
    assert(n <= RAMET_COLUMNS_MAX);
    return n;
}

uint32_t
ramet_rows_first(const struct ramet_rows *rows, int direction)
{
    assert(rows->count >= 2);
    assert(direction == 1 || direction == -1);
    return direction > 0 ? 1 : rows->count - 2;
}

bool
ramet_rows_agree(const struct ramet_rows *a, uint32_t row_a,
                 const struct ramet_rows *b, uint32_t row_b)
{
    struct ramet_value x;
    struct ramet_value y;

    return ramet_rows_value(a, row_a, 0, &x) &&
           ramet_rows_value(b, row_b, 0, &y) &&
           ramet_value_compare(&x, &y) == 0;
}
