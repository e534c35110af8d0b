/*
 * stateless_pages.c - the pages of a stateless reader: from the client's cache,
 * or brought by the pipeline, which keeps there what it brings.
 *
 * Layer: client, volume.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "client/remote/meter.h"
#include "client/remote/pagecache.h"
#include "client/remote/pipeline.h"
#include "client/remote/remote_client.h"
#include "client/volume/stateless_impl.h"
#include "core/alloc.h"
#include "metastore/place_order.h"

/* Reads that are this long are of somebody who wants everything. */
#define AT_ONCE_FROM (2u << 20)

/* A page that is missed. */
struct looking {
    const struct ramet_stateless_reader *reader;
    struct ramet_point at;
    uint32_t pgno;
};

/* A page that a reader waits for, or that came ahead of him. */
static bool
has_page(void *ctx, const struct ramet_point *at, uint32_t pgno)
{
    const struct ramet_stateless_reader *const reader = ctx;

    assert(reader->cache != NULL);
    return ramet_pagecache_get(reader->cache, at, pgno, 0, NULL, 0);
}

static bool
peek_page(void *ctx, const struct ramet_point *at, uint32_t pgno,
          uint8_t *out_page, size_t page_size)
{
    const struct ramet_stateless_reader *const reader = ctx;

    assert(out_page != NULL && page_size > 0);
    return page_size == reader->head.page_size &&
           ramet_pagecache_get(reader->cache, at, pgno, 0, out_page, page_size);
}

static bool
keep_pages(void *ctx, const struct ramet_point *at, const uint32_t *pgnos,
           size_t count, const uint8_t *pages, size_t page_size, bool in_bulk)
{
    const struct ramet_stateless_reader *const reader = ctx;

    assert(pages != NULL || count == 0);
    assert(page_size > 0);
    (void)in_bulk;
    for (size_t i = 0; i < count; i++)
        ramet_pagecache_put(reader->cache, at, pgnos[i], pages + i * page_size,
                            page_size);
    return true;
}

/* What is in the cache the pipeline looks for by itself. */
static enum ramet_rc
look_here(void *ctx, uint8_t *out_page, bool *out_here, struct ramet_err *err)
{
    const struct looking *const looking = ctx;

    assert(looking->reader->cache != NULL);
    assert(looking->pgno > 0);
    (void)err;
    *out_here =
        ramet_pagecache_get(looking->reader->cache, &looking->at, looking->pgno,
                            0, out_page, looking->reader->head.page_size);
    return RAMET_OK;
}

static enum ramet_rc
fetch_page(struct ramet_stateless_reader *reader, uint32_t pgno, uint8_t *page,
           struct ramet_err *err)
{
    struct looking looking = {reader, ramet_head_point(&reader->head), pgno};
    struct ramet_err cause = {.code = RAMET_OK};
    bool here, probes;
    enum ramet_rc rc;

    assert(pgno > 0);
    assert(reader->pipeline != NULL);
    rc = ramet_meter_check(ramet_remote_client_meter(reader->client), &probes,
                           &cause);
    if (rc == RAMET_OK)
        rc = ramet_pipeline_read(reader->pipeline, reader, &reader->head, pgno,
                                 page, &here, probes ? RAMET_PROBE_WAIT_MS : 0,
                                 look_here, &looking, &cause);
    if (rc == RAMET_OK)
        return rc;
    return RAMET_FAIL(
        err, rc, "page %" PRIu32 " of %.160s at LSN %" PRIu64 ": %.240s", pgno,
        ramet_remote_client_text(reader->client), reader->head.lsn, cause.text);
}

static enum ramet_rc
read_part(struct ramet_stateless_reader *reader, uint32_t pgno, size_t offset,
          void *out, size_t len, struct ramet_err *err)
{
    const struct ramet_point at = ramet_head_point(&reader->head);
    uint8_t *page;
    enum ramet_rc rc;

    assert(len > 0 && offset + len <= reader->head.page_size);
    assert(pgno > 0);
    if (ramet_pagecache_get(reader->cache, &at, pgno, offset, out, len)) {
        if (len == reader->head.page_size)
            (void)ramet_pipeline_note_read(reader->pipeline, reader,
                                           &reader->head, pgno, out);
        return RAMET_OK;
    }
    page = ramet_alloc(reader->head.page_size);
    if (page == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "stateless reader: no memory");
    rc = fetch_page(reader, pgno, page, err);
    if (rc == RAMET_OK)
        memcpy(out, page + offset, len);
    ramet_free(page);
    return rc;
}

/* ---- many pages at once ------------------------------------------------------ */

struct run {
    uint8_t *out;
    uint32_t first;
    size_t page_size;
};

static enum ramet_rc
take_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    const struct run *const run = ctx;

    assert(pgno >= run->first);
    (void)err;
    memcpy(run->out + (size_t)(pgno - run->first) * run->page_size, page,
           run->page_size);
    return RAMET_OK;
}

bool
ramet_stateless_reads_groups(struct ramet_stateless_reader *reader)
{
    struct ramet_history *history = NULL;

    return reader->head.lsn > 0 &&
           ramet_remote_client_history(reader->client, &reader->volume,
                                       &history, NULL) == RAMET_OK &&
           ramet_history_reads_ranges(history);
}

/* Whole pages past the cache and the pipeline: nobody reads them again soon. */
static enum ramet_rc
read_run(struct ramet_stateless_reader *reader, uint32_t first, uint32_t count,
         uint8_t *out, struct ramet_err *err)
{
    const struct ramet_point at = ramet_head_point(&reader->head);
    struct run run = {out, first, reader->head.page_size};
    uint32_t *const pgnos = ramet_alloc(count * sizeof(*pgnos));
    bool probes;
    enum ramet_rc rc;

    assert(first >= 1 && count >= 1);
    if (pgnos == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "stateless reader: no memory");
    for (uint32_t i = 0; i < count; i++)
        pgnos[i] = first + i;
    rc = ramet_meter_check(ramet_remote_client_meter(reader->client), &probes,
                           err);
    if (rc == RAMET_OK)
        rc = ramet_remote_client_read_pages(reader->client, &reader->volume,
                                            &at, pgnos, count, false, take_page,
                                            &run, err);
    ramet_free(pgnos);
    return rc;
}

enum ramet_rc
ramet_stateless_read_bytes(struct ramet_stateless_reader *reader,
                           uint64_t offset, uint8_t *out, size_t len,
                           struct ramet_err *err)
{
    const uint32_t page_size = reader->head.page_size;

    assert(offset <= reader->head.byte_length &&
           len <= reader->head.byte_length - offset);
    if (len >= AT_ONCE_FROM && offset % page_size == 0 &&
        ramet_stateless_reads_groups(reader)) {
        const uint32_t count = (uint32_t)(len / page_size);
        const enum ramet_rc rc = read_run(
            reader, (uint32_t)(offset / page_size) + 1, count, out, err);

        if (rc != RAMET_OK)
            return rc;
        offset += (uint64_t)count * page_size;
        out += (size_t)count * page_size;
        len -= (size_t)count * page_size;
    }
    while (len > 0) {
        const uint32_t pgno = (uint32_t)(offset / page_size) + 1;
        const size_t in_page = (size_t)(offset % page_size);
        const size_t left = page_size - in_page;
        const size_t n = len < left ? len : left;
        const enum ramet_rc rc = read_part(reader, pgno, in_page, out, n, err);

        if (rc != RAMET_OK)
            return rc;
        offset += n;
        out += n;
        len -= n;
    }
    return RAMET_OK;
}

/* Half of the cache may be brought ahead: the other is for what was read. */
enum ramet_rc
ramet_stateless_join(struct ramet_stateless_reader *reader,
                     struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_remote_client_pipeline(
        reader->client, &reader->volume, &reader->pipeline, err);

    assert(reader->cache != NULL && reader->cache_bytes > 0);
    reader->keeper =
        (struct ramet_keeper){.has = has_page,
                              .keep = keep_pages,
                              .peek = peek_page,
                              .ctx = reader,
                              .ahead_max = reader->cache_bytes / 2};
    if (rc == RAMET_OK)
        ramet_pipeline_join(reader->pipeline, &reader->keeper);
    assert(rc != RAMET_OK || reader->pipeline != NULL);
    return rc;
}
