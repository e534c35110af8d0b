/*
 * sparsevolume.c - a volume of any size of which only some pages exist, made in the
 * time that these take: one commit, straight into a store.
 *
 *     sparsevolume DIRECTORY NAME PAGE_SIZE PAGE_COUNT < PAGES
 *
 * PAGES is a record for each page that exists, by ascending number: four bytes, the
 * number, least first, and the page. All others are zeros, of which nothing is stored.
 * For benchmarks and tests: what a reader asks for must not grow with what is there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "metastore/catalog.h"
#include "metastore/history.h"
#include "pagestore/segment.h"

struct making {
    struct ramet_objstore *store;
    struct ramet_vid volume;
    struct ramet_commit_object commit;
    uint8_t *inline_bytes;
    size_t inline_len;
};

static void
require(enum ramet_rc rc, const struct ramet_err *err)
{
    if (rc == RAMET_OK)
        return;
    (void)fprintf(stderr, "sparsevolume: %s\n", err->text);
    exit(1);
}

/* Each page of standard input, into one segment and the commit's set. */
static void
read_pages(struct making *m)
{
    const struct ramet_codec codec = {.pages_per_frame = 1};
    const uint32_t page_size = m->commit.page_size;
    uint8_t *const page = ramet_alloc(page_size);
    struct ramet_segment_writer *writer;
    struct ramet_err err;
    uint8_t number[4];

    if (page == NULL)
        require(RAMET_FAIL(&err, RAMET_ENOMEM, "no memory"), &err);
    require(ramet_segment_writer_new(m->store, &m->volume, page_size, &codec,
                                     &writer, &err),
            &err);
    while (fread(number, sizeof(number), 1, stdin) == 1) {
        const uint32_t pgno = ramet_get_le32(number);

        if (pgno < 1 || pgno > m->commit.page_count ||
            ramet_pageset_contains(&m->commit.changed, pgno) ||
            fread(page, page_size, 1, stdin) != 1)
            require(RAMET_FAIL(&err, RAMET_EINVAL,
                               "page %" PRIu32 " is cut, out of range or twice",
                               pgno),
                    &err);
        require(ramet_segment_writer_add(writer, pgno, page, &err), &err);
        require(ramet_pageset_add(&m->commit.changed, pgno), &err);
    }
    require(ramet_segment_writer_finish(writer, true, m->commit.segments,
                                        &m->inline_bytes, &m->inline_len, &err),
            &err);
    ramet_free(page);
}

static void
put_commit(struct making *m)
{
    struct ramet_commit_object *const commit = &m->commit;
    struct ramet_head base = {.lsn = 0};
    struct ramet_history *history;
    struct ramet_head winner;
    struct ramet_buf object;
    struct ramet_err err;

    require(ramet_id_new(&commit->id.id, &err), &err);
    commit->has_inline = m->inline_bytes != NULL;
    commit->inline_length_bytes = (uint32_t)m->inline_len;
    require(ramet_history_open(m->store, &m->volume, NULL, &history, &err),
            &err);
    ramet_buf_init(&object, SIZE_MAX);
    require(ramet_history_prepare(history, &base, commit, &err), &err);
    require(ramet_commit_encode(commit, m->inline_bytes, &object, &err), &err);
    require(
        ramet_history_append(history, object.data, object.len, &winner, &err),
        &err);
    ramet_buf_done(&object);
    ramet_history_close(history);
}

int
main(int argc, char **argv)
{
    struct making m = {.store = NULL};
    struct ramet_err err;

    if (argc != 5) {
        (void)fprintf(stderr, "usage: sparsevolume DIRECTORY NAME PAGE_SIZE "
                              "PAGE_COUNT < PAGES\n");
        return 2;
    }
    ramet_commit_init(&m.commit);
    m.commit.kind = RAMET_KIND_SQLITE;
    m.commit.role = RAMET_COMMIT_CONTENT;
    m.commit.page_size = (uint32_t)strtoul(argv[3], NULL, 10);
    m.commit.page_count = (uint32_t)strtoul(argv[4], NULL, 10);
    m.commit.byte_length = (uint64_t)m.commit.page_size * m.commit.page_count;
    m.commit.segments = ramet_calloc(1, sizeof(*m.commit.segments));
    m.commit.segment_count = 1;
    if (m.commit.segments == NULL)
        require(RAMET_FAIL(&err, RAMET_ENOMEM, "no memory"), &err);
    require(ramet_dirstore_open(NULL, argv[1], true, &m.store, &err), &err);
    require(ramet_catalog_check(m.store, true, &err), &err);
    require(ramet_id_new(&m.volume.id, &err), &err);
    require(ramet_catalog_bind(m.store, argv[2], &m.volume, false, &err), &err);
    read_pages(&m);
    put_commit(&m);
    ramet_free(m.inline_bytes);
    ramet_commit_done(&m.commit);
    ramet_objstore_close(m.store);
    return 0;
}
