/*
 * remote_client.h - one remote as this process uses it.
 *
 * All that reads or writes a remote in this process (replicas, stateless readers, the
 * threads behind them) shares one remote client per URL: one connection, one cache
 * of heads and map nodes, one count, one breaker. It connects when first
 * needed and again after a failure, so that a replica opens with its remote
 * out of reach.
 *
 *   (1) clients are found by the normal form of their URL; a process forked
 *       from ours finds none of them
 *   (2) `remote` and histories[] are set under `mutex` and stay until the last
 *       ramet_remote_client_close(); a directory that was moved or replaced gets
 *       another remote, and the one before stays as well
 *
 * Thread-safe. Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_REMOTE_CLIENT_H
#define RAMET_CLIENT_REMOTE_REMOTE_CLIENT_H

#include "client/remote/meter.h"
#include "client/remote/remote.h"
#include "client/snapshot.h"
#include "prefetch/prefetch.h"

struct ramet_remote_client;

struct ramet_remote_client_options {
    const struct ramet_os *os; /* NULL: the system; for its clocks */
    const char *token;         /* copied; NULL: none */
    const char *withheld_why;  /* a constant: why it has none, or NULL */
    bool s3_configured;        /* token.h */
    uint64_t timeout_ms;       /* no answer for so long; 0: the remote's own */
};

/* No I/O. The client of `url` (its snapshot part is left out). The options of
 * whoever opens it first count; but a token that it did not have, it takes. */
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_open(const struct ramet_url *url,
                         const struct ramet_remote_client_options *options,
                         struct ramet_remote_client **out_client,
                         struct ramet_err *err);
/* A client over a remote that the caller made, found from then on by its URL:
 * for those who bring a store of their own. Takes `remote`, also on failure.
 * RAMET_EEXIST: there is a client of that URL already. */
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_share(const struct ramet_os *os,
                          struct ramet_remote *remote,
                          struct ramet_remote_client **out_client,
                          struct ramet_err *err);
struct ramet_remote_client *
ramet_remote_client_ref(struct ramet_remote_client *client);
void ramet_remote_client_close(
    struct ramet_remote_client *client); /* NULL is fine */

const struct ramet_url *
ramet_remote_client_url(const struct ramet_remote_client *client);
const char *ramet_remote_client_text(const struct ramet_remote_client *client);
struct ramet_meter *
ramet_remote_client_meter(struct ramet_remote_client *client);
/* Requests so far: not what a cache of the remote's answered. */
uint64_t ramet_remote_client_requests(struct ramet_remote_client *client);
/* Bytes so far, as they came over the link. */
uint64_t ramet_remote_client_received(struct ramet_remote_client *client);
/* NULL: not connected, or its link is not measured. */
struct ramet_pace;
struct ramet_pace *ramet_remote_client_pace(struct ramet_remote_client *client);
/* Nobody asked for pages for a while. */
void ramet_remote_client_rest(struct ramet_remote_client *client);

/* Connect unless connected; `create_store`: make a directory store that is
 * not there. RAMET_EUNREACHABLE also where a directory is not there. */
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_connect(struct ramet_remote_client *client,
                            bool create_store, struct ramet_err *err);
/* A verb begins: its questions are answered by what is so from now on, not by
 * what this thread was told before. */
void ramet_remote_client_begin(struct ramet_remote_client *client);
/* The store behind the meter; only after ramet_remote_client_connect(). */
struct ramet_objstore *
ramet_remote_client_store(struct ramet_remote_client *client);
struct ramet_remote *
ramet_remote_client_remote(struct ramet_remote_client *client);
/* Connect, and find the volume that the URL names. RAMET_ENOTFOUND. */
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_resolve(struct ramet_remote_client *client,
                            struct ramet_vid *out_volume,
                            struct ramet_err *err);
/* The same; a name that means nothing means `fresh` from now on. */
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_claim(struct ramet_remote_client *client,
                          const struct ramet_vid *fresh,
                          struct ramet_vid *out_volume, struct ramet_err *err);
/* Connect, and get the history of `volume`, which lives as long as the
 * client. */
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_history(struct ramet_remote_client *client,
                            const struct ramet_vid *volume,
                            struct ramet_history **out_history,
                            struct ramet_err *err);

/*
 * Connect, and look for the volume's newest commit as it is now. Where the
 * store lacks what this process had seen of it, all that it knew of the volume
 * is dropped, and what is there counts: who stands on a commit has to see for
 * himself whether it still is in that line.
 */
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_newest(struct ramet_remote_client *client,
                           const struct ramet_vid *volume,
                           struct ramet_head *out_head, struct ramet_err *err);
/* The same, of who is going to read there (ramet_history_expect_reads()). */
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_newest_to_read(struct ramet_remote_client *client,
                                   const struct ramet_vid *volume,
                                   struct ramet_head *out_head,
                                   struct ramet_err *err);
/* The same without asking, where the remote tells of commits by itself, and all
 * that it told of was taken. False: it has to be asked. */
bool ramet_remote_client_told(struct ramet_remote_client *client,
                              const struct ramet_vid *volume,
                              struct ramet_head *out_head);
/* When (CLOCK_BOOTTIME, ms) the volume's newest commit was certainly no newer than
 * *out, as far as the remote told by itself; 0: it did not. */
uint64_t ramet_remote_client_confirmed(struct ramet_remote_client *client,
                                       const struct ramet_vid *volume,
                                       struct ramet_point *out);
/* Drop all that this process knows of the volume, so that the next look finds
 * what is there: heads and overlays, what a server sent ahead, news of commits,
 * stateless readers' pages. For whoever found it wrong, or gives it up. */
void ramet_remote_client_forget(struct ramet_remote_client *client,
                                const struct ramet_vid *volume);

/* No I/O: who opens the volume will want this warm profile. The first to say so
 * counts, as long as the client lives. */
void ramet_remote_client_want_profile(struct ramet_remote_client *client,
                                      const char *name);
/* The volume's newest profile of that name, to an initialised one: as it came with
 * the opening, or asked for now. seq 0: there is none, or the remote has no such
 * thing. Connects. */
struct ramet_profile;
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_profile(struct ramet_remote_client *client,
                            const struct ramet_vid *volume, const char *name,
                            struct ramet_profile *profile,
                            struct ramet_err *err);

/* The pages that a statement reads at `at`, as they come. As ramet_remote_ops.ask;
 * RAMET_ENOTFOUND also where there is no such way. */
RAMET_NODISCARD enum ramet_rc ramet_remote_client_ask(
    struct ramet_remote_client *client, const struct ramet_vid *volume,
    const struct ramet_point *at, const struct ramet_question *question,
    ramet_question_visit *visit, void *ctx, struct ramet_err *err);

/* May `page_bytes` that are to be sent of the volume be worth a look at which dictionary
 * it has? False: ramet_remote_client_dict() would bring none whichever it is; they count
 * as sent without. Only after ramet_remote_client_history(). */
bool ramet_remote_client_seeks_dict(struct ramet_remote_client *client,
                                    const struct ramet_vid *volume,
                                    uint64_t page_bytes);
/* A copy of the volume's dictionary at `extent` (ramet_free), read once for
 * as long as it stays the same; `page_bytes` are to be compressed with it. NULL: it
 * is not here, and what this process has sent of the volume, with these, does not
 * pay for bringing it from afar. Only after ramet_remote_client_history(). */
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_dict(struct ramet_remote_client *client,
                         const struct ramet_vid *volume,
                         const struct ramet_extent *extent, uint64_t page_bytes,
                         uint8_t **out_dict, size_t *out_len,
                         struct ramet_err *err);
/* The cache of the volume's pages that its stateless readers share, as long as the client
 * lives; grown to `limit_bytes`. Only after ramet_remote_client_history(). NULL on no
 * memory. */
struct ramet_pagecache;
struct ramet_pagecache *
ramet_remote_client_cache(struct ramet_remote_client *client,
                          const struct ramet_vid *volume, size_t limit_bytes);

/* The one through which this process has the volume's pages come, as long as the
 * client lives. Connects. */
struct ramet_pipeline;
RAMET_NODISCARD enum ramet_rc
ramet_remote_client_pipeline(struct ramet_remote_client *client,
                             const struct ramet_vid *volume,
                             struct ramet_pipeline **out_pipeline,
                             struct ramet_err *err);

/* Pages that were brought ahead of their readers, of all volumes. */
struct ramet_prefetch_counts
ramet_remote_client_prefetched(struct ramet_remote_client *client);

/* A page as it comes, and one that was not asked for but came along. */
typedef enum ramet_rc
ramet_remote_client_visit(void *ctx, uint32_t pgno, const uint8_t *page,
                          struct ramet_err *err);
/* Pages of `volume` at `at`, none twice, in the order in which they are wanted,
 * in one round trip where the remote can; `want_extra` and errors as
 * ramet_history_read_pages(). */
RAMET_NODISCARD enum ramet_rc ramet_remote_client_read_pages(
    struct ramet_remote_client *client, const struct ramet_vid *volume,
    const struct ramet_point *at, const uint32_t *pgnos, size_t pgno_count,
    bool want_extra, ramet_remote_client_visit *visit, void *ctx,
    struct ramet_err *err);

#endif
