/*
 * history.c - the line of commits: the newest, one by LSN or by time, and the
 * commit point. See history.h.
 *
 *   (1) `newest_lsn` and `newest_hash` only move forward, but for a forget; a
 *       store whose line ends before them, or holds something else there, went
 *       back in time.
 *   (2) The commit point is one put-if-absent. What holds a slot is settled by
 *       reading it.
 *   (3) What was put above a gap was never in the line, and is taken back.
 */
#include "metastore/history.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "metastore/chain.h"
#include "metastore/head_cache.h"

#define CACHE_BYTES_DEFAULT (4u << 20)

enum ramet_rc
ramet_history_open(struct ramet_objstore *store, const struct ramet_vid *volume,
                   const struct ramet_history_options *options,
                   struct ramet_history **out_history, struct ramet_err *err)
{
    struct ramet_history *const history = ramet_calloc(1, sizeof(*history));
    size_t cache_bytes = CACHE_BYTES_DEFAULT;
    enum ramet_rc rc;

    if (history == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "history");
    history->store = store;
    history->behind = store;
    if (options != NULL && options->behind != NULL)
        history->behind = options->behind;
    history->volume = *volume;
    history->map_sizes = ramet_map_sizes;
    history->os = ramet_os_system();
    if (options != NULL && options->os != NULL)
        history->os = options->os;
    if (options != NULL && options->cache_bytes > 0)
        cache_bytes = options->cache_bytes;
    rc = ramet_frame_reader_new(store, &history->frames, err);
    if (rc != RAMET_OK) {
        ramet_free(history);
        return rc;
    }
    ramet_lru_init(&history->lru, cache_bytes);
    ramet_mutex_init(&history->mutex);
    *out_history = history;
    return RAMET_OK;
}

void
ramet_history_close(struct ramet_history *history)
{
    if (history == NULL)
        return;
    ramet_history_drop_chains(history);
    ramet_frame_reader_free(history->frames);
    ramet_lru_done(&history->lru);
    ramet_mutex_done(&history->mutex);
    ramet_free(history);
}

struct ramet_frame_reader *
ramet_history_frame_reader(struct ramet_history *history)
{
    return history->frames;
}

/* ---- the newest ---------------------------------------------------------- */

void
ramet_history_forget(struct ramet_history *history)
{
    ramet_mutex_lock(&history->mutex);
    history->newest_lsn = 0;
    history->proven_ms = 0;
    history->made_ms = 0;
    memset(&history->newest_hash, 0, sizeof(history->newest_hash));
    memset(&history->known_map, 0, sizeof(history->known_map));
    ramet_mutex_unlock(&history->mutex);
    ramet_history_forget_chains(history);
    ramet_lru_clear(&history->lru);
}

void
ramet_history_trim(struct ramet_history *history)
{
    ramet_history_forget_chains(history);
    ramet_lru_clear(&history->lru);
}

static enum ramet_rc
went_back(const struct ramet_history *history, uint64_t lsn,
          struct ramet_err *err)
{
    char vid[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&history->volume.id, vid);
    return RAMET_FAIL(err, RAMET_EWENTBACK,
                      "%s: volume %s went back in time: commit %" PRIu64
                      " was there and is gone or another (was the store "
                      "restored from a backup?)",
                      history->store->name, vid, lsn);
}

static enum ramet_rc
was_deleted(const struct ramet_history *history, struct ramet_err *err)
{
    char vid[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&history->volume.id, vid);
    return RAMET_FAIL(err, RAMET_EWENTBACK, "%s: volume %s was deleted",
                      history->store->name, vid);
}

static enum ramet_rc
exists(struct ramet_history *history, uint64_t lsn, bool *out_exists,
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
    *out_exists = rc == RAMET_OK;
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
        rc = exists(history, high, &there, err);
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

        rc = exists(history, middle, &there, err);
        if (rc != RAMET_OK)
            return rc;
        if (there)
            low = middle;
        else
            high = middle;
    }
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

/* There is no commit 1. The LSN of the volume's end, if that is what stands above;
 * else 0: it has no commit. */
static enum ramet_rc
find_end(struct ramet_history *history, uint64_t *out_end,
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

    memset(out_told, 0, sizeof(*out_told));
    if (history->store->traits & RAMET_STORE_LISTS_CHEAPLY)
        return list_newest(history, out_lsn, out_told, err);
    rc = gallop(history, known, out_lsn, err);
    return rc == RAMET_OK && *out_lsn == 0 ? find_end(history, out_lsn, err)
                                           : rc;
}

/* The line must go through what was seen: `seen` is an LSN before `newest`. */
static enum ramet_rc
check_line(struct ramet_history *history, uint64_t seen,
           const struct ramet_hash *seen_hash, struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    bool matches;
    enum ramet_rc rc;

    rc = ramet_history_load_head(history, seen + 1, false, &entry, err);
    if (rc == RAMET_ENOTFOUND)
        return went_back(history, seen, err);
    if (rc != RAMET_OK)
        return rc;
    matches = ramet_hash_equal(&ramet_loaded_head(entry)->commit.predecessor,
                               seen_hash);
    ramet_history_release(history, entry);
    return matches ? RAMET_OK : went_back(history, seen, err);
}

/* Nothing seems new after `seen`: is it still what it was? No request where a
 * store that lists can tell only that it is there. */
static enum ramet_rc
check_still_there(struct ramet_history *history, uint64_t seen,
                  const struct ramet_hash *seen_hash,
                  const struct ramet_hash *told, struct ramet_err *err)
{
    static const struct ramet_hash nothing;
    struct ramet_hash hash = *told;
    enum ramet_rc rc = RAMET_OK;

    if (ramet_hash_equal(told, &nothing) &&
        (history->store->traits & RAMET_STORE_LISTS_CHEAPLY) != 0)
        return RAMET_OK;
    if (ramet_hash_equal(told, &nothing))
        rc = ramet_history_peek_hash(history, seen, &hash, err);
    if (rc == RAMET_ENOTFOUND ||
        (rc == RAMET_OK && !ramet_hash_equal(&hash, seen_hash)))
        return went_back(history, seen, err);
    return rc;
}

/* What was seen of a store that is paid is looked at once a minute: paid.c. */
static enum ramet_rc
prove(struct ramet_history *history, uint64_t seen,
      const struct ramet_hash *seen_hash, struct ramet_err *err)
{
    struct ramet_hash hash;
    enum ramet_rc rc;

    if (ramet_history_is_proven(history))
        return RAMET_OK;
    rc = ramet_history_peek_hash(history, seen, &hash, err);
    if (rc == RAMET_ENOTFOUND ||
        (rc == RAMET_OK && !ramet_hash_equal(&hash, seen_hash)))
        return went_back(history, seen, err);
    if (rc == RAMET_OK)
        ramet_history_proven(history);
    return rc;
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
    if (rc == RAMET_OK && !decided)
        rc = ramet_history_find_newest(history, seen, &newest, &told, err);
    if (rc != RAMET_OK)
        return rc;
    if (newest < seen)
        return went_back(history, seen, err);
    if (newest == 0) {
        memset(out_head, 0, sizeof(*out_head));
        return RAMET_OK;
    }
    if (newest == seen)
        rc = check_still_there(history, seen, &seen_hash, &told, err);
    else if (newest > seen && seen > 0)
        rc = check_line(history, seen, &seen_hash, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_history_load_head(history, newest, false, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_loaded_head(entry)->commit.role == RAMET_COMMIT_END) {
        rc = was_deleted(history, err);
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

enum ramet_rc
ramet_history_seen(struct ramet_history *history, struct ramet_head *out_head,
                   struct ramet_err *err)
{
    uint64_t seen;

    ramet_mutex_lock(&history->mutex);
    seen = history->newest_lsn;
    ramet_mutex_unlock(&history->mutex);
    return ramet_history_head(history, seen, out_head, err);
}

/* ---- by LSN and by time -------------------------------------------------- */

/* The head of this LSN; with `point`, the one that it names by its hash. */
static enum ramet_rc
head_at(struct ramet_history *history, uint64_t lsn,
        const struct ramet_point *point, struct ramet_head *out_head,
        struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(point == NULL || point->lsn == lsn);
    if (lsn == 0) {
        memset(out_head, 0, sizeof(*out_head));
        return RAMET_OK;
    }
    rc = point != NULL
             ? ramet_history_load_point(history, point, false, &entry, err)
             : ramet_history_load_head(history, lsn, false, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_history_fill_head(ramet_loaded_head(entry), out_head);
    ramet_history_release(history, entry);
    return RAMET_OK;
}

enum ramet_rc
ramet_history_head(struct ramet_history *history, uint64_t lsn,
                   struct ramet_head *out_head, struct ramet_err *err)
{
    return head_at(history, lsn, NULL, out_head, err);
}

enum ramet_rc
ramet_history_head_of(struct ramet_history *history,
                      const struct ramet_point *point,
                      struct ramet_head *out_head, struct ramet_err *err)
{
    return head_at(history, point->lsn, point, out_head, err);
}

enum ramet_rc
ramet_history_at_time(struct ramet_history *history, uint64_t unix_ms,
                      struct ramet_head *out_head, struct ramet_err *err)
{
    struct ramet_head head, found = {.lsn = 0};
    uint64_t low = 0; /* not later than unix_ms, or 0 */
    uint64_t high;    /* later, or one past the newest */
    enum ramet_rc rc;

    rc = ramet_history_newest(history, &head, err);
    if (rc != RAMET_OK)
        return rc;
    if (head.lsn > 0 && head.time_ms <= unix_ms) {
        *out_head = head;
        return RAMET_OK;
    }
    high = head.lsn;
    while (high > low + 1) {
        const uint64_t middle = low + (high - low) / 2;

        rc = ramet_history_head(history, middle, &head, err);
        if (rc != RAMET_OK)
            return rc;
        if (head.time_ms <= unix_ms) {
            low = middle;
            found = head;
        } else {
            high = middle;
        }
    }
    if (found.lsn == 0)
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "the volume has no commit that old");
    *out_head = found;
    return RAMET_OK;
}

enum ramet_rc
ramet_history_head_length(struct ramet_history *history, uint64_t lsn,
                          size_t *out_len, struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    if (lsn == 0)
        return RAMET_FAIL(err, RAMET_ENOTFOUND, "there is no commit 0");
    rc = ramet_history_load_head(history, lsn, false, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    *out_len = ramet_loaded_head(entry)->head_length;
    ramet_history_release(history, entry);
    return RAMET_OK;
}

enum ramet_rc
ramet_history_head_bytes(struct ramet_history *history, uint64_t lsn,
                         uint8_t **out_bytes, size_t *out_len,
                         struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    const struct ramet_loaded_head *head;
    uint8_t *bytes;
    enum ramet_rc rc;

    if (lsn == 0)
        return RAMET_FAIL(err, RAMET_ENOTFOUND, "there is no commit 0");
    rc = ramet_history_load_head(history, lsn, true, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    head = ramet_loaded_head(entry);
    bytes = ramet_alloc(head->head_length);
    if (bytes == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "head of LSN %" PRIu64, lsn);
    } else {
        memcpy(bytes, head->raw, head->head_length);
        *out_bytes = bytes;
        *out_len = head->head_length;
    }
    ramet_history_release(history, entry);
    return rc;
}

enum ramet_rc
ramet_history_commit(struct ramet_history *history, uint64_t lsn,
                     struct ramet_commit_object *out_commit,
                     struct ramet_err *err)
{
    struct ramet_hash hash;
    uint8_t *bytes;
    size_t len;
    enum ramet_rc rc;

    /* Decoded again from the verified bytes: cheaper to write and to check
     * than a deep copy. */
    rc = ramet_history_head_bytes(history, lsn, &bytes, &len, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_commit_decode(bytes, len, &history->volume, lsn, 0, out_commit,
                             &hash, err);
    ramet_free(bytes);
    return rc;
}

/* Does a look at this head cost no request that is paid? A commit that has a
 * dictionary names it, so the newest one mostly does. */
static bool
is_free(struct ramet_history *history, uint64_t lsn)
{
    const struct ramet_lru_key key = {.kind = LRU_HEAD, .number = lsn};
    struct ramet_lru_entry *entry;
    bool cached;

    assert(lsn >= 1);
    if ((history->store->traits & RAMET_STORE_IS_PAID) == 0)
        return true;
    entry = ramet_lru_get(&history->lru, &key);
    cached = entry != NULL && ramet_loaded_head(entry)->raw != NULL;
    ramet_history_release(history, entry);
    return cached;
}

enum ramet_rc
ramet_history_dict(struct ramet_history *history, const struct ramet_head *head,
                   struct ramet_extent *out_extent, struct ramet_err *err)
{
    struct ramet_extent found = {.length_bytes = 0};
    uint64_t lsn = head->lsn;

    while (lsn > 0 && lsn >= head->map_lsn && found.length_bytes == 0 &&
           (lsn == head->lsn || is_free(history, lsn))) {
        struct ramet_lru_entry *entry;
        const struct ramet_commit_object *commit;
        const enum ramet_rc rc =
            ramet_history_load_head(history, lsn, true, &entry, err);

        if (rc != RAMET_OK)
            return rc;
        commit = &ramet_loaded_head(entry)->commit;
        for (uint32_t i = 0; i < commit->segment_count; i++) {
            if (commit->segments[i].has_dict) {
                found = commit->segments[i].dict;
                break;
            }
        }
        ramet_history_release(history, entry);
        lsn--;
    }
    *out_extent = found;
    return RAMET_OK;
}

/* ---- the commit point ---------------------------------------------------- */

/* Somebody behind the store sees to it that nothing is put into a volume that was
 * deleted; or a look is dear, and a list shows it. */
static bool
somebody_checks(const struct ramet_history *history)
{
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
        rc = find_end(history, &end, err);
    return rc == RAMET_OK && end > 0 ? was_deleted(history, err) : rc;
}

/* What the object is based on must be what the store has there: a slot is
 * never filled above a gap, nor behind an end. No request if the base was seen. */
static enum ramet_rc
check_base(struct ramet_history *history,
           const struct ramet_commit_object *commit, struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    bool matches, ended;
    enum ramet_rc rc;

    if (commit->lsn == 1)
        return check_first(history, err);
    rc = ramet_history_load_head(history, commit->lsn - 1, false, &entry, err);
    if (rc == RAMET_ENOTFOUND)
        return went_back(history, commit->lsn - 1, err);
    if (rc != RAMET_OK)
        return rc;
    matches =
        ramet_hash_equal(&ramet_loaded_head(entry)->hash, &commit->predecessor);
    ended = ramet_loaded_head(entry)->commit.role == RAMET_COMMIT_END;
    ramet_history_release(history, entry);
    if (!matches)
        return went_back(history, commit->lsn - 1, err);
    return ended ? was_deleted(history, err) : RAMET_OK;
}

/* Somebody holds the slot: it may be an earlier try of ours. */
static enum ramet_rc
settle_slot(struct ramet_history *history, uint64_t lsn,
            const struct ramet_hash *ours, struct ramet_head *out_winner,
            struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    struct ramet_head winner;
    enum ramet_rc rc;

    assert(lsn >= 1);
    rc = ramet_history_load_head(history, lsn, false, &entry, err);
    if (rc == RAMET_ENOTFOUND) /* a store whose reads lag, or a deletion */
        return RAMET_FAIL(err, RAMET_EUNKNOWN,
                          "%s: LSN %" PRIu64
                          " is taken, and can't be read: by whom is not known",
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
        return was_deleted(history, err);
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

    if (lsn == 1 || commit->role == RAMET_COMMIT_END ||
        somebody_checks(history))
        return RAMET_OK;
    rc = exists(history, 1, &alive, err);
    if (rc != RAMET_OK)
        return RAMET_FAIL(err, RAMET_EUNKNOWN,
                          "commit %" PRIu64 " was written, and whether its "
                          "volume is still there can't be seen",
                          lsn);
    if (alive)
        return RAMET_OK;
    rc = ramet_objstore_remove(history->store, key, err);
    return rc == RAMET_OK ? was_deleted(history, err) : rc;
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

    if (len < RAMET_COMMIT_CORE_SIZE)
        return RAMET_FAIL(err, RAMET_EINVAL, "%zu bytes are no commit", len);
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
    ramet_commit_key(&history->volume, lsn, key);
    rc = ramet_objstore_put(history->store, key, &part, 1, err);
    if (rc == RAMET_EEXIST)
        rc = settle_slot(history, lsn, &hash, out_winner, err);
    if (rc == RAMET_OK)
        rc = check_not_deleted(history, &commit, key, err);
    if (rc == RAMET_OK) {
        (void)ramet_history_keep_head(history, lsn, object, len);
        ramet_history_saw(history, lsn, &hash);
    }
    return rc;
}
