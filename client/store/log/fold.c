/*
 * fold.c - see fold.h.
 */
#include "client/store/log/fold.h"

#include <assert.h>

#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/log/logscan.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define FOLD_TRIES 100u

static enum ramet_rc
load_fold(struct ramet_session *session, struct ramet_replica_state *state,
          struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_state_file *const file = ramet_calloc(1, sizeof(*file));
    enum ramet_rc rc;

    if (file == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for the state");
    rc = ramet_state_file_read(replica->os, replica->dir_fd, file, err);
    if (rc == RAMET_OK)
        rc = ramet_fold_copy(state, &file->fold, err);
    if (rc == RAMET_OK)
        state->frozen_tail = state->remote_tail = state->newest.tail;
    ramet_state_file_done(file);
    ramet_free(file);
    return rc;
}

/* Was it folded since the index was made? A clean close may begin positions anew:
 * what was kept across one has places of before. */
static bool
is_of_this_index(const struct ramet_replica *replica,
                 const struct ramet_replica_state *state)
{
    const struct ramet_index_header *const header = &replica->head->header;

    assert(!ramet_pos_is_none(replica->head->header.first_tail));
    return state->newest.seq > header->first_seq ||
           (state->newest.seq == header->first_seq &&
            ramet_pos_same(state->newest.tail, header->first_tail));
}

/* Can the caller's fold be continued? Not across a checkpoint that took what
 * it did not read, nor before it knows its binding. */
static bool
is_continuable(const struct ramet_replica *replica,
               const struct ramet_replica_state *state, struct ramet_pos tail)
{
    assert(!ramet_pos_is_none(tail));
    return !ramet_id_is_nil(&state->replica.id) &&
           !ramet_id_is_nil(&state->volume.id) &&
           is_of_this_index(replica, state) &&
           !ramet_pos_before(tail, state->newest.tail) &&
           (ramet_pos_same(state->newest.tail, tail) ||
            ramet_pos_file(state->newest.tail) >=
                atomic_load(&replica->head->header.checkpoint.oldest));
}

static enum ramet_rc
continue_fold(struct ramet_session *session, struct ramet_replica_state *state,
              struct ramet_pos tail, struct ramet_err *err)
{
    struct ramet_scan scan;
    enum ramet_rc rc;

    assert(atomic_load(&session->epoch) != 0);
    ramet_scan_init(&scan, session->replica);
    scan.oldest =
        atomic_load(&session->replica->head->header.checkpoint.oldest);
    rc = ramet_scan_fold(&scan, state, tail, NULL, NULL, err);
    ramet_scan_done(&scan);
    return rc;
}

/* What the index says beside the records. */
static void
see_index(const struct ramet_replica *replica,
          const struct ramet_published *newest,
          struct ramet_replica_state *state)
{
    const uint64_t absent = atomic_load(&replica->head->header.all.absent_now);

    state->newest = newest->snapshot;
    assert(!ramet_pos_is_none(state->newest.tail));
    state->whole = absent == 0;
    state->held_pages = absent < newest->snapshot.page_count
                            ? newest->snapshot.page_count - absent
                            : 0;
}

bool
ramet_fold_take(const struct ramet_replica *replica,
                struct ramet_replica_state *fold,
                struct ramet_replica_state *state)
{
    struct ramet_published newest;

    assert(ramet_is_alone(replica));
    ramet_index_newest(replica, &newest);
    if (!ramet_pos_same(fold->newest.tail, newest.snapshot.tail))
        return false;
    ramet_replica_state_done(state);
    *state = *fold;
    ramet_pageset_init(&fold->in_flight);
    ramet_pageset_init(&fold->later);
    state->frozen_tail = state->remote_tail = state->newest.tail;
    see_index(replica, &newest, state);
    return true;
}

/* `state`, or the file's where it can't be continued, up to *out_newest. A checkpoint
 * may write the file as it is about to be read, and then it has what was published
 * meanwhile: so what is the newest is asked behind it. */
static enum ramet_rc
fold_to_newest(struct ramet_session *session, bool begins_anew,
               struct ramet_replica_state *state,
               struct ramet_published *out_newest, struct ramet_err *err)
{
    const struct ramet_replica *const replica = session->replica;

    ramet_index_newest(replica, out_newest);
    if (begins_anew ||
        !is_continuable(replica, state, out_newest->snapshot.tail)) {
        const enum ramet_rc rc = load_fold(session, state, err);

        if (rc != RAMET_OK)
            return rc;
        ramet_index_newest(replica, out_newest);
    }
    if (ramet_pos_before(out_newest->snapshot.tail, state->newest.tail))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: the state is of a record that nobody published",
                          replica->path);
    return continue_fold(session, state, out_newest->snapshot.tail, err);
}

enum ramet_rc
ramet_session_state(struct ramet_session *session,
                    struct ramet_replica_state *state, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_published newest;
    bool entered;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK)
        return rc;
    entered = ramet_epoch_enter(session);
    for (unsigned i = 0; i < FOLD_TRIES; i++) {
        const uint64_t oldest = atomic_load(&header->checkpoint.oldest);

        rc = fold_to_newest(session, i > 0, state, &newest, err);
        /* A checkpoint may have taken the log away under us. */
        if (rc != RAMET_ECORRUPT ||
            oldest == atomic_load(&header->checkpoint.oldest))
            break;
    }
    ramet_epoch_leave(session, entered);
    if (rc == RAMET_OK)
        see_index(replica, &newest, state);
    else
        ramet_replica_state_done(state); /* begin anew next time */
    return rc;
}
