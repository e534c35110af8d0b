/*
 * clean_close.c - see clean_close.h.
 */
#include "client/store/upkeep/clean_close.h"

#include <assert.h>

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/page/retained.h"
#include "client/store/shared/base.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/upkeep/checkpoint.h"
#include "client/store/upkeep/clean_base.h"
#include "core/alloc.h"

/* Of a base that needed no checkpoint. */
static enum ramet_rc
make_clean(struct ramet_session *session, struct ramet_state_file *state,
           struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    enum ramet_rc rc = ramet_clean_describe(session, state, 0, err);

    assert(ramet_log_is_empty(replica));
    if (rc == RAMET_OK)
        rc = ramet_state_file_write(replica->os, replica->dir_fd, state, err);
    return rc == RAMET_OK ? ramet_clean_put_header_on(replica, state, err) : rc;
}

/* Nobody will find again what is written to it. */
static bool
is_base_deleted(const struct ramet_replica *replica)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;

    assert(replica->base_fd >= 0);
    return os->stat(os->ctx, replica->base_fd, &st) == 0 && st.link_count == 0;
}

/* Who died right after it had put the mark on did not say so. */
static void
look_for_mark(struct ramet_replica *replica)
{
    struct ramet_index_header *const header = &replica->head->header;
    uint8_t first[RAMET_TRUE_HEADER_SIZE];
    uint32_t token;
    size_t got = 0;

    assert(ramet_is_alone(replica));
    if (atomic_load(&header->base.is_marked) != 0 ||
        ramet_os_read_some(replica->os, replica->base_fd, first, sizeof(first),
                           0, &got, replica->path, NULL) != RAMET_OK ||
        got < sizeof(first) ||
        !ramet_base_mark_parse(first, &replica->base_id, &token))
        return;
    atomic_store(&header->base.mark_token, token);
    atomic_store(&header->base.is_marked, 1);
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

    assert(ramet_holds(session, RAMET_LOCK_OPEN) &&
           ramet_holds(session, RAMET_LOCK_LIVE));
    ramet_retained_trim(session);
    if (ramet_is_in_doubt(replica))
        return RAMET_OK; /* the log stays */
    if (atomic_load(&header->all.was_written) == 0 &&
        atomic_load(&header->base.is_marked) == 0)
        return RAMET_OK; /* as clean as it was */
    look_for_mark(replica);
    if (is_base_deleted(replica))
        return RAMET_OK; /* the log is all that will be left: it stays */
    ramet_index_newest(replica, &newest);
    if (atomic_load(&header->all.absent_now) != 0 &&
        atomic_load(&header->log.high_water) <= newest.snapshot.page_count)
        return RAMET_OK; /* not whole: the log stays */
    session->is_closing = true;
    rc = ramet_checkpoint_run(session, true, 0, err);
    if (rc != RAMET_OK || !ramet_log_is_empty(replica) ||
        atomic_load(&header->base.is_marked) == 0)
        return rc;
    state = ramet_calloc(1, sizeof(*state));
    if (state == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to close %s",
                          replica->path);
    rc = ramet_state_file_read(replica->os, replica->dir_fd, state, err);
    if (rc == RAMET_OK) /* a header over holes would be a lie: no estimate */
        rc = ramet_presence_count_absent(replica, state->base_page_count,
                                         &absent, err);
    /* Not while an unpinned reader compares state and base. */
    if (rc == RAMET_OK && absent == 0 &&
        ramet_lock(session, RAMET_LOCK_UNPINNED, RAMET_LOCK_EXCLUSIVE, 0, "",
                   NULL) == RAMET_OK) {
        rc = make_clean(session, state, err);
        ramet_unlock(session, RAMET_LOCK_UNPINNED);
    }
    ramet_state_file_done(state);
    ramet_free(state);
    return rc;
}
