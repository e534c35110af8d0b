/*
 * bench_maps.c - what page maps cost: bytes of a map after random updates, bytes
 * of maps over many small commits, and memory while a large one is made. By hand:
 *
 *     build/tests/bench_maps
 *
 * Frames and commits are made up; only places matter to a map.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/alloc.h"
#include "core/os.h"
#include "metastore/map.h"
#include "metastore/mapnode.h"
#include "metastore/overlay.h"
#include "tests/metastore/made_up.h"

static void
updates(uint32_t page_count, const uint32_t *counts, size_t count_count)
{
    const struct ramet_vid volume = {.id = {{1}}};
    const struct ramet_os *const os = ramet_os_system();
    struct ramet_map_ref map = {.lsn = 0};
    struct ramet_objstore *store;
    struct ramet_history *history;
    struct ramet_pageset pages;
    struct rusage usage;
    uint64_t start;

    made_up_check(ramet_memstore_open(&store, NULL), &(struct ramet_err){0});
    made_up_check(ramet_history_open(store, &volume, NULL, &history, NULL),
                  &(struct ramet_err){0});
    ramet_pageset_init(&pages);
    made_up_check(
        ramet_pageset_add_run(&pages, (struct ramet_run){1, page_count}),
        &(struct ramet_err){0});
    start = os->mono_ns(os->ctx);
    printf(
        "%9u pages, first map:     %9llu bytes", page_count,
        (unsigned long long)made_up_map(history, &map, 1, page_count, &pages));
    getrusage(RUSAGE_SELF, &usage);
    printf(", %.0f ms, %ld KiB resident at most\n",
           (double)(os->mono_ns(os->ctx) - start) / 1e6, usage.ru_maxrss);
    for (size_t i = 0; i < count_count; i++) {
        ramet_pageset_clear(&pages);
        while (ramet_pageset_count(&pages) < counts[i])
            made_up_check(
                ramet_pageset_add(&pages, made_up_random(page_count) + 1),
                &(struct ramet_err){0});
        start = os->mono_ns(os->ctx);
        printf("%9u random updates more: %9llu bytes", counts[i],
               (unsigned long long)made_up_map(history, &map, i + 2, page_count,
                                               &pages));
        printf(", %.1f ms\n", (double)(os->mono_ns(os->ctx) - start) / 1e6);
    }
    ramet_pageset_done(&pages);
    ramet_history_close(history);
    ramet_objstore_close(store);
}

static void
small_commits(uint32_t page_count, unsigned commits, unsigned every)
{
    const struct ramet_os *const os = ramet_os_system();
    struct made_up made_up;
    uint64_t start;

    made_up_init(&made_up, page_count);
    start = os->mono_ns(os->ctx);
    for (unsigned done = 0; done < commits; done += every)
        made_up_commits(&made_up, every);
    printf(
        "%9u pages, %u commits, a map for %u: %.0f bytes a commit, a root of "
        "%u bytes, %.1f us a commit\n",
        page_count, commits, every, (double)made_up.map_bytes / commits,
        made_up.map.root_length_bytes,
        (double)(os->mono_ns(os->ctx) - start) / 1e3 / commits);
    made_up_done(&made_up);
}

int
main(void)
{
    static const uint32_t counts[] = {1, 10, 100, 1000, 10000};

    static const unsigned every[] = {64, 32, 16, 12, 8};

    for (size_t i = 0; i < sizeof(every) / sizeof(every[0]); i++)
        small_commits(50000, 9984, every[i]);
    for (size_t i = 0; i < sizeof(every) / sizeof(every[0]); i++)
        small_commits(2500000, 99840, every[i]);
    updates(50000, counts, 5);
    updates(1000000, counts, 5);
    return 0;
}
