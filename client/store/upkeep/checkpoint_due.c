/*
 * checkpoint_due.c - see checkpoint_due.h.
 */
#include "client/store/upkeep/checkpoint_due.h"

#include <assert.h>

#include "client/store/page/fetched.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/upkeep/checkpoint.h"
#include "client/store/upkeep/log_files.h"

#define CLOSED_MAX 16u   /* log files: then committers do it themselves */
#define CLOSED_LIMIT 32u /* ... and wait for whoever is at it */

/* What fails here is tried again by the next committer, or at closing. */
static void
run_now(struct ramet_session *session, uint64_t wait_ms)
{
    const enum ramet_rc rc =
        ramet_checkpoint_run(session, false, wait_ms, NULL);

    assert(!ramet_holds(session, RAMET_LOCK_BASE));
    (void)rc;
}

void
ramet_checkpoint_inline(struct ramet_session *session)
{
    assert(session->is_internal);
    run_now(session, 0);
}

void
ramet_checkpoint_keep_up(struct ramet_session *session)
{
    const struct ramet_index_header *const header =
        &session->replica->head->header;
    const uint64_t closed =
        ramet_pos_file(ramet_pos_load(&header->log.write_pos)) -
        atomic_load(&header->checkpoint.oldest);

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    if (closed > CLOSED_MAX)
        run_now(session, closed > CLOSED_LIMIT ? RAMET_LOCK_WAIT_MS : 0);
}

void
ramet_checkpoint_fetched(struct ramet_session *session)
{
    assert(session->is_internal);
    /* What fails here is tried again when as much was fetched once more. */
    const enum ramet_rc rc = ramet_checkpoint_run(session, true, 0, NULL);

    (void)rc;
    ramet_fetched_was_seen(session->replica);
}

void
ramet_checkpoint_make_ahead(struct ramet_session *session)
{
    assert(session->held == 0);
    if (ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE, 0, "",
                   NULL) != RAMET_OK)
        return;
    ramet_log_file_make_ahead(session);
    ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
}
