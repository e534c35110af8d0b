/*
 * maintenance.c - the thread that checkpoints, and the clean close.
 *
 * The thread starts when the first generation is closed, or when the base has
 * pages without a checksum, and ends with the process's last session. It has a
 * session of its own, that is neither live nor pinned. Checksums it computes
 * with half of its time at most, and a close waits for a small piece only.
 */
#include <assert.h>
#include <fcntl.h>
#include <string.h>

#include "client/dir.h"
#include "client/past.h"
#include "client/recover.h"
#include "client/sums.h"
#include "core/alloc.h"

#define CLOSED_ENOUGH 4u /* generations that make a checkpoint worth it */
#define SUM_STEP (1u << 20)
#define SUM_AGAIN_MS 1000u /* where checkpoints were in the way */
#define SUM_FAILED_MS 10000u
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
    const uint64_t absent = atomic_load(&replica->head->header.absent_now);
    struct ramet_published newest;

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
    const uint64_t closed = ramet_pos_gen(atomic_load(&header->write_pos)) -
                            atomic_load(&header->oldest);

    if (ramet_fill_is_much(session->replica))
        ramet_checkpoint_fills(session);
    else if (closed >= CLOSED_ENOUGH)
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

void
ramet_maintenance_begin(struct ramet_replica *replica)
{
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
    struct ramet_summing summing = {.next = 1};

    ramet_maintenance_stop(session->replica);
    if (!ramet_is_unsummed(session->replica))
        return;
    /* What fails is left to the next session. */
    if (ramet_sums_go_on(session, SUM_AT_CLOSE, &summing, NULL) != RAMET_OK)
        return;
}

/* ---- the clean close ----------------------------------------------------- */

/* State first, which knows both forms of the header; then the header. */
static enum ramet_rc
put_header_on(struct ramet_replica *replica, struct ramet_state_file *state,
              struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const struct ramet_snapshot *const s = &state->fold.newest;
    const size_t length = s->byte_length < RAMET_TRUE_HEADER_SIZE
                              ? (size_t)s->byte_length
                              : RAMET_TRUE_HEADER_SIZE;
    const uint64_t dirty_size = s->byte_length > RAMET_TRUE_HEADER_SIZE
                                    ? s->byte_length
                                    : RAMET_TRUE_HEADER_SIZE;
    uint8_t header[RAMET_TRUE_HEADER_SIZE];
    struct ramet_stat st;
    enum ramet_rc rc;
    int result = os->stat(os->ctx, replica->base_fd, &st);

    if (result < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                              "stat %s", replica->path);
    /* A page is written whole, a blob may end within it; what was adopted may
     * have ended within a page of a database. Nothing but the mark may be past
     * the end before the state says that the base is clean. */
    if (st.size_bytes != dirty_size) {
        result = os->truncate(os->ctx, replica->base_fd, dirty_size);
        if (result < 0)
            return RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result), -result,
                                  "resize %s", replica->path);
    }
    state->is_clean = true;
    ramet_state_bear(state);
    ramet_state_true_header(state, header);
    state->base_absent = 0;
    state->base_device = st.device;
    state->base_inode = st.inode;
    state->base_size = s->byte_length;
    state->base_mtime_ns = (int64_t)os->wall_ms(os->ctx) * 1000000;
    state->base_ctime_ns = 0; /* of when that was set: the index will know */
    /* Positions begin anew where half of them are used up: nobody is here. */
    if (state->oldest_gen > RAMET_GEN_MAX / 2) {
        state->oldest_gen = 1;
        state->fold.newest.tail = ramet_pos_make(1, RAMET_GEN_HEADER_SIZE);
    }
    if (state->oldest_fill > RAMET_GEN_MAX / 2)
        state->oldest_fill = 1;
    rc = ramet_state_file_write(os, replica->dir_fd, state, err);
    if (rc == RAMET_OK)
        rc = ramet_os_write_full(os, replica->base_fd, header, length, 0,
                                 replica->path, err);
    if (rc != RAMET_OK)
        return rc;
    result = length < RAMET_TRUE_HEADER_SIZE
                 ? os->truncate(os->ctx, replica->base_fd, length)
                 : 0;
    if (result == 0)
        result = os->set_mtime(os->ctx, replica->base_fd, state->base_mtime_ns);
    if (result == 0)
        result = os->sync(os->ctx, replica->base_fd);
    ramet_base_rest(replica);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_SYS(err, ramet_rc_of_errno(-result),
                                        -result, "close %s", replica->path);
}

/* Nobody will find again what is written to it. */
static bool
is_base_deleted(const struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_stat st;

    return os->stat(os->ctx, replica->base_fd, &st) == 0 && st.link_count == 0;
}

enum ramet_rc
ramet_clean_close(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_published newest;
    struct ramet_state_file *state;
    uint64_t absent = 0;
    enum ramet_rc rc;

    ramet_past_trim(session);
    if (ramet_is_in_doubt(replica))
        return RAMET_OK; /* the log stays */
    if (atomic_load(&header->was_written) == 0 &&
        atomic_load(&header->is_marked) == 0)
        return RAMET_OK; /* as clean as it was */
    if (is_base_deleted(replica))
        return RAMET_OK; /* the log is all that will be left: it stays */
    ramet_index_newest(replica, &newest);
    if (atomic_load(&header->absent_now) != 0 &&
        atomic_load(&header->high_water) <= newest.snapshot.page_count)
        return RAMET_OK; /* not whole: the log stays */
    session->is_closing = true;
    rc = ramet_checkpoint_run(session, true, err);
    if (rc != RAMET_OK || !ramet_log_is_empty(replica))
        return rc;
    state = ramet_calloc(1, sizeof(*state));
    if (state == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to close %s",
                          replica->path);
    rc = ramet_state_file_read(replica->os, replica->dir_fd, state, err);
    if (rc == RAMET_OK) /* a header over holes would be a lie: no estimate */
        rc = ramet_presence_count_absent(replica, state->base_page_count,
                                         &absent, err);
    /* Not while an unlisted reader compares state and base. */
    if (rc == RAMET_OK && absent == 0 && atomic_load(&header->is_marked) != 0 &&
        ramet_lock_try(replica->os, session->lock_fd, RAMET_LOCK_UNLISTED,
                       RAMET_LOCK_EXCLUSIVE, "", NULL) == RAMET_OK) {
        rc = put_header_on(replica, state, err);
        ramet_lock_drop(replica->os, session->lock_fd, RAMET_LOCK_UNLISTED);
    }
    ramet_state_file_done(state);
    ramet_free(state);
    return rc;
}
