/*
 * fetcher.h - brings pages that a replica does not hold, when they are read, by
 * the pipeline of its volume (client/remote/pipeline.h), and keeps what comes.
 *
 * A remote that does not answer opens the meter's breaker: for a while every
 * miss fails at once instead of after a time-out each.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_FETCHER_H
#define RAMET_CLIENT_SYNC_FETCHER_H

#include "client/store/store.h"

struct ramet_head;
struct ramet_replica_sync;
struct ramet_page_fetcher;
struct ramet_pipeline;

/* No I/O. NULL on no memory. `replica_sync` outlives it. */
struct ramet_page_fetcher *
ramet_page_fetcher_new(struct ramet_replica_sync *replica_sync);
/* No fetch may be under way. NULL is fine. */
void ramet_page_fetcher_free(struct ramet_page_fetcher *fetcher);

/* A ramet_fetcher, with the fetcher as its context. */
enum ramet_rc
ramet_page_fetcher_run(void *fetcher, const struct ramet_point *at,
                       uint32_t pgno, struct ramet_page_request *sink,
                       struct ramet_err *err);

/* The volume's pipeline, of which pages go into the replica from here on.
 * `session` is one of the calling thread's, to be cloned; that this can't be
 * done is a failure only where they `must_stay`. */
RAMET_NODISCARD enum ramet_rc
ramet_page_fetcher_pipeline(struct ramet_page_fetcher *fetcher,
                            struct ramet_session *session, bool must_stay,
                            struct ramet_pipeline **out_pipeline,
                            struct ramet_err *err);
/* A file was opened that names a warm profile: bring it, and tell it of what is
 * read (client/remote/warm.h). `session` as above, and pinned nowhere. NULL where
 * there is nothing to warm: no remote yet, or one that is out of reach. The
 * caller's: ramet_warm_end(). */
struct ramet_warm;
struct ramet_warm *ramet_page_fetcher_warm(struct ramet_page_fetcher *fetcher,
                                           struct ramet_session *session,
                                           const struct ramet_point *at,
                                           const char *name, bool may_keep);
/* Have the pages brought that a statement reads at `at`; *out_pages: how many they
 * are. Errors as ramet_remote_client_ask(). */
struct ramet_question;
RAMET_NODISCARD enum ramet_rc
ramet_page_fetcher_prefetch(struct ramet_page_fetcher *fetcher,
                            struct ramet_session *session,
                            const struct ramet_point *at,
                            const struct ramet_question *question,
                            uint64_t *out_pages, struct ramet_err *err);
/* hydrate=auto: see rest.h. */
void ramet_page_fetcher_bring_rest(struct ramet_page_fetcher *fetcher,
                                   uint64_t max_bytes);
/* From now on pages that nobody waits for are placed in the base, or not any more;
 * whoever has that settles them (ramet_session_settle()). */
void ramet_page_fetcher_place(struct ramet_page_fetcher *fetcher, bool places);
/* The first failure to keep a page since this was asked last; RAMET_OK: none. */
RAMET_NODISCARD enum ramet_rc
ramet_page_fetcher_failure(struct ramet_page_fetcher *fetcher,
                           struct ramet_err *err);
/* A ramet_watcher, with the fetcher as its context. */
void
ramet_page_fetcher_was_read(void *fetcher, const struct ramet_session *session,
                            const struct ramet_point *at, uint32_t pgno,
                            const uint8_t *page);

#endif
