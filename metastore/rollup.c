/*
 * rollup.c - see rollup.h.
 */
#include "metastore/rollup.h"

#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/mapnode_impl.h"

enum { PIECE_FOLLOWS = 1, PIECE_INSIDE = 2, PIECE_BITS = 2 };

/* A piece of a top takes at least that many bytes there. */
#define PIECE_BYTES_MIN 21u
#define TOP_MAPS_MAX RAMET_INNER_CHILDREN

static enum ramet_rc
bad_piece(const struct ramet_piece_ref *ref, struct ramet_err *err)
{
    assert(ref->first >= 1);
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "page map: the piece of a roll-up from page %" PRIu32
                      " on is malformed",
                      ref->first);
}

/* ---- pieces --------------------------------------------------------------- */

enum ramet_rc
ramet_piece_encode(const struct ramet_run_page *pages, unsigned count,
                   uint64_t *out_latest, struct ramet_buf *out,
                   struct ramet_err *err)
{
    struct ramet_node_front front = {.level = RAMET_NODE_PIECE};

    assert(count > 0);
    assert(pages[0].pgno >= 1 && count <= RAMET_PIECE_RUNS_MAX);
    front.index = pages[0].pgno;
    for (unsigned i = 0; i < count; i++) {
        if (pages[i].at->lsn > front.latest)
            front.latest = pages[i].at->lsn;
    }
    ramet_node_front_encode(&front, out);
    *out_latest = front.latest;
    return ramet_runs_encode(RAMET_RUNS_OF_PIECE, pages, count, front.index,
                             front.latest, out, err);
}

enum ramet_rc
ramet_piece_start(struct ramet_piece_walk *walk, const uint8_t *bytes,
                  const struct ramet_vid *volume,
                  const struct ramet_piece_ref *ref, struct ramet_err *err)
{
    struct ramet_node_front front;
    enum ramet_rc rc;

    assert(ref->first >= 1 && ref->first <= ref->last); /* invariant (2) */
    ramet_reader_init(&walk->in, bytes, ref->node.length_bytes);
    walk->last = ref->last;
    rc = ramet_node_front_decode(&walk->in, RAMET_NODE_PIECE, ref->first,
                                 &front, err);
    if (rc != RAMET_OK)
        return rc;
    if (front.gone != 0 || front.latest != ref->node.latest ||
        !ramet_runs_start(&walk->runs, &walk->in, volume, RAMET_RUNS_OF_PIECE,
                          ref->first, front.latest))
        return bad_piece(ref, err);
    return RAMET_OK;
}

enum ramet_rc
ramet_piece_next(struct ramet_piece_walk *walk, bool *out_more,
                 struct ramet_err *err)
{
    struct ramet_run_walk *const runs = &walk->runs;

    assert(runs->form == RAMET_RUNS_OF_PIECE);
    *out_more = runs->left > 0;
    if (runs->left > 0
            ? ramet_runs_next(runs) && runs->next <= (uint64_t)walk->last + 1
            : ramet_reader_left(&walk->in) == 0 &&
                  runs->next == (uint64_t)walk->last + 1 &&
                  runs->seen == runs->latest) /* invariant (3) */
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "page map: the piece of a roll-up up to page %" PRIu32
                      " is malformed",
                      walk->last);
}

const struct ramet_piece_ref *
ramet_rollup_piece(const struct ramet_rollup *rollup, uint32_t pgno)
{
    unsigned low = 0, high = rollup->piece_count;

    assert(pgno >= 1);
    while (low < high) {
        const unsigned middle = low + (high - low) / 2;

        if (rollup->pieces[middle].last < pgno)
            low = middle + 1;
        else
            high = middle;
    }
    return low < rollup->piece_count && rollup->pieces[low].first <= pgno
               ? &rollup->pieces[low]
               : NULL;
}

/* ---- tops, written -------------------------------------------------------- */

static unsigned
map_number(const struct ramet_node_ref *const *maps, unsigned count,
           const struct ramet_node_ref *node)
{
    unsigned i = 0;

    assert(count <= TOP_MAPS_MAX);
    while (i < count && !ramet_node_same_map(maps[i], node))
        i++;
    return i;
}

/* The maps in which pieces lie, in order of first use; no more than are allowed:
 * a top of more has no room for them anyway. */
static unsigned
collect_maps(const struct ramet_top *top, const struct ramet_node_ref **maps)
{
    unsigned count = 0;

    for (unsigned r = 0; r < top->count; r++) {
        for (unsigned i = 0; i < top->rollups[r].piece_count; i++) {
            const struct ramet_piece_ref *const piece =
                &top->rollups[r].pieces[i];

            if (piece->inside || map_number(maps, count, &piece->node) < count)
                continue;
            if (count == TOP_MAPS_MAX)
                return count + 1;
            maps[count++] = &piece->node;
        }
    }
    assert(count <= TOP_MAPS_MAX);
    return count;
}

static void
encode_piece_ref(const struct ramet_piece_ref *piece,
                 const struct ramet_piece_ref *previous, uint64_t to,
                 unsigned map, const struct ramet_buf *inside,
                 struct ramet_buf *out)
{
    const struct ramet_node_ref *const node = &piece->node;
    const bool is_in = piece->inside;
    const bool follows =
        previous != NULL && ramet_node_same_map(&previous->node, node) &&
        previous->node.offset_bytes + previous->node.length_bytes ==
            node->offset_bytes;

    assert(!is_in || inside->len == node->length_bytes);
    assert(node->latest >= 1 && node->latest <= to);
    assert(piece->first <= piece->last &&
           (previous == NULL ||
            piece->first > previous->last)); /* invariant (2) */
    ramet_buf_varint(out, piece->first -
                              (previous == NULL ? 1u : previous->last + 1));
    ramet_buf_varint(out, piece->last - piece->first);
    ramet_buf_varint(out, is_in ? (uint64_t)PIECE_INSIDE
                                : (uint64_t)map << PIECE_BITS |
                                      (follows ? PIECE_FOLLOWS : 0u));
    ramet_buf_varint(out, to - node->latest);
    if (!is_in && !follows)
        ramet_buf_varint(out, node->offset_bytes);
    ramet_buf_varint(out, node->length_bytes);
    if (is_in)
        ramet_buf_bytes(out, inside->data, inside->len);
    else
        ramet_buf_bytes(out, &node->hash, RAMET_HASH_SIZE);
}

void
ramet_top_encode(const struct ramet_top *top, const struct ramet_buf *inside,
                 const uint8_t *tree_bytes, size_t tree_len,
                 struct ramet_buf *out)
{
    const struct ramet_node_ref *maps[TOP_MAPS_MAX + 1];
    const unsigned map_count = collect_maps(top, maps);

    assert(top->count > 0 && top->count <= RAMET_ROLLUPS_MAX);
    assert(tree_len == 0 || tree_bytes != NULL);
    if (map_count > TOP_MAPS_MAX) {
        out->failed = RAMET_ETOOBIG;
        return;
    }
    ramet_buf_u8(out, RAMET_NODE_TOP);
    ramet_buf_u8(out, RAMET_HASH_XXH3_128);
    ramet_buf_u8(out, 0);
    ramet_map_table_encode(maps, map_count, out);
    ramet_buf_varint(out, top->count);
    for (unsigned r = 0; r < top->count; r++) {
        const struct ramet_rollup *const rollup = &top->rollups[r];

        ramet_buf_varint(out, rollup->to - rollup->from);
        ramet_buf_varint(out, rollup->least);
        ramet_buf_varint(out,
                         rollup->gone == 0 ? 0 : rollup->to - rollup->gone + 1);
        ramet_buf_varint(out, rollup->piece_count);
        for (unsigned i = 0; i < rollup->piece_count; i++)
            encode_piece_ref(
                &rollup->pieces[i], i == 0 ? NULL : &rollup->pieces[i - 1],
                rollup->to,
                map_number(maps, map_count, &rollup->pieces[i].node), inside,
                out);
    }
    ramet_buf_varint(out, tree_len);
    ramet_buf_bytes(out, tree_bytes, tree_len);
}

/* ---- tops, read ----------------------------------------------------------- */

struct top_reader {
    struct ramet_reader in;
    const struct ramet_node_ref *ref; /* of the top */
    struct ramet_node_ref maps[TOP_MAPS_MAX];
    unsigned map_count;
    struct ramet_piece_ref *pieces;
    size_t room; /* for all that can be */
    unsigned piece_count;
};

/* A node of `len` bytes that stands here: invariant (1). */
static bool
take_inside(struct top_reader *t, uint64_t len, struct ramet_node_ref *out)
{
    const uint64_t at = t->in.pos;
    const uint8_t *const bytes = len <= RAMET_NODE_BYTES_MAX
                                     ? ramet_read_bytes(&t->in, (size_t)len)
                                     : NULL;

    if (bytes == NULL || len == 0)
        return false;
    assert(at + len <= t->in.len); /* invariant (1) */
    *out = (struct ramet_node_ref){
        .lsn = t->ref->lsn,
        .id = t->ref->id,
        .offset_bytes = t->ref->offset_bytes + at,
        .length_bytes = (uint32_t)len,
        .hash = ramet_hash128(bytes, (size_t)len),
    };
    return true;
}

/* Where piece `out` lies; `previous` NULL: it is the first. */
static bool
read_place(struct top_reader *t, uint64_t what, bool alone,
           const struct ramet_piece_ref *previous, struct ramet_node_ref *out)
{
    const uint64_t map = what >> PIECE_BITS;
    const uint8_t *hash;

    assert(t->map_count <= TOP_MAPS_MAX);
    if (what & PIECE_INSIDE)
        return what == PIECE_INSIDE && alone &&
               take_inside(t, ramet_read_varint(&t->in), out);
    if (map >= t->map_count)
        return false;
    *out = t->maps[map];
    if ((what & PIECE_FOLLOWS) == 0) {
        out->offset_bytes = ramet_read_varint_max(&t->in, INT64_MAX);
    } else {
        if (previous == NULL || !ramet_node_same_map(&previous->node, out))
            return false;
        out->offset_bytes =
            previous->node.offset_bytes + previous->node.length_bytes;
    }
    out->length_bytes =
        (uint32_t)ramet_read_varint_max(&t->in, RAMET_NODE_BYTES_MAX);
    hash = ramet_read_bytes(&t->in, RAMET_HASH_SIZE);
    if (hash == NULL || out->length_bytes == 0 ||
        out->offset_bytes < RAMET_MAP_HEADER_SIZE ||
        out->offset_bytes > INT64_MAX)
        return false;
    memcpy(&out->hash, hash, RAMET_HASH_SIZE);
    return true;
}

static bool
read_piece(struct top_reader *t, const struct ramet_rollup *rollup, bool alone,
           const struct ramet_piece_ref *previous, struct ramet_piece_ref *out)
{
    const uint64_t gap = ramet_read_varint_max(&t->in, UINT32_MAX);
    const uint64_t more = ramet_read_varint_max(&t->in, UINT32_MAX);
    const uint64_t what = ramet_read_varint(&t->in);
    const uint64_t age = ramet_read_varint(&t->in);
    const uint64_t first =
        (previous == NULL ? 0 : (uint64_t)previous->last) + 1 + gap;

    assert(rollup->from < rollup->to);
    if (t->in.bad || first + more > UINT32_MAX ||
        age >= rollup->to - rollup->from ||
        !read_place(t, what, alone, previous, &out->node))
        return false;
    out->first = (uint32_t)first;
    out->last = (uint32_t)(first + more);
    out->node.latest = rollup->to - age;
    return true;
}

/* A roll-up whose last LSN is `to`. */
static bool
read_rollup(struct top_reader *t, uint64_t to, struct ramet_rollup *out)
{
    const uint64_t span = ramet_read_varint(&t->in);
    const uint64_t least = ramet_read_varint_max(&t->in, UINT32_MAX);
    const uint64_t gone = ramet_read_varint(&t->in);
    const uint64_t count = ramet_read_varint_max(&t->in, RAMET_PIECES_MAX);

    if (t->in.bad || span == 0 || span > to || gone > span ||
        count > ramet_reader_left(&t->in) / PIECE_BYTES_MIN + 1)
        return false;
    *out = (struct ramet_rollup){
        .from = to - span,
        .to = to,
        .least = (uint32_t)least,
        .gone = gone == 0 ? 0 : to - gone + 1,
        .piece_count = (unsigned)count,
        .pieces = t->pieces + t->piece_count,
    };
    for (unsigned i = 0; i < count; i++) {
        struct ramet_piece_ref *const piece = &t->pieces[t->piece_count];

        if (!read_piece(t, out, count == 1, i == 0 ? NULL : piece - 1, piece))
            return false;
        t->piece_count++;
        assert(t->piece_count <= t->room);
    }
    return true;
}

static bool
read_top(struct top_reader *t, struct ramet_top *out)
{
    uint64_t count, tree_len;
    uint64_t to = t->ref->lsn;

    assert(t->piece_count == 0 && to >= 1);
    (void)ramet_read_bytes(&t->in, 3);
    if (!ramet_map_table_decode(&t->in, t->maps, TOP_MAPS_MAX, &t->map_count))
        return false;
    count = ramet_read_varint_max(&t->in, RAMET_ROLLUPS_MAX);
    if (t->in.bad || count == 0)
        return false;
    for (unsigned r = 0; r < count; r++) {
        if (!read_rollup(t, to, &out->rollups[r]))
            return false;
        to = out->rollups[r].from;
    }
    out->count = (unsigned)count;
    out->tree_lsn = to;
    tree_len = ramet_read_varint(&t->in);
    return !t->in.bad &&
           (tree_len == 0 || take_inside(t, tree_len, &out->tree)) &&
           ramet_reader_left(&t->in) == 0;
}

enum ramet_rc
ramet_top_decode(const uint8_t *bytes, size_t len,
                 const struct ramet_node_ref *ref, struct ramet_top *out,
                 struct ramet_err *err)
{
    assert(ref->lsn >= 1);
    /* One more than fits: the one inside may be shorter. */
    const size_t room = len / PIECE_BYTES_MIN + RAMET_ROLLUPS_MAX;
    struct top_reader *const t = ramet_calloc(1, sizeof(*t));
    enum ramet_rc rc = RAMET_OK;

    *out = (struct ramet_top){.count = 0};
    out->pieces = ramet_calloc(room, sizeof(out->pieces[0]));
    if (t == NULL || out->pieces == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "page map: roll-ups");
        goto done;
    }
    ramet_reader_init(&t->in, bytes, len);
    t->ref = ref;
    t->pieces = out->pieces;
    t->room = room;
    if (!read_top(t, out))
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "page map: the top of LSN %" PRIu64 " is malformed",
                        ref->lsn);

done:
    ramet_free(t);
    if (rc != RAMET_OK)
        ramet_top_done(out);
    return rc;
}

void
ramet_top_done(struct ramet_top *top)
{
    ramet_free(top->pieces);
    *top = (struct ramet_top){.count = 0};
}
