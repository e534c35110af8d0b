/*
 * http_bring.h - pages from a server: asked for in one request, and made of the
 * frames of its answer one by one, as they come.
 *
 * What a page's frame is found by (heads, nodes) is mostly here already; then
 * the frames alone are asked for. Else the server sends what leads to them as
 * well, before them. Either way it is one request.
 *
 *   (1) Pages are given out as they come: in the order in which they were asked
 *       for, if the server keeps to it.
 *   (2) It is a hint: what does not come, or comes damaged, is left out.
 *   (3) One with a delta is given out once both of its parts are here. A block that was
 *       left out because an earlier request brings it is waited for as long as
 *       that one takes, for two seconds at most; never does a request wait for a
 *       later one.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_BRING_H
#define RAMET_CLIENT_REMOTE_HTTP_BRING_H

#include "client/remote/http_conn.h"
#include "client/remote/http_ranges.h"
#include "client/remote/http_shadow.h"
#include "client/remote/question.h"

struct ramet_http_bring {
    struct ramet_http_pool *pool;
    struct ramet_ranges *ranges;
    struct ramet_shadows *shadows;
};

/* As ramet_remote_ops.bring. */
RAMET_NODISCARD enum ramet_rc
ramet_http_bring(const struct ramet_http_bring *with,
                 const struct ramet_vid *volume, const struct ramet_point *at,
                 const uint32_t *pgnos, size_t count, bool want_extra,
                 ramet_page_visit *visit, void *ctx, struct ramet_err *err);

/* As ramet_remote_ops.ask. http_question.c */
RAMET_NODISCARD enum ramet_rc
ramet_http_ask(const struct ramet_http_bring *with,
               const struct ramet_vid *volume, const struct ramet_point *at,
               const struct ramet_question *question,
               ramet_question_visit *visit, void *ctx, struct ramet_err *err);

/* As ramet_remote_ops.open: what all who open a volume ask first, in one
 * request; `store` is told what it says. */
RAMET_NODISCARD enum ramet_rc
ramet_http_open(const struct ramet_http_bring *with,
                struct ramet_objstore *store,
                const struct ramet_opening_question *question,
                struct ramet_err *err);

#endif
