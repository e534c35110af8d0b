/*
 * page1.h - what SQLite is shown of the database header, and what is kept.
 *
 * SQLite keeps pages in its cache from one transaction to the next. Bytes 24
 * to 39, as it last read or wrote them with the whole of page 1, tell it
 * whether they are stale; bytes 40 to 43 whether the schema is. In a replica
 * pages change without SQLite's doing, and SQLite counts where no page changes.
 * So both numbers are the *handle's*: one SQLite has one handle, and compares
 * nothing but what this handle has shown it before.
 *
 *   (1) Only bytes 24-27, 40-43 and 92-95 are ever shown otherwise than stored.
 *   (2) The counter stays as long as the pinned snapshot has the pages that
 *       SQLite's cache has, its own commits included. For another snapshot it
 *       is ahead of every number that SQLite may have in mind.
 *   (3) It moves when SQLite reads or writes the whole of page 1; a look at
 *       bytes 24 to 39 sees what it would become.
 *   (4) The cookie is the stored one plus `shift`, and is stored without it.
 *       The shift changes between two snapshots only where the schema may have
 *       changed without the stored cookie's telling, and then so that the
 *       cookie shown was never shown before.
 *   (5) Whether 24-27 and 92-95 are equal is shown as it is stored: SQLite
 *       trusts the page count at 28 only if they are.
 *   (6) What is not a SQLite header is shown as it is.
 *
 * docs/sqlite.md, "Page 1", has the argument, and what SQLite does.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_PAGE1_H
#define RAMET_VFS_PAGE1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/store/store.h"
#include "sqliteformat/dbheader.h"

/* Of one handle. Zeroed: SQLite has read nothing yet. */
struct ramet_page1 {
    bool was_read;
    bool is_known;      /* the snapshot of SQLite's cache is ... */
    uint64_t pages_seq; /* ... one with this */
    uint64_t schema_seq;
    uint32_t counter; /* as SQLite last read or wrote it */
    uint32_t
        published;    /* ... last read or published it: before a transaction */
    uint32_t highest; /* no counter that SQLite has in mind is ahead of it */
    uint32_t shift;
    uint32_t highest_cookie;
};

/* What SQLite sees of a header as stored while `s` is pinned; within a write
 * transaction that of its own page 1. `len` bytes of the file are in it. */
void
ramet_page1_show(const struct ramet_page1 *page1,
                 const struct ramet_snapshot *s, uint8_t *header, size_t len);
/* SQLite reads the whole of page 1, of which the file has `len` bytes: show
 * it, and know from now on that its cache is this snapshot's. `is_own`: it is
 * that of its own transaction. */
void ramet_page1_read(struct ramet_page1 *page1, const struct ramet_snapshot *s,
                      bool is_own, uint8_t *page, size_t len);
/* SQLite wrote the whole of page 1. */
void ramet_page1_wrote(struct ramet_page1 *page1, const uint8_t *page);
/* The counters in it are those that SQLite was shown of `s` before the
 * transaction: it puts page 1 back. */
bool
ramet_page1_is_put_back(const struct ramet_page1 *page1,
                        const struct ramet_snapshot *s, const uint8_t *page);
/* Has a transaction moved the counter that SQLite had in mind before it? Each that
 * commits does (but within locking_mode=EXCLUSIVE); one that is rolled back puts
 * it back. */
static inline bool
ramet_page1_has_moved(const struct ramet_page1 *page1)
{
    return page1->counter != page1->published;
}
/* The cookie that is stored for one that SQLite wrote. */
static inline uint32_t
ramet_page1_stored_cookie(const struct ramet_page1 *page1, uint32_t cookie)
{
    return cookie - page1->shift;
}
/* Its transaction on a snapshot with `base_pages_seq` became `s`; so did its
 * cache. */
void ramet_page1_published(struct ramet_page1 *page1, uint64_t base_pages_seq,
                           const struct ramet_snapshot *s);
/* What SQLite's cache has now is not known: it shall be dropped. */
void ramet_page1_forget(struct ramet_page1 *page1);

/* Does a write of this range touch a byte that invariant (1) names? */
bool ramet_page1_touches(uint64_t offset, size_t len);

/* A header that asks for WAL, which needs shared memory we do not have. */
bool ramet_page1_wants_wal(const void *buf, size_t len);

#endif
