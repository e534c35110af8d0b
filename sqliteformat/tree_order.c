/*
 * tree_order.c - see tree_order.h.
 *
 * All leaves of a tree are equally deep. So how deep they are is found by going
 * down once, and no leaf need be looked at in order to know that it is one.
 *
 * Layer: sqliteformat.
 */
#include "sqliteformat/tree_order.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "sqliteformat/btpage.h"
#include "sqliteformat/dbheader.h"
#include "sqliteformat/record.h"

#define SAMPLES 8u /* leaves of a tree that are looked at for overflow */
#define ROOT_COLUMN 3u

/* Page numbers; each is added once, so there are page_count at most. */
struct list {
    uint32_t *pgnos;
    uint32_t count, capacity;
};

struct walk {
    const struct ramet_tree_order *order;
    uint32_t *ranks;
    uint32_t last_rank;
    uint32_t usable;
    uint64_t reads_left;
    struct list roots; /* that the schema names */
    struct list now,
        next;       /* interior pages of a level, and of the one below; or
                            pages of chains, and those that they name */
    uint8_t *page;  /* one of a tree */
    uint8_t *below; /* another, or one of a chain */
    bool no_memory;
};

/* What is known of a tree before it is gone through. */
struct shape {
    unsigned depth; /* levels below the root */
    bool has_overflow;
};

static void
push(struct walk *w, struct list *list, uint32_t pgno)
{
    assert(list->count <= list->capacity);
    if (list->count == list->capacity) {
        const uint32_t capacity = list->capacity > 0 ? 2 * list->capacity : 256;
        uint32_t *const longer =
            ramet_realloc(list->pgnos, (size_t)capacity * sizeof(*longer));

        if (longer == NULL) {
            w->no_memory = true;
            return;
        }
        list->pgnos = longer;
        list->capacity = capacity;
    }
    list->pgnos[list->count++] = pgno;
}

/* Those of the next level are gone through now. */
static void
swap_lists(struct walk *w)
{
    const struct list done = w->now;

    w->now = w->next;
    w->next = done;
    w->next.count = 0;
}

/* False: it is not here, or was asked for too often. */
static bool
load(struct walk *w, uint32_t pgno, uint8_t *out)
{
    if (pgno == 0 || pgno > w->order->page_count || w->reads_left == 0)
        return false;
    w->reads_left--;
    return w->order->read(w->order->ctx, pgno, out);
}

/* Invariant (1). False: it has a place, or can't have one. */
static bool
take(struct walk *w, uint32_t pgno)
{
    if (pgno == 0 || pgno > w->order->page_count || w->ranks[pgno - 1] != 0)
        return false;
    w->ranks[pgno - 1] = ++w->last_rank;
    assert(w->last_rank <= w->order->page_count);
    return true;
}

/* ---- leaves --------------------------------------------------------------- */

static bool
has_overflow(const struct ramet_btpage *leaf)
{
    struct ramet_btcell cell;

    for (uint32_t i = 0; i < leaf->cell_count; i++)
        if (ramet_btpage_cell(leaf, i, &cell) && cell.overflow != 0)
            return true;
    return false;
}

/* The chain of a cell, if it goes on with the next number; else its first page,
 * and what that names is left for later. */
static void
take_chain(struct walk *w, const struct ramet_btcell *cell)
{
    uint32_t left = ramet_btcell_chain_length(cell, w->usable);
    uint32_t pgno = cell->overflow;
    bool is_first = true;

    assert(left > 0);
    while (left-- > 0 && take(w, pgno)) {
        uint32_t next;

        if (left == 0 || !load(w, pgno, w->below))
            return;
        next = ramet_get_be32(w->below);
        if (is_first && next != pgno + 1) {
            push(w, &w->next, next);
            return;
        }
        is_first = false;
        pgno = next;
    }
}

/* The second pages of the chains that were left, then the third ones, … */
static void
take_hops(struct walk *w)
{
    while (w->next.count > 0 && !w->no_memory) {
        swap_lists(w);
        for (uint32_t i = 0; i < w->now.count; i++) {
            const uint32_t pgno = w->now.pgnos[i];

            if (take(w, pgno) && load(w, pgno, w->below))
                push(w, &w->next, ramet_get_be32(w->below)); /* 0 at the end */
        }
    }
}

/* What the cells of a leaf lead to. */
static void
take_cells(struct walk *w, uint32_t pgno, bool is_schema, uint8_t *bytes)
{
    struct ramet_btpage leaf;
    struct ramet_btcell cell;
    struct ramet_value root;

    if (!load(w, pgno, bytes) ||
        !ramet_btpage_open(&leaf, bytes, pgno, w->usable) ||
        !ramet_btpage_is_leaf(&leaf))
        return;
    for (uint32_t i = 0; i < leaf.cell_count; i++) {
        if (!ramet_btpage_cell(&leaf, i, &cell))
            continue;
        if (cell.overflow != 0)
            take_chain(w, &cell);
        if (is_schema && ramet_btpage_is_table(&leaf) &&
            w->roots.count < w->order->page_count &&
            ramet_record_column(cell.local, cell.local_len, ROOT_COLUMN,
                                &root) &&
            root.type == RAMET_VALUE_INTEGER && root.integer > 1 &&
            root.integer <= w->order->page_count)
            push(w, &w->roots, (uint32_t)root.integer);
    }
}

/* ---- trees ---------------------------------------------------------------- */

/* Down to a leaf, by the children that lie `part` of SAMPLES - 1 along each
 * page; how deep it lies. False: there is no way. */
static bool
go_down(struct walk *w, uint32_t pgno, uint32_t part, struct shape *shape)
{
    struct ramet_btpage page;

    assert(part < SAMPLES);
    for (unsigned depth = 0; depth <= RAMET_BTREE_DEPTH_MAX; depth++) {
        if (!load(w, pgno, w->page) ||
            !ramet_btpage_open(&page, w->page, pgno, w->usable))
            return false;
        if (ramet_btpage_is_leaf(&page)) {
            shape->depth = depth;
            shape->has_overflow = shape->has_overflow || has_overflow(&page);
            return true;
        }
        if (!ramet_btpage_child(&page, page.cell_count * part / (SAMPLES - 1),
                                &pgno))
            return false;
    }
    return false;
}

/* False: nothing is known of it. */
static bool
find_shape(struct walk *w, uint32_t root, struct shape *shape)
{
    bool known = false;

    assert(!shape->has_overflow);
    for (uint32_t part = 0; part < SAMPLES; part++) {
        known = go_down(w, root, part, shape) || known;
        if (known && (shape->depth == 0 || shape->has_overflow))
            break;
    }
    return known;
}

/* Open an interior page, in w->page. */
static bool
open_interior(struct walk *w, uint32_t pgno, struct ramet_btpage *out)
{
    return load(w, pgno, w->page) &&
           ramet_btpage_open(out, w->page, pgno, w->usable) &&
           !ramet_btpage_is_leaf(out);
}

/* The children of an interior page: leaves, or to be gone through in turn. */
static void
take_children(struct walk *w, uint32_t pgno, bool are_leaves)
{
    struct ramet_btpage page;
    uint32_t child;

    if (!open_interior(w, pgno, &page))
        return;
    for (uint32_t i = 0; i <= page.cell_count; i++)
        if (ramet_btpage_child(&page, i, &child) && take(w, child) &&
            !are_leaves)
            push(w, &w->next, child);
}

/* What the leaves below an interior page lead to. */
static void
take_cells_below(struct walk *w, uint32_t pgno, bool is_schema,
                 uint8_t *scratch)
{
    struct ramet_btpage page;
    uint32_t child;

    if (!open_interior(w, pgno, &page))
        return;
    for (uint32_t i = 0; i <= page.cell_count && !w->no_memory; i++)
        if (ramet_btpage_child(&page, i, &child))
            take_cells(w, child, is_schema, scratch);
}

static void
take_tree(struct walk *w, uint32_t root, bool is_schema, uint8_t *scratch)
{
    struct shape shape = {.has_overflow = false};

    if (w->ranks[root - 1] != 0 || !find_shape(w, root, &shape))
        return;
    (void)take(w, root);
    w->now.count = w->next.count = 0;
    push(w, &w->next, root);
    for (unsigned depth = shape.depth; depth > 0 && !w->no_memory; depth--) {
        swap_lists(w);
        for (uint32_t i = 0; i < w->now.count; i++)
            take_children(w, w->now.pgnos[i], depth == 1);
    }
    w->next.count = 0; /* and `now` has those above the leaves */
    if (!is_schema && !shape.has_overflow)
        return;
    if (shape.depth == 0)
        take_cells(w, root, is_schema, scratch);
    for (uint32_t i = 0; i < w->now.count; i++)
        take_cells_below(w, w->now.pgnos[i], is_schema, scratch);
    take_hops(w);
}

enum ramet_rc
ramet_tree_order_find(const struct ramet_tree_order *order, uint32_t *out_ranks,
                      struct ramet_err *err)
{
    struct walk w = {
        .order = order, .ranks = out_ranks, .reads_left = order->reads_max};
    uint8_t *const pages = ramet_alloc(3 * (size_t)order->page_size);

    assert(order->read != NULL && order->page_count > 0);
    memset(out_ranks, 0, order->page_count * sizeof(*out_ranks));
    if (pages == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "order of pages: no memory");
    w.page = pages;
    w.below = pages + order->page_size;
    if (load(&w, 1, w.page) && ramet_dbheader_is(w.page, order->page_size) &&
        ramet_dbheader_page_size(w.page) == order->page_size) {
        uint8_t *const scratch = pages + 2 * (size_t)order->page_size;

        w.usable = ramet_dbheader_usable(w.page, order->page_size);
        take_tree(&w, 1, true, scratch);
        for (uint32_t i = 0; i < w.roots.count && !w.no_memory; i++)
            take_tree(&w, w.roots.pgnos[i], false, scratch);
    }
    ramet_free(w.next.pgnos);
    ramet_free(w.now.pgnos);
    ramet_free(w.roots.pgnos);
    ramet_free(pages);
    return w.no_memory
               ? RAMET_FAIL(err, RAMET_ENOMEM, "order of pages: no memory")
               : RAMET_OK;
}
