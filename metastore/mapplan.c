/*
 * mapplan.c - making a page map: whether what changed goes into a roll-up or
 * into the tree, and the roll-up itself. Why so:
 * docs/decisions/0020-roll-ups.md.
 *
 *   (1) A new roll-up takes in those of the old map, newest first, until the
 *       next is of a larger size class than what it would be itself; so there
 *       are as many as classes at most, and each page is written once a class
 *       or so.
 *   (2) One that would have nothing under it but the tree becomes part of that
 *       as soon as it has a good part of the bytes of the leaves that it
 *       touches, or too many pages.
 *   (3) Memory: the set of the pages that are taken in, one piece, one batch of
 *       pages, and what mapbuild.c takes.
 */
#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/head_cache.h"
#include "metastore/map.h"
#include "metastore/mapbuild.h"
#include "metastore/node_cache.h"

/* What takes how much in a roll-up, about: a page with an image, one with a delta over an
 * image from before, and a block of these. */
#define IMAGE_BYTES 30u
#define DELTA_BYTES 9u
#define BLOCK_BYTES 22u

const struct ramet_map_sizes ramet_map_sizes = {
    .inside_bytes = 8u << 10,
    .middle_bytes = 96u << 10,
    .bytes_a_leaf = 550,
    .pages_most = 128u << 10,
    .pages_a_piece = RAMET_PIECE_RUNS_MAX,
};

enum size_class { CLASS_INSIDE, CLASS_MIDDLE, CLASS_LARGE };

struct plan {
    const struct ramet_overlay *overlay;
    struct ramet_map_sizes sizes;
    struct ramet_map_root old;
    struct ramet_map_writer writer;
    struct ramet_hash commit_hash;
    bool in_tree;
    unsigned taken; /* how many roll-ups of the old map go into the new one */
    struct ramet_pageset rolled; /* the pages that these have */
    struct ramet_pageset pages;  /* the same, and those of the overlay */
    /* The roll-up that is made: */
    struct ramet_piece_ref *pieces;
    unsigned piece_count;
    struct ramet_buf piece;
    struct ramet_piece_walk walk;
    uint32_t pgnos[RAMET_PIECE_RUNS_MAX];
    struct ramet_located located[RAMET_PIECE_RUNS_MAX];
    struct ramet_run_page run_pages[RAMET_PIECE_RUNS_MAX];
};

/* ---- what to make --------------------------------------------------------- */

static enum size_class
class_of(const struct plan *plan, uint64_t bytes)
{
    assert(plan->sizes.inside_bytes <= plan->sizes.middle_bytes);
    if (bytes <= plan->sizes.inside_bytes)
        return CLASS_INSIDE;
    return bytes <= plan->sizes.middle_bytes ? CLASS_MIDDLE : CLASS_LARGE;
}

static uint64_t
rollup_bytes(const struct ramet_rollup *rollup)
{
    uint64_t bytes = 0;

    assert(rollup->from < rollup->to);
    for (unsigned i = 0; i < rollup->piece_count; i++)
        bytes += rollup->pieces[i].node.length_bytes;
    return bytes;
}

/* What the pages of the overlay will take. */
static uint64_t
overlay_bytes(const struct plan *plan)
{
    const uint64_t pages = ramet_pageset_count(&plan->pages);
    uint64_t images = 0, blocks = 0;

    for (unsigned i = 0; i < plan->overlay->commit_count; i++) {
        images += ramet_pageset_count(&plan->overlay->commits[i]->changed);
        blocks += plan->overlay->commits[i]->deltas.extent.block_count;
    }
    if (images > pages)
        images = pages;
    assert(images <= pages);
    return images * IMAGE_BYTES + (pages - images) * DELTA_BYTES +
           blocks * BLOCK_BYTES;
}

static enum ramet_rc
add_overlay(struct plan *plan, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(plan->overlay->commit_count <= RAMET_MAP_EVERY_COMMITS + 1);
    for (unsigned i = 0; rc == RAMET_OK && i < plan->overlay->commit_count;
         i++) {
        const struct ramet_commit_object *const commit =
            plan->overlay->commits[i];

        rc = ramet_pageset_add_set(&plan->pages, &commit->changed);
        if (rc == RAMET_OK)
            rc = ramet_pageset_add_set(&plan->pages, &commit->deltas.pages);
    }
    if (rc != RAMET_OK)
        return RAMET_FAIL(err, rc, "page map: set of changed pages");
    return RAMET_OK;
}

static enum ramet_rc
add_run(const struct ramet_run_walk *runs, const struct ramet_rollup *rollup,
        struct ramet_pageset *set, struct ramet_err *err)
{
    const struct ramet_run run = {(uint32_t)runs->start,
                                  (uint32_t)(runs->next - 1)};

    assert(runs->any && runs->start >= 1 && runs->next > runs->start);
    if (runs->lsn <= rollup->from)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "page map: page %" PRIu32 " of a roll-up after LSN "
                          "%" PRIu64 " changed before it",
                          run.first, rollup->from);
    if (ramet_pageset_add_run(set, run) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "page map: set of pages");
    return RAMET_OK;
}

/* The pages of one piece of the old map. */
static enum ramet_rc
add_piece(struct plan *plan, const struct ramet_rollup *rollup,
          const struct ramet_piece_ref *piece, struct ramet_pageset *set,
          struct ramet_err *err)
{
    struct ramet_history *const history = plan->overlay->history;
    const struct ramet_node_ref *const ref = &piece->node;
    struct ramet_lru_entry *entry;
    bool more = true;
    enum ramet_rc rc;

    assert(piece->first >= 1 && piece->first <= piece->last);
    rc = ramet_history_load_nodes(history, &ref, 1, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_piece_start(&plan->walk, ramet_loaded_node(entry)->bytes,
                           &history->volume, piece, err);
    while (rc == RAMET_OK && more) {
        rc = ramet_piece_next(&plan->walk, &more, err);
        if (rc == RAMET_OK && more)
            rc = add_run(&plan->walk.runs, rollup, set, err);
    }
    ramet_history_release(history, entry);
    return rc;
}

static enum ramet_rc
add_rollup(struct plan *plan, const struct ramet_rollup *rollup,
           struct ramet_err *err)
{
    struct ramet_pageset set;
    enum ramet_rc rc = RAMET_OK;

    assert(rollup->piece_count <= RAMET_PIECES_MAX);
    ramet_pageset_init(&set);
    for (unsigned i = 0; rc == RAMET_OK && i < rollup->piece_count; i++)
        rc = add_piece(plan, rollup, &rollup->pieces[i], &set, err);
    if (rc == RAMET_OK &&
        ramet_pageset_add_set(&plan->rolled, &set) != RAMET_OK)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "page map: set of pages");
    ramet_pageset_done(&set);
    return rc;
}

static enum ramet_rc
add_rollups(struct plan *plan, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(plan->taken <= plan->old.top.count);
    for (unsigned r = 0; rc == RAMET_OK && r < plan->taken; r++)
        rc = add_rollup(plan, &plan->old.top.rollups[r], err);
    if (rc == RAMET_OK &&
        ramet_pageset_add_set(&plan->pages, &plan->rolled) != RAMET_OK)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "page map: set of pages");
    return rc;
}

/* How many leaves have any of these pages. */
static uint64_t
leaves_of(const struct ramet_pageset *pages)
{
    uint64_t leaves = 0, next = 0; /* the first leaf that was not counted */

    for (size_t i = 0; i < pages->run_count; i++) {
        const uint64_t first = (pages->runs[i].first - 1) / RAMET_LEAF_PAGES;
        const uint64_t end = (pages->runs[i].last - 1) / RAMET_LEAF_PAGES + 1;

        if (end > next)
            leaves += end - (first > next ? first : next);
        assert(first < end);
        next = end > next ? end : next;
    }
    return leaves;
}

/* Nothing of what was there before counts any more, or the tree is one leaf,
 * which a top would have to hold anyway. */
static bool
needs_no_rollup(const struct ramet_overlay *overlay)
{
    assert(overlay->commit_count <= RAMET_MAP_EVERY_COMMITS + 1);
    return overlay->commit_count == 0 || ramet_overlay_least(overlay) == 0 ||
           ramet_map_level_for(overlay->page_count) == 0;
}

/* Into the tree, with all roll-ups. */
static void
choose_tree(struct plan *plan)
{
    assert(plan->old.top.count <= RAMET_ROLLUPS_MAX);
    plan->in_tree = true;
    plan->taken = plan->overlay->commit_count > 0 &&
                          ramet_overlay_least(plan->overlay) == 0
                      ? 0 /* none of their pages is left */
                      : plan->old.top.count;
}

static enum ramet_rc
choose(struct plan *plan, struct ramet_err *err)
{
    const struct ramet_top *const old = &plan->old.top;
    uint64_t bytes, leaves;
    enum ramet_rc rc;

    assert(plan->taken == 0 && !plan->in_tree);
    rc = add_overlay(plan, err);
    if (rc != RAMET_OK)
        return rc;
    if (needs_no_rollup(plan->overlay)) {
        choose_tree(plan);
        return add_rollups(plan, err);
    }
    bytes = overlay_bytes(plan);
    while (plan->taken < old->count &&
           class_of(plan, bytes) >=
               class_of(plan, rollup_bytes(&old->rollups[plan->taken])))
        bytes += rollup_bytes(&old->rollups[plan->taken++]); /* invariant (1) */
    rc = add_rollups(plan, err);
    if (rc != RAMET_OK || plan->taken < old->count)
        return rc;
    leaves = leaves_of(&plan->pages);
    if (ramet_pageset_count(&plan->pages) > plan->sizes.pages_most ||
        (leaves > 0 && bytes / plan->sizes.bytes_a_leaf >= leaves))
        choose_tree(plan); /* invariant (2) */
    return RAMET_OK;
}

/* ---- the roll-up ---------------------------------------------------------- */

static enum ramet_rc
add_piece_ref(struct plan *plan, const struct ramet_piece_ref *piece,
              struct ramet_err *err)
{
    assert(plan->pieces != NULL && piece->first <= piece->last);
    assert(plan->piece_count == 0 ||
           piece->first > plan->pieces[plan->piece_count - 1].last);
    if (plan->piece_count == RAMET_PIECES_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG,
                          "page map: a roll-up of more "
                          "than %u pieces",
                          RAMET_PIECES_MAX);
    plan->pieces[plan->piece_count++] = *piece;
    return RAMET_OK;
}

/* Encode pages [0, count) of run_pages into `piece`; of those that do not fit
 * into one node, *out_count. */
static enum ramet_rc
encode_piece(struct plan *plan, const struct ramet_run_page *pages,
             unsigned count, struct ramet_piece_ref *out, unsigned *out_count,
             struct ramet_err *err)
{
    assert(count >= 1);
    for (;; count /= 2) {
        enum ramet_rc rc;

        ramet_buf_clear(&plan->piece);
        rc = ramet_piece_encode(pages, count, &out->node.latest, &plan->piece,
                                err);
        if (rc == RAMET_OK)
            rc = plan->piece.failed;
        if (rc == RAMET_ETOOBIG && count > 1)
            continue;
        if (rc != RAMET_OK)
            return RAMET_FAIL(err, rc, "page map: piece of a roll-up");
        out->first = pages[0].pgno;
        out->last = pages[count - 1].pgno;
        out->node.length_bytes = (uint32_t)plan->piece.len;
        *out_count = count;
        return RAMET_OK;
    }
}

/* Write pages [0, count) of run_pages. `alone`: they are all of the roll-up. */
static enum ramet_rc
write_pieces(struct plan *plan, unsigned count, bool alone,
             struct ramet_err *err)
{
    unsigned done = 0;

    assert(count <= RAMET_PIECE_RUNS_MAX);
    while (done < count) {
        struct ramet_piece_ref piece = {.first = 0};
        unsigned n = 0;
        enum ramet_rc rc;

        rc = encode_piece(plan, plan->run_pages + done, count - done, &piece,
                          &n, err);
        piece.inside = alone && n == count &&
                       piece.node.length_bytes <= plan->sizes.inside_bytes;
        if (rc == RAMET_OK && !piece.inside) {
            const uint64_t latest = piece.node.latest;

            rc = ramet_map_writer_add(&plan->writer, &plan->piece, &piece.node,
                                      err);
            piece.node.latest = latest;
        }
        if (rc == RAMET_OK)
            rc = add_piece_ref(plan, &piece, err);
        if (rc != RAMET_OK)
            return rc;
        done += n;
        assert(n >= 1 && done <= count);
    }
    return RAMET_OK;
}

/* The next pages of the set from `*pgno` on, and what is known of them above the
 * roll-ups that stay. Those that are zeros now are left out. */
static enum ramet_rc
next_pages(struct plan *plan, uint32_t *pgno, unsigned *out_count,
           struct ramet_err *err)
{
    unsigned asked = 0, count = 0;
    enum ramet_rc rc;

    assert(plan->sizes.pages_a_piece >= 1 &&
           plan->sizes.pages_a_piece <= RAMET_PIECE_RUNS_MAX);
    for (; *pgno != 0 && asked < plan->sizes.pages_a_piece;
         *pgno = ramet_pageset_next(&plan->pages, *pgno))
        plan->pgnos[asked++] = *pgno;
    rc = ramet_overlay_locate_above(plan->overlay, plan->taken, plan->pgnos,
                                    asked, plan->located, err);
    if (rc != RAMET_OK)
        return rc;
    for (unsigned i = 0; i < asked; i++) {
        if (plan->located[i].image.page_count > 0 ||
            ramet_located_has_delta(&plan->located[i]))
            plan->run_pages[count++] =
                (struct ramet_run_page){plan->pgnos[i], &plan->located[i]};
    }
    assert(count <= asked);
    *out_count = count;
    return RAMET_OK;
}

/* The page count at the LSN that the overlay's map is of; where nobody can say it,
 * more than there can be. */
static enum ramet_rc
count_at_map(const struct ramet_overlay *overlay, uint64_t *out_count,
             struct ramet_err *err)
{
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(out_count != NULL);
    *out_count = overlay->map.lsn == 0 ? 0 : UINT64_MAX;
    if (overlay->map.lsn == 0)
        return RAMET_OK;
    rc = ramet_history_load_head(overlay->history, overlay->map.lsn, false,
                                 &entry, err);
    if (rc == RAMET_ENOTFOUND)
        return RAMET_OK;
    if (rc != RAMET_OK)
        return rc;
    *out_count = ramet_loaded_head(entry)->commit.page_count;
    ramet_history_release(overlay->history, entry);
    return RAMET_OK;
}

/* What the new roll-up says but for its pieces. */
static enum ramet_rc
describe(const struct plan *plan, struct ramet_rollup *out,
         struct ramet_err *err)
{
    const struct ramet_overlay *const overlay = plan->overlay;
    const struct ramet_top *const old = &plan->old.top;
    uint64_t before;
    enum ramet_rc rc;

    assert(!plan->in_tree && overlay->commit_count > 0);
    *out = (struct ramet_rollup){
        .from = plan->taken > 0 ? old->rollups[plan->taken - 1].from
                                : overlay->map.lsn,
        .to = plan->writer.lsn,
        .least = ramet_overlay_least(overlay),
    };
    rc = count_at_map(overlay, &before, err);
    for (unsigned i = overlay->commit_count; rc == RAMET_OK && i > 0; i--) {
        const struct ramet_commit_object *const commit =
            overlay->commits[i - 1];

        if (commit->least_page_count < before)
            out->gone = commit->lsn;
        before = commit->page_count;
    }
    for (unsigned r = 0; r < plan->taken; r++) {
        if (old->rollups[r].least < out->least)
            out->least = old->rollups[r].least;
        if (old->rollups[r].gone > out->gone)
            out->gone = old->rollups[r].gone;
    }
    return rc;
}

static enum ramet_rc
make_pieces(struct plan *plan, struct ramet_err *err)
{
    const uint64_t all = ramet_pageset_count(&plan->pages);
    uint32_t pgno = ramet_pageset_next(&plan->pages, 0);
    enum ramet_rc rc = RAMET_OK;

    assert(plan->pieces == NULL && plan->piece_count == 0);
    plan->pieces = ramet_calloc(RAMET_PIECES_MAX, sizeof(plan->pieces[0]));
    if (plan->pieces == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "page map: roll-up");
    while (rc == RAMET_OK && pgno != 0) {
        unsigned count = 0;

        rc = next_pages(plan, &pgno, &count, err);
        if (rc == RAMET_OK)
            rc = write_pieces(plan, count, all <= plan->sizes.pages_a_piece,
                              err);
    }
    return rc;
}

/* The top of a map whose newest roll-up is `rollup`, into `out`. */
static enum ramet_rc
encode_top(struct plan *plan, const struct ramet_rollup *rollup,
           struct ramet_buf *out, struct ramet_err *err)
{
    struct ramet_history *const history = plan->overlay->history;
    const struct ramet_top *const old = &plan->old.top;
    const struct ramet_node_ref *const tree = &old->tree;
    struct ramet_top top = {.count = 1 + old->count - plan->taken};
    struct ramet_lru_entry *entry = NULL;
    enum ramet_rc rc;

    assert(plan->taken <= old->count);
    if (top.count > RAMET_ROLLUPS_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "page map: %u roll-ups",
                          top.count);
    top.rollups[0] = *rollup;
    for (unsigned i = 1; i < top.count; i++)
        top.rollups[i] = old->rollups[plan->taken + i - 1];
    rc = ramet_history_load_nodes(history, &tree, 1, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_top_encode(&top, &plan->piece,
                     entry == NULL ? NULL : ramet_loaded_node(entry)->bytes,
                     tree->length_bytes, out);
    ramet_history_release(history, entry);
    return out->failed == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, out->failed, "page map: top");
}

/* A roll-up over the old tree. */
static enum ramet_rc
make_rollup(struct plan *plan, struct ramet_node_ref *out_root,
            struct ramet_err *err)
{
    struct ramet_rollup rollup;
    struct ramet_buf top;
    enum ramet_rc rc;

    assert(!plan->in_tree);
    rc = describe(plan, &rollup, err);
    ramet_pageset_truncate(&plan->pages, plan->overlay->page_count);
    if (rc == RAMET_OK)
        rc = make_pieces(plan, err);
    if (rc != RAMET_OK)
        return rc;
    assert(rollup.from < rollup.to);
    rollup.pieces = plan->pieces;
    rollup.piece_count = plan->piece_count;
    ramet_buf_init(&top, RAMET_NODE_BYTES_MAX);
    rc = encode_top(plan, &rollup, &top, err);
    if (rc == RAMET_OK)
        rc = ramet_map_writer_add(&plan->writer, &top, out_root, err);
    ramet_buf_done(&top);
    return rc;
}

/* ---- a map ---------------------------------------------------------------- */

static enum ramet_rc
make(struct plan *plan, struct ramet_map_ref *out_map, struct ramet_err *err)
{
    struct ramet_node_ref root = {.length_bytes = 0};
    enum ramet_rc rc;

    assert(plan->writer.lsn == out_map->lsn);
    rc = plan->in_tree
             ? ramet_tree_build(plan->overlay, &plan->old, &plan->rolled,
                                &plan->writer, &root, err)
             : make_rollup(plan, &root, err);
    if (rc != RAMET_OK || root.length_bytes == 0)
        return rc;
    out_map->id = plan->writer.id;
    out_map->root_offset_bytes = root.offset_bytes;
    out_map->root_length_bytes = root.length_bytes;
    out_map->root_hash = root.hash;
    return ramet_map_writer_finish(&plan->writer, &plan->commit_hash, &root,
                                   err);
}

/* The roll-ups have no room in a top: begin anew, with the tree. */
static enum ramet_rc
make_tree_instead(struct plan *plan, struct ramet_map_ref *out_map,
                  struct ramet_err *err)
{
    const uint64_t lsn = plan->writer.lsn;
    enum ramet_rc rc;

    assert(!plan->in_tree);
    ramet_map_writer_done(&plan->writer);
    rc =
        ramet_map_writer_begin(&plan->writer, plan->overlay->history, lsn, err);
    choose_tree(plan);
    ramet_pageset_clear(&plan->rolled);
    if (rc == RAMET_OK)
        rc = add_rollups(plan, err);
    return rc == RAMET_OK ? make(plan, out_map, err) : rc;
}

enum ramet_rc
ramet_map_build(const struct ramet_overlay *overlay, uint64_t lsn,
                const struct ramet_hash *commit_hash,
                struct ramet_map_ref *out_map, struct ramet_err *err)
{
    struct plan *const plan = ramet_calloc(1, sizeof(*plan));
    struct ramet_map_ref map = {.volume = overlay->history->volume,
                                .lsn = lsn,
                                .hash_algo = RAMET_HASH_XXH3_128};
    enum ramet_rc rc;

    assert(lsn >= 1);
    assert(overlay->map.lsn <= lsn);
    if (plan == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "page map of LSN %" PRIu64, lsn);
    plan->overlay = overlay;
    plan->sizes = overlay->history->map_sizes;
    plan->commit_hash = *commit_hash;
    ramet_pageset_init(&plan->rolled);
    ramet_pageset_init(&plan->pages);
    ramet_buf_init(&plan->piece, RAMET_NODE_BYTES_MAX);
    rc = ramet_map_writer_begin(&plan->writer, overlay->history, lsn, err);
    if (rc == RAMET_OK)
        rc = ramet_map_root_open(overlay->history, &overlay->map, &plan->old,
                                 err);
    if (rc == RAMET_OK)
        rc = choose(plan, err);
    if (rc == RAMET_OK)
        rc = make(plan, &map, err);
    if (rc == RAMET_ETOOBIG && !plan->in_tree)
        rc = make_tree_instead(plan, &map, err);
    ramet_map_root_close(&plan->old);
    ramet_map_writer_done(&plan->writer);
    ramet_buf_done(&plan->piece);
    ramet_free(plan->pieces);
    ramet_pageset_done(&plan->pages);
    ramet_pageset_done(&plan->rolled);
    ramet_free(plan);
    if (rc == RAMET_OK)
        *out_map = map;
    return rc;
}
