/*
 * table_impl.h - what table.c and table_bring.c share.
 *
 * Layer: metastore, internal.
 */
#ifndef RAMET_METASTORE_TABLE_IMPL_H
#define RAMET_METASTORE_TABLE_IMPL_H

#include "metastore/table.h"

/* The segment of `commit` that may have an image of the page, or NULL. */
const struct ramet_segment_info *
ramet_table_segment(const struct ramet_commit_object *commit, uint32_t pgno);
/* The chunk that names its frame, if one does. */
uint32_t
ramet_table_chunk_of(const struct ramet_segment_info *segment, uint32_t pgno);
bool
ramet_table_has_chunk(struct ramet_history *history,
                      const struct ramet_segment_info *segment, uint32_t index);
/* Verify one chunk's bytes and cache them; the entry is held. RAMET_ECORRUPT. */
RAMET_NODISCARD enum ramet_rc
ramet_table_keep_chunk(struct ramet_history *history,
                       const struct ramet_segment_info *segment, uint32_t index,
                       const uint8_t *bytes, struct ramet_lru_entry **out_entry,
                       struct ramet_err *err);
/* The chunk after the last that one read beginning at `index` may take: those up to
 * the page `last_wanted`, or some more for who goes through the segment. */
uint32_t ramet_table_ahead(struct ramet_history *history,
                           const struct ramet_segment_info *segment,
                           uint32_t index, uint32_t last_wanted);

#endif
