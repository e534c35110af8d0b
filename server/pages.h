/*
 * pages.h - the wire form of page requests and of the streams that answer
 * them; docs/protocol.md, "Pages".
 *
 * Layer: server. (The client has its own encoder and decoder: the two meet in
 * the document and in tests.)
 */
#ifndef RAMET_SERVER_PAGES_H
#define RAMET_SERVER_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/id.h"
#include "metastore/commit.h"
#include "metastore/history.h"
#include "pagestore/objstore.h"

#define RAMET_PAGES_MAX 65536u
#define RAMET_PAGES_WITH_METADATA_MAX 512u
#define RAMET_PAGES_RUNS_MAX 16384u
#define RAMET_PAGES_KNOWN_MAX 256u

enum {
    RAMET_PAGES_METADATA = 1,
    RAMET_PAGES_DICTS = 2,
    RAMET_PAGES_HASH = 4,
    RAMET_PAGES_NO_HEADS = 8,
    RAMET_PAGES_APART = 16
};

struct ramet_pages_run {
    uint32_t first, last;
};

/* What a client need not be sent of: pages that it has or knows the way to, and pages that
 * it asked for in other requests. In any order; one may come twice. */
struct ramet_pages_known {
    uint32_t here_count, coming_count;
    uint32_t here[RAMET_PAGES_KNOWN_MAX], coming[RAMET_PAGES_KNOWN_MAX];
};

struct ramet_pages_request {
    unsigned flags;
    struct ramet_point at; /* a hash of zeros: none was named */
    uint32_t page_count;
    uint32_t run_count;
    struct ramet_pages_run *runs;    /* in the order asked */
    struct ramet_pages_known *known; /* or NULL */
};

/* Hostile bytes. RAMET_EINVAL; whether pages come twice is not checked here.
 * *out is the caller's: ramet_pages_request_done(). */
RAMET_NODISCARD enum ramet_rc
ramet_pages_decode(const uint8_t *data, size_t len,
                   struct ramet_pages_request *out, struct ramet_err *err);
/* The query's `has` and `comes`, hostile; either may be NULL: runs as 3-5,9, in decimal.
 * RAMET_EINVAL: they are none, or too many pages; RAMET_ENOMEM. */
RAMET_NODISCARD enum ramet_rc
ramet_pages_decode_known(const char *has, const char *comes,
                         struct ramet_pages_request *request,
                         struct ramet_err *err);
void ramet_pages_request_done(struct ramet_pages_request *request);

/* What a range record is of: a key of the store, taken apart. */
struct ramet_object_range {
    uint8_t object; /* 0 segment, 1 commit, 2 map */
    struct ramet_vid volume;
    struct ramet_id id; /* segment or map */
    uint64_t lsn;       /* commit or map */
    uint64_t offset;
};
/* False: not the key of a commit, map or segment. */
bool ramet_range_of_key(const char *key, uint64_t offset,
                        struct ramet_object_range *out);
/* The other way round. */
void ramet_range_key(const struct ramet_object_range *range,
                     char out[RAMET_KEY_MAX]);
/* The record up to its bytes, which the caller appends. */
void ramet_range_begin(struct ramet_buf *out, const struct ramet_vid *volume,
                       const struct ramet_object_range *range, bool ends_object,
                       size_t length);
/* The record that begins the answer to who opens a volume; `seq` 0: it was named
 * by its id. */
void ramet_range_opened(struct ramet_buf *out, const struct ramet_vid *volume,
                        uint64_t seq, const struct ramet_head *head);
/* A warm profile as it is stored; before ranges. */
void
ramet_range_profile(struct ramet_buf *out, const uint8_t *object, size_t len);
/* A record of loose deltas. */
void
ramet_range_loose(struct ramet_buf *out, const uint8_t *record, size_t len);
void ramet_range_end(struct ramet_buf *out, uint64_t count);
void
ramet_range_error(struct ramet_buf *out, enum ramet_rc rc, const char *text);

#endif
