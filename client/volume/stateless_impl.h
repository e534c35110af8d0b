/*
 * stateless_impl.h - what stateless.c (where a stateless reader stands) and
 * stateless_pages.c (its pages) share.
 *
 *   (1) `head` is a commit that the remote has, or had until it went another
 *       way, or lsn 0: an empty volume; pages are asked for by its LSN and hash
 *   (2) while pinned, head and snapshot do not change
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_VOLUME_STATELESS_IMPL_H
#define RAMET_CLIENT_VOLUME_STATELESS_IMPL_H

#include "client/remote/pipeline.h"
#include "client/snapshot.h"
#include "client/volume/stateless.h"

struct ramet_stateless_reader {
    struct ramet_remote_client *client;
    const struct ramet_os *os;
    struct ramet_vid volume;
    struct ramet_history *history; /* the client's */
    struct ramet_pagecache *cache; /* the client's */
    size_t cache_bytes;
    struct ramet_stateless_point point;
    struct ramet_head head;
    struct ramet_snapshot snapshot;
    bool pinned;
    uint64_t looked_ns;
    uint64_t looked_boot_ms; /* the same, of the last that came to something */
    uint64_t remote_lsn;
    struct ramet_pipeline *pipeline; /* the client's; NULL: not joined */
    struct ramet_keeper keeper;
};

/* ---- stateless_pages.c ---------------------------------------------------------- */

/* The pipeline of the volume, of whose pages the client's cache keeps some. */
RAMET_NODISCARD enum ramet_rc
ramet_stateless_join(struct ramet_stateless_reader *reader,
                     struct ramet_err *err);
/* Of the commit on which it stands; within its length. */
RAMET_NODISCARD enum ramet_rc
ramet_stateless_read_bytes(struct ramet_stateless_reader *reader,
                           uint64_t offset, uint8_t *out, size_t len,
                           struct ramet_err *err);

#endif
