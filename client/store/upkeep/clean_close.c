/*
 * clean_close.c - the last close of a whole replica makes its base a plain file again.
 */
#include "client/store/upkeep/clean_close.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/format/logfile.h"
#include "client/store/format/state.h"
#include "client/store/page/past.h"
#include "client/store/shared/base.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/upkeep/checkpoint.h"
#include "core/alloc.h"

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

    assert(ramet_is_held(replica, RAMET_LOCK_LIVE));
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
        state->fold.newest.tail = ramet_pos_first(1);
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

    assert(ramet_holds(session, RAMET_LOCK_OPEN) &&
           ramet_holds(session, RAMET_LOCK_LIVE));
    ramet_past_trim(session);
    if (ramet_is_in_doubt(replica))
        return RAMET_OK; /* the log stays */
    if (atomic_load(&header->all.was_written) == 0 &&
        atomic_load(&header->base.is_marked) == 0)
        return RAMET_OK; /* as clean as it was */
    if (is_base_deleted(replica))
        return RAMET_OK; /* the log is all that will be left: it stays */
    ramet_index_newest(replica, &newest);
    if (atomic_load(&header->all.absent_now) != 0 &&
        atomic_load(&header->log.high_water) <= newest.snapshot.page_count)
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
    if (rc == RAMET_OK && absent == 0 &&
        atomic_load(&header->base.is_marked) != 0 &&
        ramet_lock(session, RAMET_LOCK_UNLISTED, RAMET_LOCK_EXCLUSIVE, 0, "",
                   NULL) == RAMET_OK) {
        rc = put_header_on(replica, state, err);
        ramet_unlock(session, RAMET_LOCK_UNLISTED);
    }
    ramet_state_file_done(state);
    ramet_free(state);
    return rc;
}
