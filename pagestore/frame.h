/*
 * frame.h - where a page's bytes lie in the remote, and how to get them back.
 *
 * A frame is the unit of compression and of reading: one or a few pages with
 * consecutive numbers, compressed together, lying somewhere inside an
 * immutable object: a segment, or a commit that carries a small segment
 * inline. The expected hash stands here, i.e. with the *parent* (commit or
 * page map), together with the place: a right body for the wrong key is
 * noticed, and so is every flipped bit. See docs/format.md, "Frames".
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_FRAME_H
#define RAMET_PAGESTORE_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/hash.h"
#include "core/id.h"
#include "pagestore/extent.h"
#include "pagestore/objstore.h"

#define RAMET_PAGE_SIZE_MIN 512u
#define RAMET_PAGE_SIZE_MAX 65536u
#define RAMET_FRAME_PAGES_MAX 64u
/* Upper bound of a frame's body, compressed or not. */
#define RAMET_FRAME_BYTES_MAX (4u << 20)

bool ramet_page_size_valid(uint64_t page_size); /* power of two in range */

enum ramet_frame_kind {
    RAMET_FRAME_PLAIN = 0,  /* one zstd frame */
    RAMET_FRAME_DICT = 1,   /* one zstd frame made with the dictionary `base` */
    RAMET_FRAME_DELTAS = 2, /* a block of deltas, pagestore/delta.h: no pages of
                               its own */
};

struct ramet_frame {
    struct ramet_extent extent;
    enum ramet_frame_kind kind;
    uint32_t first_pgno;      /* >= 1; DELTAS: 0, as the next */
    uint32_t page_count;      /* 1 to RAMET_FRAME_PAGES_MAX */
    struct ramet_extent base; /* the dictionary of a DICT frame, else zero */
};

/*
 * Turns frames into pages. Keeps dictionaries (a small, bounded number) and
 * decompression contexts; thread-safe.
 */
struct ramet_frame_reader;

RAMET_NODISCARD enum ramet_rc
ramet_frame_reader_new(struct ramet_objstore *store,
                       struct ramet_frame_reader **out_reader,
                       struct ramet_err *err);
void ramet_frame_reader_free(struct ramet_frame_reader *reader);

/* Bytes of an object, place->length_bytes of them from place->offset_bytes on, that
 * were read with something else: frames in them cost no read of
 * ramet_frame_read_many(). A copy is kept of the last ones, 256 KiB in all; the hash is
 * not looked at. */
void
ramet_frame_reader_keep(struct ramet_frame_reader *reader,
                        const struct ramet_extent *place, const uint8_t *bytes);
/* Are those of a frame kept? */
bool ramet_frame_reader_has(struct ramet_frame_reader *reader,
                            const struct ramet_extent *place);
/* Nothing is kept of what came along. */
void ramet_frame_reader_trim(struct ramet_frame_reader *reader);
/* Is this dictionary here? No I/O. */
bool ramet_frame_reader_has_dict(struct ramet_frame_reader *reader,
                                 const struct ramet_extent *dict);
/* Its body was read with something else: it is verified, and kept. If it is wrong who
 * needs it reads it, and says so. */
void ramet_frame_reader_keep_dict(struct ramet_frame_reader *reader,
                                  const struct ramet_extent *dict,
                                  const uint8_t *body);

/*
 * Read, verify and decompress one frame of pages: page_count * page_size bytes to `out`.
 * One ranged read, and one more for a dictionary not seen before.
 * RAMET_ECORRUPT: hash, size or decompression wrong. RAMET_EVERSION: a kind or
 * algorithm of a later version. Others as ramet_objstore_read().
 */
RAMET_NODISCARD enum ramet_rc
ramet_frame_read(struct ramet_frame_reader *reader,
                 const struct ramet_frame *frame, uint32_t page_size,
                 uint8_t *out, struct ramet_err *err);

/* The same of a body that is here already: `body` has the frame's length. A
 * dictionary that was not seen before is read from the store. */
RAMET_NODISCARD enum ramet_rc
ramet_frame_decode(struct ramet_frame_reader *reader,
                   const struct ramet_frame *frame, const uint8_t *body,
                   uint32_t page_size, uint8_t *out, struct ramet_err *err);

/*
 * Several frames at once, in any order given. Frames that lie close together
 * in one object become one ranged read (gaps of up to 32 KiB are read and
 * thrown away, ranges of up to 1 MiB), so that a scan costs few requests;
 * where the store reads several ranges at a time, those that hold the frames
 * given first are begun first. `visit` gets each frame's content, `len` bytes of
 * pages or of deltas, as soon as it is there (any order, same thread); a result
 * other than RAMET_OK ends the
 * call with it.
 */
typedef enum ramet_rc
ramet_frame_visit(void *ctx, const struct ramet_frame *frame,
                  const uint8_t *content, size_t len, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_frame_read_many(struct ramet_frame_reader *reader,
                      const struct ramet_frame *frames, size_t frame_count,
                      uint32_t page_size, ramet_frame_visit *visit, void *ctx,
                      struct ramet_err *err);

#endif
