/*
 * http_events.h - being told of commits: one stream of server-sent events a
 * volume.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_EVENTS_H
#define RAMET_CLIENT_REMOTE_HTTP_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/remote/http_conn.h"
#include "core/id.h"

/* A parser of event streams; hostile bytes. Only `id` and `event` matter:
 * an LSN is all that is believed, and it is looked up before it counts. */
struct ramet_sse {
    char line[256];
    size_t len;
    bool overlong; /* the rest of the line is dropped */
    bool is_commit, is_gone;
    bool has_id;
    uint64_t id;
    uint64_t last_lsn; /* of the newest commit event */
    bool gone;
};
void ramet_sse_feed(struct ramet_sse *sse, const char *data, size_t len);

struct ramet_events;

RAMET_NODISCARD enum ramet_rc
ramet_events_new(struct ramet_http_pool *pool, struct ramet_events **out_events,
                 struct ramet_err *err);
void ramet_events_free(struct ramet_events *events);
/* What was heard of the volume is not believed any more: its stream is begun
 * anew by the next who waits. */
void ramet_events_forget(struct ramet_events *events,
                         const struct ramet_vid *volume);
/*
 * RAMET_OK: a commit past `after` may exist. RAMET_ETIMEOUT, RAMET_ECANCELLED
 * as told. RAMET_EUNREACHABLE and others: no stream; try again later, or poll.
 * Threads that wait for one volume share its stream.
 */
RAMET_NODISCARD enum ramet_rc
ramet_events_wait(struct ramet_events *events, const struct ramet_vid *volume,
                  uint64_t after, uint64_t timeout_ms,
                  const volatile bool *cancel, struct ramet_err *err);

#endif
