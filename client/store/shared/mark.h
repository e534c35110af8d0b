/*
 * mark.h - before the base is written.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_MARK_H
#define RAMET_CLIENT_STORE_SHARED_MARK_H

#include "client/store/shared/session.h"

/* Take the true header off the base, if it is on. RAMET_EBUSY: a program that
 * knows nothing of us is reading it. Needs write lock or base lock. */
RAMET_NODISCARD enum ramet_rc
ramet_base_unclean(struct ramet_session *session, struct ramet_err *err);
/* ... and durably: before the first write to the base's pages. The mark has
 * the next token from here on. RAMET_EFOREIGN: somebody else wrote there. */
RAMET_NODISCARD enum ramet_rc
ramet_base_begin(struct ramet_session *session, struct ramet_err *err);
/* ... to write what has the checksum that the page should have, or to give it
 * up: whatever became of the other pages. */
RAMET_NODISCARD enum ramet_rc
ramet_base_begin_mending(struct ramet_session *session, struct ramet_err *err);
/* The mark, with the next token, on a base that has one. */
RAMET_NODISCARD enum ramet_rc
ramet_base_mark_anew(struct ramet_replica *replica, struct ramet_err *err);

#endif
