/*
 * test_delta_loose.c - deltas out of their blocks: records that come back as they were
 * written, and hostile ones.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "pagestore/delta_loose.h"

/* docs/protocol.md's example: both deltas of docs/format.md's vector. */
static const uint8_t vector[] = {
    0x01, 0x00, 0x01,                               /* pages 1 and 2 */
    0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x11, 0x89, 0x00, /* the frame */
    0x00, 0x0f, 0x00, 0x8c, 0x03, 0x00, 0x01, 0x00, /* steps */
    0x00, 0x00, 0x09, 0x00, 0x00, 0x22, 0x00, 0x00, 0x0f, 0x62, /* a literal */
};

struct seen {
    unsigned count;
    uint32_t pgnos[RAMET_LOOSE_PAGES_MAX];
    uint8_t bytes[8192]; /* of the last one: steps, then literals */
    uint32_t steps_len, literals_len;
    uint64_t hash; /* of all */
};

static void
note(void *ctx, uint32_t pgno, const struct ramet_delta *delta)
{
    struct seen *const seen = ctx;

    assert_true(seen->count < RAMET_LOOSE_PAGES_MAX);
    assert_true(delta->steps_len + delta->literals_len <= sizeof(seen->bytes));
    seen->pgnos[seen->count++] = pgno;
    seen->steps_len = delta->steps_len;
    seen->literals_len = delta->literals_len;
    memcpy(seen->bytes, delta->steps, delta->steps_len);
    if (delta->literals_len > 0)
        memcpy(seen->bytes + delta->steps_len, delta->literals,
               delta->literals_len);
    seen->hash = ramet_hash64_seeded(
        seen->bytes, delta->steps_len + delta->literals_len, seen->hash);
}

static enum ramet_rc
read_alone(const uint8_t *record, size_t len, struct seen *seen)
{
    struct ramet_loose_reader *const reader = ramet_loose_reader_new();
    uint8_t *const bytes = malloc(len + 1); /* so that reading past it shows */
    enum ramet_rc rc;

    memcpy(bytes, record, len);
    memset(seen, 0, sizeof(*seen));
    rc = ramet_loose_read(reader, bytes, len, 512, note, seen, NULL);
    ramet_loose_reader_free(reader);
    free(bytes);
    return rc;
}

static void
record__of_the_document_has_its_deltas(void **state)
{
    struct seen seen;

    (void)state;
    assert_int_equal(read_alone(vector, sizeof(vector), &seen), RAMET_OK);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.pgnos[0], 1);
    assert_int_equal(seen.pgnos[1], 2);
    assert_int_equal(seen.steps_len, 8);
    assert_memory_equal(seen.bytes, vector + 20, 8);
    assert_int_equal(seen.literals_len, 0);
}

/* None of it is given out, or all of what another record would say. */
static void
record__with_another_bit_or_cut_off_gives_all_or_nothing(void **state)
{
    struct seen seen;

    (void)state;
    for (size_t len = 0; len < sizeof(vector); len++) {
        assert_int_equal(read_alone(vector, len, &seen), RAMET_ECORRUPT);
        assert_int_equal(seen.count, 0);
    }
    for (size_t bit = 0; bit < sizeof(vector) * 8; bit++) {
        uint8_t bytes[sizeof(vector)];

        memcpy(bytes, vector, sizeof(vector));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (read_alone(bytes, sizeof(bytes), &seen) == RAMET_OK)
            assert_int_equal(seen.count, 2);
        else
            assert_int_equal(seen.count, 0);
    }
}

static void
record__of_wrong_pages_or_too_much_is_refused(void **state)
{
    struct seen seen;
    uint8_t bytes[64];

    (void)state;
    /* Of one page and of three there are too many deltas, and too few. */
    memcpy(bytes, vector, sizeof(vector));
    bytes[2] = 0;
    assert_int_equal(read_alone(bytes, sizeof(vector), &seen), RAMET_ECORRUPT);
    bytes[2] = 2;
    assert_int_equal(read_alone(bytes, sizeof(vector), &seen), RAMET_ECORRUPT);
    /* Of none, and of more than 4096. */
    bytes[0] = 0;
    memcpy(bytes + 1, vector + 3, sizeof(vector) - 3);
    assert_int_equal(read_alone(bytes, sizeof(vector) - 2, &seen),
                     RAMET_ECORRUPT);
    memcpy(bytes, "\x01\x00\x80\x20", 4);
    memcpy(bytes + 4, vector + 3, sizeof(vector) - 3);
    assert_int_equal(read_alone(bytes, sizeof(vector) + 1, &seen),
                     RAMET_ECORRUPT);
    /* A frame that names no size, another one, or one past the bound; two frames. */
    memcpy(bytes, vector, sizeof(vector));
    bytes[8] = 0x12;
    assert_int_equal(read_alone(bytes, sizeof(vector), &seen), RAMET_ECORRUPT);
    memcpy(bytes, vector, 7);
    memcpy(bytes + 7, "\xa0\x01\x00\x02\x00", 5); /* 131,073 bytes */
    memcpy(bytes + 12, vector + 9, sizeof(vector) - 9);
    assert_int_equal(read_alone(bytes, sizeof(vector) + 3, &seen),
                     RAMET_ECORRUPT);
    memcpy(bytes, vector, sizeof(vector));
    memcpy(bytes + sizeof(vector), vector + 3, sizeof(vector) - 3);
    assert_int_equal(read_alone(bytes, 2 * sizeof(vector) - 3, &seen),
                     RAMET_ECORRUPT);
}

/* Records of 40 pages each, of which one is like the other. */
static void
write_records(struct ramet_loose_writer *writer, struct ramet_buf records[4],
              uint64_t *out_hash)
{
    uint8_t literals[300], steps[3] = {0xac, 0x02, 0x02}; /* 300, and zeros */

    *out_hash = 0;
    for (size_t i = 0; i < sizeof(literals); i++)
        literals[i] = (uint8_t)(i * i * 7 >> 3);
    for (uint32_t r = 0; r < 4; r++) {
        ramet_buf_init(&records[r], RAMET_LOOSE_RECORD_MAX);
        for (uint32_t i = 0; i < 40; i++) {
            const struct ramet_delta delta = {.steps = steps,
                                              .steps_len = sizeof(steps),
                                              .literals = literals,
                                              .literals_len = sizeof(literals)};
            uint8_t all[303];

            literals[i] = (uint8_t)(r + i);
            memcpy(all, steps, 3);
            memcpy(all + 3, literals, 300);
            *out_hash = ramet_hash64_seeded(all, sizeof(all), *out_hash);
            assert_true(
                ramet_loose_writer_add(writer, 1 + r * 40 + i * 3, &delta));
        }
        assert_int_equal(ramet_loose_writer_pages(writer), 40);
        assert_int_equal(ramet_loose_writer_bytes(writer), 40 * 303);
        assert_int_equal(ramet_loose_writer_end(writer, &records[r], NULL),
                         RAMET_OK);
        assert_int_equal(ramet_loose_writer_pages(writer), 0);
    }
}

static void
records__come_back_in_their_order_alone(void **state)
{
    struct ramet_loose_writer *const writer = ramet_loose_writer_new();
    struct ramet_loose_reader *reader = ramet_loose_reader_new();
    struct ramet_buf records[4];
    static struct seen seen;
    uint64_t hash;

    (void)state;
    write_records(writer, records, &hash);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(ramet_loose_read(reader, records[i].data,
                                          records[i].len, 512, note, &seen,
                                          NULL),
                         RAMET_OK);
    assert_int_equal(seen.count, 160);
    assert_int_equal(seen.pgnos[159], 1 + 3 * 40 + 39 * 3);
    assert_true(seen.hash == hash);
    /* What they have in common with the one before is not written again. */
    assert_true(records[1].len < records[0].len / 2);
    ramet_loose_reader_free(reader);
    /* The second one alone is none; and once one is lost so are the others. */
    reader = ramet_loose_reader_new();
    memset(&seen, 0, sizeof(seen));
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(ramet_loose_read(reader, records[i].data,
                                          records[i].len, 512, note, &seen,
                                          NULL),
                         RAMET_ECORRUPT);
    assert_int_equal(ramet_loose_read(reader, records[0].data, records[0].len,
                                      512, note, &seen, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(seen.count, 0);
    ramet_loose_reader_free(reader);
    for (size_t i = 0; i < 4; i++)
        ramet_buf_done(&records[i]);
    ramet_loose_writer_free(writer);
}

/* What there is no room for leaves the record as it was. */
static void
writer__takes_no_more_than_a_reader_does(void **state)
{
    struct ramet_loose_writer *const writer = ramet_loose_writer_new();
    struct ramet_loose_reader *const reader = ramet_loose_reader_new();
    static struct seen seen;
    struct ramet_buf record;
    static uint8_t literals[512];
    const uint8_t steps[2] = {0x80, 0x04}; /* all literals */
    struct ramet_delta delta = {.steps = steps,
                                .steps_len = 2,
                                .literals = literals,
                                .literals_len = sizeof(literals)};
    uint32_t count = 0;

    (void)state;
    memset(&seen, 0, sizeof(seen));
    while (ramet_loose_writer_add(writer, count + 1, &delta))
        count++;
    assert_int_equal(count, (RAMET_LOOSE_CONTENT_MAX - 3) / 514);
    ramet_buf_init(&record, RAMET_LOOSE_RECORD_MAX);
    assert_int_equal(ramet_loose_writer_end(writer, &record, NULL), RAMET_OK);
    assert_int_equal(ramet_loose_read(reader, record.data, record.len, 512,
                                      note, &seen, NULL),
                     RAMET_OK);
    assert_int_equal(seen.count, count);
    ramet_buf_done(&record);
    ramet_loose_reader_free(reader);
    ramet_loose_writer_free(writer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record__of_the_document_has_its_deltas),
        cmocka_unit_test(
            record__with_another_bit_or_cut_off_gives_all_or_nothing),
        cmocka_unit_test(record__of_wrong_pages_or_too_much_is_refused),
        cmocka_unit_test(records__come_back_in_their_order_alone),
        cmocka_unit_test(writer__takes_no_more_than_a_reader_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
