/*
 * test_live.c - how often a volume is looked at, and that one that nobody
 * watches is not.
 */
#include "server/live.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/faultstore.h"

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

/* A volume that was used and that nobody listens to, for an hour of ticks. */
static void
idle_volume__costs_no_request(void **state)
{
    static struct ramet_metrics metrics;
    struct ramet_objstore *inner, *bucket;
    struct ramet_store_counts counts;
    struct ramet_work *work;
    struct ramet_gone *gone;
    struct ramet_lives *lives;
    struct ramet_live *live;
    struct ramet_vid volume;
    struct ramet_head head;

    (void)state;
    assert_int_equal(ramet_memstore_open(&inner, NULL), RAMET_OK);
    bucket = ramet_faultstore_new(inner);
    assert_non_null(bucket);
    bucket->traits = RAMET_STORE_LISTS_CHEAPLY | RAMET_STORE_IS_PAID;
    assert_int_equal(ramet_work_new(1, 1, &work, NULL), RAMET_OK);
    assert_int_equal(ramet_gone_new(&gone, NULL), RAMET_OK);
    assert_int_equal(
        ramet_lives_new(bucket, bucket, work, gone, &metrics, &lives, NULL),
        RAMET_OK);
    assert_int_equal(ramet_id_new(&volume.id, NULL), RAMET_OK);
    assert_int_equal(ramet_live_get(lives, &volume, &live, NULL), RAMET_OK);
    assert_int_equal(
        ramet_history_newest(ramet_live_history(live), &head, NULL), RAMET_OK);

    ramet_faultstore_reset_counts(bucket);
    for (uint64_t at_ms = 1000; at_ms <= 3600000; at_ms += 1000)
        ramet_lives_tick(lives, at_ms);
    ramet_live_put(live);
    ramet_work_free(work); /* what was queued has run */
    counts = ramet_faultstore_counts(bucket);
    assert_int_equal(counts.reads + counts.lists + counts.sizes + counts.puts,
                     0);
    ramet_lives_free(lives);
    ramet_gone_free(gone);
    ramet_objstore_close(bucket);
    ramet_objstore_close(inner);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(directory__is_looked_at_every_second),
        cmocka_unit_test(quiet_bucket__is_looked_at_every_ten_seconds),
        cmocka_unit_test(busy_bucket__is_looked_at_every_second),
        cmocka_unit_test(looks__are_never_further_apart_than_the_bound),
        cmocka_unit_test(idle_volume__costs_no_request),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
