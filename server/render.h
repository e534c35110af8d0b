/*
 * render.h - JSON and errors as the server writes them.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_RENDER_H
#define RAMET_SERVER_RENDER_H

#include "core/bytes.h"
#include "metastore/history.h"
#include "server/http.h"

#define RAMET_TYPE_JSON "application/json"
#define RAMET_TYPE_OBJECT "application/octet-stream"
#define RAMET_TYPE_PROBLEM "application/problem+json"

/* At most 500 bytes at a time. */
void ramet_render_text(struct ramet_buf *out, const char *fmt, ...)
    RAMET_PRINTF(2, 3);
/* {"lsn":…}; at most 500 bytes. */
void ramet_render_head(struct ramet_buf *out, const struct ramet_head *head);
void ramet_render_hash(const struct ramet_hash *hash, char out[33]);
/* "Mon, 23 Nov 2026 10:00:00 GMT" */
void ramet_render_date(uint64_t unix_ms, char out[32]);
bool ramet_parse_date(const char *text, uint64_t *out_unix_ms);

/* Takes what is in `buf` as the answer; a failed buffer becomes a 503. */
void ramet_render_reply(struct ramet_http_request *rq, unsigned status,
                        const char *content_type, struct ramet_buf *buf);
/* problem+json; `hint` may be NULL. */
void
ramet_render_problem(struct ramet_http_request *rq, unsigned status,
                     enum ramet_rc rc, const char *detail, const char *hint);
/* By result code. `from_client`: damage is in what the client sent. */
void ramet_render_failure(struct ramet_http_request *rq, enum ramet_rc rc,
                          const struct ramet_err *err, bool from_client);
/* 409 with the newest head. */
void ramet_render_conflict(struct ramet_http_request *rq, const char *detail,
                           const struct ramet_head *head);
unsigned ramet_status_of(enum ramet_rc rc, bool from_client);

#endif
