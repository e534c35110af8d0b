/*
 * void.h - records that count no more.
 *
 * Layer: client, store/log.
 */
#ifndef RAMET_CLIENT_STORE_LOG_VOID_H
#define RAMET_CLIENT_STORE_LOG_VOID_H

#include "client/store/shared/session.h"

/* The record counts no more, whatever becomes of this: it stays condemned in
 * the index if it fails, until ramet_settle() has made it void. Needs the write
 * lock. */
RAMET_NODISCARD enum ramet_rc
ramet_void_record(struct ramet_replica *replica,
                  const struct ramet_record_place *place,
                  struct ramet_err *err);
/* The word in the trailer; not synced. */
RAMET_NODISCARD enum ramet_rc
ramet_record_write_word(struct ramet_replica *replica,
                        const struct ramet_gen *gen,
                        const struct ramet_record_place *place, uint64_t value,
                        struct ramet_err *err);
/* What is condemned is not complete any more: when that is on disk, forget
 * it. */
RAMET_NODISCARD enum ramet_rc
ramet_void_flush(struct ramet_replica *replica, struct ramet_err *err);

static inline bool
ramet_is_condemned(const struct ramet_replica *replica,
                   const struct ramet_trailer *trailer)
{
    return atomic_load(&replica->head->header.log.condemned) ==
           ramet_trailer_void_value(trailer);
}

#endif
