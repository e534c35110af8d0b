/*
 * segment.h - writing segments: pages in, frames and their table out.
 *
 * A segment is the unit of upload: a 32-byte header and then compressed
 * frames, back to back, and, in a segment with many frames, the frame table
 * in chunks at its end. It is written once, streamed (memory does not grow
 * with its size), and never changes. Which frames it holds is said by the
 * commit (or page map) that refers to it. Byte layout: docs/format.md,
 * "Segments".
 *
 * Small segments are built in memory and stand inline in their commit.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_SEGMENT_H
#define RAMET_PAGESTORE_SEGMENT_H

#include "core/bytes.h"
#include "core/err.h"
#include "core/id.h"
#include "pagestore/frame.h"
#include "pagestore/objstore.h"

#define RAMET_SEGMENT_BYTES_MAX (64u << 20) /* writers begin a new one here */
#define RAMET_SEGMENT_INLINE_MAX (128u << 10)
#define RAMET_SEGMENT_HEADER_SIZE 32u
/* A frame table up to about this size stands in the commit; a larger one is
 * cut into chunks of this size, which stand at the segment's end. */
#define RAMET_TABLE_CHUNK_BYTES 4096u
#define RAMET_TABLE_CHUNK_BYTES_MAX (16u << 10) /* a reader accepts */
/* Every entry of a frame table takes at least this many bytes: a count that
 * claims more frames than the bytes can hold is refused before allocating. */
#define RAMET_FRAME_ENTRY_MIN 18u

/* A piece of a segment's frame table, stored at the segment's end. */
struct ramet_table_chunk {
    uint32_t first_pgno;
    uint32_t last_pgno;
    uint64_t offset_bytes;
    uint32_t length_bytes; /* about 4 KiB */
    struct ramet_hash hash;
};

/*
 * One segment as its commit describes it. Frames ascend by page number and do
 * not overlap. Either `frames` (the table stands in the commit) or `chunks`
 * (it stands in the segment) is non-empty; the struct owns both arrays.
 */
struct ramet_segment_info {
    struct ramet_sid id; /* nil for an inline segment */
    uint64_t size_bytes; /* of the object; inline: of one with the same
                            bytes, which would have a header */
    uint32_t frame_count;
    uint32_t first_pgno;
    uint32_t last_pgno;
    bool has_dict;
    struct ramet_extent dict; /* what its DICT frames were made with */
    struct ramet_frame *frames;
    struct ramet_table_chunk *chunks;
    uint32_t chunk_count;
};
void ramet_segment_info_done(struct ramet_segment_info *info);

/*
 * Encode a run of frames of one object as a table, and back. No frames: no
 * bytes. Encoding: offsets are written as they stand in extent.offset_bytes;
 * RAMET_EINVAL if page numbers don't ascend, RAMET_ENOMEM or RAMET_ETOOBIG of `out`.
 *
 * Decoding: `context` gives what the table leaves out (volume, segment or
 * commit) and context->offset_bytes is added to each offset: 0 for a segment,
 * for an inline one the place in the commit where its header would begin. `object_size`
 * is the size of the segment's bytes, without what was added. `dict` is NULL
 * where there is none. Checked: page numbers, which ascend, extents, each inside of the object, kinds;
 * RAMET_ECORRUPT, or RAMET_EVERSION for kinds and hashes of a later version.
 * `in` is left after the table.
 */
RAMET_NODISCARD enum ramet_rc
ramet_frame_table_encode(const struct ramet_frame *frames, uint32_t count,
                         struct ramet_buf *out);
RAMET_NODISCARD enum ramet_rc
ramet_frame_table_decode(struct ramet_reader *in, uint32_t count,
                         const struct ramet_extent *context,
                         const struct ramet_extent *dict, uint64_t object_size,
                         struct ramet_frame *out_frames, struct ramet_err *err);

/*
 * Decode one chunk of a table from its bytes, checked against what the commit
 * says of it (hash, first and last page). *out_frames is the caller's
 * (ramet_free). `context`, `dict` and `object_size` as above.
 */
RAMET_NODISCARD enum ramet_rc
ramet_table_chunk_decode(const struct ramet_table_chunk *chunk,
                         const uint8_t *bytes, size_t len,
                         const struct ramet_extent *context,
                         const struct ramet_extent *dict, uint64_t object_size,
                         struct ramet_frame **out_frames, uint32_t *out_count,
                         struct ramet_err *err);
/* The same with one ranged read of segment `info` of `volume`; `index` counts
 * info->chunks. RAMET_ECORRUPT, or any code of ramet_objstore_read(). */
RAMET_NODISCARD enum ramet_rc
ramet_table_chunk_read(struct ramet_objstore *store,
                       const struct ramet_vid *volume,
                       const struct ramet_segment_info *info, uint32_t index,
                       struct ramet_frame **out_frames, uint32_t *out_count,
                       struct ramet_err *err);

/* Check the first RAMET_SEGMENT_HEADER_SIZE bytes of a segment that should be
 * `id`. *out_page_size is 0 for one that holds a dictionary. */
RAMET_NODISCARD enum ramet_rc
ramet_segment_header_check(const uint8_t header[RAMET_SEGMENT_HEADER_SIZE],
                           const struct ramet_sid *id, uint32_t *out_page_size,
                           struct ramet_err *err);

/* What a writer compresses with. */
struct ramet_codec {
    int level;                /* zstd level; 0 means 2 */
    uint32_t pages_per_frame; /* 1 to RAMET_FRAME_PAGES_MAX; 0: chosen by
                                    page size, see docs/format.md */
    const uint8_t *dict;      /* dictionary bytes, or NULL */
    size_t dict_len;
    struct ramet_extent dict_extent; /* where the remote keeps it */
    unsigned threads;                /* compression threads; 0 means 1 */
};

/*
 * Train a dictionary from `sample_count` pages of `page_size` bytes that lie
 * one after the other at `samples`: pages spread evenly over the volume, about
 * 5 MiB of them (more are not looked at, far fewer teach nothing). *out_worth is
 * false when, on pages not trained on, it saves less than 3 %, or over all
 * samples less than its own size (then nothing is kept). *out_dict is the
 * caller's (ramet_free). Some 50 ms of CPU.
 */
RAMET_NODISCARD enum ramet_rc
ramet_dict_train(const uint8_t *samples, uint32_t sample_count,
                 uint32_t page_size, bool *out_worth, uint8_t **out_dict,
                 size_t *out_len, struct ramet_err *err);

struct ramet_segment_writer;

/*
 * Begin a segment. It collects up to RAMET_SEGMENT_INLINE_MAX in memory; past
 * that it begins an upload to segments/<id> and streams. `store` may be NULL
 * for a segment that must stay inline (then RAMET_ETOOBIG past the limit).
 * With codec->threads > 1 frames are compressed by threads of its own, in
 * order, with a bounded queue.
 */
RAMET_NODISCARD enum ramet_rc
ramet_segment_writer_new(struct ramet_objstore *store,
                         const struct ramet_vid *volume, uint32_t page_size,
                         const struct ramet_codec *codec,
                         struct ramet_segment_writer **out_writer,
                         struct ramet_err *err);

/* A group of pages: (pgno - 1) × page_size / RAMET_SEGMENT_GROUP_BYTES. Frames of one
 * lie in any order, groups ascend. Who wants many pages of one should ask for them at a
 * time. */
#define RAMET_SEGMENT_GROUP_BYTES (16u << 20)
uint32_t ramet_segment_group(uint32_t pgno, uint32_t page_size);
uint32_t ramet_segment_group_pages(uint32_t page_size);

/* Add a page (page_size bytes, copied), each once. Frames lie in the order in which pages
 * are added: any, within a group; groups must ascend, and so must pages where a
 * frame holds more than one. */
RAMET_NODISCARD enum ramet_rc
ramet_segment_writer_add(struct ramet_segment_writer *writer, uint32_t pgno,
                         const uint8_t *page, struct ramet_err *err);

/* How full the segment is: bytes of compressed output so far, or more where
 * the frame table is what limits it (pages that compress to nearly nothing).
 * The caller starts a new segment when it passes RAMET_SEGMENT_BYTES_MAX. */
uint64_t ramet_segment_writer_size(const struct ramet_segment_writer *writer);

/*
 * Finish. No page added: all outputs are zero, and nothing was stored.
 * Small: *out_inline gets the bytes without a header (the caller's: ramet_free) and
 * info->id is nil, frame places count as if there were one (kind
 * RAMET_IN_COMMIT, lsn 0). Else the object is in the store and *out_inline is
 * NULL. `allow_inline` false makes
 * an object in any case. Frees the writer, whatever it returns.
 */
RAMET_NODISCARD enum ramet_rc
ramet_segment_writer_finish(struct ramet_segment_writer *writer,
                            bool allow_inline,
                            struct ramet_segment_info *out_info,
                            uint8_t **out_inline, size_t *out_inline_len,
                            struct ramet_err *err);
void ramet_segment_writer_abort(struct ramet_segment_writer *writer);

/* A dictionary as the segment that it is stored as, and where it will be. */
struct ramet_dict_object {
    struct ramet_extent extent;
    uint8_t *bytes; /* ramet_free() */
    size_t len;
};
RAMET_NODISCARD enum ramet_rc
ramet_dict_pack(const struct ramet_vid *volume, const uint8_t *dict, size_t len,
                struct ramet_dict_object *out_object, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_dict_put(struct ramet_objstore *store,
               const struct ramet_dict_object *object, struct ramet_err *err);
/* Both: store a dictionary as a segment of its own, and say where it is. */
RAMET_NODISCARD enum ramet_rc
ramet_dict_store(struct ramet_objstore *store, const struct ramet_vid *volume,
                 const uint8_t *dict, size_t len,
                 struct ramet_extent *out_extent, struct ramet_err *err);

/* Get a stored dictionary back, verified: one ranged read. *out_dict is the
 * caller's (ramet_free). RAMET_ECORRUPT, RAMET_EVERSION, RAMET_ENOMEM, or any
 * code of ramet_objstore_read(). */
RAMET_NODISCARD enum ramet_rc
ramet_dict_load(struct ramet_objstore *store, const struct ramet_extent *extent,
                uint8_t **out_dict, size_t *out_len, struct ramet_err *err);
/* The same of one whose body is here, extent->length_bytes of it. */
RAMET_NODISCARD enum ramet_rc
ramet_dict_unpack(const struct ramet_extent *extent, const uint8_t *body,
                  uint8_t **out_dict, size_t *out_len, struct ramet_err *err);
/* The longest body that one may have: zstd's bound for RAMET_DICT_BYTES_MAX,
 * generously. */
#define RAMET_DICT_STORED_MAX (RAMET_DICT_BYTES_MAX + (16u << 10))

#endif
