/*
 * http_bring.c - see http_bring.h.
 *
 * Where the way to a page is not known yet, its frames are located while the
 * answer comes: a server sends what leads to a *slice* of pages before their
 * frames, so the first bytes that are no metadata say that a slice can be
 * located.
 */
#include "client/remote/http_made.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

/* What one request brings at most, in pages' bytes. */
#define BRING_BYTES (8u << 20)
#define BRING_PAGES_MAX 4096u
/* With all that leads to them: what a server takes; and without knowing how
 * large a page is. */
#define BRING_PAGES_FULL 512u
#define BRING_PAGES_BLIND 128u
#define ANSWER_MAX (24u << 20)
/* Pages that a server finds at a time: docs/protocol.md, "Pages". */
#define SLICE_PAGES 64u
/* Located pages that are asked for with others that are not lie in fewer leaves of a
 * map, of which each is sent again. */
#define TOGETHER_MAX 32u
#define TOGETHER_FEW 8u
#define LEAF_PAGES 64u

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Locate pages that are not yet, `count` of them. */
static enum ramet_rc
locate(struct ramet_bringing *b, size_t count)
{
    uint32_t *sorted;
    enum ramet_rc rc = RAMET_OK;

    assert(b->located + count <= b->count);
    if (b->awaited == NULL)
        rc = ramet_awaited_new(b->history, b->at, b->want_extra,
                               ramet_bringing_give, b, &b->awaited, b->err);
    if (rc != RAMET_OK || count == 0)
        return rc;
    assert(b->awaited != NULL);
    sorted = ramet_alloc(count * sizeof(*sorted));
    if (sorted == NULL)
        return RAMET_ENOMEM;
    memcpy(sorted, b->pgnos + b->located, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), ramet_bringing_compare_pgno);
    rc = ramet_awaited_add(b->awaited, sorted, count, b->err);
    ramet_free(sorted);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++) {
        const uint32_t pgno = b->pgnos[b->located++];

        if (count - i <= RAMET_KNOWN_RECENT)
            ramet_known_located(b->held, b->at, pgno,
                                ramet_awaited_located(b->awaited, pgno));
    }
    return rc;
}

/* ---- what to ask for ------------------------------------------------------------ */

/* A frame that was sent ahead, and nobody has read. */
static bool
take_from_ranges(struct ramet_bringing *b, const struct ramet_frame *frame)
{
    const struct ramet_extent *const extent = &frame->extent;
    char key[RAMET_KEY_MAX];
    uint8_t *bytes;
    size_t got = 0;
    bool taken = false;

    assert(b->awaited != NULL);
    ramet_extent_key(extent, key);
    if (!ramet_ranges_has(b->with->ranges, key, extent->offset_bytes,
                          extent->length_bytes, true))
        return false;
    bytes = ramet_alloc(extent->length_bytes);
    if (bytes != NULL &&
        ramet_ranges_get(b->with->ranges, key, extent->offset_bytes, bytes,
                         extent->length_bytes, &got) &&
        got == extent->length_bytes &&
        ramet_awaited_take(b->awaited, key, extent->offset_bytes, bytes, got,
                           &taken, NULL) != RAMET_OK)
        taken = false;
    ramet_free(bytes);
    return taken;
}

/* Was it sent ahead? One with a delta is made of two ranges by who reads. */
static bool
is_here(struct ramet_bringing *b, const struct ramet_located *located)
{
    if (!ramet_located_has_delta(located))
        return take_from_ranges(b, &located->image);
    return ramet_bringing_holds(b, &located->image.extent) &&
           ramet_bringing_holds(b, &located->block.extent);
}

/* Of what is located: what is not here? */
static void
plan_frames(struct ramet_bringing *b)
{
    assert(b->known <= b->located && b->located <= b->count);
    b->asked_count = 0;
    b->flags = 0;
    for (size_t i = 0; b->visit_rc == RAMET_OK && i < b->known; i++) {
        const struct ramet_located *const located =
            ramet_awaited_located(b->awaited, b->pgnos[i]);

        if (located == NULL)
            continue; /* zeros, or it came with another */
        if (located->image.kind == RAMET_FRAME_DICT &&
            !ramet_bringing_holds(b, &located->image.base))
            b->flags |= RAMET_PAGES_DICTS;
        else if (is_here(b, located))
            continue;
        assert(b->asked_count < b->count);
        b->asked[b->asked_count++] = b->pgnos[i];
    }
}

/* Is the dictionary here that the newest commits use, or (these may have nothing but
 * deltas) the page that was located last? Most frames need no other; what does is left
 * out, and read from the store. */
static bool
holds_dict(const struct ramet_bringing *b)
{
    struct ramet_extent dict;
    struct ramet_head head;

    if (ramet_known_dict(b->held, b->at, &dict) &&
        ramet_bringing_holds(b, &dict))
        return true;
    return ramet_history_head_of(b->history, b->at, &head, NULL) == RAMET_OK &&
           ramet_history_dict(b->history, &head, &dict, NULL) == RAMET_OK &&
           dict.length_bytes > 0 && ramet_bringing_holds(b, &dict);
}

/* All heads down to the map that they lie over. */
static bool
holds_heads(const struct ramet_bringing *b)
{
    return ramet_history_locate(b->history, b->at, NULL, 0, NULL, NULL) ==
           RAMET_OK;
}

/* The first of those that are not located, and all that leads to them and is not
 * here. */
static size_t
limit_in_full(struct ramet_bringing *b)
{
    const size_t most =
        b->awaited == NULL
            ? BRING_PAGES_BLIND
            : least(BRING_PAGES_FULL,
                    BRING_BYTES / ramet_awaited_page_size(b->awaited));

    assert(b->located <= b->count);
    b->count = b->located + least(b->count - b->located, most);
    return b->count - b->located;
}

static unsigned
flags_in_full(const struct ramet_bringing *b)
{
    unsigned flags = RAMET_PAGES_METADATA;

    if (b->awaited == NULL || !holds_dict(b))
        flags |= RAMET_PAGES_DICTS;
    if (b->awaited != NULL && holds_heads(b))
        flags |= RAMET_PAGES_NO_HEADS;
    return flags;
}

static void
plan_in_full(struct ramet_bringing *b)
{
    assert(b->located < b->count);
    b->asked_count = limit_in_full(b);
    memcpy(b->asked, b->pgnos + b->located, b->asked_count * sizeof(*b->asked));
    b->flags = flags_in_full(b);
}

/* Both kinds in one request: those that are located before the others, or behind
 * them where one of these is wanted most. */
static void
plan_together(struct ramet_bringing *b)
{
    const size_t others = limit_in_full(b);
    size_t at = 0;

    assert(b->located > 0 && b->located < b->count);
    plan_frames(b);
    assert(b->asked_count + others <= b->count);
    if (b->unknown_first)
        memmove(b->asked + others, b->asked,
                b->asked_count * sizeof(*b->asked));
    else
        at = b->asked_count;
    memcpy(b->asked + at, b->pgnos + b->located, others * sizeof(*b->asked));
    b->asked_count += others;
    b->flags |= flags_in_full(b);
}

/* Some of them can't be located yet: those that can come first, so that what
 * leads to them does not come again. */
static void
part(struct ramet_bringing *b)
{
    const uint32_t first = b->pgnos[0];
    size_t others = 0;
    uint32_t *const pgnos = b->asked; /* not in use yet */

    assert(b->awaited != NULL && b->count > 0);
    b->located = 0;
    for (size_t i = 0; b->visit_rc == RAMET_OK && i < b->count; i++) {
        const uint32_t pgno = b->pgnos[i];

        if (ramet_awaited_add(b->awaited, &pgno, 1, NULL) == RAMET_OK)
            b->pgnos[b->located++] = pgno;
        else
            pgnos[others++] = pgno;
    }
    assert(b->located + others <= b->count);
    memcpy(b->pgnos + b->located, pgnos, others * sizeof(*pgnos));
    b->unknown_first = b->located > 0 && b->pgnos[0] != first;
}

static void
plan(struct ramet_bringing *b)
{
    enum ramet_rc rc = locate(b, 0);

    assert(b->located == 0 && b->asked_count == 0);
    if (rc == RAMET_OK) {
        b->count =
            least(b->count, BRING_BYTES / ramet_awaited_page_size(b->awaited));
        rc = locate(b, b->count);
    }
    if (rc == RAMET_ECORRUPT) /* what was sent ahead was wrong: begin anew */
        ramet_ranges_clear(b->with->ranges);
    else if (rc != RAMET_OK && b->awaited != NULL && b->visit_rc == RAMET_OK)
        part(b);
    assert(b->located <= b->count);
    b->known = b->located;
    if (b->known > 0)
        ramet_bringing_make(b);
}

/* ---- what comes ------------------------------------------------------------------ */

/* Can it say that the next slice is to be located? Not what leads to pages of one, and
 * not what a page of this one is made of: to find out by trying costs as much as
 * locating a slice. */
static bool
may_begin_slice(const struct ramet_bringing *b, const char *key,
                uint64_t offset)
{
    return b->located < b->count && strstr(key, "/maps/") == NULL &&
           (b->awaited == NULL ||
            !ramet_awaited_is_part(b->awaited, key, offset));
}

/* A frame that is awaited is used at once; all else is kept for the way to
 * those that come. */
static void
take_range(void *ctx, const char *key, uint64_t offset, const uint8_t *data,
           size_t len, bool ends_object)
{
    struct ramet_bringing *const b = ctx;
    uint32_t pgno = 0;
    bool taken = false;

    assert(b->located <= b->count);
    for (;;) {
        if (b->visit_rc != RAMET_OK)
            return;
        if (b->awaited != NULL &&
            ramet_awaited_take(b->awaited, key, offset, data, len, &taken,
                               b->err) != RAMET_OK)
            return; /* damaged: it is left out */
        if (taken || !may_begin_slice(b, key, offset) ||
            locate(b, least(SLICE_PAGES, b->count - b->located)) != RAMET_OK)
            break;
    }
    if (taken)
        return;
    pgno = b->awaited != NULL
               ? ramet_awaited_page_of_block(b->awaited, key, offset)
               : 0;
    if (pgno == 0 || !ramet_bringing_holds_block(b, pgno))
        ramet_ranges_put(b->with->ranges, key, offset, data, len, ends_object);
    if (b->awaited == NULL)
        return;
    if (pgno > 0)
        ramet_known_block_came(b->held, b->at, pgno, key, offset, len);
    if (ramet_awaited_is_part(b->awaited, key, offset))
        ramet_bringing_note_part(b);
}

/* They come before the images of their slice, which may not be located yet. */
static void
keep_loose(void *ctx, uint32_t pgno, const struct ramet_delta *delta)
{
    struct ramet_bringing *const b = ctx;

    if (ramet_awaited_keep_delta(b->awaited, pgno, delta) ||
        ramet_awaited_knows(b->awaited, pgno) || b->located == b->count ||
        b->visit_rc != RAMET_OK)
        return;
    if (locate(b, least(SLICE_PAGES, b->count - b->located)) == RAMET_OK)
        (void)ramet_awaited_keep_delta(b->awaited, pgno, delta);
}

/* A record of loose deltas: they are kept until their bases come. One that is damaged is left
 * out. */
static void
take_loose(void *ctx, const uint8_t *record, size_t len)
{
    struct ramet_bringing *const b = ctx;

    if (b->visit_rc != RAMET_OK ||
        (b->awaited == NULL && locate(b, 0) != RAMET_OK))
        return;
    if (b->loose == NULL)
        b->loose = ramet_loose_reader_new();
    if (b->loose != NULL &&
        ramet_loose_read(b->loose, record, len,
                         ramet_awaited_page_size(b->awaited), keep_loose, b,
                         b->err) == RAMET_OK)
        ramet_bringing_make(b);
}

static enum ramet_rc
take_bytes(void *ctx, const uint8_t *data, size_t len, struct ramet_err *err)
{
    struct ramet_bringing *const b = ctx;
    enum ramet_rc rc;

    b->err = err;
    rc = ramet_pages_stream_feed(&b->stream, data, len, err);
    return b->visit_rc != RAMET_OK ? b->visit_rc : rc;
}

/* What no other way of asking would get past: not permitted; or the server has
 * another commit at that LSN. */
static bool
is_refusal(unsigned status)
{
    return status == 401 || status == 403 || status == 409;
}

/* Did what was asked for come, as far as it goes? Invariant (2); but who is out
 * of reach, or was not waited for, is not asked once more. */
static bool
came_in_part(const struct ramet_bringing *b, enum ramet_rc rc, size_t taken)
{
    return b->visit_rc == RAMET_OK &&
           (rc == RAMET_ETOOBIG ||
            (taken > 0 && rc != RAMET_ETIMEOUT && rc != RAMET_ECANCELLED));
}

static enum ramet_rc
send_request(struct ramet_bringing *b, const struct ramet_buf *body,
             const char *query, struct ramet_err *err)
{
    char id[RAMET_ID_TEXT_SIZE], path[128 + RAMET_KNOWN_QUERY_MAX];
    const struct iovec part = {.iov_base = body->data, .iov_len = body->len};
    struct ramet_http_call call = {
        .method = "POST",
        .path = path,
        .content_type = RAMET_PAGES_TYPE,
        .parts = &part,
        .part_count = 1,
        .take = take_bytes,
        .take_ctx = b,
        .body_max = ANSWER_MAX,
        .is_of_many = b->count > 1,
    };
    enum ramet_rc rc;

    assert(body->failed == RAMET_OK && body->len > 0);
    ramet_id_format(&b->volume->id, id);
    (void)snprintf(path, sizeof(path), "/v1/volumes/%s/pages%s", id, query);
    rc = ramet_http_perform(b->with->pool, &call, err);
    path[strcspn(path, "?")] = '\0';
    if (rc == RAMET_OK && is_refusal(call.status))
        rc = ramet_http_failure(b->with->pool, path, call.status,
                                call.body.data, call.body.len, false, err);
    else if (came_in_part(b, rc, call.taken))
        rc = RAMET_OK;
    ramet_buf_done(&call.body);
    return rc;
}

static enum ramet_rc
ask(struct ramet_bringing *b, struct ramet_err *err)
{
    struct ramet_known_asking asking = {
        .at = *b->at, .pgnos = b->asked, .count = b->asked_count};
    char query[RAMET_KNOWN_QUERY_MAX];
    struct ramet_buf body;
    enum ramet_rc rc = RAMET_OK;

    assert(b->asked_count > 0 && b->asked_count <= b->count);
    ramet_buf_init(&body, 256u << 10);
    ramet_pages_encode(&body, b->at,
                       b->flags | RAMET_PAGES_HASH | RAMET_PAGES_APART,
                       b->asked, b->asked_count);
    ramet_pages_stream_init(&b->stream, b->volume, take_range, b);
    b->stream.loose = take_loose;
    ramet_known_begin(b->held, &asking, query);
    if (body.failed == RAMET_OK) /* else invariant (2) */
        rc = send_request(b, &body, query, err);
    ramet_known_end(b->held, &asking);
    if (rc == RAMET_OK && b->awaited != NULL) {
        b->err = err;
        ramet_bringing_make_rest(b, &asking);
        rc = b->visit_rc;
    }
    ramet_pages_stream_done(&b->stream);
    ramet_loose_reader_free(b->loose);
    b->loose = NULL;
    ramet_buf_done(&body);
    return rc;
}

/* The pages that are located, or (`in_full`) the others. */
static enum ramet_rc
ask_for(struct ramet_bringing *b, bool in_full, struct ramet_err *err)
{
    assert(b->located <= b->count);
    if (b->visit_rc != RAMET_OK || (in_full && b->located == b->count))
        return b->visit_rc;
    if (in_full)
        plan_in_full(b);
    else
        plan_frames(b);
    if (b->visit_rc != RAMET_OK || b->asked_count == 0)
        return b->visit_rc;
    return ask(b, err);
}

/* In how many leaves of a map they lie, as far as to TOGETHER_MAX. */
static size_t
count_leaves(const uint32_t *pgnos, size_t count)
{
    uint32_t leaves[TOGETHER_MAX];
    size_t leaf_count = 0;

    for (size_t i = 0; i < count && leaf_count < TOGETHER_MAX; i++) {
        const uint32_t leaf = (pgnos[i] - 1) / LEAF_PAGES;
        size_t k = 0;

        while (k < leaf_count && leaves[k] != leaf)
            k++;
        if (k == leaf_count)
            leaves[leaf_count++] = leaf;
    }
    assert(leaf_count <= TOGETHER_MAX);
    return leaf_count;
}

/* The leaves that lead to the located pages would come again if they were asked
 * for with the others: where they are few, or no more than the others, that costs
 * less than a round trip. */
static bool
is_for_one_request(const struct ramet_bringing *b)
{
    const size_t others = b->count - b->located;
    const size_t leaves = count_leaves(b->pgnos, b->located);

    assert(b->located <= b->count);
    return b->located > 0 && others > 0 && b->count <= BRING_PAGES_FULL &&
           (leaves <= TOGETHER_FEW ||
            (leaves < TOGETHER_MAX && leaves <= others));
}

static enum ramet_rc
ask_for_all(struct ramet_bringing *b, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(b->known == b->located);
    if (b->visit_rc == RAMET_OK && is_for_one_request(b)) {
        plan_together(b);
        return b->visit_rc == RAMET_OK ? ask(b, err) : b->visit_rc;
    }
    rc = ask_for(b, b->unknown_first, err);
    return rc == RAMET_OK ? ask_for(b, !b->unknown_first, err) : rc;
}

enum ramet_rc
ramet_http_bring(const struct ramet_http_bring *with,
                 const struct ramet_vid *volume, const struct ramet_point *at,
                 const uint32_t *pgnos, size_t count, bool want_extra,
                 ramet_page_visit *visit, void *ctx, struct ramet_err *err)
{
    struct ramet_shadow *const shadow =
        ramet_shadow_take(with->shadows, volume);
    struct ramet_err own = {.code = RAMET_OK};
    struct ramet_bringing b = {.with = with,
                               .volume = volume,
                               .at = at,
                               .count = least(count, BRING_PAGES_MAX),
                               .want_extra = want_extra,
                               .visit = visit,
                               .ctx = ctx,
                               .visit_rc = RAMET_OK,
                               .err = &own};
    enum ramet_rc rc = RAMET_OK;

    if (count == 0 || at->lsn == 0 || shadow == NULL)
        goto done;
    b.asked = ramet_alloc(b.count * sizeof(*b.asked));
    b.pgnos = ramet_alloc(b.count * sizeof(*b.pgnos));
    if (b.asked == NULL || b.pgnos == NULL)
        goto done;
    memcpy(b.pgnos, pgnos, b.count * sizeof(*b.pgnos));
    b.history = ramet_shadow_history(shadow);
    b.held = ramet_shadow_known(shadow);
    plan(&b);
    rc = ask_for_all(&b, &own);
    if (rc != RAMET_OK && err != NULL)
        *err = own;

done:
    assert(b.located <= b.count);
    ramet_awaited_free(b.awaited);
    ramet_free(b.front);
    ramet_free(b.page);
    ramet_free(b.asked);
    ramet_free(b.pgnos);
    ramet_shadow_give(with->shadows, shadow);
    return rc;
}
