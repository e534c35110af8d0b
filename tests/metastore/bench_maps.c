/*
 * bench_maps.c - what page maps cost: bytes of a map after random updates, and
 * memory while a large one is made. By hand:
 *
 *     build/tests/bench_maps
 *
 * Frames are made up; only their places matter to a map.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/alloc.h"
#include "core/os.h"
#include "metastore/chain.h"
#include "metastore/map.h"
#include "metastore/mapnode.h"

static uint64_t random_state = 1;

static uint32_t
random_below(uint32_t below)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % below);
}

static void
check(enum ramet_rc rc, const struct ramet_err *err)
{
    if (rc == RAMET_OK)
        return;
    fprintf(stderr, "bench_maps: %s\n", err->text);
    exit(1);
}

/* One frame a page, about 2 KB each, back to back in one segment. */
static void
make_frames(struct ramet_commit *c, const struct ramet_pageset *pages)
{
    struct ramet_segment_info *const seg = ramet_calloc(1, sizeof(*seg));
    uint64_t offset = 32;
    uint32_t pgno = 0;

    c->segments = seg;
    c->segment_count = 1;
    seg->frame_count = (uint32_t)ramet_pageset_count(pages);
    seg->frames = ramet_calloc(seg->frame_count, sizeof(seg->frames[0]));
    if (seg->frames == NULL || ramet_id_new(&seg->id.id, NULL) != RAMET_OK)
        abort();
    for (uint32_t i = 0; i < seg->frame_count; i++) {
        struct ramet_frame *const f = &seg->frames[i];

        pgno = ramet_pageset_next(pages, pgno);
        f->first_pgno = pgno;
        f->page_count = 1;
        f->place.segment = seg->id;
        f->place.offset_bytes = offset;
        f->place.length_bytes = 1500 + random_below(1000);
        f->place.hash_algo = RAMET_HASH_XXH3_128;
        for (unsigned j = 0; j < RAMET_HASH_SIZE; j++)
            f->place.hash.bytes[j] = (uint8_t)random_below(256);
        offset += f->place.length_bytes;
    }
    seg->first_pgno = seg->frames[0].first_pgno;
    seg->last_pgno = pgno;
    seg->size_bytes = offset;
}

/* A map of `map` changed by one commit of those pages; its object's size. */
static uint64_t
build(struct ramet_history *history, struct ramet_map_ref *map, uint64_t lsn,
      uint32_t page_count, struct ramet_pageset *pages)
{
    static const struct ramet_hash none;
    struct ramet_chain chain = {.history = history, .map = *map};
    struct ramet_err err = {.text = ""};
    struct ramet_commit c;
    char key[RAMET_KEY_MAX];
    uint64_t size;

    ramet_commit_init(&c);
    c.lsn = lsn;
    c.least_page_count = lsn == 1 ? 0 : page_count;
    ramet_pageset_swap(&c.changed, pages);
    make_frames(&c, &c.changed);
    chain.layers[chain.layer_count++] = &c;
    chain.page_count = page_count;
    check(ramet_map_build(&chain, lsn, &none, map, &err), &err);
    ramet_map_key(&history->volume, lsn, &map->id, key);
    check(ramet_objstore_size(history->store, key, &size, &err), &err);
    ramet_commit_done(&c);
    return size;
}

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

    check(ramet_memstore_open(&store, NULL), &(struct ramet_err){0});
    check(ramet_history_open(store, &volume, NULL, &history, NULL),
          &(struct ramet_err){0});
    ramet_pageset_init(&pages);
    check(ramet_pageset_add_run(&pages, (struct ramet_run){1, page_count}),
          &(struct ramet_err){0});
    start = os->mono_ns(os->ctx);
    printf("%9u pages, first map:     %9llu bytes", page_count,
           (unsigned long long)build(history, &map, 1, page_count, &pages));
    getrusage(RUSAGE_SELF, &usage);
    printf(", %.0f ms, %ld KiB resident at most\n",
           (double)(os->mono_ns(os->ctx) - start) / 1e6, usage.ru_maxrss);
    for (size_t i = 0; i < count_count; i++) {
        ramet_pageset_clear(&pages);
        while (ramet_pageset_count(&pages) < counts[i])
            check(ramet_pageset_add(&pages, random_below(page_count) + 1),
                  &(struct ramet_err){0});
        start = os->mono_ns(os->ctx);
        printf("%9u random updates more: %9llu bytes", counts[i],
               (unsigned long long)build(history, &map, i + 2, page_count,
                                         &pages));
        printf(", %.1f ms\n", (double)(os->mono_ns(os->ctx) - start) / 1e6);
    }
    ramet_pageset_done(&pages);
    ramet_history_close(history);
    ramet_objstore_close(store);
}

int
main(void)
{
    static const uint32_t counts[] = {1, 10, 100, 1000, 10000};

    updates(50000, counts, 5);
    updates(1000000, counts, 5);
    return 0;
}
