/*
 * history.c - the line of commits, opened and read by LSN and by time. See
 * history.h; the newest is found in newest.c, and append.c has the commit point.
 */
#include "metastore/history.h"

#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/head_cache.h"
#include "metastore/overlay.h"

#define CACHE_BYTES_DEFAULT (4u << 20)

enum ramet_rc
ramet_history_open(struct ramet_objstore *store, const struct ramet_vid *volume,
                   const struct ramet_history_options *options,
                   struct ramet_history **out_history, struct ramet_err *err)
{
    struct ramet_history *const history = ramet_calloc(1, sizeof(*history));
    size_t cache_bytes = CACHE_BYTES_DEFAULT;
    enum ramet_rc rc;

    assert(store != NULL && volume != NULL);
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
    ramet_history_drop_overlays(history);
    ramet_frame_reader_free(history->frames);
    ramet_lru_done(&history->lru);
    ramet_mutex_done(&history->mutex);
    ramet_free(history);
}

struct ramet_frame_reader *
ramet_history_frame_reader(struct ramet_history *history)
{
    assert(history->frames != NULL);
    return history->frames;
}

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
    ramet_history_forget_overlays(history);
    ramet_frame_reader_trim(history->frames);
    ramet_lru_clear(&history->lru);
}

void
ramet_history_trim(struct ramet_history *history)
{
    assert(history->store != NULL);
    ramet_history_forget_overlays(history);
    ramet_frame_reader_trim(history->frames);
    ramet_lru_clear(&history->lru);
}

/* ---- by LSN and by time -------------------------------------------------- */

static uint64_t
seen_lsn(struct ramet_history *history)
{
    uint64_t seen;

    ramet_mutex_lock(&history->mutex);
    seen = history->newest_lsn;
    ramet_mutex_unlock(&history->mutex);
    return seen;
}

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
    if (point != NULL)
        rc = ramet_history_load_point(history, point, false, &entry, err);
    else if (lsn > seen_lsn(history))
        rc = ramet_history_load_unseen(history, lsn, &entry, err);
    else
        rc = ramet_history_load_head(history, lsn, false, &entry, err);
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
    assert(out_head != NULL);
    return head_at(history, lsn, NULL, out_head, err);
}

enum ramet_rc
ramet_history_seen(struct ramet_history *history, struct ramet_head *out_head,
                   struct ramet_err *err)
{
    assert(out_head != NULL);
    return ramet_history_head(history, seen_lsn(history), out_head, err);
}

enum ramet_rc
ramet_history_head_of(struct ramet_history *history,
                      const struct ramet_point *point,
                      struct ramet_head *out_head, struct ramet_err *err)
{
    assert(out_head != NULL);
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
    assert(found.lsn == low && found.time_ms <= unix_ms);
    *out_head = found;
    return RAMET_OK;
}

enum ramet_rc
ramet_history_head_length(struct ramet_history *history, uint64_t lsn,
                          size_t *out_len, struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(out_len != NULL);
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
        assert(head->raw != NULL);
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

    assert(out_commit != NULL);
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

    assert(head->map_lsn <= head->lsn);
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
