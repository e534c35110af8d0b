/*
 * layout.h - images of a commit in the order in which they are laid into a segment:
 * within a group, that of the trees (sqliteformat/tree_order.h; what no tree reaches
 * comes last, ascending).
 *
 *   (1) groups ascend, and a segment ends with one: so segments ascend, too
 *   (2) nothing is fetched in order to lay out
 *   (3) memory: a group of pages, 16 MiB, and 4 bytes for each page of the volume, of
 *       which the commit has an eighth at least; 12 more while the order is looked for
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_LAYOUT_H
#define RAMET_CLIENT_SYNC_LAYOUT_H

#include "client/sync/builder.h"

struct ramet_layout;

/* A page, to be laid behind those before; the first of a group, or not. */
typedef enum ramet_rc
ramet_layout_put(void *ctx, uint32_t pgno, const uint8_t *page,
                 bool begins_group, struct ramet_err *err);

/*
 * For the pages of `job`, `total` of them. *out_layout NULL: they are laid as they
 * come, since they are few, of no database, or share frames.
 */
RAMET_NODISCARD enum ramet_rc
ramet_layout_new(const struct ramet_builder *job,
                 const struct ramet_commit_object *commit, uint64_t total,
                 ramet_layout_put *put, void *ctx,
                 struct ramet_layout **out_layout, struct ramet_err *err);
/* Pages ascend; a copy is kept until its group is whole. RAMET_ENOMEM, or what
 * `put` returns. */
RAMET_NODISCARD enum ramet_rc
ramet_layout_add(struct ramet_layout *layout, uint32_t pgno,
                 const uint8_t *page, struct ramet_err *err);
/* No more follow. */
RAMET_NODISCARD enum ramet_rc
ramet_layout_end(struct ramet_layout *layout, struct ramet_err *err);
void ramet_layout_free(struct ramet_layout *layout);

#endif
