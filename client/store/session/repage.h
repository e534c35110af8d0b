/*
 * repage.h - a commit that changes the page size.
 *
 * Layer: client, store/session.
 */
#ifndef RAMET_CLIENT_STORE_SESSION_REPAGE_H
#define RAMET_CLIENT_STORE_SESSION_REPAGE_H

#include "client/store/shared/session.h"

/* Write the whole new file anew in pages of `page_size`, into a log file of
 * its own. */
RAMET_NODISCARD enum ramet_rc
ramet_repage(struct ramet_session *session, uint32_t page_size,
             struct ramet_err *err);

#endif
