/*
 * id.h - 16-byte identifiers, each kind a type of its own.
 *
 * All are UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random bits,
 * so that ids sort by the time at which they were made and garbage collection
 * can tell the age of an object from its name. The text form is the usual 36
 * characters in lower case.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_ID_H
#define RAMET_CORE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

#define RAMET_ID_SIZE 16u
#define RAMET_ID_TEXT_SIZE 37u /* 36 characters and the final NUL */

struct ramet_id {
    uint8_t bytes[RAMET_ID_SIZE];
};
struct ramet_vid {
    struct ramet_id id;
}; /* a volume */
struct ramet_sid {
    struct ramet_id id;
}; /* a segment */
struct ramet_cid {
    struct ramet_id id;
}; /* a commit */
struct ramet_mid {
    struct ramet_id id;
}; /* a page map object */
struct ramet_rid {
    struct ramet_id id;
}; /* a replica */

/* A new id. `unix_ms` must fit in 48 bits; `random` gives the other bits. */
struct ramet_id ramet_id_make(uint64_t unix_ms, const uint8_t random[10]);

/* A new id from the system's clock and generator. */
RAMET_NODISCARD enum ramet_rc
ramet_id_new(struct ramet_id *out_id, struct ramet_err *err);

uint64_t ramet_id_time_ms(const struct ramet_id *id);
bool ramet_id_is_nil(const struct ramet_id *id);
int ramet_id_compare(const struct ramet_id *a, const struct ramet_id *b);
void ramet_id_format(const struct ramet_id *id, char out[RAMET_ID_TEXT_SIZE]);

/* False, and `out_id` untouched, unless `text` is exactly one id in its text
 * form; capital letters are refused, so that a key has one spelling. */
bool ramet_id_parse(const char *text, struct ramet_id *out_id);

#endif
