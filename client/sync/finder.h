/*
 * finder.h - which of some pages has most in common with another.
 *
 * The first bytes of some of a page's cells are *marks*, or where a page is not known to
 * have cells, those at each 32nd place. Pages that share content share marks, wherever in
 * them it lies. Advice, and no more: a mark may be overwritten by another.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_FINDER_H
#define RAMET_CLIENT_SYNC_FINDER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "pagestore/delta_writer.h"

#define RAMET_FINDER_NONE UINT32_MAX

struct ramet_finder;

/* For about `pages_max` pages. */
RAMET_NODISCARD enum ramet_rc
ramet_finder_new(uint32_t page_size, uint32_t pages_max,
                 struct ramet_finder **out_finder, struct ramet_err *err);
void ramet_finder_free(struct ramet_finder *finder); /* NULL is fine */
/* Forget all pages. */
void ramet_finder_clear(struct ramet_finder *finder);
/* `number` is the caller's, and not RAMET_FINDER_NONE; the cells are those of the
 * page's table. */
void
ramet_finder_add(struct ramet_finder *finder, uint32_t number,
                 const uint8_t *page, const struct ramet_delta_shape *shape);
/* The number of the page that has most marks of this one, its `own` aside;
 * RAMET_FINDER_NONE: none has a fair part of them. *out_is_own_worse: its own has by far
 * fewer. */
uint32_t
ramet_finder_ask(const struct ramet_finder *finder, const uint8_t *page,
                 const struct ramet_delta_shape *shape, uint32_t own,
                 bool *out_is_own_worse);

#endif
