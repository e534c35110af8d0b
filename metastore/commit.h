/*
 * commit.h - one step of a volume's history, from LSN n-1 to n, as an object.
 *
 * A commit names everything a reader needs to know about the step: its id,
 * the hash of its predecessor, time, size, which pages changed, where they
 * lie, and the newest page map that its writer knew. The head (everything but
 * the inline segment) comes first in the object, so that catching up reads
 * heads by range. Byte layout: docs/format.md, "Commits".
 *
 * Layer: metastore.
 */
#ifndef RAMET_METASTORE_COMMIT_H
#define RAMET_METASTORE_COMMIT_H

#include "core/bytes.h"
#include "core/err.h"
#include "core/hash.h"
#include "core/id.h"
#include "core/pageset.h"
#include "metastore/located.h"
#include "pagestore/delta.h"
#include "pagestore/frame.h"
#include "pagestore/segment.h"

/* A reader refuses more; a writer that would need more writes a map of its
 * own LSN and leaves the tables out. */
#define RAMET_COMMIT_HEAD_MAX (64u << 20)
#define RAMET_COMMIT_SEGMENTS_MAX 65536u
/* Where a commit's byte length says nothing: SQLite databases. */
enum ramet_volume_kind {
    RAMET_KIND_SQLITE = 1, /* length is page_count * page_size */
    RAMET_KIND_BLOB = 2,   /* any bytes; the last page may be in part */
};

/* What a commit is for. All but the first are housekeeping: they change no page,
 * and nobody who stands before them has diverged. */
enum ramet_commit_role {
    RAMET_COMMIT_CONTENT = 0,
    RAMET_COMMIT_FENCE = 1,  /* made only to win the slot */
    RAMET_COMMIT_END = 2,    /* the volume ends here: nothing may follow */
    RAMET_COMMIT_UPKEEP = 4, /* moves frames, or raises the floor; read, and not
                                made yet */
};

/* A commit as whoever stands on it names it: its place in the line, and the
 * hash that tells it from any other in that place. lsn 0, and a hash of zeros:
 * before the first. */
struct ramet_point {
    uint64_t lsn;
    struct ramet_hash hash;
};

static inline bool
ramet_point_equal(const struct ramet_point *a, const struct ramet_point *b)
{
    return a->lsn == b->lsn && ramet_hash_equal(&a->hash, &b->hash);
}

/* Where the root node of a page map lies. lsn 0: no map yet. */
struct ramet_map_ref {
    struct ramet_vid
        volume; /* under whose prefix (an ancestor's, for a fork) */
    uint64_t lsn;
    struct ramet_mid id;
    uint64_t root_offset_bytes;
    uint32_t root_length_bytes;
    uint8_t hash_algo;
    struct ramet_hash root_hash;
};

/* A delta whose base is another page's image. */
struct ramet_delta_name {
    uint32_t position; /* in the commit's set of deltas, from 0 */
    uint32_t pgno;     /* whose base image */
};

/* The deltas of one commit, and where their blocks lie: one behind the other in
 * one segment. All zero where there are none. */
struct ramet_commit_deltas {
    struct ramet_pageset pages;
    /* Where the commit has its own map, blocks are counted, and the arrays are
     * NULL. */
    struct ramet_delta_extent extent;
    uint32_t name_count;
    struct ramet_delta_name *names; /* ascending by position */
};

/* Owns its arrays and sets; ramet_commit_done() frees them. */
struct ramet_commit_object {
    struct ramet_vid volume; /* whose history; set by ramet_history_prepare */
    uint64_t lsn;            /* >= 1 */
    struct ramet_cid id;
    struct ramet_rid writer;       /* the replica that made it; nil: unknown */
    struct ramet_hash predecessor; /* hash of the head of lsn - 1; zero at 1 */
    uint64_t time_ms;              /* > predecessor's */
    enum ramet_volume_kind kind;
    uint32_t page_size;
    uint32_t page_count;
    uint64_t byte_length;          /* <= page_count * page_size, within its last
                                  page */
    uint32_t least_page_count;     /* since the predecessor: pages above it that
                                  have no image here are zero */
    struct ramet_pageset changed;  /* pages that have an image here; when the
                                     page size changed: all pages */
    struct ramet_map_ref map;      /* newest known; map.lsn <= lsn. == lsn: this
                                  commit's pages are found through it, and
                                  segments carry no tables */
    uint32_t commits_since_map;    /* lsn - map.lsn, checked */
    uint64_t head_bytes_since_map; /* heads of (map.lsn, lsn), this one not
                                      counted */
    struct ramet_segment_info *segments;
    uint32_t segment_count;
    bool has_inline; /* segments[0] or the deltas' blocks, or both, lie in it;
                        frames relative to where its header would be; readers
                        get them absolute */
    uint32_t inline_length_bytes; /* it has no header */
    uint32_t head_length_bytes;   /* where the inline bytes begin; 0: not known,
                                   in a commit that is being made */
    struct ramet_commit_deltas deltas;
    enum ramet_commit_role role;
    uint64_t floor;             /* the oldest LSN that is kept */
    struct ramet_id cutoff;     /* lesser ids may be collected; nil: none */
    struct ramet_point content; /* the last content commit before this one */
    bool says_first_page;       /* format.md, "Page 1" */
    struct ramet_located first_page; /* then; places as those of frames above. A
                                delta that the blocks above name is theirs */
};

void ramet_commit_init(struct ramet_commit_object *commit);
void ramet_commit_done(struct ramet_commit_object *commit);

/* Append the whole object (head, then `inline_bytes`) to `out`. */
RAMET_NODISCARD enum ramet_rc
ramet_commit_encode(const struct ramet_commit_object *commit,
                    const uint8_t *inline_bytes, struct ramet_buf *out,
                    struct ramet_err *err);

/* The length of the head, from the first RAMET_COMMIT_PREFIX_SIZE bytes. */
#define RAMET_COMMIT_PREFIX_SIZE 32u
RAMET_NODISCARD enum ramet_rc
ramet_commit_head_length(const uint8_t prefix[RAMET_COMMIT_PREFIX_SIZE],
                         uint32_t *out_head_length, struct ramet_err *err);

/* The core of a head: its first bytes, all but sets and tables. */
#define RAMET_COMMIT_CORE_SIZE 308u
/*
 * Decode and check the core alone (RAMET_COMMIT_CORE_SIZE bytes, hostile):
 * `changed` and `segments` stay empty. Enough to open a snapshot.
 */
RAMET_NODISCARD enum ramet_rc
ramet_commit_decode_core(const uint8_t *core, const struct ramet_vid *volume,
                         uint64_t lsn, struct ramet_commit_object *out_commit,
                         struct ramet_hash *out_hash, struct ramet_err *err);

/*
 * Decode and check a head: hostile bytes. `volume` and `lsn` are what the key
 * said and must agree; `object_size` is 0 if unknown. *out_hash is the hash by
 * which the successor names this head. RAMET_ECORRUPT or RAMET_EVERSION.
 */
RAMET_NODISCARD enum ramet_rc
ramet_commit_decode(const uint8_t *head, size_t head_length,
                    const struct ramet_vid *volume, uint64_t lsn,
                    uint64_t object_size,
                    struct ramet_commit_object *out_commit,
                    struct ramet_hash *out_hash, struct ramet_err *err);

/* The length of the object whose head's core is `core`, decoded before. */
uint64_t ramet_commit_object_size(const uint8_t *core);

/* Length of the head that `commit` would have, or RAMET_ETOOBIG above `max`. */
RAMET_NODISCARD enum ramet_rc
ramet_commit_head_size(const struct ramet_commit_object *commit, size_t max,
                       uint32_t *out_head_length, struct ramet_err *err);

/* `commit`'s own pages stand in its own map, its segments without tables. */
static inline bool
ramet_commit_has_own_map(const struct ramet_commit_object *commit)
{
    return commit->map.lsn == commit->lsn;
}

/* An inline segment has no header, and offsets in it count as if it had one: from
 * here in an object whose head has `head_length` bytes ... */
static inline uint64_t
ramet_commit_inline_start(uint32_t head_length)
{
    return (uint64_t)head_length - RAMET_SEGMENT_HEADER_SIZE;
}

/* ... and up to here. */
static inline uint64_t
ramet_commit_inline_end(const struct ramet_commit_object *commit)
{
    return (uint64_t)commit->inline_length_bytes + RAMET_SEGMENT_HEADER_SIZE;
}

/* Do the commit's own blocks name a delta of page 1? */
bool ramet_commit_names_first_delta(const struct ramet_commit_object *commit);

/* Segment `index` is the inline one. */
static inline bool
ramet_commit_is_inline(const struct ramet_commit_object *commit, uint32_t index)
{
    return index == 0 && commit->has_inline && commit->segment_count > 0 &&
           ramet_id_is_nil(&commit->segments[0].id.id);
}

/* The last content commit up to this one, which is `hash`: what those compare
 * who stand on one and look at another. */
static inline struct ramet_point
ramet_commit_content_up_to(const struct ramet_commit_object *commit,
                           const struct ramet_hash *hash)
{
    return commit->role == RAMET_COMMIT_CONTENT
               ? (struct ramet_point){commit->lsn, *hash}
               : commit->content;
}

/* Pages that the commit changes, by an image or a delta. */
static inline uint64_t
ramet_commit_changed_pages(const struct ramet_commit_object *commit)
{
    return ramet_pageset_count(&commit->changed) +
           ramet_pageset_count(&commit->deltas.pages);
}

/* Bytes of all that it stored but its head: segments, and blocks of deltas. */
uint64_t ramet_commit_stored_bytes(const struct ramet_commit_object *commit);
/* Of the blocks of deltas alone. */
uint64_t ramet_commit_delta_bytes(const struct ramet_commit_object *commit);
/* What deltas a commit has, and what they saved. */
struct ramet_delta_counts {
    uint64_t lsn;         /* 0: of no one commit, or of none */
    uint64_t pages;       /* that have one */
    uint64_t bytes;       /* of their blocks */
    uint64_t saved_bytes; /* the pages' own, as they are, less these */
};
struct ramet_delta_counts
ramet_commit_delta_counts(const struct ramet_commit_object *commit);

/* Where each block of the deltas begins. Decoding does it; whoever asks the next two
 * of a commit that is being made has to. Its blocks hold as many pages as there are
 * deltas. */
void ramet_commit_index_deltas(struct ramet_commit_object *commit);
/* Where block `index` of the deltas lies, as a frame to read. */
struct ramet_frame
ramet_commit_delta_block(const struct ramet_commit_object *commit,
                         uint32_t index);
/* Find page `pgno` among the deltas: its block (an index), its position in that,
 * and the page that its base is of. It must be one of them. */
void ramet_commit_find_delta(const struct ramet_commit_object *commit,
                             uint32_t pgno, uint32_t *out_block,
                             uint32_t *out_position, uint32_t *out_base_pgno);

void ramet_commit_key(const struct ramet_vid *volume, uint64_t lsn,
                      char out[RAMET_KEY_MAX]);

#endif
