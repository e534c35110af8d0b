/*
 * dbheader.h - the header of a SQLite database: what a file is, and the three
 * numbers that are not always shown as they are stored (docs/sqlite.md, "Page
 * 1").
 *
 *   16  the page size; 1 stands for 65536
 *   18  to write and (19) to read: 2 where the database is in WAL mode
 *   20  bytes that each page keeps free at its end
 *   24  the change counter: SQLite's cache is stale where bytes 24-39 differ
 *   40  the schema cookie: its parsed schema is stale where it differs
 *   92  the change counter once more; where it is not that of 24, SQLite does
 *       not trust the page count at 28
 *
 * Numbers are compared as in a circle: one is *ahead* of another if it follows
 * it by less than half of all there are. So a stored number near the end of
 * its range, or a hostile one, takes nothing out of step.
 *
 * Layer: sqliteformat.
 */
#ifndef RAMET_SQLITEFORMAT_DBHEADER_H
#define RAMET_SQLITEFORMAT_DBHEADER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/bytes.h"

#define RAMET_DBHEADER_SIZE 100u
#define RAMET_DBHEADER_MAGIC_SIZE 16u /* with its NUL */
#define RAMET_DBHEADER_FORMATS_AT 18u
#define RAMET_DBHEADER_COUNTER_AT 24u
#define RAMET_DBHEADER_COOKIE_AT 40u
#define RAMET_DBHEADER_VALID_FOR_AT 92u

/* Are these the first RAMET_DBHEADER_MAGIC_SIZE bytes of a SQLite database? */
static inline bool
ramet_dbheader_begins(const uint8_t *header)
{
    return memcmp(header, "SQLite format 3", RAMET_DBHEADER_MAGIC_SIZE) == 0;
}

/* Is a file of this length, with these first bytes, a SQLite database? */
static inline bool
ramet_dbheader_is(const uint8_t *header, uint64_t byte_length)
{
    return byte_length >= RAMET_DBHEADER_SIZE && ramet_dbheader_begins(header);
}

/* As it is named there, be it one that SQLite takes or not. */
static inline uint32_t
ramet_dbheader_page_size(const uint8_t *header)
{
    const uint32_t size = ramet_get_be16(header + 16);

    return size == 1 ? 65536 : size;
}

/* What SQLite uses of a page of `page_size` bytes. */
static inline uint32_t
ramet_dbheader_usable(const uint8_t *header, uint32_t page_size)
{
    return page_size - header[20];
}

static inline bool
ramet_dbheader_is_wal(const uint8_t *header)
{
    return header[RAMET_DBHEADER_FORMATS_AT] == 2 &&
           header[RAMET_DBHEADER_FORMATS_AT + 1] == 2;
}

static inline void
ramet_dbheader_leave_wal(uint8_t *header)
{
    header[RAMET_DBHEADER_FORMATS_AT] = 1;
    header[RAMET_DBHEADER_FORMATS_AT + 1] = 1;
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

/* Pages by SQLite's own count; 0: it does not trust that one. */
static inline uint32_t
ramet_dbheader_page_count(const uint8_t *header)
{
    return ramet_get_be32(header + RAMET_DBHEADER_VALID_FOR_AT) ==
                   ramet_dbheader_counter(header)
               ? ramet_get_be32(header + 28)
               : 0;
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
