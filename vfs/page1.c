/*
 * page1.c - see page1.h.
 */
#include "vfs/page1.h"

#include <string.h>

#include "core/bytes.h"

#define COUNTER_AT 24u
#define VALID_FOR_AT 92u

static const char sqlite_magic[16] = "SQLite format 3"; /* and its NUL */

/* False: nothing is overlaid, invariant (3). */
static bool
overlay_bytes(const struct ramet_snapshot *snapshot, uint32_t counter,
              uint8_t out_counter[4], uint8_t out_valid_for[4])
{
    const uint8_t *header = snapshot->header;

    if (snapshot->byte_length < RAMET_HEADER_SIZE ||
        memcmp(header, sqlite_magic, sizeof(sqlite_magic)) != 0)
        return false;
    ramet_put_be32(out_counter, counter);
    if (memcmp(header + COUNTER_AT, header + VALID_FOR_AT, 4) == 0) {
        memcpy(out_valid_for, out_counter, 4);
        return true;
    }
    memcpy(out_valid_for, header + VALID_FOR_AT, 4);
    if (memcmp(out_valid_for, out_counter, 4) == 0) /* invariant (2) */
        ramet_put_be32(out_valid_for, ~counter);
    return true;
}

/* Copy the part of the 4 bytes at `at` that lies in [offset, offset+len). */
static void
lay_over(uint8_t *buf, uint64_t offset, size_t len, uint64_t at,
         const uint8_t bytes[4])
{
    for (uint64_t i = 0; i < 4; i++)
        if (at + i >= offset && at + i - offset < len)
            buf[at + i - offset] = bytes[i];
}

void
ramet_page1_show(const struct ramet_snapshot *snapshot, uint32_t counter,
                 uint64_t offset, void *buf, size_t len)
{
    uint8_t bytes[4];
    uint8_t valid_for[4];

    if (!overlay_bytes(snapshot, counter, bytes, valid_for))
        return;
    lay_over(buf, offset, len, COUNTER_AT, bytes);
    lay_over(buf, offset, len, VALID_FOR_AT, valid_for);
}

static bool
overlaps(uint64_t offset, size_t len, uint64_t at)
{
    return len > 0 && offset < at + 4 && offset + len > at;
}

bool
ramet_page1_touches(uint64_t offset, size_t len)
{
    return overlaps(offset, len, COUNTER_AT) ||
           overlaps(offset, len, VALID_FOR_AT);
}

bool
ramet_page1_is_shown(const struct ramet_snapshot *snapshot, const void *buf)
{
    const uint8_t *bytes = buf;
    uint8_t counter[4];
    uint8_t valid_for[4];

    return overlay_bytes(snapshot, snapshot->counter, counter, valid_for) &&
           memcmp(bytes + COUNTER_AT, counter, 4) == 0 &&
           memcmp(bytes + VALID_FOR_AT, valid_for, 4) == 0;
}

bool
ramet_page1_wants_wal(const void *buf, size_t len)
{
    const uint8_t *bytes = buf;

    return len >= RAMET_HEADER_SIZE &&
           memcmp(bytes, sqlite_magic, sizeof(sqlite_magic)) == 0 &&
           (bytes[18] == 2 || bytes[19] == 2);
}
