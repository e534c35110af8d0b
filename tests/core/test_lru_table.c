/*
 * test_lru_table.c - entries by hash, and in the order of their use.
 */
#include "core/lru_table.h"

#include "tests/support/cmocka_all.h"

#define BUCKETS 4u
#define ENTRIES 32u

struct entry {
    struct ramet_lru_link link;
    unsigned key;
};

struct fixture {
    struct ramet_lru_link *buckets[BUCKETS];
    struct ramet_lru_table table;
    struct entry entries[ENTRIES];
};

/* Few hashes, all in two buckets: keys meet in chains, and in hashes. */
static uint64_t
hash_of(unsigned key)
{
    return (uint64_t)(key % 2) << 32 | key % 8;
}

static struct entry *
find(const struct fixture *f, unsigned key)
{
    struct ramet_lru_link *link =
        ramet_lru_table_first(&f->table, hash_of(key));

    while (link != NULL && ((struct entry *)link)->key != key)
        link = ramet_lru_table_next(link);
    return (struct entry *)link;
}

static void
fill(struct fixture *f)
{
    *f = (struct fixture){.buckets = {NULL}};
    ramet_lru_table_init(&f->table, f->buckets, BUCKETS);
    for (unsigned key = 0; key < ENTRIES; key++) {
        f->entries[key].key = key;
        ramet_lru_table_add(&f->table, &f->entries[key].link, hash_of(key),
                            key + 1);
    }
}

static unsigned
key_of(const struct ramet_lru_link *link)
{
    return ((const struct entry *)link)->key;
}

static void
table__finds_each_entry_among_those_of_its_hash(void **state)
{
    struct fixture f;

    (void)state;
    fill(&f);
    for (unsigned key = 0; key < ENTRIES; key++)
        assert_ptr_equal(find(&f, key), &f.entries[key]);
    assert_null(find(&f, ENTRIES));
    assert_null(ramet_lru_table_first(&f.table, UINT64_C(3) << 32));
}

static void
table__without_an_entry_has_all_others(void **state)
{
    struct fixture f;
    size_t bytes = 0;

    (void)state;
    fill(&f);
    for (unsigned key = 0; key < ENTRIES; key += 3)
        ramet_lru_table_remove(&f.table, &f.entries[key].link);
    for (unsigned key = 0; key < ENTRIES; key++) {
        assert_ptr_equal(find(&f, key), key % 3 == 0 ? NULL : &f.entries[key]);
        bytes += key % 3 == 0 ? 0 : key + 1;
    }
    assert_int_equal(f.table.bytes, bytes);
    while (f.table.oldest != NULL)
        ramet_lru_table_remove(&f.table, f.table.oldest);
    assert_null(f.table.newest);
    assert_int_equal(f.table.bytes, 0);
}

static void
order__is_that_of_use(void **state)
{
    struct fixture f;
    unsigned expected = 1;

    (void)state;
    fill(&f);
    ramet_lru_table_use(&f.table, &f.entries[ENTRIES - 1].link); /* is newest */
    ramet_lru_table_use(&f.table, &f.entries[0].link); /* was oldest */
    ramet_lru_table_use(&f.table, &f.entries[7].link);
    assert_int_equal(key_of(f.table.newest), 7);
    assert_int_equal(key_of(f.table.newest->older), 0);
    for (const struct ramet_lru_link *link = f.table.oldest; key_of(link) != 0;
         link = link->newer) {
        assert_int_equal(key_of(link), expected);
        expected += expected == 6 ? 2 : 1;
    }
    assert_int_equal(expected, ENTRIES);
    assert_null(f.table.newest->newer);
    assert_null(f.table.oldest->older);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table__finds_each_entry_among_those_of_its_hash),
        cmocka_unit_test(table__without_an_entry_has_all_others),
        cmocka_unit_test(order__is_that_of_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
