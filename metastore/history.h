/*
 * history.h - one volume in one store: its line of commits, and its pages at
 * any of them.
 *
 * Remote history is one line: LSN n+1 was based on n, and the commit point is
 * one conditional write. This module reads that line (newest, by LSN, by
 * time), appends to it, finds a page's frame at any LSN, and says which pages
 * differ between two LSNs. It runs in a server and in a client that talks
 * straight to a store alike; it keeps decoded heads and map nodes in a
 * bounded memory cache. Thread-safe.
 *
 *   (1) What it hands out was verified: a head against the hash that its
 *       successor (or the caller) expects, nodes and frames against their
 *       parents.
 *   (2) It never overwrites, and never deletes what anybody may know of.
 *   (3) Opening costs a constant number of requests: the newest commit, then
 *       only what is asked for.
 *   (4) Pages and changes are asked for at a point, an LSN and a hash: of a line
 *       that has another commit there nothing is handed out (RAMET_EWENTBACK).
 *       What the cache has of that LSN is no reason to refuse: the store is.
 *
 * Layer: metastore.
 */
#ifndef RAMET_METASTORE_HISTORY_H
#define RAMET_METASTORE_HISTORY_H

#include "core/err.h"
#include "core/id.h"
#include "core/pageset.h"
#include "metastore/commit.h"
#include "metastore/located.h"
#include "pagestore/frame.h"
#include "pagestore/objstore.h"

/* No commit lies further past the newest map than this. A map is begun at
 * half of either (prepare.c has when). */
#define RAMET_MAP_EVERY_COMMITS 64u
#define RAMET_MAP_EVERY_HEAD_BYTES (32u << 10)
/* So many heads cost more than a map does where requests are paid. */
#define RAMET_HEADS_DEAR 16u

/* What a reader has to know of one LSN. */
struct ramet_head {
    uint64_t lsn; /* 0: the volume has no commit yet; all else then is zero */
    struct ramet_cid id;
    struct ramet_hash hash; /* of the commit's head */
    uint64_t time_ms;
    enum ramet_volume_kind kind;
    uint32_t page_size;
    uint32_t page_count;
    uint64_t byte_length;
    enum ramet_commit_role role;
    uint64_t floor;
    struct ramet_id cutoff;
    struct ramet_point content; /* the last content commit up to this one */
    uint64_t map_lsn;
    uint32_t commits_since_map;
    uint64_t head_bytes_since_map; /* this commit's head included */
};

static inline struct ramet_point
ramet_head_point(const struct ramet_head *head)
{
    return (struct ramet_point){head->lsn, head->hash};
}

struct ramet_history;

struct ramet_os; /* core/os.h */

struct ramet_history_options {
    size_t cache_bytes;        /* heads and nodes kept in memory; 0: 4 MiB */
    unsigned threads;          /* reserved for parallel reads; 0: none */
    const struct ramet_os *os; /* for the clock; NULL: the system */
    /* Where the store is a cache: what stands behind it, for looks at what is
     * there now. Borrowed; NULL: the store itself. */
    struct ramet_objstore *behind;
};

/* `store` is borrowed and must outlive it. No I/O. */
RAMET_NODISCARD enum ramet_rc
ramet_history_open(struct ramet_objstore *store, const struct ramet_vid *volume,
                   const struct ramet_history_options *options,
                   struct ramet_history **out_history, struct ramet_err *err);
void ramet_history_close(struct ramet_history *history);

/* Whoever looks for the newest commit next will read pages there, and nothing of the
 * volume is here: heads that the newest may stand on are then read with it, where that
 * takes no longer. */
void ramet_history_expect_reads(struct ramet_history *history);

/*
 * The newest commit. Knows where it was last time and looks from there: if
 * nothing is new, two requests on a directory (a try at lsn + 1, a look whether
 * lsn is still what it was), one LIST on stores that list cheaply. RAMET_OK
 * with lsn 0 for a volume without commits. RAMET_EWENTBACK where the volume was
 * deleted, or the line lacks what was seen of it, now and from then on (a store
 * restored from a backup): keep local data, refuse to go on. Whoever checks by
 * itself that what it stands on is there may ramet_history_forget() and look
 * again.
 */
RAMET_NODISCARD enum ramet_rc
ramet_history_newest(struct ramet_history *history, struct ramet_head *out_head,
                     struct ramet_err *err);
/*
 * The head at `point`, to commit on top of. Where requests are paid nobody looks
 * what is newest before that, since the conditional write tells; but the store
 * itself must have been seen to have this one a minute ago or less, else it is
 * read again: RAMET_EWENTBACK.
 */
RAMET_NODISCARD enum ramet_rc
ramet_history_base(struct ramet_history *history,
                   const struct ramet_point *point, struct ramet_head *out_head,
                   struct ramet_err *err);
/* Forget all that was seen and read: the store is believed anew. For whoever
 * was told RAMET_EWENTBACK, or knows that the store was changed. */
void ramet_history_forget(struct ramet_history *history);
/* The volume was made just now, by the caller: nobody ended it yet. */
void ramet_history_made(struct ramet_history *history);
/* Let go of the memory that reading took: it will be read again. */
void ramet_history_trim(struct ramet_history *history);
/*
 * A commit object that came by itself, of which somebody says that it is `at`: if it is,
 * and stands on the newest commit that was seen, it is the newest one from here
 * on, and its head need not be read. True of one that is known already, too; else
 * nothing was done. Hostile bytes; no I/O.
 */
bool
ramet_history_offer(struct ramet_history *history, const struct ramet_point *at,
                    const uint8_t *object, size_t len);
/* The newest commit as this history knows it, which may be no more. No request
 * while it is in the cache; lsn 0: it knows of none. */
RAMET_NODISCARD enum ramet_rc
ramet_history_seen(struct ramet_history *history, struct ramet_head *out_head,
                   struct ramet_err *err);
/* The head of `lsn`, from cache or store. RAMET_ENOTFOUND if there is none. */
RAMET_NODISCARD enum ramet_rc
ramet_history_head(struct ramet_history *history, uint64_t lsn,
                   struct ramet_head *out_head, struct ramet_err *err);
/* The head of the commit that `point` names, from cache or store. Not there, or
 * another in its place: RAMET_EWENTBACK; the store went back in time, or
 * another way. */
RAMET_NODISCARD enum ramet_rc
ramet_history_head_of(struct ramet_history *history,
                      const struct ramet_point *point,
                      struct ramet_head *out_head, struct ramet_err *err);
/* The newest commit not later than `unix_ms`: O(log n) requests. */
RAMET_NODISCARD enum ramet_rc
ramet_history_at_time(struct ramet_history *history, uint64_t unix_ms,
                      struct ramet_head *out_head, struct ramet_err *err);
/* Decoded commit `lsn`; the caller's: ramet_commit_done(). */
RAMET_NODISCARD enum ramet_rc
ramet_history_commit(struct ramet_history *history, uint64_t lsn,
                     struct ramet_commit_object *out_commit,
                     struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_history_head_length(struct ramet_history *history, uint64_t lsn,
                          size_t *out_len, struct ramet_err *err);
/* The raw head bytes of `lsn` (a server streams them on); ramet_free(). */
RAMET_NODISCARD enum ramet_rc
ramet_history_head_bytes(struct ramet_history *history, uint64_t lsn,
                         uint8_t **out_bytes, size_t *out_len,
                         struct ramet_err *err);

/*
 * The commit point. `object` is an encoded commit for LSN n+1 (see
 * ramet_history_prepare). Puts it if the slot is empty.
 *   RAMET_OK         it is in, now or since an earlier try with the same id.
 *   RAMET_ECONFLICT  another commit holds the slot; *out_winner is its head.
 *   RAMET_EUNKNOWN   no answer: call again with the very same bytes.
 *   RAMET_EWENTBACK  the store does not have what `object` is based on, or the
 *                    volume was deleted: nothing of it is in.
 * A server validates first: ramet_history_validate().
 */
RAMET_NODISCARD enum ramet_rc
ramet_history_append(struct ramet_history *history, const uint8_t *object,
                     size_t len, struct ramet_head *out_winner,
                     struct ramet_err *err);

/*
 * Fill what only history knows into a commit about to be encoded: lsn,
 * predecessor, time, map reference and counters, from `base` (the head that
 * it is based on; RAMET_EWENTBACK: the store does not have that). Writes a page
 * map first where the limits of invariant "64 commits or 32 KiB" ask for it,
 * including one of the new LSN itself when the commit's own tables are too large
 * (they move there). The segments of `commit` must be in the store already.
 */
RAMET_NODISCARD enum ramet_rc
ramet_history_prepare(struct ramet_history *history,
                      const struct ramet_head *base,
                      struct ramet_commit_object *commit,
                      struct ramet_err *err);

/*
 * A fence: an empty commit on top of `base`, made only to win the slot after
 * it, so that a commit of unknown outcome can no longer land there. Appends
 * the whole object to `out_object` for ramet_history_append(). Its time is
 * `base`'s and one millisecond, whatever the clock says, so that every store
 * takes it; that of a first commit, of a volume of `kind`, is the clock's.
 * Errors as ramet_history_prepare().
 */
RAMET_NODISCARD enum ramet_rc
ramet_history_fence(struct ramet_history *history,
                    const struct ramet_head *base,
                    const struct ramet_rid *writer, enum ramet_volume_kind kind,
                    struct ramet_buf *out_object, struct ramet_cid *out_id,
                    struct ramet_err *err);

/*
 * The end of the volume on top of `base`, which is a commit, encoded as a fence
 * is: once it is appended nothing can follow, and who looks for the newest is told
 * RAMET_EWENTBACK. For metastore/catalog_delete.c. Errors as
 * ramet_history_prepare().
 */
RAMET_NODISCARD enum ramet_rc
ramet_history_encode_end(struct ramet_history *history,
                         const struct ramet_head *base,
                         struct ramet_buf *out_object, struct ramet_err *err);

/* How far a commit's time may be ahead of the clock of whoever validates. */
#define RAMET_SKEW_MAX_MS (10u * 60u * 1000u)
/* Everything a store can check of a foreign commit against its base: LSN,
 * predecessor, time, counters, segments present with the size they claim,
 * extents, inline frames' hashes. RAMET_ECORRUPT, RAMET_ECONFLICT, RAMET_ECLOCK
 * (it may be taken later). */
RAMET_NODISCARD enum ramet_rc
ramet_history_validate(struct ramet_history *history, const uint8_t *object,
                       size_t len, struct ramet_err *err);

/* Make the map of `lsn` if it is time to (RAMET_OK and nothing done otherwise):
 * after a commit, by whoever made it or a thread of the background; later commits
 * refer to it. */
RAMET_NODISCARD enum ramet_rc
ramet_history_make_map(struct ramet_history *history, uint64_t lsn,
                       struct ramet_err *err);

/*
 * Find pages at `at`: for each pgno (ascending, no doubles) out_located[i] is
 * where it lies. A pgno above the page count of `at` is RAMET_EINVAL. Node reads
 * are batched per level.
 */
RAMET_NODISCARD enum ramet_rc
ramet_history_locate(struct ramet_history *history,
                     const struct ramet_point *at, const uint32_t *pgnos,
                     size_t pgno_count, struct ramet_located *out_located,
                     struct ramet_err *err);

/* Locate, read, verify, decompress. `visit` gets page_size bytes for each
 * wanted page, any order, each once. Neighbours that came along in a frame
 * but were not asked for are offered too if `want_extra`. */
typedef enum ramet_rc
ramet_page_visit(void *ctx, uint32_t pgno, const uint8_t *page,
                 struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_history_read_pages(struct ramet_history *history,
                         const struct ramet_point *at, const uint32_t *pgnos,
                         size_t pgno_count, bool want_extra,
                         ramet_page_visit *visit, void *ctx,
                         struct ramet_err *err);

/* The same of the pages' base images at `at`: what a delta of the next commit is
 * made with. A page that has none is not visited. */
RAMET_NODISCARD enum ramet_rc
ramet_history_read_bases(struct ramet_history *history,
                         const struct ramet_point *at, const uint32_t *pgnos,
                         size_t pgno_count, ramet_page_visit *visit, void *ctx,
                         struct ramet_err *err);

/*
 * Pages of `to` that may differ from `from` (from <= to; from 0: all pages
 * that exist), no page above to's page count. Pages that were cut off and
 * regrown without an image are in it (they read as zeros). Few commits: their
 * sets, united; many: maps, compared by pointer, in time proportional to the
 * difference. A bound that `out_set` has (run_max) is kept: more pages then, in
 * fewer runs.
 */
RAMET_NODISCARD enum ramet_rc
ramet_history_changed(struct ramet_history *history,
                      const struct ramet_point *from,
                      const struct ramet_point *to,
                      struct ramet_pageset *out_set, struct ramet_err *err);

/* The dictionary that the commits up to `head` use, so that the next one may
 * too; out_extent->length_bytes 0: none. */
RAMET_NODISCARD enum ramet_rc
ramet_history_dict(struct ramet_history *history, const struct ramet_head *head,
                   struct ramet_extent *out_extent, struct ramet_err *err);
struct ramet_frame_reader *
ramet_history_frame_reader(struct ramet_history *history);

/* Check every object of the volume at every LSN against its hash, and make each page
 * that is stored as a delta: *out_deltas (unless NULL) are how many, all LSNs together.
 * Calls `report` for each finding (text) and each step; RAMET_ECORRUPT if any. */
typedef void ramet_verify_report(void *ctx, bool damaged, const char *text,
                                 uint64_t done, uint64_t total);
RAMET_NODISCARD enum ramet_rc
ramet_history_verify(struct ramet_history *history, ramet_verify_report *report,
                     void *ctx, uint64_t *out_deltas, struct ramet_err *err);

#endif
