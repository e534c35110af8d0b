/*
 * table.c - the frames that a commit's tables name, whether these
 * stand in its head or in chunks at the end of its segments.
 *
 * Chunks are cached as verified bytes, a tenth of their decoded size; the
 * cursor keeps one decoded.
 */
#include "metastore/table.h"

#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/head_cache.h"
#include "metastore/table_impl.h"

#define CHUNKS_AT_ONCE 16u

void
ramet_table_cursor_init(struct ramet_table_cursor *cursor,
                        struct ramet_history *history, uint32_t last_wanted)
{
    assert(history != NULL);
    *cursor = (struct ramet_table_cursor){.history = history,
                                          .last_wanted = last_wanted};
}

void
ramet_table_cursor_done(struct ramet_table_cursor *cursor)
{
    assert(cursor->frames != NULL || cursor->frame_count == 0);
    ramet_free(cursor->frames);
    cursor->frames = NULL;
    cursor->frame_count = 0;
}

struct loaded_chunk {
    uint32_t length_bytes;
    uint8_t bytes[];
};

static struct ramet_lru_key
chunk_key(const struct ramet_segment_info *segment, uint32_t index)
{
    assert(index < segment->chunk_count);
    return (struct ramet_lru_key){
        .kind = LRU_CHUNK,
        .id = segment->id.id,
        .number = segment->chunks[index].offset_bytes,
    };
}

enum ramet_rc
ramet_table_keep_chunk(struct ramet_history *history,
                       const struct ramet_segment_info *segment, uint32_t index,
                       const uint8_t *bytes, struct ramet_lru_entry **out_entry,
                       struct ramet_err *err)
{
    const struct ramet_table_chunk *const chunk = &segment->chunks[index];
    const struct ramet_lru_key key = chunk_key(segment, index);
    const struct ramet_hash hash = ramet_hash128(bytes, chunk->length_bytes);
    struct ramet_lru_entry *entry;
    struct loaded_chunk *loaded;

    assert(chunk->length_bytes > 0);
    if (!ramet_hash_equal(&hash, &chunk->hash)) {
        char sid[RAMET_ID_TEXT_SIZE];

        ramet_id_format(&segment->id.id, sid);
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "segment %s: table chunk at %" PRIu64
                          ": hash does not match",
                          sid, chunk->offset_bytes);
    }
    loaded = ramet_alloc(sizeof(*loaded) + chunk->length_bytes);
    if (loaded == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "table chunk");
    loaded->length_bytes = chunk->length_bytes;
    memcpy(loaded->bytes, bytes, chunk->length_bytes);
    entry = ramet_lru_put(&history->lru, &key, loaded,
                          sizeof(*loaded) + chunk->length_bytes, ramet_free);
    if (entry == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "table chunk");
    *out_entry = entry;
    return RAMET_OK;
}

bool
ramet_table_has_chunk(struct ramet_history *history,
                      const struct ramet_segment_info *segment, uint32_t index)
{
    const struct ramet_lru_key key = chunk_key(segment, index);
    struct ramet_lru_entry *const entry = ramet_lru_get(&history->lru, &key);

    assert(index < segment->chunk_count);
    ramet_history_release(history, entry);
    return entry != NULL;
}

/* What somebody kept wrong for us is read anew. */
static enum ramet_rc
keep_right(struct ramet_history *history,
           const struct ramet_segment_info *segment, uint32_t index,
           const char *key, uint8_t *bytes, struct ramet_lru_entry **out_entry,
           struct ramet_err *err)
{
    const struct ramet_table_chunk *const chunk = &segment->chunks[index];
    enum ramet_rc rc =
        ramet_table_keep_chunk(history, segment, index, bytes, out_entry, err);

    assert(index < segment->chunk_count);
    if (rc == RAMET_ECORRUPT) {
        rc = ramet_objstore_read_anew(history->store, key, chunk->offset_bytes,
                                      bytes, chunk->length_bytes, err);
        if (rc == RAMET_OK)
            rc = ramet_table_keep_chunk(history, segment, index, bytes,
                                        out_entry, err);
    }
    return rc;
}

/* Was the chunk before it read already? Then somebody goes through the segment. */
static bool
is_in_turn(struct ramet_history *history,
           const struct ramet_segment_info *segment, uint32_t index)
{
    assert(index < segment->chunk_count);
    return index > 0 && ramet_table_has_chunk(history, segment, index - 1);
}

uint32_t
ramet_table_ahead(struct ramet_history *history,
                  const struct ramet_segment_info *segment, uint32_t index,
                  uint32_t last_wanted)
{
    uint32_t end = index + 1;

    if (is_in_turn(history, segment, index))
        last_wanted = UINT32_MAX;

    while (end < segment->chunk_count && end - index < CHUNKS_AT_ONCE &&
           segment->chunks[end].first_pgno <= last_wanted &&
           segment->chunks[end].offset_bytes ==
               segment->chunks[end - 1].offset_bytes +
                   segment->chunks[end - 1].length_bytes)
        end++;
    assert(end > index && end <= segment->chunk_count);
    return end;
}

/* Read chunk `index`, held, and perhaps some after it into the cache, up to one that is
 * damaged: whoever needs that finds it so. */
static enum ramet_rc
read_chunks(struct ramet_table_cursor *cursor,
            const struct ramet_commit_object *commit,
            const struct ramet_segment_info *segment, uint32_t index,
            struct ramet_lru_entry **out_entry, struct ramet_err *err)
{
    /* What is sent ahead comes chunk by chunk, and is found so. */
    const bool by_itself =
        (cursor->history->store->traits & RAMET_STORE_SENDS_AHEAD) != 0;
    const uint32_t end = by_itself
                             ? index + 1
                             : ramet_table_ahead(cursor->history, segment,
                                                 index, cursor->last_wanted);
    const uint64_t start = segment->chunks[index].offset_bytes;
    const uint64_t length = segment->chunks[end - 1].offset_bytes +
                            segment->chunks[end - 1].length_bytes - start;
    const struct ramet_extent extent = {.volume = commit->volume,
                                        .kind = RAMET_IN_SEGMENT,
                                        .segment = segment->id};
    char key[RAMET_KEY_MAX];
    uint8_t *const bytes = ramet_alloc((size_t)length);
    enum ramet_rc rc;

    assert(index < end && length > 0);
    if (bytes == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "table chunks");
    ramet_extent_key(&extent, key);
    rc = ramet_objstore_read_full(cursor->history->store, key, start, bytes,
                                  (size_t)length, err);
    if (rc == RAMET_OK)
        rc = keep_right(cursor->history, segment, index, key, bytes, out_entry,
                        err);
    for (uint32_t i = index + 1; rc == RAMET_OK && i < end; i++) {
        struct ramet_lru_entry *entry = NULL;

        if (keep_right(cursor->history, segment, i, key,
                       bytes + (segment->chunks[i].offset_bytes - start),
                       &entry, NULL) != RAMET_OK)
            break;
        ramet_history_release(cursor->history, entry);
    }
    ramet_free(bytes);
    return rc;
}

static enum ramet_rc
decode_chunk(struct ramet_table_cursor *cursor,
             const struct ramet_commit_object *commit,
             const struct ramet_segment_info *segment, uint32_t index,
             const struct loaded_chunk *loaded, struct ramet_err *err)
{
    const struct ramet_table_chunk *const chunk = &segment->chunks[index];
    const struct ramet_extent context = {.volume = commit->volume,
                                         .kind = RAMET_IN_SEGMENT,
                                         .segment = segment->id};
    struct ramet_frame *frames;
    uint32_t count;
    const enum ramet_rc rc = ramet_table_chunk_decode(
        chunk, loaded->bytes, loaded->length_bytes, &context,
        segment->has_dict ? &segment->dict : NULL, segment->size_bytes, &frames,
        &count, err);

    assert(index < segment->chunk_count);
    if (rc != RAMET_OK)
        return rc;
    ramet_table_cursor_done(cursor);
    cursor->segment = segment->id;
    cursor->offset_bytes = chunk->offset_bytes;
    cursor->frames = frames;
    cursor->frame_count = count;
    return RAMET_OK;
}

enum ramet_rc
ramet_table_cursor_load(struct ramet_table_cursor *cursor,
                        const struct ramet_commit_object *commit,
                        const struct ramet_segment_info *segment,
                        uint32_t index, struct ramet_err *err)
{
    const struct ramet_table_chunk *const chunk = &segment->chunks[index];
    const struct ramet_lru_key key = chunk_key(segment, index);
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(index < segment->chunk_count);
    if (cursor->frames != NULL && cursor->offset_bytes == chunk->offset_bytes &&
        ramet_id_compare(&cursor->segment.id, &segment->id.id) == 0)
        return RAMET_OK;
    entry = ramet_lru_get(&cursor->history->lru, &key);
    if (entry == NULL) {
        rc = read_chunks(cursor, commit, segment, index, &entry, err);
        if (rc != RAMET_OK)
            return rc;
        assert(entry != NULL);
    }
    /* Its hash is looked at again: two commits may disagree on it. */
    rc = decode_chunk(cursor, commit, segment, index, entry->value, err);
    ramet_history_release(cursor->history, entry);
    return rc;
}

const struct ramet_segment_info *
ramet_table_segment(const struct ramet_commit_object *commit, uint32_t pgno)
{
    uint32_t low = 0;
    uint32_t high = commit->segment_count;

    assert(pgno >= 1);
    while (low < high) { /* segments before low end before pgno */
        const uint32_t middle = low + (high - low) / 2;

        if (commit->segments[middle].last_pgno < pgno)
            low = middle + 1;
        else
            high = middle;
    }
    return low < commit->segment_count &&
                   commit->segments[low].first_pgno <= pgno
               ? &commit->segments[low]
               : NULL;
}

static const struct ramet_frame *
find_frame(const struct ramet_frame *frames, uint32_t count, uint32_t pgno)
{
    uint32_t low = 0;
    uint32_t high = count;

    assert(pgno >= 1);
    while (low < high) { /* frames before low begin at or before pgno */
        const uint32_t middle = low + (high - low) / 2;

        if (frames[middle].first_pgno <= pgno)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 ||
        pgno - frames[low - 1].first_pgno >= frames[low - 1].page_count)
        return NULL;
    return &frames[low - 1];
}

uint32_t
ramet_table_chunk_of(const struct ramet_segment_info *segment, uint32_t pgno)
{
    uint32_t low = 0;
    uint32_t high = segment->chunk_count - 1;

    assert(pgno >= 1);
    assert(segment->chunk_count > 0);
    while (low < high) { /* chunks before low end before pgno */
        const uint32_t middle = low + (high - low) / 2;

        if (segment->chunks[middle].last_pgno < pgno)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum ramet_rc
ramet_table_find(struct ramet_table_cursor *cursor,
                 const struct ramet_commit_object *commit, uint32_t pgno,
                 struct ramet_frame *out_frame, struct ramet_err *err)
{
    const struct ramet_segment_info *const segment =
        ramet_table_segment(commit, pgno);
    const struct ramet_frame *frame = NULL;
    enum ramet_rc rc;

    assert(pgno >= 1);
    if (segment != NULL && segment->frames != NULL) {
        frame = find_frame(segment->frames, segment->frame_count, pgno);
    } else if (segment != NULL && segment->chunk_count > 0) {
        rc = ramet_table_cursor_load(cursor, commit, segment,
                                     ramet_table_chunk_of(segment, pgno), err);
        if (rc != RAMET_OK)
            return rc;
        frame = find_frame(cursor->frames, cursor->frame_count, pgno);
    }
    if (frame == NULL)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64 " changed page %u and names no frame "
                          "of it",
                          commit->lsn, pgno);
    *out_frame = *frame;
    return RAMET_OK;
}
