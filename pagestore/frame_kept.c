/*
 * frame_kept.c - see frame_kept.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/frame_kept.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"

void
ramet_kept_init(struct ramet_kept *kept)
{
    memset(kept, 0, sizeof(*kept));
    ramet_mutex_init(&kept->mutex);
}

/* Under the mutex. */
static void
remove_at(struct ramet_kept *kept, unsigned at)
{
    assert(at < kept->count);
    assert(kept->bytes >= kept->all[at].place.length_bytes);
    kept->bytes -= kept->all[at].place.length_bytes;
    ramet_free(kept->all[at].bytes);
    kept->count--;
    memmove(&kept->all[at], &kept->all[at + 1],
            (kept->count - at) * sizeof(kept->all[0]));
}

void
ramet_kept_clear(struct ramet_kept *kept)
{
    ramet_mutex_lock(&kept->mutex);
    while (kept->count > 0)
        remove_at(kept, 0);
    assert(kept->bytes == 0);
    ramet_mutex_unlock(&kept->mutex);
}

void
ramet_kept_done(struct ramet_kept *kept)
{
    ramet_kept_clear(kept);
    ramet_mutex_done(&kept->mutex);
}

void
ramet_kept_add(struct ramet_kept *kept, const struct ramet_extent *place,
               const uint8_t *bytes)
{
    uint8_t *const copy = place->length_bytes <= RAMET_KEPT_BYTES
                              ? ramet_alloc(place->length_bytes)
                              : NULL;

    assert(place->length_bytes > 0);
    if (copy == NULL)
        return;
    memcpy(copy, bytes, place->length_bytes);
    ramet_mutex_lock(&kept->mutex);
    while (kept->count == RAMET_KEPT_MAX || /* invariant (2) */
           (kept->count > 0 &&
            kept->bytes + place->length_bytes > RAMET_KEPT_BYTES))
        remove_at(kept, 0);
    kept->all[kept->count++] =
        (struct ramet_kept_bytes){.place = *place, .bytes = copy};
    kept->bytes += place->length_bytes;
    assert(kept->bytes <= RAMET_KEPT_BYTES);
    ramet_mutex_unlock(&kept->mutex);
}

/* The place that has these bytes, NULL: none. Under the mutex. */
static const struct ramet_kept_bytes *
find(const struct ramet_kept *kept, const struct ramet_extent *in,
     uint64_t offset, size_t len)
{
    for (unsigned i = kept->count; i > 0; i--) {
        const struct ramet_extent *const place = &kept->all[i - 1].place;

        if (ramet_extent_same_object(place, in) &&
            offset >= place->offset_bytes && len <= place->length_bytes &&
            offset - place->offset_bytes <= place->length_bytes - len)
            return &kept->all[i - 1];
    }
    return NULL;
}

bool
ramet_kept_find(struct ramet_kept *kept, const struct ramet_extent *in,
                uint64_t offset, size_t len, uint8_t *out)
{
    const struct ramet_kept_bytes *found;

    assert(len > 0);
    ramet_mutex_lock(&kept->mutex);
    found = find(kept, in, offset, len);
    if (found != NULL)
        memcpy(out, found->bytes + (offset - found->place.offset_bytes), len);
    ramet_mutex_unlock(&kept->mutex);
    return found != NULL;
}

bool
ramet_kept_has(struct ramet_kept *kept, const struct ramet_extent *place)
{
    bool has;

    assert(place->length_bytes > 0);
    ramet_mutex_lock(&kept->mutex);
    has = find(kept, place, place->offset_bytes, place->length_bytes) != NULL;
    ramet_mutex_unlock(&kept->mutex);
    return has;
}

void
ramet_kept_drop(struct ramet_kept *kept, const struct ramet_extent *in)
{
    assert(kept->count <= RAMET_KEPT_MAX);
    ramet_mutex_lock(&kept->mutex);
    for (unsigned i = kept->count; i > 0; i--)
        if (ramet_extent_same_object(&kept->all[i - 1].place, in))
            remove_at(kept, i - 1);
    ramet_mutex_unlock(&kept->mutex);
}
