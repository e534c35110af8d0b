/*
 * test_bytes.c - integers and varints against byte vectors, the buffer at its
 * limits, and the reader on hostile bytes.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"

/* docs/format.md, "Varint", has the same vectors. */
static const struct {
    uint64_t value;
    uint8_t len;
    uint8_t bytes[RAMET_VARINT_MAX];
} vectors[] = {
    {0, 1, {0x00}},
    {1, 1, {0x01}},
    {127, 1, {0x7f}},
    {128, 2, {0x80, 0x01}},
    {300, 2, {0xac, 0x02}},
    {16383, 2, {0xff, 0x7f}},
    {16384, 3, {0x80, 0x80, 0x01}},
    {UINT32_MAX, 5, {0xff, 0xff, 0xff, 0xff, 0x0f}},
    {INT64_MAX, 9, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}},
    {UINT64_C(1) << 63,
     10,
     {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}},
    {UINT64_MAX,
     10,
     {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
};
#define VECTOR_COUNT (sizeof(vectors) / sizeof(vectors[0]))

static void
put__writes_little_endian(void **state)
{
    uint8_t out[8];

    (void)state;
    ramet_put_le16(out, 0x0102);
    assert_memory_equal(out, "\x02\x01", 2);
    ramet_put_le32(out, 0x01020304);
    assert_memory_equal(out, "\x04\x03\x02\x01", 4);
    ramet_put_le64(out, UINT64_C(0x0102030405060708));
    assert_memory_equal(out, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    assert_int_equal(ramet_get_le64(out), UINT64_C(0x0102030405060708));
    assert_int_equal(ramet_get_le32(out), 0x05060708);
    assert_int_equal(ramet_get_le16(out), 0x0708);
    ramet_put_be32(out, 0xf1020304);
    assert_memory_equal(out, "\xf1\x02\x03\x04", 4);
    assert_int_equal(ramet_get_be32(out), 0xf1020304);
    assert_int_equal(ramet_get_be16(out), 0xf102);
}

static void
varint__is_written_as_in_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        uint8_t out[RAMET_VARINT_MAX];

        assert_int_equal(ramet_put_varint(out, vectors[i].value),
                         vectors[i].len);
        assert_memory_equal(out, vectors[i].bytes, vectors[i].len);
    }
}

static void
varint__is_read_back_and_not_one_byte_sooner(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct ramet_reader in;

        ramet_reader_init(&in, vectors[i].bytes, vectors[i].len);
        assert_true(ramet_read_varint(&in) == vectors[i].value);
        assert_false(in.bad);
        assert_int_equal(in.pos, vectors[i].len);
        for (size_t len = 0; len < vectors[i].len; len++) {
            ramet_reader_init(&in, vectors[i].bytes, len);
            assert_int_equal(ramet_read_varint(&in), 0);
            assert_true(in.bad);
        }
    }
}

static void
varint__is_refused_in_any_longer_form(void **state)
{
    static const struct {
        size_t len;
        const char *bytes;
    } cases[] = {
        {2, "\x80\x00"},
        {2, "\xff\x00"},
        {3, "\x81\x80\x00"},
        {10, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"},
        {10, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"}, /* 65 bits */
        {10, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81"},
        {11, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ramet_reader in;

        ramet_reader_init(&in, cases[i].bytes, cases[i].len);
        assert_int_equal(ramet_read_varint(&in), 0);
        assert_true(in.bad);
    }
}

static void
read_varint_max__refuses_what_exceeds_it(void **state)
{
    static const uint8_t bytes[] = {0x80, 0x01, 0x80, 0x01};
    struct ramet_reader in;

    (void)state;
    ramet_reader_init(&in, bytes, sizeof(bytes));
    assert_int_equal(ramet_read_varint_max(&in, 128), 128);
    assert_int_equal(ramet_read_varint_max(&in, 127), 0);
    assert_true(in.bad);
}

static void
reader__past_the_end_yields_zeros_and_stays_bad(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7};
    struct ramet_reader in;

    (void)state;
    ramet_reader_init(&in, bytes, sizeof(bytes));
    assert_int_equal(ramet_read_le32(&in), 0x04030201);
    assert_int_equal(ramet_reader_left(&in), 3);
    assert_int_equal(ramet_read_le64(&in), 0);
    assert_true(in.bad);
    assert_int_equal(ramet_reader_left(&in), 0);
    assert_int_equal(ramet_read_u8(&in), 0); /* though three are there */
    assert_int_equal(ramet_read_le16(&in), 0);
    assert_int_equal(ramet_read_varint(&in), 0);
    assert_null(ramet_read_bytes(&in, 0));
}

static void
reader__takes_all_and_no_more(void **state)
{
    static const uint8_t bytes[] = {9, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8};
    struct ramet_reader in;

    (void)state;
    ramet_reader_init(&in, bytes, sizeof(bytes));
    assert_int_equal(ramet_read_u8(&in), 9);
    assert_int_equal(ramet_read_le16(&in), 0x0201);
    assert_true(ramet_read_le64(&in) == UINT64_C(0x0807060504030201));
    assert_non_null(ramet_read_bytes(&in, 0));
    assert_false(in.bad);
    assert_null(ramet_read_bytes(&in, SIZE_MAX));
    assert_true(in.bad);

    ramet_reader_init(&in, NULL, 0);
    assert_non_null(ramet_read_bytes(&in, 0));
    assert_int_equal(ramet_read_u8(&in), 0);
    assert_true(in.bad);
}

static void
buf__holds_what_was_appended(void **state)
{
    static const uint8_t expected[] = {
        1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0xac, 2, 'x', 'y',
    };
    struct ramet_buf buf;

    (void)state;
    ramet_buf_init(&buf, sizeof(expected));
    ramet_buf_u8(&buf, 1);
    ramet_buf_le16(&buf, 2);
    ramet_buf_le32(&buf, 3);
    ramet_buf_le64(&buf, 4);
    ramet_buf_varint(&buf, 300);
    ramet_buf_bytes(&buf, "xy", 2);
    assert_int_equal(buf.failed, RAMET_OK);
    assert_int_equal(buf.len, sizeof(expected));
    assert_memory_equal(buf.data, expected, sizeof(expected));
    assert_true(buf.capacity <= buf.max);
    ramet_buf_done(&buf);
    assert_null(buf.data);
    ramet_buf_done(NULL);
}

static void
buf__failure_is_sticky_until_cleared(void **state)
{
    struct ramet_buf buf;

    (void)state;
    ramet_buf_init(&buf, 3);
    ramet_buf_le16(&buf, 1);
    ramet_buf_le16(&buf, 2); /* does not fit */
    assert_int_equal(buf.failed, RAMET_ETOOBIG);
    ramet_buf_u8(&buf, 3); /* would fit, but comes after a failure */
    assert_int_equal(buf.len, 2);
    ramet_buf_clear(&buf);
    assert_int_equal(buf.failed, RAMET_OK);
    ramet_buf_bytes(&buf, "abc", 3);
    assert_int_equal(buf.failed, RAMET_OK);
    ramet_buf_done(&buf);
}

static void
buf__notices_want_of_memory_and_of_a_maximum(void **state)
{
    struct ramet_buf buf = {0};

    (void)state;
    assert_null(ramet_buf_extend(&buf, 0));
    assert_int_equal(buf.failed, RAMET_ETOOBIG);

    ramet_buf_init(&buf, SIZE_MAX);
    ramet_buf_u8(&buf, 1);
    assert_null(ramet_buf_extend(&buf, SIZE_MAX));
    assert_int_equal(buf.failed, RAMET_ETOOBIG);
    ramet_buf_clear(&buf);
    ramet_alloc_fail_at(0);
    ramet_buf_bytes(&buf, buf.data, 0);
    assert_int_equal(buf.failed, RAMET_OK); /* nothing to allocate */
    assert_null(ramet_buf_extend(&buf, 1000));
    assert_int_equal(buf.failed, RAMET_ENOMEM);
    ramet_buf_done(&buf);
}

static void
buf__grows_to_its_maximum_exactly(void **state)
{
    struct ramet_buf buf;

    (void)state;
    for (size_t max = 1; max < 300; max++) {
        ramet_buf_init(&buf, max);
        for (size_t i = 0; i < max; i++)
            ramet_buf_u8(&buf, (uint8_t)i);
        assert_int_equal(buf.failed, RAMET_OK);
        assert_int_equal(buf.len, max);
        for (size_t i = 0; i < max; i++)
            assert_int_equal(buf.data[i], (uint8_t)i);
        ramet_buf_u8(&buf, 0);
        assert_int_equal(buf.failed, RAMET_ETOOBIG);
        ramet_buf_done(&buf);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put__writes_little_endian),
        cmocka_unit_test(varint__is_written_as_in_the_vectors),
        cmocka_unit_test(varint__is_read_back_and_not_one_byte_sooner),
        cmocka_unit_test(varint__is_refused_in_any_longer_form),
        cmocka_unit_test(read_varint_max__refuses_what_exceeds_it),
        cmocka_unit_test(reader__past_the_end_yields_zeros_and_stays_bad),
        cmocka_unit_test(reader__takes_all_and_no_more),
        cmocka_unit_test(buf__holds_what_was_appended),
        cmocka_unit_test(buf__failure_is_sticky_until_cleared),
        cmocka_unit_test(buf__notices_want_of_memory_and_of_a_maximum),
        cmocka_unit_test(buf__grows_to_its_maximum_exactly),
    };
    return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
