/*
 * plain.h - the plain file that a clean close leaves: what was committed, but
 * for the numbers that the base may bear otherwise (docs/sqlite.md, "The clean
 * base"). The made-up databases of these tests do not count on in their
 * headers, so that it often does.
 */
#ifndef RAMET_TESTS_CLIENT_STORE_PLAIN_H
#define RAMET_TESTS_CLIENT_STORE_PLAIN_H

#include <stddef.h>

#include "sqliteformat/dbheader.h"

static inline bool
is_plain_right(const uint8_t *plain, const uint8_t *stored, size_t len)
{
    static const size_t numbers[] = {RAMET_DBHEADER_COUNTER_AT,
                                     RAMET_DBHEADER_COOKIE_AT,
                                     RAMET_DBHEADER_VALID_FOR_AT};
    uint8_t header[RAMET_DBHEADER_SIZE];

    if (!ramet_dbheader_is(stored, len))
        return memcmp(plain, stored, len) == 0;
    memcpy(header, plain, sizeof(header));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        memcpy(header + numbers[i], stored + numbers[i], 4);
    return memcmp(header, stored, sizeof(header)) == 0 &&
           memcmp(plain + sizeof(header), stored + sizeof(header),
                  len - sizeof(header)) == 0;
}

#endif
