/*
 * presence_value.h - what a word of presence says of a page, without check bits;
 * docs/replica.md, "presence".
 *
 * Layer: client, store/format.
 */
#ifndef RAMET_CLIENT_STORE_FORMAT_PRESENCE_VALUE_H
#define RAMET_CLIENT_STORE_FORMAT_PRESENCE_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#define RAMET_PRESENCE_DEFAULT 0u /* state says what: held or absent */
#define RAMET_PRESENCE_HELD 1u    /* checksum not known */
#define RAMET_PRESENCE_ZERO 2u
#define RAMET_PRESENCE_ABSENT 3u
#define RAMET_PRESENCE_DAMAGED UINT64_MAX /* the word fails its check */
/* ... else the checksum, less than this: */
#define RAMET_PRESENCE_MASK UINT64_C(0xffffffffffff)

static inline bool
ramet_presence_is_sum(uint64_t value)
{
    return value > RAMET_PRESENCE_ABSENT && value != RAMET_PRESENCE_DAMAGED;
}

#endif
