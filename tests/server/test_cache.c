/*
 * test_cache.c - the caching store: right, bounded, verified, warm after a
 * restart, and never a memory of what is not there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "server/cache.h"
#include "server/recorder.h"
#include "tests/support/cmocka_all.h"

#define VOLUME "volumes/0192b7c5-2d2a-7000-8000-000000000001/"
#define SEGMENT VOLUME "segments/0192b7c5-2d2a-7000-8000-000000000002"
#define SIZE (700u << 10)

struct setup {
    char dir[64];
    struct ramet_objstore *store;
    struct ramet_recorder recorder; /* counts what reaches the store */
    struct ramet_cache *cache;
    uint8_t *content;
};

static void
open_cache(struct setup *s, size_t memory, uint64_t disk)
{
    const struct ramet_cache_options options = {
        .memory_bytes = memory,
        .disk_dir = disk > 0 ? s->dir : NULL,
        .disk_bytes = disk,
    };
    struct ramet_err err;

    if (ramet_cache_open(&s->recorder.store, &options, &s->cache, &err) !=
        RAMET_OK)
        fail_msg("%s", err.text);
    s->recorder.count = 0;
}

static void
begin(struct setup *s, size_t memory, uint64_t disk)
{
    struct iovec part;
    struct ramet_err err;

    memset(s, 0, sizeof(*s));
    strcpy(s->dir, "/tmp/ramet-cache-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    s->content = malloc(SIZE);
    assert_non_null(s->content);
    for (size_t i = 0; i < SIZE; i++)
        s->content[i] = (uint8_t)(i * 31 + i / 255);
    assert_int_equal(ramet_memstore_open(&s->store, &err), RAMET_OK);
    part = (struct iovec){s->content, SIZE};
    assert_int_equal(ramet_objstore_put(s->store, SEGMENT, &part, 1, &err),
                     RAMET_OK);
    ramet_recorder_init(&s->recorder, s->store);
    open_cache(s, memory, disk);
}

static void
end(struct setup *s)
{
    char command[128];

    ramet_cache_close(s->cache);
    ramet_recorder_done(&s->recorder);
    ramet_objstore_close(s->store);
    free(s->content);
    (void)snprintf(command, sizeof(command), "rm -rf %s", s->dir);
    assert_int_equal(system(command), 0);
}

static void
read_and_check(struct setup *s, uint64_t offset, size_t len)
{
    uint8_t *buf = malloc(len > 0 ? len : 1);
    size_t got, want = 0;
    struct ramet_err err;

    assert_non_null(buf);
    if (offset < SIZE)
        want = len < SIZE - offset ? len : (size_t)(SIZE - offset);
    assert_int_equal(ramet_objstore_read(ramet_cache_store(s->cache), SEGMENT,
                                         offset, buf, len, &got, &err),
                     RAMET_OK);
    assert_int_equal(got, want);
    if (want > 0)
        assert_memory_equal(buf, s->content + offset, want);
    free(buf);
}

static void
cache__any_range_is_what_the_store_has(void **state)
{
    unsigned seed = 5;
    struct setup s;

    (void)state;
    begin(&s, 1u << 20, 200u << 10);
    for (unsigned i = 0; i < 3000; i++) {
        const uint64_t offset = (unsigned)rand_r(&seed) % (SIZE + 5000u);
        const size_t len =
            (size_t)rand_r(&seed) % (i % 10 == 0 ? 300000u : 9000u);

        read_and_check(&s, offset, len);
    }
    read_and_check(&s, 0, SIZE);
    read_and_check(&s, SIZE, 10);
    read_and_check(&s, SIZE - 1, 10);
    read_and_check(&s, 0, SIZE + 100000u);
    end(&s);
}

static void
cache__warm_reads_cost_no_request(void **state)
{
    struct ramet_cache_stats stats;
    struct setup s;

    (void)state;
    begin(&s, 2u << 20, 0);
    read_and_check(&s, 0, SIZE);
    assert_true(s.recorder.count >= 1);
    s.recorder.count = 0;
    for (uint64_t at = 0; at + 5000 < SIZE; at += 3000)
        read_and_check(&s, at, 5000);
    assert_int_equal(s.recorder.count, 0);
    ramet_cache_get_stats(s.cache, &stats);
    assert_true(stats.memory_hits > 200);
    end(&s);
}

struct visits {
    struct setup *setup;
    size_t count;
};

static enum ramet_rc
check_part(void *ctx, const struct ramet_part *part, size_t got,
           struct ramet_err *err)
{
    struct visits *const visits = ctx;

    (void)err;
    assert_int_equal(got, part->len);
    assert_memory_equal(part->buf, visits->setup->content + part->offset, got);
    visits->count++;
    return RAMET_OK;
}

/* What a store was given at once. */
struct counter {
    struct ramet_objstore store;
    struct ramet_objstore *inner;
    unsigned calls, parts, reads;
};

static enum ramet_rc
counter_read(struct ramet_objstore *store, const char *key, uint64_t offset,
             void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct counter *const counter = (struct counter *)store;

    counter->reads++;
    return ramet_objstore_read(counter->inner, key, offset, buf, len, out_got,
                               err);
}

static enum ramet_rc
counter_read_parts(struct ramet_objstore *store, const struct ramet_part *parts,
                   size_t count, ramet_part_visit *visit, void *ctx,
                   struct ramet_err *err)
{
    struct counter *const counter = (struct counter *)store;

    counter->calls++;
    counter->parts += (unsigned)count;
    return ramet_objstore_read_parts(counter->inner, parts, count, visit, ctx,
                                     err);
}

static void
cache__parts_that_are_missing_are_read_at_once(void **state)
{
    static const struct ramet_objstore_ops ops = {
        .read = counter_read, .read_parts = counter_read_parts};
    const struct ramet_cache_options options = {.memory_bytes = 1u << 20};
    struct counter counter = {.store = {.ops = &ops, .name = "counter"}};
    static uint8_t bytes[20][3000];
    struct ramet_part parts[20];
    struct setup s;
    struct visits visits = {.setup = &s};
    struct ramet_cache *cache;
    struct ramet_err err;

    (void)state;
    begin(&s, 1u << 20, 0);
    counter.inner = s.store;
    assert_int_equal(ramet_cache_open(&counter.store, &options, &cache, &err),
                     RAMET_OK);
    for (unsigned i = 0; i < 20;
         i++) /* two in a block, each second one apart */
        parts[i] = (struct ramet_part){.key = SEGMENT,
                                       .offset = i / 2 * 65536 + i % 2 * 5000,
                                       .len = sizeof(bytes[i]),
                                       .buf = bytes[i]};
    for (unsigned turn = 0; turn < 2; turn++) {
        assert_int_equal(ramet_objstore_read_parts(ramet_cache_store(cache),
                                                   parts, 20, check_part,
                                                   &visits, &err),
                         RAMET_OK);
        assert_int_equal(visits.count, (turn + 1) * 20);
        assert_int_equal(counter.calls, 1);
        assert_int_equal(counter.parts, 10);
        assert_int_equal(counter.reads, 0);
    }
    parts[3].key = VOLUME "segments/none";
    assert_int_equal(ramet_objstore_read_parts(ramet_cache_store(cache), parts,
                                               20, check_part, &visits, &err),
                     RAMET_ENOTFOUND);
    ramet_cache_close(cache);
    end(&s);
}

static void
cache__memory_is_bounded(void **state)
{
    struct ramet_cache_stats stats;
    struct ramet_err err;
    struct setup s;
    uint8_t buf[4096];
    size_t got;

    (void)state;
    begin(&s, 1u << 20, 0);
    for (unsigned i = 0; i < 20; i++) {
        struct iovec part = {s.content, SIZE};
        char key[RAMET_KEY_MAX];

        (void)snprintf(key, sizeof(key),
                       VOLUME "segments/0192b7c5-2d2a-7000-8000-0000000001%02u",
                       i);
        assert_int_equal(ramet_objstore_put(s.store, key, &part, 1, &err),
                         RAMET_OK);
        for (uint64_t at = 0; at < SIZE; at += 16384)
            assert_int_equal(ramet_objstore_read(ramet_cache_store(s.cache),
                                                 key, at, buf, sizeof(buf),
                                                 &got, &err),
                             RAMET_OK);
        ramet_cache_get_stats(s.cache, &stats);
        assert_true(stats.memory_bytes <= 1u << 20);
    }
    end(&s);
}

static void
cache__disk_is_warm_after_a_restart(void **state)
{
    struct ramet_cache_stats stats;
    struct setup s;

    (void)state;
    begin(&s, 1u << 20, 4u << 20);
    read_and_check(&s, 0, SIZE);
    ramet_cache_close(s.cache);
    open_cache(&s, 1u << 20, 4u << 20);
    for (uint64_t at = 0; at + 5000 < SIZE; at += 3000)
        read_and_check(&s, at, 5000);
    assert_int_equal(s.recorder.count, 0);
    ramet_cache_get_stats(s.cache, &stats);
    assert_true(stats.disk_hits > 0);
    end(&s);
}

static void
cache__damaged_blocks_on_disk_are_misses(void **state)
{
    struct ramet_cache_stats stats;
    unsigned seed = 9;
    char path[128];
    struct setup s;
    int fd;

    (void)state;
    begin(&s, 1u << 20, 4u << 20);
    read_and_check(&s, 0, SIZE);
    ramet_cache_close(s.cache);
    (void)snprintf(path, sizeof(path), "%s/blocks", s.dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (unsigned i = 0; i < 200; i++) {
        const off_t at = (off_t)((unsigned)rand_r(&seed) % SIZE);
        uint8_t byte;

        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (uint8_t)(1u << (unsigned)rand_r(&seed) % 8);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    (void)close(fd);
    open_cache(&s, 1u << 20, 4u << 20);
    for (uint64_t at = 0; at + 5000 < SIZE; at += 3000)
        read_and_check(&s, at, 5000);
    assert_true(s.recorder.count > 0);
    ramet_cache_get_stats(s.cache, &stats);
    assert_true(stats.disk_refused > 0);
    end(&s);
}

static void
cache__a_directory_has_one_user(void **state)
{
    struct ramet_cache *second;
    struct ramet_err err;
    struct setup s;
    struct ramet_cache_options options = {.memory_bytes = 1u << 20,
                                          .disk_bytes = 1u << 20};

    (void)state;
    begin(&s, 1u << 20, 1u << 20);
    options.disk_dir = s.dir;
    assert_int_equal(ramet_cache_open(s.store, &options, &second, &err),
                     RAMET_EBUSY);
    end(&s);
}

static void
cache__absence_is_not_remembered(void **state)
{
    static const char key[] = VOLUME "commits/fffffffffffffffe";
    struct iovec part;
    struct ramet_err err;
    struct setup s;
    uint8_t buf[100];
    size_t got;

    (void)state;
    begin(&s, 1u << 20, 1u << 20);
    assert_int_equal(ramet_objstore_read(ramet_cache_store(s.cache), key, 0,
                                         buf, sizeof(buf), &got, &err),
                     RAMET_ENOTFOUND);
    part = (struct iovec){s.content, 50};
    assert_int_equal(ramet_objstore_put(s.store, key, &part, 1, &err),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_read(ramet_cache_store(s.cache), key, 0,
                                         buf, sizeof(buf), &got, &err),
                     RAMET_OK);
    assert_int_equal(got, 50);
    end(&s);
}

/* As after a store was set back: what was kept goes, also by name of what is not
 * there any more. */
static void
cache__what_the_store_lost_is_gone_when_it_is_asked_anew(void **state)
{
    static const char key[] = VOLUME "commits/fffffffffffffffd";
    struct iovec part;
    struct ramet_err err;
    struct setup s;
    uint8_t buf[50];
    size_t got;

    (void)state;
    begin(&s, 1u << 20, 1u << 20);
    part = (struct iovec){s.content, 50};
    assert_int_equal(ramet_objstore_put(s.store, key, &part, 1, &err),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_read(ramet_cache_store(s.cache), key, 0,
                                         buf, sizeof(buf), &got, &err),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_remove(s.store, key, &err), RAMET_OK);
    ramet_objstore_refresh(ramet_cache_store(s.cache), key);
    assert_int_equal(ramet_objstore_read(ramet_cache_store(s.cache), key, 0,
                                         buf, sizeof(buf), &got, &err),
                     RAMET_ENOTFOUND);
    end(&s);
}

/* One place of an object was read wrong once: who finds that names the place, and what
 * is kept of it goes. */
static void
cache__a_place_that_is_doubted_is_compared_with_the_store(void **state)
{
    const uint64_t at = SIZE / 2 + 77;
    struct iovec part;
    struct ramet_err err;
    struct setup s;
    uint8_t buf[50];

    (void)state;
    begin(&s, 1u << 20, 1u << 20);
    read_and_check(&s, 0, 100);
    read_and_check(&s, at, sizeof(buf));
    /* The store has other bytes now; those at its beginning are the same. */
    assert_int_equal(ramet_objstore_remove(s.store, SEGMENT, &err), RAMET_OK);
    s.content[at + 5] ^= 1;
    part = (struct iovec){s.content, SIZE};
    assert_int_equal(ramet_objstore_put(s.store, SEGMENT, &part, 1, &err),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_read_anew(ramet_cache_store(s.cache),
                                              SEGMENT, at, buf, sizeof(buf),
                                              &err),
                     RAMET_OK);
    assert_memory_equal(buf, s.content + at, sizeof(buf));
    read_and_check(&s, at, sizeof(buf));
    end(&s);
}

/* What stands under a commit's number may be another one by now; segments have ids. */
static void
cache__commits_of_an_earlier_process_are_read_anew(void **state)
{
    static const char key[] = VOLUME "commits/fffffffffffffffd";
    struct iovec part;
    struct ramet_err err;
    struct setup s;
    uint8_t buf[50];
    size_t got;

    (void)state;
    begin(&s, 1u << 20, 1u << 20);
    for (unsigned life = 0; life < 2; life++) {
        part = (struct iovec){s.content + life, 50};
        assert_int_equal(ramet_objstore_put(s.store, key, &part, 1, &err),
                         RAMET_OK);
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(ramet_objstore_read(ramet_cache_store(s.cache),
                                                 key, 0, buf, sizeof(buf), &got,
                                                 &err),
                             RAMET_OK);
            assert_memory_equal(buf, s.content + life, 50);
        }
        assert_int_equal(s.recorder.count, 1);
        read_and_check(&s, 0, 1000);
        assert_int_equal(s.recorder.count, life == 0 ? 2 : 1);
        ramet_cache_close(s.cache);
        open_cache(&s, 1u << 20, 1u << 20);
        assert_int_equal(ramet_objstore_remove(s.store, key, &err), RAMET_OK);
    }
    end(&s);
}

static void
cache__names_are_always_asked_for(void **state)
{
    static const char key[] = "names/app/fffffffffffffffe";
    struct iovec part;
    struct ramet_err err;
    struct setup s;
    uint8_t buf[50];
    size_t got;

    (void)state;
    begin(&s, 1u << 20, 1u << 20);
    part = (struct iovec){s.content, 50};
    assert_int_equal(ramet_objstore_put(s.store, key, &part, 1, &err),
                     RAMET_OK);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ramet_objstore_read(ramet_cache_store(s.cache), key, 0,
                                             buf, sizeof(buf), &got, &err),
                         RAMET_OK);
    assert_int_equal(s.recorder.count, 3);
    end(&s);
}

static void
cache__a_volume_can_be_forgotten(void **state)
{
    struct ramet_vid volume, other;
    struct setup s;

    (void)state;
    begin(&s, 2u << 20, 2u << 20);
    assert_true(
        ramet_id_parse("0192b7c5-2d2a-7000-8000-000000000001", &volume.id));
    assert_true(
        ramet_id_parse("0192b7c5-2d2a-7000-8000-000000000009", &other.id));
    read_and_check(&s, 0, SIZE);
    s.recorder.count = 0;
    ramet_cache_forget(s.cache, &other);
    read_and_check(&s, 0, 1000);
    assert_int_equal(s.recorder.count, 0);
    ramet_cache_forget(s.cache, &volume);
    read_and_check(&s, 0, 1000);
    assert_int_equal(s.recorder.count, 1);
    end(&s);
}

static void *
read_first_part(void *arg)
{
    read_and_check(arg, 0, 100000);
    return NULL;
}

/* What others read stays, in memory and on disk. */
static void
cache__what_was_read_last_can_be_forgotten(void **state)
{
    struct ramet_vid volume, other;
    struct ramet_thread thread;
    struct ramet_err err;
    struct setup s;

    (void)state;
    begin(&s, 16u << 20, 2u << 20);
    assert_true(
        ramet_id_parse("0192b7c5-2d2a-7000-8000-000000000001", &volume.id));
    assert_true(
        ramet_id_parse("0192b7c5-2d2a-7000-8000-000000000009", &other.id));
    assert_int_equal(
        ramet_thread_start(&thread, "other", read_first_part, &s, &err),
        RAMET_OK);
    ramet_thread_join(&thread);
    for (uint64_t at = 200000; at < 400000; at += 50000) /* on and on */
        read_and_check(&s, at, 50000);
    s.recorder.count = 0;
    ramet_cache_forget_last(s.cache, &other);
    read_and_check(&s, 200000, 200000);
    assert_int_equal(s.recorder.count, 0);
    ramet_cache_forget_last(s.cache, &volume);
    for (unsigned life = 0; life < 2;
         life++) { /* the second: what is on disk */
        s.recorder.count = 0;
        read_and_check(&s, 0, 100000);
        assert_int_equal(s.recorder.count, 0);
        if (life == 0) {
            ramet_cache_close(s.cache);
            open_cache(&s, 16u << 20, 2u << 20);
        }
    }
    read_and_check(&s, 200000, 200000);
    assert_int_equal(s.recorder.count, 1);
    end(&s);
}

static void
cache__try_gives_only_what_is_in_memory(void **state)
{
    struct setup s;
    uint8_t buf[6000];

    (void)state;
    begin(&s, 2u << 20, 0);
    assert_false(ramet_cache_try(s.cache, SEGMENT, 100, buf, sizeof(buf)));
    read_and_check(&s, 0, 40000);
    assert_true(ramet_cache_try(s.cache, SEGMENT, 14000, buf, sizeof(buf)));
    assert_memory_equal(buf, s.content + 14000, sizeof(buf));
    assert_false(ramet_cache_try(s.cache, SEGMENT, SIZE - 10, buf, 20));
    assert_false(ramet_cache_try(s.cache, SEGMENT, UINT64_MAX, buf, 20));
    assert_false(ramet_cache_try(s.cache, "ramet.json", 0, buf, 20));
    end(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache__any_range_is_what_the_store_has),
        cmocka_unit_test(cache__warm_reads_cost_no_request),
        cmocka_unit_test(cache__parts_that_are_missing_are_read_at_once),
        cmocka_unit_test(cache__memory_is_bounded),
        cmocka_unit_test(cache__disk_is_warm_after_a_restart),
        cmocka_unit_test(cache__damaged_blocks_on_disk_are_misses),
        cmocka_unit_test(
            cache__a_place_that_is_doubted_is_compared_with_the_store),
        cmocka_unit_test(cache__a_directory_has_one_user),
        cmocka_unit_test(cache__absence_is_not_remembered),
        cmocka_unit_test(
            cache__what_the_store_lost_is_gone_when_it_is_asked_anew),
        cmocka_unit_test(cache__commits_of_an_earlier_process_are_read_anew),
        cmocka_unit_test(cache__names_are_always_asked_for),
        cmocka_unit_test(cache__a_volume_can_be_forgotten),
        cmocka_unit_test(cache__what_was_read_last_can_be_forgotten),
        cmocka_unit_test(cache__try_gives_only_what_is_in_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
