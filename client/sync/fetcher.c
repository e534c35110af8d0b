/*
 * fetcher.c - see fetcher.h.
 *
 *   (1) flights never overlap: a page of one commit is in at most one of them
 *   (2) a flight's pages are written by its leader alone, before `done` is
 *       set under the mutex, and read by the others after
 *   (3) a flight lives until its leader and all who waited for it have left
 *   (4) a flight's pages are in the replica before it leaves the list: who
 *       finds neither a flight nor the page there, and no flight landed in
 *       between, is the first to miss it
 *
 * Layer: client.
 */
#include "client/sync/fetcher.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "client/remote/meter.h"
#include "client/remote/readahead.h"
#include "client/remote/source.h"
#include "client/store/store.h"
#include "client/sync/link.h"
#include "core/alloc.h"

struct flight {
    struct flight *next;
    struct ramet_point at;
    uint32_t first;
    uint32_t count;
    uint32_t page_size;
    unsigned refs;
    bool done;
    enum ramet_rc rc; /* once done */
    struct ramet_err err;
    uint64_t arrived; /* bit i: page first + i */
    uint8_t *pages;
    struct ramet_fetch *sink; /* the leader's */
    uint64_t delivered;
};

static_assert(RAMET_FLIGHT_PAGES <= 64, "struct flight has a bit for each");

struct ramet_page_fetcher {
    struct ramet_link *link;
    struct ramet_mutex mutex;
    struct ramet_cond landed;
    struct flight *flights;
    uint64_t landings; /* counted, for invariant (4) */
    struct ramet_readahead readahead;
};

static void
flight_free(struct flight *flight)
{
    if (flight == NULL)
        return;
    ramet_free(flight->pages);
    ramet_free(flight);
}

struct ramet_page_fetcher *
ramet_page_fetcher_new(struct ramet_link *link)
{
    struct ramet_page_fetcher *const fetcher =
        ramet_calloc(1, sizeof(*fetcher));

    if (fetcher == NULL)
        return NULL;
    fetcher->link = link;
    ramet_mutex_init(&fetcher->mutex);
    ramet_cond_init(&fetcher->landed);
    return fetcher;
}

void
ramet_page_fetcher_free(struct ramet_page_fetcher *fetcher)
{
    if (fetcher == NULL)
        return;
    assert(fetcher->flights == NULL);
    ramet_cond_done(&fetcher->landed);
    ramet_mutex_done(&fetcher->mutex);
    ramet_free(fetcher);
}

/* The flight that brings `pgno`. Needs the mutex. */
static struct flight *
find_flight(const struct ramet_page_fetcher *fetcher,
            const struct ramet_point *at, uint32_t pgno)
{
    for (struct flight *f = fetcher->flights; f != NULL; f = f->next)
        if (ramet_point_equal(&f->at, at) && pgno >= f->first &&
            pgno - f->first < f->count)
            return f;
    return NULL;
}

/* How far from `pgno` the next flight of this commit is away. Needs the mutex. */
static uint32_t
clear_ahead(const struct ramet_page_fetcher *fetcher,
            const struct ramet_point *at, uint32_t pgno, uint32_t count)
{
    for (const struct flight *f = fetcher->flights; f != NULL; f = f->next)
        if (ramet_point_equal(&f->at, at) && f->first > pgno &&
            f->first - pgno < count)
            count = f->first - pgno;
    return count;
}

/* Needs the mutex; the flight is out of the list already. */
static void
flight_leave(struct flight *flight)
{
    assert(flight->refs > 0);
    if (--flight->refs == 0)
        flight_free(flight);
}

/* A flight from `pgno` on, in the list. Needs the mutex. */
static struct flight *
begin_flight(struct ramet_page_fetcher *fetcher, const struct ramet_head *head,
             uint32_t pgno, struct ramet_fetch *sink)
{
    const struct ramet_point at = ramet_head_point(head);
    const uint32_t by_bytes = RAMET_FLIGHT_BYTES / head->page_size;
    uint32_t max =
        by_bytes < RAMET_FLIGHT_PAGES ? by_bytes : RAMET_FLIGHT_PAGES;
    struct flight *flight;

    assert(pgno <= head->page_count);
    if (max > head->page_count - pgno + 1)
        max = head->page_count - pgno + 1;
    max = clear_ahead(fetcher, &at, pgno, max);
    flight = ramet_calloc(1, sizeof(*flight));
    if (flight == NULL)
        return NULL;
    flight->count = ramet_readahead_miss(&fetcher->readahead, pgno, max);
    flight->pages = ramet_alloc((size_t)flight->count * head->page_size);
    if (flight->pages == NULL) {
        flight_free(flight);
        return NULL;
    }
    flight->at = at;
    flight->first = pgno;
    flight->page_size = head->page_size;
    flight->sink = sink;
    flight->refs = 1;
    flight->next = fetcher->flights;
    fetcher->flights = flight;
    return flight;
}

static void
end_flight(struct ramet_page_fetcher *fetcher, struct flight *flight,
           enum ramet_rc rc, const struct ramet_err *err)
{
    ramet_mutex_lock(&fetcher->mutex);
    for (struct flight **f = &fetcher->flights; *f != NULL; f = &(*f)->next)
        if (*f == flight) {
            *f = flight->next;
            break;
        }
    flight->rc = rc;
    flight->err = *err;
    flight->done = true;
    fetcher->landings++;
    ramet_cond_broadcast(&fetcher->landed);
    flight_leave(flight);
    ramet_mutex_unlock(&fetcher->mutex);
}

static enum ramet_rc
land_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct flight *const flight = ctx;
    const uint32_t index = pgno - flight->first;

    flight->delivered++;
    if (pgno >= flight->first && index < flight->count) {
        memcpy(flight->pages + (size_t)index * flight->page_size, page,
               flight->page_size);
        flight->arrived |= (uint64_t)1 << index;
    }
    return ramet_fetch_deliver(flight->sink, pgno, page, err);
}

static enum ramet_rc
name_page(const struct ramet_page_fetcher *fetcher, uint64_t lsn, uint32_t pgno,
          enum ramet_rc rc, const struct ramet_err *cause,
          struct ramet_err *err)
{
    return RAMET_FAIL(err, rc,
                      "%.120s: page %" PRIu32 " is not here, and remote %.120s "
                      "(LSN %" PRIu64 "): %.200s",
                      fetcher->link->path, pgno,
                      ramet_source_text(ramet_link_source(fetcher->link)), lsn,
                      cause->text);
}

static enum ramet_rc
fly(struct ramet_page_fetcher *fetcher, const struct ramet_vid *volume,
    struct flight *flight, struct ramet_err *err)
{
    uint32_t pgnos[RAMET_FLIGHT_PAGES];
    enum ramet_rc rc;

    for (uint32_t i = 0; i < flight->count; i++)
        pgnos[i] = flight->first + i;
    rc = ramet_source_read_pages(ramet_link_source(fetcher->link), volume,
                                 &flight->at, pgnos, flight->count, true,
                                 land_page, flight, err);
    atomic_fetch_add(&fetcher->link->fetched_pages, flight->delivered);
    return rc;
}

/* Wait for somebody else's flight and take the page from it. Called with the
 * mutex held, and a reference on the flight; returns with neither. */
static enum ramet_rc
ride_along(struct ramet_page_fetcher *fetcher, struct flight *flight,
           uint32_t pgno, struct ramet_fetch *sink, struct ramet_err *err)
{
    const struct ramet_os *const os = fetcher->link->os;
    const uint64_t timeout_ms = fetcher->link->fetch_timeout_ms;
    const uint64_t began_ns = os->mono_ns(os->ctx);
    const uint32_t index = pgno - flight->first;
    uint64_t waited_ms = 0;
    enum ramet_rc rc;

    while (!flight->done && waited_ms < timeout_ms) {
        ramet_cond_wait_ms(&fetcher->landed, &fetcher->mutex,
                           timeout_ms - waited_ms);
        waited_ms = (os->mono_ns(os->ctx) - began_ns) / 1000000;
    }
    rc = flight->done ? flight->rc : RAMET_ETIMEOUT;
    if (rc == RAMET_ETIMEOUT && !flight->done)
        rc = RAMET_FAIL(err, RAMET_ETIMEOUT,
                        "%.200s: page %" PRIu32 " did not come from %.200s in "
                        "%" PRIu64 " ms",
                        fetcher->link->path, pgno,
                        ramet_source_text(ramet_link_source(fetcher->link)),
                        timeout_ms);
    else if (rc != RAMET_OK && err != NULL)
        *err = flight->err;
    ramet_mutex_unlock(&fetcher->mutex);
    if (rc == RAMET_OK) {
        assert(flight->arrived >> index & 1);
        rc = ramet_fetch_deliver(
            sink, pgno, flight->pages + (size_t)index * flight->page_size, err);
    }
    ramet_mutex_lock(&fetcher->mutex);
    flight_leave(flight);
    ramet_mutex_unlock(&fetcher->mutex);
    return rc;
}

/* What the remote says of `at`, unless the breaker is open. */
static enum ramet_rc
look_at(struct ramet_page_fetcher *fetcher, const struct ramet_point *at,
        struct ramet_vid *out_volume, struct ramet_head *out_head,
        struct ramet_err *err)
{
    struct ramet_source *const source = ramet_link_source(fetcher->link);
    struct ramet_history *history = NULL;
    enum ramet_rc rc;

    if (source == NULL || !ramet_link_volume(fetcher->link, out_volume))
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "%s: a page is not here, and no remote is known to "
                          "have it",
                          fetcher->link->path);
    rc = ramet_meter_check(ramet_source_meter(source), err);
    if (rc == RAMET_OK)
        rc = ramet_source_history(source, out_volume, &history, err);
    if (rc == RAMET_OK)
        rc = ramet_history_head_of(history, at, out_head, err);
    return rc;
}

/* The page if it came meanwhile, or somebody else's flight that brings it; if
 * neither, the caller is the first to miss it, by invariant (4). Needs the
 * mutex, of which it lets go to look. */
static enum ramet_rc
look_again(struct ramet_page_fetcher *fetcher, const struct ramet_point *at,
           uint32_t pgno, struct ramet_fetch *sink, bool *out_here,
           struct flight **out_flight, struct ramet_err *err)
{
    uint64_t looked_at = UINT64_MAX;
    enum ramet_rc rc = RAMET_OK;

    *out_here = false;
    *out_flight = find_flight(fetcher, at, pgno);
    while (rc == RAMET_OK && !*out_here && *out_flight == NULL &&
           looked_at != fetcher->landings) {
        looked_at = fetcher->landings;
        ramet_mutex_unlock(&fetcher->mutex);
        rc = ramet_fetch_look_again(sink, out_here, err);
        ramet_mutex_lock(&fetcher->mutex);
        *out_flight = find_flight(fetcher, at, pgno);
    }
    return rc;
}

static enum ramet_rc
fetch(struct ramet_page_fetcher *fetcher, const struct ramet_point *at,
      uint32_t pgno, struct ramet_fetch *sink, struct ramet_err *err)
{
    struct ramet_vid volume;
    struct ramet_head head;
    struct flight *flight;
    enum ramet_rc rc;
    bool is_here;

    rc = look_at(fetcher, at, &volume, &head, err);
    if (rc != RAMET_OK)
        return rc;
    if (pgno > head.page_count)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "there are only %" PRIu32 " pages", head.page_count);
    ramet_mutex_lock(&fetcher->mutex);
    rc = look_again(fetcher, at, pgno, sink, &is_here, &flight, err);
    if (rc == RAMET_OK && !is_here && flight != NULL) {
        flight->refs++;
        return ride_along(fetcher, flight, pgno, sink, err);
    }
    if (rc == RAMET_OK && !is_here)
        flight = begin_flight(fetcher, &head, pgno, sink);
    ramet_mutex_unlock(&fetcher->mutex);
    if (rc != RAMET_OK || is_here)
        return rc;
    if (flight == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory");
    rc = fly(fetcher, &volume, flight, err);
    end_flight(fetcher, flight, rc, err);
    return rc;
}

enum ramet_rc
ramet_page_fetcher_run(void *ctx, const struct ramet_point *at, uint32_t pgno,
                       struct ramet_fetch *sink, struct ramet_err *err)
{
    struct ramet_page_fetcher *const fetcher = ctx;
    struct ramet_err cause = {.code = RAMET_OK};
    enum ramet_rc rc;

    assert(pgno >= 1);
    if (ramet_link_source(fetcher->link) == NULL)
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "%s: page %" PRIu32 " is not here, and the remote is "
                          "not known",
                          fetcher->link->path, pgno);
    rc = fetch(fetcher, at, pgno, sink, &cause);
    return rc == RAMET_OK ? rc
                          : name_page(fetcher, at->lsn, pgno, rc, &cause, err);
}
