/*
 * fuzz_prefetch.c - a predictor over hostile pages, read in a hostile order.
 *
 * The input is a list of steps, four bytes each, and behind it pages of 512
 * bytes; pages that are not there repeat them. What is asked for is checked
 * against what prefetch.h promises.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prefetch/prefetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGE 512u
#define PAGES 600u
#define BUDGET 40u
#define STEPS_MAX 400u

struct volume {
    const uint8_t *pages; /* `page_count` of them */
    size_t page_count;
    bool is_here[PAGES + 1];
    bool is_under_way[PAGES + 1];
    unsigned under_way;
    struct ramet_prefetch *predictor;
};

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_prefetch: %s\n", what);
        abort();
    }
}

static const uint8_t *
page_of(const struct volume *v, uint32_t pgno)
{
    return v->pages + (size_t)(pgno - 1) % v->page_count * PAGE;
}

static bool
is_here(void *ctx, uint32_t pgno)
{
    require(pgno >= 1 && pgno <= PAGES, "a page outside of the volume");
    return ((struct volume *)ctx)->is_here[pgno];
}

static bool
peek(void *ctx, uint32_t pgno, uint8_t *out)
{
    if (!is_here(ctx, pgno))
        return false;
    memcpy(out, page_of(ctx, pgno), PAGE);
    return true;
}

static void
land(struct volume *v, uint32_t pgno, bool is_lost)
{
    if (v->is_under_way[pgno])
        v->under_way--;
    v->is_under_way[pgno] = false;
    v->is_here[pgno] = !is_lost;
    if (is_lost)
        ramet_prefetch_lost(v->predictor, pgno);
    else
        ramet_prefetch_arrived(v->predictor, pgno, page_of(v, pgno));
}

static void
take(struct volume *v)
{
    uint32_t pgnos[8];
    size_t n;

    while ((n = ramet_prefetch_take(v->predictor, pgnos, 8)) > 0)
        for (size_t i = 0; i < n; i++) {
            require(pgnos[i] >= 1 && pgnos[i] <= PAGES, "no such page");
            require(!v->is_here[pgnos[i]], "it is here");
            require(!v->is_under_way[pgnos[i]], "asked for twice");
            v->is_under_way[pgnos[i]] = true;
            v->under_way++;
        }
    require(v->under_way <= 2 * BUDGET + 1, "more than the budget");
}

static void
read_page(struct volume *v, uint32_t pgno)
{
    ramet_prefetch_want(v->predictor, pgno, v->is_here[pgno]);
    take(v);
    if (!v->is_here[pgno])
        land(v, pgno, false);
    take(v);
    ramet_prefetch_read(v->predictor, pgno, page_of(v, pgno));
    take(v);
}

static void
run_step(struct volume *v, const uint8_t *step)
{
    const uint32_t pgno = (uint32_t)(step[1] | step[2] << 8) % PAGES + 1;

    switch (step[0] % 8) {
    case 0: /* what is under way arrives, or is lost */
    case 1:
        for (uint32_t p = 1; p <= PAGES; p++)
            if (v->is_under_way[p] && (p + step[3]) % 3 != 0)
                land(v, p, step[3] % 8 == 7);
        break;
    case 2: /* a cache drops it */
        v->is_here[pgno] = false;
        break;
    case 3:
        if (step[3] % 16 != 0)
            break;
        /* What is under way is of the commit before. */
        ramet_prefetch_move(v->predictor, PAGES);
        memset(v->is_under_way, 0, sizeof(v->is_under_way));
        v->under_way = 0;
        break;
    case 4: /* in order */
        for (uint32_t i = 0; i < step[3] % 32u && pgno + i <= PAGES; i++)
            read_page(v, pgno + i);
        break;
    default:
        read_page(v, pgno);
        break;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct volume v = {.under_way = 0};
    const struct ramet_prefetch_options options = {
        .page_size = PAGE,
        .page_count = PAGES,
        .is_database = true,
        .memory_bytes = 1,
        .view = {is_here, peek, &v},
    };
    struct ramet_prefetch_counts counts;
    size_t steps;

    if (size < 2 + PAGE)
        return 0;
    steps = (size_t)(data[0] | data[1] << 8) % STEPS_MAX;
    if (size < 2 + steps * 4 + PAGE)
        return 0;
    v.pages = data + 2 + steps * 4;
    v.page_count = (size - 2 - steps * 4) / PAGE;
    v.predictor = ramet_prefetch_new(&options);
    require(v.predictor != NULL, "no memory");
    ramet_prefetch_set_budget(v.predictor, BUDGET);
    for (size_t i = 0; i < steps; i++)
        run_step(&v, data + 2 + i * 4);
    counts = ramet_prefetch_counts(v.predictor);
    require(counts.used + counts.vain <= counts.asked, "more than was asked");
    ramet_prefetch_free(v.predictor);
    return 0;
}
