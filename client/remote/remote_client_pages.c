/*
 * remote_client_pages.c - pages of one LSN, as the remote brings them itself, and
 * the rest through the history.
 *
 * Layer: client.
 */
#include "client/remote/remote_client_impl.h"

#include <assert.h>
#include <stdlib.h>

#include "client/remote/meter.h"
#include "client/remote/remote.h"
#include "core/alloc.h"

/* Pages on their way to the caller, and which of the wanted ones were given. */
struct reading {
    struct ramet_meter *meter;
    const uint32_t *pgnos; /* in the order wanted */
    size_t count;
    struct wanted *wanted; /* ascending */
    size_t given;
    bool want_extra;
    ramet_remote_client_visit *visit;
    void *ctx;
};

struct wanted {
    uint32_t pgno;
    bool given;
};

static int
compare_wanted(const void *left, const void *right)
{
    const uint32_t a = ((const struct wanted *)left)->pgno;
    const uint32_t b = ((const struct wanted *)right)->pgno;

    return a < b ? -1 : a > b;
}

static struct wanted *
find_wanted(const struct reading *r, uint32_t pgno)
{
    const struct wanted key = {.pgno = pgno};

    return bsearch(&key, r->wanted, r->count, sizeof(key), compare_wanted);
}

/* Each wanted page once, in whatever ways it comes. */
static enum ramet_rc
give_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct reading *const r = ctx;
    struct wanted *const wanted = find_wanted(r, pgno);

    /* Who is woken by it may ask for the next one before the answer ends. */
    if (atomic_load(&r->meter->offline))
        ramet_meter_note(r->meter, RAMET_OK, NULL);
    if (wanted == NULL && !r->want_extra)
        return RAMET_OK;
    if (wanted != NULL && wanted->given)
        return RAMET_OK;
    if (wanted != NULL) {
        wanted->given = true;
        r->given++;
    }
    return r->visit(r->ctx, pgno, page, err);
}

/* What was not given yet, in the order wanted. */
static size_t
list_left(const struct reading *r, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < r->count; i++) {
        const struct wanted *const wanted = find_wanted(r, r->pgnos[i]);

        assert(wanted != NULL);
        if (!wanted->given)
            out[count++] = r->pgnos[i];
    }
    return count;
}

static size_t
list_left_ascending(const struct reading *r, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < r->count; i++)
        if (!r->wanted[i].given)
            out[count++] = r->wanted[i].pgno;
    return count;
}

/* As far as the remote brings them. */
static enum ramet_rc
bring(struct ramet_remote_client *client, const struct ramet_vid *volume,
      const struct ramet_point *at, struct reading *r, uint32_t *left,
      struct ramet_err *err)
{
    struct ramet_remote *const remote = ramet_remote_client_remote(client);
    struct ramet_err own;
    size_t given;
    enum ramet_rc rc;

    if (remote->ops->bring == NULL)
        return RAMET_OK;
    if (err == NULL)
        err = &own;
    do {
        const size_t count = list_left(r, left);

        if (count == 0)
            return RAMET_OK;
        given = r->given;
        rc = remote->ops->bring(remote, volume, at, left, count, r->want_extra,
                                give_page, r, err);
    } while (rc == RAMET_OK && r->given > given);
    if (rc == RAMET_EUNREACHABLE || rc == RAMET_ETIMEOUT ||
        (rc == RAMET_OK && r->given > 0))
        ramet_meter_note(&client->meter, rc, err);
    return rc;
}

enum ramet_rc
ramet_remote_client_read_pages(struct ramet_remote_client *client,
                               const struct ramet_vid *volume,
                               const struct ramet_point *at,
                               const uint32_t *pgnos, size_t pgno_count,
                               bool want_extra,
                               ramet_remote_client_visit *visit, void *ctx,
                               struct ramet_err *err)
{
    struct reading r = {.meter = &client->meter,
                        .pgnos = pgnos,
                        .count = pgno_count,
                        .want_extra = want_extra,
                        .visit = visit,
                        .ctx = ctx};
    struct ramet_history *history = NULL;
    uint32_t *left = NULL;
    enum ramet_rc rc =
        ramet_remote_client_history(client, volume, &history, err);

    if (rc != RAMET_OK || pgno_count == 0)
        return rc;
    r.wanted = ramet_calloc(pgno_count, sizeof(*r.wanted));
    left = ramet_alloc(pgno_count * sizeof(*left));
    if (r.wanted == NULL || left == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%zu pages: no memory", pgno_count);
        goto done;
    }
    for (size_t i = 0; i < pgno_count; i++)
        r.wanted[i].pgno = pgnos[i];
    qsort(r.wanted, pgno_count, sizeof(*r.wanted), compare_wanted);
    rc = bring(client, volume, at, &r, left, err);
    if (rc == RAMET_OK && r.given < r.count)
        rc = ramet_history_read_pages(history, at, left,
                                      list_left_ascending(&r, left), want_extra,
                                      give_page, &r, err);

done:
    ramet_free(left);
    ramet_free(r.wanted);
    return rc;
}
