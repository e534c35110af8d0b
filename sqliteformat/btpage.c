/*
 * btpage.c - see btpage.h.
 *
 * Layer: sqliteformat.
 */
#include "sqliteformat/btpage.h"

#include <assert.h>

#include "core/bytes.h"
#include "sqliteformat/dbheader.h"

bool
ramet_sqlite_varint(const uint8_t *bytes, uint32_t end, uint32_t *at,
                    uint64_t *out_value)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 9; i++) {
        if (*at >= end)
            return false;
        if (i == 8) {
            *out_value = value << 8 | bytes[(*at)++];
            return true;
        }
        value = value << 7 | (bytes[*at] & 0x7fu);
        if ((bytes[(*at)++] & 0x80u) == 0)
            break;
    }
    *out_value = value;
    return true;
}

bool
ramet_btpage_is_leaf(const struct ramet_btpage *page)
{
    return page->kind == RAMET_INDEX_LEAF || page->kind == RAMET_TABLE_LEAF;
}

bool
ramet_btpage_is_table(const struct ramet_btpage *page)
{
    return page->kind == RAMET_TABLE_INTERIOR || page->kind == RAMET_TABLE_LEAF;
}

bool
ramet_btpage_open(struct ramet_btpage *out_page, const uint8_t *page,
                  uint32_t pgno, uint32_t usable)
{
    const uint32_t header = pgno == 1 ? RAMET_DBHEADER_SIZE : 0;
    struct ramet_btpage p = {.bytes = page, .usable = usable};

    if (usable < RAMET_BTPAGE_USABLE_MIN)
        return false;
    switch (page[header]) {
    case RAMET_INDEX_INTERIOR:
    case RAMET_TABLE_INTERIOR:
        p.cells_at = header + 12;
        break;
    case RAMET_INDEX_LEAF:
    case RAMET_TABLE_LEAF:
        p.cells_at = header + 8;
        break;
    default:
        return false;
    }
    p.kind = (enum ramet_btpage_kind)page[header];
    p.cell_count = ramet_get_be16(page + header + 3);
    if (p.cell_count * 2 > usable - p.cells_at)
        return false;
    *out_page = p;
    return true;
}

uint32_t
ramet_btpage_content_at(const struct ramet_btpage *page)
{
    return page->cells_at - (ramet_btpage_is_leaf(page) ? 8 : 12) + 5;
}

/* The place of cell `index`, of which four bytes at least are there. */
static bool
find_cell(const struct ramet_btpage *page, uint32_t index, uint32_t *out_at)
{
    uint32_t at;

    assert(index < page->cell_count);
    at = ramet_get_be16(page->bytes + page->cells_at + 2 * index);
    if (at < page->cells_at + 2 * page->cell_count || at + 4 > page->usable)
        return false;
    *out_at = at;
    return true;
}

bool
ramet_btpage_child(const struct ramet_btpage *page, uint32_t index,
                   uint32_t *out_pgno)
{
    uint32_t at;

    assert(!ramet_btpage_is_leaf(page) && index <= page->cell_count);
    if (index == page->cell_count)
        at = page->cells_at - 4; /* the right-most, in the header */
    else if (!find_cell(page, index, &at))
        return false;
    *out_pgno = ramet_get_be32(page->bytes + at);
    return true;
}

/* How much of a payload the page itself has. */
static uint32_t
local_size(const struct ramet_btpage *page, uint64_t payload)
{
    const uint32_t usable = page->usable;
    const uint32_t most = page->kind == RAMET_TABLE_LEAF
                              ? usable - 35
                              : (usable - 12) * 64 / 255 - 23;
    const uint32_t least = (usable - 12) * 32 / 255 - 23;
    uint64_t size;

    if (payload <= most)
        return (uint32_t)payload;
    size = least + (payload - least) % (usable - 4);
    return size <= most ? (uint32_t)size : least;
}

bool
ramet_btpage_cell(const struct ramet_btpage *page, uint32_t index,
                  struct ramet_btcell *out_cell)
{
    struct ramet_btcell cell = {.payload_len = 0};
    uint64_t rowid;
    uint32_t at;

    if (!find_cell(page, index, &at))
        return false;
    if (!ramet_btpage_is_leaf(page)) {
        cell.left_child = ramet_get_be32(page->bytes + at);
        at += 4;
    }
    if (page->kind != RAMET_TABLE_INTERIOR &&
        (!ramet_sqlite_varint(page->bytes, page->usable, &at,
                              &cell.payload_len) ||
         cell.payload_len > INT32_MAX))
        return false;
    if (ramet_btpage_is_table(page)) {
        if (!ramet_sqlite_varint(page->bytes, page->usable, &at, &rowid))
            return false;
        cell.rowid = (int64_t)rowid;
    }
    cell.local = page->bytes + at;
    cell.local_len = local_size(page, cell.payload_len);
    if (cell.local_len > page->usable - at)
        return false;
    if (cell.local_len < cell.payload_len) {
        if (page->usable - at - cell.local_len < 4)
            return false;
        cell.overflow = ramet_get_be32(cell.local + cell.local_len);
    }
    *out_cell = cell;
    return true;
}

uint32_t
ramet_btcell_chain_length(const struct ramet_btcell *cell, uint32_t usable)
{
    const uint64_t rest = cell->payload_len - cell->local_len;

    assert(cell->payload_len >= cell->local_len);
    return (uint32_t)((rest + usable - 5) / (usable - 4));
}
