/*
 * test_trailer.c - trailers with the time at which they were written, and those
 * from before it was kept.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/store.h"
#include "core/bytes.h"

#define SALT 12345u

static struct ramet_trailer
some_trailer(enum ramet_record_type type, uint64_t time_ms)
{
    return (struct ramet_trailer){
        .type = type,
        .start = ramet_pos_make(1, RAMET_FRAME_FILE_HEADER_SIZE),
        .pos = ramet_pos_make(1, RAMET_FRAME_FILE_HEADER_SIZE),
        .seq = 7,
        .byte_length = 4096,
        .page_size = 4096,
        .page_count = 1,
        .least_page_count = 1,
        .lsn = 3,
        .time_ms = time_ms,
    };
}

static void
trailer__with_a_time_or_without__is_what_was_written(void **state)
{
    static char name[RAMET_SUPER_NAME_MAX];

    (void)state;
    memset(name, 'n', sizeof(name));
    for (uint32_t len = 0; len <= 70; len++)
        for (uint64_t time_ms = 0; time_ms < 2; time_ms++) {
            struct ramet_trailer in =
                some_trailer(RAMET_RECORD_COMMIT, time_ms);
            struct ramet_trailer out;
            uint8_t bytes[RAMET_TRAILER_MAX];
            size_t size, void_at;

            in.flags = RAMET_RECORD_TAIL;
            in.super_journal = len > 0 ? name : NULL;
            in.super_length = len;
            size = ramet_trailer_encode(&in, SALT, bytes);
            assert_int_equal(ramet_trailer_peek_size(bytes), size);
            assert_true(ramet_trailer_decode(bytes, size, in.pos, SALT, &out));
            assert_int_equal(out.time_ms, time_ms);
            assert_int_equal(out.flags, RAMET_RECORD_TAIL);
            assert_int_equal(out.super_length, len);
            assert_memory_equal(out.super_journal != NULL ? out.super_journal
                                                          : name,
                                name, len);
            void_at = ramet_trailer_void_offset(&out);
            assert_int_equal(void_at, size - 8);
            assert_int_equal(ramet_trailer_void_offset(&in), void_at);
            ramet_put_le64(bytes + void_at, ramet_trailer_void_value(&out));
            assert_true(ramet_trailer_decode(bytes, size, in.pos, SALT, &out));
            assert_true(out.is_void);
        }
}

static void
fold_one(struct ramet_replica_state *fold, enum ramet_record_type type,
         uint64_t time_ms)
{
    const struct ramet_trailer t = some_trailer(type, time_ms);
    struct ramet_err err;

    assert_int_equal(ramet_fold_begin(fold, &t, &err), RAMET_OK);
    assert_int_equal(ramet_fold_end(fold, &t, &err), RAMET_OK);
}

static void
fold__knows_since_when_commits_wait(void **state)
{
    struct ramet_replica_state fold = {.kind = RAMET_KIND_SQLITE};

    (void)state;
    fold_one(&fold, RAMET_RECORD_COMMIT, 100);
    fold_one(&fold, RAMET_RECORD_COMMIT, 200);
    assert_int_equal(fold.oldest_later_ms, 100);
    fold_one(&fold, RAMET_RECORD_INTENT, 250);
    fold_one(&fold, RAMET_RECORD_COMMIT, 300);
    assert_int_equal(fold.oldest_in_flight_ms, 100);
    assert_int_equal(fold.oldest_later_ms, 300);
    fold_one(&fold, RAMET_RECORD_ABANDON, 350);
    assert_int_equal(fold.oldest_in_flight_ms, 0);
    assert_int_equal(fold.oldest_later_ms, 100);
    fold_one(&fold, RAMET_RECORD_INTENT, 360);
    fold_one(&fold, RAMET_RECORD_COMMIT, 400);
    fold_one(&fold, RAMET_RECORD_DURABLE, 450);
    assert_int_equal(fold.oldest_in_flight_ms, 0);
    assert_int_equal(fold.oldest_later_ms, 400);
    fold_one(&fold, RAMET_RECORD_RESET, 500);
    assert_int_equal(fold.oldest_later_ms, 0);
    ramet_replica_state_done(&fold);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trailer__with_a_time_or_without__is_what_was_written),
        cmocka_unit_test(fold__knows_since_when_commits_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
