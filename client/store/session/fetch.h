/*
 * fetch.h - pages that are not here.
 *
 * Layer: client, store/session.
 */
#ifndef RAMET_CLIENT_STORE_SESSION_FETCH_H
#define RAMET_CLIENT_STORE_SESSION_FETCH_H

#include "client/store/page/fetched.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"

struct ramet_page_version;

/* The remote's page at the pinned LSN, whatever is here, and kept nowhere. */
RAMET_NODISCARD enum ramet_rc
ramet_fetch_alone(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                  struct ramet_err *err);
/* Keep those fetched pages whose entry is still `expected`, which they replace;
 * so many as ramet_fetched_append() takes; `in_place`: in the base, where they
 * can. */
RAMET_NODISCARD enum ramet_rc
ramet_fetched_keep(struct ramet_session *session,
                   const struct ramet_fetched_page *pages, size_t count,
                   const struct ramet_point *at, uint32_t page_size,
                   bool in_place, uint64_t wait_ms, struct ramet_err *err);
enum ramet_rc
ramet_fetch_page(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                 const struct ramet_page_version *version,
                 struct ramet_err *err);
/* Tell the watcher of a page that was here. */
void ramet_fetch_tell_watcher(struct ramet_session *session, uint32_t pgno,
                              const uint8_t *page);
/* The same, where anybody watches: one load where nobody does. */
static inline void
ramet_fetch_tell(struct ramet_session *session, uint32_t pgno,
                 const uint8_t *page)
{
    if (atomic_load_explicit(&session->replica->is_watched,
                             memory_order_relaxed))
        ramet_fetch_tell_watcher(session, pgno, page);
}

#endif
