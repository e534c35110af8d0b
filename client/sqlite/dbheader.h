/*
 * dbheader.h - the three numbers in the header of a SQLite database that are
 * not always shown as they are stored: docs/sqlite.md, "Page 1".
 *
 *   24  the change counter: SQLite's cache is stale where bytes 24-39 differ
 *   40  the schema cookie: its parsed schema is stale where it differs
 *   92  the change counter once more; where it is not that of 24, SQLite does
 *       not trust the page count at 28
 *
 * Numbers are compared as in a circle: one is *ahead* of another if it follows
 * it by less than half of all there are. So a stored number near the end of
 * its range, or a hostile one, takes nothing out of step.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_SQLITE_DBHEADER_H
#define RAMET_CLIENT_SQLITE_DBHEADER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/bytes.h"

#define RAMET_DBHEADER_SIZE 100u
#define RAMET_DBHEADER_COUNTER_AT 24u
#define RAMET_DBHEADER_COOKIE_AT 40u
#define RAMET_DBHEADER_VALID_FOR_AT 92u

/* Is a file of this length, with these first bytes, a SQLite database? */
static inline bool
ramet_dbheader_is(const uint8_t *header, uint64_t byte_length)
{
    return byte_length >= RAMET_DBHEADER_SIZE &&
           memcmp(header, "SQLite format 3", 16) == 0; /* and its NUL */
}

static inline uint32_t
ramet_dbheader_counter(const uint8_t *header)
{
    return ramet_get_be32(header + RAMET_DBHEADER_COUNTER_AT);
}

static inline uint32_t
ramet_dbheader_cookie(const uint8_t *header)
{
    return ramet_get_be32(header + RAMET_DBHEADER_COOKIE_AT);
}

static inline bool
ramet_number_is_ahead(uint32_t a, uint32_t b)
{
    return a - b - 1 < UINT32_MAX / 2;
}

/* A number ahead of `last`: the wanted one, if it is. */
static inline uint32_t
ramet_number_after(uint32_t last, uint32_t wanted)
{
    return ramet_number_is_ahead(wanted, last) ? wanted : last + 1;
}

/* The number after `last` for a file with this header: its own, if it may be. */
static inline uint32_t
ramet_dbheader_count_on(uint32_t last, const uint8_t *header,
                        uint64_t byte_length)
{
    return ramet_number_after(last, ramet_dbheader_is(header, byte_length)
                                        ? ramet_dbheader_counter(header)
                                        : last);
}

/* Put other numbers over the first 100 bytes of a database. Whether the two
 * change counters are equal stays as it was. */
static inline void
ramet_dbheader_show(uint8_t *header, uint32_t counter, uint32_t cookie)
{
    const uint32_t valid_for =
        ramet_get_be32(header + RAMET_DBHEADER_VALID_FOR_AT);

    if (valid_for == ramet_dbheader_counter(header))
        ramet_put_be32(header + RAMET_DBHEADER_VALID_FOR_AT, counter);
    else if (valid_for == counter)
        ramet_put_be32(header + RAMET_DBHEADER_VALID_FOR_AT, ~counter);
    ramet_put_be32(header + RAMET_DBHEADER_COUNTER_AT, counter);
    ramet_put_be32(header + RAMET_DBHEADER_COOKIE_AT, cookie);
}

#endif
