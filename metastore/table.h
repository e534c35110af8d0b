/*
 * table.h - the frame tables of a commit's segments: page -> frame.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_TABLE_H
#define RAMET_METASTORE_TABLE_H

#include "metastore/history_core.h"

/* Looks pages up in tables; keeps the chunk that it used last. */
struct ramet_table_cursor {
    struct ramet_history *history;
    uint32_t last_wanted; /* chunks up to this page may be read ahead */
    struct ramet_sid segment;
    uint64_t offset_bytes;
    struct ramet_frame *frames;
    uint32_t frame_count;
};
void
ramet_table_cursor_init(struct ramet_table_cursor *cursor,
                        struct ramet_history *history, uint32_t last_wanted);
void ramet_table_cursor_done(struct ramet_table_cursor *cursor);
/* The frame of a page that `commit` changed. RAMET_ECORRUPT if its tables
 * don't name one. */
RAMET_NODISCARD enum ramet_rc
ramet_table_find(struct ramet_table_cursor *cursor,
                 const struct ramet_commit_object *commit, uint32_t pgno,
                 struct ramet_frame *out_frame, struct ramet_err *err);
/* Before frames are looked for: of the chunks that name the frame of
 * located[i].image_pgno in commits[i] (NULL: none) those that are not in the cache are
 * read into it, all at once, where the store takes many reads at a time. What is damaged
 * is left for ramet_table_find() to find. */
RAMET_NODISCARD enum ramet_rc
ramet_table_bring(struct ramet_history *history,
                  const struct ramet_commit_object *const *commits,
                  const struct ramet_located *located, size_t count,
                  struct ramet_err *err);
/* All frames of chunk `index` of a segment, read and verified. */
RAMET_NODISCARD enum ramet_rc
ramet_table_cursor_load(struct ramet_table_cursor *cursor,
                        const struct ramet_commit_object *commit,
                        const struct ramet_segment_info *segment,
                        uint32_t index, struct ramet_err *err);

#endif
