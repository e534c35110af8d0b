/*
 * test_manners.c - how hard a bucket is pressed: throttle, pauses, hedges.
 */
#include "tests/support/cmocka_all.h"

#include "pagestore/s3/hedge.h"
#include "pagestore/s3/throttle.h"

static unsigned
begin_all(struct ramet_s3_throttle *t, uint64_t now_ms)
{
    unsigned n = 0;

    while (ramet_s3_throttle_begin(t, now_ms))
        n++;
    return n;
}

static void
throttle__lets_a_windowful_begin(void **state)
{
    struct ramet_s3_throttle t = {.in_flight = 0};

    (void)state;
    assert_int_equal(begin_all(&t, 1000), RAMET_S3_WINDOW_MAX);
    assert_false(ramet_s3_throttle_is_on(&t, 1000));
    ramet_s3_throttle_end(&t, 1000, false, 0);
    assert_int_equal(begin_all(&t, 1000), 1);
}

static void
throttle__of_one_request_holds_for_all(void **state)
{
    struct ramet_s3_throttle t = {.in_flight = 0};

    (void)state;
    assert_int_equal(begin_all(&t, 1000), RAMET_S3_WINDOW_MAX);
    /* All of them are told; it counts once. */
    for (unsigned i = 0; i < RAMET_S3_WINDOW_MAX; i++)
        ramet_s3_throttle_end(&t, 1000, true, 0);
    assert_true(ramet_s3_throttle_is_on(&t, 1000));
    assert_int_equal(begin_all(&t, 1000), 0);
    assert_int_equal(ramet_s3_throttle_wait_ms(&t, 1000), 100);
    assert_int_equal(begin_all(&t, 1100), RAMET_S3_WINDOW_MAX / 2);
}

/* A wide window of which little was used: half of it would be no less. */
static void
throttle__halves_what_was_in_flight(void **state)
{
    struct ramet_s3_throttle t = {.in_flight = 0};

    (void)state;
    for (unsigned i = 0; i < 40; i++)
        assert_true(ramet_s3_throttle_begin(&t, 1000));
    ramet_s3_throttle_end(&t, 1000, true, 0);
    for (unsigned i = 1; i < 40; i++)
        ramet_s3_throttle_end(&t, 1000, false, 0);
    assert_true(begin_all(&t, 1100) >= 20 && t.in_flight < 40);
}

static void
throttle__obeys_retry_after_within_reason(void **state)
{
    struct ramet_s3_throttle t = {.in_flight = 0};

    (void)state;
    assert_true(ramet_s3_throttle_begin(&t, 1000));
    ramet_s3_throttle_end(&t, 1000, true, 3000);
    assert_false(ramet_s3_throttle_begin(&t, 3999));
    assert_true(ramet_s3_throttle_begin(&t, 4000));
    ramet_s3_throttle_end(&t, 4000, true, 3600000);
    assert_int_equal(ramet_s3_throttle_wait_ms(&t, 4000), 20000);
}

static void
throttle__pauses_longer_each_time_and_recovers(void **state)
{
    struct ramet_s3_throttle t = {.in_flight = 0};
    uint64_t now_ms = 1000, last_ms = 0;
    unsigned answers = 0;

    (void)state;
    for (int i = 0; i < 12; i++) {
        uint64_t pause_ms;

        assert_true(ramet_s3_throttle_begin(&t, now_ms));
        ramet_s3_throttle_end(&t, now_ms, true, 0);
        pause_ms = ramet_s3_throttle_wait_ms(&t, now_ms);
        assert_true(pause_ms >= last_ms && pause_ms <= 20000);
        last_ms = pause_ms;
        now_ms += pause_ms;
    }
    assert_int_equal(begin_all(&t, now_ms), 1); /* never less */
    while (ramet_s3_throttle_is_on(&t, now_ms)) {
        ramet_s3_throttle_end(&t, now_ms, false, 0);
        (void)begin_all(&t, now_ms);
        assert_true(++answers < RAMET_S3_WINDOW_MAX * RAMET_S3_WINDOW_MAX);
    }
    /* Four more for each windowful, up to all. */
    assert_true(answers > RAMET_S3_WINDOW_MAX * RAMET_S3_WINDOW_MAX / 8);
    assert_int_equal(t.in_flight + begin_all(&t, now_ms), RAMET_S3_WINDOW_MAX);
}

static void
jitter__is_between_its_bounds(void **state)
{
    uint64_t last_ms = 0;

    (void)state;
    assert_int_equal(ramet_s3_jitter_ms(0, 0), 50);
    assert_int_equal(ramet_s3_jitter_ms(0, UINT16_MAX), 150);
    assert_int_equal(ramet_s3_jitter_ms(100, UINT16_MAX), 300);
    for (int i = 0; i < 20; i++)
        last_ms = ramet_s3_jitter_ms(last_ms, UINT16_MAX);
    assert_int_equal(last_ms, 5000);
}

static void
hedge__comes_after_what_is_usual_and_seldom(void **state)
{
    struct ramet_s3_hedge h = {.reads = 0};
    unsigned spent = 0;

    (void)state;
    for (unsigned i = 0; i < RAMET_S3_HEDGE_SAMPLES - 1; i++) {
        assert_true(ramet_s3_hedge_after_ms(&h) == UINT64_MAX);
        ramet_s3_hedge_note(&h, i % 2 == 0 ? 30 : 40);
    }
    ramet_s3_hedge_note(&h, 5000); /* one that was slow */
    assert_int_equal(ramet_s3_hedge_after_ms(&h), 80);
    for (unsigned i = 0; i < 10000; i++) {
        ramet_s3_hedge_note(&h, 30);
        if (ramet_s3_hedge_after_ms(&h) != UINT64_MAX) {
            ramet_s3_hedge_spend(&h);
            spent++;
        }
    }
    assert_true(spent > 200 && spent <= 10064 / RAMET_S3_HEDGE_ONE_IN);
}

static void
hedge__of_a_fast_store_waits_all_the_same(void **state)
{
    struct ramet_s3_hedge h = {.reads = 0};

    (void)state;
    for (unsigned i = 0; i < RAMET_S3_HEDGE_SAMPLES; i++)
        ramet_s3_hedge_note(&h, 1);
    assert_int_equal(ramet_s3_hedge_after_ms(&h), 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(throttle__lets_a_windowful_begin),
        cmocka_unit_test(throttle__of_one_request_holds_for_all),
        cmocka_unit_test(throttle__halves_what_was_in_flight),
        cmocka_unit_test(throttle__obeys_retry_after_within_reason),
        cmocka_unit_test(throttle__pauses_longer_each_time_and_recovers),
        cmocka_unit_test(jitter__is_between_its_bounds),
        cmocka_unit_test(hedge__comes_after_what_is_usual_and_seldom),
        cmocka_unit_test(hedge__of_a_fast_store_waits_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
