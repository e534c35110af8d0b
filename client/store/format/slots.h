/*
 * slots.h - a small file that is replaced in place: one sync, and no name that
 * changes. Bytes: docs/replica.md, "state".
 *
 * It has two slots, and each content a number. Content s goes into slot s mod 2,
 * is synced, and then copied into the other one.
 *
 *   (1) the slot that has the newest content that was synced is not written to
 *       before its successor was: a crash leaves the one or the other
 *   (2) but for a crash between the two, both have the same: what rots in one of
 *       them is not mistaken for a write that was cut short, after which what
 *       came before would count again
 *   (3) what is too long for a slot is a file of one slot, and that is replaced
 *       by its name
 *
 * Who writes sees to it that nobody else does.
 *
 * Layer: client, store/format.
 */
#ifndef RAMET_CLIENT_STORE_FORMAT_SLOTS_H
#define RAMET_CLIENT_STORE_FORMAT_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/os.h"

#define RAMET_SLOT_SIZE 4096u
#define RAMET_SLOT_MAGIC_SIZE 8u

/* The newest content in a file's bytes, borrowed from them. RAMET_ECORRUPT: no
 * slot is whole. *out_copies: 2, or 1 in one slot alone, of which nobody knows
 * whether it was synced; 0 in a file of one slot. */
RAMET_NODISCARD enum ramet_rc
ramet_slots_decode(const uint8_t magic[RAMET_SLOT_MAGIC_SIZE],
                   const uint8_t *data, size_t len, const uint8_t **out_content,
                   size_t *out_len, unsigned *out_copies,
                   struct ramet_err *err);

/* It is durable when this succeeds; if not, it may be there after a crash, and
 * whoever reads before that finds what was there. A file of another form, or
 * none, is replaced. */
RAMET_NODISCARD enum ramet_rc
ramet_slots_write(const struct ramet_os *os, int dir_fd, const char *name,
                  const uint8_t magic[RAMET_SLOT_MAGIC_SIZE],
                  const uint8_t *content, size_t len, struct ramet_err *err);

#endif
