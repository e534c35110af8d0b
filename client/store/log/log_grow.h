/*
 * log_grow.h - a log file is made longer before it is full.
 *
 * Layer: client, store/log.
 */
#ifndef RAMET_CLIENT_STORE_LOG_LOG_GROW_H
#define RAMET_CLIENT_STORE_LOG_LOG_GROW_H

#include "client/store/shared/session.h"

struct ramet_frame_file;

/* Pieces in which a log file grows, at multiples of their size. */
#define RAMET_LOG_PIECE (64u << 10)

/* Have zeros in the log file where a record ends at `end`, and past it; what the
 * file has is left as it is. What fails costs speed. Needs the write lock. */
void ramet_log_grow(struct ramet_session *session,
                    const struct ramet_frame_file *file, uint64_t end);
/* The same before a record of `len` bytes is written that ends there: not where
 * the file is small still, nor for one that is large itself. */
void ramet_log_grow_ahead(struct ramet_session *session,
                          const struct ramet_frame_file *file, uint64_t end,
                          size_t len);

#endif
