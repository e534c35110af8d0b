/*
 * conditional.h - conditional requests and ranges (RFC 9110).
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_CONDITIONAL_H
#define RAMET_SERVER_CONDITIONAL_H

#include "server/server_impl.h"

/* Digits at *text, which moves past them; false: none. */
bool ramet_api_offset(const char **text, uint64_t *out);
struct byte_range {
    uint64_t offset, length, total;
};
enum range_answer { RANGE_WHOLE, RANGE_PART, RANGE_BAD };
enum range_answer
ramet_api_range(const char *header, uint64_t total, struct byte_range *out);
bool ramet_api_etag_matches(const char *header, const char *etag);
/* Status and headers for a body of `total` bytes; *out is what to send. False:
 * replied already (304, 416). */
bool
ramet_api_select(struct call *call, const char *etag, uint64_t modified_ms,
                 uint64_t total, struct byte_range *out, unsigned *out_status);
/* The body of this call, with this tag, never changes. */
void ramet_api_immutable(struct call *call, const char *etag);

#endif
