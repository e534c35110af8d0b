/*
 * prepare.c - what a commit needs of history before it is encoded, and
 * the page maps that keep opening constant.
 *
 *   (1) No commit lies further past its map than 64 commits and 32 KiB of
 *       heads. Whoever would, writes a map first.
 *   (2) A map is begun, and one that somebody made is looked for, where a commit
 *       lies far past its own: at half of either, or at a quarter of the commits
 *       where each head is a request for whoever opens the volume.
 *   (3) A map is adopted only if it says that it is of the very commit that the
 *       base's line has at its LSN, walked down from the base by hashes: in a store
 *       that went back in time a map of the lost line may still lie about, and its
 *       heads in a cache.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/first_page.h"
#include "metastore/head_cache.h"
#include "metastore/map.h"
#include "metastore/overlay.h"

#define LOOK_EVERY_COMMITS 8u
#define FAR_BYTES (RAMET_MAP_EVERY_HEAD_BYTES / 2)

/* ---- when ----------------------------------------------------------------- */

static bool
is_paid(const struct ramet_history *history)
{
    assert(history->store != NULL);
    return (history->store->traits & RAMET_STORE_IS_PAID) != 0;
}

static unsigned
far_commits(const struct ramet_history *history)
{
    return is_paid(history) ? RAMET_HEADS_DEAR : RAMET_MAP_EVERY_COMMITS / 2;
}

/* Invariant (2). */
static bool
is_far(const struct ramet_history *history, uint64_t commits,
       uint64_t head_bytes)
{
    assert(far_commits(history) <= RAMET_MAP_EVERY_COMMITS);
    return commits >= far_commits(history) || head_bytes >= FAR_BYTES;
}

/* Who pushes once in a process does not know what the one before made, and a look
 * costs a LIST: so where requests are paid maps are made and looked for at every
 * eighth commit only, unless the bytes are short. */
static bool
is_turn(uint64_t commits, uint64_t head_bytes)
{
    return commits % LOOK_EVERY_COMMITS == 0 || head_bytes >= FAR_BYTES;
}

/* ---- making maps --------------------------------------------------------- */

static enum ramet_rc
build_map_of(struct ramet_history *history, const struct ramet_point *at,
             struct ramet_map_ref *out_map, struct ramet_err *err)
{
    struct ramet_overlay overlay;
    enum ramet_rc rc;

    assert(at->lsn >= 1);
    rc = ramet_overlay_open(history, at, &overlay, err);
    if (rc != RAMET_OK)
        return rc;
    overlay.passes_over_first_page =
        true; /* what it says may be asked of maps */
    rc = ramet_map_build(&overlay, at->lsn, &at->hash, out_map, err);
    ramet_overlay_close(&overlay);
    if (rc == RAMET_OK)
        ramet_map_remember(history, out_map, &at->hash);
    return rc;
}

enum ramet_rc
ramet_history_make_map(struct ramet_history *history, uint64_t lsn,
                       struct ramet_err *err)
{
    struct ramet_known_map made;
    struct ramet_map_ref map;
    struct ramet_point at;
    struct ramet_head head;
    enum ramet_rc rc;

    rc = ramet_history_head(history, lsn, &head, err);
    if (rc != RAMET_OK)
        return rc;
    if (lsn == 0 ||
        !is_far(history, head.commits_since_map, head.head_bytes_since_map) ||
        (is_paid(history) &&
         !is_turn(head.commits_since_map, head.head_bytes_since_map)))
        return RAMET_OK;
    rc = ramet_map_find(history, head.map_lsn, lsn, false, &made, err);
    if (rc != RAMET_OK)
        return rc;
    if (made.ref.lsn > 0 && lsn - made.ref.lsn < far_commits(history))
        return RAMET_OK; /* made, and not yet referred to */
    assert(made.ref.lsn <= lsn);
    at = ramet_head_point(&head);
    return build_map_of(history, &at, &map, err);
}

/* ---- preparing ----------------------------------------------------------- */

static bool
within_limits(uint64_t commits, uint64_t head_bytes)
{
    return commits <= RAMET_MAP_EVERY_COMMITS &&
           head_bytes <= RAMET_MAP_EVERY_HEAD_BYTES;
}

/* Refer to `map`; the heads after it up to the base count. *out_done false: it is
 * of another line, by invariant (3). */
static enum ramet_rc
refer_to(struct ramet_history *history, const struct ramet_known_map *map,
         const struct ramet_point *base, struct ramet_commit_object *commit,
         bool *out_done, struct ramet_err *err)
{
    struct ramet_hash before;
    uint64_t head_bytes;
    const enum ramet_rc rc = ramet_history_heads_length(
        history, map->ref.lsn, base, &head_bytes, &before, err);

    assert(map->ref.lsn >= 1 && map->ref.lsn <= base->lsn);
    *out_done = rc == RAMET_OK && ramet_hash_equal(&before, &map->commit_hash);
    if (rc == RAMET_OK && !*out_done)
        ramet_map_forget(history, map);
    if (!*out_done)
        return rc;
    commit->map = map->ref;
    commit->commits_since_map = (uint32_t)(commit->lsn - map->ref.lsn);
    commit->head_bytes_since_map = head_bytes;
    return RAMET_OK;
}

/* Where somebody makes maps, look from time to time before there is need: shorter
 * overlays for all who read. A server makes them beside the commits; at a bucket
 * whoever pushed made one after the commit at which it was due. */
static bool
is_worth_a_look(const struct ramet_history *history,
                const struct ramet_head *base)
{
    const uint64_t commits = (uint64_t)base->commits_since_map + 1;

    assert(base->commits_since_map <= RAMET_MAP_EVERY_COMMITS);
    if (is_paid(history))
        return is_far(history, base->commits_since_map,
                      base->head_bytes_since_map) &&
               is_turn(commits, base->head_bytes_since_map);
    return (history->store->traits & RAMET_STORE_MAKES_MAPS) != 0 &&
           commits % LOOK_EVERY_COMMITS == 0;
}

/* Choose the map for a commit whose head has `head_length` bytes. */
static enum ramet_rc
choose_map(struct ramet_history *history, const struct ramet_head *base,
           const struct ramet_map_ref *base_map, uint32_t head_length,
           struct ramet_commit_object *commit, struct ramet_err *err)
{
    const uint64_t commits = (uint64_t)base->commits_since_map + 1;
    const uint64_t bytes = base->head_bytes_since_map + head_length;
    const bool fits = within_limits(commits, bytes);
    const bool look = !fits || is_worth_a_look(history, base);
    const struct ramet_point at = ramet_head_point(base);
    struct ramet_known_map map;
    bool done = false;
    enum ramet_rc rc;

    assert(base_map->lsn <= base->lsn && commit->lsn == base->lsn + 1);
    commit->map = *base_map;
    commit->commits_since_map = (uint32_t)commits;
    commit->head_bytes_since_map = base->head_bytes_since_map;
    if (fits && !is_far(history, commits, bytes))
        return RAMET_OK;
    rc = ramet_map_find(history, base_map->lsn, base->lsn, look, &map, err);
    if (rc != RAMET_OK)
        return rc;
    if (map.ref.lsn > 0)
        rc = refer_to(history, &map, &at, commit, &done, err);
    if (rc != RAMET_OK ||
        (done ? within_limits(commit->commits_since_map,
                              commit->head_bytes_since_map + head_length)
              : fits))
        return rc;
    assert(at.lsn >= 1);
    map.commit_hash = at.hash;
    rc = build_map_of(history, &at, &map.ref, err);
    if (rc == RAMET_OK)
        rc = refer_to(history, &map, &at, commit, &done, err);
    assert(rc != RAMET_OK || done);
    return rc;
}

/* Inline frames as readers will see them: absolute, in the commit itself. */
static enum ramet_rc
make_absolute(const struct ramet_commit_object *commit, uint32_t head_length,
              struct ramet_frame **out_frames, struct ramet_err *err)
{
    const uint32_t count = commit->segments[0].frame_count;
    struct ramet_frame *const frames = ramet_calloc(count, sizeof(frames[0]));

    assert(ramet_commit_is_inline(commit, 0) &&
           commit->segments[0].frames != NULL);
    if (frames == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%u frames", count);
    for (uint32_t i = 0; i < count; i++) {
        frames[i] = commit->segments[0].frames[i];
        frames[i].extent.volume = commit->volume;
        frames[i].extent.kind = RAMET_IN_COMMIT;
        memset(&frames[i].extent.segment, 0, sizeof(frames[i].extent.segment));
        frames[i].extent.lsn = commit->lsn;
        frames[i].extent.offset_bytes += ramet_commit_inline_start(head_length);
    }
    *out_frames = frames;
    return RAMET_OK;
}

static void
drop_tables(struct ramet_commit_object *commit)
{
    assert(ramet_commit_has_own_map(commit)); /* where they stand now */
    for (uint32_t i = 0; i < commit->segment_count; i++) {
        ramet_free(commit->segments[i].frames);
        ramet_free(commit->segments[i].chunks);
        commit->segments[i].frames = NULL;
        commit->segments[i].chunks = NULL;
        commit->segments[i].chunk_count = 0;
    }
    ramet_free(commit->deltas.extent.blocks);
    ramet_free(commit->deltas.names);
    commit->deltas.extent.blocks = NULL;
    commit->deltas.names = NULL;
    commit->deltas.name_count = 0;
}

/* The commit's tables are too large for its head: a map of its own LSN. */
static enum ramet_rc
own_map(struct ramet_history *history, const struct ramet_head *base,
        const struct ramet_map_ref *base_map,
        struct ramet_commit_object *commit, struct ramet_err *err)
{
    static const struct ramet_hash no_hash;
    const struct ramet_point at = ramet_head_point(base);
    struct ramet_overlay overlay = {.history = history};
    struct ramet_frame *absolute = NULL;
    struct ramet_frame *relative = NULL;
    struct ramet_map_ref map;
    uint32_t head_length;
    enum ramet_rc rc;

    commit->map = (struct ramet_map_ref){.lsn = commit->lsn};
    commit->commits_since_map = 0;
    commit->head_bytes_since_map = 0;
    if (ramet_first_page_is_due(commit, base_map))
        ramet_first_page_say(history, &at, commit);
    rc = ramet_commit_head_size(commit, RAMET_COMMIT_HEAD_MAX, &head_length,
                                err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_overlay_open(history, &at, &overlay, err);
    if (rc != RAMET_OK)
        return rc;
    commit->head_length_bytes = head_length;
    ramet_commit_index_deltas(commit);
    if (ramet_commit_is_inline(commit, 0)) {
        rc = make_absolute(commit, head_length, &absolute, err);
        if (rc != RAMET_OK)
            goto done;
        relative = commit->segments[0].frames;
        commit->segments[0].frames = absolute;
    }
    memmove(&overlay.commits[1], &overlay.commits[0],
            overlay.commit_count * sizeof(overlay.commits[0]));
    assert(overlay.commit_count <= RAMET_MAP_EVERY_COMMITS);
    overlay.commits[0] = commit;
    overlay.commit_count++;
    overlay.page_size = commit->page_size;
    overlay.page_count = commit->page_count;
    overlay.passes_over_first_page = true;
    rc = ramet_map_build(&overlay, commit->lsn, &no_hash, &map, err);
    if (relative != NULL)
        commit->segments[0].frames = relative;
    if (rc != RAMET_OK)
        goto done;
    commit->map = map;
    drop_tables(commit);

done:
    ramet_free(absolute);
    ramet_overlay_close(&overlay);
    return rc;
}

/* The base as this history has it, and its map. */
static enum ramet_rc
load_base(struct ramet_history *history, const struct ramet_head *base,
          struct ramet_head *out_base, struct ramet_map_ref *out_map,
          struct ramet_err *err)
{
    const struct ramet_point at = ramet_head_point(base);
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(out_base != base);
    *out_base = (struct ramet_head){.lsn = 0};
    *out_map = (struct ramet_map_ref){.volume = history->volume,
                                      .hash_algo = RAMET_HASH_XXH3_128};
    if (base->lsn == 0)
        return RAMET_OK;
    rc = ramet_history_load_slot(history, &at, false, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_history_fill_head(ramet_loaded_head(entry), out_base);
    *out_map = ramet_loaded_head(entry)->commit.map;
    ramet_history_release(history, entry);
    if (!ramet_hash_equal(&out_base->hash, &base->hash))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64
                          " of the remote is not the commit that "
                          "this was based on",
                          base->lsn);
    return RAMET_OK;
}

static void
fill_front(struct ramet_history *history, const struct ramet_head *base,
           struct ramet_commit_object *commit)
{
    const uint64_t now_ms = history->os->wall_ms(history->os->ctx);

    assert(base->lsn < UINT64_MAX);
    commit->volume = history->volume;
    commit->lsn = base->lsn + 1;
    commit->predecessor = base->hash;
    commit->time_ms = now_ms > base->time_ms ? now_ms : base->time_ms + 1;
    commit->floor = base->lsn > 0 ? base->floor : 1;
    commit->cutoff = base->cutoff;
    commit->content = base->content;
    commit->says_first_page = false;
    /* Pages above the base's count were never there: the same, said shorter. */
    if (commit->page_size != base->page_size)
        commit->least_page_count = 0;
    else if (commit->least_page_count > base->page_count)
        commit->least_page_count = base->page_count;
}

static enum ramet_rc
prepare(struct ramet_history *history, const struct ramet_head *base,
        struct ramet_commit_object *commit, struct ramet_err *err)
{
    struct ramet_head here;
    struct ramet_map_ref base_map;
    struct ramet_point at;
    struct ramet_err size_err;
    uint32_t head_length;
    enum ramet_rc rc;

    assert(commit->segment_count == 0 || commit->segments != NULL);
    rc = load_base(history, base, &here, &base_map, err);
    if (rc == RAMET_OK && here.role == RAMET_COMMIT_END)
        rc = RAMET_FAIL(err, RAMET_EWENTBACK,
                        "LSN %" PRIu64 " is the end of the volume, which was "
                        "deleted",
                        here.lsn);
    if (rc != RAMET_OK)
        return rc;
    fill_front(history, &here, commit);
    commit->map = base_map; /* not its own, so that tables count */
    rc = ramet_commit_head_size(
        commit, RAMET_MAP_EVERY_HEAD_BYTES - RAMET_FIRST_PAGE_BYTES,
        &head_length, &size_err);
    if (rc == RAMET_ETOOBIG)
        return own_map(history, &here, &base_map, commit, err);
    if (rc != RAMET_OK) {
        if (err != NULL)
            *err = size_err;
        return rc;
    }
    rc = choose_map(history, &here, &base_map,
                    head_length + RAMET_FIRST_PAGE_BYTES, commit, err);
    at = ramet_head_point(&here);
    if (rc == RAMET_OK && ramet_first_page_is_due(commit, &base_map))
        ramet_first_page_say(history, &at, commit);
    return rc;
}

enum ramet_rc
ramet_history_prepare(struct ramet_history *history,
                      const struct ramet_head *base,
                      struct ramet_commit_object *commit, struct ramet_err *err)
{
    const struct ramet_point at = ramet_head_point(base);
    const enum ramet_rc rc = prepare(history, base, commit, err);

    /* A restore may have come after the look at the base: that is no damage. */
    return at.lsn > 0 ? ramet_history_blame(history, &at, rc, err) : rc;
}

/* A commit that changes nothing. A millisecond after its base, if it has one, so
 * that every store takes it. */
static enum ramet_rc
housekeeping(struct ramet_history *history, const struct ramet_head *base,
             enum ramet_commit_role role, const struct ramet_rid *writer,
             enum ramet_volume_kind kind, struct ramet_buf *out_object,
             struct ramet_cid *out_id, struct ramet_err *err)
{
    struct ramet_commit_object commit;
    enum ramet_rc rc;

    assert(role != RAMET_COMMIT_CONTENT);
    ramet_commit_init(&commit);
    commit.role = role;
    commit.writer = *writer;
    commit.kind = base->lsn > 0 ? base->kind : kind;
    commit.page_size = base->lsn > 0 ? base->page_size : 4096;
    commit.page_count = base->page_count;
    commit.least_page_count = base->page_count;
    commit.byte_length = base->byte_length;
    rc = ramet_id_new(&commit.id.id, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_history_prepare(history, base, &commit, err);
    if (base->lsn > 0)
        commit.time_ms = base->time_ms + 1;
    if (rc == RAMET_OK)
        rc = ramet_commit_encode(&commit, NULL, out_object, err);
    if (rc == RAMET_OK)
        *out_id = commit.id;
    ramet_commit_done(&commit);
    return rc;
}

enum ramet_rc
ramet_history_fence(struct ramet_history *history,
                    const struct ramet_head *base,
                    const struct ramet_rid *writer, enum ramet_volume_kind kind,
                    struct ramet_buf *out_object, struct ramet_cid *out_id,
                    struct ramet_err *err)
{
    assert(out_id != NULL);
    return housekeeping(history, base, RAMET_COMMIT_FENCE, writer, kind,
                        out_object, out_id, err);
}

enum ramet_rc
ramet_history_encode_end(struct ramet_history *history,
                         const struct ramet_head *base,
                         struct ramet_buf *out_object, struct ramet_err *err)
{
    static const struct ramet_rid nobody;
    struct ramet_cid id;

    assert(base->lsn > 0);
    return housekeeping(history, base, RAMET_COMMIT_END, &nobody, base->kind,
                        out_object, &id, err);
}
