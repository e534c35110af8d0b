/*
 * s3store_impl.h - the store as its own files see it: s3store.c, batch.c,
 * parts.c, upload.c and probe.c.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_S3STORE_IMPL_H
#define RAMET_PAGESTORE_S3_S3STORE_IMPL_H

#include "pagestore/s3/place.h"
#include "pagestore/s3/request.h"
#include "pagestore/s3/s3store.h"
#include "pagestore/s3/tally.h"

#define RAMET_S3_KEY_MAX (RAMET_S3_PREFIX_MAX + RAMET_KEY_MAX)

struct ramet_s3store {
    struct ramet_objstore base;
    struct ramet_s3_caller caller;
    struct ramet_s3_tally tally;
    char prefix[RAMET_S3_PREFIX_MAX + 1]; /* "" or with a slash at its end */
    bool hedge;
    char *name; /* in error texts */
};

/* The key in the bucket. */
void ramet_s3store_key(const struct ramet_s3store *s3, const char *key,
                       char out[RAMET_S3_KEY_MAX]);
/* object.c: two of the table. */
enum ramet_rc
ramet_s3store_size(struct ramet_objstore *store, const char *key,
                   uint64_t *out_size_bytes, struct ramet_err *err);
enum ramet_rc ramet_s3store_read(struct ramet_objstore *store, const char *key,
                                 uint64_t offset, void *buf, size_t len,
                                 size_t *out_got, struct ramet_err *err);
/* As ramet_objstore_put(), of a store that was proven or is being. */
RAMET_NODISCARD enum ramet_rc
ramet_s3store_put_now(struct ramet_s3store *s3, const char *key,
                      const struct iovec *parts, int part_count,
                      struct ramet_err *err);

/* Invariant (2) of s3store.h. RAMET_EREFUSED: it lets two writers win. */
RAMET_NODISCARD enum ramet_rc
ramet_s3store_prove(struct ramet_s3store *s3, struct ramet_err *err);

/* batch.c */
enum ramet_rc
ramet_s3_remove_many(struct ramet_objstore *store, const char *const *keys,
                     size_t count, struct ramet_err *err);

/* parts.c */
enum ramet_rc
ramet_s3_read_parts(struct ramet_objstore *store,
                    const struct ramet_part *parts, size_t count,
                    ramet_part_visit *visit, void *ctx, struct ramet_err *err);

/* upload.c: the three of the table. */
enum ramet_rc
ramet_s3_upload_begin(struct ramet_objstore *store, const char *key,
                      struct ramet_upload **out_upload, struct ramet_err *err);
enum ramet_rc
ramet_s3_upload_write(struct ramet_upload *upload, const void *data, size_t len,
                      struct ramet_err *err);
enum ramet_rc
ramet_s3_upload_finish(struct ramet_upload *upload, struct ramet_err *err);
void ramet_s3_upload_abort(struct ramet_upload *upload);

#endif
