/*
 * publish.h - complete records become visible.
 *
 * Layer: client, store/log.
 */
#ifndef RAMET_CLIENT_STORE_LOG_PUBLISH_H
#define RAMET_CLIENT_STORE_LOG_PUBLISH_H

#include "client/store/format/frames.h"
#include "client/store/shared/session.h"

struct ramet_scan;

/* The trailer of a record that changes nothing about newest's size and LSN. */
void
ramet_record_trailer(const struct ramet_published *newest,
                     enum ramet_record_type type, struct ramet_trailer *out);
/* What a record makes of the snapshot before it; they may be the same struct. */
void ramet_trailer_to_published(const struct ramet_trailer *trailer,
                                const struct ramet_snapshot *before,
                                struct ramet_published *out);
/* Finish what a dead writer prepared, and what a living one could not take
 * back. Needs the write lock. */
RAMET_NODISCARD enum ramet_rc
ramet_recover_prepared(struct ramet_session *session, struct ramet_err *err);

static inline bool
ramet_is_recovered(const struct ramet_replica *replica)
{
    return ramet_pos_is_none(
               ramet_pos_load(&replica->head->header.log.prepared)) &&
           atomic_load(&replica->head->header.log.void_pending) == 0;
}

/* Apply the record in scan->trailer to the index entries. */
RAMET_NODISCARD enum ramet_rc
ramet_apply_record(struct ramet_session *session, struct ramet_scan *scan,
                   struct ramet_err *err);

/* What a record changes besides pages. */
enum ramet_record_marks {
    RAMET_MARKS_LSN = 1u << 0,    /* the LSN that the replica stands on */
    RAMET_MARKS_INTENT = 1u << 1, /* it has an intent, or ends one */
};
unsigned ramet_record_marks(const struct ramet_trailer *trailer);
void
ramet_publish_snapshot(struct ramet_replica *replica,
                       const struct ramet_published *after, unsigned marks);

#endif
