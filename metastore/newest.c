/*
 * newest.c - the newest commit of a line: found, and what was seen of it.
 *
 *   (1) `newest_lsn` and `newest_hash` only move forward, but for a forget; a
 *       store whose line ends before them, or holds something else there, went
 *       back in time.
 */
#include "metastore/newest.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "metastore/gone.h"
#include "metastore/head_cache.h"

/* Of 64 commits after a map (format.md) an eighth: those are in vain whose newest
 * commit is no further from one. */
#define FIRST_HEADS 8u

enum ramet_rc
ramet_history_has(struct ramet_history *history, uint64_t lsn, bool *out_has,
                  struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    uint64_t size;
    enum ramet_rc rc;

    assert(lsn >= 1);
    ramet_commit_key(&history->volume, lsn, key);
    rc = ramet_objstore_size(history->store, key, &size, err);
    if (rc != RAMET_OK && rc != RAMET_ENOTFOUND)
        return rc;
    *out_has = rc == RAMET_OK;
    return RAMET_OK;
}

/* The newest commit of a line without gaps that has `known` (0: nothing is
 * known): gallop, then bisect. */
static enum ramet_rc
gallop(struct ramet_history *history, uint64_t known, uint64_t *out_newest,
       struct ramet_err *err)
{
    uint64_t low = known; /* there, or 0 */
    uint64_t high, step = 1;
    bool there = true;
    enum ramet_rc rc;

    for (;;) {
        high = low + step;
        rc = ramet_history_has(history, high, &there, err);
        if (rc != RAMET_OK)
            return rc;
        if (!there)
            break;
        low = high;
        if (step < UINT64_C(1) << 61)
            step *= 2;
        if (low > UINT64_MAX - step)
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "%s: claims a commit for every number",
                              history->store->name);
    }
    while (high - low > 1) { /* low is there (or 0), high is not */
        const uint64_t middle = low + (high - low) / 2;

        rc = ramet_history_has(history, middle, &there, err);
        if (rc != RAMET_OK)
            return rc;
        if (there)
            low = middle;
        else
            high = middle;
    }
    assert(low >= known && high == low + 1);
    *out_newest = low;
    return RAMET_OK;
}

static enum ramet_rc
list_newest(struct ramet_history *history, uint64_t *out_newest,
            struct ramet_hash *out_told, struct ramet_err *err)
{
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];
    char found[RAMET_KEY_MAX], expected[RAMET_KEY_MAX];
    uint64_t lsn;
    enum ramet_rc rc;

    assert(out_newest != NULL);
    ramet_id_format(&history->volume.id, vid);
    snprintf(prefix, sizeof(prefix), "volumes/%s/commits/", vid);
    rc = ramet_objstore_first(history->store, prefix, found, out_told, err);
    if (rc != RAMET_OK)
        return rc;
    if (found[0] == '\0') {
        *out_newest = 0;
        return RAMET_OK;
    }
    lsn = ~(uint64_t)strtoull(found + strlen(prefix), NULL, 16);
    ramet_commit_key(&history->volume, lsn, expected);
    if (lsn == 0 || strcmp(found, expected) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: not the key of a commit",
                          found);
    *out_newest = lsn;
    return RAMET_OK;
}

enum ramet_rc
ramet_history_find_end(struct ramet_history *history, uint64_t *out_end,
                       struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    struct ramet_hash told;
    uint64_t lsn;
    enum ramet_rc rc = list_newest(history, &lsn, &told, err);

    *out_end = 0;
    if (rc != RAMET_OK || lsn <= 1)
        return rc;
    rc = ramet_history_load_head(history, lsn, false, &entry, err);
    if (rc == RAMET_ENOTFOUND || rc == RAMET_ECORRUPT || rc == RAMET_EVERSION)
        return RAMET_OK; /* taken back meanwhile, or what a late writer left */
    if (rc != RAMET_OK)
        return rc;
    if (ramet_loaded_head(entry)->commit.role == RAMET_COMMIT_END)
        *out_end = lsn;
    ramet_history_release(history, entry);
    return RAMET_OK;
}

enum ramet_rc
ramet_history_find_newest(struct ramet_history *history, uint64_t known,
                          uint64_t *out_lsn, struct ramet_hash *out_told,
                          struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(out_lsn != NULL);
    memset(out_told, 0, sizeof(*out_told));
    if (history->store->traits & RAMET_STORE_LISTS_CHEAPLY)
        return list_newest(history, out_lsn, out_told, err);
    rc = gallop(history, known, out_lsn, err);
    return rc == RAMET_OK && *out_lsn == 0
               ? ramet_history_find_end(history, out_lsn, err)
               : rc;
}

/* The line must go through what was seen: `seen` is an LSN before `newest`. What comes
 * after it is the store's word: of a paid one ramet_history_step() asked just now. */
static enum ramet_rc
check_line(struct ramet_history *history, uint64_t seen,
           const struct ramet_hash *seen_hash, struct ramet_err *err)
{
    const bool is_asked = (history->store->traits & RAMET_STORE_IS_PAID) != 0;
    struct ramet_lru_entry *entry;
    bool matches;
    enum ramet_rc rc;

    assert(seen >= 1);
    rc = is_asked
             ? ramet_history_load_head(history, seen + 1, false, &entry, err)
             : ramet_history_load_unseen(history, seen + 1, &entry, err);
    if (rc == RAMET_ENOTFOUND)
        return ramet_history_is_gone(history, seen, err);
    if (rc != RAMET_OK)
        return rc;
    matches = ramet_hash_equal(&ramet_loaded_head(entry)->commit.predecessor,
                               seen_hash);
    ramet_history_release(history, entry);
    return matches ? RAMET_OK : ramet_history_is_another(history, seen, err);
}

/* Has the store the commit that was seen? A request. */
static enum ramet_rc
look_again(struct ramet_history *history, uint64_t seen,
           const struct ramet_hash *seen_hash, struct ramet_err *err)
{
    struct ramet_hash hash;
    enum ramet_rc rc = ramet_history_peek_hash(history, seen, &hash, err);

    assert(seen >= 1);
    if (rc == RAMET_ENOTFOUND)
        return ramet_history_is_gone(history, seen, err);
    if (rc == RAMET_OK && !ramet_hash_equal(&hash, seen_hash))
        return ramet_history_is_another(history, seen, err);
    return rc;
}

/* Nothing seems new after `seen`: is it still what it was? No request where a
 * store that lists can tell only that it is there. */
static enum ramet_rc
check_still_there(struct ramet_history *history, uint64_t seen,
                  const struct ramet_hash *seen_hash,
                  const struct ramet_hash *told, struct ramet_err *err)
{
    static const struct ramet_hash nothing;

    assert(seen >= 1);
    if (!ramet_hash_equal(told, &nothing))
        return ramet_hash_equal(told, seen_hash)
                   ? RAMET_OK
                   : ramet_history_is_another(history, seen, err);
    return (history->store->traits & RAMET_STORE_LISTS_CHEAPLY) != 0
               ? RAMET_OK
               : look_again(history, seen, seen_hash, err);
}

/* What was seen of a store that is paid is looked at once a minute: paid.c. */
static enum ramet_rc
prove(struct ramet_history *history, uint64_t seen,
      const struct ramet_hash *seen_hash, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert((history->store->traits & RAMET_STORE_IS_PAID) != 0);
    if (ramet_history_is_proven(history))
        return RAMET_OK;
    rc = look_again(history, seen, seen_hash, err);
    if (rc == RAMET_OK)
        ramet_history_proven(history);
    return rc;
}

void
ramet_history_expect_reads(struct ramet_history *history)
{
    ramet_mutex_lock(&history->mutex);
    history->expects_reads = history->newest_lsn == 0;
    ramet_mutex_unlock(&history->mutex);
}

/* Does he who looks first look now, and will read? */
static bool
is_first_look(struct ramet_history *history)
{
    bool is;

    ramet_mutex_lock(&history->mutex);
    is = history->expects_reads && history->newest_lsn == 0;
    ramet_mutex_unlock(&history->mutex);
    return is;
}

/* The first look, of who is going to read: the newest head and those before it at once,
 * for a map is mostly further back than they are, or there is none. False: it is no
 * such look. */
static bool
bring_first(struct ramet_history *history, uint64_t newest)
{
    const struct ramet_lru_key key = {.kind = LRU_HEAD, .number = newest};
    char object[RAMET_KEY_MAX];
    bool expected;

    assert(newest >= 1);
    ramet_mutex_lock(&history->mutex);
    expected = history->expects_reads && history->newest_lsn == 0;
    history->expects_reads = false;
    history->opens = expected;
    ramet_mutex_unlock(&history->mutex);
    if (!expected || (history->store->traits & RAMET_STORE_READS_PARTS) == 0)
        return false;
    ramet_commit_key(&history->volume, newest, object);
    ramet_objstore_refresh(history->store, object); /* as load_unseen() does */
    ramet_lru_drop(&history->lru, &key);
    ramet_history_bring_heads(
        history, newest > FIRST_HEADS ? newest - FIRST_HEADS + 1 : 1, newest,
        NULL);
    return true;
}

enum ramet_rc
ramet_history_newest(struct ramet_history *history, struct ramet_head *out_head,
                     struct ramet_err *err)
{
    uint64_t seen, newest = 0;
    struct ramet_hash seen_hash, told;
    struct ramet_lru_entry *entry;
    bool decided = false;
    enum ramet_rc rc = RAMET_OK;

    ramet_mutex_lock(&history->mutex);
    seen = history->newest_lsn;
    seen_hash = history->newest_hash;
    ramet_mutex_unlock(&history->mutex);

    memset(&told, 0, sizeof(told));
    if (seen > 0 && (history->store->traits & RAMET_STORE_IS_PAID) != 0) {
        rc = prove(history, seen, &seen_hash, err);
        if (rc == RAMET_OK)
            rc = ramet_history_step(history, seen, &newest, &decided, err);
    }
    if (is_first_look(history)) /* two at a time, a name's, were before */
        ramet_objstore_expect(history->store, FIRST_HEADS - 2);
    if (rc == RAMET_OK && !decided)
        rc = ramet_history_find_newest(history, seen, &newest, &told, err);
    if (rc != RAMET_OK)
        return rc;
    if (newest < seen)
        return ramet_history_is_gone(history, seen, err);
    if (newest == 0) {
        memset(out_head, 0, sizeof(*out_head));
        return RAMET_OK;
    }
    assert(newest >= seen && newest >= 1); /* invariant (1) */
    if (newest == seen)
        rc = check_still_there(history, seen, &seen_hash, &told, err);
    else if (newest > seen && seen > 0)
        rc = check_line(history, seen, &seen_hash, err);
    if (rc != RAMET_OK)
        return rc;
    rc = newest > seen && !decided && !bring_first(history, newest)
             ? ramet_history_load_unseen(history, newest, &entry, err)
             : ramet_history_load_head(history, newest, false, &entry, err);
    if (rc == RAMET_ENOTFOUND) /* it was there just now */
        return ramet_history_is_gone(history, newest, err);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_loaded_head(entry)->commit.role == RAMET_COMMIT_END) {
        rc = ramet_history_was_deleted(history, err);
    } else {
        ramet_history_fill_head(ramet_loaded_head(entry), out_head);
        ramet_history_saw(history, newest, &ramet_loaded_head(entry)->hash);
    }
    ramet_history_release(history, entry);
    if (rc == RAMET_OK && !decided)
        ramet_history_proven(history);
    return rc;
}

/* Is the object `at`, and based on `base`? */
static bool
stands_on(const struct ramet_history *history, const struct ramet_point *at,
          const struct ramet_point *base, const uint8_t *object, size_t len)
{
    struct ramet_commit_object commit;
    struct ramet_hash hash;
    bool fits;

    assert(at->lsn == base->lsn + 1);
    if (len < RAMET_COMMIT_CORE_SIZE ||
        ramet_commit_decode_core(object, &history->volume, at->lsn, &commit,
                                 &hash, NULL) != RAMET_OK)
        return false;
    fits = ramet_commit_object_size(object) == len &&
           ramet_hash_equal(&hash, &at->hash) &&
           ramet_hash_equal(&commit.predecessor, &base->hash) &&
           commit.role != RAMET_COMMIT_END;
    ramet_commit_done(&commit);
    return fits;
}

bool
ramet_history_offer(struct ramet_history *history, const struct ramet_point *at,
                    const uint8_t *object, size_t len)
{
    struct ramet_point base;

    assert(object != NULL || len == 0);
    ramet_mutex_lock(&history->mutex);
    base.lsn = history->newest_lsn;
    base.hash = history->newest_hash;
    ramet_mutex_unlock(&history->mutex);
    if (at->lsn <= base.lsn)
        return ramet_history_knows(history, at);
    if (base.lsn == 0 || at->lsn != base.lsn + 1 ||
        !stands_on(history, at, &base, object, len))
        return false;
    /* All of the head is looked at; what does not decode is not kept. */
    return ramet_history_keep_head(history, at->lsn, object, len) &&
           ramet_history_follow(history, &base, at);
}
