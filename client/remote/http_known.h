/*
 * http_known.h - what a server need not send again: pages of one commit whose way is
 * here, blocks of deltas that came, and pages that other requests asked for.
 *
 * A block of deltas has pages of many requests: each of them would bring it. So a
 * request names pages that have it, and the server leaves it out; what then does not come
 * because the other request failed is read by itself (docs/protocol.md, "Pages").
 *
 * It is a hint, and bounded. Thread-safe.
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_KNOWN_H
#define RAMET_CLIENT_REMOTE_HTTP_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/remote/http_ranges.h"
#include "core/thread.h"
#include "metastore/history.h"

#define RAMET_KNOWN_BLOCKS 512u
#define RAMET_KNOWN_RECENT 16u
/* A query of two lists, with its question mark and a final zero. */
#define RAMET_KNOWN_QUERY_MAX 3072u

/* A request under way. The caller's, who leaves the pages as they are meanwhile. */
struct ramet_known_asking {
    struct ramet_known_asking *next; /* the one before it */
    uint64_t number;                 /* they ascend */
    struct ramet_point at;
    const uint32_t *pgnos;
    size_t count;
};

struct ramet_known_block {
    struct ramet_hash key; /* of its object */
    uint64_t offset;
    uint32_t length_bytes; /* that came: its front, or more */
    uint32_t pgno;         /* a page that has its delta there; 0: empty */
    uint64_t came;         /* how many requests were begun by then */
};

/* A page that was located. */
struct ramet_known_page {
    uint32_t pgno;                  /* 0: none */
    struct ramet_known_block block; /* pgno 0: it has no delta */
};

struct ramet_known {
    struct ramet_ranges
        *ranges; /* borrowed: a block that is not there is not here */
    struct ramet_mutex lock;
    struct ramet_cond ended; /* a request */
    /* All that follows: with the lock. */
    struct ramet_known_asking *asking; /* the newest first */
    uint64_t begun;                    /* requests */
    struct ramet_point at;             /* of what follows */
    struct ramet_known_block blocks[RAMET_KNOWN_BLOCKS];
    struct ramet_known_page recent[RAMET_KNOWN_RECENT]; /* located last */
    size_t recent_next;
    struct ramet_extent dict; /* that the last one's frame has */
};

void ramet_known_init(struct ramet_known *known, struct ramet_ranges *ranges);
void ramet_known_done(struct ramet_known *known);
/* Nothing of it is here for sure. */
void ramet_known_forget(struct ramet_known *known);

/* A page was located. */
void
ramet_known_located(struct ramet_known *known, const struct ramet_point *at,
                    uint32_t pgno, const struct ramet_located *located);
/* A block of deltas came, or its front, of which one is that page's. */
void ramet_known_block_came(struct ramet_known *known,
                            const struct ramet_point *at, uint32_t pgno,
                            const char *key, uint64_t offset, size_t len);
/* The dictionary of the page that was located last; false: it has none. */
bool ramet_known_dict(struct ramet_known *known, const struct ramet_point *at,
                      struct ramet_extent *out);

/* A request begins: what it need not bring, as a query; "": nothing is known. */
void
ramet_known_begin(struct ramet_known *known, struct ramet_known_asking *asking,
                  char out_query[RAMET_KNOWN_QUERY_MAX]);
void
ramet_known_end(struct ramet_known *known, struct ramet_known_asking *asking);
/* Until one more request has ended of those that were under way when that one began, or
 * for so long. False: none of them is. */
bool ramet_known_wait(struct ramet_known *known,
                      const struct ramet_known_asking *asking, uint64_t ms);

#endif
