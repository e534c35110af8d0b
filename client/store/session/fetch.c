/*
 * fetch.c - pages that are not here: asked of the remote, and kept where they
 * are right for whoever may read them.
 */
#include "client/store/session/fetch.h"

#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/page/fetched.h"
#include "client/store/page/placed.h"
#include "client/store/page/retained.h"
#include "client/store/page/version.h"
#include "client/store/shared/base.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/mark.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "client/store/upkeep/checkpoint.h"
#include "client/store/upkeep/maintenance.h"
#include "core/bytes.h"

#define DELIVER_WAIT_MS 200u

struct ramet_page_request {
    struct ramet_session *session;
    struct ramet_pos tail;
    struct ramet_point at;
    uint32_t page_size;
    uint32_t pgno;
    struct ramet_entry
        entry; /* that of `pgno`, if a fetched page may replace it; or 0 */
    uint8_t *out;
    bool is_alone; /* what is here does not count, and nothing is kept */
    bool got_it;
};

static enum ramet_rc
deliver(struct ramet_page_request *sink, uint32_t pgno, const uint8_t *page,
        struct ramet_err *err)
{
    struct ramet_session *const session = sink->session;
    struct ramet_entry entry = sink->entry;
    struct ramet_retained_version found;
    enum ramet_rc rc;

    assert(atomic_load(&session->epoch) != 0); /* for what is looked up */
    assert(pgno >= 1 && ramet_page_size_ok(sink->page_size));
    if (pgno == sink->pgno) {
        memcpy(sink->out, page, sink->page_size);
        sink->got_it = true;
    } else if (sink->is_alone) {
        return RAMET_OK;
    } else {
        rc = ramet_index_load(session, pgno, &entry, err);
        if (rc != RAMET_OK)
            return rc;
        if (!ramet_entry_is_absent(entry) ||
            (ramet_entry_in_log(entry) &&
             !ramet_pos_before(ramet_entry_pos(entry), sink->tail)))
            return RAMET_OK; /* not wanted, or not this version of it */
        rc = ramet_retained_find(session->replica, sink->tail, sink->page_size,
                                 pgno, NULL, &found, err);
        if (rc != RAMET_OK || found.kind != RAMET_ENTRY_NONE)
            return rc;
    }
    if (ramet_entry_is_none(entry))
        return RAMET_OK;
    rc = ramet_fetched_keep(session,
                            &(const struct ramet_fetched_page){
                                .pgno = pgno, .expected = entry, .page = page},
                            1, &sink->at, sink->page_size, false,
                            DELIVER_WAIT_MS, err);
    /* A page that can't be kept was still had. */
    return rc == RAMET_ENOMEM ? rc : RAMET_OK;
}

enum ramet_rc
ramet_fetch_deliver(struct ramet_page_request *sink, uint32_t pgno,
                    const uint8_t *page, struct ramet_err *err)
{
    const bool entered = ramet_epoch_enter(sink->session);
    const enum ramet_rc rc = deliver(sink, pgno, page, err);

    ramet_epoch_leave(sink->session, entered);
    return rc;
}

static enum ramet_rc
look_again(struct ramet_page_request *sink, uint8_t *out_page, bool *out_here,
           struct ramet_err *err)
{
    struct ramet_page_version version;
    enum ramet_rc rc;

    assert(sink->pgno >= 1);
    *out_here = false;
    if (sink->is_alone)
        return RAMET_OK;
    rc = ramet_read_version(sink->session, sink->tail, sink->page_size,
                            sink->pgno, sink->out, &version, err);
    if (rc != RAMET_OK)
        return rc;
    sink->got_it = !ramet_version_is_elsewhere(&version) ||
                   ramet_placed_read(sink->session, sink->pgno, version.found,
                                     sink->page_size, sink->out);
    if (sink->got_it)
        memcpy(out_page, sink->out, sink->page_size);
    *out_here = sink->got_it;
    return RAMET_OK;
}

enum ramet_rc
ramet_fetch_look_again(struct ramet_page_request *sink, uint8_t *out_page,
                       bool *out_here, struct ramet_err *err)
{
    const bool entered = ramet_epoch_enter(sink->session);
    const enum ramet_rc rc = look_again(sink, out_page, out_here, err);

    ramet_epoch_leave(sink->session, entered);
    return rc;
}

/* What a page at the pinned LSN is asked for with. */
static struct ramet_page_request
make_sink(struct ramet_session *session, uint32_t pgno, uint8_t *out)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;

    assert(session->is_pinned && pgno >= 1);
    return (struct ramet_page_request){.session = session,
                                       .tail = s->tail,
                                       .at = ramet_snapshot_point(s),
                                       .page_size = s->page_size,
                                       .pgno = pgno,
                                       .out = out};
}

/* Who waits for the remote is in no epoch, but for a writer. */
static enum ramet_rc
ask_fetcher(struct ramet_page_request *sink, struct ramet_err *err)
{
    struct ramet_replica *const replica = sink->session->replica;
    const uint32_t pgno = sink->pgno;
    ramet_fetcher *fetcher;
    void *ctx;
    enum ramet_rc rc;

    assert(sink->out != NULL && !sink->got_it);
    ramet_mutex_lock(&replica->mutex);
    fetcher = replica->fetcher;
    ctx = replica->fetcher_ctx;
    ramet_mutex_unlock(&replica->mutex);
    if (fetcher == NULL)
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "%s: page %u is not here, and there is no remote to "
                          "ask",
                          replica->path, pgno);
    assert(atomic_load(&sink->session->epoch) == 0 ||
           sink->session->is_reserved);
    rc = fetcher(ctx, &sink->at, pgno, sink, err);
    if (rc == RAMET_OK && !sink->got_it)
        rc = RAMET_FAIL(err, RAMET_EUNREACHABLE,
                        "%s: the remote did not give page %u", replica->path,
                        pgno);
    return rc;
}

enum ramet_rc
ramet_fetch_page(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                 const struct ramet_page_version *version,
                 struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    struct ramet_page_request sink = make_sink(session, pgno, out);

    assert(session->is_pinned && ramet_version_is_elsewhere(version));
    if (pgno > s->remote_page_count) {
        memset(out, 0, s->page_size);
        return RAMET_OK;
    }
    if (ramet_entry_same(version->found, version->top) &&
        ramet_entry_is_absent(version->top))
        sink.entry = version->top;
    return ask_fetcher(&sink, err);
}

enum ramet_rc
ramet_fetch_alone(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                  struct ramet_err *err)
{
    struct ramet_page_request sink = make_sink(session, pgno, out);

    assert(session->is_pinned && pgno <= session->pin.snapshot.page_count);
    sink.is_alone = true;
    return ask_fetcher(&sink, err);
}

/* As many as go together at a time. */
static enum ramet_rc
append_all(struct ramet_replica *replica,
           const struct ramet_fetched_page *pages, size_t count,
           const struct ramet_point *at, uint32_t page_size,
           struct ramet_err *err)
{
    const size_t fits = RAMET_FETCHED_RUN_BYTES / page_size;
    const size_t most = fits < RAMET_FETCHED_RUN ? fits : RAMET_FETCHED_RUN;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_page_size_ok(page_size) && most >= 1);
    for (size_t done = 0; rc == RAMET_OK && done < count; done += most)
        rc = ramet_fetched_append(replica, pages + done,
                                  count - done < most ? count - done : most, at,
                                  page_size, err);
    return rc;
}

enum ramet_rc
ramet_fetched_keep(struct ramet_session *session,
                   const struct ramet_fetched_page *pages, size_t count,
                   const struct ramet_point *at, uint32_t page_size,
                   bool in_place, uint64_t wait_ms, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_fetched_page kept[RAMET_GIVEN_RUN];
    size_t kept_count = 0;
    enum ramet_rc rc;

    assert(count >= 1 && count <= RAMET_GIVEN_RUN);
    assert(ramet_page_size_ok(page_size));
    if (replica->is_readonly)
        return RAMET_OK;
    rc = ramet_base_lock(session, wait_ms, err);
    if (rc != RAMET_OK)
        return rc;
    for (size_t i = 0; rc == RAMET_OK && i < count; i++) {
        const struct ramet_fetched_page *const page = &pages[i];
        struct ramet_entry now;

        assert(page->pgno != 0 && ramet_entry_is_absent(page->expected));
        rc = ramet_index_load_locked(session, page->pgno, &now, err);
        if (rc != RAMET_OK || !ramet_entry_same(now, page->expected))
            continue;
        kept[kept_count] = *page;
        kept[kept_count].replaced = page->expected;
        if (ramet_bytes_are_zero(page->page, page_size))
            kept[kept_count].page = NULL;
        kept_count++;
    }
    if (rc == RAMET_OK && in_place && kept_count > 0)
        rc = ramet_placed_put(session, kept, &kept_count, page_size, err);
    if (rc == RAMET_OK && kept_count > 0)
        rc = ramet_base_unclean(session, err);
    if (rc == RAMET_OK && kept_count > 0)
        rc = append_all(replica, kept, kept_count, at, page_size, err);
    ramet_base_unlock(session);
    if (rc == RAMET_OK &&
        (ramet_fetched_is_much(replica) || ramet_placed_is_much(replica)))
        ramet_maintenance_wake(replica);
    return rc;
}

bool
ramet_session_can_keep(const struct ramet_session *session)
{
    return !session->replica->is_readonly;
}

/* A page of the newest snapshot. */
struct newest_page {
    struct ramet_published newest;
    struct ramet_entry entry;
    bool is_of; /* the newest snapshot has the page as the commit has it */
    bool is_absent;
};

static enum ramet_rc
look_at_newest(struct ramet_session *session, const struct ramet_point *at,
               uint32_t pgno, struct newest_page *out, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_index_load(session, pgno, &out->entry, err);
    struct ramet_point newest_at;

    assert(pgno >= 1);
    /* Looked at after the entry: one that is newer is not of this commit. */
    ramet_index_newest(session->replica, &out->newest);
    newest_at = ramet_snapshot_point(&out->newest.snapshot);
    out->is_of = ramet_point_equal(&newest_at, at) &&
                 pgno <= out->newest.snapshot.page_count &&
                 (!ramet_entry_in_log(out->entry) ||
                  ramet_pos_before(ramet_entry_pos(out->entry),
                                   out->newest.snapshot.tail));
    out->is_absent = ramet_entry_is_absent(out->entry);
    return rc;
}

/* So many as are kept at once. One that can't be looked at, as where presence is
 * damaged, leaves the others alone; its failure is returned. */
static enum ramet_rc
offer(struct ramet_session *session, const struct ramet_point *at,
      const uint32_t *pgnos, size_t count, const uint8_t *pages,
      uint32_t page_size, bool in_place, struct ramet_err *err)
{
    struct ramet_fetched_page wanted[RAMET_GIVEN_RUN];
    size_t wanted_count = 0;
    enum ramet_rc first = RAMET_OK;
    enum ramet_rc rc = RAMET_OK;

    assert(count <= RAMET_GIVEN_RUN);
    for (size_t i = 0; i < count; i++) {
        struct newest_page look;

        if (pgnos[i] == 0)
            continue;
        rc = look_at_newest(session, at, pgnos[i], &look,
                            first == RAMET_OK ? err : NULL);
        if (first == RAMET_OK)
            first = rc;
        if (rc == RAMET_OK && look.is_of && look.is_absent &&
            look.newest.snapshot.page_size == page_size)
            wanted[wanted_count++] =
                (struct ramet_fetched_page){.pgno = pgnos[i],
                                            .expected = look.entry,
                                            .page = pages + i * page_size};
    }
    if (wanted_count == 0)
        return first;
    rc = ramet_fetched_keep(session, wanted, wanted_count, at, page_size,
                            in_place, RAMET_LOCK_WAIT_MS,
                            first == RAMET_OK ? err : NULL);
    return first == RAMET_OK ? rc : first;
}

static enum ramet_rc
keep_run(struct ramet_session *session, const struct ramet_point *at,
         const uint32_t *pgnos, size_t count, const uint8_t *pages,
         uint32_t page_size, bool in_place, struct ramet_err *err)
{
    const size_t fits = RAMET_GIVEN_RUN_BYTES / page_size;
    const size_t most = fits < RAMET_GIVEN_RUN ? fits : RAMET_GIVEN_RUN;
    bool entered;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    assert(ramet_page_size_ok(page_size));
    if (rc != RAMET_OK)
        return rc;
    entered = ramet_epoch_enter(session);
    while (rc == RAMET_OK && count > 0) {
        const size_t now = count < most ? count : most;

        rc = offer(session, at, pgnos, now, pages, page_size, in_place, err);
        pgnos += now;
        pages += now * page_size;
        count -= now;
    }
    ramet_epoch_leave(session, entered);
    return rc;
}

enum ramet_rc
ramet_session_keep_fetched_run(struct ramet_session *session,
                               const struct ramet_point *at,
                               const uint32_t *pgnos, size_t count,
                               const uint8_t *pages, uint32_t page_size,
                               struct ramet_err *err)
{
    return keep_run(session, at, pgnos, count, pages, page_size, false, err);
}

enum ramet_rc
ramet_session_place_fetched_run(struct ramet_session *session,
                                const struct ramet_point *at,
                                const uint32_t *pgnos, size_t count,
                                const uint8_t *pages, uint32_t page_size,
                                struct ramet_err *err)
{
    return keep_run(session, at, pgnos, count, pages, page_size, true, err);
}

enum ramet_rc
ramet_session_settle(struct ramet_session *session, bool *out_settled,
                     struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const uint64_t turns = ramet_placed_turns(replica);
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    *out_settled = true;
    if (rc != RAMET_OK || !ramet_placed_is_any(replica))
        return rc;
    assert(!ramet_holds(session, RAMET_LOCK_BASE));
    rc = ramet_checkpoint_run(session, false, RAMET_LOCK_WAIT_MS, err);
    if (rc != RAMET_OK || ramet_placed_turns(replica) != turns)
        return rc;
    *out_settled = false; /* a checkpoint is kept away */
    rc = ramet_base_lock(session, RAMET_LOCK_WAIT_MS, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_placed_forget(replica);
    ramet_base_unlock(session);
    return RAMET_OK;
}

enum ramet_rc
ramet_session_keep_fetched(struct ramet_session *session,
                           const struct ramet_point *at, uint32_t pgno,
                           const uint8_t *page, struct ramet_err *err)
{
    struct ramet_published newest;

    ramet_index_newest(session->replica, &newest);
    return newest.snapshot.page_size == 0
               ? RAMET_OK
               : ramet_session_keep_fetched_run(session, at, &pgno, 1, page,
                                                newest.snapshot.page_size, err);
}

bool
ramet_session_stands_on(struct ramet_session *session,
                        const struct ramet_point *at)
{
    struct ramet_published newest;
    struct ramet_point newest_at;

    ramet_index_newest(session->replica, &newest);
    newest_at = ramet_snapshot_point(&newest.snapshot);
    return ramet_point_equal(&newest_at, at);
}

bool
ramet_session_holds(struct ramet_session *session, const struct ramet_point *at,
                    uint32_t pgno)
{
    struct newest_page look;
    bool entered, holds;

    if (pgno == 0 || ramet_session_check_fork(session, NULL) != RAMET_OK)
        return false;
    entered = ramet_epoch_enter(session);
    assert(session->epoch != 0);
    holds = look_at_newest(session, at, pgno, &look, NULL) == RAMET_OK &&
            ramet_session_stands_on(session, at) &&
            !(look.is_of && look.is_absent);
    ramet_epoch_leave(session, entered);
    return holds;
}

struct ramet_session *
ramet_fetch_session(const struct ramet_page_request *sink)
{
    assert(sink->session != NULL);
    return sink->session;
}

/* ---- who watches, and looks ------------------------------------------------ */

void
ramet_fetch_tell_watcher(struct ramet_session *session, uint32_t pgno,
                         const uint8_t *page)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_point at = ramet_snapshot_point(&session->pin.snapshot);
    ramet_watcher *watcher;
    void *ctx;

    assert(session->is_pinned && pgno >= 1);
    ramet_mutex_lock(&replica->mutex);
    watcher = replica->watcher;
    ctx = replica->watcher_ctx;
    ramet_mutex_unlock(&replica->mutex);
    if (watcher != NULL)
        watcher(ctx, session, &at, pgno, page);
}

bool
ramet_session_peek(struct ramet_session *session, const struct ramet_point *at,
                   uint32_t pgno, uint8_t *out_page, size_t page_size)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    struct ramet_page_version version;
    struct ramet_point here;
    bool found;

    if (ramet_session_check_fork(session, NULL) != RAMET_OK ||
        ramet_session_pin(session, NULL) != RAMET_OK)
        return false;
    here = ramet_snapshot_point(s);
    assert(session->is_pinned);
    found = ramet_point_equal(&here, at) && s->page_size == page_size &&
            pgno >= 1 && pgno <= s->page_count &&
            ramet_read_version(session, s->tail, s->page_size, pgno, out_page,
                               &version, NULL) == RAMET_OK &&
            !ramet_version_is_elsewhere(&version);
    ramet_session_unpin(session);
    return found;
}
