/*
 * pacer.h - when to push: soon, but not the same pages again and again.
 *
 * A commit after a quiet time goes out after the push interval. While commits
 * keep coming, three rules stretch that:
 *
 *   (1) the next push begins at the earliest four times as long after the
 *       last as that took, so that pushing takes a fifth of the time at most
 *       (not where the interval is 0: who wants that pays for it)
 *   (2) pages that this *burst* of commits has pushed already are only pushed
 *       again as an allowance permits: it holds RAMET_PACER_ALLOWANCE bytes
 *       and regains RAMET_PACER_REGAIN bytes a second. So small steady writers
 *       are never held back, and a bulk load stores little more than one copy
 *   (3) but when the commits pause, or after RAMET_PACER_DEFER_MS (and ten
 *       times the last push, and as long as the allowance takes to regain what
 *       goes out again, up to a minute of these), it is pushed all the same
 *
 * A pause is RAMET_PACER_QUIET_MS without a commit, or three times what lay
 * between the last ones, up to RAMET_PACER_QUIET_MAX_MS: transactions that take
 * longer each are no pauses between them, and none is while one is under way, as
 * far as that is seen. A burst ends when a push leaves nothing
 * behind and a pause has gone by. Pure: no clock of its own, no I/O.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_PACER_H
#define RAMET_CLIENT_SYNC_PACER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/pageset.h"

#define RAMET_PACER_ALLOWANCE (1u << 20)
#define RAMET_PACER_REGAIN (384u << 10)
#define RAMET_PACER_QUIET_MS 200u
#define RAMET_PACER_QUIET_MAX_MS 3000u
#define RAMET_PACER_DEFER_MS 10000u
#define RAMET_PACER_DEFER_MAX_MS 60000u /* for what goes out again */
#define RAMET_PACER_RUNS_MAX 65536u     /* of `pushed`: bounds its memory */

struct ramet_pacer {
    uint64_t interval_ms;
    uint64_t dirty_since_ms; /* first commit not pushed; 0: none */
    uint64_t last_commit_ms; /* newest commit seen; 0: none */
    uint64_t between_ms;     /* the last commits; 0: they came far apart */
    uint64_t last_end_ms;    /* of the last push; 0: none in this burst */
    uint64_t last_took_ms;
    uint64_t allowance;          /* bytes; rule (2) */
    uint64_t regained_ms;        /* when it was last brought up to date */
    uint64_t bytes_per_page;     /* as stored, by the last push */
    struct ramet_pageset pushed; /* in this burst */
    bool is_writing; /* a transaction is under way; whoever asks says so */
};

void ramet_pacer_init(struct ramet_pacer *pacer, uint64_t interval_ms);
void ramet_pacer_done(struct ramet_pacer *pacer);
/* A commit (or several) was seen at `now_ms`, which is never 0. */
void ramet_pacer_commit(struct ramet_pacer *pacer, uint64_t now_ms);
/* How long to wait before a push: 0 now, UINT64_MAX nothing is to be pushed.
 * `pending`: the pages that it would send; NULL: not known, then rule (2) is
 * left out. */
uint64_t ramet_pacer_due(struct ramet_pacer *pacer, uint64_t now_ms,
                         const struct ramet_pageset *pending);
/* A push of `pages` ended well; `bytes` were sent. Commits that came while it
 * ran have been told by ramet_pacer_commit() and are still due if `more`. */
void ramet_pacer_pushed(struct ramet_pacer *pacer, uint64_t began_ms,
                        uint64_t now_ms, const struct ramet_pageset *pages,
                        uint64_t bytes, bool more);

#endif
