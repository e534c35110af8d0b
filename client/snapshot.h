/*
 * snapshot.h - the words that store, remotes and sync share.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_SNAPSHOT_H
#define RAMET_CLIENT_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/hash.h"
#include "core/id.h"
#include "metastore/commit.h" /* enum ramet_volume_kind */

#define RAMET_URL_MAX 2048u

/* A place in the log of a replica; client/store/format/pos.h. */
struct ramet_pos {
    uint64_t raw;
};
static inline bool
ramet_pos_same(struct ramet_pos pos, struct ramet_pos other)
{
    return pos.raw == other.raw;
}

/* What a reader sees. */
struct ramet_snapshot {
    uint64_t seq; /* number of the record; 0: nothing was ever written */
    struct ramet_pos tail; /* just past the record */
    uint32_t page_size;    /* 0 while the file is empty and none was chosen */
    uint32_t page_count;
    uint64_t byte_length;
    uint32_t counter;    /* SQLite: grows with each record that changes a page,
                            and is no less than the header's own */
    uint8_t header[100]; /* SQLite: the file's true first bytes as stored,
                            zero-padded; of a blob it says nothing */
    uint64_t lsn;        /* of the remote commit that it stands on; 0: none */
    struct ramet_hash lsn_hash; /* that commit's; zero at 0 */
    uint32_t remote_page_count; /* at that LSN */
    /* Numbers of records, for as long as anybody has the replica open: */
    uint64_t pages_seq;  /* the newest that changed a page: snapshots that have
                            it in common have all pages in common */
    uint64_t schema_seq; /* SQLite: the newest across which the schema may be
                            another though the header's bytes 40-43 do not
                            tell */
    bool header_pends;   /* a commit changed the header since the newest record
                            that was none: it goes to the remote with all that
                            is committed from now on */
};

/* What a remote commit looks like to the replica. */
struct ramet_remote_point {
    uint64_t lsn;
    struct ramet_hash hash;
    uint64_t time_ms;
    uint32_t page_size;
    uint32_t page_count;
    uint64_t byte_length;
};

#endif
