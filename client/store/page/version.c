/*
 * version.c - which version of a page a snapshot sees.
 *
 *   (1) nothing is locked; after each read the reader makes sure that what it
 *       read from was not retired or changed meanwhile, or begins again
 *   (2) a version in the log or a fetch file is used only if its frame names
 *       the page and the place, and the checksum is right
 */
#include "client/store/page/version.h"

#include <assert.h>
#include <string.h>

#include "client/store/format/frames.h"
#include "client/store/page/pageframe.h"
#include "client/store/page/retained.h"
#include "client/store/shared/base.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"

#define RESTARTS_MAX 100000u

/* Walking from version to version. */
struct lookup {
    struct ramet_session *session;
    struct ramet_pos tail;
    uint32_t pgno;
    struct ramet_pageframe_room room;
    struct ramet_entry at; /* the entry looked at */
    struct ramet_pos
        bound; /* each version in the log stands before the one after it:
                       no damage leads round in a circle */
    struct ramet_page_version *version;
    bool again; /* the index changed during the read: retry */
    bool is_found;
};

static bool
is_log_retired(const struct lookup *l, struct ramet_pos pos)
{
    atomic_thread_fence(memory_order_acquire); /* after what was read */
    return ramet_pos_file(pos) <
           atomic_load_explicit(
               &l->session->replica->head->header.checkpoint.oldest,
               memory_order_acquire);
}

static bool
is_fetched_retired(const struct lookup *l, struct ramet_pos pos)
{
    atomic_thread_fence(memory_order_acquire);
    return ramet_pos_file(pos) <
           atomic_load_explicit(
               &l->session->replica->head->header.fetched.oldest,
               memory_order_acquire);
}

static void
find_version(struct lookup *l, enum ramet_entry_kind kind)
{
    assert(kind != RAMET_ENTRY_NONE);
    l->version->kind = kind;
    l->is_found = true;
}

/* The version is in the frame that was read. */
static enum ramet_rc
find_in_frame(struct lookup *l, enum ramet_entry_kind kind,
              const struct ramet_pageframe *frame)
{
    assert(frame->is_right); /* invariant (2) */
    if (l->room.out != NULL && frame->page_size != l->room.page_size)
        return RAMET_ECORRUPT;
    l->version->hash = frame->hash;
    l->version->has_hash = frame->head.kind == RAMET_LOGFRAME_IMAGE;
    find_version(l, kind);
    return RAMET_OK;
}

/* What a checkpoint kept for old snapshots is theirs at any time. Where they
 * come to the base they look once more: it may have been kept just now. */
static enum ramet_rc
look_in_retained(struct lookup *l, struct ramet_err *err)
{
    struct ramet_retained_version found;
    const enum ramet_rc rc =
        ramet_retained_find(l->session->replica, l->tail, l->room.page_size,
                            l->pgno, l->room.out, &found, err);

    if (rc != RAMET_OK || found.kind == RAMET_ENTRY_NONE)
        return rc;
    l->at = RAMET_NO_ENTRY;
    l->again = false;
    l->version->hash = found.hash;
    l->version->has_hash = found.kind == RAMET_ENTRY_IMAGE;
    find_version(l, found.kind);
    return RAMET_OK;
}

/* The entry is a log position. */
static enum ramet_rc
look_in_log(struct lookup *l, struct ramet_err *err)
{
    const struct ramet_pos pos = ramet_entry_pos(l->at);
    const enum ramet_entry_kind kind = ramet_entry_kind(l->at);
    const bool is_newer = !ramet_pos_before(pos, l->tail);
    struct ramet_pageframe frame;
    enum ramet_rc rc;

    assert(atomic_load(&l->session->epoch) != 0);
    assert(l->pgno >= 1);
    if (!ramet_pos_before(pos, l->bound))
        return RAMET_ECORRUPT;
    l->bound = pos;
    if (is_newer && is_log_retired(l, pos)) { /* the base is too new */
        rc = look_in_retained(l, err);
        return rc == RAMET_OK && !l->is_found ? RAMET_ECORRUPT : rc;
    }
    if (is_log_retired(l, pos)) { /* it is in the base now */
        l->at = ramet_entry_of_stamp(
            kind == RAMET_ENTRY_IMAGE      ? RAMET_ENTRY_HELD
            : kind == RAMET_ENTRY_LOG_ZERO ? RAMET_ENTRY_ZERO
                                           : RAMET_ENTRY_ABSENT,
            0);
        return RAMET_OK;
    }
    if (!is_newer && (kind != RAMET_ENTRY_IMAGE || l->room.out == NULL)) {
        find_version(l, kind);
        return RAMET_OK;
    }
    rc = ramet_pageframe_read(l->session->replica, kind, pos, l->pgno, &l->room,
                              &frame, err);
    if (is_log_retired(l, pos)) { /* invariant (1) */
        l->again = true;
        return RAMET_OK;
    }
    if (rc != RAMET_OK)
        return rc == RAMET_ENOTFOUND ? RAMET_ECORRUPT : rc;
    if (!frame.is_right) /* invariant (2) */
        return RAMET_ECORRUPT;
    if (is_newer) {
        l->at = frame.head.replaced;
        return RAMET_OK;
    }
    return find_in_frame(l, kind, &frame);
}

/* The entry is a fetched page: as good as what it replaced, if that is visible. */
static enum ramet_rc
look_in_fetched(struct lookup *l, struct ramet_err *err)
{
    const struct ramet_pos pos = ramet_entry_pos(l->at);
    const bool is_newest = ramet_entry_same(l->at, l->version->top);
    struct ramet_pageframe frame;
    struct ramet_err failure; /* ignored where its file is retired */
    enum ramet_rc rc =
        ramet_pageframe_read(l->session->replica, RAMET_ENTRY_FETCHED, pos,
                             l->pgno, &l->room, &frame, &failure);

    assert(l->pgno >= 1 && !l->is_found);
    if (is_fetched_retired(l, pos)) {
        /* Reached through a later version it can be fetched again. */
        l->again = is_newest;
        l->at = ramet_entry_of_stamp(RAMET_ENTRY_ABSENT, 0);
        return RAMET_OK;
    }
    if (rc == RAMET_ENOTFOUND || (rc == RAMET_OK && !frame.is_right)) {
        if (is_newest)
            return RAMET_ECORRUPT;
        /* Nor is it synced. Had it replaced what the log has, the later version
         * would name that. */
        l->at = ramet_entry_of_stamp(RAMET_ENTRY_ABSENT, 0);
        return RAMET_OK;
    }
    if (rc != RAMET_OK && err != NULL)
        *err = failure;
    if (rc != RAMET_OK)
        return rc;
    if (ramet_entry_in_log(frame.head.replaced) &&
        !ramet_pos_before(ramet_entry_pos(frame.head.replaced), l->tail)) {
        l->at = frame.head.replaced;
        return RAMET_OK;
    }
    if (!ramet_entry_in_log(frame.head.replaced)) { /* of the base's version */
        rc = look_in_retained(l, err);
        if (rc != RAMET_OK || l->is_found)
            return rc;
    }
    return find_in_frame(l, RAMET_ENTRY_FETCHED, &frame);
}

static enum ramet_rc
look_in_base(struct lookup *l, struct ramet_err *err)
{
    const enum ramet_entry_kind kind = ramet_entry_kind(l->at);
    struct ramet_entry now;
    enum ramet_rc rc = RAMET_OK;

    assert(l->pgno >= 1);
    if (kind == RAMET_ENTRY_HELD && l->room.out != NULL)
        rc = ramet_base_read(l->session->replica, l->room.page_size, l->pgno,
                             l->room.out, err);
    if (rc != RAMET_OK)
        return rc;
    atomic_thread_fence(memory_order_acquire);
    rc = ramet_index_load(l->session, l->pgno, &now, err);
    l->again = rc == RAMET_OK && !ramet_entry_same(now, l->version->top);
    find_version(l, kind);
    return rc == RAMET_OK ? look_in_retained(l, err) : rc;
}

static enum ramet_rc
look(struct lookup *l, struct ramet_err *err)
{
    assert(l->pgno >= 1);
    switch (ramet_entry_kind(l->at)) {
    case RAMET_ENTRY_IMAGE:
    case RAMET_ENTRY_LOG_ZERO:
    case RAMET_ENTRY_REMOTE:
        return look_in_log(l, err);
    case RAMET_ENTRY_FETCHED:
        return look_in_fetched(l, err);
    case RAMET_ENTRY_HELD:
    case RAMET_ENTRY_ABSENT:
    case RAMET_ENTRY_ZERO:
        return look_in_base(l, err);
    case RAMET_ENTRY_NONE:
        break;
    }
    return RAMET_ECORRUPT;
}

/* Until a version is found that did not change while it was read. */
static enum ramet_rc
look_up(struct lookup *l, struct ramet_err *err)
{
    struct ramet_page_version *const version = l->version;
    enum ramet_rc rc = RAMET_OK;

    assert(l->pgno >= 1);
    for (unsigned i = 0; i < RESTARTS_MAX; i++) {
        l->again = false;
        l->is_found = false;
        l->bound = RAMET_POS_MAX;
        version->has_hash = false;
        rc = ramet_index_load(l->session, l->pgno, &version->top, err);
        if (rc != RAMET_OK)
            return rc;
        l->at = version->top;
        rc = look_in_retained(l, err);
        while (rc == RAMET_OK && !l->again && !l->is_found)
            rc = look(l, err);
        if (rc == RAMET_ECORRUPT)
            return RAMET_FAIL(
                err, RAMET_ECORRUPT,
                "%s: page %u fails its checksum (log position "
                "%llu:%llu)",
                l->session->replica->path, l->pgno,
                (unsigned long long)ramet_pos_file(ramet_entry_pos(l->at)),
                (unsigned long long)ramet_pos_offset(ramet_entry_pos(l->at)));
        if (rc != RAMET_OK || !l->again)
            return rc;
    }
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "%s: page %u kept changing while it was read",
                      l->session->replica->path, l->pgno);
}

bool
ramet_version_is_elsewhere(const struct ramet_page_version *version)
{
    return version->kind == RAMET_ENTRY_ABSENT ||
           version->kind == RAMET_ENTRY_REMOTE;
}

enum ramet_rc
ramet_read_version(struct ramet_session *session, struct ramet_pos tail,
                   uint32_t page_size, uint32_t pgno, uint8_t *out,
                   struct ramet_page_version *out_version,
                   struct ramet_err *err)
{
    struct lookup l = {.session = session,
                       .tail = tail,
                       .pgno = pgno,
                       .room = {.out = out, .page_size = page_size},
                       .version = out_version};
    const bool entered = ramet_epoch_enter(session);
    const enum ramet_rc rc = look_up(&l, err);

    assert(pgno != 0 && ramet_page_size_ok(page_size));
    ramet_epoch_leave(session, entered);
    ramet_free(l.room.spare);
    out_version->found = l.at;
    if (rc == RAMET_OK && out != NULL &&
        (out_version->kind == RAMET_ENTRY_ZERO ||
         out_version->kind == RAMET_ENTRY_LOG_ZERO))
        memset(out, 0, page_size);
    return rc;
}
