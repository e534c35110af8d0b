/*
 * line.h - a volume in memory, behind a store that fails: with two commits what the
 * tests of appending to a line of commits begin with.
 */
#ifndef RAMET_TESTS_METASTORE_LINE_H
#define RAMET_TESTS_METASTORE_LINE_H

#include "tests/metastore/model.h"

struct line {
    struct ramet_objstore *inner;
    struct ramet_objstore *store; /* a faultstore over it */
    struct model model;
};

/* One without commits yet; `seed` of its model. */
void line_open(struct line *f, uint64_t seed);
void line_close(struct line *f);
/* cmocka setup and teardown of one with two; *state is the line. */
int line_setup(void **state);
int line_teardown(void **state);

/* A commit of page 2 on top of the newest, not yet appended. */
void line_encode_one(struct line *f, struct ramet_cid *out_id,
                     struct ramet_buf *out);
/* Hashes that fit, of a head that was changed by hand. */
void line_seal(struct ramet_buf *object);
enum ramet_rc line_append(struct line *f, const struct ramet_buf *object,
                          struct ramet_head *out_winner);
uint64_t line_newest_lsn(struct line *f);
/* As no client does it. */
void line_remove_commit(struct line *f, uint64_t lsn);

#endif
