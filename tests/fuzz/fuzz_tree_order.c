/*
 * fuzz_tree_order.c - hostile pages, and the order in which their trees want them.
 *
 * The input is a file of pages of 512 bytes, behind two bytes: how often a page may be
 * read, and which one is not here. Each rank is given once, from 1 on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqliteformat/tree_order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGE 512u

struct file {
    const uint8_t *bytes;
    uint32_t page_count;
    uint32_t missing;
    uint64_t reads_left;
};

static void
require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_tree_order: %s\n", what);
    abort();
}

static bool
read_page(void *ctx, uint32_t pgno, uint8_t *out)
{
    struct file *const file = ctx;

    require(file->reads_left-- > 0, "it goes on and on");
    require(pgno >= 1 && pgno <= file->page_count, "a page that is none");
    if (pgno == file->missing)
        return false;
    memcpy(out, file->bytes + (size_t)(pgno - 1) * PAGE, PAGE);
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file file = {.bytes = data + 2};
    struct ramet_tree_order order = {
        .read = read_page, .ctx = &file, .page_size = PAGE};
    uint32_t *ranks;
    uint8_t *seen;
    uint32_t given = 0, most = 0;

    if (size < 2 + PAGE)
        return 0;
    file.page_count = (uint32_t)((size - 2) / PAGE);
    file.missing = data[1];
    order.page_count = file.page_count;
    order.reads_max = (uint64_t)data[0] * file.page_count / 32;
    file.reads_left = order.reads_max;
    ranks = malloc(file.page_count * sizeof(*ranks));
    seen = calloc(1, file.page_count + 1);
    require(ranks != NULL && seen != NULL, "no memory");
    require(ramet_tree_order_find(&order, ranks, NULL) == RAMET_OK, "it fails");
    for (uint32_t i = 0; i < file.page_count; i++) {
        if (ranks[i] == 0)
            continue;
        require(ranks[i] <= file.page_count && !seen[ranks[i]],
                "a rank is given twice, or is none");
        seen[ranks[i]] = 1;
        given++;
        most = ranks[i] > most ? ranks[i] : most;
    }
    require(given == most, "a rank is left out");
    free(seen);
    free(ranks);
    return 0;
}
