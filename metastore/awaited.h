/*
 * awaited.h - pages whose frames come by themselves, one after the other, as a
 * server sends them: located first, and made into pages as each frame is here.
 *
 *   (1) A page is given out only if this LSN finds it in that frame, and the
 *       frame's bytes have the hash that their parent names.
 *   (2) A page that is awaited is given out once.
 *   (3) A page that is stored as a delta is not given out: it is made of two
 *       ranges, and read when both are kept. Who does says so.
 *
 * One thread at a time. Layer: metastore.
 */
#ifndef RAMET_METASTORE_AWAITED_H
#define RAMET_METASTORE_AWAITED_H

#include "metastore/history.h"
#include "pagestore/delta.h"

#define RAMET_AWAITED_DELTAS_MAX (8u << 20)

struct ramet_awaited;

/* `history` is borrowed. Pages that come along in a frame are given out too if
 * `want_extra`. RAMET_ENOTFOUND and others as ramet_history_head_of(). */
RAMET_NODISCARD enum ramet_rc
ramet_awaited_new(struct ramet_history *history, const struct ramet_point *at,
                  bool want_extra, ramet_page_visit *visit, void *ctx,
                  struct ramet_awaited **out_awaited, struct ramet_err *err);
void ramet_awaited_free(struct ramet_awaited *awaited); /* NULL is fine */
uint32_t ramet_awaited_page_size(const struct ramet_awaited *awaited);

/* Await these pages (ascending, none that is awaited). Those of zeros are given
 * out at once. On failure none is added; errors as ramet_history_locate(), and
 * the visitor's. */
RAMET_NODISCARD enum ramet_rc
ramet_awaited_add(struct ramet_awaited *awaited, const uint32_t *pgnos,
                  size_t count, struct ramet_err *err);
/* Where `pgno` lies; NULL: it was not added, was given out, or is zeros. */
const struct ramet_located *
ramet_awaited_located(const struct ramet_awaited *awaited, uint32_t pgno);
/* The delta of an awaited page of (3) came out of its block: a copy is kept, without a
 * sum, in place of what was kept before. False: the page awaits none, or there is no room
 * (RAMET_AWAITED_DELTAS_MAX bytes in all). */
bool ramet_awaited_keep_delta(struct ramet_awaited *awaited, uint32_t pgno,
                              const struct ramet_delta *delta);
/* It; NULL: none is kept. */
const struct ramet_delta *
ramet_awaited_delta(const struct ramet_awaited *awaited, uint32_t pgno);
void ramet_awaited_drop_delta(struct ramet_awaited *awaited, uint32_t pgno);
/* Was it added, whether it was given out since or not? (Zeros are not.) */
bool ramet_awaited_knows(const struct ramet_awaited *awaited, uint32_t pgno);
/* A page of (3) was given out by who made it. */
void ramet_awaited_given(struct ramet_awaited *awaited, uint32_t pgno);
/* Some bytes are here: if they are a frame that is awaited, *out_taken is true,
 * and its pages are given out, or RAMET_ECORRUPT: they are damaged, and go on
 * being awaited. Also the visitor's errors. */
RAMET_NODISCARD enum ramet_rc
ramet_awaited_take(struct ramet_awaited *awaited, const char *key,
                   uint64_t offset, const uint8_t *bytes, size_t len,
                   bool *out_taken, struct ramet_err *err);

/* Are these bytes one of the two ranges that an awaited page of (3) is made of? A
 * guess that is wrong once in 2^64: what follows from it must be right either way. */
bool ramet_awaited_is_part(const struct ramet_awaited *awaited, const char *key,
                           uint64_t offset);

/* A page that is awaited and has its delta in the block at that place; 0: none. A guess
 * as well. */
uint32_t ramet_awaited_page_of_block(const struct ramet_awaited *awaited,
                                     const char *key, uint64_t offset);

#endif
