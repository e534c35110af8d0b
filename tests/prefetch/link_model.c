/*
 * link_model.c - see link_model.h.
 */
#include "tests/prefetch/link_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "prefetch/prefetch.h"
#include "sqliteformat/btpage.h"
#include "sqliteformat/dbheader.h"
#include "sqliteformat/record.h"

struct page_state {
    bool is_here;
    bool is_under_way;
    bool was_open;
    bool was_read;
    unsigned depth; /* of the exchange that brings it */
    double arrives;
};

struct arrival {
    double at;
    uint64_t order;
    uint32_t pgno;
};

struct game {
    const struct link_model *model;
    const uint8_t *file;
    uint32_t page_size;
    uint32_t usable;
    uint32_t page_count;
    bool is_database;
    struct page_state *pages; /* by number */
    struct arrival *heap;
    size_t heap_count;
    uint64_t order;
    struct ramet_prefetch *predictor;
    double now;
    double link_free_at;
    unsigned depth;
    unsigned under_way;
    unsigned brought;
    struct played result;
};

static void *
must(void *block)
{
    if (block == NULL) {
        fprintf(stderr, "no memory\n");
        exit(2);
    }
    return block;
}

static const uint8_t *
page_at(const struct game *g, uint32_t pgno)
{
    return g->file + (size_t)(pgno - 1) * g->page_size;
}

static bool
is_here(void *ctx, uint32_t pgno)
{
    return ((struct game *)ctx)->pages[pgno].is_here;
}

static bool
peek(void *ctx, uint32_t pgno, uint8_t *out)
{
    struct game *const g = ctx;

    if (!g->pages[pgno].is_here)
        return false;
    memcpy(out, page_at(g, pgno), g->page_size);
    return true;
}

/* ---- what opening brings -------------------------------------------------- */

static void
open_page(struct game *g, uint32_t pgno, uint32_t *left)
{
    struct page_state *const page = &g->pages[pgno];

    if (page->is_here || *left == 0)
        return;
    page->is_here = page->was_open = true;
    (*left)--;
}

/* The next level below `pgnos`, of interior pages alone. */
static uint32_t *
level_below(struct game *g, const uint32_t *pgnos, size_t count,
            size_t *out_count)
{
    uint32_t *const below = must(calloc(g->page_count + 1, sizeof(*below)));
    struct ramet_btpage page;
    struct ramet_btpage child_page;
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        if (!ramet_btpage_open(&page, page_at(g, pgnos[i]), pgnos[i],
                               g->usable) ||
            ramet_btpage_is_leaf(&page))
            continue;
        for (uint32_t c = 0; c <= page.cell_count; c++) {
            uint32_t child = 0;

            if (ramet_btpage_child(&page, c, &child) &&
                ramet_btpage_open(&child_page, page_at(g, child), child,
                                  g->usable) &&
                (!ramet_btpage_is_leaf(&child_page) || pgnos[0] == 1) &&
                n <= g->page_count)
                below[n++] = child;
        }
    }
    *out_count = n;
    return below;
}

static void
add_roots(struct game *g, uint32_t pgno, uint32_t *roots, size_t *count)
{
    struct ramet_btpage page;
    struct ramet_btcell cell;
    struct ramet_value root;

    if (!ramet_btpage_open(&page, page_at(g, pgno), pgno, g->usable) ||
        !ramet_btpage_is_leaf(&page))
        return;
    for (uint32_t i = 0; i < page.cell_count; i++)
        if (ramet_btpage_cell(&page, i, &cell) &&
            ramet_record_column(cell.local, cell.local_len, 3, &root) &&
            root.type == RAMET_VALUE_INTEGER && root.integer > 0)
            roots[(*count)++] = (uint32_t)root.integer;
}

/* Page 1, the schema, and then interior pages, level by level. */
static void
open_volume(struct game *g)
{
    uint32_t left = g->model->open_pages;
    uint32_t *level = must(calloc(g->page_count + 1, sizeof(*level)));
    const uint32_t first = 1;
    size_t count = 0;
    size_t schema_count = 0;
    uint32_t *schema;

    open_page(g, 1, &left);
    schema = level_below(g, &first, 1, &schema_count);
    add_roots(g, 1, level, &count);
    for (size_t i = 0; i < schema_count; i++) {
        open_page(g, schema[i], &left);
        add_roots(g, schema[i], level, &count);
    }
    free(schema);
    while (count > 0 && left > 0) {
        uint32_t *below;

        for (size_t i = 0; i < count; i++)
            open_page(g, level[i], &left);
        below = level_below(g, level, count, &count);
        free(level);
        level = below;
    }
    free(level);
}

/* ---- the link ------------------------------------------------------------- */

static bool
is_sooner(const struct arrival *a, const struct arrival *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void
push_arrival(struct game *g, struct arrival arrival)
{
    size_t i = g->heap_count++;

    for (; i > 0 && is_sooner(&arrival, &g->heap[(i - 1) / 2]); i = (i - 1) / 2)
        g->heap[i] = g->heap[(i - 1) / 2];
    g->heap[i] = arrival;
}

static struct arrival
pop_arrival(struct game *g)
{
    const struct arrival top = g->heap[0];
    const struct arrival last = g->heap[--g->heap_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= g->heap_count)
            break;
        if (child + 1 < g->heap_count &&
            is_sooner(&g->heap[child + 1], &g->heap[child]))
            child++;
        if (!is_sooner(&g->heap[child], &last))
            break;
        g->heap[i] = g->heap[child];
        i = child;
    }
    g->heap[i] = last;
    return top;
}

static void
send_page(struct game *g, uint32_t pgno, double at, unsigned depth)
{
    const struct link_model *const m = g->model;
    const double reaches = at + m->round_trip_s / 2;
    struct page_state *const page = &g->pages[pgno];

    if (page->is_here || page->is_under_way || pgno == 0 ||
        pgno > g->page_count) {
        fprintf(stderr, "page %u was asked for twice\n", pgno);
        abort();
    }
    if (g->link_free_at < reaches)
        g->link_free_at = reaches;
    g->link_free_at += m->bytes_per_page / m->bytes_per_s;
    page->is_under_way = true;
    page->depth = depth + 1;
    push_arrival(g, (struct arrival){g->link_free_at + m->round_trip_s / 2,
                                     g->order++, pgno});
    g->brought++;
    if (++g->under_way > g->result.peak)
        g->result.peak = g->under_way;
}

/* What is in the predictor's queue, after `first`; 0: only that. */
static void
send_request(struct game *g, uint32_t first, double at, unsigned depth)
{
    uint32_t pgnos[64];
    size_t count = 0;
    size_t n;

    if (first != 0)
        send_page(g, first, at, depth);
    while (g->predictor != NULL &&
           (n = ramet_prefetch_take(g->predictor, pgnos, 64)) > 0) {
        for (size_t i = 0; i < n; i++)
            send_page(g, pgnos[i], at, depth);
        count += n;
    }
    if (first != 0 || count > 0)
        g->result.requests++;
}

static void
land(struct game *g)
{
    const struct arrival arrival = pop_arrival(g);
    struct page_state *const page = &g->pages[arrival.pgno];

    page->is_here = true;
    page->is_under_way = false;
    g->under_way--;
    if (g->now < arrival.at)
        g->now = arrival.at;
    if (g->predictor == NULL)
        return;
    ramet_prefetch_arrived(g->predictor, arrival.pgno,
                           page_at(g, arrival.pgno));
    send_request(g, 0, arrival.at, page->depth);
}

/* ---- the reader ----------------------------------------------------------- */

static void
read_page(struct game *g, uint32_t pgno)
{
    struct page_state *const page = &g->pages[pgno];

    while (g->heap_count > 0 && g->heap[0].at <= g->now) {
        const double now = g->now;

        land(g);
        g->now = now;
    }
    if (g->predictor != NULL)
        ramet_prefetch_want(g->predictor, pgno, page->is_here);
    send_request(g, page->is_here || page->is_under_way ? 0 : pgno, g->now,
                 g->depth);
    if (!page->is_here)
        g->result.stalls++;
    while (!page->is_here)
        land(g);
    if (page->depth > g->depth)
        g->depth = page->depth;
    page->was_read = true;
    g->now += g->model->cpu_s;
    if (g->predictor != NULL) {
        ramet_prefetch_read(g->predictor, pgno, page_at(g, pgno));
        send_request(g, 0, g->now, g->depth);
    }
}

static uint8_t *
read_file(const char *path, size_t *out_len)
{
    FILE *const file = must(fopen(path, "rb"));
    uint8_t *bytes;
    long len;

    (void)fseek(file, 0, SEEK_END);
    len = ftell(file);
    rewind(file);
    bytes = must(malloc((size_t)len + 1));
    *out_len = fread(bytes, 1, (size_t)len, file);
    (void)fclose(file);
    return bytes;
}

static void
begin(struct game *g, const uint8_t *file, size_t len)
{
    g->file = file;
    g->is_database = ramet_dbheader_is(file, len);
    g->page_size = g->is_database ? ramet_dbheader_page_size(file) : 4096;
    g->usable = g->is_database ? ramet_dbheader_usable(file, g->page_size)
                               : g->page_size;
    g->page_count = (uint32_t)(len / g->page_size);
    g->pages = must(calloc(g->page_count + 1, sizeof(*g->pages)));
    g->heap = must(calloc(g->page_count + 1, sizeof(*g->heap)));
    if (g->is_database)
        open_volume(g);
    if (g->model->budget > 0) {
        const struct ramet_prefetch_options options = {
            .page_size = g->page_size,
            .page_count = g->page_count,
            .is_database = g->is_database,
            .memory_bytes = g->model->memory_bytes,
            .view = {is_here, g->model->is_blind ? NULL : peek, g},
        };

        g->predictor = must(ramet_prefetch_new(&options));
        ramet_prefetch_set_budget(g->predictor, g->model->budget);
    }
}

struct link_model
link_usual(void)
{
    return (struct link_model){
        .round_trip_s = .02,
        .bytes_per_s = 12.5e6,
        .bytes_per_page = 1700,
        .cpu_s = 1e-5,
        .budget = 300,
        .open_pages = 24,
    };
}

struct played
link_play(const struct link_model *model, const char *path,
          const struct trace *trace)
{
    struct game g = {.model = model};
    size_t len = 0;
    uint8_t *const file = read_file(path, &len);
    struct played result;

    begin(&g, file, len);
    if (g.predictor != NULL && g.is_database && !model->is_restarted) {
        ramet_prefetch_want(g.predictor, 1, true);
        ramet_prefetch_read(g.predictor, 1, page_at(&g, 1));
    }
    for (size_t i = 0; i < trace->count; i++)
        if (!model->is_restarted || !g.pages[trace->pgnos[i]].was_open)
            read_page(&g, trace->pgnos[i]);
    result = g.result;
    result.round_trips = g.depth;
    result.seconds = g.now;
    for (uint32_t pgno = 1; pgno <= g.page_count; pgno++)
        if (g.pages[pgno].was_read && !g.pages[pgno].was_open)
            result.needed++;
    result.vain = g.brought - result.needed;
    ramet_prefetch_free(g.predictor);
    free(g.heap);
    free(g.pages);
    free(file);
    return result;
}
