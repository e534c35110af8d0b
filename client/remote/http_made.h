/*
 * http_made.h - what a request for pages has brought so far, and pages with deltas, made of
 * two parts each: the frame of an image, and a block that they share with others, or of that
 * the front, which has their sum, and the delta alone.
 *
 * Layer: client, private.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_MADE_H
#define RAMET_CLIENT_REMOTE_HTTP_MADE_H

#include "client/remote/http_bring.h"
#include "client/remote/http_pages.h"
#include "metastore/awaited.h"
#include "pagestore/delta_loose.h"

struct ramet_bringing {
    const struct ramet_http_bring *with;
    const struct ramet_vid *volume;
    const struct ramet_point *at;
    uint32_t *pgnos; /* in the order wanted, those first that are located */
    size_t count;
    size_t known;       /* of them located before anything came */
    bool unknown_first; /* the page wanted most is not among these */
    bool want_extra;
    ramet_page_visit *visit;
    void *ctx;
    struct ramet_history *history; /* the shadow's */
    struct ramet_known *held;      /* as well */
    struct ramet_awaited *awaited; /* NULL: not even the head is known */
    size_t located;                /* of pgnos: awaited, or given out */
    uint32_t *asked;               /* what the request asks for, in order */
    size_t asked_count;
    unsigned flags;
    size_t made;  /* of pgnos: before it no page with a delta is to be made */
    size_t parts; /* of such pages that came since some were made */
    struct ramet_pages_stream stream;
    struct ramet_loose_reader *loose; /* of this answer's records; or NULL */
    uint8_t *front, *page;            /* room for one, or NULL */
    enum ramet_rc visit_rc;           /* of the caller's visitor */
    struct ramet_err *err;
};

/* Is what lies there kept? */
bool ramet_bringing_holds(const struct ramet_bringing *b,
                          const struct ramet_extent *extent);
/* The whole block in which that page, which is awaited, has its delta? */
bool ramet_bringing_holds_block(const struct ramet_bringing *b, uint32_t pgno);
/* A page to who asked. */
RAMET_NODISCARD enum ramet_rc
ramet_bringing_give(void *ctx, uint32_t pgno, const uint8_t *page,
                    struct ramet_err *err);
int ramet_bringing_compare_pgno(const void *left, const void *right);

/* A range of a page with a delta came: some are made once there are enough. */
void ramet_bringing_note_part(struct ramet_bringing *b);
/* All pages with deltas of which both parts are here. */
void ramet_bringing_make(struct ramet_bringing *b);
/* All that can be made once the answer is here; blocks that were left out because
 * requests before this one bring them are waited for. */
void ramet_bringing_make_rest(struct ramet_bringing *b,
                              const struct ramet_known_asking *asking);

#endif
