/*
 * builder.h - a commit from pages of a session: segments, inline or uploaded,
 * and the commit object that names them.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_BUILDER_H
#define RAMET_CLIENT_SYNC_BUILDER_H

#include "client/remote/remote_client.h"
#include "client/store/store.h"
#include "core/bytes.h"
#include "metastore/history.h"

struct ramet_bases; /* client/sync/bases.h */

/* `pages` pages more were taken; RAMET_ECANCELLED stops. */
typedef enum ramet_rc
ramet_builder_step(void *ctx, uint64_t pages, struct ramet_err *err);

struct ramet_builder {
    struct ramet_remote_client *client; /* connected */
    struct ramet_history *history;
    struct ramet_vid volume;
    struct ramet_session *session; /* pinned: what it reads is committed */
    const struct ramet_pageset *pages;
    const struct ramet_head *base; /* the head that it is based on */
    struct ramet_bases *bases;     /* begun, or NULL: deltas are made only where
                                      the store is asked for bases */
    struct ramet_pos remote_tail;  /* of the session's replica: exchange.h */
    ramet_builder_step *step;      /* or NULL */
    void *step_ctx;
};

/*
 * Send segments for `pages`, complete `commit` (the caller gave id, writer,
 * kind, sizes and least_page_count) and encode it into `out_object`. Pages
 * above the page count are left out, and so are pages of zeros above the
 * least page count, which need no image. Costs requests for segments, a
 * dictionary and a page map, where they are needed. What it stored is
 * referred to by nobody if the object is not sent then.
 */
RAMET_NODISCARD enum ramet_rc
ramet_builder_run(const struct ramet_builder *builder,
                  struct ramet_commit_object *commit,
                  struct ramet_buf *out_object, struct ramet_err *err);

#endif
