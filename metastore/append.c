/*
 * append.c - the commit point; see history.h.
 *
 *   (1) The commit point is one put-if-absent. What holds a slot is resolved by
 *       reading it in the store: a cache may have what it was before the store went
 *       back, an earlier try of ours even.
 *   (2) What was put above a gap was never in the line, and is taken back.
 */
#include "metastore/newest.h"

#include <assert.h>
#include <inttypes.h>

#include "metastore/gone.h"
#include "metastore/head_cache.h"

/* Somebody behind the store sees to it that nothing is put into a volume that was
 * deleted; or a look is dear, and a list shows it. */
static bool
somebody_checks(const struct ramet_history *history)
{
    assert(history->store != NULL);
    return (history->store->traits &
            (RAMET_STORE_CHECKS_COMMITS | RAMET_STORE_LISTS_CHEAPLY)) != 0;
}

/* Was the volume deleted of which this is the first commit? What this process made
 * just now was not, and somebody behind the store looks himself. */
static enum ramet_rc
check_first(struct ramet_history *history, struct ramet_err *err)
{
    uint64_t end = 0;
    enum ramet_rc rc = RAMET_OK;

    if ((history->store->traits & RAMET_STORE_CHECKS_COMMITS) == 0 &&
        !ramet_history_is_new(history))
        rc = ramet_history_find_end(history, &end, err);
    return rc == RAMET_OK && end > 0 ? ramet_history_was_deleted(history, err)
                                     : rc;
}

/* What the object is based on must be what the store has there: a slot is
 * never filled above a gap, nor behind an end. No request if the base was seen. */
static enum ramet_rc
check_base(struct ramet_history *history,
           const struct ramet_commit_object *commit, struct ramet_err *err)
{
    const struct ramet_point base = {commit->lsn - 1, commit->predecessor};
    struct ramet_lru_entry *entry;
    bool matches, ended;
    enum ramet_rc rc;

    assert(commit->lsn >= 1);
    if (commit->lsn == 1)
        return check_first(history, err);
    rc = ramet_history_load_slot(history, &base, false, &entry, err);
    if (rc == RAMET_ENOTFOUND)
        return ramet_history_is_gone(history, base.lsn, err);
    if (rc != RAMET_OK)
        return rc;
    matches = ramet_hash_equal(&ramet_loaded_head(entry)->hash, &base.hash);
    ended = ramet_loaded_head(entry)->commit.role == RAMET_COMMIT_END;
    ramet_history_release(history, entry);
    if (ended)
        return ramet_history_was_deleted(history, err);
    return matches ? RAMET_OK
                   : ramet_history_is_another(history, base.lsn, err);
}

/* Somebody holds the slot: it may be an earlier try of ours. */
static enum ramet_rc
resolve_slot(struct ramet_history *history, uint64_t lsn,
             const struct ramet_hash *ours, struct ramet_head *out_winner,
             struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    struct ramet_head winner;
    enum ramet_rc rc;

    assert(lsn >= 1);
    assert(ours != NULL);
    rc = ramet_history_load_anew(history, lsn, false, &entry, err);
    if (rc == RAMET_ENOTFOUND) /* a store whose reads lag, or a deletion */
        return RAMET_FAIL(err, RAMET_EUNKNOWN,
                          "%s: LSN %" PRIu64
                          " is taken by a commit that can't be read",
                          history->store->name, lsn);
    if (rc != RAMET_OK)
        return rc;
    ramet_history_fill_head(ramet_loaded_head(entry), &winner);
    ramet_history_release(history, entry);
    ramet_history_saw(history, lsn, &winner.hash);
    /* The hash covers the commit's id, and all the rest. */
    if (ramet_hash_equal(&winner.hash, ours))
        return RAMET_OK;
    if (winner.role == RAMET_COMMIT_END)
        return ramet_history_was_deleted(history, err);
    if (out_winner != NULL)
        *out_winner = winner;
    return RAMET_FAIL(err, RAMET_ECONFLICT,
                      "LSN %" PRIu64 " is another commit already", lsn);
}

/* The object under `key` was put on top of what was there. If commit 1 is gone
 * the volume was deleted meanwhile (catalog_delete.c), and the deletion may have looked
 * before this was put: then nobody would ever read or remove it. Nobody was told
 * of it either, so it can go; but not an end, which is what is to stay there, and
 * by which somebody else may have deleted already. No request where somebody behind
 * the store sees to that, or where a look is dear: there a list shows it, and it
 * can be deleted. */
static enum ramet_rc
check_not_deleted(struct ramet_history *history,
                  const struct ramet_commit_object *commit, const char *key,
                  struct ramet_err *err)
{
    const uint64_t lsn = commit->lsn;
    bool alive = true;
    enum ramet_rc rc;

    assert(key[0] != '\0' && commit->lsn >= 1);
    if (lsn == 1 || commit->role == RAMET_COMMIT_END ||
        somebody_checks(history))
        return RAMET_OK;
    rc = ramet_history_has(history, 1, &alive, err);
    if (rc != RAMET_OK)
        return RAMET_FAIL(err, RAMET_EUNKNOWN,
                          "commit %" PRIu64
                          " was written, but whether its volume still exists "
                          "can't be checked",
                          lsn);
    if (alive)
        return RAMET_OK;
    rc = ramet_objstore_remove(history->store, key, err);
    return rc == RAMET_OK ? ramet_history_was_deleted(history, err) : rc;
}

enum ramet_rc
ramet_history_append(struct ramet_history *history, const uint8_t *object,
                     size_t len, struct ramet_head *out_winner,
                     struct ramet_err *err)
{
    const struct iovec part = {(void *)(uintptr_t)object, len};
    struct ramet_commit_object commit;
    struct ramet_hash hash;
    char key[RAMET_KEY_MAX];
    uint64_t lsn;
    enum ramet_rc rc;

    assert(object != NULL || len == 0);
    if (len < RAMET_COMMIT_CORE_SIZE)
        return RAMET_FAIL(err, RAMET_EINVAL, "not a commit (%zu bytes)", len);
    lsn = ramet_get_le64(object + 16);
    rc = ramet_commit_decode_core(object, &history->volume, lsn, &commit, &hash,
                                  err);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_commit_object_size(object) != len)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "commit %" PRIu64 ": %zu bytes, should be %" PRIu64,
                          lsn, len, ramet_commit_object_size(object));
    rc = check_base(history, &commit, err);
    if (rc != RAMET_OK)
        return rc;
    assert(commit.lsn == lsn && lsn >= 1);
    ramet_commit_key(&history->volume, lsn, key);
    rc = ramet_objstore_put(history->store, key, &part, 1, err);
    if (rc == RAMET_EEXIST)
        rc = resolve_slot(history, lsn, &hash, out_winner, err);
    if (rc == RAMET_OK)
        rc = check_not_deleted(history, &commit, key, err);
    if (rc == RAMET_OK) {
        (void)ramet_history_keep_head(history, lsn, object, len);
        ramet_history_saw(history, lsn, &hash);
    }
    return rc;
}
