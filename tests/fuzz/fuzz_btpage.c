/*
 * fuzz_btpage.c - hostile pages of SQLite's b-trees, and the records in them.
 *
 * The first byte chooses whether it is page 1 and how much each page keeps
 * free; the rest is the page, and ends where the memory does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqliteformat/btpage.h"
#include "sqliteformat/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_btpage: %s\n", what);
        abort();
    }
}

static void
read_record(const struct ramet_btcell *cell)
{
    const uint32_t columns = ramet_record_columns(cell->local, cell->local_len);
    struct ramet_value before = {.type = RAMET_VALUE_NULL};
    struct ramet_value value;

    require(columns <= cell->local_len, "more columns than bytes");
    for (uint32_t i = 0; i < columns && i < 64; i++) {
        if (!ramet_record_column(cell->local, cell->local_len, i, &value))
            continue;
        require(value.len == 0 ||
                    (value.bytes >= cell->local &&
                     value.bytes + value.len <= cell->local + cell->local_len),
                "a value outside of its record");
        require(ramet_value_compare(&value, &value) == 0, "not itself");
        require((ramet_value_compare(&value, &before) < 0) ==
                    (ramet_value_compare(&before, &value) > 0),
                "an order of one way only");
        before = value;
    }
    require(!ramet_record_column(cell->local, cell->local_len, columns, &value),
            "a column past the last");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_btpage page;
    struct ramet_btcell cell;
    uint32_t usable;
    uint32_t child;
    uint8_t *bytes;

    if (size < 600 || size > 65537)
        return 0;
    usable = (uint32_t)size - 1 - data[0] % 64;
    bytes = malloc(usable);
    require(bytes != NULL, "no memory");
    memcpy(bytes, data + 1, usable);
    if (ramet_btpage_open(&page, bytes, data[0] & 128 ? 1 : 2, usable)) {
        for (uint32_t i = 0; i < page.cell_count; i++)
            if (ramet_btpage_cell(&page, i, &cell)) {
                require(cell.local >= bytes &&
                            cell.local + cell.local_len <= bytes + usable,
                        "a cell outside of its page");
                require((cell.overflow != 0) <=
                            (ramet_btcell_chain_length(&cell, usable) > 0),
                        "a chain of no pages");
                read_record(&cell);
            }
        for (uint32_t i = 0;
             !ramet_btpage_is_leaf(&page) && i <= page.cell_count; i++)
            (void)ramet_btpage_child(&page, i, &child);
    }
    free(bytes);
    return 0;
}
