/*
 * opening.h - which pages whoever opens a volume reads first, and soon: page 1,
 * the tree of the schema, and interior pages, those of the largest trees first.
 *
 * A hint: a volume that is no database, or does not hold together, has fewer, or
 * none. What was found of a commit is kept for those after it.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_OPENING_H
#define RAMET_SERVER_OPENING_H

#include "metastore/history.h"

#define RAMET_OPENING_PAGES 64u
/* Of frames and of what leads to them, as they are stored; dictionaries apart. */
#define RAMET_OPENING_BYTES (40u << 10)

struct ramet_openings;

struct ramet_openings *ramet_openings_new(void); /* NULL on no memory */
void ramet_openings_free(struct ramet_openings *openings);

/* Up to RAMET_OPENING_PAGES pages of `head`, the most needed first; none twice.
 * `store` is the history's. Returns how many. */
size_t
ramet_openings_choose(struct ramet_openings *openings,
                      struct ramet_history *history,
                      struct ramet_objstore *store,
                      const struct ramet_vid *volume,
                      const struct ramet_head *head, uint32_t *out_pgnos);

#endif
