/*
 * fast_read.h - the short way to pages of the base.
 *
 * Layer: client, store/page.
 */
#ifndef RAMET_CLIENT_STORE_PAGE_FAST_READ_H
#define RAMET_CLIENT_STORE_PAGE_FAST_READ_H

#include "client/store/shared/session.h"

/* The whole page, up to the snapshot's last, if the base has it; false: what
 * is in `out` means nothing, and there is more to it. */
bool
ramet_fast_read(struct ramet_session *session, uint32_t pgno, uint8_t *out);

#endif
