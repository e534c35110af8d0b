/*
 * fuzz_delta_loose.c - hostile bytes as records of loose deltas, one behind the other, and
 * what they hold over a base.
 *
 * The first byte chooses the page size; a record follows two bytes of length. Pages ascend
 * within a record, and nothing is given out of one that is refused, nor after it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagestore/delta_loose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    uint32_t page_size, last;
    uint8_t *base, *out;
    unsigned count;
};

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_delta_loose: %s\n", what);
        abort();
    }
}

static void
take(void *ctx, uint32_t pgno, const struct ramet_delta *delta)
{
    struct run *const run = ctx;

    require(pgno > run->last, "pages that do not ascend");
    require(delta->sum == 0, "a sum");
    run->last = pgno;
    run->count++;
    if (run->count < 64)
        (void)!ramet_delta_apply(delta, run->base, run->page_size, run->out,
                                 NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_loose_reader *const reader = ramet_loose_reader_new();
    struct run run = {.page_size = 0};
    enum ramet_rc before = RAMET_OK;

    if (size < 3) {
        ramet_loose_reader_free(reader);
        return 0;
    }
    run.page_size = RAMET_PAGE_SIZE_MIN << (data[0] & 7);
    run.base = calloc(1, run.page_size);
    run.out = malloc(run.page_size);
    require(reader != NULL && run.base != NULL && run.out != NULL, "memory");
    for (size_t at = 1; at + 2 <= size;) {
        size_t len = (size_t)data[at] << 8 | data[at + 1];
        struct ramet_err err = {0};
        enum ramet_rc rc;

        at += 2;
        len = len < size - at ? len : size - at;
        run.last = run.count = 0;
        rc = ramet_loose_read(reader, data + at, len, run.page_size, take, &run,
                              &err);
        require(rc == RAMET_OK || rc == RAMET_ECORRUPT || rc == RAMET_ENOMEM,
                "odd code");
        require((rc == RAMET_OK) == (run.count > 0), "some of a record");
        require(rc == RAMET_OK || err.text[0] != '\0', "no text");
        require(before == RAMET_OK || rc != RAMET_OK,
                "one after a damaged one");
        before = rc;
        at += len;
    }
    free(run.base);
    free(run.out);
    ramet_loose_reader_free(reader);
    return 0;
}
