/*
 * copy.c - see copy.h and copy_impl.h for its invariants.
 */
#include "metastore/copy.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "metastore/copy_impl.h"
#include "metastore/profile.h"

#define PUT_TRIES 5 /* of a commit whose outcome is not known */

/* Wait for the commit before `lsn`. RAMET_ECANCELLED: it won't come. */
static enum ramet_rc
await_turn(struct ramet_copying *copy, uint64_t lsn, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(lsn >= copy->first_lsn);
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
put_commit(struct ramet_copying *copy, uint64_t lsn, const uint8_t *object,
           size_t len, struct ramet_err *err)
{
    struct ramet_head winner;
    enum ramet_rc rc = RAMET_EUNKNOWN;

    assert(object != NULL && len > RAMET_COMMIT_CORE_SIZE - 1);
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
    ramet_copy_tell(copy);
    ramet_mutex_unlock(&copy->mutex);
    return RAMET_OK;
}

/* The bytes that arrived are those that were sent. */
static enum ramet_rc
compare_commit(struct ramet_copy_worker *worker, const char *key,
               const uint8_t *object, size_t len, struct ramet_err *err)
{
    struct ramet_objstore *const store = worker->copy->to->store;

    assert(worker->piece != NULL && len > 0);
    ramet_objstore_refresh(store, key);
    for (size_t at = 0; at < len; at += RAMET_COPY_PIECE_BYTES) {
        const size_t n = len - at < RAMET_COPY_PIECE_BYTES
                             ? len - at
                             : RAMET_COPY_PIECE_BYTES;
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
    struct ramet_copy_worker *const worker = arg;
    struct ramet_copying *const copy = worker->copy;
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
    rc = ramet_copy_named(worker, head, err);
    if (rc != RAMET_OK)
        goto done;
    object = ramet_alloc(len);
    if (object == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "commit of %zu bytes", len);
        goto done;
    }
    assert(head->raw != NULL && head->head_length <= len);
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
check_line(const struct ramet_copying *copy, const struct ramet_head *upto,
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
copy_all(struct ramet_copying *copy, const struct ramet_head *upto,
         struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(copy->progress.lsn < upto->lsn &&
           copy->first_lsn == copy->progress.lsn + 1);
    rc = ramet_map_list_read(&copy->maps, copy->from, err);
    if (rc != RAMET_OK)
        return rc;
    /* Maps of later commits are the next call's. */
    while (copy->maps.count > 0 &&
           copy->maps.items[copy->maps.count - 1].lsn > upto->lsn)
        copy->maps.count--;
    rc = ramet_copy_run(copy, copy->maps.count, ramet_copy_map, err);
    if (rc == RAMET_OK)
        rc = ramet_copy_run(copy, upto->lsn - copy->progress.lsn, copy_commit,
                            err);
    return rc;
}

enum ramet_rc
ramet_history_copy(struct ramet_history *from, const struct ramet_head *upto,
                   struct ramet_history *to, ramet_copy_step *step, void *ctx,
                   struct ramet_copy_progress *out_progress,
                   struct ramet_err *err)
{
    struct ramet_copying copy = {
        .from = from, .to = to, .step = step, .ctx = ctx};
    struct ramet_head newest;
    enum ramet_rc rc;

    assert(ramet_id_compare(&from->volume.id, &to->volume.id) == 0);
    assert(step != NULL && from != to);
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
