/*
 * pins.h - the pin slots of all sessions.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_PINS_H
#define RAMET_CLIENT_STORE_SHARED_PINS_H

#include "client/store/shared/session.h"

/* Least tail >= `from` pinned by a live session but `session`; dead ones are
 * cleared. UINT64_MAX: none. */
struct ramet_pos
ramet_index_least_pin(struct ramet_session *session, struct ramet_pos from);
/* Tails < `below` pinned by live sessions, this one too: each once, descending,
 * at most RAMET_PIN_SLOTS + 1. Returns how many. */
unsigned ramet_index_pins(struct ramet_session *session, struct ramet_pos below,
                          struct ramet_pos *out_tails);

#endif
