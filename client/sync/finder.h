/*
 * finder.h - which of some pages has most in common with another.
 *
 * Every place of a page where the eight bytes from there on hash to a certain
 * residue is a *mark*; about one in 32 is. Pages that share content share marks,
 * wherever in them it lies. Advice, and no more: a mark may be overwritten by
 * another.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_FINDER_H
#define RAMET_CLIENT_SYNC_FINDER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

#define RAMET_FINDER_NONE UINT32_MAX

struct ramet_finder;

RAMET_NODISCARD enum ramet_rc
ramet_finder_new(uint32_t page_size, uint32_t pages_max,
                 struct ramet_finder **out_finder, struct ramet_err *err);
void ramet_finder_free(struct ramet_finder *finder); /* NULL is fine */
/* Forget all pages. */
void ramet_finder_clear(struct ramet_finder *finder);
/* `number` is less than pages_max. */
void ramet_finder_add(struct ramet_finder *finder, uint32_t number,
                      const uint8_t *page);
/* The number of the page that has most marks of this one, `other` aside;
 * RAMET_FINDER_NONE: none has a fair part of them. */
uint32_t ramet_finder_ask(const struct ramet_finder *finder,
                          const uint8_t *page, uint32_t other);

#endif
