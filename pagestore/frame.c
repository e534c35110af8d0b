/*
 * frame.c - from a body to pages, and the reader that does it; see frame_impl.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/frame.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/delta.h"
#include "pagestore/frame_impl.h"

#define IDLE_MAX 4u
#define KEEP_BYTES (64u << 10) /* buffers up to this size are kept */

/* ---- scratch -------------------------------------------------------------- */

static void
scratch_free(struct ramet_scratch *scratch)
{
    assert(scratch == NULL || scratch->body_capacity == 0 ||
           scratch->body != NULL);
    if (scratch == NULL)
        return;
    ZSTD_freeDCtx(scratch->dctx);
    ramet_free(scratch->body);
    ramet_free(scratch->pages);
    ramet_free(scratch);
}

static struct ramet_scratch *
new_scratch(void)
{
    struct ramet_scratch *const scratch = ramet_calloc(1, sizeof(*scratch));

    if (scratch == NULL)
        return NULL;
    scratch->dctx = ZSTD_createDCtx_advanced(ramet_codec_mem);
    if (scratch->dctx != NULL)
        return scratch;
    ramet_free(scratch);
    return NULL;
}

struct ramet_scratch *
ramet_scratch_get(struct ramet_frame_reader *reader)
{
    struct ramet_scratch *scratch;

    ramet_mutex_lock(&reader->mutex);
    scratch = reader->idle;
    if (scratch != NULL) {
        reader->idle = scratch->next;
        assert(reader->idle_count > 0); /* invariant (2) */
        reader->idle_count--;
    }
    reader->busy_count++;
    ramet_mutex_unlock(&reader->mutex);
    if (scratch == NULL)
        scratch = new_scratch();
    if (scratch != NULL)
        return scratch;
    ramet_mutex_lock(&reader->mutex);
    assert(reader->busy_count > 0);
    reader->busy_count--;
    ramet_mutex_unlock(&reader->mutex);
    return NULL;
}

static void
shed(uint8_t **buf, size_t *capacity)
{
    assert((*buf == NULL) == (*capacity == 0));
    if (*capacity <= KEEP_BYTES)
        return;
    ramet_free(*buf);
    *buf = NULL;
    *capacity = 0;
}

static void
shed_both(struct ramet_scratch *scratch)
{
    shed(&scratch->body, &scratch->body_capacity);
    shed(&scratch->pages, &scratch->pages_capacity);
}

void
ramet_scratch_put(struct ramet_frame_reader *reader,
                  struct ramet_scratch *scratch)
{
    ramet_mutex_lock(&reader->mutex);
    assert((reader->idle == NULL) == (reader->idle_count == 0));
    assert(reader->busy_count > 0);
    reader->busy_count--;
    if (reader->idle_count < IDLE_MAX) {
        scratch->next = reader->idle;
        reader->idle = scratch;
        reader->idle_count++;
        scratch = NULL;
    }
    if (reader->busy_count == 0) /* invariant (3) */
        for (struct ramet_scratch *s = reader->idle; s != NULL; s = s->next)
            shed_both(s);
    ramet_mutex_unlock(&reader->mutex);
    scratch_free(scratch);
}

bool
ramet_scratch_reserve(uint8_t **buf, size_t *capacity, size_t len)
{
    uint8_t *grown;

    assert(len > 0);
    if (len <= *capacity)
        return true;
    grown = ramet_alloc(len);
    if (grown == NULL)
        return false;
    ramet_free(*buf);
    *buf = grown;
    *capacity = len;
    return true;
}

/* ---- the reader ----------------------------------------------------------- */

enum ramet_rc
ramet_frame_reader_new(struct ramet_objstore *store,
                       struct ramet_frame_reader **out_reader,
                       struct ramet_err *err)
{
    struct ramet_frame_reader *reader = ramet_calloc(1, sizeof(*reader));

    assert(store != NULL);
    if (reader == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "frame reader: no memory");
    reader->store = store;
    ramet_mutex_init(&reader->mutex);
    ramet_dict_cache_init(&reader->dicts);
    ramet_kept_init(&reader->kept);
    *out_reader = reader;
    return RAMET_OK;
}

void
ramet_frame_reader_free(struct ramet_frame_reader *reader)
{
    if (reader == NULL)
        return;
    assert(reader->idle_count <= IDLE_MAX);
    while (reader->idle != NULL) {
        struct ramet_scratch *scratch = reader->idle;

        reader->idle = scratch->next;
        scratch_free(scratch);
    }
    ramet_kept_done(&reader->kept);
    ramet_dict_cache_done(&reader->dicts);
    ramet_mutex_done(&reader->mutex);
    ramet_free(reader);
}

void
ramet_frame_reader_keep(struct ramet_frame_reader *reader,
                        const struct ramet_extent *place, const uint8_t *bytes)
{
    assert(place->length_bytes > 0);
    ramet_kept_add(&reader->kept, place, bytes);
}

bool
ramet_frame_reader_has(struct ramet_frame_reader *reader,
                       const struct ramet_extent *place)
{
    assert(place->length_bytes > 0);
    return ramet_kept_has(&reader->kept, place);
}

void
ramet_frame_reader_trim(struct ramet_frame_reader *reader)
{
    ramet_kept_clear(&reader->kept);
}

bool
ramet_frame_reader_has_dict(struct ramet_frame_reader *reader,
                            const struct ramet_extent *dict)
{
    assert(dict->length_bytes > 0);
    return ramet_dict_cache_has(&reader->dicts, dict);
}

void
ramet_frame_reader_keep_dict(struct ramet_frame_reader *reader,
                             const struct ramet_extent *dict,
                             const uint8_t *body)
{
    assert(dict->length_bytes > 0);
    ramet_dict_cache_put(&reader->dicts, dict, body);
}

enum ramet_rc
ramet_frame_check(const struct ramet_frame *frame, struct ramet_err *err)
{
    const bool deltas = frame->kind == RAMET_FRAME_DELTAS;
    const uint32_t most =
        deltas ? RAMET_DELTA_BLOCK_MAX : RAMET_FRAME_BYTES_MAX;

    assert(frame != NULL);
    if (frame->kind > RAMET_FRAME_DELTAS)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "page %" PRIu32
                          ": frame kind %u is of a later version",
                          frame->first_pgno, (unsigned)frame->kind);
    if ((frame->page_count == 0) != deltas ||
        frame->page_count > RAMET_FRAME_PAGES_MAX ||
        frame->extent.length_bytes == 0 || frame->extent.length_bytes > most ||
        frame->extent.offset_bytes > UINT64_MAX - frame->extent.length_bytes)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "page %" PRIu32 ": a frame of %" PRIu32
                          " pages in %" PRIu32 " bytes",
                          frame->first_pgno, frame->page_count,
                          frame->extent.length_bytes);
    return RAMET_OK;
}

enum ramet_rc
ramet_frame_decode_body(struct ramet_frame_reader *reader,
                        struct ramet_scratch *scratch,
                        const struct ramet_frame *frame, const uint8_t *body,
                        size_t content_bytes, uint8_t *out, const char *key,
                        struct ramet_err *err)
{
    struct ramet_cached_dict *dict = NULL;
    uint32_t front = 0;
    enum ramet_rc rc = RAMET_OK;

    assert(content_bytes > 0);
    if (frame->kind == RAMET_FRAME_DICT)
        rc = ramet_dict_cache_get(&reader->dicts, reader->store, &frame->base,
                                  &dict, err);
    if (rc == RAMET_OK && frame->kind == RAMET_FRAME_DELTAS)
        front = ramet_delta_front_length(body, frame->extent.length_bytes);
    if (rc != RAMET_OK)
        return rc;
    assert(front < content_bytes);
    assert((dict != NULL) == (frame->kind == RAMET_FRAME_DICT));
    memcpy(out, body, front);
    rc = ramet_codec_decode(scratch->dctx, dict != NULL ? dict->ddict : NULL,
                            frame, front, body, content_bytes - front,
                            out + front, key, err);
    if (dict != NULL)
        ramet_dict_cache_release(&reader->dicts, dict);
    return rc;
}

enum ramet_rc
ramet_frame_read(struct ramet_frame_reader *reader,
                 const struct ramet_frame *frame, uint32_t page_size,
                 uint8_t *out, struct ramet_err *err)
{
    const uint32_t length = frame->extent.length_bytes;
    char key[RAMET_KEY_MAX];
    struct ramet_scratch *scratch;
    enum ramet_rc rc;

    assert(ramet_page_size_valid(page_size));
    assert(frame->kind != RAMET_FRAME_DELTAS);
    rc = ramet_frame_check(frame, err);
    if (rc != RAMET_OK)
        return rc;
    scratch = ramet_scratch_get(reader);
    if (scratch == NULL ||
        !ramet_scratch_reserve(&scratch->body, &scratch->body_capacity,
                               length)) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "page %" PRIu32 ": no memory",
                        frame->first_pgno);
        goto done;
    }
    ramet_extent_key(&frame->extent, key);
    rc =
        ramet_objstore_read_full(reader->store, key, frame->extent.offset_bytes,
                                 scratch->body, length, err);
    if (rc == RAMET_OK)
        rc = ramet_codec_verify_read(reader->store, &frame->extent,
                                     scratch->body, key, err);
    if (rc == RAMET_OK)
        rc = ramet_frame_decode_body(reader, scratch, frame, scratch->body,
                                     (size_t)frame->page_count * page_size, out,
                                     key, err);
done:
    if (scratch != NULL)
        ramet_scratch_put(reader, scratch);
    return rc;
}

enum ramet_rc
ramet_frame_decode(struct ramet_frame_reader *reader,
                   const struct ramet_frame *frame, const uint8_t *body,
                   uint32_t page_size, uint8_t *out, struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    struct ramet_scratch *scratch;
    enum ramet_rc rc;

    assert(ramet_page_size_valid(page_size));
    assert(frame->kind != RAMET_FRAME_DELTAS);
    rc = ramet_frame_check(frame, err);
    if (rc != RAMET_OK)
        return rc;
    scratch = ramet_scratch_get(reader);
    if (scratch == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "page %" PRIu32 ": no memory",
                          frame->first_pgno);
    ramet_extent_key(&frame->extent, key);
    rc = ramet_codec_verify(&frame->extent, body, key, err);
    if (rc == RAMET_OK)
        rc = ramet_frame_decode_body(reader, scratch, frame, body,
                                     (size_t)frame->page_count * page_size, out,
                                     key, err);
    ramet_scratch_put(reader, scratch);
    return rc;
}
