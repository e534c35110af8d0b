/*
 * question_pages.h - pages of one snapshot, for a statement that is run here.
 *
 * Where the store takes its time (RAMET_STORE_READS_PARTS), a page that is missing
 * comes with those that a predictor expects to be read next (prefetch/): one call
 * with many requests under way, where it was a round trip a page. Elsewhere pages
 * are read one by one.
 *
 *   (1) What was brought and is kept takes RAMET_QUESTION_KEPT_BYTES at most.
 *   (2) A page that is not asked for fails nobody.
 *
 * One thread. Layer: server.
 */
#ifndef RAMET_SERVER_QUESTION_PAGES_H
#define RAMET_SERVER_QUESTION_PAGES_H

#include "metastore/history.h"
#include "prefetch/prefetch.h"

#define RAMET_QUESTION_KEPT_BYTES (8u << 20)

struct ramet_question_pages;

/* `history` is borrowed, `head` copied. No I/O. */
RAMET_NODISCARD enum ramet_rc
ramet_question_pages_open(struct ramet_history *history,
                          const struct ramet_head *head, bool is_far,
                          struct ramet_question_pages **out,
                          struct ramet_err *err);
/* The history may be gone. NULL is fine. */
void ramet_question_pages_close(struct ramet_question_pages *pages);

/* Page `pgno`, from 1 to the snapshot's page count; good until the next call. */
RAMET_NODISCARD enum ramet_rc
ramet_question_pages_read(struct ramet_question_pages *pages, uint32_t pgno,
                          const uint8_t **out_page, struct ramet_err *err);
/* Brought ahead so far; what was not read is in vain. */
struct ramet_prefetch_counts
ramet_question_pages_counts(const struct ramet_question_pages *pages);

#endif
