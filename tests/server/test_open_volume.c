/*
 * test_open_volume.c - how often a volume is looked at, that one that nobody watches is
 * not, and one whose store was set back.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "server/open_volume_impl.h"
#include "tests/metastore/model.h"
#include "tests/support/faultstore.h"

#define DAY_MS UINT64_C(86400000)

/* Looks at a volume that nothing comes to for `span_ms`. */
static uint64_t
count_looks(bool is_paid, uint64_t span_ms)
{
    uint64_t looks = 0;

    for (uint64_t at_ms = 0; at_ms < span_ms; looks++)
        at_ms += ramet_open_volume_look_after_ms(is_paid, at_ms);
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
        assert_int_equal(ramet_open_volume_look_after_ms(true, quiet_ms), 1000);
}

static void
looks__are_never_further_apart_than_the_bound(void **state)
{
    uint64_t before = 0;

    (void)state;
    for (uint64_t quiet_ms = 0; quiet_ms < DAY_MS; quiet_ms += 977) {
        const uint64_t after = ramet_open_volume_look_after_ms(true, quiet_ms);

        assert_true(after >= before);
        assert_true(after <= RAMET_OPEN_VOLUME_LOOK_MAX_MS);
        before = after;
    }
    assert_int_equal(ramet_open_volume_look_after_ms(true, UINT64_MAX),
                     RAMET_OPEN_VOLUME_LOOK_MAX_MS);
}

/* Volumes of a store with these traits, which counts its requests. */
struct watch {
    struct ramet_metrics metrics;
    struct ramet_objstore *inner, *store;
    struct ramet_cache *cache;
    struct ramet_work *work;
    struct ramet_gone *gone;
    struct ramet_volume_table *volumes;
};

static void
watch_begin(struct watch *w, unsigned traits)
{
    const struct ramet_cache_options options = {.memory_bytes = 1u << 20};

    memset(w, 0, sizeof(*w));
    assert_int_equal(ramet_memstore_open(&w->inner, NULL), RAMET_OK);
    w->store = ramet_faultstore_new(w->inner);
    assert_non_null(w->store);
    w->store->traits = traits;
    assert_int_equal(ramet_cache_open(w->store, &options, &w->cache, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_work_new(1, 1, &w->work, NULL), RAMET_OK);
    assert_int_equal(ramet_gone_new(&w->gone, NULL), RAMET_OK);
    assert_int_equal(ramet_volume_table_new(w->store, w->cache, w->work,
                                            w->gone, &w->metrics, &w->volumes,
                                            NULL),
                     RAMET_OK);
}

static void
watch_end(struct watch *w)
{
    ramet_work_free(w->work);
    ramet_volume_table_free(w->volumes);
    ramet_gone_free(w->gone);
    ramet_cache_close(w->cache);
    ramet_objstore_close(w->store);
    ramet_objstore_close(w->inner);
}

/* A volume that was used and that nobody listens to, for an hour of ticks. */
static void
idle_volume__costs_no_request(void **state)
{
    static struct watch w;
    struct ramet_store_counts counts;
    struct ramet_open_volume *vol;
    struct ramet_vid volume;
    struct ramet_head head;

    (void)state;
    watch_begin(&w, RAMET_STORE_LISTS_CHEAPLY | RAMET_STORE_IS_PAID);
    assert_int_equal(ramet_id_new(&volume.id, NULL), RAMET_OK);
    assert_int_equal(ramet_open_volume_get(w.volumes, &volume, &vol, NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_history_newest(ramet_open_volume_history(vol), &head, NULL),
        RAMET_OK);

    ramet_faultstore_reset_counts(w.store);
    for (uint64_t at_ms = 1000; at_ms <= 3600000; at_ms += 1000)
        ramet_volume_table_tick(w.volumes, at_ms);
    ramet_open_volume_put(vol);
    ramet_work_free(w.work); /* what was queued has run */
    assert_int_equal(ramet_work_new(1, 1, &w.work, NULL), RAMET_OK);
    counts = ramet_faultstore_counts(w.store);
    assert_int_equal(counts.reads + counts.lists + counts.sizes + counts.puts,
                     0);
    watch_end(&w);
}

static struct ramet_point
newest_of(struct watch *w, const struct ramet_vid *volume)
{
    struct ramet_open_volume *vol;
    struct ramet_head head;

    assert_int_equal(ramet_open_volume_get(w->volumes, volume, &vol, NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_history_newest(ramet_open_volume_history(vol), &head, NULL),
        RAMET_OK);
    ramet_open_volume_put(vol);
    return ramet_head_point(&head);
}

/* Its last commit is another one now, and the cache has the one before. */
static void
volume_that_was_set_back__is_read_from_the_store(void **state)
{
    static struct watch w;
    struct model model;
    struct ramet_open_volume *vol;
    struct ramet_head head;
    struct ramet_point before, after;
    char key[RAMET_KEY_MAX];
    bool deleted;

    (void)state;
    watch_begin(&w, 0);
    model_init(&model, w.inner, 7);
    for (int i = 0; i < 3; i++)
        model_write(&model, 1, 2);
    before = newest_of(&w, &model.volume);
    assert_int_equal(before.lsn, 3);

    ramet_commit_key(&model.volume, 3, key);
    assert_int_equal(ramet_objstore_remove(w.inner, key, NULL), RAMET_OK);
    model_drop_newest(&model);
    model_reopen(&model);
    model_write(&model, 1, 1);
    assert_int_equal(
        ramet_open_volume_get(w.volumes, &model.volume, &vol, NULL), RAMET_OK);
    assert_int_equal(
        ramet_history_newest(ramet_open_volume_history(vol), &head, NULL),
        RAMET_EWENTBACK);
    assert_int_equal(ramet_open_volume_drop_lost(vol, &deleted, NULL),
                     RAMET_OK);
    assert_false(deleted);
    ramet_open_volume_put(vol);

    after = newest_of(&w, &model.volume);
    assert_int_equal(ramet_history_head(model.history, 3, &head, NULL),
                     RAMET_OK);
    assert_int_equal(after.lsn, 3);
    assert_true(ramet_hash_equal(&after.hash, &head.hash));
    assert_false(ramet_hash_equal(&after.hash, &before.hash));
    model_done(&model);
    watch_end(&w);
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
        cmocka_unit_test(volume_that_was_set_back__is_read_from_the_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
