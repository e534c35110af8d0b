/*
 * record.h - building one record.
 *
 * Layer: client, store/session.
 */
#ifndef RAMET_CLIENT_STORE_SESSION_RECORD_H
#define RAMET_CLIENT_STORE_SESSION_RECORD_H

#include "client/store/format/frames.h"
#include "client/store/shared/session.h"

/* Begin at the log's end, in a log file with this page size. */
RAMET_NODISCARD enum ramet_rc
ramet_record_begin(struct ramet_session *session, uint32_t page_size,
                   struct ramet_err *err);
/* Room for a frame at the end of the buffer, spilling first if it is full.
 * Its header has page and kind; the page, if it has one, is the caller's to
 * fill in at *out_page. */
RAMET_NODISCARD enum ramet_rc
ramet_record_add(struct ramet_session *session, uint32_t pgno,
                 enum ramet_logframe_kind kind, uint8_t **out_page,
                 struct ramet_pos *out_pos, struct ramet_err *err);
/* Write frames and trailer. The prepared mark is set; session->prepared has
 * what publish needs. `trailer` has all but positions, counts and sums. */
RAMET_NODISCARD enum ramet_rc
ramet_record_finish(struct ramet_session *session,
                    struct ramet_trailer *trailer, struct ramet_err *err);
/* Before more is written to a transaction whose record was prepared: that one is
 * void, and its frames, which stay as they are, begin the next. */
RAMET_NODISCARD enum ramet_rc
ramet_record_go_on(struct ramet_session *session, struct ramet_err *err);
void ramet_record_reset(struct ramet_session *session);
void ramet_trailer_set_point(struct ramet_trailer *trailer,
                             const struct ramet_remote_point *point);

#endif
