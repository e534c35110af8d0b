/*
 * place_order.c - see place_order.h.
 *
 * Layer: metastore.
 */
#include "metastore/place_order.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/head_cache.h"

#define LOCATED_AT_ONCE 256u

struct place {
    enum ramet_object_kind kind;
    uint32_t pgno;
    struct ramet_sid segment;
    uint64_t lsn;
    uint64_t offset_bytes;
};

static int
compare_places(const void *left, const void *right)
{
    const struct place *const a = left;
    const struct place *const b = right;
    int order = (int)a->kind - (int)b->kind;

    if (order == 0)
        order = ramet_id_compare(&a->segment.id, &b->segment.id);
    if (order == 0)
        order = (a->lsn > b->lsn) - (a->lsn < b->lsn);
    if (order == 0)
        order = (a->offset_bytes > b->offset_bytes) -
                (a->offset_bytes < b->offset_bytes);
    return order != 0 ? order : (a->pgno > b->pgno) - (a->pgno < b->pgno);
}

/* A page of zeros lies nowhere, and comes first. */
static struct place
place_of(uint32_t pgno, const struct ramet_located *located)
{
    const struct ramet_extent *const extent = &located->image.extent;

    assert(pgno >= 1);
    if (located->image.page_count == 0)
        return (struct place){.pgno = pgno};
    return (struct place){extent->kind, pgno, extent->segment, extent->lsn,
                          extent->offset_bytes};
}

bool
ramet_history_reads_ranges(const struct ramet_history *history)
{
    return (history->store->traits & RAMET_STORE_SENDS_AHEAD) == 0;
}

enum ramet_rc
ramet_history_sort_by_place(struct ramet_history *history,
                            const struct ramet_point *at, uint32_t *io_pgnos,
                            size_t count, struct ramet_err *err)
{
    struct place *const places = ramet_alloc(count * sizeof(*places) + 1);
    struct ramet_located *const located =
        ramet_alloc(LOCATED_AT_ONCE * sizeof(*located));
    enum ramet_rc rc = RAMET_OK;

    assert(io_pgnos != NULL || count == 0);
    if (places == NULL || located == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "order of %zu pages", count);
    for (size_t i = 0; rc == RAMET_OK && i < count; i += LOCATED_AT_ONCE) {
        const size_t n =
            count - i < LOCATED_AT_ONCE ? count - i : LOCATED_AT_ONCE;

        memset(located, 0, n * sizeof(*located));
        rc = ramet_history_locate(history, at, io_pgnos + i, n, located, err);
        for (size_t j = 0; rc == RAMET_OK && j < n; j++)
            places[i + j] = place_of(io_pgnos[i + j], &located[j]);
    }
    if (rc == RAMET_OK && count > 1)
        qsort(places, count, sizeof(*places), compare_places);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++)
        io_pgnos[i] = places[i].pgno;
    ramet_free(located);
    ramet_free(places);
    return rc;
}
