/*
 * test_cache_threads.c - the caching store, asked by many threads at once: each gets
 * what the store has, while others push it out of memory and disk, and forget it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/thread.h"
#include "server/cache.h"
#include "tests/support/cmocka_all.h"

#define VOLUME "volumes/0192b7c5-2d2a-7000-8000-000000000001/"
#define SEGMENT VOLUME "segments/0192b7c5-2d2a-7000-8000-000000000002"
#define SIZE (700u << 10)
#define READERS 4u
#define READS 250u
#define READ_MAX 9000u

struct reader {
    struct ramet_cache *cache;
    const uint8_t *content;
    unsigned seed;
    unsigned wrong; /* answers that are not what the store has */
    struct ramet_thread thread;
};

static void *
read_at_random(void *arg)
{
    struct reader *const r = arg;
    uint8_t buf[READ_MAX];

    for (unsigned i = 0; i < READS; i++) {
        const size_t len = 1 + (size_t)rand_r(&r->seed) % READ_MAX;
        const uint64_t offset = (size_t)rand_r(&r->seed) % (SIZE - len);
        struct ramet_err err;
        size_t got = 0;

        if (ramet_cache_try(r->cache, SEGMENT, offset, buf, len))
            r->wrong += memcmp(buf, r->content + offset, len) != 0;
        r->wrong +=
            ramet_objstore_read(ramet_cache_store(r->cache), SEGMENT, offset,
                                buf, len, &got, &err) != RAMET_OK ||
            got != len || memcmp(buf, r->content + offset, len) != 0;
    }
    return NULL;
}

static void
play(size_t memory, uint64_t disk, const char *dir)
{
    const struct ramet_cache_options options = {
        .memory_bytes = memory,
        .disk_dir = disk > 0 ? dir : NULL,
        .disk_bytes = disk,
    };
    struct reader readers[READERS];
    struct ramet_objstore *store;
    struct ramet_cache *cache;
    struct ramet_vid volume;
    struct ramet_err err;
    uint8_t *const content = malloc(SIZE);

    assert_non_null(content);
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (uint8_t)(i * 31 + i / 255);
    assert_true(
        ramet_id_parse("0192b7c5-2d2a-7000-8000-000000000001", &volume.id));
    assert_int_equal(ramet_memstore_open(&store, &err), RAMET_OK);
    assert_int_equal(ramet_objstore_put(store, SEGMENT,
                                        &(struct iovec){content, SIZE}, 1,
                                        &err),
                     RAMET_OK);
    assert_int_equal(ramet_cache_open(store, &options, &cache, &err), RAMET_OK);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){cache, content, i + 1, 0, {0}};
        assert_int_equal(ramet_thread_start(&readers[i].thread, "reader",
                                            read_at_random, &readers[i], &err),
                         RAMET_OK);
    }
    for (unsigned i = 0; i < 30; i++)
        ramet_cache_forget(cache, &volume);
    for (unsigned i = 0; i < READERS; i++) {
        ramet_thread_join(&readers[i].thread);
        assert_int_equal(readers[i].wrong, 0);
    }
    ramet_cache_close(cache);
    ramet_objstore_close(store);
    free(content);
}

static void
cache__serves_many_threads_from_memory(void **state)
{
    (void)state;
    play(16u << 20, 0, NULL);
}

static void
cache__serves_many_threads_where_little_stays(void **state)
{
    char dir[64], command[80];

    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/ramet-cache-threads-%ld",
                   (long)getpid());
    assert_int_equal(mkdir(dir, 0700), 0);
    play(1u << 20, 200u << 10, dir);
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache__serves_many_threads_from_memory),
        cmocka_unit_test(cache__serves_many_threads_where_little_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
