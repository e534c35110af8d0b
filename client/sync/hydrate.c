/*
 * hydrate.c - bring every page that is not here.
 *
 * Layer: client.
 */
#include <assert.h>
#include <inttypes.h>

#include "client/remote/source.h"
#include "client/snapshot.h"
#include "client/store/store.h"
#include "client/sync/sync.h"
#include "core/alloc.h"

/* Per round: few requests, and memory that does not grow with the volume. */
#define BATCH_PAGES 512u
#define BATCH_BYTES (4u << 20)

struct fill {
    struct ramet_sync *sync;
    struct ramet_point at;
    uint64_t filled;
};

static enum ramet_rc
fill_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct fill *const fill = ctx;

    fill->filled++;
    return ramet_session_fill(fill->sync->session, &fill->at, pgno, page, err);
}

static void
list_pages(const struct ramet_pageset *set, uint32_t *out)
{
    for (size_t i = 0; i < set->run_count; i++)
        for (uint64_t p = set->runs[i].first; p <= set->runs[i].last; p++)
            *out++ = (uint32_t)p;
}

/* Bring the absent pages behind `*after`, a batch of them; *out_got 0: there
 * is none left. */
static enum ramet_rc
fill_batch(struct ramet_sync *sync, uint32_t *pgnos, size_t max,
           uint32_t *after, uint64_t *out_got, struct ramet_err *err)
{
    const struct ramet_snapshot *const snap =
        ramet_session_snapshot(sync->session);
    struct fill fill = {.sync = sync, .at = ramet_snapshot_point(snap)};
    struct ramet_pageset absent;
    uint64_t count;
    enum ramet_rc rc;

    ramet_pageset_init(&absent);
    rc = ramet_session_absent(sync->session, *after, max, &absent, err);
    count = rc == RAMET_OK ? ramet_pageset_count(&absent) : 0;
    assert(count <= max);
    if (count > 0) {
        list_pages(&absent, pgnos);
        *after = pgnos[count - 1];
        rc = ramet_source_read_pages(sync->source, &sync->volume, &fill.at,
                                     pgnos, (size_t)count, false, fill_page,
                                     &fill, err);
        atomic_fetch_add(&sync->link->fetched_pages, fill.filled);
        sync->result.pages += fill.filled;
    }
    ramet_pageset_done(&absent);
    *out_got = count;
    return rc == RAMET_OK && count > 0 ? ramet_sync_step(sync, count, err) : rc;
}

/* All absent pages of the newest snapshot, of *out_lsn; *out_got counts them. */
static enum ramet_rc
fill_all(struct ramet_sync *sync, uint32_t *pgnos, uint64_t *out_lsn,
         uint64_t *out_got, struct ramet_err *err)
{
    uint64_t spent_ms = 0;
    uint32_t after = 0;
    uint64_t got = 0;
    size_t max;
    enum ramet_rc rc;

    do
        rc = ramet_session_pin(sync->session, err);
    while (rc == RAMET_EBUSY && ramet_sync_retry(sync, &spent_ms));
    if (rc != RAMET_OK)
        return rc;
    *out_lsn = ramet_session_snapshot(sync->session)->lsn;
    *out_got = 0;
    max = BATCH_PAGES;
    if (ramet_session_snapshot(sync->session)->page_size > 0)
        max = BATCH_BYTES / ramet_session_snapshot(sync->session)->page_size;
    if (max > BATCH_PAGES)
        max = BATCH_PAGES;
    do {
        rc = fill_batch(sync, pgnos, max, &after, &got, err);
        *out_got += got;
    } while (rc == RAMET_OK && got > 0);
    ramet_session_unpin(sync->session);
    return rc;
}

/* A pull in between leaves pages absent at the newest snapshot: again until a
 * whole round finds nothing. What a round brought and the next one mostly misses
 * again, at the same LSN, does not stay here. */
static enum ramet_rc
fill_until_whole(struct ramet_sync *sync, uint32_t *pgnos,
                 struct ramet_err *err)
{
    uint64_t lsn_before = 0;
    uint64_t got_before = 0;
    uint64_t lsn = 0;
    uint64_t got = 0;
    enum ramet_rc rc;

    for (;;) {
        rc = fill_all(sync, pgnos, &lsn, &got, err);
        if (rc != RAMET_OK || got == 0)
            return rc;
        if (lsn == lsn_before && got > got_before / 2)
            return RAMET_FAIL(err, RAMET_EBUSY,
                              "%s: %" PRIu64 " pages were brought and did not "
                              "stay; raise cache_limit, or try again when "
                              "programs that read old snapshots are done",
                              sync->link->path, got);
        lsn_before = lsn;
        got_before = got;
    }
}

enum ramet_rc
ramet_sync_hydrate(struct ramet_sync *sync, struct ramet_err *err)
{
    const struct ramet_replica_state *const state = sync->state;
    uint32_t *pgnos = NULL;
    enum ramet_rc rc;

    if (state->whole)
        return RAMET_OK;
    if (!ramet_session_can_keep(sync->session))
        return RAMET_FAIL(err, RAMET_EREADONLY,
                          "%s: can't be written, so pages that are brought "
                          "can't be kept; they come as they are read",
                          sync->link->path);
    rc = ramet_sync_connect(sync, err);
    if (rc != RAMET_OK)
        return rc;
    if (state->newest.page_count > state->held_pages)
        sync->report.pages_total +=
            state->newest.page_count - state->held_pages;
    pgnos = ramet_alloc(BATCH_PAGES * sizeof(*pgnos));
    if (pgnos == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "hydrate: no memory");
    rc = fill_until_whole(sync, pgnos, err);
    ramet_free(pgnos);
    return rc == RAMET_OK ? ramet_sync_look(sync, err) : rc;
}
