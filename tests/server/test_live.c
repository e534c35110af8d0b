/*
 * test_live.c - how often a volume that somebody watches is looked at.
 */
#include "server/live.h"
#include "tests/support/cmocka_all.h"

#define DAY_MS UINT64_C(86400000)

/* Looks at a volume that nothing comes to for `span_ms`. */
static uint64_t
count_looks(bool is_paid, uint64_t span_ms)
{
    uint64_t looks = 0;

    for (uint64_t at_ms = 0; at_ms < span_ms; looks++)
        at_ms += ramet_live_look_after_ms(is_paid, at_ms);
    return looks;
}

static void
directory__is_looked_at_every_second(void **state)
{
    (void)state;
    assert_int_equal(count_looks(false, 3600000), 3600);
}

/* What docs/stores.md says it costs is computed from these. */
static void
quiet_bucket__is_looked_at_every_ten_seconds(void **state)
{
    const uint64_t looks = count_looks(true, 30 * DAY_MS);

    (void)state;
    assert_true(looks >= 259200);
    assert_true(looks < 259200 + 100);
}

static void
busy_bucket__is_looked_at_every_second(void **state)
{
    (void)state;
    for (uint64_t quiet_ms = 0; quiet_ms < 8000; quiet_ms += 100)
        assert_int_equal(ramet_live_look_after_ms(true, quiet_ms), 1000);
}

static void
looks__are_never_further_apart_than_the_bound(void **state)
{
    uint64_t before = 0;

    (void)state;
    for (uint64_t quiet_ms = 0; quiet_ms < DAY_MS; quiet_ms += 977) {
        const uint64_t after = ramet_live_look_after_ms(true, quiet_ms);

        assert_true(after >= before);
        assert_true(after <= RAMET_LIVE_LOOK_MAX_MS);
        before = after;
    }
    assert_int_equal(ramet_live_look_after_ms(true, UINT64_MAX),
                     RAMET_LIVE_LOOK_MAX_MS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directory__is_looked_at_every_second),
        cmocka_unit_test(quiet_bucket__is_looked_at_every_ten_seconds),
        cmocka_unit_test(busy_bucket__is_looked_at_every_second),
        cmocka_unit_test(looks__are_never_further_apart_than_the_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
