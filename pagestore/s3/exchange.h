/*
 * exchange.h - one HTTP exchange with an object store, on a handle of libcurl's:
 * what is sent, what comes, and what it came to.
 *
 * Its owner fills in what is wanted and gives it to the engine (engine.h), on whose
 * thread all of these functions are called.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_EXCHANGE_H
#define RAMET_PAGESTORE_S3_EXCHANGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <curl/curl.h>

#include "core/bytes.h"
#include "core/patience.h"

#define RAMET_S3_HEADER_MAX 256u

struct ramet_cond;
struct ramet_s3_throttle;

/* One HTTP exchange. The first part is the owner's, zeroed but for what is
 * wanted; it stays as it is until the exchange is done. */
struct ramet_s3_exchange {
    const char *method; /* "GET", "HEAD", "PUT", "POST", "DELETE" */
    const char *url;
    struct curl_slist *headers;
    const struct iovec *parts; /* body */
    int part_count;
    unsigned rank; /* how many of the same reader were under way before it */
    size_t answer_max; /* bytes of body; past it is a failure */
    void *into; /* answer_max bytes for that of a part (206); NULL: it goes
                          into the answer, as all others do */
    struct ramet_s3_throttle *throttle; /* NULL: no lane */
    const char *ca_file;                /* NULL: the system's */
    bool direct;                        /* past any proxy */
    uint64_t connect_timeout_ms, stall_timeout_ms;

    /* What came. */
    struct ramet_buf answer; /* the owner's in the end: ramet_buf_done() */
    size_t into_len;
    CURLcode code;
    bool too_big, out_of_patience, cancelled;
    bool sent_all; /* the whole request went out */
    bool connected;
    unsigned status; /* 0: no answer */
    bool has_total;  /* of Content-Range, or of Content-Length for HEAD */
    uint64_t total;
    uint64_t retry_after_ms; /* 0: not said */
    int64_t date_ms;         /* the server's clock; 0: not said */
    char etag[RAMET_S3_HEADER_MAX];
    char region[64];
    char request_id[64];
    uint64_t duration_ms;

    /* The engine's. */
    CURL *easy;
    struct ramet_s3_exchange *next;
    struct ramet_cond *waiter; /* engine's mutex; or NULL */
    _Atomic uint64_t began_ms; /* when it left the queue; 0: not yet */
    bool done, wants_cancel;   /* engine's mutex */
    int part;
    size_t part_pos;
    uint64_t sent, body_bytes;
    struct ramet_patience patience;
};

/* Have `easy`, which is as new, do it. */
void ramet_s3_exchange_set_up(struct ramet_s3_exchange *exchange, CURL *easy);
/* Nothing is changed by it. */
bool ramet_s3_exchange_only_reads(const struct ramet_s3_exchange *exchange);
/* It ended with `code`: note what its handle has to say of it. */
void ramet_s3_exchange_note_end(struct ramet_s3_exchange *exchange,
                                CURLcode code, uint64_t now_ms);
/* Bytes of the body that came, wherever they went. */
size_t ramet_s3_exchange_received(const struct ramet_s3_exchange *exchange);
/* Bytes of bodies so far, both ways. */
uint64_t ramet_s3_exchange_moved(const struct ramet_s3_exchange *exchange);

#endif
