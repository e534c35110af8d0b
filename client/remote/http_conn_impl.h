/*
 * http_conn_impl.h - what http_pool.c (connections to a server), http_failure.c
 * (what an answer means that is no success) and http_conn.c (an exchange) share.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_CONN_IMPL_H
#define RAMET_CLIENT_REMOTE_HTTP_CONN_IMPL_H

#include <stdatomic.h>

#include "client/remote/http_conn.h"
#include "client/remote/http_spare.h"
#include "core/thread.h"

/* What is read of an answer that is no success. */
#define RAMET_HTTP_PROBLEM_MAX (64u << 10)

struct ramet_http_pool {
    char *root;
    char *authorization; /* lock: "Authorization: Bearer …", or NULL */
    const char *_Atomic withheld_why; /* why it is NULL, if there is a token */
    char *ca_file;                    /* RAMET_CA_FILE, or NULL: the system's */
    bool direct;                      /* loopback: no proxy */
    uint64_t connect_timeout_ms, stall_timeout_ms;
    struct ramet_mutex lock;
    uint64_t date_ms, dated_ms; /* lock: the server's clock, and when by ours
                                   that only goes forward; 0: not known */
    struct ramet_cond freed;
    atomic_uint_least64_t requests;
    struct ramet_pace pace;
    unsigned busy_count;         /* lock */
    struct ramet_http_peer peer; /* lock */
};

/* An exchange that succeeded over `curl` has ended: where the server is. */
void ramet_http_reached(struct ramet_http_pool *pool, CURL *curl);

#endif
