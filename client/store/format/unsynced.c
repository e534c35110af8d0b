/*
 * unsynced.c - see unsynced.h.
 */
#include "client/store/format/unsynced.h"

#include <assert.h>
#include <string.h>

#include "client/store/format/presence_value.h"

/* Nobody says something else of the page, but with a new state. */
static bool
is_final(uint64_t value)
{
    return value == RAMET_PRESENCE_ZERO ||
           (ramet_presence_is_sum(value) && value < RAMET_PRESENCE_MASK);
}

bool
ramet_unsynced_put(struct ramet_unsynced *unsynced, uint32_t pgno,
                   uint64_t value)
{
    uint32_t at = unsynced->count;

    assert(pgno >= 1);
    while (at > 0 && unsynced->pgnos[at - 1] >= pgno)
        at--;
    if (!is_final(value))
        return false;
    if (at == unsynced->count || unsynced->pgnos[at] != pgno) {
        const uint32_t behind = unsynced->count - at;

        if (unsynced->count == RAMET_UNSYNCED_MAX)
            return false;
        memmove(unsynced->pgnos + at + 1, unsynced->pgnos + at,
                behind * sizeof(unsynced->pgnos[0]));
        memmove(unsynced->values + at + 1, unsynced->values + at,
                behind * sizeof(unsynced->values[0]));
        unsynced->pgnos[at] = pgno;
        unsynced->count++;
    }
    unsynced->values[at] = value;
    return true;
}

void
ramet_unsynced_truncate(struct ramet_unsynced *unsynced, uint32_t page_count)
{
    assert(unsynced->count <= RAMET_UNSYNCED_MAX);
    while (unsynced->count > 0 &&
           unsynced->pgnos[unsynced->count - 1] > page_count)
        unsynced->count--;
}

void
ramet_unsynced_encode(const struct ramet_unsynced *unsynced,
                      struct ramet_buf *out)
{
    assert(unsynced->count <= RAMET_UNSYNCED_MAX);
    ramet_buf_le16(out, (uint16_t)unsynced->count);
    for (uint32_t i = 0; i < unsynced->count; i++) {
        assert(i == 0 || unsynced->pgnos[i] > unsynced->pgnos[i - 1]);
        ramet_buf_le32(out, unsynced->pgnos[i]);
        ramet_buf_le64(out, unsynced->values[i]);
    }
}

void
ramet_unsynced_decode(struct ramet_reader *in,
                      struct ramet_unsynced *out_unsynced)
{
    const uint32_t count = ramet_read_le16(in);
    uint32_t last = 0;

    out_unsynced->count = 0;
    if (count > RAMET_UNSYNCED_MAX)
        in->bad = true;
    for (uint32_t i = 0; !in->bad && i < count; i++) {
        const uint32_t pgno = ramet_read_le32(in);
        const uint64_t value = ramet_read_le64(in);

        if (pgno <= last || !ramet_unsynced_put(out_unsynced, pgno, value))
            in->bad = true;
        last = pgno;
    }
}
