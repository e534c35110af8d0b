/*
 * copy.c - see copy.h for its invariants.
 *
 * Workers take jobs in their order: first the page maps, each a job, then
 * the commits. A worker brings what its commit names, verifies it at the
 * target, waits until the commit before has been put, and puts its own. So
 * objects travel side by side, and commits one after another.
 *
 *   (4) A job is taken only when those before it were: whoever waits for its
 *       turn waits for somebody at work.
 *   (5) The first failure ends all: no job is taken after it, no turn comes.
 */
#include "metastore/copy.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/thread.h"
#include "metastore/maproot.h"
#include "metastore/node_cache.h"
#include "metastore/profile.h"
#include "metastore/verify.h"

#define WORKERS_MAX 8u
#define PIECE_BYTES (1u << 20)
#define PUT_TRIES 5 /* of a commit whose outcome is not known */

struct copy {
    struct ramet_history *from, *to;
    struct ramet_map_list maps; /* of the source, up to the last commit */
    uint64_t first_lsn;         /* that the target lacks */
    uint64_t trusted_map_lsn;   /* maps up to here were verified there before */
    ramet_copy_step *step;
    void *ctx;
    struct ramet_mutex mutex; /* guards what follows */
    struct ramet_cond turn;
    uint64_t next_job;
    uint64_t job_count;
    enum ramet_rc (*job)(void *worker, uint64_t index, struct ramet_err *err);
    struct ramet_copy_progress progress;
    enum ramet_rc rc; /* the first failure, invariant (5) */
    struct ramet_err err;
};

struct worker {
    struct copy *copy;
    struct ramet_verify source; /* objects there */
    struct ramet_verify target; /* and those that arrived */
    struct ramet_err damage;    /* the first that either has found */
    struct ramet_sid last_dict; /* which was verified last */
    uint8_t *piece;             /* PIECE_BYTES */
    struct ramet_thread thread;
};

/* ---- jobs ---------------------------------------------------------------- */

static void
fail_locked(struct copy *copy, enum ramet_rc rc, const struct ramet_err *err)
{
    if (copy->rc == RAMET_OK) {
        copy->rc = rc;
        copy->err = *err;
    }
    ramet_cond_broadcast(&copy->turn);
}

/* Under the mutex: tell how far it is; a stop counts as a failure. */
static void
tell_locked(struct copy *copy)
{
    struct ramet_err err;

    if (copy->rc == RAMET_OK && !copy->step(copy->ctx, &copy->progress))
        fail_locked(copy, RAMET_FAIL(&err, RAMET_ECANCELLED, "interrupted"),
                    &err);
}

static void *
work(void *arg)
{
    struct worker *const worker = arg;
    struct copy *const copy = worker->copy;

    ramet_mutex_lock(&copy->mutex);
    while (copy->rc == RAMET_OK && copy->next_job < copy->job_count) {
        const uint64_t index = copy->next_job++;
        struct ramet_err err = {0};
        enum ramet_rc rc;

        ramet_mutex_unlock(&copy->mutex);
        rc = copy->job(worker, index, &err);
        ramet_mutex_lock(&copy->mutex);
        if (rc != RAMET_OK)
            fail_locked(copy, rc, &err);
        tell_locked(copy);
    }
    ramet_mutex_unlock(&copy->mutex);
    return NULL;
}

static void
note_damage(void *ctx, bool damaged, const char *text, uint64_t done,
            uint64_t total)
{
    struct worker *const worker = ctx;

    (void)done;
    (void)total;
    if (damaged && worker->damage.code == RAMET_OK)
        (void)RAMET_FAIL(&worker->damage, RAMET_ECORRUPT, "%s", text);
}

static enum ramet_rc
worker_begin(struct worker *worker, struct copy *copy, struct ramet_err *err)
{
    enum ramet_rc rc;

    worker->copy = copy;
    rc = ramet_verify_begin(&worker->source, copy->from, copy->from,
                            note_damage, worker, err);
    if (rc == RAMET_OK)
        rc = ramet_verify_begin(&worker->target, copy->from, copy->to,
                                note_damage, worker, err);
    worker->piece = ramet_alloc(PIECE_BYTES);
    if (rc == RAMET_OK && worker->piece == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "copy");
    return rc;
}

static void
worker_done(struct worker *worker)
{
    if (worker->copy == NULL)
        return;
    ramet_free(worker->piece);
    ramet_verify_done(&worker->target);
    ramet_verify_done(&worker->source);
}

/* Do jobs 0 to `count` - 1; the first failure of any. */
static enum ramet_rc
run_jobs(struct copy *copy, uint64_t count,
         enum ramet_rc (*job)(void *worker, uint64_t index,
                              struct ramet_err *err),
         struct ramet_err *err)
{
    const size_t workers = count < WORKERS_MAX ? (size_t)count : WORKERS_MAX;
    struct worker *const pool = ramet_calloc(WORKERS_MAX, sizeof(pool[0]));
    enum ramet_rc rc = RAMET_OK;

    if (pool == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "copy");
    copy->job = job;
    copy->job_count = count;
    copy->next_job = 0;
    for (size_t i = 0; rc == RAMET_OK && i < workers; i++)
        rc = worker_begin(&pool[i], copy, err);
    for (size_t i = 0; rc == RAMET_OK && i < workers; i++)
        rc = ramet_thread_start(&pool[i].thread, "ramet-copy", work, &pool[i],
                                err);
    if (rc != RAMET_OK) {
        ramet_mutex_lock(&copy->mutex);
        fail_locked(copy, rc, err);
        ramet_mutex_unlock(&copy->mutex);
    }
    for (size_t i = 0; i < workers; i++)
        ramet_thread_join(&pool[i].thread);
    for (size_t i = 0; i < workers; i++)
        worker_done(&pool[i]);
    ramet_free(pool);
    if (copy->rc != RAMET_OK && err != NULL)
        *err = copy->err;
    return copy->rc;
}

/* ---- one object ---------------------------------------------------------- */

static void
count_object(struct copy *copy, uint64_t bytes)
{
    ramet_mutex_lock(&copy->mutex);
    copy->progress.objects++;
    copy->progress.bytes += bytes;
    tell_locked(copy);
    ramet_mutex_unlock(&copy->mutex);
}

static bool
is_ended(struct copy *copy)
{
    bool ended;

    ramet_mutex_lock(&copy->mutex);
    ended = copy->rc != RAMET_OK;
    ramet_mutex_unlock(&copy->mutex);
    return ended;
}

/* Piece after piece from the source into an upload, to its finish. */
static enum ramet_rc
stream_object(struct worker *worker, const char *key, uint64_t size_bytes,
              struct ramet_err *err)
{
    struct copy *const copy = worker->copy;
    struct ramet_upload *upload = NULL;
    enum ramet_rc rc;

    rc = ramet_objstore_upload_begin(copy->to->store, key, &upload, err);
    for (uint64_t at = 0; rc == RAMET_OK && at < size_bytes;) {
        const size_t n = size_bytes - at < PIECE_BYTES
                             ? (size_t)(size_bytes - at)
                             : PIECE_BYTES;

        if (is_ended(copy))
            rc = RAMET_FAIL(err, RAMET_ECANCELLED, "interrupted");
        else
            rc = ramet_objstore_read_full(copy->from->store, key, at,
                                          worker->piece, n, err);
        if (rc == RAMET_OK)
            rc = ramet_objstore_upload_write(upload, worker->piece, n, err);
        at += n;
    }
    if (rc == RAMET_OK)
        return ramet_objstore_upload_finish(upload, err);
    if (upload != NULL)
        ramet_objstore_upload_abort(upload);
    return rc;
}

static enum ramet_rc
send_object(struct worker *worker, const char *key, uint64_t size_bytes,
            struct ramet_err *err)
{
    struct copy *const copy = worker->copy;
    const struct iovec part = {worker->piece, (size_t)size_bytes};
    enum ramet_rc rc;

    if (size_bytes > PIECE_BYTES)
        return stream_object(worker, key, size_bytes, err);
    rc = ramet_objstore_read_full(copy->from->store, key, 0, worker->piece,
                                  part.iov_len, err);
    if (rc == RAMET_OK)
        rc = ramet_objstore_put(copy->to->store, key, &part, 1, err);
    return rc;
}

/*
 * Have the target hold `key`, of the source's `size_bytes`. *out_sent: it was
 * not there before, so that it may be taken away again if it arrived damaged.
 */
static enum ramet_rc
bring_object(struct worker *worker, const char *key, uint64_t size_bytes,
             bool *out_sent, struct ramet_err *err)
{
    struct copy *const copy = worker->copy;
    uint64_t there;
    enum ramet_rc rc;

    *out_sent = false;
    rc = ramet_objstore_size(copy->to->store, key, &there, err);
    if (rc == RAMET_ENOTFOUND) {
        rc = send_object(worker, key, size_bytes, err);
        if (rc == RAMET_OK) {
            *out_sent = true;
            count_object(copy, size_bytes);
            return RAMET_OK;
        }
        /* Another copy is at work, or the answer was lost: look. */
        if (rc != RAMET_EEXIST && rc != RAMET_EUNKNOWN)
            return rc;
        rc = ramet_objstore_size(copy->to->store, key, &there, err);
    }
    if (rc == RAMET_OK && there != size_bytes)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "%s: %s is there with %" PRIu64
                        " bytes, should have %" PRIu64,
                        copy->to->store->name, key, there, size_bytes);
    return rc;
}

/* What was sent and found damaged is nobody's yet: the next try sends it anew.
 * A store that won't have it removed has the next try find it damaged. */
static enum ramet_rc
take_back(struct worker *worker, const char *key, bool was_sent,
          enum ramet_rc rc)
{
    if (was_sent && (rc == RAMET_ECORRUPT || rc == RAMET_ENOTFOUND)) {
        const enum ramet_rc removed =
            ramet_objstore_remove(worker->copy->to->store, key, NULL);

        (void)removed;
    }
    return rc;
}

/* ---- page maps ----------------------------------------------------------- */

static enum ramet_rc
copy_map(void *arg, uint64_t index, struct ramet_err *err)
{
    struct worker *const worker = arg;
    struct copy *const copy = worker->copy;
    const struct ramet_map_item *const map = &copy->maps.items[index];
    char key[RAMET_KEY_MAX];
    bool sent;
    enum ramet_rc rc;

    ramet_map_key(&copy->from->volume, map->lsn, &map->id, key);
    rc = bring_object(worker, key, map->size_bytes, &sent, err);
    if (rc == RAMET_OK && (sent || map->lsn > copy->trusted_map_lsn))
        rc =
            take_back(worker, key, sent,
                      ramet_verify_map(&worker->target, &copy->maps, map, err));
    return rc;
}

/* ---- commits ------------------------------------------------------------- */

/* What note_damage() has collected, as an error. */
static enum ramet_rc
damage_of(const struct worker *worker, struct ramet_err *err)
{
    if (worker->damage.code == RAMET_OK)
        return RAMET_OK;
    if (err != NULL)
        *err = worker->damage;
    return worker->damage.code;
}

static enum ramet_rc
copy_dict(struct worker *worker, const struct ramet_extent *dict,
          struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    bool sent;
    enum ramet_rc rc;

    if (ramet_id_compare(&worker->last_dict.id, &dict->segment.id) == 0)
        return RAMET_OK;
    ramet_extent_key(dict, key);
    rc = bring_object(worker, key, dict->offset_bytes + dict->length_bytes,
                      &sent, err);
    if (rc == RAMET_OK)
        rc = take_back(worker, key, sent,
                       ramet_verify_dict(&worker->target, dict, err));
    if (rc == RAMET_OK)
        worker->last_dict = dict->segment;
    return rc;
}

static enum ramet_rc
copy_segment(struct worker *worker, const struct ramet_loaded_head *head,
             uint32_t index, struct ramet_err *err)
{
    const struct ramet_segment_info *const segment =
        &head->commit.segments[index];
    const struct ramet_extent extent = {.volume = head->commit.volume,
                                        .segment = segment->id};
    char key[RAMET_KEY_MAX];
    bool sent;
    enum ramet_rc rc;

    ramet_extent_key(&extent, key);
    rc = bring_object(worker, key, segment->size_bytes, &sent, err);
    if (rc == RAMET_OK)
        rc = ramet_verify_segment(&worker->target, head, index, err);
    if (rc == RAMET_OK)
        rc = take_back(worker, key, sent, damage_of(worker, err));
    return rc;
}

/* The blocks of a commit's deltas: a segment of their own, or a part of the inline
 * one. */
static enum ramet_rc
copy_deltas(struct worker *worker, const struct ramet_loaded_head *head,
            struct ramet_err *err)
{
    const struct ramet_commit_deltas *const deltas = &head->commit.deltas;
    const struct ramet_extent extent = {.volume = head->commit.volume,
                                        .segment = deltas->extent.id};
    char key[RAMET_KEY_MAX];
    bool sent = false;
    enum ramet_rc rc;

    if (deltas->pages.run_count == 0)
        return RAMET_OK;
    if (deltas->extent.is_inline) {
        rc = ramet_verify_deltas(&worker->source, head, err);
        return rc == RAMET_OK ? damage_of(worker, err) : rc;
    }
    ramet_extent_key(&extent, key);
    rc = bring_object(worker, key, deltas->extent.size_bytes, &sent, err);
    if (rc == RAMET_OK)
        rc = ramet_verify_deltas(&worker->target, head, err);
    if (rc == RAMET_OK)
        rc = take_back(worker, key, sent, damage_of(worker, err));
    return rc;
}

/* Invariant (1), of one commit. Its inline segment travels with it, and is
 * looked at where it comes from. */
static enum ramet_rc
copy_named(struct worker *worker, const struct ramet_loaded_head *head,
           struct ramet_err *err)
{
    const struct ramet_commit_object *const commit = &head->commit;
    enum ramet_rc rc;

    if (commit->map.lsn > 0 && commit->map.root_length_bytes > 0 &&
        ramet_map_list_find(&worker->copy->maps, commit->map.lsn,
                            &commit->map.id) == NULL)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: the page map of LSN %" PRIu64
                          ", which LSN %" PRIu64 " needs, is not in its list",
                          worker->copy->from->store->name, commit->map.lsn,
                          commit->lsn);
    rc = ramet_map_root_check(worker->copy->to, &commit->map, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < commit->segment_count; i++) {
        if (commit->segments[i].has_dict)
            rc = copy_dict(worker, &commit->segments[i].dict, err);
        if (rc == RAMET_OK && ramet_commit_is_inline(commit, i)) {
            rc = ramet_verify_segment(&worker->source, head, i, err);
            if (rc == RAMET_OK)
                rc = damage_of(worker, err);
        } else if (rc == RAMET_OK) {
            rc = copy_segment(worker, head, i, err);
        }
    }
    return rc == RAMET_OK ? copy_deltas(worker, head, err) : rc;
}

/* Wait for the commit before `lsn`. RAMET_ECANCELLED: it won't come. */
static enum ramet_rc
await_turn(struct copy *copy, uint64_t lsn, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    ramet_mutex_lock(&copy->mutex);
    while (copy->rc == RAMET_OK && copy->progress.lsn + 1 < lsn)
        ramet_cond_wait(&copy->turn, &copy->mutex);
    assert(copy->rc != RAMET_OK || copy->progress.lsn + 1 == lsn);
    if (copy->rc != RAMET_OK)
        rc = RAMET_FAIL(err, RAMET_ECANCELLED, "interrupted");
    ramet_mutex_unlock(&copy->mutex);
    return rc;
}

static enum ramet_rc
put_commit(struct copy *copy, uint64_t lsn, const uint8_t *object, size_t len,
           struct ramet_err *err)
{
    struct ramet_head winner;
    enum ramet_rc rc = RAMET_EUNKNOWN;

    for (int i = 0; rc == RAMET_EUNKNOWN && i < PUT_TRIES; i++)
        rc = ramet_history_append(copy->to, object, len, &winner, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_mutex_lock(&copy->mutex);
    assert(copy->progress.lsn + 1 == lsn);
    copy->progress.lsn = lsn;
    copy->progress.commits++;
    copy->progress.objects++;
    copy->progress.bytes += len;
    ramet_cond_broadcast(&copy->turn);
    tell_locked(copy);
    ramet_mutex_unlock(&copy->mutex);
    return RAMET_OK;
}

/* The bytes that arrived are those that were sent. */
static enum ramet_rc
compare_commit(struct worker *worker, const char *key, const uint8_t *object,
               size_t len, struct ramet_err *err)
{
    struct ramet_objstore *const store = worker->copy->to->store;

    ramet_objstore_refresh(store, key);
    for (size_t at = 0; at < len; at += PIECE_BYTES) {
        const size_t n = len - at < PIECE_BYTES ? len - at : PIECE_BYTES;
        const enum ramet_rc rc =
            ramet_objstore_read_full(store, key, at, worker->piece, n, err);

        if (rc != RAMET_OK)
            return rc;
        if (memcmp(worker->piece, object + at, n) != 0)
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "%s: %s is not what was sent", store->name, key);
    }
    return RAMET_OK;
}

static enum ramet_rc
copy_commit(void *arg, uint64_t index, struct ramet_err *err)
{
    struct worker *const worker = arg;
    struct copy *const copy = worker->copy;
    const uint64_t lsn = copy->first_lsn + index;
    struct ramet_lru_entry *entry = NULL;
    const struct ramet_loaded_head *head;
    uint8_t *object = NULL;
    char key[RAMET_KEY_MAX];
    size_t len;
    enum ramet_rc rc;

    ramet_commit_key(&copy->from->volume, lsn, key);
    rc = ramet_history_load_head(copy->from, lsn, true, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    head = ramet_loaded_head(entry);
    len = (size_t)head->head_length + head->commit.inline_length_bytes;
    rc = copy_named(worker, head, err);
    if (rc != RAMET_OK)
        goto done;
    object = ramet_alloc(len);
    if (object == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "commit of %zu bytes", len);
        goto done;
    }
    memcpy(object, head->raw, head->head_length);
    if (head->commit.has_inline)
        rc = ramet_objstore_read_full(copy->from->store, key, head->head_length,
                                      object + head->head_length,
                                      head->commit.inline_length_bytes, err);
    if (rc == RAMET_OK)
        rc = await_turn(copy, lsn, err);
    if (rc == RAMET_OK)
        rc = put_commit(copy, lsn, object, len, err);
    if (rc == RAMET_OK)
        rc = compare_commit(worker, key, object, len, err);

done:
    ramet_free(object);
    ramet_history_release(copy->from, entry);
    return rc;
}

/* ---- all ----------------------------------------------------------------- */

/* Invariant (3). RAMET_ECONFLICT unless `newest`, the target's, is one of the
 * source's commits up to `upto`. */
static enum ramet_rc
check_line(const struct copy *copy, const struct ramet_head *upto,
           const struct ramet_head *newest, struct ramet_err *err)
{
    struct ramet_head same = *upto;
    enum ramet_rc rc = RAMET_OK;

    if (newest->lsn == 0)
        return RAMET_OK;
    if (newest->lsn > upto->lsn)
        rc = ramet_history_head(copy->to, upto->lsn, &same, err);
    else if (newest->lsn < upto->lsn)
        rc = ramet_history_head(copy->from, newest->lsn, &same, err);
    if (rc != RAMET_OK)
        return rc;
    if (!ramet_hash_equal(&same.hash, newest->lsn > upto->lsn ? &upto->hash
                                                              : &newest->hash))
        return RAMET_FAIL(
            err, RAMET_ECONFLICT,
            "%s: the volume went another way there: at LSN %" PRIu64
            " it has another commit",
            copy->to->store->name, same.lsn);
    if (newest->lsn > upto->lsn)
        return RAMET_FAIL(err, RAMET_ECONFLICT,
                          "%s: the volume is at LSN %" PRIu64
                          " there, ahead of LSN %" PRIu64 " here",
                          copy->to->store->name, newest->lsn, upto->lsn);
    return RAMET_OK;
}

static enum ramet_rc
copy_all(struct copy *copy, const struct ramet_head *upto,
         struct ramet_err *err)
{
    enum ramet_rc rc;

    rc = ramet_map_list_read(&copy->maps, copy->from, err);
    if (rc != RAMET_OK)
        return rc;
    /* Maps of later commits are the next call's. */
    while (copy->maps.count > 0 &&
           copy->maps.items[copy->maps.count - 1].lsn > upto->lsn)
        copy->maps.count--;
    rc = run_jobs(copy, copy->maps.count, copy_map, err);
    if (rc == RAMET_OK)
        rc = run_jobs(copy, upto->lsn - copy->progress.lsn, copy_commit, err);
    return rc;
}

enum ramet_rc
ramet_history_copy(struct ramet_history *from, const struct ramet_head *upto,
                   struct ramet_history *to, ramet_copy_step *step, void *ctx,
                   struct ramet_copy_progress *out_progress,
                   struct ramet_err *err)
{
    struct copy copy = {.from = from, .to = to, .step = step, .ctx = ctx};
    struct ramet_head newest;
    enum ramet_rc rc;

    assert(ramet_id_compare(&from->volume.id, &to->volume.id) == 0);
    ramet_mutex_init(&copy.mutex);
    ramet_cond_init(&copy.turn);
    rc = ramet_history_newest(to, &newest, err);
    if (rc == RAMET_OK)
        rc = check_line(&copy, upto, &newest, err);
    if (rc == RAMET_OK) {
        copy.progress.lsn = newest.lsn;
        copy.progress.lsn_total = upto->lsn;
        copy.first_lsn = newest.lsn + 1;
        copy.trusted_map_lsn = newest.map_lsn;
        if (newest.lsn < upto->lsn)
            rc = copy_all(&copy, upto, err);
    }
    /* Hints: that they stay away costs a reader time, and no more. */
    if (rc == RAMET_OK && ramet_profile_copy(from->store, to->store,
                                             &from->volume, NULL) != RAMET_OK)
        ramet_log(RAMET_LOG_WARN, "warm profiles were not copied", NULL);
    *out_progress = copy.progress;
    ramet_map_list_done(&copy.maps);
    ramet_cond_done(&copy.turn);
    ramet_mutex_done(&copy.mutex);
    return rc;
}
