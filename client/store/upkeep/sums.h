/*
 * sums.h - checksums of pages that the base has, where none is known yet: of a
 * file that was adopted as it was; and their check before they are sent.
 *
 *   (1) `is_unsummed`, in state and index, says that there may be such pages;
 *       when it is gone, a page of which presence says nothing is zeros: the
 *       file grew by it, and nobody wrote there
 *   (2) a checksum is of bytes that were the base's when nothing had been moved
 *       into it since they were read: it is kept only if the stamp of its
 *       changes, and the page's entry, are those of before the read
 *   (3) no page of the base that has a checksum is sent to the remote but with
 *       that: with the base lock what the base has of a page, and what presence
 *       says of it, are of one version, and if that is the snapshot's, what was
 *       read is to be the same, wherever it was when it was read
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_SUMS_H
#define RAMET_CLIENT_STORE_UPKEEP_SUMS_H

#include "client/store/shared/session.h"

/* How far somebody has come who goes through all pages; begin with {1}. */
struct ramet_summing {
    uint64_t next; /* page; 0: that was all */
    bool left_out; /* some changed while they were summed */
};

/* Sum some more pages, of about `bytes`. When there are no more, and none was
 * left out, the state says so. What is known already is passed over. */
RAMET_NODISCARD enum ramet_rc
ramet_sums_go_on(struct ramet_session *session, uint64_t bytes,
                 struct ramet_summing *io_summing, struct ramet_err *err);

#endif
