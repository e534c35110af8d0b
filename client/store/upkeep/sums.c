/*
 * sums.c - see sums.h.
 *
 * Pages are read without a lock, a block at a time, and their checksums are
 * entered under the base lock. Where a block can't be summed without others
 * changing it, it is left out, and summed when somebody goes through all of
 * them again.
 */
#include "client/store/upkeep/sums.h"

#include <assert.h>

#include "client/store/exchange.h"
#include "client/store/format/state.h"
#include "client/store/page/retained.h"
#include "client/store/page/version.h"
#include "client/store/shared/base_check.h"
#include "client/store/shared/base_sum.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "client/store/upkeep/drop_pages.h"
#include "core/alloc.h"

#define BLOCK RAMET_BASE_BLOCK_PAGES
#define TRIES 3u

struct block {
    struct ramet_session *session;
    struct ramet_replica *replica;
    uint32_t page_size;
    uint32_t first;
    uint32_t count;
    uint64_t stamp;
    struct ramet_entry entries[BLOCK];
    bool is_wanted[BLOCK];
    uint64_t sums[BLOCK];
};

static bool
is_unknown(uint64_t value)
{
    return value == RAMET_PRESENCE_DEFAULT || value == RAMET_PRESENCE_HELD;
}

/* Which pages want a checksum? With the base lock. */
static enum ramet_rc
begin_block(struct block *b, bool *out_any, struct ramet_err *err)
{
    const struct ramet_index_header *const header = &b->replica->head->header;
    uint64_t values[BLOCK];
    enum ramet_rc rc =
        ramet_presence_read(b->replica, b->first, b->count, values, err);

    assert(b->first >= 1 && b->count >= 1 && b->count <= BLOCK);
    assert(ramet_holds(b->session, RAMET_LOCK_BASE));
    *out_any = false;
    b->stamp = atomic_load(&header->base.stamp);
    for (uint32_t i = 0; rc == RAMET_OK && i < b->count; i++) {
        const uint32_t pgno = b->first + i;

        b->is_wanted[i] = is_unknown(values[i]) &&
                          ramet_is_page_in_base(b->replica, pgno, values[i]);
        b->entries[i] = ramet_index_peek(b->replica, pgno);
        *out_any |= b->is_wanted[i];
    }
    return rc;
}

/* Without a lock. */
static enum ramet_rc
read_block(struct block *b, uint8_t *bytes, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;
    uint32_t run;

    assert(!ramet_holds(b->session, RAMET_LOCK_BASE));
    for (uint32_t i = 0; rc == RAMET_OK && i < b->count; i += run) {
        run = 1;
        while (b->is_wanted[i] && i + run < b->count && b->is_wanted[i + run])
            run++;
        if (b->is_wanted[i])
            rc = ramet_base_sums(b->replica, b->page_size, b->first + i, run,
                                 bytes, b->sums + i, err);
    }
    return rc;
}

/* With the base lock; *out_done false: the base moved meanwhile. */
static enum ramet_rc
enter_block(struct block *b, bool *out_done, struct ramet_err *err)
{
    const struct ramet_index_header *const header = &b->replica->head->header;
    uint64_t values[BLOCK];
    enum ramet_rc rc;

    assert(ramet_holds(b->session, RAMET_LOCK_BASE));
    *out_done =
        atomic_load(&header->base.stamp) == b->stamp && /* invariant (2) */
        ramet_base_is_at_rest(b->replica); /* else who knows whose */
    if (!*out_done)
        return RAMET_OK;
    rc = ramet_presence_read(b->replica, b->first, b->count, values, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < b->count; i++)
        if (b->is_wanted[i] && is_unknown(values[i]) &&
            ramet_entry_same(ramet_index_peek(b->replica, b->first + i),
                             b->entries[i]))
            values[i] = b->sums[i];
    return rc == RAMET_OK ? ramet_presence_write(b->replica, b->first, b->count,
                                                 values, err)
                          : rc;
}

/* *out_done false: it is left out. */
static enum ramet_rc
sum_block(struct block *b, uint8_t *bytes, bool *out_done, uint64_t *io_spent,
          struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(!ramet_holds(b->session, RAMET_LOCK_BASE));
    *out_done = false;
    for (unsigned i = 0; rc == RAMET_OK && !*out_done && i < TRIES; i++) {
        bool any = false;

        rc = ramet_base_lock(b->session, RAMET_LOCK_WAIT_MS, err);
        if (rc != RAMET_OK)
            break;
        rc = begin_block(b, &any, err);
        ramet_base_unlock(b->session);
        *out_done = !any;
        if (rc != RAMET_OK || !any)
            break;
        rc = read_block(b, bytes, err);
        *io_spent += (uint64_t)b->count * b->page_size;
        if (rc == RAMET_OK)
            rc = ramet_base_lock(b->session, RAMET_LOCK_WAIT_MS, err);
        if (rc != RAMET_OK)
            break;
        rc = enter_block(b, out_done, err);
        ramet_base_unlock(b->session);
    }
    return rc;
}

/* ---- when all are known -------------------------------------------------- */

static enum ramet_rc
write_flag(struct ramet_replica *replica, struct ramet_err *err)
{
    struct ramet_state_file *const state = ramet_calloc(1, sizeof(*state));
    enum ramet_rc rc;

    assert(ramet_is_held(replica, RAMET_LOCK_CHECKPOINT) &&
           ramet_is_held(replica, RAMET_LOCK_BASE));
    if (state == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for checksums");
    rc = ramet_state_file_read(replica->os, replica->dir_fd, state, err);
    if (rc == RAMET_OK && state->is_unsummed) {
        rc = ramet_presence_sync_all(replica, state, err);
        state->is_unsummed = false;
        if (rc == RAMET_OK)
            rc = ramet_state_file_write(replica->os, replica->dir_fd, state,
                                        err);
    }
    if (rc == RAMET_OK)
        atomic_store(&replica->head->header.base.is_unsummed, 0);
    ramet_state_file_done(state);
    ramet_free(state);
    return rc;
}

/* A checkpoint that is under way writes the state, too: another time then. */
static enum ramet_rc
finish(struct ramet_session *session, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(!ramet_holds(session, RAMET_LOCK_BASE));
    if (ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE, 0, "",
                   NULL) != RAMET_OK)
        return RAMET_OK;
    rc = ramet_base_lock(session, RAMET_LOCK_WAIT_MS, err);
    if (rc == RAMET_OK) {
        rc = write_flag(session->replica, err);
        ramet_base_unlock(session);
    }
    ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
    return rc;
}

/* ---- going through them -------------------------------------------------- */

/* The block of pages that begins at `first`; false: there is none. */
static bool
place_block(struct block *b, uint64_t first)
{
    const struct ramet_index_header *const header = &b->replica->head->header;
    const uint64_t count = atomic_load(&header->checkpoint.page_count);
    uint32_t at_once;

    assert(first >= 1);
    b->page_size = (uint32_t)atomic_load(&header->checkpoint.page_size);
    if (first > count || b->page_size == 0)
        return false;
    at_once = ramet_base_block_pages(b->page_size);
    b->first = (uint32_t)first;
    b->count =
        count - first + 1 < at_once ? (uint32_t)(count - first + 1) : at_once;
    return true;
}

enum ramet_rc
ramet_sums_go_on(struct ramet_session *session, uint64_t bytes,
                 struct ramet_summing *io_summing, struct ramet_err *err)
{
    struct block *const b = ramet_calloc(1, sizeof(*b));
    uint8_t *const bytes_read = ramet_alloc(RAMET_BASE_BLOCK_BYTES);
    enum ramet_rc rc = RAMET_OK;

    assert(io_summing->next != 0);
    if (b == NULL || bytes_read == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for checksums");
        bytes = 0;
    } else {
        b->session = session;
        b->replica = session->replica;
    }
    for (uint64_t spent = 0; rc == RAMET_OK && spent < bytes;) {
        bool done;

        if (!place_block(b, io_summing->next)) {
            io_summing->next = 0;
            if (!io_summing->left_out)
                rc = finish(session, err);
            break;
        }
        rc = sum_block(b, bytes_read, &done, &spent, err);
        io_summing->left_out |= !done;
        io_summing->next += b->count;
    }
    ramet_free(b);
    ramet_free(bytes_read);
    return rc;
}

enum ramet_rc
ramet_session_sum(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_summing summing = {.next = 1};
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc == RAMET_OK && session->replica->is_readonly)
        rc = RAMET_FAIL(err, RAMET_EREADONLY, "%s can't be written",
                        session->replica->path);
    if (rc == RAMET_OK && ramet_is_unsummed(session->replica))
        rc = ramet_sums_go_on(session, UINT64_MAX, &summing, err);
    return rc;
}

/* ---- as they are read ---------------------------------------------------- */

/* Is what the base has of a page what the pinned snapshot sees? It is if the
 * base has the newest version, and no checkpoint has passed the pin. */
static bool
is_seen_in_base(struct ramet_session *session, uint32_t pgno, uint64_t value)
{
    struct ramet_replica *const replica = session->replica;

    assert(session->is_pinned && ramet_holds(session, RAMET_LOCK_BASE));
    return ramet_is_page_in_base(replica, pgno, value) &&
           !ramet_retained_counts(replica, session->pin.snapshot.tail);
}

void
ramet_session_note_pages(struct ramet_session *session, uint32_t first,
                         uint32_t count, const uint8_t *pages)
{
    struct ramet_replica *const replica = session->replica;
    const uint32_t page_size = session->pin.snapshot.page_size;
    uint64_t values[BLOCK];
    uint64_t sums[BLOCK];
    bool changed = false;
    enum ramet_rc rc;

    assert(first >= 1);
    assert(session->is_pinned);
    if (!ramet_is_unsummed(replica) || replica->is_readonly || count > BLOCK ||
        ramet_session_has_own(session))
        return;
    for (uint32_t i = 0; i < count; i++)
        sums[i] = ramet_presence_sum(first + i, pages + (size_t)i * page_size,
                                     page_size);
    if (ramet_base_lock(session, RAMET_LOCK_WAIT_MS, NULL) != RAMET_OK)
        return;
    rc = ramet_presence_read(replica, first, count, values, NULL);
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++)
        if (is_unknown(values[i]) &&
            is_seen_in_base(session, first + i, values[i])) {
            values[i] = sums[i];
            changed = true;
        }
    if (changed) /* else, or if that fails, they are summed later */
        rc = ramet_presence_write(replica, first, count, values, NULL);
    (void)rc;
    ramet_base_unlock(session);
}

/* ---- before they are sent ------------------------------------------------- */

/* Was it read from the log, where it has a checksum of its own? It was if it is
 * there still: no page goes back from the base to its frame. */
static bool
is_in_log(struct ramet_session *session, uint32_t pgno)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_entry entry = ramet_index_known(replica, pgno);

    assert(session->is_pinned && pgno >= 1);
    return ramet_entry_in_log(entry) &&
           ramet_pos_before(ramet_entry_pos(entry),
                            session->pin.snapshot.tail) &&
           ramet_pos_file(ramet_entry_pos(entry)) >=
               atomic_load_explicit(&replica->head->header.checkpoint.oldest,
                                    memory_order_acquire);
}

/* With the base lock; `value` is from presence, `sum` the page's. By invariant (3). */
static enum ramet_rc
check_page(struct ramet_session *session, uint32_t pgno, uint64_t value,
           uint64_t sum, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    struct ramet_page_version version = {.kind = RAMET_ENTRY_NONE};
    struct ramet_entry entry;
    enum ramet_rc rc;

    assert(ramet_holds(session, RAMET_LOCK_BASE));
    if (!ramet_presence_is_sum(value) || sum == value)
        return RAMET_OK;
    rc = ramet_index_load_locked(session, pgno, &entry, err);
    if (rc == RAMET_OK)
        rc = ramet_read_version(session, s->tail, s->page_size, pgno, NULL,
                                &version, err);
    if (rc != RAMET_OK || version.kind != RAMET_ENTRY_HELD)
        return rc;
    rc = ramet_base_confirm(session->replica, err); /* did somebody write? */
    return rc != RAMET_OK
               ? rc
               : RAMET_FAIL(err, RAMET_ECORRUPT,
                            "%s: page %u is not as it was committed: it rotted "
                            "on the disk, and nothing was sent; 'ramet verify' "
                            "mends what the remote has, 'ramet adopt' takes "
                            "the file as it is",
                            session->replica->path, pgno);
}

enum ramet_rc
ramet_session_check_pages(struct ramet_session *session, uint32_t first,
                          uint32_t count, const uint8_t *pages,
                          struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const uint32_t page_size = session->pin.snapshot.page_size;
    uint64_t values[BLOCK], sums[BLOCK];
    uint32_t in_log = 0;
    enum ramet_rc rc;

    assert(session->is_pinned && first >= 1 && count <= BLOCK);
    if (ramet_session_has_own(session) || replica->is_readonly)
        return RAMET_OK;
    while (in_log < count && is_in_log(session, first + in_log))
        in_log++;
    if (in_log == count) /* as of most that are pushed: no lock */
        return RAMET_OK;
    for (uint32_t i = in_log; i < count; i++) /* before others have to wait */
        sums[i] = ramet_presence_sum(first + i, pages + (size_t)i * page_size,
                                     page_size);
    rc = ramet_base_lock(session, RAMET_LOCK_WAIT_MS, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_presence_read(replica, first, count, values, err);
    for (uint32_t i = in_log; rc == RAMET_OK && i < count; i++)
        rc = check_page(session, first + i, values[i], sums[i], err);
    ramet_base_unlock(session);
    return rc;
}
