/*
 * fuzz_map.c - hostile, but well-hashed page maps, walked by history.
 *
 * The input is a list of nodes, each two bytes of length and then bytes. What
 * decodes as an inner node gets its children, as a top its pieces, from the nodes
 * before it, with right places and hashes; all else is taken as it stands. The last node is
 * the root of LSN 1, the one before it that of LSN 100, and then pages are
 * looked for, the two are compared, and a further map is made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/map.h"
#include "metastore/rollup.h"
#include "tests/support/point.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NODES_MAX 64u

static const struct ramet_vid volume = {.id = {{0x11}}};
static const struct ramet_mid map_id = {.id = {{0x22}}};

struct tree {
    struct ramet_buf object;
    struct ramet_node_ref nodes[NODES_MAX];
    unsigned count;
    struct ramet_inner inner;
    struct ramet_piece_walk walk;
};

static void
require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_map: %s\n", what);
        abort();
    }
}

static void
check_code(enum ramet_rc rc, const struct ramet_err *err)
{
    require(rc == RAMET_OK || rc == RAMET_ECORRUPT || rc == RAMET_EVERSION,
            ramet_rc_name(rc));
    require(rc == RAMET_OK || err->text[0] != '\0', "no text");
}

/* Point an inner node's children at nodes that are there. */
static void
link_children(struct tree *tree)
{
    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
        struct ramet_node_ref *const child = &tree->inner.children[i];

        if (child->length_bytes > 0)
            *child = tree->nodes[child->offset_bytes % tree->count];
    }
}

/* Let `piece` be node `ref`, as far as that is one and comes after page `after`. */
static void
link_piece(struct tree *tree, const struct ramet_node_ref *ref, uint32_t after,
           struct ramet_piece_ref *piece)
{
    const uint8_t *const bytes = tree->object.data + ref->offset_bytes;
    struct ramet_piece_ref linked = {.node = *ref, .last = UINT32_MAX};
    struct ramet_reader in;
    uint64_t gone;
    bool more = true;

    ramet_reader_init(&in, bytes, ref->length_bytes);
    (void)ramet_read_bytes(&in, 3);
    linked.first = (uint32_t)ramet_read_varint(&in);
    if (linked.first <= after ||
        ramet_node_times(bytes, ref->length_bytes, RAMET_NODE_PIECE,
                         linked.first, &linked.node.latest, &gone,
                         NULL) != RAMET_OK ||
        ramet_piece_start(&tree->walk, bytes, &volume, &linked, NULL) !=
            RAMET_OK)
        return;
    while (more && ramet_piece_next(&tree->walk, &more, NULL) == RAMET_OK &&
           more)
        linked.last = (uint32_t)(tree->walk.runs.next - 1);
    *piece = linked;
}

static bool
add_top(struct tree *tree, const uint8_t *bytes, size_t len)
{
    static const struct ramet_node_ref here = {.lsn = 100};
    const uint8_t *root;
    struct ramet_buf inside;
    struct ramet_top top;

    if (ramet_top_decode(bytes, len, &here, &top, NULL) != RAMET_OK)
        return false;
    ramet_buf_init(&inside, RAMET_NODE_BYTES_MAX);
    for (unsigned r = 0; r < top.count; r++) {
        const struct ramet_rollup *const rollup = &top.rollups[r];
        uint32_t after = 0;

        for (unsigned i = 0; i < rollup->piece_count; i++) {
            struct ramet_piece_ref *const piece =
                &top.pieces[(rollup->pieces - top.pieces) + i];
            const struct ramet_node_ref *const node = &piece->node;

            if (node->lsn == here.lsn && r == 0 && rollup->piece_count == 1 &&
                node->offset_bytes + node->length_bytes <= len) {
                ramet_buf_bytes(&inside, bytes + node->offset_bytes,
                                node->length_bytes);
                piece->inside = true;
            } else if (tree->count > 0) {
                link_piece(tree, &tree->nodes[node->offset_bytes % tree->count],
                           after, piece);
            }
            after = piece->last;
        }
    }
    root = bytes + top.tree.offset_bytes;
    ramet_top_encode(&top, &inside, root, top.tree.length_bytes, &tree->object);
    ramet_buf_done(&inside);
    ramet_top_done(&top);
    return true;
}

static void
add_node(struct tree *tree, const uint8_t *bytes, size_t len)
{
    struct ramet_node_ref *const ref = &tree->nodes[tree->count];
    const size_t start = tree->object.len;
    struct ramet_reader in;
    unsigned level = 0;
    uint32_t index;

    ramet_reader_init(&in, bytes, len);
    (void)ramet_read_bytes(&in, 3);
    index = (uint32_t)ramet_read_varint(&in);
    if (tree->count > 0 &&
        ramet_node_level(bytes, len, &level, NULL) == RAMET_OK && level > 0 &&
        level <= RAMET_MAP_LEVEL_MAX &&
        ramet_inner_decode(bytes, len, level, index, &tree->inner, NULL) ==
            RAMET_OK) {
        link_children(tree);
        ramet_inner_encode(&tree->inner, &tree->object);
    } else if (level != RAMET_NODE_TOP || !add_top(tree, bytes, len)) {
        ramet_buf_bytes(&tree->object, bytes, len);
    }
    ref->latest = 1;
    ref->lsn = 1;
    ref->id = map_id;
    ref->offset_bytes = start;
    ref->length_bytes = (uint32_t)(tree->object.len - start);
    ref->hash = ramet_hash128(tree->object.data + start, ref->length_bytes);
    tree->count++;
}

static void
put(struct ramet_objstore *store, const char *key, const struct ramet_buf *buf)
{
    const struct iovec part = {buf->data, buf->len};

    require(ramet_objstore_put(store, key, &part, 1, NULL) == RAMET_OK, "put");
}

/* A commit whose own map has `root`; the node lies in the map of LSN 1. */
static void
put_commit(struct ramet_objstore *store, uint64_t lsn, uint32_t page_count,
           const struct tree *tree, const struct ramet_node_ref *root)
{
    struct ramet_commit_object c;
    struct ramet_buf out;
    char key[RAMET_KEY_MAX];

    ramet_commit_init(&c);
    c.volume = volume;
    c.lsn = lsn;
    c.predecessor.bytes[0] = lsn > 1;
    c.floor = 1;
    c.content = (struct ramet_point){lsn - 1, c.predecessor};
    c.kind = RAMET_KIND_SQLITE;
    c.page_size = 512;
    c.page_count = page_count;
    c.byte_length = (uint64_t)page_count * 512;
    c.map = (struct ramet_map_ref){
        .volume = volume,
        .lsn = lsn,
        .id = map_id,
        .root_offset_bytes = root->offset_bytes,
        .root_length_bytes = root->length_bytes,
        .hash_algo = RAMET_HASH_XXH3_128,
        .root_hash = root->hash,
    };
    ramet_buf_init(&out, 1u << 16);
    require(ramet_commit_encode(&c, NULL, &out, NULL) == RAMET_OK, "encode");
    ramet_commit_key(&volume, lsn, key);
    put(store, key, &out);
    ramet_map_key(&volume, lsn, &map_id, key);
    put(store, key, &tree->object);
    ramet_buf_done(&out);
    ramet_commit_done(&c);
}

static void
walk(struct ramet_objstore *store, uint32_t page_count)
{
    static const uint32_t wanted[] = {1,     2,     5,       64,      65,
                                      16384, 16385, 4194305, 1u << 30};
    struct ramet_located frames[9];
    struct ramet_history *history;
    struct ramet_pageset set;
    struct ramet_err err = {.text = ""};
    struct ramet_overlay overlay;
    struct ramet_map_ref map;
    struct ramet_hash none = {{0}};
    size_t count = 0;

    require(ramet_history_open(store, &volume, NULL, &history, NULL) ==
                RAMET_OK,
            "open");
    while (count < 9 && wanted[count] <= page_count)
        count++;
    for (uint64_t lsn = 1; lsn <= 100; lsn += 99)
        check_code(ramet_history_locate(history, point_at(history, lsn), wanted,
                                        count, frames, &err),
                   &err);
    ramet_pageset_init(&set);
    check_code(ramet_history_changed(history, point_at(history, 1),
                                     point_at(history, 100), &set, &err),
               &err);
    require(ramet_pageset_next(&set, page_count) == 0, "changed past the end");
    ramet_pageset_done(&set);
    require(ramet_overlay_open(history, point_at(history, 1), &overlay, NULL) ==
                RAMET_OK,
            "overlay");
    check_code(ramet_map_build(&overlay, 200, &none, &map, &err), &err);
    ramet_overlay_close(&overlay);
    ramet_history_close(history);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_objstore *store;
    struct tree *tree;
    uint32_t page_count;

    if (size < 4 || size > 1u << 16)
        return 0;
    page_count = ramet_get_le32(data);
    tree = calloc(1, sizeof(*tree));
    if (tree == NULL || ramet_memstore_open(&store, NULL) != RAMET_OK)
        abort();
    ramet_buf_init(&tree->object, 4u << 20);
    (void)ramet_buf_extend(&tree->object, RAMET_MAP_HEADER_SIZE);
    for (size_t at = 4; at + 2 < size && tree->count < NODES_MAX;) {
        size_t len = ramet_get_le16(data + at);

        at += 2;
        if (len > size - at)
            len = size - at;
        if (len > RAMET_NODE_BYTES_MAX)
            len = RAMET_NODE_BYTES_MAX;
        if (len > 0)
            add_node(tree, data + at, len);
        at += len;
    }
    if (tree->count >= 2 && tree->object.failed == RAMET_OK) {
        put_commit(store, 1, page_count, tree, &tree->nodes[tree->count - 1]);
        put_commit(store, 100, page_count, tree, &tree->nodes[tree->count - 2]);
        walk(store, page_count);
    }
    ramet_buf_done(&tree->object);
    free(tree);
    ramet_objstore_close(store);
    return 0;
}
