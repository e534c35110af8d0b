/*
 * pulled_schema.c - does the schema stay as it was over a pull?
 */
#include "client/store/session/pulled_schema.h"

#include <assert.h>

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/page/version.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"
#include "sqliteformat/schema.h"

struct schema_reader {
    struct ramet_session *writer; /* at the snapshot before */
    uint32_t page_count;          /* after */
};

static bool
read_held_page(void *ctx, uint32_t pgno, uint8_t *out)
{
    const struct schema_reader *const r = ctx;
    const struct ramet_snapshot *const s = &r->writer->pin.snapshot;
    struct ramet_page_version version;

    assert(pgno >= 1 && r->writer->is_pinned);
    return pgno <= r->page_count && pgno <= s->page_count &&
           ramet_read_version(r->writer, s->tail, s->page_size, pgno, out,
                              &version, NULL) == RAMET_OK &&
           version.kind != RAMET_ENTRY_ABSENT &&
           version.kind != RAMET_ENTRY_REMOTE;
}

bool
ramet_pull_keeps_schema(struct ramet_session *writer,
                        const struct ramet_remote_point *point,
                        const struct ramet_pageset *changed,
                        const uint8_t *page1)
{
    const struct ramet_snapshot *const s = &writer->pin.snapshot;
    struct schema_reader reader = {writer, point->page_count};
    uint8_t *before;
    bool same;

    assert(ramet_holds(writer, RAMET_LOCK_WRITE) && writer->is_pinned);
    if (page1 == NULL || s->page_size != point->page_size)
        return false;
    before = ramet_alloc(s->page_size);
    same = before != NULL && read_held_page(&reader, 1, before) &&
           ramet_schema_is_same(before, page1, s->page_size, changed,
                                read_held_page, &reader);
    ramet_free(before);
    return same;
}
