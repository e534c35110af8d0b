/*
 * request.h - one request to a bucket, signed, repeated where that is safe, and
 * counted.
 *
 *   (1) A request is repeated only if the same bytes done twice are as if done
 *       once: reads, deletions, put-if-absent, parts by number. One that is not
 *       (`once`) is repeated only where nothing of it can have happened.
 *   (2) Whether an earlier try may have landed is remembered (`maybe_done`): a
 *       later "exists" may then be our own, and a failure is RAMET_EUNKNOWN.
 *   (3) Tries end: RAMET_S3_TRIES of them, none begun later than two stalls
 *       after the first.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_REQUEST_H
#define RAMET_PAGESTORE_S3_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/bytes.h"
#include "core/err.h"
#include "pagestore/objstore.h"
#include "pagestore/s3/bucket.h"
#include "pagestore/s3/sigv4.h"
#include "pagestore/s3/tally.h"

#define RAMET_S3_TRIES 6u

/* On whose behalf. */
struct ramet_s3_caller {
    struct ramet_s3_bucket *bucket;
    struct ramet_s3_tally *tally;
    uint64_t connect_timeout_ms, stall_timeout_ms;
    size_t prefix_len; /* of keys: errors show what follows */
    const char *where; /* "s3://bucket/prefix at http://host:port", in errors */
};

/* Zeroed but for what is wanted. */
struct ramet_s3_request {
    const char *method;
    enum ramet_request_kind kind;
    const char *key;   /* with its prefix, not escaped; "": the bucket */
    const char *query; /* canonical (sigv4.h), or NULL */
    const struct iovec *parts;
    int part_count;
    bool if_none_match; /* "*" */
    bool has_range;
    uint64_t range_offset, range_length;
    const char *content_md5; /* base64, or NULL */
    bool once;               /* invariant (1) */
    bool hedge;              /* a second one if it is slow */
    unsigned rank;           /* how many of the same reader are under way */
    size_t answer_max;
    void *
        into; /* as an exchange's (exchange.h), for who has tries of his own that
                   are not hedged; NULL: none */

    struct ramet_buf answer; /* the caller's: ramet_buf_done() */
    unsigned status;
    bool has_total; /* of Content-Range, or Content-Length of HEAD */
    uint64_t total;
    char etag[RAMET_S3_HEADER_MAX];
    bool maybe_done; /* invariant (2) */
};

/* RAMET_OK: 2xx, or 416. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_perform(const struct ramet_s3_caller *caller,
                 struct ramet_s3_request *request, struct ramet_err *err);

/* ---- one try, for who has several under way at once ----------------------------- */

struct ramet_s3_try {
    struct ramet_s3_exchange exchange;
    struct ramet_s3_keys keys;
    struct curl_slist *headers;
    struct ramet_buf url;
};

/* Signs it and starts it. On failure nothing is left. `request` must stay as it
 * is until the end. */
RAMET_NODISCARD enum ramet_rc
ramet_s3_try_start(const struct ramet_s3_caller *caller,
                   const struct ramet_s3_request *request,
                   struct ramet_s3_try *out_try, struct ramet_err *err);
/* Waits for it (cancelled if the caller of the verb has had enough), and gives
 * back all that it held but exchange.answer; and its keys, which the caller wipes. */
void ramet_s3_try_end(const struct ramet_s3_caller *caller,
                      const struct ramet_s3_request *request,
                      struct ramet_s3_try *a_try);

/* ---- hedged: a second one of the same ------------------------------------------- */

/* Is it one of those that may be? */
bool ramet_s3_may_hedge(const struct ramet_s3_request *request);
/* After how long one of them is late; UINT64_MAX: none is asked for again now. */
uint64_t ramet_s3_hedge_wait_ms(const struct ramet_s3_caller *caller,
                                const struct ramet_s3_request *request);
/* How long from now until this one is, 0: it is late. Its time counts from when it left
 * the queue: before that nobody was asked who could be slow. An answer that has begun and
 * does not end is as late as one that does not begin. */
uint64_t
ramet_s3_late_in_ms(const struct ramet_s3_try *a_try, uint64_t after_ms);
/* Another try, under way, as the first is; NULL: not now. */
struct ramet_s3_try *
ramet_s3_hedge_start(const struct ramet_s3_caller *caller,
                     const struct ramet_s3_request *request);
/* `done` is the exchange of either that has ended, or NULL. The one that counts is
 * in *first from here on, ended or not; the other is gone, and `second` is freed. */
void ramet_s3_hedge_end(const struct ramet_s3_caller *caller,
                        const struct ramet_s3_request *request,
                        struct ramet_s3_try *first, struct ramet_s3_try *second,
                        const struct ramet_s3_exchange *done);

#endif
