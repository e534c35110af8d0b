/*
 * made_up.c - see made_up.h.
 */
#include "tests/metastore/made_up.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/map.h"
#include "metastore/mapnode.h"
#include "metastore/overlay.h"

static uint64_t random_state = 1;

uint32_t
made_up_random(uint32_t below)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % below);
}

void
made_up_check(enum ramet_rc rc, const struct ramet_err *err)
{
    if (rc == RAMET_OK)
        return;
    fprintf(stderr, "made up: %s\n", err->text);
    exit(1);
}

/* One frame a page, about 2 KB each, back to back in one segment. */
static void
make_frames(struct ramet_commit_object *c, const struct ramet_pageset *pages)
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
        f->extent.segment = seg->id;
        f->extent.offset_bytes = offset;
        f->extent.length_bytes = 1500 + made_up_random(1000);
        f->extent.hash_algo = RAMET_HASH_XXH3_128;
        for (unsigned j = 0; j < RAMET_HASH_SIZE; j++)
            f->extent.hash.bytes[j] = (uint8_t)made_up_random(256);
        offset += f->extent.length_bytes;
    }
    seg->first_pgno = seg->frames[0].first_pgno;
    seg->last_pgno = pgno;
    seg->size_bytes = offset;
}

uint64_t
made_up_map(struct ramet_history *history, struct ramet_map_ref *map,
            uint64_t lsn, uint32_t page_count, struct ramet_pageset *pages)
{
    static const struct ramet_hash none;
    struct ramet_overlay overlay = {.history = history, .map = *map};
    struct ramet_err err = {.text = ""};
    struct ramet_commit_object c;
    char key[RAMET_KEY_MAX];
    uint64_t size;

    ramet_commit_init(&c);
    c.lsn = lsn;
    c.least_page_count = lsn == 1 ? 0 : page_count;
    ramet_pageset_swap(&c.changed, pages);
    make_frames(&c, &c.changed);
    overlay.commits[overlay.commit_count++] = &c;
    overlay.page_count = page_count;
    made_up_check(ramet_map_build(&overlay, lsn, &none, map, &err), &err);
    ramet_map_key(&history->volume, lsn, &map->id, key);
    made_up_check(ramet_objstore_size(history->store, key, &size, &err), &err);
    ramet_commit_done(&c);
    return size;
}

/* A commit of one row: deltas of page 1 and of a random page, in one block. */
static void
make_small(struct ramet_commit_object *c, uint64_t lsn, uint32_t page_count)
{
    struct ramet_delta_extent *const extent = &c->deltas.extent;

    ramet_commit_init(c);
    c->lsn = lsn;
    c->page_count = page_count;
    c->least_page_count = page_count;
    made_up_check(ramet_pageset_add(&c->deltas.pages, 1),
                  &(struct ramet_err){0});
    made_up_check(
        ramet_pageset_add(&c->deltas.pages, 2 + made_up_random(page_count - 1)),
        &(struct ramet_err){0});
    extent->block_count = 1;
    extent->blocks = ramet_calloc(1, sizeof(extent->blocks[0]));
    if (extent->blocks == NULL)
        abort();
    c->head_length_bytes = 370;
    extent->offset_bytes = 32;
    extent->blocks[0].page_count = 2;
    extent->blocks[0].length_bytes = 80;
    for (unsigned j = 0; j < RAMET_HASH_SIZE; j++)
        extent->blocks[0].hash.bytes[j] = (uint8_t)made_up_random(256);
    ramet_commit_index_deltas(c);
}

/* The commit object of the LSN that a map is of: its page count is asked for. */
static void
put_head(struct ramet_history *history, uint64_t lsn, uint32_t page_count)
{
    struct ramet_commit_object c;
    struct ramet_buf out;
    struct iovec part;
    char key[RAMET_KEY_MAX];
    struct ramet_err err;

    ramet_commit_init(&c);
    c.volume = history->volume;
    c.lsn = lsn;
    c.predecessor.bytes[0] = lsn > 1;
    c.content = (struct ramet_point){lsn - 1, c.predecessor};
    c.floor = 1;
    c.kind = RAMET_KIND_SQLITE;
    c.page_size = 4096;
    c.page_count = page_count;
    c.least_page_count = page_count;
    c.byte_length = (uint64_t)page_count * 4096;
    c.map.lsn = lsn;
    ramet_buf_init(&out, 1u << 16);
    made_up_check(ramet_commit_encode(&c, NULL, &out, &err), &err);
    part = (struct iovec){out.data, out.len};
    ramet_commit_key(&history->volume, lsn, key);
    made_up_check(ramet_objstore_put(history->store, key, &part, 1, &err),
                  &err);
    ramet_buf_done(&out);
    ramet_commit_done(&c);
}

void
made_up_init(struct made_up *made_up, uint32_t page_count)
{
    const struct ramet_vid volume = {.id = {{1}}};
    struct ramet_pageset pages;
    struct ramet_err err = {.text = ""};

    *made_up = (struct made_up){.page_count = page_count, .lsn = 1};
    made_up_check(ramet_memstore_open(&made_up->store, &err), &err);
    made_up_check(ramet_history_open(made_up->store, &volume, NULL,
                                     &made_up->history, &err),
                  &err);
    ramet_pageset_init(&pages);
    made_up_check(
        ramet_pageset_add_run(&pages, (struct ramet_run){1, page_count}), &err);
    (void)made_up_map(made_up->history, &made_up->map, 1, page_count, &pages);
    put_head(made_up->history, 1, page_count);
    ramet_pageset_done(&pages);
}

void
made_up_done(struct made_up *made_up)
{
    ramet_history_close(made_up->history);
    ramet_objstore_close(made_up->store);
}

void
made_up_commits(struct made_up *made_up, unsigned count)
{
    static const struct ramet_hash none;
    static struct ramet_commit_object commits[RAMET_MAP_EVERY_COMMITS];
    struct ramet_overlay overlay = {.history = made_up->history,
                                    .map = made_up->map,
                                    .page_size = 4096,
                                    .page_count = made_up->page_count,
                                    .commit_count = count};
    struct ramet_err err = {.text = ""};
    char key[RAMET_KEY_MAX];
    uint64_t size;

    for (unsigned i = 0; i < count; i++) {
        make_small(&commits[i], ++made_up->lsn, made_up->page_count);
        overlay.commits[count - 1 - i] = &commits[i];
    }
    made_up_check(
        ramet_map_build(&overlay, made_up->lsn, &none, &made_up->map, &err),
        &err);
    put_head(made_up->history, made_up->lsn, made_up->page_count);
    for (unsigned i = 0; i < count; i++)
        ramet_commit_done(&commits[i]);
    ramet_map_key(&made_up->history->volume, made_up->lsn, &made_up->map.id,
                  key);
    made_up_check(ramet_objstore_size(made_up->store, key, &size, &err), &err);
    made_up->map_bytes += size;
}
