/*
 * test_page1.c - what SQLite is shown of bytes 24-27 and 92-95. Getting this
 * wrong corrupts databases: every combination is enumerated.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "core/bytes.h"
#include "vfs/page1.h"

static void
make_snapshot(struct ramet_snapshot *out, uint32_t stored, uint32_t valid_for,
              uint32_t counter)
{
    memset(out, 0, sizeof(*out));
    out->byte_length = 8192;
    out->page_size = 4096;
    out->counter = counter;
    for (size_t i = 0; i < sizeof(out->header); i++)
        out->header[i] = (uint8_t)(i + 1);
    memcpy(out->header, "SQLite format 3", 16);
    ramet_put_be32(out->header + 24, stored);
    ramet_put_be32(out->header + 92, valid_for);
}

static void
show__gives_the_counter_and_keeps_equality(void **state)
{
    static const uint32_t values[] = {0,          1,          2,         7,
                                      0x7fffffff, 0xfffffffe, 0xffffffff};
    const size_t count = sizeof(values) / sizeof(values[0]);

    (void)state;
    for (size_t i = 0; i < count * count * count; i++) {
        const uint32_t stored = values[i % count];
        const uint32_t valid_for = values[i / count % count];
        const uint32_t counter = values[i / count / count];
        struct ramet_snapshot s;
        uint8_t buf[100];

        make_snapshot(&s, stored, valid_for, counter);
        memcpy(buf, s.header, sizeof(buf));
        ramet_page1_show(&s, s.counter, 0, buf, sizeof(buf));
        assert_int_equal(ramet_get_be32(buf + 24), counter);
        assert_int_equal(memcmp(buf + 24, buf + 92, 4) == 0,
                         stored == valid_for);
        assert_memory_equal(buf, s.header, 24);
        assert_memory_equal(buf + 28, s.header + 28, 64);
        assert_memory_equal(buf + 96, s.header + 96, 4);
        assert_true(ramet_page1_is_shown(&s, buf));
        buf[24] ^= 1;
        assert_false(ramet_page1_is_shown(&s, buf));
    }
}

static void
show__of_any_range_is_that_part_of_the_whole(void **state)
{
    struct ramet_snapshot s;
    uint8_t whole[128];
    uint8_t stored[128];

    (void)state;
    make_snapshot(&s, 5, 5, 0x01020304);
    memset(stored, 0xee, sizeof(stored));
    memcpy(stored, s.header, 100);
    memcpy(whole, stored, sizeof(whole));
    ramet_page1_show(&s, s.counter, 0, whole, sizeof(whole));
    for (size_t from = 0; from < sizeof(whole); from++)
        for (size_t len = 0; len <= sizeof(whole) - from; len++) {
            uint8_t part[130];

            memset(part, 0xaa, sizeof(part));
            memcpy(part + 1, stored + from, len);
            ramet_page1_show(&s, s.counter, from, part + 1, len);
            assert_memory_equal(part + 1, whole + from, len);
            assert_int_equal(part[0], 0xaa);
            assert_int_equal(part[len + 1], 0xaa);
        }
}

static void
show__leaves_other_files_alone(void **state)
{
    struct ramet_snapshot s;
    uint8_t buf[100];

    (void)state;
    make_snapshot(&s, 5, 5, 9);
    s.byte_length = 99; /* too short to be a database */
    memcpy(buf, s.header, sizeof(buf));
    ramet_page1_show(&s, s.counter, 0, buf, 99);
    assert_memory_equal(buf, s.header, sizeof(buf));
    assert_false(ramet_page1_is_shown(&s, buf));

    s.byte_length = 8192;
    for (size_t i = 0; i < 16; i++) {
        s.header[i] ^= 0x40;
        memcpy(buf, s.header, sizeof(buf));
        ramet_page1_show(&s, s.counter, 0, buf, sizeof(buf));
        assert_memory_equal(buf, s.header, sizeof(buf));
        s.header[i] ^= 0x40;
    }
}

static void
touches__is_true_for_eight_bytes(void **state)
{
    (void)state;
    for (uint64_t at = 0; at < 200; at++)
        for (size_t len = 0; len < 200; len++) {
            bool wanted = false;

            for (uint64_t i = at; i < at + len; i++)
                wanted = wanted || (i >= 24 && i < 28) || (i >= 92 && i < 96);
            assert_int_equal(ramet_page1_touches(at, len), wanted);
        }
}

static void
wants_wal__looks_at_bytes_18_and_19(void **state)
{
    struct ramet_snapshot s;

    (void)state;
    make_snapshot(&s, 1, 1, 1);
    s.header[18] = s.header[19] = 1;
    assert_false(ramet_page1_wants_wal(s.header, 100));
    s.header[19] = 2;
    assert_true(ramet_page1_wants_wal(s.header, 100));
    assert_false(ramet_page1_wants_wal(s.header, 99));
    s.header[0] = 'X';
    assert_false(ramet_page1_wants_wal(s.header, 100));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(show__gives_the_counter_and_keeps_equality),
        cmocka_unit_test(show__of_any_range_is_that_part_of_the_whole),
        cmocka_unit_test(show__leaves_other_files_alone),
        cmocka_unit_test(touches__is_true_for_eight_bytes),
        cmocka_unit_test(wants_wal__looks_at_bytes_18_and_19),
    };
    return cmocka_run_group_tests_name("page1", tests, NULL, NULL);
}
