/*
 * read.h - reading pages and bytes at the pinned snapshot.
 *
 * Layer: client, store/session.
 */
#ifndef RAMET_CLIENT_STORE_SESSION_READ_H
#define RAMET_CLIENT_STORE_SESSION_READ_H

#include "client/store/shared/session.h"

/* As ramet_session_read() but without own writes: whole page `pgno`. */
RAMET_NODISCARD enum ramet_rc
ramet_read_page(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                struct ramet_err *err);
/* Page as this session sees it, own writes included. */
RAMET_NODISCARD enum ramet_rc
ramet_read_own_page(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                    struct ramet_err *err);

#endif
