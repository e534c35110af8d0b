/*
 * rest.h - the rest of a volume, brought by itself (hydrate=auto).
 *
 * Readers bring what they ask for. Once an eighth of what was absent came that
 * way, all of it will be read before long, and a thread brings the others: as
 * hydrate does, after all that readers want, and not while one waits.
 *
 *   (1) Only of a volume that is small enough, all in all: for the cap, and for
 *       the cache, from which it would fall out again at once.
 *   (2) A page that is here, or on its way, is not asked for.
 *   (3) No snapshot is held for longer than ROUND_PAGES take: log and retained versions
 *       versions are not kept for it.
 *   (4) What is here stays here: who opens the volume again goes on from there.
 *   (5) A failure ends it, and so does its end; as many pages as began it begin
 *       it again, after a pull of what it had brought, say.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_REST_H
#define RAMET_CLIENT_SYNC_REST_H

#include "client/store/store.h"

#define RAMET_REST_MAX_BYTES (UINT64_C(1) << 30)

struct ramet_replica_sync;
struct ramet_pipeline;
struct ramet_rest;

/* No I/O. Does nothing until it is wanted. NULL on no memory. */
struct ramet_rest *ramet_rest_new(struct ramet_replica_sync *replica_sync);
/* Ends what is under way; nothing begins any more. */
void ramet_rest_stop(struct ramet_rest *rest);
/* It was stopped, and no page comes any more. NULL is fine. */
void ramet_rest_free(struct ramet_rest *rest);
/* Wanted from here on, of a volume of `max_bytes` at most. */
void ramet_rest_want(struct ramet_rest *rest, uint64_t max_bytes);
/* A reader waits for a page of `pipeline`, which outlives `rest`. */
void
ramet_rest_missed(struct ramet_rest *rest, struct ramet_pipeline *pipeline);
/* A page came and was kept. `session`, any of the calling thread's, may be
 * cloned. */
void ramet_rest_kept(struct ramet_rest *rest, struct ramet_session *session);

/* How many of `absent` pages have to come before the others are brought. */
uint64_t ramet_rest_threshold(uint64_t absent);

#endif
