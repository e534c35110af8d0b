/*
 * head_cache_impl.h - what head_cache.c and head_bring.c share.
 *
 * Layer: metastore, internal.
 */
#ifndef RAMET_METASTORE_HEAD_CACHE_IMPL_H
#define RAMET_METASTORE_HEAD_CACHE_IMPL_H

#include "metastore/head_cache.h"

void ramet_head_free(void *head); /* NULL is fine */
/* Decode `got` bytes, with which the commit object of `lsn` begins; what is
 * missing of a head that is wanted whole is read. They are `head`'s, or freed. */
RAMET_NODISCARD enum ramet_rc
ramet_head_take(struct ramet_history *history, uint64_t lsn, bool whole,
                bool anew, uint8_t *bytes, size_t got,
                struct ramet_loaded_head *head, struct ramet_err *err);
/* `head` is the cache's from here on, or freed. */
RAMET_NODISCARD enum ramet_rc
ramet_head_enter(struct ramet_history *history, uint64_t lsn,
                 struct ramet_loaded_head *head,
                 struct ramet_lru_entry **out_entry, struct ramet_err *err);
/* What came behind a head: who reads the commit's pages from far away need not ask for
 * them again. */
void ramet_head_keep_inline(struct ramet_history *history, uint64_t lsn,
                            const uint8_t *bytes, size_t got);

#endif
