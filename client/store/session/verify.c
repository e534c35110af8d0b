/*
 * verify.c - `ramet verify` of a replica: each page that is here against its
 * checksum, and what is not right is mended.
 *
 *   (1) a page of the base that rotted is written anew, if the remote's page has
 *       the checksum: so it is right for every reader, whichever its snapshot
 *   (2) where that can't be had it is given up, by eviction's rule (drop_pages.c);
 *       where that can't be, it stays as it is, and the next run tries again
 *   (3) what was found is looked at again under the lock under which it is
 *       mended; nothing is fetched under a lock
 */
#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/page/version.h"
#include "client/store/session/fetch.h"
#include "client/store/shared/base.h"
#include "client/store/shared/base_check.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/mark.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "client/store/upkeep/drop_pages.h"
#include "core/alloc.h"

#define BLOCK 512u             /* pages */
#define BLOCK_BYTES (1u << 20) /* read under one hold of the base lock */
#define WRITER_WAIT_MS 1000u

struct verification {
    struct ramet_session *session;
    struct ramet_replica *replica;
    uint32_t page_size;
    uint8_t *page;
    struct ramet_pageset bad;    /* of the base */
    struct ramet_pageset others; /* of the block: in log and fetch files */
    uint64_t checked;
    uint64_t damaged;
};

static enum ramet_rc
add(struct ramet_pageset *set, uint32_t pgno, struct ramet_err *err)
{
    assert(pgno >= 1);
    return ramet_pageset_add(set, pgno) == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a set");
}

/* ---- finding ------------------------------------------------------------- */

/* Is its word in presence damaged, and nothing else known of it? */
static bool
is_unknown(const struct verification *v, uint32_t pgno, uint64_t value)
{
    return value == RAMET_PRESENCE_DAMAGED &&
           pgno <=
               atomic_load(&v->replica->head->header.checkpoint.page_count) &&
           ramet_entry_is_none(ramet_index_peek(v->replica, pgno));
}

/* A page of the base, with the base lock. */
static enum ramet_rc
check_in_base(struct verification *v, uint32_t pgno, uint64_t value,
              bool *out_bad, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(v->page != NULL);
    assert(ramet_may_read_base(v->replica));
    *out_bad = false;
    if (ramet_presence_is_sum(value))
        rc = ramet_base_read(v->replica, v->page_size, pgno, v->page, err);
    if (rc == RAMET_OK && ramet_presence_is_sum(value))
        *out_bad = ramet_presence_sum(pgno, v->page, v->page_size) != value;
    return rc;
}

static enum ramet_rc
look_at_page(struct verification *v, uint32_t pgno, uint64_t value,
             struct ramet_err *err)
{
    const struct ramet_entry entry = ramet_index_peek(v->replica, pgno);
    bool bad = is_unknown(v, pgno, value);
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_may_read_base(v->replica));
    if (!bad && ramet_is_page_in_base(v->replica, pgno, value))
        rc = check_in_base(v, pgno, value, &bad, err);
    else if (!bad)
        return ramet_entry_is_none(entry) &&
                       ramet_presence_is_missing(value,
                                                 v->replica->default_held)
                   ? RAMET_OK
                   : add(&v->others, pgno, err);
    if (rc != RAMET_OK)
        return rc;
    v->checked++;
    v->damaged += bad ? 1 : 0;
    return bad ? add(&v->bad, pgno, err) : RAMET_OK;
}

/* What is not in the base is checked as it is read. */
static enum ramet_rc
look_elsewhere(struct verification *v, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &v->session->pin.snapshot;
    enum ramet_rc rc = RAMET_OK;

    assert(v->session->is_pinned);
    for (size_t i = 0; rc == RAMET_OK && i < v->others.run_count; i++)
        for (uint64_t p = v->others.runs[i].first;
             rc == RAMET_OK && p <= v->others.runs[i].last; p++) {
            struct ramet_page_version version = {.kind = RAMET_ENTRY_NONE};

            rc = ramet_read_version(v->session, s->tail, s->page_size,
                                    (uint32_t)p, v->page, &version, err);
            if (rc == RAMET_ECORRUPT) {
                v->damaged++;
                rc = RAMET_OK;
            } else if (rc != RAMET_OK || version.kind == RAMET_ENTRY_ABSENT ||
                       version.kind == RAMET_ENTRY_REMOTE) {
                continue;
            }
            v->checked++;
        }
    ramet_pageset_clear(&v->others);
    return rc;
}

static enum ramet_rc
look_at_block(struct verification *v, uint32_t first, uint32_t count,
              struct ramet_err *err)
{
    uint64_t values[BLOCK];
    enum ramet_rc rc = RAMET_OK;

    assert(count >= 1 && count <= BLOCK);
    if (!v->replica->has_own_index)
        rc = ramet_base_lock(v->session, RAMET_LOCK_WAIT_MS, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_presence_read(v->replica, first, count, values, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++)
        rc = look_at_page(v, first + i, values[i], err);
    if (!v->replica->has_own_index)
        ramet_base_unlock(v->session);
    return rc == RAMET_OK ? look_elsewhere(v, err) : rc;
}

static enum ramet_rc
look_at_all(struct verification *v, struct ramet_err *err)
{
    const uint32_t page_count = v->session->pin.snapshot.page_count;
    uint32_t at_once = BLOCK;
    enum ramet_rc rc = RAMET_OK;

    assert(v->session->is_pinned);
    assert(page_count == 0 || ramet_page_size_ok(v->page_size));
    if (v->page_size > BLOCK_BYTES / BLOCK)
        at_once = BLOCK_BYTES / v->page_size;
    for (uint64_t at = 0; rc == RAMET_OK && at < page_count; at += at_once)
        rc = look_at_block(
            v, (uint32_t)at + 1,
            page_count - at < at_once ? (uint32_t)(page_count - at) : at_once,
            err);
    return rc;
}

/* ---- mending ------------------------------------------------------------- */

/* With the base lock: is the page as bad as it was? */
static enum ramet_rc
is_bad_still(struct verification *v, uint32_t pgno, uint64_t *out_value,
             bool *out_bad, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_presence_read(v->replica, pgno, 1, out_value, err);

    assert(ramet_holds(v->session, RAMET_LOCK_BASE));
    *out_bad = rc == RAMET_OK && is_unknown(v, pgno, *out_value);
    if (rc == RAMET_OK && !*out_bad &&
        ramet_is_page_in_base(v->replica, pgno, *out_value))
        rc = check_in_base(v, pgno, *out_value, out_bad, err);
    return rc;
}

/* Invariant (1); `page` is the remote's. */
static enum ramet_rc
write_anew(struct verification *v, uint32_t pgno, const uint8_t *page,
           bool *out_done, struct ramet_err *err)
{
    const uint64_t sum = ramet_presence_sum(pgno, page, v->page_size);
    uint64_t value;
    bool bad;
    enum ramet_rc rc = ramet_base_lock(v->session, RAMET_LOCK_WAIT_MS, err);

    assert(pgno >= 1 && !v->replica->is_readonly);
    if (rc != RAMET_OK)
        return rc;
    rc = is_bad_still(v, pgno, &value, &bad, err);
    *out_done = rc == RAMET_OK && (!bad || value == sum);
    if (*out_done && bad) {
        const bool was_at_rest = ramet_base_is_at_rest(v->replica);

        rc = ramet_base_begin_mending(v->session, err);
        if (rc == RAMET_OK)
            rc = ramet_base_write(v->replica, v->page_size, pgno, 1, page, err);
        if (was_at_rest)
            ramet_base_rest(v->replica);
    }
    ramet_base_unlock(v->session);
    return rc;
}

/* What the remote has with the right checksum; the rest stays in `bad`. */
static void
bring_anew(struct verification *v, const struct ramet_replica_state *fold)
{
    struct ramet_pageset left;
    uint8_t *const page = ramet_alloc(RAMET_PAGE_SIZE_MAX);
    bool is_reached = page != NULL;

    assert(!ramet_holds(v->session, RAMET_LOCK_BASE)); /* invariant (3) */
    ramet_pageset_init(&left);
    for (size_t i = 0; i < v->bad.run_count; i++)
        for (uint64_t p = v->bad.runs[i].first; p <= v->bad.runs[i].last; p++) {
            const uint32_t pgno = (uint32_t)p;
            bool done = false;

            /* The first failure is enough: it may have taken its time. */
            if (is_reached && ramet_is_page_clean(fold, pgno))
                is_reached = ramet_fetch_alone(v->session, pgno, page, NULL) ==
                                 RAMET_OK &&
                             write_anew(v, pgno, page, &done, NULL) == RAMET_OK;
            if (!done && ramet_pageset_add(&left, pgno) != RAMET_OK)
                is_reached = false; /* no memory: the next run finds it */
        }
    ramet_pageset_swap(&v->bad, &left);
    ramet_pageset_done(&left);
    ramet_free(page);
}

static bool
is_to_go(void *ctx, uint32_t pgno, uint64_t value)
{
    struct verification *const v = ctx;
    bool bad = is_unknown(v, pgno, value);

    assert(ramet_holds(v->session, RAMET_LOCK_BASE)); /* invariant (3) */
    if (!ramet_pageset_contains(&v->bad, pgno))
        return false;
    if (!bad && ramet_is_page_in_base(v->replica, pgno, value) &&
        check_in_base(v, pgno, value, &bad, NULL) != RAMET_OK)
        bad = false;
    return bad;
}

/* Invariant (2). */
static enum ramet_rc
give_up(struct verification *v, struct ramet_err *err)
{
    struct ramet_page_drop l;
    bool may;
    enum ramet_rc rc =
        ramet_drop_begin(&l, v->session, WRITER_WAIT_MS, &may, err);

    assert(v->session->is_pinned);
    if (rc != RAMET_OK || !may)
        return rc;
    l.is_mending = true;
    for (size_t i = 0; rc == RAMET_OK && i < v->bad.run_count; i++)
        for (uint64_t p = v->bad.runs[i].first;
             rc == RAMET_OK && p <= v->bad.runs[i].last;
             p += RAMET_DROP_AT_ONCE) {
            const uint64_t left = v->bad.runs[i].last - p + 1;

            rc = ramet_drop_pages(
                &l, (uint32_t)p,
                left < RAMET_DROP_AT_ONCE ? (uint32_t)left : RAMET_DROP_AT_ONCE,
                is_to_go, v, err);
        }
    return ramet_drop_end(&l, rc, err);
}

/* A page that can't be absent, since it has local commits, or since none is, is
 * here as it is: what it is now is what it is to be. */
static enum ramet_rc
believe_page(struct verification *v, uint32_t pgno, bool is_clean,
             struct ramet_err *err)
{
    struct ramet_index_header *const header = &v->replica->head->header;
    uint64_t absent = atomic_load(&header->base.absent);
    uint64_t value;
    enum ramet_rc rc = ramet_presence_read(v->replica, pgno, 1, &value, err);

    assert(ramet_holds(v->session, RAMET_LOCK_BASE));
    if (rc != RAMET_OK || !is_unknown(v, pgno, value) ||
        (is_clean && absent != 0))
        return rc;
    rc = ramet_base_read(v->replica, v->page_size, pgno, v->page, err);
    if (rc != RAMET_OK)
        return rc;
    value = ramet_presence_sum(pgno, v->page, v->page_size);
    if (absent == 0)
        return ramet_presence_write(v->replica, pgno, 1, &value, err);
    rc = ramet_presence_begin(
        v->replica, (uint32_t)atomic_load(&header->checkpoint.page_count),
        &absent, err);
    if (rc == RAMET_OK)
        rc = ramet_presence_write(v->replica, pgno, 1, &value, err);
    if (rc == RAMET_OK) {
        ramet_presence_end(v->replica, absent - 1);
        ramet_index_uncount_absent(v->replica);
    }
    return rc;
}

static enum ramet_rc
believe(struct verification *v, const struct ramet_replica_state *fold,
        struct ramet_err *err)
{
    enum ramet_rc rc = ramet_base_lock(v->session, RAMET_LOCK_WAIT_MS, err);

    assert(!v->replica->is_readonly);
    if (rc != RAMET_OK)
        return rc;
    for (size_t i = 0; rc == RAMET_OK && i < v->bad.run_count; i++)
        for (uint64_t p = v->bad.runs[i].first;
             rc == RAMET_OK && p <= v->bad.runs[i].last; p++)
            rc = believe_page(v, (uint32_t)p,
                              ramet_is_page_clean(fold, (uint32_t)p), err);
    ramet_base_unlock(v->session);
    return rc;
}

/* What was mended is as it should be, if all of it is. */
static void
confirm_base(struct verification *v)
{
    assert(!v->replica->is_readonly);
    if (ramet_base_lock(v->session, RAMET_LOCK_WAIT_MS, NULL) != RAMET_OK)
        return;
    /* If not, nobody moves anything into it until it is. */
    (void)!ramet_base_confirm(v->replica, NULL);
    ramet_base_unlock(v->session);
}

static enum ramet_rc
mend(struct verification *v, struct ramet_err *err)
{
    struct ramet_replica_state fold;
    enum ramet_rc rc;

    if (v->bad.run_count == 0 || v->replica->is_readonly)
        return RAMET_OK;
    assert(!ramet_holds(v->session, RAMET_LOCK_BASE));
    memset(&fold, 0, sizeof(fold));
    rc = ramet_session_state(v->session, &fold, err);
    if (rc == RAMET_OK)
        rc = believe(v, &fold, err);
    if (rc == RAMET_OK) {
        bring_anew(v, &fold);
        rc = give_up(v, err);
        confirm_base(v);
    }
    ramet_replica_state_done(&fold);
    return rc;
}

/* ---- all of it ----------------------------------------------------------- */

static enum ramet_rc
verify_pinned(struct verification *v, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(v->session->is_pinned);
    v->page_size = v->session->pin.snapshot.page_size;
    v->page = ramet_alloc(RAMET_PAGE_SIZE_MAX);
    if (v->page == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a page");
    rc = look_at_all(v, err);
    if (rc == RAMET_OK)
        rc = mend(v, err);
    ramet_free(v->page);
    ramet_pageset_done(&v->bad);
    ramet_pageset_done(&v->others);
    return rc;
}

enum ramet_rc
ramet_session_verify(struct ramet_session *session, uint64_t *out_checked,
                     uint64_t *out_bad, struct ramet_err *err)
{
    const bool was_pinned = session->is_pinned;
    struct verification v = {.session = session, .replica = session->replica};
    enum ramet_rc rc = ramet_session_pin(session, err);

    if (rc != RAMET_OK)
        return rc;
    rc = verify_pinned(&v, err);
    if (!was_pinned)
        ramet_session_unpin(session);
    if (rc == RAMET_OK) {
        *out_checked = v.checked;
        *out_bad = v.damaged;
    }
    return rc;
}
