/*
 * head_bring.c - many heads at once, and what is wanted with them, where that takes
 * about as long as one.
 */
#include <assert.h>

#include "core/alloc.h"
#include "metastore/head_cache_impl.h"
#include "metastore/node_cache.h"

/* Of a page: its image, the dictionary of that, a block of deltas. */
#define EXTENTS_MAX 3u
/* One that is longer is read by whoever needs it. */
#define EXTENT_BYTES_MAX (16u << 10)

struct bringing {
    struct ramet_history *history;
    /* Heads', the root's, extents'. */
    struct ramet_part parts[RAMET_HEADS_AT_ONCE + 1 + EXTENTS_MAX];
    uint64_t lsns[RAMET_HEADS_AT_ONCE];
    char keys[RAMET_HEADS_AT_ONCE + 1 + EXTENTS_MAX][RAMET_KEY_MAX];
    size_t count; /* of heads */
    const struct ramet_node_ref *root;
    const struct ramet_extent *extents[EXTENTS_MAX];
    bool is_dict[EXTENTS_MAX];
    size_t extent_count;
    uint8_t bytes[RAMET_HEADS_AT_ONCE][RAMET_HEAD_READ_BYTES];
    uint8_t root_bytes[RAMET_NODE_BYTES_MAX];
    uint8_t dict_bytes[RAMET_DICT_STORED_MAX];
    uint8_t extent_bytes[EXTENTS_MAX][EXTENT_BYTES_MAX];
};

static bool
is_known(struct ramet_history *history, uint64_t lsn)
{
    const struct ramet_lru_key key = {.kind = LRU_HEAD, .number = lsn};
    struct ramet_lru_entry *const entry = ramet_lru_get(&history->lru, &key);

    assert(lsn >= 1);
    ramet_history_release(history, entry);
    return entry != NULL;
}

static void
take_root(struct bringing *b, size_t got)
{
    struct ramet_lru_entry *entry;

    assert(b->root != NULL);
    if (got == b->root->length_bytes &&
        ramet_history_keep_node(b->history, b->root, b->root_bytes, &entry,
                                NULL) == RAMET_OK)
        ramet_history_release(b->history, entry);
}

static size_t
before_extents(const struct bringing *b)
{
    return b->count + (b->root != NULL);
}

static void
take_extent(struct bringing *b, size_t index, const uint8_t *bytes, size_t got)
{
    struct ramet_frame_reader *const frames = b->history->frames;
    const struct ramet_extent *const extent = b->extents[index];

    assert(index < b->extent_count);
    if (got != extent->length_bytes)
        return;
    if (b->is_dict[index])
        ramet_frame_reader_keep_dict(frames, extent, bytes);
    else
        ramet_frame_reader_keep(frames, extent, bytes);
}

/* What is no head, or another node, is left alone. */
static enum ramet_rc
take_brought(void *ctx, const struct ramet_part *part, size_t got,
             struct ramet_err *err)
{
    struct bringing *const b = ctx;
    const size_t index = (size_t)(part - b->parts);
    struct ramet_loaded_head *head;
    struct ramet_lru_entry *entry = NULL;
    uint64_t lsn;
    uint8_t *bytes;

    assert(got <= part->len);
    (void)err;
    if (index >= before_extents(b)) {
        take_extent(b, index - before_extents(b), part->buf, got);
        return RAMET_OK;
    }
    if (index == b->count) {
        take_root(b, got);
        return RAMET_OK;
    }
    lsn = b->lsns[index];
    head = ramet_calloc(1, sizeof(*head));
    bytes = ramet_alloc(RAMET_HEAD_READ_BYTES);
    if (head == NULL || bytes == NULL) {
        ramet_free(head);
        ramet_free(bytes);
        return RAMET_OK;
    }
    memcpy(bytes, part->buf, got);
    if (index == 0) /* the newest */
        ramet_head_keep_inline(b->history, lsn, bytes, got);
    if (ramet_head_take(b->history, lsn, false, false, bytes, got, head,
                        NULL) != RAMET_OK)
        ramet_head_free(head);
    else if (ramet_head_enter(b->history, lsn, head, &entry, NULL) == RAMET_OK)
        ramet_history_release(b->history, entry);
    return RAMET_OK;
}

static void
add_head(struct bringing *b, uint64_t lsn)
{
    const size_t i = b->count++;

    assert(i < RAMET_HEADS_AT_ONCE);
    b->lsns[i] = lsn;
    ramet_commit_key(&b->history->volume, lsn, b->keys[i]);
    b->parts[i] = (struct ramet_part){.key = b->keys[i],
                                      .len = RAMET_HEAD_READ_BYTES,
                                      .buf = b->bytes[i],
                                      .to_end = true};
}

static void
add_root(struct bringing *b, const struct ramet_node_ref *root)
{
    const size_t i = b->count;

    if (root == NULL || root->length_bytes == 0 ||
        root->length_bytes > sizeof(b->root_bytes) ||
        ramet_history_has_node(b->history, root))
        return;
    b->root = root;
    ramet_map_key(&b->history->volume, root->lsn, &root->id, b->keys[i]);
    b->parts[i] = (struct ramet_part){.key = b->keys[i],
                                      .offset = root->offset_bytes,
                                      .len = root->length_bytes,
                                      .buf = b->root_bytes,
                                      .to_end = true};
}

static void
add_extent(struct bringing *b, const struct ramet_extent *extent, bool is_dict)
{
    const size_t e = b->extent_count, i = before_extents(b) + e;

    if (extent->length_bytes == 0 ||
        extent->length_bytes >
            (is_dict ? sizeof(b->dict_bytes) : EXTENT_BYTES_MAX))
        return;
    assert(e < EXTENTS_MAX);
    b->extents[e] = extent;
    b->is_dict[e] = is_dict;
    b->extent_count++;
    ramet_extent_key(extent, b->keys[i]);
    b->parts[i] =
        (struct ramet_part){.key = b->keys[i],
                            .offset = extent->offset_bytes,
                            .len = extent->length_bytes,
                            .buf = is_dict ? b->dict_bytes : b->extent_bytes[e],
                            .to_end = true};
}

static void
add_page(struct bringing *b, const struct ramet_located *page)
{
    struct ramet_frame_reader *const frames = b->history->frames;

    if (page == NULL)
        return;
    if (page->image.kind == RAMET_FRAME_DICT &&
        !ramet_frame_reader_has_dict(frames, &page->image.base))
        add_extent(b, &page->image.base, true);
    if (!ramet_frame_reader_has(frames, &page->image.extent))
        add_extent(b, &page->image.extent, false);
    if (ramet_located_has_delta(page) &&
        !ramet_frame_reader_has(frames, &page->block.extent))
        add_extent(b, &page->block.extent, false);
}

void
ramet_history_bring_heads(struct ramet_history *history, uint64_t first,
                          uint64_t last,
                          const struct ramet_beside_heads *beside)
{
    static const struct ramet_beside_heads nothing;
    struct bringing *b;
    size_t count;

    if (beside == NULL)
        beside = &nothing;
    if ((history->store->traits & RAMET_STORE_READS_PARTS) == 0 ||
        (first > last && beside->page == NULL) ||
        (first <= last && last - first >= RAMET_HEADS_AT_ONCE))
        return;
    b = ramet_alloc(sizeof(*b));
    if (b == NULL)
        return;
    b->history = history;
    b->count = 0;
    b->root = NULL;
    b->extent_count = 0;
    for (uint64_t lsn = last; lsn >= first && lsn > 0; lsn--)
        if (!is_known(history, lsn))
            add_head(b, lsn);
    if (b->count > 0 || beside->page != NULL) /* else nobody waits */
        add_root(b, beside->root);
    add_page(b, beside->page);
    count = before_extents(b) + b->extent_count;
    if (count > 1)
        (void)!ramet_objstore_read_parts(history->store, b->parts, count,
                                         take_brought, b, NULL);
    ramet_free(b);
}
