/*
 * fuzz_commit.c - hostile bytes as the head of a commit.
 *
 * The first byte chooses: as they are, or made well-hashed and of the right
 * volume, LSN and length first, so that the parser behind the hashes is met.
 * What is accepted obeys what readers rely on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metastore/commit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ramet_vid volume = {.id = {{0x11}}};

static void
require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_commit: %s\n", what);
        abort();
    }
}

static void
seal(uint8_t *head, size_t len)
{
    struct ramet_hash hash;

    memcpy(head, "RAMTCMT\x04", 8);
    ramet_put_le32(head + 8, (uint32_t)len);
    ramet_put_le64(head + 16, 2);
    head[28] = RAMET_HASH_XXH3_128;
    memcpy(head + 32, &volume, sizeof(volume));
    hash = ramet_hash128(head + RAMET_COMMIT_CORE_SIZE,
                         len - RAMET_COMMIT_CORE_SIZE);
    memcpy(head + 276, &hash, sizeof(hash));
    hash = ramet_hash128(head, 292);
    memcpy(head + 292, &hash, sizeof(hash));
}

static void
check_frames(const struct ramet_commit_object *c,
             const struct ramet_segment_info *seg)
{
    uint32_t last = 0;

    for (uint32_t i = 0; seg->frames != NULL && i < seg->frame_count; i++) {
        const struct ramet_frame *const f = &seg->frames[i];

        require(f->page_count >= 1 && f->page_count <= RAMET_FRAME_PAGES_MAX,
                "pages of a frame");
        require(f->first_pgno > last, "frames overlap");
        last = f->first_pgno + (f->page_count - 1);
        require(last >= f->first_pgno && last <= c->page_count,
                "frame past the end");
        require(ramet_pageset_contains(&c->changed, f->first_pgno) &&
                    ramet_pageset_contains(&c->changed, last),
                "frame of unchanged pages");
        require(f->kind != RAMET_FRAME_DICT || seg->has_dict,
                "dictionary frame without one");
    }
}

/* Each delta is in one block, at a place there, and over some page's base. */
static void
check_deltas(const struct ramet_commit_object *c)
{
    const struct ramet_commit_deltas *const d = &c->deltas;
    uint64_t pages = 0;
    uint32_t looked = 0;

    require(!ramet_pageset_intersects(&c->changed, &d->pages),
            "an image and a delta");
    require(d->pages.run_count > 0 || d->extent.block_count == 0,
            "blocks of no page");
    require(ramet_commit_delta_bytes(c) <= (d->extent.is_inline
                                                ? ramet_commit_inline_end(c)
                                                : d->extent.size_bytes),
            "more bytes of deltas than there are");
    if (d->extent.blocks == NULL)
        return;
    for (uint32_t i = 0; i < d->extent.block_count; i++) {
        const struct ramet_frame block = ramet_commit_delta_block(c, i);

        pages += d->extent.blocks[i].page_count;
        require(block.extent.length_bytes > 0 &&
                    block.extent.length_bytes <= RAMET_DELTA_BLOCK_MAX,
                "length of a block");
    }
    require(pages == ramet_pageset_count(&d->pages), "pages of the blocks");
    for (uint32_t pgno = c->least_page_count, n = 0;
         n < 64 && (pgno = ramet_pageset_next(&d->pages, pgno)) != 0; n++) {
        uint32_t block, position, base;

        ramet_commit_find_delta(c, pgno, &block, &position, &base);
        require(base <= c->least_page_count, "a delta over what was cut off");
    }
    for (uint32_t p = 0;
         looked++ < 1000 && (p = ramet_pageset_next(&d->pages, p)) != 0;) {
        uint32_t block = UINT32_MAX, position = UINT32_MAX, base = 0;

        ramet_commit_find_delta(c, p, &block, &position, &base);
        require(block < d->extent.block_count &&
                    position < d->extent.blocks[block].page_count && base > 0,
                "place of a delta");
    }
}

static void
check(const struct ramet_commit_object *c)
{
    uint32_t last = 0;

    require(c->lsn == 2 && c->map.lsn <= 2, "LSN");
    require(ramet_page_size_valid(c->page_size), "page size");
    require(c->least_page_count <= c->page_count, "least page count");
    require(c->byte_length <= (uint64_t)c->page_count * c->page_size,
            "byte length");
    require(ramet_pageset_next(&c->changed, c->page_count) == 0,
            "changed past the end");
    check_deltas(c);
    for (uint32_t i = 0; i < c->segment_count; i++) {
        const struct ramet_segment_info *const seg = &c->segments[i];

        require(seg->first_pgno > last && seg->last_pgno >= seg->first_pgno,
                "segments overlap");
        last = seg->last_pgno;
        require(last <= c->page_count, "segment past the end");
        check_frames(c, seg);
        for (uint32_t j = 0; j < seg->chunk_count; j++)
            require(seg->chunks[j].length_bytes <= seg->size_bytes &&
                        seg->chunks[j].offset_bytes <=
                            seg->size_bytes - seg->chunks[j].length_bytes,
                    "chunk outside");
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_err err = {.text = ""};
    struct ramet_commit_object commit;
    struct ramet_hash hash;
    uint8_t *head;
    enum ramet_rc rc;

    if (size < 1 + RAMET_COMMIT_PREFIX_SIZE || size > 1u << 16)
        return 0;
    head = malloc(size - 1); /* exact, so that reading past it is found */
    if (head == NULL)
        return 0;
    memcpy(head, data + 1, size - 1);
    if (data[0] % 2 == 1 && size > RAMET_COMMIT_CORE_SIZE)
        seal(head, size - 1);
    rc = ramet_commit_decode(head, size - 1, &volume, 2, 0, &commit, &hash,
                             &err);
    if (rc == RAMET_OK) {
        check(&commit);
        ramet_commit_done(&commit);
    } else {
        require(rc == RAMET_ECORRUPT || rc == RAMET_EVERSION, "code");
        require(err.code == rc && err.text[0] != '\0', "no text");
    }
    free(head);
    return 0;
}
