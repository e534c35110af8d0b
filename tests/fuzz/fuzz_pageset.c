/*
 * fuzz_pageset.c - hostile bytes as a page set, and as a list of operations.
 *
 * The first byte chooses. Decoding: what is accepted obeys the invariants of
 * pageset.h and is encoded again to the very bytes it came from. Operations:
 * sets of pages 1 to 256 are compared with an array of flags, in part after each
 * step and whole at the end.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/pageset.h"

#define PAGES 256u
#define OPERATIONS_MAX 48u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_pageset: %s\n", what);
        abort();
    }
}

static void
check_invariants(const struct ramet_pageset *set)
{
    uint64_t previous = 0;

    for (size_t i = 0; i < set->run_count; i++) {
        const struct ramet_run run = set->runs[i];

        require(run.first >= 1 && run.first <= run.last, "empty run");
        require(i == 0 || run.first > previous + 1, "runs touch");
        previous = run.last;
    }
}

static void
fuzz_decode(const uint8_t *data, size_t size)
{
    const uint32_t max_pgno = size >= 4 ? ramet_get_le32(data) : UINT32_MAX;
    struct ramet_pageset set;
    struct ramet_reader in;
    struct ramet_buf out;
    struct ramet_err err;
    enum ramet_rc rc;

    if (size >= 4) {
        data += 4;
        size -= 4;
    }
    ramet_pageset_init(&set);
    ramet_buf_init(&out, size);
    ramet_reader_init(&in, data, size);
    rc = ramet_pageset_decode(&set, &in, max_pgno, 1000, &err);
    if (rc == RAMET_OK) {
        check_invariants(&set);
        require(set.run_count <= 1000, "too many runs");
        require(set.run_count == 0 ||
                    set.runs[set.run_count - 1].last <= max_pgno,
                "page beyond the limit");
        require(ramet_pageset_encode(&set, &out) == RAMET_OK,
                "can't be encoded");
        require(out.len == in.pos && memcmp(out.data, data, out.len) == 0,
                "another encoding of the same set");
    } else {
        require(rc == RAMET_ECORRUPT && err.code == rc && err.text[0] != '\0',
                "no text for a failure");
        require(set.run_count == 0, "set touched by a failure");
    }
    ramet_buf_done(&out);
    ramet_pageset_done(&set);
}

/* Looked at page by page; a step's own pages are looked at by compare_at(). */
static void
compare(const struct ramet_pageset *set, const uint8_t model[PAGES + 2])
{
    uint64_t count = 0;
    uint32_t next = 0;

    check_invariants(set);
    for (uint32_t pgno = PAGES; pgno > 0; pgno--) {
        require(ramet_pageset_contains(set, pgno) == model[pgno], "contains");
        require(ramet_pageset_next(set, pgno) == next, "next");
        count += model[pgno];
        if (model[pgno])
            next = pgno;
    }
    require(ramet_pageset_count(set) == count, "count");
}

static void
compare_at(const struct ramet_pageset *set, const uint8_t model[PAGES + 2],
           uint32_t pgno)
{
    check_invariants(set);
    for (uint32_t p = pgno > 1 ? pgno - 1 : 1; p <= pgno + 1 && p <= PAGES; p++)
        require(ramet_pageset_contains(set, p) == model[p], "contains");
}

/* One operation of three bytes on a[0], with a[1] as the other operand. */
static void
step(struct ramet_pageset a[2], uint8_t model[2][PAGES + 2],
     const uint8_t bytes[3])
{
    const uint32_t first = bytes[1] + 1u;
    const uint32_t last = first + bytes[2] <= PAGES ? first + bytes[2] : PAGES;
    const struct ramet_run run = {first, last};
    enum ramet_rc rc = RAMET_OK;

    switch (bytes[0] % 8) {
    case 0:
        rc = ramet_pageset_add(&a[0], first);
        model[0][first] = 1;
        break;
    case 1:
        rc = ramet_pageset_add_run(&a[0], run);
        memset(model[0] + first, 1, last - first + 1);
        break;
    case 2:
        rc = ramet_pageset_remove_run(&a[0], run);
        memset(model[0] + first, 0, last - first + 1);
        break;
    case 3:
        ramet_pageset_truncate(&a[0], first - 1);
        memset(model[0] + first, 0, PAGES - first + 1);
        break;
    case 4:
        rc = ramet_pageset_add_set(&a[0], &a[1]);
        for (uint32_t i = 1; i <= PAGES; i++)
            model[0][i] |= model[1][i];
        break;
    case 5:
        rc = ramet_pageset_remove_set(&a[0], &a[1]);
        for (uint32_t i = 1; i <= PAGES; i++)
            model[0][i] &= (uint8_t)!model[1][i];
        break;
    case 6:
        rc = ramet_pageset_copy(&a[1], &a[0]);
        memcpy(model[1], model[0], PAGES + 2);
        require(ramet_pageset_equal(&a[0], &a[1]), "copy differs");
        break;
    case 7: {
        uint8_t tmp[PAGES + 2];

        memcpy(tmp, model[0], sizeof(tmp));
        memcpy(model[0], model[1], sizeof(tmp));
        memcpy(model[1], tmp, sizeof(tmp));
        ramet_pageset_swap(&a[0], &a[1]);
        break;
    }
    }
    require(rc == RAMET_OK, "operation failed");
}

static void
fuzz_operations(const uint8_t *data, size_t size)
{
    struct ramet_pageset sets[2] = {{0}, {0}};
    uint8_t model[2][PAGES + 2] = {{0}};
    int common = 0;

    if (size > OPERATIONS_MAX * 3)
        size = OPERATIONS_MAX * 3;
    for (; size >= 3; data += 3, size -= 3) {
        step(sets, model, data);
        compare_at(&sets[0], model[0], data[1] + 1u);
        compare_at(&sets[0], model[0], data[1] + 1u + data[2]);
    }
    compare(&sets[0], model[0]);
    compare(&sets[1], model[1]);
    for (uint32_t i = 1; i <= PAGES; i++)
        common |= model[0][i] & model[1][i];
    require(ramet_pageset_intersects(&sets[0], &sets[1]) == common,
            "intersects");
    ramet_pageset_done(&sets[0]);
    ramet_pageset_done(&sets[1]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        fuzz_decode(data + 1, size - 1);
    else
        fuzz_operations(data + 1, size - 1);
    return 0;
}
