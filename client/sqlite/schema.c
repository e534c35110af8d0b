/*
 * schema.c - see schema.h; the tree's layout is SQLite's ("Database File
 * Format", 1.6).
 */
#include "client/sqlite/schema.h"

#include <string.h>

#include "client/sqlite/dbheader.h"
#include "core/alloc.h"

#define INTERIOR 0x05u
#define LEAF 0x0du
#define PAGES_MAX 4096u /* of one tree; a larger schema counts as another */
#define DEPTH_MAX 20u   /* SQLite's own bound */
/* What tells how a schema is read: cookie, format, …, encoding. */
#define FIELDS_AT 40u
#define FIELDS_LEN 20u

struct walk {
    const struct ramet_pageset *changed;
    ramet_schema_read *read;
    void *ctx;
    uint32_t page_size;
    uint32_t usable; /* but for what each page keeps free at its end */
    uint32_t left;   /* pages that may yet be looked at */
};

/* A page of the tree but its root: it must be there, unchanged, in `out`. */
static bool
load(struct walk *w, uint32_t pgno, uint8_t *out)
{
    if (pgno < 2 || w->left == 0 || ramet_pageset_contains(w->changed, pgno))
        return false;
    w->left--;
    return w->read(w->ctx, pgno, out);
}

/* At `*at`, which moves past it; false: it runs over the page's end. */
static bool
read_varint(const uint8_t *page, uint32_t end, uint32_t *at, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 9; i++) {
        if (*at >= end)
            return false;
        if (i == 8) {
            *out = value << 8 | page[(*at)++];
            return true;
        }
        value = value << 7 | (page[*at] & 0x7fu);
        if ((page[(*at)++] & 0x80u) == 0)
            break;
    }
    *out = value;
    return true;
}

/* How much of a payload a leaf itself has. */
static uint32_t
local_size(uint32_t usable, uint64_t payload)
{
    const uint32_t most = usable - 35;
    const uint32_t least = (usable - 12) * 32 / 255 - 23;
    uint64_t size;

    if (payload <= most)
        return (uint32_t)payload;
    size = least + (payload - least) % (usable - 4);
    return size <= most ? (uint32_t)size : least;
}

/* The chain of pages that has the rest of a payload. */
static bool
is_chain_same(struct walk *w, uint32_t pgno, uint64_t rest, uint8_t *page)
{
    while (rest != 0) {
        if (!load(w, pgno, page))
            return false;
        pgno = ramet_get_be32(page);
        rest -= rest < w->usable - 4 ? rest : w->usable - 4;
    }
    return true;
}

static bool
is_cell_same(struct walk *w, const uint8_t *page, uint32_t at, uint8_t *scratch)
{
    uint64_t payload;
    uint64_t rowid;
    uint32_t local;

    if (!read_varint(page, w->usable, &at, &payload) ||
        !read_varint(page, w->usable, &at, &rowid) || payload > UINT32_MAX)
        return false;
    local = local_size(w->usable, payload);
    if (local == payload)
        return true;
    if (w->usable - at < local + 4)
        return false;
    return is_chain_same(w, ramet_get_be32(page + at + local), payload - local,
                         scratch);
}

/* The cell's place that the i-th pointer behind `at` names; 0: none. */
static uint32_t
cell_at(const struct walk *w, const uint8_t *page, uint32_t at, uint32_t i)
{
    const uint32_t pointer = at + 2 * i;
    uint32_t cell;

    if (pointer + 2 > w->usable)
        return 0;
    cell = ramet_get_be16(page + pointer);
    return cell + 4 <= w->usable ? cell : 0;
}

static bool
is_leaf_same(struct walk *w, const uint8_t *page, uint32_t header)
{
    const uint32_t count = ramet_get_be16(page + header + 3);
    uint8_t *const scratch = ramet_alloc(w->page_size);
    bool same = scratch != NULL;

    for (uint32_t i = 0; same && i < count; i++) {
        const uint32_t cell = cell_at(w, page, header + 8, i);

        same = cell != 0 && is_cell_same(w, page, cell, scratch);
    }
    ramet_free(scratch);
    return same;
}

/* Page `page`, whose b-tree header is at `header`, and what is below it. */
static bool
is_tree_same(struct walk *w, const uint8_t *page, uint32_t header,
             unsigned depth)
{
    const uint32_t count = ramet_get_be16(page + header + 3);
    uint8_t *child;
    bool same;

    if (page[header] == LEAF)
        return is_leaf_same(w, page, header);
    if (page[header] != INTERIOR || depth == DEPTH_MAX)
        return false;
    child = ramet_alloc(w->page_size);
    same = child != NULL && load(w, ramet_get_be32(page + header + 8), child) &&
           is_tree_same(w, child, 0, depth + 1);
    for (uint32_t i = 0; same && i < count; i++) {
        const uint32_t cell = cell_at(w, page, header + 12, i);

        same = cell != 0 && load(w, ramet_get_be32(page + cell), child) &&
               is_tree_same(w, child, 0, depth + 1);
    }
    ramet_free(child);
    return same;
}

bool
ramet_schema_is_same(const uint8_t *before, const uint8_t *after,
                     uint32_t page_size, const struct ramet_pageset *changed,
                     ramet_schema_read *read, void *ctx)
{
    struct walk w = {
        .changed = changed,
        .read = read,
        .ctx = ctx,
        .page_size = page_size,
        .left = PAGES_MAX,
    };

    if (!ramet_dbheader_is(before, page_size) ||
        !ramet_dbheader_is(after, page_size) || before[20] != after[20] ||
        memcmp(before + FIELDS_AT, after + FIELDS_AT, FIELDS_LEN) != 0 ||
        memcmp(before + RAMET_DBHEADER_SIZE, after + RAMET_DBHEADER_SIZE,
               page_size - RAMET_DBHEADER_SIZE) != 0)
        return false;
    w.usable = page_size - before[20];
    return w.usable >= 480 && is_tree_same(&w, before, RAMET_DBHEADER_SIZE, 0);
}
