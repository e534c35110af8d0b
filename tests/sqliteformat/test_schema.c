/*
 * test_schema.c - which pulls leave the schema as it was. "The same" where it
 * is not would leave SQLite with an old schema; so each page of a tree is
 * changed in turn, and bytes are made up.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "core/bytes.h"
#include "sqliteformat/dbheader.h"
#include "sqliteformat/schema.h"

enum { SIZE = 512, PAGES = 12, USABLE = SIZE };

/*
 * Page 1 is interior and has pages 2, 3 and, to the right, 4. Page 3 has a row
 * that goes on in pages 5 and 6, page 4 one that goes on in page 7. Pages 8 to
 * 12 are other tables'.
 */
struct file {
    uint8_t pages[PAGES + 1][SIZE];
    unsigned reads;
    uint32_t missing; /* not here; 0: none */
};

static void
put_be16(uint8_t *out, size_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static size_t
put_varint(uint8_t *out, uint32_t value)
{
    if (value < 128) {
        out[0] = (uint8_t)value;
        return 1;
    }
    out[0] = (uint8_t)(0x80 | value >> 7);
    out[1] = (uint8_t)(value & 0x7f);
    return 2;
}

static uint32_t
local_of(uint32_t payload)
{
    const uint32_t least = (USABLE - 12) * 32 / 255 - 23;
    const uint32_t size = least + (payload - least) % (USABLE - 4);

    if (payload <= USABLE - 35)
        return payload;
    return size <= USABLE - 35 ? size : least;
}

/* One row; `overflow` is where it goes on. */
static void
make_leaf(uint8_t *page, uint32_t payload, uint32_t overflow)
{
    uint8_t cell[SIZE];
    size_t len = put_varint(cell, payload);

    len += put_varint(cell + len, 7);
    memset(cell + len, 'x', local_of(payload));
    len += local_of(payload);
    if (overflow != 0) {
        ramet_put_be32(cell + len, overflow);
        len += 4;
    }
    memset(page, 0, SIZE);
    page[0] = 0x0d;
    put_be16(page + 3, 1);
    put_be16(page + 8, SIZE - len);
    memcpy(page + SIZE - len, cell, len);
}

static void
make_file(struct file *f)
{
    uint8_t *const root = f->pages[1];

    memset(f, 0, sizeof(*f));
    memcpy(root, "SQLite format 3", 16);
    ramet_put_be32(root + 40, 5);
    root[100] = 0x05;
    put_be16(root + 103, 2);
    ramet_put_be32(root + 108, 4);
    put_be16(root + 112, 500);
    put_be16(root + 114, 490);
    ramet_put_be32(root + 500, 2);
    ramet_put_be32(root + 490, 3);
    make_leaf(f->pages[2], 300, 0);
    make_leaf(f->pages[3], 1200, 5);
    make_leaf(f->pages[4], 700, 7);
    ramet_put_be32(f->pages[5], 6);
}

static bool
read_page(void *ctx, uint32_t pgno, uint8_t *out)
{
    struct file *const f = ctx;

    f->reads++;
    if (pgno == 0 || pgno > PAGES || pgno == f->missing)
        return false;
    memcpy(out, f->pages[pgno], SIZE);
    return true;
}

static bool
is_same(struct file *f, const uint8_t *after, uint32_t first, uint32_t last)
{
    struct ramet_pageset changed;
    bool same;

    ramet_pageset_init(&changed);
    if (first != 0)
        assert_int_equal(
            ramet_pageset_add_run(&changed, (struct ramet_run){first, last}),
            RAMET_OK);
    same =
        ramet_schema_is_same(f->pages[1], after, SIZE, &changed, read_page, f);
    ramet_pageset_done(&changed);
    return same;
}

static void
schema__is_the_same_where_only_other_pages_changed(void **state)
{
    static struct file f;

    (void)state;
    make_file(&f);
    assert_true(is_same(&f, f.pages[1], 0, 0));
    assert_true(is_same(&f, f.pages[1], 1, 1)); /* by its bytes */
    assert_true(is_same(&f, f.pages[1], 8, PAGES));
    for (uint32_t pgno = 2; pgno <= PAGES; pgno++)
        assert_int_equal(is_same(&f, f.pages[1], pgno, pgno), pgno >= 8);
}

static void
schema__whose_page_is_not_here_is_another(void **state)
{
    static struct file f;

    (void)state;
    make_file(&f);
    for (f.missing = 2; f.missing <= PAGES; f.missing++)
        assert_int_equal(is_same(&f, f.pages[1], 0, 0), f.missing >= 8);
}

static void
schema__with_any_other_byte_in_its_root_is_another(void **state)
{
    static struct file f;
    uint8_t after[SIZE];

    (void)state;
    make_file(&f);
    for (size_t i = 0; i < SIZE; i++) {
        const bool counts = i < 16 || i == 20 || (i >= 40 && i < 60) ||
                            i >= RAMET_DBHEADER_SIZE;

        memcpy(after, f.pages[1], SIZE);
        after[i] ^= 0x20;
        assert_int_equal(is_same(&f, after, 0, 0), !counts);
    }
}

static void
schema__that_makes_no_sense_is_another(void **state)
{
    static struct file f;

    (void)state;
    make_file(&f);
    ramet_put_be32(f.pages[6], 0); /* it ends there, as it should */
    ramet_put_be32(f.pages[5], 0); /* too early */
    assert_false(is_same(&f, f.pages[1], 0, 0));
    make_file(&f);
    f.pages[2][0] = 0x0a; /* a page of an index */
    assert_false(is_same(&f, f.pages[1], 0, 0));
    make_file(&f);
    put_be16(f.pages[2] + 3, 1000); /* rows without room */
    assert_false(is_same(&f, f.pages[1], 0, 0));
    make_file(&f);
    memcpy(f.pages[4], f.pages[1] + 100, 12); /* its own parent */
    put_be16(f.pages[4] + 3, 0);
    ramet_put_be32(f.pages[4] + 8, 4);
    assert_false(is_same(&f, f.pages[1], 0, 0));
    f.pages[1][20] = 40; /* too little is left of each page */
    assert_false(is_same(&f, f.pages[1], 0, 0));
}

/* Whatever the bytes: an answer, soon, and no read past a page. */
static void
schema__of_made_up_bytes_gets_an_answer(void **state)
{
    static struct file f;
    uint64_t random = 42;

    (void)state;
    for (int turn = 0; turn < 20000; turn++) {
        make_file(&f);
        for (int flips = 0; flips < 6; flips++) {
            uint32_t pgno;
            uint32_t at;

            random = random * 6364136223846793005u + 1442695040888963407u;
            pgno = (uint32_t)(random >> 33) % 7 + 1;
            random = random * 6364136223846793005u + 1442695040888963407u;
            at = (uint32_t)(random >> 33) % SIZE;
            if (pgno != 1 || at >= RAMET_DBHEADER_SIZE)
                f.pages[pgno][at] = (uint8_t)(random >> 56);
        }
        (void)is_same(&f, f.pages[1], 0, 0);
        assert_in_range(f.reads, 0, 4096);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schema__is_the_same_where_only_other_pages_changed),
        cmocka_unit_test(schema__whose_page_is_not_here_is_another),
        cmocka_unit_test(schema__with_any_other_byte_in_its_root_is_another),
        cmocka_unit_test(schema__that_makes_no_sense_is_another),
        cmocka_unit_test(schema__of_made_up_bytes_gets_an_answer),
    };
    return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
