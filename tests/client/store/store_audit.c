/*
 * store_audit.c - see store_audit.h.
 */
#include "tests/client/store/store_audit.h"

#include "client/store/format/state.h"
#include "client/store/shared/base_check.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "tests/support/cmocka_all.h"

#include <stdlib.h>

/* Each page of the base that counts has the bytes that presence tells, and one of
 * which it tells nothing has none. */
static enum ramet_rc
compare_base(struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_base_look look = {.form = RAMET_BASE_MARKED,
                                         .has_happened = true};

    return ramet_base_compare(replica, &look, false, err);
}

/* The count of absent pages, by which a close decides whether the base is whole. */
static enum ramet_rc
count_absent(struct ramet_replica *replica, struct ramet_err *err)
{
    const struct ramet_index_header *const header = &replica->head->header;
    const uint64_t counted = atomic_load(&header->base.absent);
    uint64_t absent = 0;
    enum ramet_rc rc;

    if (atomic_load(&header->base.is_recounting) != 0)
        return RAMET_OK; /* who changes presence next counts them */
    rc = ramet_presence_count_absent(
        replica, (uint32_t)atomic_load(&header->checkpoint.page_count), &absent,
        err);
    return rc != RAMET_OK || absent == counted
               ? rc
               : RAMET_FAIL(err, RAMET_EINVAL,
                            "%llu pages are absent, and counted are %llu",
                            (unsigned long long)absent,
                            (unsigned long long)counted);
}

/* The state is there twice, or in a file of its own: one that rots is not all. */
static enum ramet_rc
look_at_state(struct ramet_replica *replica, struct ramet_err *err)
{
    struct ramet_state_file *const state = calloc(1, sizeof(*state));
    enum ramet_rc rc =
        ramet_state_file_read(replica->os, replica->dir_fd, state, err);

    if (rc == RAMET_OK && state->copies == 1)
        rc = RAMET_FAIL(err, RAMET_EINVAL, "the state is in one slot alone");
    ramet_state_file_done(state);
    free(state);
    return rc;
}

void
store_audit(struct ramet_session *session, bool had_deaths, int line)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_err failure;
    enum ramet_rc rc;

    if (replica->is_readonly)
        return;
    OK(ramet_base_lock(session, RAMET_LOCK_WAIT_MS, e));
    rc = compare_base(replica, &failure);
    if (rc == RAMET_OK)
        rc = count_absent(replica, &failure);
    if (rc == RAMET_OK && !had_deaths)
        rc = look_at_state(replica, &failure);
    ramet_base_unlock(session);
    if (rc != RAMET_OK)
        fail_msg("line %d: %s", line, failure.text);
}
