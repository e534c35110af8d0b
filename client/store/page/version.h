/*
 * version.h - which version of a page a snapshot sees.
 *
 * Layer: client, store/page.
 */
#ifndef RAMET_CLIENT_STORE_PAGE_VERSION_H
#define RAMET_CLIENT_STORE_PAGE_VERSION_H

#include "client/store/format/frames.h"
#include "client/store/shared/session.h"

struct ramet_page_version {
    enum ramet_entry_kind kind; /* where it was found; ABSENT or REMOTE: not
                                   here, nothing was read */
    struct ramet_entry top; /* the page's newest entry when it was looked at */
    struct ramet_entry
        found; /* the entry that the version is; 0: it is a retained one */
    bool has_hash;
    uint64_t hash; /* of the page, where it is known */
};

/* The version of page `pgno` at `tail`; the whole page into `out`, unless NULL.
 * The caller is pinned, or alone with the checkpoint lock; of many pages he who is in
 * an epoch saves a fence each. */
RAMET_NODISCARD enum ramet_rc
ramet_read_version(struct ramet_session *session, struct ramet_pos tail,
                   uint32_t page_size, uint32_t pgno, uint8_t *out,
                   struct ramet_page_version *out_version,
                   struct ramet_err *err);
bool ramet_version_is_elsewhere(const struct ramet_page_version *version);

#endif
