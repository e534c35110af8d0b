/*
 * http_store.h - a server's HTTP API dressed as an object store.
 *
 * Reads look into the ranges that were sent ahead first. Everything that comes
 * back is as unverified as what a bucket gives; the metastore's code above
 * checks it against hashes.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_STORE_H
#define RAMET_CLIENT_REMOTE_HTTP_STORE_H

#include "client/remote/http_conn.h"
#include "client/remote/http_ranges.h"
#include "pagestore/objstore.h"

/* Both are borrowed. `name` is for error texts, borrowed too. */
RAMET_NODISCARD enum ramet_rc
ramet_http_store_new(struct ramet_http_pool *pool, struct ramet_ranges *ranges,
                     const char *name, struct ramet_objstore **out_store,
                     struct ramet_err *err);

/* The first key that begins with `prefix` was said unasked, a moment ago: the
 * calling thread's next question for it is answered by that, and nobody else's:
 * who asks later wants to know what came meanwhile. `told` NULL: nothing was said
 * of what is in it. */
void ramet_http_store_tell(struct ramet_objstore *store, const char *prefix,
                           const char *key, const struct ramet_hash *told);
/* What the calling thread was told, and has not asked for, answers nothing. */
void ramet_http_store_untell(struct ramet_objstore *store);

/* http_upload.c */
RAMET_NODISCARD enum ramet_rc
ramet_http_upload_begin(struct ramet_objstore *store,
                        struct ramet_http_pool *pool, const char *path,
                        struct ramet_upload **out_upload,
                        struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_http_upload_write(struct ramet_upload *up, const void *data, size_t len,
                        struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_http_upload_finish(struct ramet_upload *up, struct ramet_err *err);
void ramet_http_upload_abort(struct ramet_upload *up);

#endif
