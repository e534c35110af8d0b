/*
 * durable.c - see durable.h.
 *
 * <file>-ramet/commit, replaced as a whole:
 *
 *   0   8   magic "RAMTDUR" and version 1
 *   8   8   LSN of the commit (so that one small read tells whether it counts)
 *   16  16  XXH3-128 of the content: page numbers and images, byte length
 *   32  16  XXH3-128 of bytes 0 to 31 and of the object
 *   48  …   the commit object
 *
 * Layer: client.
 */
#include "client/durable.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "client/builder.h"
#include "client/fence.h"
#include "client/keep.h"
#include "core/alloc.h"
#include "core/hash.h"

#define NAME "commit"
#define HEAD_SIZE 48u
#define SEALED_SIZE 32u
#define FILE_MAX                                                               \
    (HEAD_SIZE + (size_t)RAMET_COMMIT_HEAD_MAX + RAMET_SEGMENT_INLINE_MAX)

static const uint8_t magic[8] = {'R', 'A', 'M', 'T', 'D', 'U', 'R', 1};

void
ramet_durable_done(struct ramet_durable *durable)
{
    ramet_buf_done(&durable->object);
    *durable = (struct ramet_durable){.landed = false};
}

/* ---- the kept commit ------------------------------------------------------ */

static struct ramet_hash
seal(const uint8_t *file, size_t len, struct ramet_hasher *hasher)
{
    ramet_hasher_reset(hasher);
    ramet_hasher_update(hasher, file, SEALED_SIZE);
    ramet_hasher_update(hasher, file + HEAD_SIZE, len - HEAD_SIZE);
    return ramet_hasher_digest(hasher);
}

static enum ramet_rc
keep(const struct ramet_link *link, uint64_t lsn,
     const struct ramet_hash *content, const struct ramet_buf *object,
     struct ramet_err *err)
{
    const size_t len = HEAD_SIZE + object->len;
    struct ramet_hasher *const hasher = ramet_hasher_new();
    uint8_t *const file = ramet_alloc(len);
    struct ramet_hash sum;
    enum ramet_rc rc;

    if (hasher == NULL || file == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", link->path);
        goto done;
    }
    memcpy(file, magic, sizeof(magic));
    ramet_put_le64(file + 8, lsn);
    memcpy(file + 16, content->bytes, RAMET_HASH_SIZE);
    memcpy(file + HEAD_SIZE, object->data, object->len);
    sum = seal(file, len, hasher);
    memcpy(file + SEALED_SIZE, sum.bytes, RAMET_HASH_SIZE);
    rc = ramet_keep_write(link->replica, NAME, file, len, err);

done:
    ramet_hasher_free(hasher);
    ramet_free(file);
    return rc;
}

static void
forget(const struct ramet_link *link)
{
    ramet_keep_forget(link->replica, NAME);
}

/* The LSN of the kept commit, 0 if there is none. */
static enum ramet_rc
peek(const struct ramet_link *link, uint64_t *out_lsn, struct ramet_err *err)
{
    uint8_t head[16];
    size_t got = 0;
    const enum ramet_rc rc =
        ramet_keep_peek(link->replica, NAME, head, sizeof(head), &got, err);

    *out_lsn =
        rc == RAMET_OK && got == sizeof(head) ? ramet_get_le64(head + 8) : 0;
    return rc;
}

/* The whole of it, checked; *out_file the caller's. RAMET_ENOTFOUND. */
static enum ramet_rc
load(const struct ramet_link *link, uint8_t **out_file, size_t *out_len,
     struct ramet_err *err)
{
    struct ramet_hasher *const hasher = ramet_hasher_new();
    uint8_t *file = NULL;
    size_t len = 0;
    struct ramet_hash sum;
    enum ramet_rc rc;

    if (hasher == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", link->path);
    rc = ramet_keep_read(link->replica, NAME, FILE_MAX, &file, &len, err);
    if (rc != RAMET_OK)
        goto done;
    if (len > HEAD_SIZE)
        sum = seal(file, len, hasher);
    if (len <= HEAD_SIZE || memcmp(file, magic, sizeof(magic)) != 0 ||
        memcmp(file + SEALED_SIZE, sum.bytes, RAMET_HASH_SIZE) != 0) {
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "%s-ramet/" NAME ": is damaged",
                        link->path);
        goto done;
    }
    *out_file = file;
    *out_len = len;
    file = NULL;

done:
    ramet_hasher_free(hasher);
    ramet_free(file);
    return rc;
}

/* What a commit holds: equal hashes, equal commits. */
static enum ramet_rc
hash_content(struct ramet_session *session, const struct ramet_pageset *pages,
             uint32_t page_size, uint64_t byte_length, struct ramet_hash *out,
             struct ramet_err *err)
{
    struct ramet_hasher *const hasher = ramet_hasher_new();
    uint8_t *const page = ramet_calloc(1, page_size + 4u);
    uint8_t length[8];
    enum ramet_rc rc = RAMET_OK;

    if (hasher == NULL || page == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "commit: no memory");
    for (size_t i = 0; rc == RAMET_OK && i < pages->run_count; i++)
        for (uint64_t p = pages->runs[i].first;
             rc == RAMET_OK && p <= pages->runs[i].last; p++) {
            size_t got;

            ramet_put_le32(page, (uint32_t)p);
            rc = ramet_session_read(session, (p - 1) * page_size, page + 4,
                                    page_size, &got, err);
            if (rc == RAMET_OK)
                ramet_hasher_update(hasher, page, page_size + 4u);
        }
    if (rc == RAMET_OK) {
        ramet_put_le64(length, byte_length);
        ramet_hasher_update(hasher, length, sizeof(length));
        *out = ramet_hasher_digest(hasher);
    }
    ramet_free(page);
    ramet_hasher_free(hasher);
    return rc;
}

/* ---- settling ------------------------------------------------------------- */

/* Is the one pending commit the content of the kept one? Pinned. */
static enum ramet_rc
is_alive(struct ramet_session *session, const struct ramet_replica_state *state,
         const uint8_t *content, bool *out_alive, struct ramet_err *err)
{
    struct ramet_hash hash;
    enum ramet_rc rc;

    *out_alive = false;
    if (state->commits_later != 1 || state->commits_in_flight != 0 ||
        state->newest.page_size == 0)
        return RAMET_OK;
    rc = hash_content(session, &state->later, state->newest.page_size,
                      state->newest.byte_length, &hash, err);
    if (rc == RAMET_OK)
        *out_alive = memcmp(hash.bytes, content, RAMET_HASH_SIZE) == 0;
    return rc;
}

/* The pending commit as an intent with the kept object's id and bytes. Both are
 * repeated where somebody died in between. */
static enum ramet_rc
make_intent(struct ramet_session *session,
            const struct ramet_replica_state *state,
            const struct ramet_vid *volume, const uint8_t *object, size_t len,
            struct ramet_err *err)
{
    struct ramet_remote_point point;
    struct ramet_cid id;
    enum ramet_rc rc;

    rc = ramet_sync_point(object, len, volume, &point, &id, err);
    if (rc == RAMET_OK && ramet_id_is_nil(&state->intent.id))
        rc = ramet_session_freeze(session, &state->newest, &id, err);
    else if (rc == RAMET_OK && ramet_id_compare(&state->intent.id, &id.id) != 0)
        return RAMET_OK; /* another's: it was made after that was settled */
    return rc == RAMET_OK ? ramet_session_keep_intent(session, object, len, err)
                          : rc;
}

enum ramet_rc
ramet_durable_notice(struct ramet_link *link, struct ramet_session *session,
                     struct ramet_err *err)
{
    uint64_t lsn = 0;
    const enum ramet_rc rc = peek(link, &lsn, err);

    if (rc == RAMET_OK && lsn != 0)
        ramet_session_note_kept(session, lsn);
    return rc;
}

static enum ramet_rc
claim(struct ramet_link *link, struct ramet_session *session,
      const struct ramet_replica_state *state, const uint8_t *file, size_t len,
      struct ramet_err *err)
{
    bool alive = !ramet_id_is_nil(&state->intent.id);
    enum ramet_rc rc = RAMET_OK;

    if (!alive)
        rc = is_alive(session, state, file + 16, &alive, err);
    if (rc == RAMET_OK && alive)
        rc = ramet_session_lock_push(session, err);
    if (rc != RAMET_OK || !alive)
        return rc;
    rc = make_intent(session, state, &state->volume, file + HEAD_SIZE,
                     len - HEAD_SIZE, err);
    if (rc == RAMET_OK)
        forget(link);
    ramet_session_unlock_push(session);
    return rc;
}

enum ramet_rc
ramet_durable_claim(struct ramet_link *link, struct ramet_session *session,
                    struct ramet_replica_state *state, struct ramet_err *err)
{
    uint8_t *file = NULL;
    size_t len = 0;
    enum ramet_rc rc = ramet_session_state(session, state, err);

    if (rc == RAMET_OK)
        rc = load(link, &file, &len, err);
    if (rc == RAMET_OK && ramet_get_le64(file + 8) == state->newest.lsn + 1)
        rc = claim(link, session, state, file, len, err);
    else if (rc == RAMET_ENOTFOUND || rc == RAMET_ECORRUPT)
        rc = RAMET_OK; /* whoever pushes will say what is wrong with it */
    ramet_free(file);
    if (rc == RAMET_OK) /* taken, or to be fenced by whoever pushes */
        ramet_session_note_kept(session, 0);
    return rc;
}

/* Pinned, in a run of sync. */
static enum ramet_rc
settle_alive(struct ramet_sync *sync, const uint8_t *file, size_t len,
             bool *out_alive, struct ramet_err *err)
{
    uint64_t spent_ms = 0;
    enum ramet_rc rc;

    *out_alive = false;
    if (sync->state->newest.lsn + 1 != ramet_get_le64(file + 8))
        return RAMET_OK;
    do
        rc = ramet_session_pin(sync->session, err);
    while (rc == RAMET_EBUSY && ramet_sync_retry(sync, &spent_ms));
    if (rc != RAMET_OK)
        return rc;
    rc = is_alive(sync->session, sync->state, file + 16, out_alive, err);
    ramet_session_unpin(sync->session);
    if (rc == RAMET_OK && *out_alive) {
        rc = make_intent(sync->session, sync->state, &sync->volume,
                         file + HEAD_SIZE, len - HEAD_SIZE, err);
        ramet_session_unpin(sync->session);
    }
    return rc == RAMET_OK && *out_alive ? ramet_sync_look(sync, err) : rc;
}

enum ramet_rc
ramet_durable_settle(struct ramet_sync *sync, struct ramet_err *err)
{
    uint8_t *file = NULL;
    size_t len = 0;
    uint64_t lsn = 0;
    bool alive = false;
    struct ramet_head newest;
    enum ramet_rc rc;

    assert(sync->has_push_lock && sync->history != NULL);
    assert(ramet_id_is_nil(&sync->state->intent.id));
    rc = peek(sync->link, &lsn, err);
    if (rc != RAMET_OK || lsn <= sync->state->newest.lsn)
        return rc;
    rc = load(sync->link, &file, &len, err);
    if (rc == RAMET_OK)
        rc = settle_alive(sync, file, len, &alive, err);
    if (rc != RAMET_OK)
        goto done;
    if (!alive) {
        rc = ramet_sync_newest(sync, &newest, err);
        if (rc == RAMET_OK && newest.lsn + 1 == lsn)
            rc = ramet_fence_slot(sync, &newest, err);
        if (rc == RAMET_OK)
            rc = ramet_fence_pass(sync, lsn, err);
    }
    if (rc == RAMET_OK)
        forget(sync->link);

done:
    ramet_free(file);
    return rc;
}

enum ramet_rc
ramet_durable_is_ready(struct ramet_link *link, struct ramet_session *session,
                       struct ramet_replica_state *state, bool *out_ready,
                       struct ramet_err *err)
{
    uint64_t lsn = 0;
    enum ramet_rc rc;

    rc = ramet_session_state(session, state, err);
    if (rc == RAMET_OK)
        rc = peek(link, &lsn, err);
    if (rc == RAMET_OK)
        *out_ready = lsn <= state->newest.lsn &&
                     !ramet_id_is_nil(&state->volume.id) &&
                     ramet_id_is_nil(&state->intent.id) &&
                     state->commits_in_flight == 0 && state->commits_later == 0;
    return rc;
}

enum ramet_rc
ramet_durable_ready(struct ramet_link *link, struct ramet_session *session,
                    uint64_t wait_ms, struct ramet_err *err)
{
    struct ramet_sync sync = {.verb = "push", .wait_ms = wait_ms};
    struct ramet_err own = {.code = RAMET_OK};
    uint64_t lsn = 0;
    enum ramet_rc rc;

    rc = ramet_sync_begin(&sync, link, session, &own);
    if (rc == RAMET_OK) {
        lsn = sync.state->newest.lsn;
        rc = ramet_sync_lock_push(&sync, &own);
    }
    if (rc == RAMET_OK)
        rc = ramet_sync_connect(&sync, &own);
    if (rc == RAMET_OK)
        rc = ramet_sync_bind(&sync, &own);
    if (rc == RAMET_OK)
        rc = ramet_sync_settle(&sync, &own);
    if (rc == RAMET_OK)
        rc = ramet_sync_push(&sync, &own);
    if (rc == RAMET_OK)
        rc = ramet_sync_pull(&sync, &own);
    if (rc == RAMET_OK && sync.state->newest.lsn != lsn &&
        ramet_session_snapshot(session)->lsn != sync.state->newest.lsn)
        rc = RAMET_FAIL(&own, RAMET_ESNAPSHOT,
                        "%s: an earlier commit was settled, which moved the "
                        "replica to LSN %" PRIu64 "; begin again",
                        link->path, sync.state->newest.lsn);
    ramet_sync_end(&sync, rc, &own);
    if (rc != RAMET_OK && err != NULL)
        *err = own;
    return rc;
}

/* ---- commit --------------------------------------------------------------- */

enum ramet_rc
ramet_durable_trim(struct ramet_session *session, enum ramet_volume_kind kind,
                   struct ramet_err *err)
{
    const uint64_t size = ramet_session_size(session);
    uint8_t header[100];
    uint64_t page_size;
    uint64_t length;
    size_t got = 0;
    enum ramet_rc rc;

    if (kind != RAMET_KIND_SQLITE || size < sizeof(header))
        return RAMET_OK;
    rc = ramet_session_read(session, 0, header, sizeof(header), &got, err);
    if (rc != RAMET_OK)
        return rc;
    /* The size counts only where the two counters agree: SQLite's rule. */
    if (memcmp(header, "SQLite format 3", 16) != 0 ||
        memcmp(header + 24, header + 92, 4) != 0)
        return RAMET_OK;
    page_size = ramet_get_be16(header + 16);
    if (page_size == 1)
        page_size = 65536;
    length = page_size * ramet_get_be32(header + 28);
    if (length == 0 || length >= size || size % page_size != 0)
        return RAMET_OK;
    return ramet_session_truncate(session, length, err);
}

/* What is to be sent, and on what it is based. */
struct sending {
    struct ramet_link *link;
    struct ramet_session *session;
    const struct ramet_replica_state *state;
    struct ramet_source *source;
    struct ramet_history *history;
    struct ramet_vid volume;
    struct ramet_pageset pages;
    struct ramet_snapshot after;
    struct ramet_head base;
    struct ramet_hash content;
};

/* The remote must stand where the replica does. */
static enum ramet_rc
check_base(struct sending *sending, struct ramet_err *err)
{
    const uint64_t own = sending->state->newest.lsn;
    enum ramet_rc rc;

    sending->source = ramet_link_source(sending->link);
    if (!ramet_link_volume(sending->link, &sending->volume))
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: has no volume",
                          sending->link->path);
    rc = ramet_source_history(sending->source, &sending->volume,
                              &sending->history, err);
    if (rc == RAMET_OK)
        rc = ramet_source_newest(sending->source, &sending->volume,
                                 &sending->base, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_link_note_remote(sending->link, sending->base.lsn,
                           sending->base.lsn > own ? sending->base.time_ms : 0);
    if (sending->base.lsn > own)
        return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                          "%s: somebody else committed LSN %" PRIu64
                          " first; `ramet pull`, and begin again",
                          sending->link->path, sending->base.lsn);
    if (sending->base.lsn < own ||
        (own > 0 && !ramet_hash_equal(&sending->base.hash,
                                      &sending->state->newest.lsn_hash)))
        return ramet_sync_went_back(sending->link, sending->state,
                                    sending->base.lsn, err);
    return RAMET_OK;
}

static enum ramet_rc
build(struct sending *sending, const struct ramet_cid *id,
      struct ramet_buf *object, struct ramet_err *err)
{
    const struct ramet_snapshot *const after = &sending->after;
    const struct ramet_builder builder = {
        .source = sending->source,
        .history = sending->history,
        .volume = sending->volume,
        .session = sending->session,
        .pages = &sending->pages,
        .base = &sending->base,
    };
    const bool resized =
        sending->base.lsn > 0 && sending->base.page_size != after->page_size;
    struct ramet_commit commit;
    enum ramet_rc rc = RAMET_OK;

    ramet_commit_init(&commit);
    commit.id = *id;
    commit.writer = sending->state->replica;
    commit.kind = sending->state->kind;
    commit.page_size = after->page_size;
    commit.page_count = after->page_count;
    commit.byte_length = after->byte_length;
    commit.least_page_count = sending->base.page_count < after->page_count
                                  ? sending->base.page_count
                                  : after->page_count;
    if (resized) {
        commit.least_page_count = 0;
        if (after->page_count > 0 &&
            ramet_pageset_add_run(&sending->pages,
                                  (struct ramet_run){1, after->page_count}) !=
                RAMET_OK)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "commit: no memory");
    }
    if (rc == RAMET_OK)
        rc = ramet_builder_run(&builder, &commit, object, err);
    ramet_commit_done(&commit);
    return rc;
}

static enum ramet_rc
send_object(struct sending *sending, struct ramet_durable *durable,
            struct ramet_err *err)
{
    const struct ramet_buf *const object = &durable->object;
    struct ramet_head winner;
    enum ramet_rc rc;

    rc = ramet_sync_point(object->data, object->len, &sending->volume,
                          &durable->point, &durable->id, err);
    if (rc == RAMET_OK)
        ramet_session_note_kept(sending->session, durable->point.lsn);
    if (rc == RAMET_OK)
        rc = keep(sending->link, durable->point.lsn, &sending->content, object,
                  err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_history_append(sending->history, object->data, object->len,
                              &winner, err);
    if (rc == RAMET_OK) {
        durable->landed = true;
        return rc;
    }
    if (rc == RAMET_ECONFLICT) {
        forget(sending->link);
        ramet_link_note_remote(sending->link, winner.lsn, winner.time_ms);
        return RAMET_FAIL(err, RAMET_ECONFLICT,
                          "%s: somebody else committed LSN %" PRIu64
                          " first; rolled back: pull, and begin again",
                          sending->link->path, winner.lsn);
    }
    /* Whatever else went wrong, the object may be under way: it stays kept. */
    return rc == RAMET_ETIMEOUT ? RAMET_EUNKNOWN : rc;
}

enum ramet_rc
ramet_durable_commit(struct ramet_durable *durable, struct ramet_link *link,
                     struct ramet_session *session,
                     const struct ramet_replica_state *state,
                     struct ramet_err *err)
{
    struct sending sending = {.link = link, .session = session, .state = state};
    struct ramet_cid id;
    enum ramet_rc rc;

    if (durable->landed) /* two SYNCs and one publish: it can't be recalled */
        return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                          "%s: LSN %" PRIu64 " was committed for this "
                          "transaction already",
                          link->path, durable->point.lsn);
    ramet_pageset_init(&sending.pages);
    rc = ramet_session_prepared_pages(session, &sending.pages, &sending.after,
                                      err);
    if (rc == RAMET_OK)
        rc = check_base(&sending, err);
    if (rc == RAMET_OK)
        rc = ramet_id_new(&id.id, err);
    if (rc == RAMET_OK)
        rc = hash_content(session, &sending.pages, sending.after.page_size,
                          sending.after.byte_length, &sending.content, err);
    if (rc == RAMET_OK)
        rc = build(&sending, &id, &durable->object, err);
    if (rc == RAMET_OK)
        rc = send_object(&sending, durable, err);
    ramet_pageset_done(&sending.pages);
    if (rc != RAMET_OK)
        ramet_durable_done(durable);
    return rc;
}

void
ramet_durable_published(struct ramet_durable *durable, struct ramet_link *link,
                        struct ramet_session *session)
{
    const struct ramet_snapshot base = *ramet_session_snapshot(session);
    enum ramet_rc rc;

    /* Any failure here leaves a pending commit and the kept object, which the
     * next settle brings together. */
    rc = ramet_session_lock_push(session, NULL);
    if (rc == RAMET_OK) {
        rc = ramet_session_freeze(session, &base, &durable->id, NULL);
        if (rc == RAMET_OK)
            rc = ramet_session_mark_durable(session, &base, &durable->point,
                                            NULL);
        ramet_session_unlock_push(session);
    }
    if (rc == RAMET_OK)
        ramet_link_note_remote(link, durable->point.lsn, 0);
    ramet_durable_done(durable);
}
