/*
 * question_pages.c - see question_pages.h.
 */
#include "server/question_pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/lru_table.h"

#define BUCKETS 1024u
/* Brought by one call; half of it is what the predictor may have under way. */
#define BATCH_PAGES 256u

struct kept {
    struct ramet_lru_link link; /* first */
    uint32_t pgno;
    uint8_t bytes[];
};

struct ramet_question_pages {
    struct ramet_history *history;
    struct ramet_head head;
    struct ramet_prefetch *predictor; /* NULL: the store is near */
    struct ramet_lru_link *buckets[BUCKETS];
    struct ramet_lru_table table;
    uint32_t wanted; /* the page that a batch is for */
    uint8_t page[];  /* that page */
};

static struct kept *
find(const struct ramet_question_pages *pages, uint32_t pgno)
{
    struct ramet_lru_link *link = ramet_lru_table_first(&pages->table, pgno);

    assert(pgno > 0);
    while (link != NULL && ((struct kept *)link)->pgno != pgno)
        link = ramet_lru_table_next(link);
    return (struct kept *)link;
}

static void
let_go(struct ramet_question_pages *pages, struct ramet_lru_link *link)
{
    assert(link != NULL);

    ramet_lru_table_remove(&pages->table, link);
    ramet_free(link);
}

/* Invariant (1). Without memory it is not kept, and will be missed. */
static void
keep(struct ramet_question_pages *pages, uint32_t pgno, const uint8_t *page)
{
    const uint32_t page_size = pages->head.page_size;
    struct kept *kept;

    if (find(pages, pgno) != NULL)
        return;
    while (pages->table.bytes + page_size > RAMET_QUESTION_KEPT_BYTES)
        let_go(pages, pages->table.oldest);
    kept = ramet_alloc(sizeof(*kept) + page_size);
    if (kept == NULL)
        return;
    kept->pgno = pgno;
    memcpy(kept->bytes, page, page_size);
    ramet_lru_table_add(&pages->table, &kept->link, pgno, page_size);
}

static bool
is_here(void *ctx, uint32_t pgno)
{
    return find(ctx, pgno) != NULL;
}

static bool
peek(void *ctx, uint32_t pgno, uint8_t *out_page)
{
    const struct ramet_question_pages *const pages = ctx;
    const struct kept *const kept = find(pages, pgno);

    assert(out_page != NULL);
    if (kept != NULL)
        memcpy(out_page, kept->bytes, pages->head.page_size);
    return kept != NULL;
}

enum ramet_rc
ramet_question_pages_open(struct ramet_history *history,
                          const struct ramet_head *head, bool is_far,
                          struct ramet_question_pages **out,
                          struct ramet_err *err)
{
    struct ramet_question_pages *const pages =
        ramet_calloc(1, sizeof(*pages) + head->page_size);
    const struct ramet_prefetch_options options = {
        .page_size = head->page_size,
        .page_count = head->page_count,
        .is_database = head->kind == RAMET_KIND_SQLITE,
        .view = {is_here, peek, pages},
    };

    if (pages == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "a question");
    pages->history = history;
    pages->head = *head;
    ramet_lru_table_init(&pages->table, pages->buckets, BUCKETS);
    if (is_far)
        pages->predictor = ramet_prefetch_new(&options);
    if (is_far && pages->predictor == NULL) {
        ramet_question_pages_close(pages);
        return RAMET_FAIL(err, RAMET_ENOMEM, "a question");
    }
    if (is_far) {
        ramet_prefetch_set_budget(pages->predictor, BATCH_PAGES / 2);
        ramet_prefetch_set_room(pages->predictor, RAMET_QUESTION_KEPT_BYTES /
                                                      head->page_size / 2);
    }
    *out = pages;
    return RAMET_OK;
}

void
ramet_question_pages_close(struct ramet_question_pages *pages)
{
    if (pages == NULL)
        return;
    while (pages->table.oldest != NULL)
        let_go(pages, pages->table.oldest);
    ramet_prefetch_free(pages->predictor);
    ramet_free(pages);
}

/* ---- what comes ------------------------------------------------------------- */

static enum ramet_rc
take_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct ramet_question_pages *const pages = ctx;

    assert(pgno == pages->wanted || pages->predictor != NULL);
    (void)err;
    if (pgno == pages->wanted) {
        memcpy(pages->page, page, pages->head.page_size);
    } else {
        keep(pages, pgno, page);
        ramet_prefetch_arrived(pages->predictor, pgno, page);
    }
    return RAMET_OK;
}

static int
compare_pgno(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

/* The page that is wanted into `page`, with those that are expected. */
static enum ramet_rc
bring(struct ramet_question_pages *pages, struct ramet_err *err)
{
    const struct ramet_point at = ramet_head_point(&pages->head);
    uint32_t pgnos[BATCH_PAGES] = {pages->wanted};
    size_t count = 1;
    enum ramet_rc rc;

    assert(pages->wanted > 0);
    if (pages->predictor != NULL)
        count +=
            ramet_prefetch_take(pages->predictor, pgnos + 1, BATCH_PAGES - 1);
    qsort(pgnos, count, sizeof(pgnos[0]), compare_pgno);
    rc = ramet_history_read_pages(pages->history, &at, pgnos, count, false,
                                  take_page, pages, err);
    if (count == 1)
        return rc;
    if (rc != RAMET_OK) { /* invariant (2) */
        for (size_t i = 0; i < count; i++)
            ramet_prefetch_lost(pages->predictor, pgnos[i]);
        rc = ramet_history_read_pages(pages->history, &at, &pages->wanted, 1,
                                      false, take_page, pages, err);
    }
    return rc;
}

enum ramet_rc
ramet_question_pages_read(struct ramet_question_pages *pages, uint32_t pgno,
                          const uint8_t **out_page, struct ramet_err *err)
{
    struct kept *const kept = find(pages, pgno);
    enum ramet_rc rc = RAMET_OK;

    assert(pgno >= 1 && pgno <= pages->head.page_count);
    pages->wanted = pgno;
    if (pages->predictor != NULL)
        ramet_prefetch_want(pages->predictor, pgno, kept != NULL);
    if (kept != NULL)
        memcpy(pages->page, kept->bytes, pages->head.page_size);
    else
        rc = bring(pages, err);
    if (rc != RAMET_OK)
        return rc;
    if (pages->predictor != NULL) {
        ramet_prefetch_arrived(pages->predictor, pgno, pages->page);
        ramet_prefetch_read(pages->predictor, pgno, pages->page);
        keep(pages, pgno, pages->page);
    }
    *out_page = pages->page;
    return RAMET_OK;
}

struct ramet_prefetch_counts
ramet_question_pages_counts(const struct ramet_question_pages *pages)
{
    struct ramet_prefetch_counts counts = {0};

    if (pages->predictor != NULL) {
        counts = ramet_prefetch_counts(pages->predictor);
        counts.vain = counts.asked - counts.used;
    }
    return counts;
}
