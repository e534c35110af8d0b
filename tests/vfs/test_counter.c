/*
 * test_counter.c - which writes of page 1 may be left out, and no other.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "vfs/counter.h"

enum { SIZE = 512 };

struct fixture {
    struct ramet_counter counter;
    struct ramet_snapshot snapshot;
    uint8_t page[SIZE]; /* as SQLite holds it */
};

static void
count_on(uint8_t *page, uint32_t by)
{
    const uint32_t value = ramet_get_be32(page + 24) + by;

    ramet_put_be32(page + 24, value);
    ramet_put_be32(page + 92, value);
}

static void
publish(struct fixture *f)
{
    const uint64_t base = f->snapshot.pages_seq;

    f->snapshot.pages_seq++;
    f->snapshot.header_pends = true;
    ramet_counter_published(&f->counter, base, &f->snapshot);
}

/* A handle whose first commit wrote page 1. */
static void
set_up(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    for (size_t i = 0; i < SIZE; i++)
        f->page[i] = (uint8_t)(i * 7);
    memcpy(f->page, "SQLite format 3", 16);
    ramet_put_be32(f->page + 24, 41);
    ramet_put_be32(f->page + 92, 41);
    f->snapshot.pages_seq = 9;
    f->snapshot.header_pends = false;
    f->snapshot.page_size = SIZE;
    f->snapshot.byte_length = 4 * SIZE;
    count_on(f->page, 1);
    assert_false(
        ramet_counter_only_counts(&f->counter, &f->snapshot, f->page, SIZE));
    ramet_counter_wrote(&f->counter, f->page, SIZE);
    publish(f);
}

static bool
leaves_out(struct fixture *f)
{
    return f->snapshot.header_pends &&
           ramet_counter_only_counts(&f->counter, &f->snapshot, f->page, SIZE);
}

static void
leaves_out__a_write_that_only_counts_on(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    for (int i = 0; i < 20; i++) {
        count_on(f.page, 1);
        assert_true(leaves_out(&f));
        publish(&f);
    }
    ramet_counter_done(&f.counter);
}

static void
leaves_out__nothing_else(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    for (size_t i = 0; i < SIZE; i++) {
        count_on(f.page, 1);
        f.page[i] ^= 0x10;
        assert_false(leaves_out(&f)); /* of the counters: they differ */
        f.page[i] ^= 0x10;
        assert_true(leaves_out(&f));
        ramet_counter_dropped(&f.counter);
        count_on(f.page, (uint32_t)-1);
    }
    /* However far SQLite has counted: the number is its handle's. */
    for (uint32_t by = 0; by < 5; by++) {
        count_on(f.page, by);
        assert_true(leaves_out(&f));
        ramet_counter_dropped(&f.counter);
        count_on(f.page, -by);
    }
    count_on(f.page, 1);
    assert_false(
        ramet_counter_only_counts(&f.counter, &f.snapshot, f.page, SIZE / 2));
    ramet_counter_done(&f.counter);
}

static void
leaves_out__nothing_once_somebody_else_committed(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    f.snapshot.pages_seq++;
    count_on(f.page, 2);
    assert_false(leaves_out(&f));
    /* Its own commit goes through whole, and then it knows again. */
    ramet_counter_wrote(&f.counter, f.page, SIZE);
    publish(&f);
    count_on(f.page, 1);
    assert_true(leaves_out(&f));
    publish(&f);
    f.snapshot.seq += 2; /* records that change no page change nothing here */
    count_on(f.page, 1);
    assert_true(leaves_out(&f));
    publish(&f);
    /* So does reading. */
    f.snapshot.pages_seq++;
    ramet_counter_saw(&f.counter, &f.snapshot, f.page, SIZE);
    count_on(f.page, 2);
    assert_true(leaves_out(&f));
    ramet_counter_done(&f.counter);
}

/* After an intent, what landed, a pull: then it goes to the remote once more. */
static void
leaves_out__nothing_while_the_header_does_not_pend(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    for (uint64_t lsn = 0; lsn < 3; lsn++) {
        f.snapshot.lsn = lsn;
        f.snapshot.header_pends = false;
        count_on(f.page, 1);
        assert_false(leaves_out(&f));
        ramet_counter_wrote(&f.counter, f.page, SIZE);
        publish(&f);
        count_on(f.page, 1);
        assert_true(leaves_out(&f));
        publish(&f);
    }
    ramet_counter_done(&f.counter);
}

static void
leaves_out__nothing_that_a_rollback_or_a_part_made_doubtful(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    ramet_counter_wrote(&f.counter, f.page, SIZE);
    ramet_counter_dropped(&f.counter);
    count_on(f.page, 1);
    assert_false(leaves_out(&f));
    ramet_counter_done(&f.counter);

    set_up(&f);
    ramet_counter_wrote(&f.counter, NULL, 4);
    count_on(f.page, 1);
    assert_false(leaves_out(&f));
    publish(&f);
    count_on(f.page, 1);
    assert_false(leaves_out(&f));
    ramet_counter_done(&f.counter);
}

static void
leaves_out__nothing_without_memory(void **state)
{
    struct fixture f;

    (void)state;
    ramet_alloc_fail_at(0);
    set_up(&f);
    ramet_alloc_fail_at(-1);
    count_on(f.page, 1);
    assert_false(leaves_out(&f));
    ramet_counter_done(&f.counter);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_out__a_write_that_only_counts_on),
        cmocka_unit_test(leaves_out__nothing_else),
        cmocka_unit_test(leaves_out__nothing_once_somebody_else_committed),
        cmocka_unit_test(leaves_out__nothing_while_the_header_does_not_pend),
        cmocka_unit_test(
            leaves_out__nothing_that_a_rollback_or_a_part_made_doubtful),
        cmocka_unit_test(leaves_out__nothing_without_memory),
    };
    return cmocka_run_group_tests_name("counter", tests, NULL, NULL);
}
