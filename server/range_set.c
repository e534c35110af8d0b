/*
 * range_set.c - see range_set.h.
 */
#include "server/range_set.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"

static uint64_t
number_of(const struct ramet_object_range *object, uint32_t length_bytes)
{
    uint8_t text[64] = {0};
    uint64_t number;

    memcpy(text, object->volume.id.bytes, RAMET_ID_SIZE);
    memcpy(text + 16, object->id.bytes, RAMET_ID_SIZE);
    ramet_put_le64(text + 32, object->lsn);
    ramet_put_le64(text + 40, object->offset);
    ramet_put_le32(text + 48, length_bytes);
    text[52] = object->object;
    number = ramet_hash64(text, sizeof(text));
    return number != 0 ? number : 1;
}

static bool
grow(struct ramet_range_set *set)
{
    const size_t capacity = set->slots == NULL ? 256 : (set->mask + 1) * 2;
    uint64_t *slots = ramet_calloc(capacity, sizeof(*slots));

    assert((capacity & (capacity - 1)) == 0);
    if (slots == NULL)
        return false;
    for (size_t i = 0; set->slots != NULL && i <= set->mask; i++) {
        size_t at = (size_t)set->slots[i] & (capacity - 1);

        if (set->slots[i] == 0)
            continue;
        while (slots[at] != 0)
            at = (at + 1) & (capacity - 1);
        slots[at] = set->slots[i];
    }
    ramet_free(set->slots);
    set->slots = slots;
    set->mask = capacity - 1;
    return true;
}

bool
ramet_range_set_add(struct ramet_range_set *set,
                    const struct ramet_object_range *object,
                    uint32_t length_bytes)
{
    const uint64_t number = number_of(object, length_bytes);
    size_t at;

    assert(set->count <= set->most);
    if ((set->slots == NULL || set->count * 2 > set->mask) && !grow(set))
        return true;
    at = (size_t)number & set->mask;
    while (set->slots[at] != 0) {
        if (set->slots[at] == number)
            return false;
        at = (at + 1) & set->mask;
    }
    if (set->count == set->most)
        return true;
    set->slots[at] = number;
    set->count++;
    return true;
}

bool
ramet_range_set_has(const struct ramet_range_set *set,
                    const struct ramet_object_range *object,
                    uint32_t length_bytes)
{
    const uint64_t number = number_of(object, length_bytes);
    size_t at;

    if (set->slots == NULL)
        return false;
    at = (size_t)number & set->mask;
    while (set->slots[at] != 0 && set->slots[at] != number)
        at = (at + 1) & set->mask;
    return set->slots[at] == number;
}

void
ramet_range_set_done(struct ramet_range_set *set)
{
    ramet_free(set->slots);
    *set = (struct ramet_range_set){.most = 0};
}
