/*
 * placed.h - pages that were brought and written straight into the base, where they
 * were absent: nobody sees them there until the next checkpoint tells presence.
 *
 * Layer: client, store/page.
 */
#ifndef RAMET_CLIENT_STORE_PAGE_PLACED_H
#define RAMET_CLIENT_STORE_PAGE_PLACED_H

#include "client/store/page/fetched.h"

/* Places those pages of the base for which that may be; what it leaves in `pages`,
 * *io_count of them, is to be kept another way. Base lock; the entries of all are
 * still `expected`. */
RAMET_NODISCARD enum ramet_rc
ramet_placed_put(struct ramet_session *session,
                 struct ramet_fetched_page *pages, size_t *io_count,
                 uint32_t page_size, struct ramet_err *err);
/* Enough are placed to be worth a checkpoint. */
bool ramet_placed_is_much(struct ramet_replica *replica);
/* Is any? */
bool ramet_placed_is_any(struct ramet_replica *replica);
/* How often what was placed came to be here, or was forgotten. */
uint64_t ramet_placed_turns(struct ramet_replica *replica);
/* The page, if it is placed, and its entry is that still. In an epoch, without the
 * base lock. */
bool
ramet_placed_read(struct ramet_session *session, uint32_t pgno,
                  struct ramet_entry entry, uint32_t page_size, uint8_t *out);

/* ---- for a checkpoint, under the base lock --------------------------------- */

/* Those that still count, in pages of that size, into `pages`. */
RAMET_NODISCARD enum ramet_rc
ramet_placed_list(struct ramet_replica *replica, uint32_t page_size,
                  struct ramet_pageset *pages, struct ramet_err *err);
/* What presence is to say of a page that was listed, if its entry is that; 0: it
 * was not placed. */
uint64_t ramet_placed_value(const struct ramet_replica *replica, uint32_t pgno,
                            struct ramet_entry entry);
/* Presence has been told; or they are given up: they are brought again. */
void ramet_placed_forget(struct ramet_replica *replica);
void ramet_placed_done(struct ramet_replica *replica);

#endif
