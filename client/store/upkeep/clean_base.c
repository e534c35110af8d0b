/*
 * clean_base.c - see clean_base.h.
 */
#include "client/store/upkeep/clean_base.h"

#include <assert.h>

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/shared/base.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/upkeep/log_files.h"

/* A page is written whole, a blob may end within it; what was adopted may have
 * ended within a page of a database. Nothing but the mark may be past the end
 * before the state says that the base is clean. */
static enum ramet_rc
cut_base(struct ramet_replica *replica, uint64_t byte_length,
         struct ramet_os_stat *out_stat, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const uint64_t dirty_size = byte_length > RAMET_TRUE_HEADER_SIZE
                                    ? byte_length
                                    : RAMET_TRUE_HEADER_SIZE;
    int result = os->stat(os->ctx, replica->base_fd, out_stat);

    assert(ramet_is_alone(replica));
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "stat %s", replica->path);
    if (out_stat->size_bytes == dirty_size)
        return RAMET_OK;
    result = os->truncate(os->ctx, replica->base_fd, dirty_size);
    return result == 0 ? RAMET_OK
                       : RAMET_FAIL_OS(err, result, "resize %s", replica->path);
}

/* Where the next session's log begins: in a file that is there, if it can; in
 * the first one, where half of the positions are used up. Nobody is here. */
static void
place_log(struct ramet_session *session, struct ramet_state_file *state,
          uint64_t last_log)
{
    assert(session->is_closing && state->is_clean);
    if (last_log != 0 &&
        ramet_log_file_may_be_kept(session, last_log, &state->kept_salt))
        state->oldest_log = state->kept_log = last_log;
    else if (state->oldest_log > RAMET_FRAME_FILE_MAX / 2)
        state->oldest_log = 1;
    else
        return;
    state->fold.newest.tail = ramet_pos_first(state->oldest_log);
}

enum ramet_rc
ramet_clean_describe(struct ramet_session *session,
                     struct ramet_state_file *state, uint64_t last_log,
                     struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    const struct ramet_snapshot *const s = &state->fold.newest;
    struct ramet_os_stat st;
    const enum ramet_rc rc = cut_base(replica, s->byte_length, &st, err);

    assert(session->is_closing && ramet_holds(session, RAMET_LOCK_UNPINNED));
    if (rc != RAMET_OK)
        return rc;
    state->is_clean = true;
    ramet_state_choose_clean_header(state);
    state->base_device = st.device;
    state->base_inode = st.inode;
    state->base_size = s->byte_length;
    state->base_mtime_ns = (int64_t)os->wall_ms(os->ctx) * 1000000;
    state->base_ctime_ns = 0; /* of when that was set: the index will know */
    place_log(session, state, last_log);
    if (state->oldest_fetched > RAMET_FRAME_FILE_MAX / 2)
        state->oldest_fetched = 1;
    return RAMET_OK;
}

enum ramet_rc
ramet_clean_put_header_on(struct ramet_replica *replica,
                          const struct ramet_state_file *state,
                          struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const uint64_t byte_length = state->fold.newest.byte_length;
    const size_t length = byte_length < RAMET_TRUE_HEADER_SIZE
                              ? (size_t)byte_length
                              : RAMET_TRUE_HEADER_SIZE;
    uint8_t header[RAMET_TRUE_HEADER_SIZE];
    enum ramet_rc rc;
    int result = 0;

    assert(ramet_is_alone(replica) && state->is_clean); /* invariant (1) */
    ramet_state_true_header(state, header);
    rc = ramet_os_write_full(os, replica->base_fd, header, length, 0,
                             replica->path, err);
    if (rc != RAMET_OK)
        return rc;
    if (length < RAMET_TRUE_HEADER_SIZE)
        result = os->truncate(os->ctx, replica->base_fd, length);
    if (result == 0)
        result = os->set_mtime(os->ctx, replica->base_fd, state->base_mtime_ns);
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "close %s", replica->path);
    rc = ramet_base_datasync(replica, err);
    ramet_base_rest(replica);
    if (rc == RAMET_OK)
        atomic_store(&replica->head->header.base.is_marked, 0);
    return rc;
}
