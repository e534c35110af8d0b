/*
 * maintenance.c - the thread that checkpoints, and the clean close.
 *
 * The thread starts when the first log file is closed, or when a large base has
 * pages without a checksum, and ends with the process's last session. It has a
 * session of its own, that is neither live nor pinned. Checksums it computes
 * with half of its time at most, and a close waits for a small piece only.
 *
 * Of a small base they are computed as it is opened: where there was ever a
 * second thread, the C library takes each lock and makes each call in a slower
 * way for as long as the process lives.
 */
#include "client/store/upkeep/maintenance.h"

#include <assert.h>
#include <fcntl.h>

#include "client/store/exchange.h"
#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/page/fetched.h"
#include "client/store/page/placed.h"
#include "client/store/shared/index.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "client/store/upkeep/checkpoint_due.h"
#include "client/store/upkeep/sums.h"
#include "core/alloc.h"

#define SUM_STEP (1u << 20)
#define SUM_AGAIN_MS 1000u /* where checkpoints were in the way */
#define SUM_FAILED_MS 10000u
#define SUM_AT_OPEN (32u << 20)  /* bytes; more is the thread's */
#define SUM_AT_CLOSE (64u << 20) /* bytes; the next session goes on */

struct ramet_maintenance {
    struct ramet_session *session;
    struct ramet_mutex mutex;
    struct ramet_cond cond;
    bool is_wanted;               /* mutex */
    bool is_ending;               /* mutex */
    struct ramet_summing summing; /* the thread's */
    struct ramet_thread thread;
};

/* What is clean and too much goes, and a little more. */
static void
keep_limit(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;
    const uint64_t limit = replica->cache_limit_bytes;
    const uint64_t absent = atomic_load(&replica->head->header.all.absent_now);
    struct ramet_published newest;

    assert(session->is_internal && !session->is_pinned);
    ramet_index_newest(replica, &newest);
    if (limit == 0 || absent >= newest.snapshot.page_count ||
        (newest.snapshot.page_count - absent) * newest.snapshot.page_size <=
            limit)
        return;
    /* What fails now is tried again when more was fetched. */
    if (ramet_session_evict(session, limit - limit / 8, NULL) != RAMET_OK)
        return;
}

static void
look_after(struct ramet_session *session)
{
    const struct ramet_index_header *const header =
        &session->replica->head->header;
    const uint64_t closed =
        ramet_pos_file(ramet_pos_load(&header->log.write_pos)) -
        atomic_load(&header->checkpoint.oldest);

    assert(session->is_internal && session->held == 0);
    if (ramet_fetched_is_much(session->replica))
        ramet_checkpoint_fetched(session);
    else if (closed >= RAMET_CLOSED_ENOUGH ||
             ramet_placed_is_much(session->replica))
        ramet_checkpoint_inline(session);
    else
        ramet_checkpoint_make_ahead(session);
    keep_limit(session);
}

/* A piece of the checksums that are missing. Returns how long to pause then, in
 * ms; 0: there is no more to do. */
static uint64_t
sum_a_piece(struct ramet_maintenance *m)
{
    struct ramet_replica *const replica = m->session->replica;
    const struct ramet_os *const os = replica->os;
    const uint64_t from = os->mono_ns(os->ctx);
    enum ramet_rc rc;

    assert(m->session->held == 0);
    if (!ramet_is_unsummed(replica))
        return 0;
    if (m->summing.next == 0)
        m->summing = (struct ramet_summing){.next = 1};
    rc = ramet_sums_go_on(m->session, SUM_STEP, &m->summing, NULL);
    if (rc != RAMET_OK)
        return SUM_FAILED_MS;
    if (m->summing.next == 0)
        return ramet_is_unsummed(replica) ? SUM_AGAIN_MS : 0;
    return (os->mono_ns(os->ctx) - from) / 1000000 + 1;
}

static void *
run_maintenance(void *arg)
{
    struct ramet_maintenance *const m = arg;
    uint64_t pause_ms = 1;

    assert(m->session->lock_fd >= 0);
    ramet_mutex_lock(&m->mutex);
    while (!m->is_ending) {
        const bool is_wanted = m->is_wanted;

        if (!is_wanted && pause_ms == 0) {
            ramet_cond_wait(&m->cond, &m->mutex);
            continue;
        }
        m->is_wanted = false;
        ramet_mutex_unlock(&m->mutex);
        if (is_wanted)
            look_after(m->session);
        pause_ms = sum_a_piece(m);
        ramet_mutex_lock(&m->mutex);
        if (pause_ms != 0 && !m->is_wanted && !m->is_ending)
            (void)ramet_cond_wait_ms(&m->cond, &m->mutex, pause_ms);
    }
    ramet_mutex_unlock(&m->mutex);
    return NULL;
}

static void
free_maintenance(struct ramet_maintenance *m)
{
    assert(m->session == NULL || m->session->held == 0);
    if (m->session != NULL)
        ramet_session_leave(m->session);
    ramet_session_free(m->session);
    ramet_cond_done(&m->cond);
    ramet_mutex_done(&m->mutex);
    ramet_free(m);
}

/* NULL: it can't be had now; committers checkpoint themselves then. */
static struct ramet_maintenance *
start_maintenance(struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_maintenance *const m = ramet_calloc(1, sizeof(*m));

    assert(!replica->is_readonly);
    if (m == NULL)
        return NULL;
    ramet_mutex_init(&m->mutex);
    ramet_cond_init(&m->cond);
    m->summing.next = 1;
    if (ramet_session_new(replica, true, &m->session, NULL) != RAMET_OK)
        goto failed;
    ramet_session_enter(m->session);
    m->session->lock_fd =
        ramet_rights_open(os, replica->dir_fd, RAMET_DIR_LOCK, O_RDWR);
    if (m->session->lock_fd < 0)
        goto failed;
    if (ramet_thread_start(&m->thread, "ramet-log", run_maintenance, m, NULL) !=
        RAMET_OK)
        goto failed;
    return m;

failed:
    free_maintenance(m);
    return NULL;
}

/* The process's, started if need be; NULL: not now. */
static struct ramet_maintenance *
have_maintenance(struct ramet_replica *replica)
{
    struct ramet_maintenance *m;
    bool start;

    ramet_mutex_lock(&replica->mutex);
    m = replica->maintenance;
    start = m == NULL && !replica->maintenance_starts;
    if (start)
        replica->maintenance_starts = true;
    ramet_mutex_unlock(&replica->mutex);
    if (start) {
        m = start_maintenance(replica);
        ramet_mutex_lock(&replica->mutex);
        assert(replica->maintenance == NULL);
        replica->maintenance = m;
        replica->maintenance_starts = false;
        ramet_mutex_unlock(&replica->mutex);
    }
    return m;
}

void
ramet_maintenance_wake(struct ramet_replica *replica)
{
    struct ramet_maintenance *const m = have_maintenance(replica);

    if (m == NULL)
        return;
    ramet_mutex_lock(&m->mutex);
    m->is_wanted = true;
    ramet_cond_signal(&m->cond);
    ramet_mutex_unlock(&m->mutex);
}

/* What fails or is left out is tried again by whoever comes next. */
static void
sum_at_once(struct ramet_session *session, uint64_t bytes)
{
    struct ramet_summing summing = {.next = 1};
    const enum ramet_rc rc = ramet_sums_go_on(session, bytes, &summing, NULL);

    assert(!session->replica->is_readonly);
    (void)rc;
}

void
ramet_maintenance_begin(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_index_header *const header = &replica->head->header;

    if (ramet_is_unsummed(replica) && replica->maintenance == NULL &&
        atomic_load(&header->checkpoint.page_count) *
                atomic_load(&header->checkpoint.page_size) <=
            SUM_AT_OPEN)
        sum_at_once(session, UINT64_MAX);
    if (ramet_is_unsummed(replica))
        (void)have_maintenance(replica);
}

void
ramet_maintenance_stop(struct ramet_replica *replica)
{
    struct ramet_maintenance *m;

    ramet_mutex_lock(&replica->mutex);
    m = replica->maintenance;
    replica->maintenance = NULL;
    ramet_mutex_unlock(&replica->mutex);
    if (m == NULL)
        return;
    ramet_mutex_lock(&m->mutex);
    m->is_ending = true;
    ramet_cond_signal(&m->cond);
    ramet_mutex_unlock(&m->mutex);
    ramet_thread_join(&m->thread);
    free_maintenance(m);
}

void
ramet_maintenance_close(struct ramet_session *session)
{
    ramet_maintenance_stop(session->replica);
    if (ramet_is_unsummed(session->replica))
        sum_at_once(session, SUM_AT_CLOSE);
}
