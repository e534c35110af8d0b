/*
 * interiors.c - interior pages before they are needed.
 *
 * Point queries read one interior page after another of a level. Once three of
 * a parent's interior children were read, its others come as well, where there
 * are not too many: they are a hundredth of what they lead to.
 *
 * Layer: prefetch.
 */
#include "prefetch/predictor.h"

#include <assert.h>

#define READ_MIN 3u
#define SIBLINGS_MAX 256u

void
ramet_interiors_read(struct ramet_prefetch *p, struct ramet_node *node)
{
    struct ramet_node *parent;
    uint32_t index;
    uint32_t sibling;

    assert(node->pgno != 0);
    parent = ramet_forest_parent(&p->forest, node->pgno, &index);
    if (parent == NULL || node->was_read)
        return;
    node->was_read = true;
    assert(index <= parent->page.cell_count);
    parent->children_read++;
    if (parent->siblings_asked || parent->children_read < READ_MIN ||
        parent->page.cell_count + 1 > SIBLINGS_MAX)
        return;
    parent->siblings_asked = true;
    for (uint32_t i = 0; i <= parent->page.cell_count; i++)
        if (ramet_btpage_child(&parent->page, i, &sibling))
            (void)ramet_predictor_ask(p, sibling, &p->loose, true);
}
