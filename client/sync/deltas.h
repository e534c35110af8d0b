/*
 * deltas.h - which pages of a commit are sent as deltas, and over which bases.
 *
 * Pages come in ascending order, and their bases are gathered ahead of them in
 * *windows*: from the replica's `bases` where the remote is asked by requests, from
 * the store where that is a directory (docs/sync.md, "Deltas").
 *
 *   (1) a page is a delta where that is three quarters of its image at most, and
 *       where an image now would not make the next ones small enough to pay for
 *       it: with k deltas since the base, of Σ bytes, delta × (k + 1) <= image + Σ
 *   (2) bases are pages up to the least page count, and none is across a change
 *       of page size; a page above it may be a delta over another's
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_DELTAS_H
#define RAMET_CLIENT_SYNC_DELTAS_H

#include "client/sync/builder.h"

struct ramet_deltas;

/* `dict`: what images are compressed with, or NULL. `job` and `commit` are
 * borrowed. */
RAMET_NODISCARD enum ramet_rc
ramet_deltas_new(const struct ramet_builder *job,
                 struct ramet_commit_object *commit, const uint8_t *dict,
                 size_t dict_len, struct ramet_deltas **out_deltas,
                 struct ramet_err *err);
void ramet_deltas_free(struct ramet_deltas *deltas); /* NULL is fine */

/* *out_taken: the page is written as a delta; else the caller writes an image. */
RAMET_NODISCARD enum ramet_rc
ramet_deltas_take(struct ramet_deltas *deltas, uint32_t pgno,
                  const uint8_t *page, bool *out_taken, struct ramet_err *err);
/* All pages were offered: the blocks go behind the inline segment, or into one of
 * their own. */
RAMET_NODISCARD enum ramet_rc
ramet_deltas_finish(struct ramet_deltas *deltas, uint8_t **io_inline,
                    size_t *io_inline_len, struct ramet_err *err);

#endif
