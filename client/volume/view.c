/*
 * view.c - see view.h.
 *
 * By the invariants of view_impl.h.
 *
 * Layer: client.
 */
#include "client/volume/view.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "client/remote/pagecache.h"
#include "client/remote/remote.h"
#include "client/remote/remote_client.h"
#include "client/remote/warm.h"
#include "client/snapshot.h"
#include "client/volume/view_impl.h"
#include "core/alloc.h"
#include "sqliteformat/dbheader.h"
#include "sqliteformat/schema.h"

#define HEADER_SIZE 100u

enum ramet_rc
ramet_view_point_parse(const char *text, struct ramet_view_point *out_place,
                       struct ramet_err *err)
{
    struct ramet_view_point place = {.fixed = true};
    const char *p = text;

    while (*p >= '0' && *p <= '9' && place.lsn < UINT64_MAX / 10 - 1)
        place.lsn = place.lsn * 10 + (uint64_t)(*p++ - '0');
    if (*p != '\0' || p == text || place.lsn == 0) {
        place.lsn = 0;
        if (!ramet_time_parse(text, &place.time_ms))
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "at=%.64s: neither an LSN (1, 2, …) nor a time "
                              "such as 2026-11-23T10:00:00Z",
                              text);
    }
    assert(place.fixed);
    *out_place = place;
    return RAMET_OK;
}

/* Stand at `head`. On failure the view is where it was. */
static enum ramet_rc
move_to(struct ramet_view *view, const struct ramet_head *head,
        struct ramet_err *err)
{
    const struct ramet_head before = view->head;
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

    assert(!view->pinned); /* invariant 2 */
    view->head = *head;
    if (head->kind == RAMET_KIND_SQLITE)
        rc = ramet_view_read_bytes(view, 0, snap.header, len, err);
    snap.counter = ramet_dbheader_counter(snap.header);
    if (rc == RAMET_OK)
        view->snapshot = snap;
    else
        view->head = before;
    assert(rc != RAMET_OK || view->snapshot.lsn == view->head.lsn);
    return rc;
}

/* Tell the cache which pages are still right. */
static enum ramet_rc
carry_over(struct ramet_view *view, const struct ramet_head *to,
           struct ramet_pageset *out_changed, struct ramet_err *err)
{
    const struct ramet_point from = ramet_head_point(&view->head);
    const struct ramet_point next = ramet_head_point(to);
    enum ramet_rc rc;

    assert(!view->pinned); /* invariant 2 */
    assert(out_changed != NULL);
    if (view->head.lsn == 0 || view->head.page_size != to->page_size)
        return RAMET_OK;
    rc = ramet_history_changed(view->history, &from, &next, out_changed, err);
    if (rc == RAMET_OK)
        ramet_pagecache_advance(view->cache, &from, &next, out_changed);
    return rc;
}

/* ---- the schema from one LSN to the next ---------------------------------- */

struct schema_reader {
    struct ramet_view *view;
    uint32_t page_count; /* of the new LSN */
};

/* What did not change, and is in the cache, is there for the new LSN. */
static bool
read_cached_page(void *ctx, uint32_t pgno, uint8_t *out)
{
    const struct schema_reader *const r = ctx;
    const struct ramet_head *const head = &r->view->head;
    const struct ramet_point at = ramet_head_point(head);

    assert(pgno > 0);
    return pgno <= head->page_count &&
           ramet_pagecache_get(r->view->cache, &at, pgno, 0, out,
                               head->page_size);
}

/* `before`: page 1 of the LSN that it came from; NULL: not known. */
static bool
keeps_schema(struct ramet_view *view, const uint8_t *before,
             const struct ramet_pageset *changed)
{
    struct schema_reader reader = {view, view->head.page_count};
    uint8_t *after;
    bool same;

    assert(changed != NULL);
    assert(view->snapshot.lsn == view->head.lsn);
    if (before == NULL || view->head.page_count == 0)
        return false;
    after = ramet_alloc(view->head.page_size);
    same = after != NULL &&
           ramet_view_read_bytes(view, 0, after, view->head.page_size, NULL) ==
               RAMET_OK &&
           ramet_schema_is_same(before, after, view->head.page_size, changed,
                                read_cached_page, &reader);
    ramet_free(after);
    return same;
}

/* On to a later commit of the same line. */
static enum ramet_rc
move_on(struct ramet_view *view, const struct ramet_head *head,
        struct ramet_err *err)
{
    const uint64_t schema_seq = view->snapshot.schema_seq;
    const struct ramet_point at = ramet_head_point(&view->head);
    const uint32_t page_size = view->head.page_size;
    struct ramet_pageset changed;
    uint8_t *before = NULL;
    enum ramet_rc rc;

    assert(!view->pinned); /* invariant 2 */
    assert(!view->place.fixed);
    ramet_pageset_init(&changed);
    if (view->head.kind == RAMET_KIND_SQLITE && view->head.page_count != 0 &&
        page_size == head->page_size)
        before = ramet_alloc(page_size);
    if (before != NULL &&
        !ramet_pagecache_get(view->cache, &at, 1, 0, before, page_size)) {
        ramet_free(before);
        before = NULL;
    }
    rc = carry_over(view, head, &changed, err);
    if (rc == RAMET_OK)
        rc = move_to(view, head, err);
    if (rc == RAMET_OK && keeps_schema(view, before, &changed))
        view->snapshot.schema_seq = schema_seq;
    ramet_pageset_done(&changed);
    ramet_free(before);
    return rc;
}

/* Is what the view stands on in the line that ends at `newest`? */
static enum ramet_rc
check_line(struct ramet_view *view, const struct ramet_head *newest,
           struct ramet_err *err)
{
    const struct ramet_point own = ramet_head_point(&view->head);
    struct ramet_head here;
    enum ramet_rc rc = RAMET_EWENTBACK;

    assert(view->history != NULL);
    if (own.lsn == 0)
        return RAMET_OK;
    if (own.lsn <= newest->lsn)
        rc = ramet_history_head_of(view->history, &own, &here, err);
    if (rc != RAMET_EWENTBACK)
        return rc;
    return RAMET_FAIL(err, RAMET_EWENTBACK,
                      "%.200s: the remote went back in time: it is at LSN "
                      "%" PRIu64 " and does not have LSN %" PRIu64
                      " as it was read here; open it anew",
                      ramet_remote_client_text(view->client), newest->lsn,
                      own.lsn);
}

static enum ramet_rc
look(struct ramet_view *view, struct ramet_err *err)
{
    struct ramet_head head;
    enum ramet_rc rc;

    assert(view->client != NULL);
    const uint64_t boot_ms = view->os->boot_ns(view->os->ctx) / 1000000u;

    view->looked_ns = view->os->mono_ns(view->os->ctx);
    rc = ramet_remote_client_newest(view->client, &view->volume, &head, err);
    if (rc == RAMET_OK)
        rc = check_line(view, &head, err);
    if (rc != RAMET_OK)
        return rc;
    view->remote_lsn = head.lsn;
    if (view->place.fixed || view->pinned)
        return RAMET_OK;
    assert(!view->pinned); /* invariant 2 */
    if (head.lsn != view->head.lsn)
        rc = move_on(view, &head, err);
    if (rc == RAMET_OK)
        view->looked_boot_ms = boot_ms;
    return rc;
}

/* What the opening was told was so then: it is no answer any more. */
static enum ramet_rc
look_anew(struct ramet_view *view, struct ramet_err *err)
{
    ramet_remote_client_begin(view->client);
    return look(view, err);
}

/* The first place: a snapshot that was named, or the newest. */
static enum ramet_rc
first_place(struct ramet_view *view, struct ramet_err *err)
{
    struct ramet_head head;
    enum ramet_rc rc;

    assert(!view->pinned);
    assert(view->head.lsn == 0 && view->snapshot.lsn == 0);
    if (!view->place.fixed)
        return look(view, err);
    if (view->place.lsn > 0)
        rc = ramet_history_head(view->history, view->place.lsn, &head, err);
    else
        rc = ramet_history_at_time(view->history, view->place.time_ms, &head,
                                   err);
    if (rc == RAMET_ENOTFOUND || (rc == RAMET_OK && head.lsn == 0)) {
        char when[32];

        ramet_time_format(view->place.time_ms, when);
        if (view->place.lsn > 0)
            return RAMET_FAIL(
                err, RAMET_ENOTFOUND, "%.200s: there is no LSN %" PRIu64,
                ramet_remote_client_text(view->client), view->place.lsn);
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%.200s: there was no commit by %s",
                          ramet_remote_client_text(view->client), when);
    }
    if (rc != RAMET_OK)
        return rc;
    assert(head.lsn > 0); /* invariant 1 */
    view->remote_lsn = head.lsn;
    return move_to(view, &head, err);
}

enum ramet_rc
ramet_view_open(struct ramet_remote_client *client,
                const struct ramet_vid *volume,
                const struct ramet_view_point *place, size_t cache_bytes,
                const struct ramet_os *os, struct ramet_view **out_view,
                struct ramet_err *err)
{
    struct ramet_view *const view = ramet_calloc(1, sizeof(*view));
    enum ramet_rc rc = RAMET_OK;

    if (view == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "view: no memory");
    view->client = ramet_remote_client_ref(client);
    view->os = os;
    view->place = *place;
    view->cache_bytes = cache_bytes > 0 ? cache_bytes : RAMET_VIEW_CACHE_BYTES;
    assert(view->os != NULL);
    assert(view->cache_bytes > 0);
    ramet_remote_client_begin(client); /* as look_anew() */
    if (volume != NULL)
        view->volume = *volume;
    else
        rc = ramet_remote_client_resolve(client, &view->volume, err);
    if (rc == RAMET_OK)
        rc = ramet_remote_client_history(client, &view->volume, &view->history,
                                         err);
    if (rc == RAMET_OK) {
        view->cache =
            ramet_remote_client_cache(client, &view->volume, view->cache_bytes);
        if (view->cache == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "view: no memory");
    }
    if (rc == RAMET_OK)
        rc = ramet_view_join(view, err);
    if (rc == RAMET_OK)
        rc = first_place(view, err);
    if (rc != RAMET_OK) {
        ramet_view_close(view);
        return rc;
    }
    assert(view->pipeline != NULL && view->history != NULL);
    assert(view->snapshot.lsn == view->head.lsn); /* invariant 1 */
    *out_view = view;
    return RAMET_OK;
}

struct ramet_warm *
ramet_view_warm(struct ramet_view *view, const char *profile, bool may_keep)
{
    assert(profile != NULL);
    assert(view->pipeline != NULL);
    return view->head.lsn == 0
               ? NULL
               : ramet_warm_begin(view->client, view->pipeline, &view->volume,
                                  &view->head, profile, may_keep);
}

enum ramet_rc
ramet_view_prefetch(struct ramet_view *view,
                    const struct ramet_question *question, uint64_t *out_pages,
                    struct ramet_err *err)
{
    assert(question != NULL);
    assert(view->pipeline != NULL);
    *out_pages = 0;
    return view->head.lsn == 0
               ? RAMET_OK
               : ramet_warm_ask(view->client, view->pipeline, &view->volume,
                                &view->head, question, out_pages, err);
}

void
ramet_view_close(struct ramet_view *view)
{
    if (view == NULL)
        return;
    assert(view->pipeline == NULL || view->keeper.ctx == view);
    if (view->pipeline != NULL)
        ramet_pipeline_leave(view->pipeline, &view->keeper);
    ramet_remote_client_close(view->client);
    ramet_free(view);
}

enum ramet_rc
ramet_view_pin(struct ramet_view *view, struct ramet_err *err)
{
    const uint64_t now = view->os->mono_ns(view->os->ctx);
    enum ramet_rc rc = RAMET_OK;

    assert(!view->pinned);
    if (!view->place.fixed &&
        now - view->looked_ns >= RAMET_VIEW_LOOK_MS * 1000000ull)
        rc = look_anew(view, err);
    if (rc == RAMET_EUNREACHABLE || rc == RAMET_ETIMEOUT)
        rc = RAMET_OK; /* it stays where it was */
    view->pinned = rc == RAMET_OK;
    return rc;
}

void
ramet_view_unpin(struct ramet_view *view)
{
    view->pinned = false;
}

const struct ramet_snapshot *
ramet_view_snapshot(struct ramet_view *view)
{
    assert(view->snapshot.lsn == view->head.lsn); /* invariant 1 */
    return &view->snapshot;
}

enum ramet_rc
ramet_view_read(struct ramet_view *view, uint64_t offset, void *buf, size_t len,
                size_t *out_got, struct ramet_err *err)
{
    const uint64_t length = view->head.byte_length;
    size_t got = 0;
    enum ramet_rc rc = RAMET_OK;

    assert(view->pinned);
    assert(buf != NULL || len == 0);
    if (offset < length)
        got = len < length - offset ? len : (size_t)(length - offset);
    if (got > 0)
        rc = ramet_view_read_bytes(view, offset, buf, got, err);
    assert(got <= len);
    if (rc != RAMET_OK)
        return rc;
    if (got < len)
        memset((uint8_t *)buf + got, 0, len - got);
    assert(view->pinned && length == view->head.byte_length); /* invariant 2 */
    *out_got = got;
    return RAMET_OK;
}

uint64_t
ramet_view_looked_boot_ms(const struct ramet_view *view)
{
    return view->looked_boot_ms;
}

const struct ramet_head *
ramet_view_head(const struct ramet_view *view)
{
    return &view->head;
}

const struct ramet_vid *
ramet_view_volume(const struct ramet_view *view)
{
    return &view->volume;
}

struct ramet_remote_client *
ramet_view_client(struct ramet_view *view)
{
    return view->client;
}

uint64_t
ramet_view_remote_lsn(const struct ramet_view *view)
{
    assert(view->remote_lsn >= view->head.lsn);
    return view->remote_lsn;
}

enum ramet_rc
ramet_view_fetch(struct ramet_view *view, struct ramet_err *err)
{
    return look_anew(view, err);
}
