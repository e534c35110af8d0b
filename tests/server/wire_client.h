/*
 * wire_client.h - the client's half of the pages' wire form, for tests that
 * know the server's half: the two have names in common.
 */
#ifndef RAMET_TESTS_SERVER_WIRE_CLIENT_H
#define RAMET_TESTS_SERVER_WIRE_CLIENT_H

#include "core/bytes.h"
#include "core/id.h"

struct wire_range {
    char key[256];
    uint64_t offset;
    size_t len;
    uint8_t first_byte;
    bool ends_object;
};

void wire_encode(struct ramet_buf *out, uint64_t lsn, unsigned flags,
                 const uint32_t *pgnos, size_t count);
/* At most `max` ranges are kept; *out_count counts them all. */
enum ramet_rc wire_parse(const uint8_t *data, size_t len,
                         const struct ramet_vid *volume, struct wire_range *out,
                         size_t max, size_t *out_count, struct ramet_err *err);

#endif
