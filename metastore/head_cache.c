/*
 * head_cache.c - heads of commits, through the cache.
 *
 *   (1) What enters the cache was verified.
 *   (2) A head that was read before the store went another way may be in the cache
 *       for long: to whoever knows the hash it is only a reason to ask the store.
 */
#include "metastore/head_cache.h"

#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/gone.h"
#include "metastore/head_cache_impl.h"

#define READ_STEP_BYTES (1u << 20)

void
ramet_head_free(void *value)
{
    struct ramet_loaded_head *const head = value;

    assert(head == NULL || head->raw == NULL || head->head_length > 0);
    if (head == NULL)
        return;
    ramet_commit_done(&head->commit);
    ramet_free(head->raw);
    ramet_free(head->start);
    ramet_free(head);
}

static size_t
head_weight(const struct ramet_loaded_head *head)
{
    size_t bytes = sizeof(*head) + head->start_length;

    assert(head->raw == NULL || head->start == NULL);
    if (head->raw == NULL)
        return bytes;
    bytes += head->head_length;
    bytes += head->commit.changed.run_capacity * sizeof(struct ramet_run);
    bytes += head->commit.deltas.pages.run_capacity * sizeof(struct ramet_run);
    if (head->commit.deltas.extent.blocks != NULL)
        bytes += head->commit.deltas.extent.block_count *
                 sizeof(head->commit.deltas.extent.blocks[0]);
    bytes +=
        head->commit.deltas.name_count * sizeof(head->commit.deltas.names[0]);
    for (uint32_t i = 0; i < head->commit.segment_count; i++) {
        const struct ramet_segment_info *const seg = &head->commit.segments[i];

        bytes += sizeof(*seg) + seg->chunk_count * sizeof(seg->chunks[0]);
        if (seg->frames != NULL)
            bytes += seg->frame_count * sizeof(seg->frames[0]);
    }
    return bytes;
}

/* Read on from `got` to `want` bytes in steps, so that a hostile length costs
 * no more memory than the object has bytes. `anew`: what was read was wrong. */
static enum ramet_rc
read_rest(struct ramet_history *history, const char *key, bool anew,
          uint8_t **bytes, size_t got, size_t want, struct ramet_err *err)
{
    assert(*bytes != NULL);
    while (got < want) {
        const size_t step =
            want - got < READ_STEP_BYTES ? want - got : READ_STEP_BYTES;
        uint8_t *const grown = ramet_realloc(*bytes, got + step);
        enum ramet_rc rc;

        if (grown == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "head of %zu bytes", want);
        *bytes = grown;
        rc = anew ? ramet_objstore_read_anew(history->store, key, got,
                                             grown + got, step, err)
                  : ramet_objstore_read_full(history->store, key, got,
                                             grown + got, step, err);
        if (rc != RAMET_OK)
            return rc;
        got += step;
    }
    return RAMET_OK;
}

bool
ramet_history_keep_head(struct ramet_history *history, uint64_t lsn,
                        const uint8_t *object, size_t len)
{
    const struct ramet_lru_key key = {.kind = LRU_HEAD, .number = lsn};
    struct ramet_loaded_head *const head = ramet_calloc(1, sizeof(*head));

    assert(len >= RAMET_COMMIT_CORE_SIZE);
    if (head == NULL ||
        ramet_commit_head_length(object, &head->head_length, NULL) !=
            RAMET_OK ||
        head->head_length > len ||
        ramet_commit_decode(object, head->head_length, &history->volume, lsn,
                            len, &head->commit, &head->hash, NULL) != RAMET_OK)
        goto failed; /* a cache may do without */
    head->raw = ramet_alloc(head->head_length);
    if (head->raw == NULL)
        goto failed;
    memcpy(head->raw, object, head->head_length);
    ramet_history_release(history,
                          ramet_lru_put(&history->lru, &key, head,
                                        head_weight(head), ramet_head_free));
    return true;

failed:
    ramet_head_free(head);
    return false;
}

enum ramet_rc
ramet_head_take(struct ramet_history *history, uint64_t lsn, bool whole,
                bool anew, uint8_t *bytes, size_t got,
                struct ramet_loaded_head *head, struct ramet_err *err)
{
    const size_t object_len = got < RAMET_HEAD_READ_BYTES ? got : 0;
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(lsn >= 1);
    assert(head->raw == NULL && got <= RAMET_HEAD_READ_BYTES);
    ramet_commit_key(&history->volume, lsn, key);
    if (got < RAMET_COMMIT_CORE_SIZE) {
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "%s: not a commit (%zu bytes)",
                        key, got);
        goto done;
    }
    rc = ramet_commit_head_length(bytes, &head->head_length, err);
    if (rc != RAMET_OK)
        goto done;
    if (!whole && head->head_length > got) {
        rc = ramet_commit_decode_core(bytes, &history->volume, lsn,
                                      &head->commit, &head->hash, err);
        if (rc == RAMET_OK) {
            head->start = bytes;
            head->start_length = got;
            bytes = NULL;
        }
        goto done;
    }
    rc = read_rest(history, key, anew, &bytes, got, head->head_length, err);
    if (rc != RAMET_OK)
        goto done;
    rc = ramet_commit_decode(bytes, head->head_length, &history->volume, lsn,
                             object_len, &head->commit, &head->hash, err);
    if (rc != RAMET_OK)
        goto done;
    head->raw = ramet_realloc(bytes, head->head_length);
    if (head->raw == NULL)
        head->raw = bytes; /* shrinking failed: keep the larger block */
    bytes = NULL;

done:
    ramet_free(bytes);
    return rc;
}

void
ramet_head_keep_inline(struct ramet_history *history, uint64_t lsn,
                       const uint8_t *bytes, size_t got)
{
    struct ramet_extent place = {
        .volume = history->volume, .kind = RAMET_IN_COMMIT, .lsn = lsn};
    uint32_t head;

    assert(lsn >= 1 && got <= RAMET_HEAD_READ_BYTES);
    if ((history->store->traits & RAMET_STORE_READS_PARTS) == 0 ||
        got < RAMET_COMMIT_CORE_SIZE ||
        ramet_commit_head_length(bytes, &head, NULL) != RAMET_OK || head >= got)
        return;
    place.offset_bytes = head;
    place.length_bytes = (uint32_t)(got - head);
    ramet_frame_reader_keep(history->frames, &place, bytes + head);
}

static enum ramet_rc
read_head_once(struct ramet_history *history, uint64_t lsn, const char *key,
               bool whole, bool anew, struct ramet_loaded_head *head,
               struct ramet_err *err)
{
    uint8_t *bytes = ramet_alloc(RAMET_HEAD_READ_BYTES);
    size_t got = 0;
    enum ramet_rc rc;

    assert(lsn >= 1);
    assert(head->raw == NULL && head->start == NULL);
    if (bytes == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "head of LSN %" PRIu64, lsn);
    rc = ramet_objstore_read(history->store, key, 0, bytes,
                             RAMET_HEAD_READ_BYTES, &got, err);
    if (rc != RAMET_OK) {
        ramet_free(bytes);
        return rc;
    }
    ramet_head_keep_inline(history, lsn, bytes, got);
    return ramet_head_take(history, lsn, whole, anew, bytes, got, head, err);
}

/* Fill `head` from the store; what somebody kept wrong for us is read anew. */
static enum ramet_rc
read_head(struct ramet_history *history, uint64_t lsn, bool whole,
          struct ramet_loaded_head *head, struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    ramet_commit_key(&history->volume, lsn, key);
    rc = read_head_once(history, lsn, key, whole, false, head, err);
    if (rc == RAMET_ECORRUPT &&
        (history->store->traits & RAMET_STORE_IS_KEPT) != 0) {
        ramet_objstore_doubt(history->store, key, 0, RAMET_HEAD_READ_BYTES);
        rc = read_head_once(history, lsn, key, whole, true, head, err);
    }
    assert((rc == RAMET_OK) == (head->raw != NULL || head->start != NULL));
    return rc;
}

/* The whole of one of which `known` has the start. False: not so, for there is
 * another under that number now, say. */
static bool
complete_head(struct ramet_history *history, uint64_t lsn,
              const struct ramet_loaded_head *known,
              struct ramet_loaded_head *head)
{
    uint8_t *const bytes = ramet_alloc(RAMET_HEAD_READ_BYTES);

    assert(known->raw == NULL);
    if (bytes == NULL)
        return false;
    assert(known->start_length <= RAMET_HEAD_READ_BYTES);
    memcpy(bytes, known->start, known->start_length);
    return ramet_head_take(history, lsn, true, false, bytes,
                           known->start_length, head, NULL) == RAMET_OK;
}

void
ramet_history_saw(struct ramet_history *history, uint64_t lsn,
                  const struct ramet_hash *hash)
{
    assert(lsn >= 1);
    ramet_mutex_lock(&history->mutex);
    if (lsn > history->newest_lsn) { /* history.c, invariant (1) */
        history->newest_lsn = lsn;
        history->newest_hash = *hash;
    }
    ramet_mutex_unlock(&history->mutex);
}

enum ramet_rc
ramet_head_enter(struct ramet_history *history, uint64_t lsn,
                 struct ramet_loaded_head *head,
                 struct ramet_lru_entry **out_entry, struct ramet_err *err)
{
    const struct ramet_lru_key key = {.kind = LRU_HEAD, .number = lsn};
    struct ramet_lru_entry *const entry = ramet_lru_put(
        &history->lru, &key, head, head_weight(head), ramet_head_free);

    assert(lsn >= 1);
    if (entry == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "head of LSN %" PRIu64, lsn);
    *out_entry = entry;
    return RAMET_OK;
}

bool
ramet_history_knows(struct ramet_history *history,
                    const struct ramet_point *point)
{
    const struct ramet_lru_key key = {.kind = LRU_HEAD, .number = point->lsn};
    struct ramet_lru_entry *const entry = ramet_lru_get(&history->lru, &key);
    const bool knows =
        entry != NULL &&
        ramet_hash_equal(&ramet_loaded_head(entry)->hash, &point->hash);

    ramet_history_release(history, entry);
    return knows;
}

bool
ramet_history_follow(struct ramet_history *history,
                     const struct ramet_point *base,
                     const struct ramet_point *next)
{
    bool follows;

    assert(next->lsn == base->lsn + 1);
    ramet_mutex_lock(&history->mutex);
    follows = history->newest_lsn == base->lsn &&
              ramet_hash_equal(&history->newest_hash, &base->hash);
    if (follows) {
        history->newest_lsn = next->lsn;
        history->newest_hash = next->hash;
    }
    ramet_mutex_unlock(&history->mutex);
    return follows;
}

enum ramet_rc
ramet_history_load_head(struct ramet_history *history, uint64_t lsn, bool whole,
                        struct ramet_lru_entry **out_entry,
                        struct ramet_err *err)
{
    const struct ramet_lru_key key = {.kind = LRU_HEAD, .number = lsn};
    struct ramet_lru_entry *entry = ramet_lru_get(&history->lru, &key);
    struct ramet_loaded_head *head;
    enum ramet_rc rc = RAMET_OK;

    assert(lsn > 0);
    assert(out_entry != NULL);
    if (entry != NULL && (!whole || ramet_loaded_head(entry)->raw != NULL)) {
        *out_entry = entry;
        return RAMET_OK;
    }
    head = ramet_calloc(1, sizeof(*head));
    if (head == NULL) {
        ramet_history_release(history, entry);
        return RAMET_FAIL(err, RAMET_ENOMEM, "head of LSN %" PRIu64, lsn);
    }
    if (entry == NULL ||
        !complete_head(history, lsn, ramet_loaded_head(entry), head))
        rc = read_head(history, lsn, whole, head, err);
    ramet_history_release(history, entry);
    if (rc == RAMET_OK)
        return ramet_head_enter(history, lsn, head, out_entry, err);
    ramet_head_free(head);
    return rc;
}

enum ramet_rc
ramet_history_load_anew(struct ramet_history *history, uint64_t lsn, bool whole,
                        struct ramet_lru_entry **out_entry,
                        struct ramet_err *err)
{
    const struct ramet_lru_key key = {.kind = LRU_HEAD, .number = lsn};
    char object[RAMET_KEY_MAX];

    assert(lsn >= 1);
    ramet_commit_key(&history->volume, lsn, object);
    ramet_objstore_refresh(history->store, object);
    ramet_lru_drop(&history->lru, &key);
    return ramet_history_load_head(history, lsn, whole, out_entry, err);
}

enum ramet_rc
ramet_history_load_unseen(struct ramet_history *history, uint64_t lsn,
                          struct ramet_lru_entry **out_entry,
                          struct ramet_err *err)
{
    /* Who keeps something in front of such a store sees to that himself. */
    return (history->store->traits & RAMET_STORE_CHECKS_COMMITS) != 0
               ? ramet_history_load_head(history, lsn, false, out_entry, err)
               : ramet_history_load_anew(history, lsn, false, out_entry, err);
}

enum ramet_rc
ramet_history_load_slot(struct ramet_history *history,
                        const struct ramet_point *point, bool whole,
                        struct ramet_lru_entry **out_entry,
                        struct ramet_err *err)
{
    const enum ramet_rc rc =
        ramet_history_load_head(history, point->lsn, whole, out_entry, err);

    assert(point->lsn >= 1);
    if (rc != RAMET_ECORRUPT &&
        (rc != RAMET_OK ||
         ramet_hash_equal(&ramet_loaded_head(*out_entry)->hash, &point->hash)))
        return rc;
    if (rc == RAMET_OK)
        ramet_history_release(history, *out_entry);
    return ramet_history_load_anew(history, point->lsn, whole, out_entry,
                                   err); /* (2) */
}

enum ramet_rc
ramet_history_heads_length(struct ramet_history *history, uint64_t after_lsn,
                           const struct ramet_point *last, uint64_t *out_bytes,
                           struct ramet_hash *out_before, struct ramet_err *err)
{
    struct ramet_point at = *last;
    uint64_t bytes = 0;

    assert(after_lsn <= last->lsn + 1); /* of a map of the next, none */
    for (; at.lsn > after_lsn; at.lsn--) {
        struct ramet_lru_entry *entry;
        const struct ramet_loaded_head *loaded;
        enum ramet_rc rc =
            ramet_history_load_slot(history, &at, false, &entry, err);

        if (rc != RAMET_OK)
            return rc;
        loaded = ramet_loaded_head(entry);
        if (!ramet_hash_equal(&loaded->hash, &at.hash))
            rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                            "LSN %" PRIu64 " is not the commit that its "
                            "successor stands on",
                            at.lsn);
        bytes += loaded->head_length;
        at.hash = loaded->commit.predecessor;
        ramet_history_release(history, entry);
        if (rc != RAMET_OK)
            return rc;
    }
    *out_bytes = bytes;
    *out_before = at.hash;
    return RAMET_OK;
}

enum ramet_rc
ramet_history_load_point(struct ramet_history *history,
                         const struct ramet_point *point, bool whole,
                         struct ramet_lru_entry **out_entry,
                         struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    enum ramet_rc rc =
        ramet_history_load_slot(history, point, whole, &entry, err);

    assert(point->lsn >= 1);
    if (rc == RAMET_ENOTFOUND)
        return ramet_history_is_gone(history, point->lsn, err);
    if (rc != RAMET_OK)
        return rc;
    if (!ramet_hash_equal(&ramet_loaded_head(entry)->hash, &point->hash)) {
        ramet_history_release(history, entry);
        return ramet_history_is_another(history, point->lsn, err);
    }
    ramet_history_saw(history, point->lsn, &point->hash);
    *out_entry = entry;
    return RAMET_OK;
}

enum ramet_rc
ramet_history_blame(struct ramet_history *history,
                    const struct ramet_point *point, enum ramet_rc rc,
                    struct ramet_err *err)
{
    struct ramet_hash hash;
    char key[RAMET_KEY_MAX];
    enum ramet_rc peeked;

    assert(point->lsn >= 1 || rc != RAMET_EWENTBACK);
    if (rc != RAMET_ENOTFOUND && rc != RAMET_ECORRUPT)
        return rc;
    ramet_commit_key(&history->volume, point->lsn, key);
    ramet_objstore_refresh(history->store, key);
    peeked = ramet_history_peek_hash(history, point->lsn, &hash, NULL);
    if (peeked == RAMET_ENOTFOUND)
        return ramet_history_is_gone(history, point->lsn, err);
    if (peeked == RAMET_OK && !ramet_hash_equal(&hash, &point->hash))
        return ramet_history_is_another(history, point->lsn, err);
    return rc;
}

enum ramet_rc
ramet_history_peek_hash(struct ramet_history *history, uint64_t lsn,
                        struct ramet_hash *out_hash, struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    uint8_t core[RAMET_COMMIT_CORE_SIZE];
    struct ramet_commit_object commit;
    size_t got = 0;
    enum ramet_rc rc;

    assert(lsn >= 1 && history->behind != NULL);
    ramet_commit_key(&history->volume, lsn, key);
    rc = ramet_objstore_read(history->behind, key, 0, core, sizeof(core), &got,
                             err);
    if (rc != RAMET_OK)
        return rc;
    if (got < sizeof(core))
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: not a commit (%zu bytes)",
                          key, got);
    return ramet_commit_decode_core(core, &history->volume, lsn, &commit,
                                    out_hash, err);
}

void
ramet_history_fill_head(const struct ramet_loaded_head *loaded,
                        struct ramet_head *out_head)
{
    const struct ramet_commit_object *const c = &loaded->commit;

    assert(c->lsn >= 1 && c->map.lsn <= c->lsn);
    *out_head = (struct ramet_head){
        .lsn = c->lsn,
        .id = c->id,
        .hash = loaded->hash,
        .time_ms = c->time_ms,
        .kind = c->kind,
        .page_size = c->page_size,
        .page_count = c->page_count,
        .byte_length = c->byte_length,
        .role = c->role,
        .floor = c->floor,
        .cutoff = c->cutoff,
        .content = ramet_commit_content_up_to(c, &loaded->hash),
        .map_lsn = c->map.lsn,
        .commits_since_map = c->commits_since_map,
        .head_bytes_since_map =
            ramet_commit_has_own_map(c)
                ? 0
                : c->head_bytes_since_map + loaded->head_length,
    };
}
