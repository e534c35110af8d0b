/*
 * entries.h - index entries, loaded from presence if need be.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_ENTRIES_H
#define RAMET_CLIENT_STORE_SHARED_ENTRIES_H

#include "client/store/shared/session.h"

/* The raw entry, loading it if need be. RAMET_ENTRY_NONE never comes back. */
RAMET_NODISCARD enum ramet_rc
ramet_index_load(struct ramet_session *session, uint32_t pgno,
                 struct ramet_entry *out_entry, struct ramet_err *err);
/* As above; the base lock is held already. */
RAMET_NODISCARD enum ramet_rc
ramet_index_load_locked(struct ramet_session *session, uint32_t pgno,
                        struct ramet_entry *out_entry, struct ramet_err *err);
/* Set an entry for which there is room; keeps the count of absent pages. */
void ramet_index_set(struct ramet_replica *replica, uint32_t pgno,
                     struct ramet_entry entry);
bool ramet_index_swap(struct ramet_replica *replica, uint32_t pgno,
                      struct ramet_entry expected, struct ramet_entry entry);
/* One page less of those that are absent. */
void ramet_index_uncount_absent(struct ramet_replica *replica);

#endif
