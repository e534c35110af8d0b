/*
 * replica_sync.h - one replica of this process and its remote.
 *
 * All files that this process has open on one replica share its sync state: the
 * client of its remote, the fetcher of missing pages, the background work, and
 * one session of its own, on which push, pull and their like run, so that they
 * don't depend on what a caller's handle is in the midst of.
 *
 *   (1) they are found by their replica, which all sessions of a process
 *       share; a process forked from ours finds none of them
 *   (2) `client` and `volume` are set under `mutex`, once, and stay
 *   (3) `session` and `state` belong to whoever holds `sync_mutex`; so one
 *       verb runs at a time in a process, and among processes the push lock
 *       and the write lock see to the rest
 *   (4) the fetcher is taken from the replica before its sync state
 *       goes, and no session of that is left then
 *
 * Locks: sync_mutex < the process lock < mutex.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_SYNC_REPLICA_SYNC_H
#define RAMET_CLIENT_SYNC_REPLICA_SYNC_H

#include <stdatomic.h>

#include "client/remote/remote_client.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "core/thread.h"

struct ramet_background;
struct ramet_bases;
struct ramet_recent_bases;
struct ramet_page_fetcher;

struct ramet_replica_sync {
    struct ramet_replica_sync *next; /* under the process lock, as refs */
    unsigned refs;
    unsigned fork_count;
    struct ramet_replica *replica;
    const struct ramet_os *os;
    char *path;
    uint64_t fetch_timeout_ms;
    atomic_uint_least64_t bases_bytes; /* that base images may take */
    atomic_bool may_create; /* a store, and a volume under the remote's name */

    struct ramet_mutex mutex;
    struct ramet_remote_client *client; /* NULL: no remote; invariant (2) */
    struct ramet_vid volume;            /* nil: not bound yet; invariant (2) */
    uint64_t remote_lsn; /* newest known, under mutex, as all below */
    uint64_t news;       /* how often a look found commits of others' */
    uint64_t confirmed_lsn,
        confirmed_ms;         /* CLOCK_BOOTTIME: nothing newer then */
    struct ramet_cond moved;  /* something of these did */
    uint64_t behind_since_ms; /* Unix time of the first commit not pulled */
    uint64_t lacking_lsn;     /* a commit that the remote was found to lack; */
    struct ramet_hash lacking_hash; /* 0: none */
    atomic_bool told_clock;         /* that it is behind */
    const char *failed_verb;        /* that left last_error; a constant */
    char last_error[RAMET_ERR_TEXT_MAX];

    struct ramet_mutex sync_mutex;
    struct ramet_session *session;           /* invariant (3) */
    struct ramet_replica_state state;        /* invariant (3) */
    struct ramet_recent_bases *recent_bases; /* invariant (3); or NULL */
    struct ramet_bases *bases; /* the same, with the push lock; NULL: not yet */

    struct ramet_page_fetcher *fetcher;
    struct ramet_background *_Atomic background; /* set once */
    atomic_uint_least64_t fetched_pages;
};

/* Give it a remote: takes a reference of its own on `client`. RAMET_EEXIST if
 * it has another. `volume` may be nil. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_sync_attach(struct ramet_replica_sync *replica_sync,
                          struct ramet_remote_client *client,
                          const struct ramet_vid *volume,
                          struct ramet_err *err);
/* NULL: none. Lives as long as this. */
struct ramet_remote_client *
ramet_replica_sync_client(struct ramet_replica_sync *replica_sync);
/* False: not bound to a volume yet. */
bool ramet_replica_sync_volume(struct ramet_replica_sync *replica_sync,
                               struct ramet_vid *out_volume);
void ramet_replica_sync_set_volume(struct ramet_replica_sync *replica_sync,
                                   const struct ramet_vid *volume);
/* The replica as it was found: another process may have bound it since it was
 * opened here. */
void ramet_replica_sync_learn(struct ramet_replica_sync *replica_sync,
                              const struct ramet_replica_state *state);

/* Note what is known of the remote: its newest LSN, and when the first commit
 * past `own_lsn` was made. */
void
ramet_replica_sync_note_remote(struct ramet_replica_sync *replica_sync,
                               uint64_t remote_lsn, uint64_t behind_since_ms);
/* The remote was asked, at `asked_ms` or later, and had nothing newer. */
void ramet_replica_sync_confirm(struct ramet_replica_sync *replica_sync,
                                uint64_t lsn, uint64_t asked_ms);
/* When that was last so of something that a snapshot of `lsn` has; 0: never. */
uint64_t ramet_replica_sync_confirmed(struct ramet_replica_sync *replica_sync,
                                      uint64_t lsn);
/* Sleep until a run ended, or so long. */
void ramet_replica_sync_wait_moved(struct ramet_replica_sync *replica_sync,
                                   uint64_t timeout_ms);
/* The remote was asked, and does not have the commit that `state` stands on. */
void ramet_replica_sync_note_lacking(struct ramet_replica_sync *replica_sync,
                                     const struct ramet_replica_state *state);
/* Was that found of the commit that `state` stands on? Once the replica stands
 * elsewhere it means nothing, whoever moved it. Needs mutex. */
bool ramet_replica_sync_lacks(const struct ramet_replica_sync *replica_sync,
                              const struct ramet_replica_state *state);
/* The same of the commit `at`; takes the mutex. */
bool ramet_replica_sync_lacks_point(struct ramet_replica_sync *replica_sync,
                                    const struct ramet_point *at);
/* What a verb (a string constant) came to. A success takes back the error of
 * its own kind only: that pulls work does not mend a push that is refused. */
void ramet_replica_sync_note_result(struct ramet_replica_sync *replica_sync,
                                    const char *verb, enum ramet_rc rc,
                                    const struct ramet_err *err);

/* Make sure it has its own session, cloned from `session`, which the
 * calling thread owns, if it is not NULL. Needs sync_mutex. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_sync_need_session(struct ramet_replica_sync *replica_sync,
                                struct ramet_session *session,
                                struct ramet_err *err);
/* A verb is done: where this process has many replicas open, this one keeps few
 * descriptors until the next. Needs sync_mutex. */
void ramet_replica_sync_park(struct ramet_replica_sync *replica_sync);

/* The bases for a commit on top of `base`: begun, to be ended by ramet_bases_end(). NULL:
 * deltas are made only where the store is asked for bases, which a directory is. Needs
 * sync_mutex and the push lock. */
struct ramet_bases *ramet_replica_sync_begin_bases(
    struct ramet_replica_sync *replica_sync, struct ramet_remote_client *client,
    const struct ramet_vid *volume, struct ramet_history *history,
    const struct ramet_head *base, uint32_t page_size);

#endif
