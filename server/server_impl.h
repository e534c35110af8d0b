/*
 * server_impl.h - what the handlers (api*.c) share.
 *
 *   api.c          authorization, what body is wanted
 *   api_route.c    what a path names
 *   api_volumes.c  volumes, head, changes, keys
 *   api_objects.c  segments, maps, commits and names as objects
 *   api_commits.c  the list of commits, committing
 *   api_pages.c    pages as stored frames
 *   api_prefetch.c the pages that a statement reads
 *   api_profile.c  warm profiles
 *   api_content.c  a volume as one file
 *   api_status.c   health, readiness, metrics
 *   api_failure.c  what is answered where something fails
 *
 * A handler runs in a worker, gets a call whose path was checked, and replies.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_SERVER_IMPL_H
#define RAMET_SERVER_SERVER_IMPL_H

#include "core/thread.h"
#include "metastore/catalog.h"
#include "server/access.h"
#include "server/auth.h"
#include "server/cache.h"
#include "server/delta_blocks.h"
#include "server/frame_locations.h"
#include "server/gone.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/news.h"
#include "server/open_volume.h"
#include "server/opening.h"
#include "server/profiles.h"
#include "server/render.h"
#include "server/server.h"
#include "server/work.h"

#define RAMET_PAGES_BODY_MAX (256u << 10)
#define RAMET_JSON_BODY_MAX (64u << 10)
#define RAMET_OBJECT_BODY_MAX (80u << 20)

struct ramet_server {
    struct ramet_server_options options;
    struct ramet_objstore *base; /* the store itself */
    struct ramet_cache *cache;
    struct ramet_objstore *store; /* through the cache */
    struct ramet_work *work;
    struct ramet_gone *gone;
    struct ramet_volume_table *volumes;
    struct ramet_frame_locations *locations;
    struct ramet_delta_blocks *delta_blocks;
    struct ramet_openings *openings;
    struct ramet_profiles *profiles;
    struct ramet_tokens *tokens;
    struct ramet_access_log *access;
    struct ramet_http *http;
    struct ramet_metrics metrics;
    _Atomic unsigned questions; /* that are being run */
    unsigned port;
    _Atomic uint64_t ready_checked_ms;
    _Atomic bool ready;
    struct ramet_thread ticker;
    struct ramet_mutex tick_lock;
    struct ramet_cond tick_wake;
    bool tick_stop; /* tick_lock */
};

struct call {
    struct ramet_server *server;
    struct ramet_http_request *rq;
    enum ramet_route route;
    bool readonly_route;
    bool has_id;          /* the path names the volume by its id */
    uint64_t allowed_age; /* of the tokens: when it was allowed last */
    struct ramet_vid volume;
    char name[RAMET_NAME_MAX + 1]; /* of the path: volume, or name */
    char tail[RAMET_NAME_MAX + 1]; /* last part of the path */
    uint64_t lsn;                  /* commits/{lsn} */
    char profile[RAMET_NAME_MAX + 1];
};

typedef void call_handler(struct call *call);

call_handler ramet_api_volumes, ramet_api_volume, ramet_api_head,
    ramet_api_changes, ramet_api_keys, ramet_api_object, ramet_api_commits,
    ramet_api_commit, ramet_api_pages, ramet_api_events, ramet_api_content,
    ramet_api_readyz, ramet_api_delete, ramet_api_open, ramet_api_news,
    ramet_api_profile_put, ramet_api_profile_remove, ramet_api_prefetch;

/* Event thread: from what is in memory. */
void ramet_api_metrics(struct call *call);
/* Event thread: true if the store was looked at just now. */
bool ramet_api_readyz_now(struct call *call);

/* Event thread: true if it could be answered from memory at once. */
bool ramet_api_pages_now(struct call *call);
/* Begin: an object is written; sets the sink, or replies. */
void ramet_api_put_begin(struct call *call);
/* The same of a profile. */
void ramet_api_profile_begin(struct call *call);

/* api_route.c: fills what the path names of the call. */
enum ramet_route ramet_api_route(struct call *call, const char *path);
/* Digits alone, no zeros before others, below 2^64. */
bool ramet_api_decimal(const char *text, uint64_t *out);
/* The key of the object that the call names: for the routes of objects. */
void ramet_api_object_key(const struct call *call, char out[RAMET_KEY_MAX]);

/* api_route.c: does it ask for a change? */
bool ramet_api_is_write(const struct call *call);
/* The call's volume from its name; replies and gives false where there is
 * none. */
bool ramet_api_resolve(struct call *call);
/* The call's volume, referenced; replies and gives NULL where it can't. */
struct ramet_open_volume *ramet_api_open_volume(struct call *call);
/* What a client sent was wrong, or could not be written: 422 where it does not
 * hold together. */
void ramet_api_refused(struct call *call, enum ramet_rc rc,
                       const struct ramet_err *err);
/* A failure that is not the client's doing; `volume` NULL: of no volume. */
void ramet_api_failed(struct call *call, const struct ramet_vid *volume,
                      enum ramet_rc rc, const struct ramet_err *err);
/* Something of a volume could not be read: counts damage, and forgets what is
 * held of it as far as it may be wrong. What a deletion took away is no damage:
 * then it gives true, *rc is RAMET_ENOTFOUND and *err says so. */
bool ramet_api_note_failure(struct ramet_server *server,
                            const struct ramet_vid *volume, enum ramet_rc *rc,
                            struct ramet_err *err);
/* The same where a snapshot that is there was being read: an object that it needs
 * and that is not there is damage, too. */
bool
ramet_api_note_loss(struct ramet_server *server, const struct ramet_vid *volume,
                    enum ramet_rc *rc, struct ramet_err *err);
/* Something read was wrong, and the cache has forgotten just that. */
void ramet_api_count_damage(struct ramet_server *server);
/* Refuse a write to a volume that was deleted. */
void
ramet_api_gone(struct ramet_http_request *rq, const struct ramet_vid *volume);

#endif
