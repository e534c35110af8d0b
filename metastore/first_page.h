/*
 * first_page.h - where page 1 lies, as commits say it (docs/format.md, "Page 1"), so
 * that whoever opens a database need not look into its map.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_FIRST_PAGE_H
#define RAMET_METASTORE_FIRST_PAGE_H

#include "metastore/overlay.h"

/* In how many of the newest heads, or all since the map, one says it. */
#define RAMET_FIRST_PAGE_HEADS 8u
/* Bytes of it at most. */
#define RAMET_FIRST_PAGE_BYTES 160u

/* What the overlay's heads say; false: they do not. No I/O. */
bool ramet_overlay_first_page(const struct ramet_overlay *overlay,
                              struct ramet_located *out_located);
/* The same of the heads from `at` on that are in the cache. */
bool ramet_first_page_known(struct ramet_history *history,
                            const struct ramet_point *at,
                            struct ramet_located *out_located);
/* The base image that was said of, under a delta that was met or not. */
void ramet_first_page_take(struct ramet_located *io_found,
                           const struct ramet_located *said);
/* A commit's own delta of page 1, unless a later one was met; false: its base can't be
 * told, or is another page's. */
bool ramet_first_page_delta(const struct ramet_commit_object *commit,
                            struct ramet_located *io_found);

/* ---- first_page_say.c ------------------------------------------------------ */

/* Does it fall to this commit to say it, whose predecessor has that map? */
bool ramet_first_page_is_due(const struct ramet_commit_object *commit,
                             const struct ramet_map_ref *base_map);
/* Have a commit say it that is being made on `base`, with its tables there still. What
 * can't be found is not said: nothing needs it. Reads heads, at once, that are not in
 * the cache. */
void ramet_first_page_say(struct ramet_history *history,
                          const struct ramet_point *base,
                          struct ramet_commit_object *commit);
/* Is what a decoded commit says what is found without it? `overlay` is of its state.
 * RAMET_ECORRUPT. */
RAMET_NODISCARD enum ramet_rc
ramet_first_page_check(const struct ramet_overlay *overlay,
                       const struct ramet_commit_object *commit,
                       struct ramet_err *err);

#endif
