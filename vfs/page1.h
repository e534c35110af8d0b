/*
 * page1.h - what SQLite is shown of the database header, and what is kept.
 *
 * SQLite decides by bytes 24 to 39 whether its cache is stale. Pulls and
 * resets change pages without SQLite's doing, so that what it reads at 24 to
 * 27 must be a counter of this replica, never reused (ramet_snapshot.counter).
 *
 *   (1) Only bytes 24-27 and 92-95 are ever shown otherwise than stored.
 *   (2) Whether the two are equal is shown as it is stored: SQLite trusts the
 *       page count at 28 only if they are.
 *   (3) What is not a SQLite header is shown as it is.
 *   (4) What SQLite writes back unchanged is stored unchanged.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_PAGE1_H
#define RAMET_VFS_PAGE1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/replica.h"

#define RAMET_HEADER_SIZE 100u

/* Lay `counter` over bytes [offset, offset + len) as stored in `buf`: the
 * snapshot's, or the next one within a transaction (counter.h). */
void ramet_page1_show(const struct ramet_snapshot *snapshot, uint32_t counter,
                      uint64_t offset, void *buf, size_t len);

/* Does a write of this range touch a byte that invariant (1) names? */
bool ramet_page1_touches(uint64_t offset, size_t len);

/* `buf`, from offset 0 and at least RAMET_HEADER_SIZE long, has in the
 * overlaid bytes just what show() gives for the snapshot's counter: SQLite did not mean to change them. */
bool
ramet_page1_is_shown(const struct ramet_snapshot *snapshot, const void *buf);

/* A header that asks for WAL, which needs shared memory we do not have. */
bool ramet_page1_wants_wal(const void *buf, size_t len);

#endif
