/*
 * survey.c - the trees of a volume, as far as their pages are here already.
 *
 * Interior pages that another process brought, or opening did, are not read
 * again by whoever has them in a cache of his own. So before the first miss at
 * a commit they are looked at once: the schema, the roots that it names, and the
 * interior pages below, level by level.
 *
 * Layer: prefetch.
 */
#include "core/alloc.h"

#include "prefetch/predictor.h"
#include "sqliteformat/dbheader.h"
#include <assert.h>

#define PAGES_MAX 1024u /* that are looked at */
#define PROBES 4u       /* children that tell what level they are of */
#define ROOTS_MAX 4096u
#define ROOT_COLUMN 3u /* of a row of the schema */

struct survey {
    struct ramet_prefetch *p;
    uint32_t pgnos[PAGES_MAX];
    uint32_t count;
};

static bool
is_here(const struct ramet_prefetch *p, uint32_t pgno)
{
    const struct ramet_prefetch_view *const view = &p->forest.view;

    return pgno >= 1 && pgno <= p->forest.page_count &&
           view->is_here(view->ctx, pgno);
}

void
ramet_survey_page_1(struct ramet_prefetch *p, const uint8_t *page)
{
    assert(page != NULL);
    if (ramet_dbheader_is(page, p->forest.page_size))
        p->forest.usable = ramet_dbheader_usable(page, p->forest.page_size);
}

void
ramet_survey_schema(struct ramet_prefetch *p, const struct ramet_btpage *page)
{
    struct ramet_btcell cell;
    struct ramet_value root;

    assert(p->roots.count <= ROOTS_MAX);
    for (uint32_t i = 0; i < page->cell_count; i++)
        if (p->roots.count < ROOTS_MAX && ramet_btpage_cell(page, i, &cell) &&
            ramet_record_column(cell.local, cell.local_len, ROOT_COLUMN,
                                &root) &&
            root.type == RAMET_VALUE_INTEGER && root.integer >= 2 &&
            root.integer <= p->forest.page_count)
            (void)ramet_pagemap_put(&p->roots, (uint32_t)root.integer, 1);
}

static void
add(struct survey *s, uint32_t pgno)
{
    assert(s->count <= PAGES_MAX);
    if (s->count < PAGES_MAX && is_here(s->p, pgno))
        s->pgnos[s->count++] = pgno;
}

static void
add_children(struct survey *s, const struct ramet_node *node)
{
    uint32_t child;

    for (uint32_t i = 0; i <= node->page.cell_count; i++)
        if (ramet_btpage_child(&node->page, i, &child))
            add(s, child);
}

/* Are a page's children interior pages, as far as those that are here tell? */
static bool
has_interior_children(struct ramet_prefetch *p, const struct ramet_node *node)
{
    const uint32_t children = node->page.cell_count + 1;
    const uint32_t step = children > PROBES ? children / PROBES : 1;
    uint32_t child;

    assert(step > 0);
    for (uint32_t i = 0; i < children; i += step)
        if (ramet_btpage_child(&node->page, i, &child) && is_here(p, child))
            return ramet_forest_node(&p->forest, child) != NULL;
    return false;
}

static void
look_at_schema(struct survey *s)
{
    struct ramet_prefetch *const p = s->p;
    struct ramet_btpage page;

    add(s, 1);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct ramet_node *node;

        p->forest.turn++;
        node = ramet_forest_node(&p->forest, s->pgnos[i]);
        if (node != NULL)
            add_children(s, node);
        else if (ramet_forest_leaf(&p->forest, s->pgnos[i], &page))
            ramet_survey_schema(p, &page);
    }
}

static void
look_at_trees(struct survey *s)
{
    struct ramet_prefetch *const p = s->p;
    uint32_t pgno;

    assert(s->p->is_surveyed);
    s->count = 0;
    for (uint32_t i = 0; i < p->roots.capacity; i++)
        if (ramet_pagemap_slot(&p->roots, i, &pgno))
            add(s, pgno);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct ramet_node *node;

        p->forest.turn++;
        node = ramet_forest_node(&p->forest, s->pgnos[i]);
        if (node != NULL && has_interior_children(p, node))
            add_children(s, node);
    }
}

void
ramet_survey(struct ramet_prefetch *p)
{
    struct survey *const s = ramet_calloc(1, sizeof(*s));
    const struct ramet_prefetch_view *const view = &p->forest.view;

    assert(p->is_database && p->forest.scratch != NULL);
    p->is_surveyed = true;
    if (s == NULL || view->peek == NULL || !is_here(p, 1)) {
        ramet_free(s);
        return;
    }
    s->p = p;
    if (view->peek(view->ctx, 1, p->forest.scratch))
        ramet_survey_page_1(p, p->forest.scratch);
    look_at_schema(s);
    look_at_trees(s);
    ramet_free(s);
}
