/*
 * opening.c - see opening.h.
 *
 *   (1) pages are foreign bytes: what makes no sense is left out, and the work is
 *       bounded whatever they say
 *   (2) kept[] is touched under `mutex`
 */
#include "server/opening.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "server/recorder.h"
#include "sqliteformat/btpage.h"
#include "sqliteformat/dbheader.h"
#include "sqliteformat/record.h"

#define KEPT_MAX 64u
/* A list is good for so many commits more: trees grow slowly. */
#define KEPT_LSNS 64u
#define SCHEMA_PAGES_MAX 16u
#define TREES_MAX 512u
#define ROOTPAGE_COLUMN 3u

struct kept {
    struct ramet_vid volume;
    uint64_t lsn; /* 0: free */
    uint64_t used;
    size_t count;
    uint32_t pgnos[RAMET_OPENING_PAGES];
};

struct ramet_openings {
    struct ramet_mutex mutex;
    uint64_t clock;
    struct kept kept[KEPT_MAX];
};

struct ramet_openings *
ramet_openings_new(void)
{
    struct ramet_openings *const openings = ramet_calloc(1, sizeof(*openings));

    if (openings != NULL)
        ramet_mutex_init(&openings->mutex);
    return openings;
}

void
ramet_openings_free(struct ramet_openings *openings)
{
    if (openings == NULL)
        return;
    ramet_mutex_done(&openings->mutex);
    ramet_free(openings);
}

/* ---- looking at pages ----------------------------------------------------------- */

struct tree {
    uint32_t root;
    uint32_t children; /* of the root; 0: it is a leaf */
    uint32_t first_child;
    uint64_t leaves; /* as far as two levels tell */
};

struct looking {
    struct ramet_history *history;
    const struct ramet_head *head;
    uint32_t usable;
    struct tree trees[TREES_MAX];
    size_t tree_count;
    uint32_t pgnos[RAMET_OPENING_PAGES];
    size_t count;
    uint8_t *page; /* one, for reading */
    bool is_far;   /* the store: what is looked at is brought before, at once */
};

static bool
add_page(struct looking *l, uint32_t pgno)
{
    assert(pgno > 0 && l->count <= RAMET_OPENING_PAGES);
    for (size_t i = 0; i < l->count; i++)
        if (l->pgnos[i] == pgno)
            return true;
    if (l->count == RAMET_OPENING_PAGES)
        return false;
    l->pgnos[l->count++] = pgno;
    return true;
}

static enum ramet_rc
copy_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    const struct looking *const l = ctx;

    assert(l->page != NULL);
    (void)pgno;
    (void)err;
    memcpy(l->page, page, l->head->page_size);
    return RAMET_OK;
}

/* False: it is no page of a tree, or can't be read. */
static bool
read_tree_page(struct looking *l, uint32_t pgno, struct ramet_btpage *out)
{
    const struct ramet_point at = ramet_head_point(l->head);

    assert(l->usable <= l->head->page_size);
    return pgno >= 1 && pgno <= l->head->page_count &&
           ramet_history_read_pages(l->history, &at, &pgno, 1, false, copy_page,
                                    l, NULL) == RAMET_OK &&
           ramet_btpage_open(out, l->page, pgno, l->usable);
}

static enum ramet_rc
pass_over(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    (void)ctx;
    (void)pgno;
    (void)page;
    (void)err;
    return RAMET_OK;
}

static int
compare_pgno(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

/* Pages that will be looked at, into the cache: a round trip for all of them where
 * it would be one for each. */
static void
bring(const struct looking *l, const uint32_t *pgnos, size_t count)
{
    const struct ramet_point at = ramet_head_point(l->head);
    uint32_t sorted[TREES_MAX];
    size_t kept = 0;

    if (!l->is_far || count < 2)
        return;
    assert(count <= TREES_MAX);
    memcpy(sorted, pgnos, count * sizeof(sorted[0]));
    qsort(sorted, count, sizeof(sorted[0]), compare_pgno);
    for (size_t i = 0; i < count; i++)
        if (sorted[i] >= 1 && sorted[i] <= l->head->page_count &&
            (kept == 0 || sorted[kept - 1] != sorted[i]))
            sorted[kept++] = sorted[i];
    (void)!ramet_history_read_pages(l->history, &at, sorted, kept, false,
                                    pass_over, NULL, NULL);
}

static void
note_tree(struct looking *l, const struct ramet_btcell *row)
{
    struct ramet_value root;

    assert(l->tree_count <= TREES_MAX);
    if (l->tree_count < TREES_MAX &&
        ramet_record_column(row->local, row->local_len, ROOTPAGE_COLUMN,
                            &root) &&
        root.type == RAMET_VALUE_INTEGER && root.integer > 1 &&
        root.integer <= l->head->page_count)
        l->trees[l->tree_count++] =
            (struct tree){.root = (uint32_t)root.integer};
}

/* The schema's tree, breadth first, and the roots that its rows name. */
static void
look_at_schema(struct looking *l)
{
    for (size_t i = 0; i < l->count && i < SCHEMA_PAGES_MAX; i++) {
        struct ramet_btpage page;
        uint32_t child;

        if (!read_tree_page(l, l->pgnos[i], &page))
            continue;
        if (ramet_btpage_is_leaf(&page)) {
            struct ramet_btcell row;

            for (uint32_t c = 0; c < page.cell_count; c++)
                if (ramet_btpage_cell(&page, c, &row))
                    note_tree(l, &row);
            continue;
        }
        for (uint32_t c = 0; c <= page.cell_count; c++)
            if (ramet_btpage_child(&page, c, &child) && child > 1 &&
                child <= l->head->page_count && l->count < SCHEMA_PAGES_MAX)
                (void)add_page(l, child);
        bring(l, l->pgnos + i + 1, l->count - i - 1);
    }
}

static void
look_at_root(struct looking *l, struct tree *tree)
{
    struct ramet_btpage page;

    assert(tree->root > 1 && tree->children == 0);
    if (!read_tree_page(l, tree->root, &page) || ramet_btpage_is_leaf(&page) ||
        !ramet_btpage_child(&page, 0, &tree->first_child))
        return;
    tree->children = page.cell_count + 1;
    tree->leaves = tree->children;
}

static void
look_at_first_child(struct looking *l, struct tree *tree)
{
    struct ramet_btpage page;

    assert(tree->children == 0 || tree->leaves > 0);
    if (tree->children == 0)
        return;
    if (read_tree_page(l, tree->first_child, &page) &&
        !ramet_btpage_is_leaf(&page))
        tree->leaves *= (uint64_t)page.cell_count + 1;
    else
        tree->children = 0; /* they are leaves: not for everybody */
}

/* The roots, then what tells how large the trees are. */
static void
look_at_trees(struct looking *l)
{
    uint32_t pgnos[TREES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < l->tree_count; i++)
        pgnos[i] = l->trees[i].root;
    bring(l, pgnos, l->tree_count);
    for (size_t i = 0; i < l->tree_count; i++) {
        look_at_root(l, &l->trees[i]);
        if (l->trees[i].children > 0)
            pgnos[count++] = l->trees[i].first_child;
    }
    bring(l, pgnos, count);
    for (size_t i = 0; i < l->tree_count; i++)
        look_at_first_child(l, &l->trees[i]);
}

static int
compare_trees(const void *left, const void *right)
{
    const uint64_t a = ((const struct tree *)left)->leaves;
    const uint64_t b = ((const struct tree *)right)->leaves;

    return (a < b) - (a > b); /* the largest first */
}

/* The roots, then what is below those of the largest trees. */
static void
choose_interior_pages(struct looking *l)
{
    assert(l->tree_count <= TREES_MAX);
    look_at_trees(l);
    qsort(l->trees, l->tree_count, sizeof(l->trees[0]), compare_trees);
    for (size_t i = 0; i < l->tree_count && l->trees[i].leaves > 0; i++)
        if (!add_page(l, l->trees[i].root))
            return;
    for (size_t i = 0; i < l->tree_count; i++) {
        struct ramet_btpage page;
        uint32_t child;

        if (l->trees[i].children == 0 ||
            !read_tree_page(l, l->trees[i].root, &page))
            continue;
        for (uint32_t c = 0; c < l->trees[i].children; c++)
            if (ramet_btpage_child(&page, c, &child) && child >= 1 &&
                child <= l->head->page_count && !add_page(l, child))
                return;
    }
}

/* What whoever knows nothing has to be sent for a page besides all before it. */
static enum ramet_rc
cost_of(struct ramet_history *fresh, const struct ramet_recorder *recorder,
        const struct ramet_point *at, uint32_t pgno, uint64_t *out_bytes)
{
    const size_t before = recorder->count;
    struct ramet_located located;
    const enum ramet_rc rc =
        ramet_history_locate(fresh, at, &pgno, 1, &located, NULL);

    *out_bytes = rc == RAMET_OK ? (uint64_t)located.image.extent.length_bytes +
                                      located.block.extent.length_bytes
                                : 0;
    assert(recorder->count >= before);
    for (size_t i = before; rc == RAMET_OK && i < recorder->count; i++)
        *out_bytes += recorder->records[i].got;
    return rc;
}

/* As many of them, from the first on, as fit into RAMET_OPENING_BYTES with what
 * leads to them; one that is dear does not keep the others out. */
static void
keep_to_bytes(struct looking *l, struct ramet_objstore *store,
              const struct ramet_vid *volume)
{
    const struct ramet_point at = ramet_head_point(l->head);
    struct ramet_recorder recorder;
    struct ramet_history *fresh = NULL;
    uint64_t bytes = 0;
    size_t kept = 0;
    enum ramet_rc rc;

    ramet_recorder_init(&recorder, store);
    rc = ramet_history_open(&recorder.store, volume, NULL, &fresh, NULL);
    for (size_t i = 0; rc == RAMET_OK && i < l->count; i++) {
        uint64_t more;

        rc = cost_of(fresh, &recorder, &at, l->pgnos[i], &more);
        if (rc != RAMET_OK || (i > 0 && bytes + more > RAMET_OPENING_BYTES))
            continue;
        bytes += more;
        l->pgnos[kept++] = l->pgnos[i];
    }
    assert(kept <= l->count);
    l->count = kept;
    ramet_history_close(fresh);
    ramet_recorder_done(&recorder);
}

static size_t
choose(struct ramet_history *history, struct ramet_objstore *store,
       const struct ramet_vid *volume, const struct ramet_head *head,
       uint32_t *out_pgnos)
{
    struct looking *const l = ramet_calloc(1, sizeof(*l));
    struct ramet_btpage page;
    size_t count = 0;

    assert(head->page_count > 0);
    if (l == NULL)
        return 0;
    l->history = history;
    l->head = head;
    l->usable = head->page_size;
    l->is_far = (store->traits & RAMET_STORE_READS_PARTS) != 0;
    l->page = ramet_alloc(head->page_size);
    if (l->page != NULL && read_tree_page(l, 1, &page)) {
        l->usable = ramet_dbheader_usable(l->page, head->page_size);
        (void)add_page(l, 1);
        look_at_schema(l);
        choose_interior_pages(l);
        bring(l, l->pgnos, l->count);
        keep_to_bytes(l, store, volume);
        count = l->count;
        memcpy(out_pgnos, l->pgnos, count * sizeof(*out_pgnos));
    }
    ramet_free(l->page);
    ramet_free(l);
    return count;
}

/* ---- what was found ---------------------------------------------------------------- */

/* Under the mutex: the volume's, or the one not used for longest. */
static struct kept *
find_kept(struct ramet_openings *openings, const struct ramet_vid *volume)
{
    struct kept *oldest = &openings->kept[0];

    for (size_t i = 0; i < KEPT_MAX; i++) {
        struct kept *const k = &openings->kept[i];

        if (k->lsn != 0 && ramet_id_compare(&k->volume.id, &volume->id) == 0)
            return k;
        if (k->used < oldest->used)
            oldest = k;
    }
    return oldest;
}

static size_t
take_kept(struct ramet_openings *openings, const struct ramet_vid *volume,
          const struct ramet_head *head, uint32_t *out_pgnos)
{
    struct kept *k;
    size_t count = 0;

    ramet_mutex_lock(&openings->mutex);
    k = find_kept(openings, volume);
    if (k->lsn != 0 && ramet_id_compare(&k->volume.id, &volume->id) == 0 &&
        head->lsn >= k->lsn && head->lsn - k->lsn <= KEPT_LSNS) {
        for (size_t i = 0; i < k->count; i++)
            if (k->pgnos[i] <= head->page_count)
                out_pgnos[count++] = k->pgnos[i];
        assert(count <= RAMET_OPENING_PAGES);
        k->used = ++openings->clock;
    }
    ramet_mutex_unlock(&openings->mutex);
    return count;
}

size_t
ramet_openings_choose(struct ramet_openings *openings,
                      struct ramet_history *history,
                      struct ramet_objstore *store,
                      const struct ramet_vid *volume,
                      const struct ramet_head *head, uint32_t *out_pgnos)
{
    size_t count = 0;
    struct kept *k;

    if (head->kind != RAMET_KIND_SQLITE || head->page_count == 0)
        return 0;
    count = take_kept(openings, volume, head, out_pgnos);
    if (count > 0)
        return count;
    count = choose(history, store, volume, head, out_pgnos);
    ramet_mutex_lock(&openings->mutex);
    k = find_kept(openings, volume);
    *k = (struct kept){.volume = *volume,
                       .lsn = head->lsn,
                       .used = ++openings->clock,
                       .count = count};
    assert(count <= RAMET_OPENING_PAGES);
    memcpy(k->pgnos, out_pgnos, count * sizeof(*out_pgnos));
    ramet_mutex_unlock(&openings->mutex);
    return count;
}
