/*
 * fuzz_schema.c - hostile pages, and whether their schema is the same.
 *
 * The input is a file of pages of 512 bytes, behind one byte that says which of
 * them changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqliteformat/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGE 512u

struct file {
    const uint8_t *bytes;
    size_t page_count;
    unsigned reads;
};

static bool
read_page(void *ctx, uint32_t pgno, uint8_t *out)
{
    struct file *const file = ctx;

    if (++file->reads > 8192) {
        fprintf(stderr, "fuzz_schema: it goes on and on\n");
        abort();
    }
    if (pgno == 0 || pgno > file->page_count)
        return false;
    memcpy(out, file->bytes + (size_t)(pgno - 1) * PAGE, PAGE);
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_pageset changed;
    struct file file = {.bytes = data + 1};

    if (size < 1 + PAGE)
        return 0;
    file.page_count = (size - 1) / PAGE;
    ramet_pageset_init(&changed);
    if (data[0] > 1 &&
        ramet_pageset_add_run(&changed, (struct ramet_run){data[0], data[0]}) !=
            RAMET_OK)
        abort();
    (void)ramet_schema_is_same(data + 1, data + 1, PAGE, &changed, read_page,
                               &file);
    ramet_pageset_done(&changed);
    return 0;
}
