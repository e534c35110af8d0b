/*
 * remote_client_impl.h - what remote_clients.c (those of this process) and
 * remote_client.c (what is asked of one) share.
 *
 * Layer: client, remote.
 */
#ifndef RAMET_CLIENT_REMOTE_REMOTE_CLIENT_IMPL_H
#define RAMET_CLIENT_REMOTE_REMOTE_CLIENT_IMPL_H

#include "client/remote/meter.h"
#include "client/remote/pagecache.h"
#include "client/remote/pipeline.h"
#include "client/remote/remote.h"
#include "client/remote/remote_client.h"
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
    uint64_t sent_without; /* bytes of pages, since `dict` is not here */
};

struct ramet_remote_client {
    struct ramet_remote_client *next; /* under the process lock, as refs */
    unsigned refs;
    unsigned fork_count;
    struct ramet_url url;
    char text[RAMET_URL_MAX];
    char *token;              /* under mutex, as the next */
    const char *withheld_why; /* NULL: none is */
    bool s3_configured;
    bool is_looked_at; /* under mutex: it is a store of our format */
    bool
        makes_store; /* under mutex: a bucket may become one with the first name */
    uint64_t timeout_ms;
    struct ramet_mutex token_mutex; /* while one is handed over; before mutex */
    struct ramet_meter meter;
    struct ramet_mutex mutex;    /* invariant (2) */
    struct ramet_remote *remote; /* NULL: not connected yet */
    struct ramet_remote *former[FORMER_MAX];
    unsigned former_count;
    bool was_opened; /* under mutex: what an opening asks was asked for */
    char profile[RAMET_NAME_MAX + 1]; /* under mutex, as the next: "": none */
    bool has_profile;                 /* it was asked for; then it is this, */
    struct ramet_buf profile_object;  /* or nothing */
    struct known_history histories[HISTORIES_MAX];
    unsigned history_count;
};

/* It is the client's from here on; needs the mutex. */
void ramet_remote_client_adopt(struct ramet_remote_client *client,
                               struct ramet_remote *remote);
/* It names a volume, not a store. */
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_check_name(const struct ramet_remote_client *client,
                               struct ramet_err *err);
/* Of a volume that was asked for; NULL: it was not. Needs the mutex, as the next. */
struct known_history *
ramet_remote_client_known(struct ramet_remote_client *client,
                          const struct ramet_vid *volume);
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_history_locked(struct ramet_remote_client *client,
                                   const struct ramet_vid *volume,
                                   struct ramet_history **out_history,
                                   struct ramet_err *err);

#endif
