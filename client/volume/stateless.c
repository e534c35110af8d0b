/*
 * stateless.c - see stateless.h.
 *
 * By the invariants of stateless_impl.h.
 *
 * Layer: client.
 */
#include "client/volume/stateless.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "client/remote/pagecache.h"
#include "client/remote/remote.h"
#include "client/remote/remote_client.h"
#include "client/remote/warm.h"
#include "client/snapshot.h"
#include "client/volume/stateless_impl.h"
#include "core/alloc.h"
#include "sqliteformat/dbheader.h"
#include "sqliteformat/schema.h"

#define HEADER_SIZE 100u

enum ramet_rc
ramet_stateless_point_parse(const char *text,
                            struct ramet_stateless_point *out_point,
                            struct ramet_err *err)
{
    struct ramet_stateless_point point = {.fixed = true};
    const char *p = text;

    while (*p >= '0' && *p <= '9' && point.lsn < UINT64_MAX / 10 - 1)
        point.lsn = point.lsn * 10 + (uint64_t)(*p++ - '0');
    if (*p != '\0' || p == text || point.lsn == 0) {
        point.lsn = 0;
        if (!ramet_time_parse(text, &point.time_ms))
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "at=%.64s: neither an LSN (1, 2, …) nor a time "
                              "such as 2026-11-23T10:00:00Z",
                              text);
    }
    assert(point.fixed);
    *out_point = point;
    return RAMET_OK;
}

/* Stand at `head`. On failure the stateless reader is where it was. */
static enum ramet_rc
move_to(struct ramet_stateless_reader *reader, const struct ramet_head *head,
        struct ramet_err *err)
{
    const struct ramet_head before = reader->head;
    struct ramet_snapshot snap = {
        .seq = head->lsn,
        .tail = {head->lsn},
        .page_size = head->page_size,
        .page_count = head->page_count,
        .byte_length = head->byte_length,
        .lsn = head->lsn,
        .lsn_hash = head->hash,
        .remote_page_count = head->page_count,
        .pages_seq = head->lsn,
        .schema_seq = head->lsn,
    };
    const size_t len = head->byte_length < HEADER_SIZE
                           ? (size_t)head->byte_length
                           : HEADER_SIZE;
    enum ramet_rc rc = RAMET_OK;

    assert(!reader->pinned); /* invariant 2 */
    reader->head = *head;
    if (head->kind == RAMET_KIND_SQLITE)
        rc = ramet_stateless_read_bytes(reader, 0, snap.header, len, err);
    snap.counter = ramet_dbheader_counter(snap.header);
    if (rc == RAMET_OK)
        reader->snapshot = snap;
    else
        reader->head = before;
    assert(rc != RAMET_OK || reader->snapshot.lsn == reader->head.lsn);
    return rc;
}

/* Tell the cache which pages are still right. */
static enum ramet_rc
carry_over(struct ramet_stateless_reader *reader, const struct ramet_head *to,
           struct ramet_pageset *out_changed, struct ramet_err *err)
{
    const struct ramet_point from = ramet_head_point(&reader->head);
    const struct ramet_point next = ramet_head_point(to);
    enum ramet_rc rc;

    assert(!reader->pinned); /* invariant 2 */
    assert(out_changed != NULL);
    if (reader->head.lsn == 0 || reader->head.page_size != to->page_size)
        return RAMET_OK;
    rc = ramet_history_changed(reader->history, &from, &next, out_changed, err);
    if (rc == RAMET_OK)
        ramet_pagecache_advance(reader->cache, &from, &next, out_changed);
    return rc;
}

/* ---- the schema from one LSN to the next ---------------------------------- */

struct schema_pages {
    struct ramet_stateless_reader *reader;
    uint32_t page_count; /* of the new LSN */
};

/* What did not change, and is in the cache, is there for the new LSN. */
static bool
read_cached_page(void *ctx, uint32_t pgno, uint8_t *out)
{
    const struct schema_pages *const r = ctx;
    const struct ramet_head *const head = &r->reader->head;
    const struct ramet_point at = ramet_head_point(head);

    assert(pgno > 0);
    return pgno <= head->page_count &&
           ramet_pagecache_get(r->reader->cache, &at, pgno, 0, out,
                               head->page_size);
}

/* `before`: page 1 of the LSN that it came from; NULL: not known. */
static bool
keeps_schema(struct ramet_stateless_reader *reader, const uint8_t *before,
             const struct ramet_pageset *changed)
{
    struct schema_pages pages = {reader, reader->head.page_count};
    uint8_t *after;
    bool same;

    assert(changed != NULL);
    assert(reader->snapshot.lsn == reader->head.lsn);
    if (before == NULL || reader->head.page_count == 0)
        return false;
    after = ramet_alloc(reader->head.page_size);
    same = after != NULL &&
           ramet_stateless_read_bytes(reader, 0, after, reader->head.page_size,
                                      NULL) == RAMET_OK &&
           ramet_schema_is_same(before, after, reader->head.page_size, changed,
                                read_cached_page, &pages);
    ramet_free(after);
    return same;
}

/* On to a later commit of the same line. */
static enum ramet_rc
move_on(struct ramet_stateless_reader *reader, const struct ramet_head *head,
        struct ramet_err *err)
{
    const uint64_t schema_seq = reader->snapshot.schema_seq;
    const struct ramet_point at = ramet_head_point(&reader->head);
    const uint32_t page_size = reader->head.page_size;
    struct ramet_pageset changed;
    uint8_t *before = NULL;
    enum ramet_rc rc;

    assert(!reader->pinned); /* invariant 2 */
    assert(!reader->point.fixed);
    ramet_pageset_init(&changed);
    if (reader->head.kind == RAMET_KIND_SQLITE &&
        reader->head.page_count != 0 && page_size == head->page_size)
        before = ramet_alloc(page_size);
    if (before != NULL &&
        !ramet_pagecache_get(reader->cache, &at, 1, 0, before, page_size)) {
        ramet_free(before);
        before = NULL;
    }
    rc = carry_over(reader, head, &changed, err);
    if (rc == RAMET_OK)
        rc = move_to(reader, head, err);
    if (rc == RAMET_OK && keeps_schema(reader, before, &changed))
        reader->snapshot.schema_seq = schema_seq;
    ramet_pageset_done(&changed);
    ramet_free(before);
    return rc;
}

/* Is what the stateless reader stands on in the line that ends at `newest`? */
static enum ramet_rc
check_line(struct ramet_stateless_reader *reader,
           const struct ramet_head *newest, struct ramet_err *err)
{
    const struct ramet_point own = ramet_head_point(&reader->head);
    struct ramet_head here;
    enum ramet_rc rc = RAMET_EWENTBACK;

    assert(reader->history != NULL);
    if (own.lsn == 0)
        return RAMET_OK;
    if (own.lsn <= newest->lsn)
        rc = ramet_history_head_of(reader->history, &own, &here, err);
    if (rc != RAMET_EWENTBACK)
        return rc;
    return RAMET_FAIL(err, RAMET_EWENTBACK,
                      "%.200s: the remote went back in time: it is at LSN "
                      "%" PRIu64 " and does not have LSN %" PRIu64
                      " as it was read here; open it anew",
                      ramet_remote_client_text(reader->client), newest->lsn,
                      own.lsn);
}

static enum ramet_rc
look(struct ramet_stateless_reader *reader, struct ramet_err *err)
{
    struct ramet_head head;
    enum ramet_rc rc;

    assert(reader->client != NULL);
    const uint64_t boot_ms = reader->os->boot_ns(reader->os->ctx) / 1000000u;

    reader->looked_ns = reader->os->mono_ns(reader->os->ctx);
    rc = ramet_remote_client_newest_to_read(reader->client, &reader->volume,
                                            &head, err);
    if (rc == RAMET_OK)
        rc = check_line(reader, &head, err);
    if (rc != RAMET_OK)
        return rc;
    reader->remote_lsn = head.lsn;
    if (reader->point.fixed || reader->pinned)
        return RAMET_OK;
    assert(!reader->pinned); /* invariant 2 */
    if (head.lsn != reader->head.lsn)
        rc = move_on(reader, &head, err);
    if (rc == RAMET_OK)
        reader->looked_boot_ms = boot_ms;
    return rc;
}

/* What the opening was told is stale by now. */
static enum ramet_rc
look_anew(struct ramet_stateless_reader *reader, struct ramet_err *err)
{
    ramet_remote_client_begin(reader->client);
    return look(reader, err);
}

/* The first place: a snapshot that was named, or the newest. */
static enum ramet_rc
first_point(struct ramet_stateless_reader *reader, struct ramet_err *err)
{
    struct ramet_head head;
    enum ramet_rc rc;

    assert(!reader->pinned);
    assert(reader->head.lsn == 0 && reader->snapshot.lsn == 0);
    if (!reader->point.fixed)
        return look(reader, err);
    if (reader->point.lsn > 0)
        rc = ramet_history_head(reader->history, reader->point.lsn, &head, err);
    else
        rc = ramet_history_at_time(reader->history, reader->point.time_ms,
                                   &head, err);
    if (rc == RAMET_ENOTFOUND || (rc == RAMET_OK && head.lsn == 0)) {
        char when[32];

        ramet_time_format(reader->point.time_ms, when);
        if (reader->point.lsn > 0)
            return RAMET_FAIL(
                err, RAMET_ENOTFOUND, "%.200s: there is no LSN %" PRIu64,
                ramet_remote_client_text(reader->client), reader->point.lsn);
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%.200s: there was no commit by %s",
                          ramet_remote_client_text(reader->client), when);
    }
    if (rc != RAMET_OK)
        return rc;
    assert(head.lsn > 0); /* invariant 1 */
    reader->remote_lsn = head.lsn;
    return move_to(reader, &head, err);
}

enum ramet_rc
ramet_stateless_open(struct ramet_remote_client *client,
                     const struct ramet_vid *volume,
                     const struct ramet_stateless_point *point,
                     size_t cache_bytes, const struct ramet_os *os,
                     struct ramet_stateless_reader **out_reader,
                     struct ramet_err *err)
{
    struct ramet_stateless_reader *const reader =
        ramet_calloc(1, sizeof(*reader));
    enum ramet_rc rc = RAMET_OK;

    if (reader == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "stateless reader: no memory");
    reader->client = ramet_remote_client_ref(client);
    reader->os = os;
    reader->point = *point;
    reader->cache_bytes =
        cache_bytes > 0 ? cache_bytes : RAMET_STATELESS_CACHE_BYTES;
    assert(reader->os != NULL);
    assert(reader->cache_bytes > 0);
    ramet_remote_client_begin(client); /* as look_anew() */
    if (volume != NULL)
        reader->volume = *volume;
    else
        rc = ramet_remote_client_resolve(client, &reader->volume, err);
    if (rc == RAMET_OK)
        rc = ramet_remote_client_history(client, &reader->volume,
                                         &reader->history, err);
    if (rc == RAMET_OK) {
        reader->cache = ramet_remote_client_cache(client, &reader->volume,
                                                  reader->cache_bytes);
        if (reader->cache == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "stateless reader: no memory");
    }
    if (rc == RAMET_OK)
        rc = ramet_stateless_join(reader, err);
    if (rc == RAMET_OK)
        rc = first_point(reader, err);
    if (rc != RAMET_OK) {
        ramet_stateless_close(reader);
        return rc;
    }
    assert(reader->pipeline != NULL && reader->history != NULL);
    assert(reader->snapshot.lsn == reader->head.lsn); /* invariant 1 */
    *out_reader = reader;
    return RAMET_OK;
}

struct ramet_warm *
ramet_stateless_warm(struct ramet_stateless_reader *reader, const char *profile,
                     bool may_keep)
{
    assert(profile != NULL);
    assert(reader->pipeline != NULL);
    return reader->head.lsn == 0
               ? NULL
               : ramet_warm_begin(reader->client, reader->pipeline,
                                  &reader->volume, &reader->head, profile,
                                  may_keep);
}

enum ramet_rc
ramet_stateless_prefetch(struct ramet_stateless_reader *reader,
                         const struct ramet_question *question,
                         uint64_t *out_pages, struct ramet_err *err)
{
    assert(question != NULL);
    assert(reader->pipeline != NULL);
    *out_pages = 0;
    return reader->head.lsn == 0
               ? RAMET_OK
               : ramet_warm_ask(reader->client, reader->pipeline,
                                &reader->volume, &reader->head, question,
                                out_pages, err);
}

void
ramet_stateless_close(struct ramet_stateless_reader *reader)
{
    if (reader == NULL)
        return;
    assert(reader->pipeline == NULL || reader->keeper.ctx == reader);
    if (reader->pipeline != NULL)
        ramet_pipeline_leave(reader->pipeline, &reader->keeper);
    ramet_remote_client_close(reader->client);
    ramet_free(reader);
}

enum ramet_rc
ramet_stateless_pin(struct ramet_stateless_reader *reader,
                    struct ramet_err *err)
{
    const uint64_t now = reader->os->mono_ns(reader->os->ctx);
    enum ramet_rc rc = RAMET_OK;

    assert(!reader->pinned);
    if (!reader->point.fixed &&
        now - reader->looked_ns >= RAMET_STATELESS_LOOK_MS * 1000000ull)
        rc = look_anew(reader, err);
    if (rc == RAMET_EUNREACHABLE || rc == RAMET_ETIMEOUT)
        rc = RAMET_OK; /* it stays where it was */
    reader->pinned = rc == RAMET_OK;
    return rc;
}

void
ramet_stateless_unpin(struct ramet_stateless_reader *reader)
{
    reader->pinned = false;
}

const struct ramet_snapshot *
ramet_stateless_snapshot(struct ramet_stateless_reader *reader)
{
    assert(reader->snapshot.lsn == reader->head.lsn); /* invariant 1 */
    return &reader->snapshot;
}

enum ramet_rc
ramet_stateless_read(struct ramet_stateless_reader *reader, uint64_t offset,
                     void *buf, size_t len, size_t *out_got,
                     struct ramet_err *err)
{
    const uint64_t length = reader->head.byte_length;
    size_t got = 0;
    enum ramet_rc rc = RAMET_OK;

    assert(reader->pinned);
    assert(buf != NULL || len == 0);
    if (offset < length)
        got = len < length - offset ? len : (size_t)(length - offset);
    if (got > 0)
        rc = ramet_stateless_read_bytes(reader, offset, buf, got, err);
    assert(got <= len);
    if (rc != RAMET_OK)
        return rc;
    if (got < len)
        memset((uint8_t *)buf + got, 0, len - got);
    assert(reader->pinned &&
           length == reader->head.byte_length); /* invariant 2 */
    *out_got = got;
    return RAMET_OK;
}

uint64_t
ramet_stateless_looked_boot_ms(const struct ramet_stateless_reader *reader)
{
    return reader->looked_boot_ms;
}

const struct ramet_head *
ramet_stateless_head(const struct ramet_stateless_reader *reader)
{
    return &reader->head;
}

const struct ramet_vid *
ramet_stateless_volume(const struct ramet_stateless_reader *reader)
{
    return &reader->volume;
}

struct ramet_remote_client *
ramet_stateless_client(struct ramet_stateless_reader *reader)
{
    return reader->client;
}

uint64_t
ramet_stateless_remote_lsn(const struct ramet_stateless_reader *reader)
{
    assert(reader->remote_lsn >= reader->head.lsn);
    return reader->remote_lsn;
}

enum ramet_rc
ramet_stateless_fetch(struct ramet_stateless_reader *reader,
                      struct ramet_err *err)
{
    return look_anew(reader, err);
}
