/*
 * frame_fixture.h - frames of pages whose content is known, in a store that counts and
 * fails.
 *
 * Bodies are made with zstd's plain interface, not by the segment writer.
 */
#ifndef RAMET_TESTS_PAGESTORE_FRAME_FIXTURE_H
#define RAMET_TESTS_PAGESTORE_FRAME_FIXTURE_H

#include "pagestore/frame.h"
#include "tests/support/faultstore.h"

#define PAGE 4096u
#define DICT_SIZE 8192u

struct frame_fixture {
    struct ramet_objstore *memory;
    struct ramet_objstore *store; /* counts and fails; over memory */
    struct ramet_frame_reader *reader;
    uint8_t dict[DICT_SIZE];
    size_t dict_len;
};

/* What a visitor of many frames saw, and is to do. */
struct visited {
    uint32_t seen[64]; /* first pages, in order */
    size_t count;
    size_t fail_at; /* count at which the visitor fails; 0: never */
};

/* Page `pgno`: text-like, different for each. */
void fill_page(uint8_t page[PAGE], uint32_t pgno);
/* For cmocka; *state is the fixture. */
int frame_setup(void **state);
int frame_teardown(void **state);
/* Put `len` bytes behind `before` bytes of filling into segment `id`. */
struct ramet_extent place_bytes(struct frame_fixture *f, uint8_t id,
                                const void *bytes, size_t len, size_t before);
/* A plain frame of pages first_pgno.., in a segment of its own. */
struct ramet_frame put_frame(struct frame_fixture *f, uint8_t id,
                             uint32_t first_pgno, uint32_t count);
/* The fixture's dictionary, in a segment of its own; and a page made with it. */
struct ramet_extent put_dict(struct frame_fixture *f, uint8_t id);
struct ramet_frame
put_dict_frame(struct frame_fixture *f, uint8_t id, uint32_t pgno,
               const struct ramet_extent *base);
/* Of a `struct visited`: are the pages what they must be? */
enum ramet_rc visit(void *ctx, const struct ramet_frame *frame,
                    const uint8_t *pages, size_t len, struct ramet_err *err);
enum ramet_rc
read_many(struct frame_fixture *f, const struct ramet_frame *frames,
          size_t count, struct visited *visited);

#endif
