/*
 * holes.h - holes of the base.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_HOLES_H
#define RAMET_CLIENT_STORE_SHARED_HOLES_H

#include "client/store/shared/session.h"

/* How many pages of the base from `pgno` on, `most` at most, are in a hole. */
uint32_t ramet_base_hole(const struct ramet_replica *replica,
                         uint32_t page_size, uint32_t pgno, uint32_t most);

#endif
