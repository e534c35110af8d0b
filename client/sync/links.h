/*
 * links.h - the links of this process: found, made and closed.
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_LINKS_H
#define RAMET_CLIENT_SYNC_LINKS_H

#include "client/sync/link.h"

/* The link of `session`'s replica, made if there is none; one reference. */
RAMET_NODISCARD enum ramet_rc
ramet_link_open(struct ramet_session *session, const char *path,
                const struct ramet_os *os, uint64_t fetch_timeout_ms,
                struct ramet_link **out_link, struct ramet_err *err);
/* One reference less; the last one stops the background thread first. In a
 * child of fork(): nothing. */
void ramet_link_close(struct ramet_link *link);

#endif
