/*
 * unsynced.h - words of presence that the state carries, since the file may not
 * have them on disk.
 *
 * A clean close that changes few of them leaves `presence` alone, and has them in
 * the state, which it syncs anyway.
 *
 *   (1) what is carried is what presence says at that state: it counts where the
 *       file says otherwise, until a state without it is written
 *   (2) a state without it is written only after a sync of the file that has it
 *
 * So a file that got younger words, and a crash before the next state, are what a
 * power cut before that file's sync leaves. Bytes: docs/replica.md, "state".
 *
 * Layer: client, store/format.
 */
#ifndef RAMET_CLIENT_STORE_FORMAT_UNSYNCED_H
#define RAMET_CLIENT_STORE_FORMAT_UNSYNCED_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"

#define RAMET_UNSYNCED_MAX                                                     \
    128u /* so that the state is not too long for a slot */

/* Ascending by page; each once. */
struct ramet_unsynced {
    uint32_t count;
    uint32_t pgnos[RAMET_UNSYNCED_MAX];
    uint64_t values[RAMET_UNSYNCED_MAX]; /* of presence: checksums, and zero */
};

/* In place of what it had of that page; false: there is no room, or it is a value
 * that is not final. */
bool ramet_unsynced_put(struct ramet_unsynced *unsynced, uint32_t pgno,
                        uint64_t value);
/* Nothing of pages above `page_count`. */
void
ramet_unsynced_truncate(struct ramet_unsynced *unsynced, uint32_t page_count);
void ramet_unsynced_encode(const struct ramet_unsynced *unsynced,
                           struct ramet_buf *out);
/* What makes no sense sets in->bad. */
void ramet_unsynced_decode(struct ramet_reader *in,
                           struct ramet_unsynced *out_unsynced);

#endif
