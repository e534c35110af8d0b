/*
 * stateless.h - a read-only snapshot straight from a remote: nothing on disk,
 * pages in bounded memory, which stateless readers of one volume in a process
 * share.
 *
 * A stateless reader either stays at one LSN, or follows: each pin then looks
 * whether there is a newer commit, but asks the remote at most once per
 * RAMET_STATELESS_LOOK_MS. While the remote is out of reach it stays where it
 * was.
 *
 * One thread at a time. Layer: client, internal.
 */
#ifndef RAMET_CLIENT_VOLUME_STATELESS_H
#define RAMET_CLIENT_VOLUME_STATELESS_H

#include "client/remote/remote_client.h"
#include "client/volume/file.h"

#define RAMET_STATELESS_LOOK_MS 1000u
#define RAMET_STATELESS_CACHE_BYTES (16u << 20)

struct ramet_stateless_reader;

/* Where a stateless reader stands. */
struct ramet_stateless_point {
    bool fixed;
    uint64_t lsn;     /* fixed, and not 0 */
    uint64_t time_ms; /* fixed, and lsn is 0 */
};
/* "42" or "2026-11-23T10:00:00Z". */
RAMET_NODISCARD enum ramet_rc
ramet_stateless_point_parse(const char *text,
                            struct ramet_stateless_point *out_point,
                            struct ramet_err *err);

/* `client` is referenced on its own. `volume` NULL: the one that its name
 * stands for. RAMET_ENOTFOUND: no such volume or snapshot; a volume without
 * commits is empty. */
RAMET_NODISCARD enum ramet_rc
ramet_stateless_open(struct ramet_remote_client *client,
                     const struct ramet_vid *volume,
                     const struct ramet_stateless_point *point,
                     size_t cache_bytes, const struct ramet_os *os,
                     struct ramet_stateless_reader **out_reader,
                     struct ramet_err *err);
void ramet_stateless_close(struct ramet_stateless_reader *reader);

RAMET_NODISCARD enum ramet_rc
ramet_stateless_pin(struct ramet_stateless_reader *reader,
                    struct ramet_err *err);
void ramet_stateless_unpin(struct ramet_stateless_reader *reader);
const struct ramet_snapshot *
ramet_stateless_snapshot(struct ramet_stateless_reader *reader);
/* Is a read of a whole group of pages (pagestore/segment.h) much less to ask for than the
 * same in parts? Where ranges are read (a bucket, a directory). */
bool ramet_stateless_reads_groups(struct ramet_stateless_reader *reader);
RAMET_NODISCARD enum ramet_rc
ramet_stateless_read(struct ramet_stateless_reader *reader, uint64_t offset,
                     void *buf, size_t len, size_t *out_got,
                     struct ramet_err *err);
const struct ramet_head *
ramet_stateless_head(const struct ramet_stateless_reader *reader);
const struct ramet_vid *
ramet_stateless_volume(const struct ramet_stateless_reader *reader);
/* When (CLOCK_BOOTTIME, ms) the last look began that found it in place; 0:
 * none did. */
uint64_t
ramet_stateless_looked_boot_ms(const struct ramet_stateless_reader *reader);
struct ramet_remote_client *
ramet_stateless_client(struct ramet_stateless_reader *reader);
struct ramet_warm; /* client/remote/warm.h; NULL: nothing to end */
struct ramet_warm *ramet_stateless_warm(struct ramet_stateless_reader *reader,
                                        const char *profile, bool may_keep);
/* As ramet_file_prefetch(). */
RAMET_NODISCARD enum ramet_rc
ramet_stateless_prefetch(struct ramet_stateless_reader *reader,
                         const struct ramet_question *question,
                         uint64_t *out_pages, struct ramet_err *err);
/* Newest LSN known; asks nobody. */
uint64_t
ramet_stateless_remote_lsn(const struct ramet_stateless_reader *reader);
/* Look at the remote now, whatever was asked when. */
RAMET_NODISCARD enum ramet_rc
ramet_stateless_fetch(struct ramet_stateless_reader *reader,
                      struct ramet_err *err);

#endif
