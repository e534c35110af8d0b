/*
 * void.h - records that count no more.
 *
 * Layer: client, store/log.
 */
#ifndef RAMET_CLIENT_STORE_LOG_VOID_H
#define RAMET_CLIENT_STORE_LOG_VOID_H

#include "client/store/shared/session.h"

/* The record counts no more, whatever becomes of this: if it fails, the void
 * stays pending in the index, until ramet_recover_prepared() has written it. Needs the
 * write lock. */
RAMET_NODISCARD enum ramet_rc
ramet_void_record(struct ramet_replica *replica,
                  const struct ramet_record_span *span, struct ramet_err *err);
/* The word in the trailer; not synced. */
RAMET_NODISCARD enum ramet_rc
ramet_record_write_word(struct ramet_replica *replica,
                        const struct ramet_frame_file *file,
                        const struct ramet_record_span *span, uint64_t value,
                        struct ramet_err *err);
/* The record whose void is pending is not complete any more: when that is on
 * disk, forget it. */
RAMET_NODISCARD enum ramet_rc
ramet_void_flush(struct ramet_replica *replica, struct ramet_err *err);

static inline bool
ramet_is_void_pending(const struct ramet_replica *replica,
                      const struct ramet_trailer *trailer)
{
    return atomic_load(&replica->head->header.log.void_pending) ==
           ramet_trailer_void_value(trailer);
}

#endif
