/*
 * source_impl.h - what sources.c (those of this process, opened and closed) and
 * source.c (what is asked of one) share.
 *
 * Layer: client, remote.
 */
#ifndef RAMET_CLIENT_REMOTE_SOURCE_IMPL_H
#define RAMET_CLIENT_REMOTE_SOURCE_IMPL_H

#include "client/remote/meter.h"
#include "client/remote/pagecache.h"
#include "client/remote/pipeline.h"
#include "client/remote/remote.h"
#include "client/remote/source.h"
#include "core/thread.h"

#define FORMER_MAX 16u   /* directories that were moved away */
#define HISTORIES_MAX 8u /* a name that was moved so often meanwhile */

struct known_history {
    struct ramet_vid volume;
    struct ramet_history *history;
    struct ramet_pagecache *cache; /* NULL: none needed yet, as the next */
    struct ramet_pipeline *pipeline;
    struct ramet_extent dict_extent;
    uint8_t *dict; /* NULL: none was asked for */
    size_t dict_len;
};

struct ramet_source {
    struct ramet_source *next; /* under the process lock, as refs */
    unsigned refs;
    unsigned fork_count;
    struct ramet_url url;
    char text[RAMET_URL_MAX];
    char *token;              /* under mutex, as the next */
    const char *withheld_why; /* NULL: none is */
    bool s3_configured;
    bool is_looked_at; /* under mutex: it is a store of our format */
    uint64_t timeout_ms;
    struct ramet_mutex token_mutex; /* while one is handed over; before mutex */
    struct ramet_meter meter;
    struct ramet_mutex mutex;    /* invariant (2) */
    struct ramet_remote *remote; /* NULL: not connected yet */
    struct ramet_remote *former[FORMER_MAX];
    unsigned former_count;
    bool was_opened; /* under mutex: what an opening asks was asked for */
    struct known_history histories[HISTORIES_MAX];
    unsigned history_count;
};

/* It is the source's from here on; needs the mutex. */
void
ramet_source_adopt(struct ramet_source *source, struct ramet_remote *remote);
/* Of a volume that was asked for; NULL: it was not. Needs the mutex, as the next. */
struct known_history *
ramet_source_known(struct ramet_source *source, const struct ramet_vid *volume);
RAMET_NODISCARD enum ramet_rc
ramet_source_history_locked(struct ramet_source *source,
                            const struct ramet_vid *volume,
                            struct ramet_history **out_history,
                            struct ramet_err *err);

#endif
