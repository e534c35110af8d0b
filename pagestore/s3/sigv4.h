/*
 * sigv4.h - AWS Signature Version 4: what proves to a store who asks.
 *
 * Pure functions over text: no clock, no I/O. The caller gives the pieces of a
 * request in their canonical form, and gets the value of its `Authorization`
 * header. Ours, on OpenSSL's HMAC, and not libcurl's CURLOPT_AWS_SIGV4: that
 * one differs from version to version in what it signs (decision 0014), can't
 * be tested against AWS's published examples, and knows no session token.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_SIGV4_H
#define RAMET_PAGESTORE_S3_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/bytes.h"
#include "core/err.h"

#define RAMET_SHA256_HEX 65u   /* with the final 0 */
#define RAMET_SIGV4_TIME 17u   /* "20130524T000000Z" and the final 0 */
#define RAMET_SIGV4_AUTH 1024u /* the longest `Authorization` */

struct ramet_sigv4_header {
    const char *name;  /* lower case */
    const char *value; /* without blanks around or doubled */
};

struct ramet_sigv4_request {
    const char *method;
    const char *path;  /* "/bucket/key", each byte escaped as it is sent */
    const char *query; /* sorted, escaped, "a=1&b=" ; "" for none */
    /* Sorted by name; `host` and `x-amz-date` among them. */
    const struct ramet_sigv4_header *headers;
    size_t header_count;
    const char *payload_sha256; /* hex */
};

struct ramet_sigv4_scope {
    const char *access_key, *secret_key;
    const char *region, *service;
    const char *time; /* RAMET_SIGV4_TIME, as in x-amz-date */
};

/* RAMET_EINVAL: the key or a name is too long to be one. */
RAMET_NODISCARD enum ramet_rc
ramet_sigv4_authorize(const struct ramet_sigv4_request *request,
                      const struct ramet_sigv4_scope *scope,
                      char out[RAMET_SIGV4_AUTH], struct ramet_err *err);

/* The time of a request, from Unix time. */
void ramet_sigv4_time(uint64_t unix_ms, char out[RAMET_SIGV4_TIME]);

/* Append `text` with all but unreserved characters (and '/', if kept) escaped:
 * %XX, upper case. */
void
ramet_sigv4_escape(struct ramet_buf *out, const char *text, bool keep_slash);

/* In lower-case hex. False: OpenSSL has no SHA-256 (it always has). */
bool ramet_sha256_hex(const struct iovec *parts, int part_count,
                      char out[RAMET_SHA256_HEX]);

#endif
