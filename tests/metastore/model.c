/*
 * model.c - see model.h.
 */
#include "tests/metastore/model.h"

#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/delta_writer.h"
#include "pagestore/segment.h"
#include "tests/support/point.h"

void
model_init(struct model *model, struct ramet_objstore *store, uint64_t seed)
{
    *model = (struct model){.store = store,
                            .random = seed * 2 + 1,
                            .next_content = 1,
                            .pages_per_frame = 1};
    assert_int_equal(ramet_id_new(&model->volume.id, NULL), RAMET_OK);
    model->versions = calloc(1, sizeof(model->versions[0]));
    assert_non_null(model->versions);
    model_reopen(model);
}

void
model_done(struct model *model)
{
    ramet_history_close(model->history);
    for (uint64_t lsn = 0; lsn <= model->lsn; lsn++) {
        free(model->versions[lsn].pages);
        free(model->versions[lsn].images);
    }
    free(model->versions);
    free(model->bases);
    ramet_pageset_done(&model->deltas);
}

void
model_drop_newest(struct model *model)
{
    struct model_version *const newest = &model->versions[model->lsn--];

    free(newest->pages);
    free(newest->images);
}

void
model_reopen(struct model *model)
{
    ramet_history_close(model->history);
    model->history = NULL;
    assert_int_equal(ramet_history_open(model->store, &model->volume, NULL,
                                        &model->history, NULL),
                     RAMET_OK);
    if (model->map_sizes != NULL)
        model->history->map_sizes = *model->map_sizes;
}

uint64_t
model_random(struct model *model, uint64_t below)
{
    uint64_t z = model->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

void
model_fill(uint8_t *page, uint32_t page_size, uint64_t content)
{
    memset(page, 0, page_size);
    if (content == 0)
        return;
    for (uint32_t i = 0; i < page_size / 4; i++)
        page[i] = (uint8_t)((content * 0x9e3779b9u + i * i * content) >> 7);
    /* The same in all pages: what a dictionary is good for. */
    for (uint32_t i = page_size / 4; i < page_size / 2; i++)
        page[i] = (uint8_t)((i * 2654435761u) >> 13);
    ramet_put_le64(page, content);
}

struct ramet_cid
model_new_cid(void)
{
    struct ramet_cid id;

    assert_int_equal(ramet_id_new(&id.id, NULL), RAMET_OK);
    return id;
}

/* What a commit writes: contents are numbered by ascending page. */
struct written {
    const struct ramet_pageset *pages;
    uint64_t first_content;
};

/* How many of the set are below `pgno`. */
static uint64_t
rank_of(const struct ramet_pageset *set, uint32_t pgno)
{
    uint64_t rank = 0;

    for (size_t i = 0; i < set->run_count && set->runs[i].first < pgno; i++) {
        const struct ramet_run run = set->runs[i];

        rank += (run.last < pgno ? run.last + 1u : pgno) - run.first;
    }
    return rank;
}

static uint64_t
content_of(const struct written *written, uint32_t pgno)
{
    return written->first_content + rank_of(written->pages, pgno);
}

static enum ramet_rc
add_segment(struct model *model, struct ramet_commit_object *commit,
            uint32_t *pgno, uint32_t limit, const struct written *written,
            bool allow_inline, uint8_t **out_inline, struct ramet_err *err)
{
    const struct ramet_codec codec = {
        .level = 1,
        .pages_per_frame = model->pages_per_frame,
        .dict = model->dict,
        .dict_len = model->dict_len,
        .dict_extent = model->dict_extent,
    };
    struct ramet_segment_writer *writer;
    struct ramet_segment_info info;
    uint8_t *const page = malloc(commit->page_size);
    size_t inline_len = 0;
    uint8_t *bytes = NULL;
    enum ramet_rc rc;

    assert_non_null(page);
    rc = ramet_segment_writer_new(model->store, &model->volume,
                                  commit->page_size, &codec, &writer, err);
    if (rc != RAMET_OK) {
        free(page);
        return rc;
    }
    for (uint32_t n = 0; rc == RAMET_OK && *pgno != 0 && n < limit; n++) {
        model_fill(page, commit->page_size, content_of(written, *pgno));
        rc = ramet_segment_writer_add(writer, *pgno, page, err);
        *pgno = ramet_pageset_next(&commit->changed, *pgno);
    }
    free(page);
    if (rc != RAMET_OK) {
        ramet_segment_writer_abort(writer);
        return rc;
    }
    memset(&info, 0, sizeof(info));
    rc = ramet_segment_writer_finish(writer, allow_inline, &info, &bytes,
                                     &inline_len, err);
    if (rc != RAMET_OK)
        return rc;
    commit->segments[commit->segment_count++] = info;
    if (bytes != NULL) {
        commit->has_inline = true;
        commit->inline_length_bytes = (uint32_t)inline_len;
        *out_inline = bytes;
    }
    return RAMET_OK;
}

static enum ramet_rc
add_segments(struct model *model, struct ramet_commit_object *commit,
             const struct written *written, uint8_t **out_inline,
             struct ramet_err *err)
{
    const uint64_t count = ramet_pageset_count(&commit->changed);
    const uint32_t limit =
        model->segment_pages > 0 ? model->segment_pages : UINT32_MAX;
    uint32_t pgno = ramet_pageset_next(&commit->changed, 0);
    bool first = true;

    if (count == 0)
        return RAMET_OK;
    commit->segments =
        ramet_calloc((size_t)(count / limit + 1), sizeof(commit->segments[0]));
    if (commit->segments == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "test: segments");
    while (pgno != 0) {
        const enum ramet_rc rc =
            add_segment(model, commit, &pgno, limit, written,
                        first && !model->never_inline, out_inline, err);

        if (rc != RAMET_OK)
            return rc;
        first = false;
    }
    return RAMET_OK;
}

/* A page whose base image the delta of `pgno` may be over: its own, or any. */
static uint32_t
choose_base(struct model *model, uint32_t pgno, uint32_t least)
{
    const struct model_version *const now = &model->versions[model->lsn];

    if (pgno > least) /* a new page has none of its own */
        pgno = (uint32_t)model_random(model, least) + 1;
    else if (!model->own_bases && model_random(model, 4) == 0)
        pgno = (uint32_t)model_random(model, now->page_count) + 1;
    return now->images[pgno - 1] != 0 ? pgno : 0;
}

static void
name_base(struct ramet_commit_deltas *deltas, uint32_t pgno)
{
    struct ramet_delta_name *const grown =
        ramet_realloc(deltas->names, (deltas->name_count + 1) * sizeof(*grown));

    assert_non_null(grown);
    deltas->names = grown;
    grown[deltas->name_count++] = (struct ramet_delta_name){
        .position = (uint32_t)ramet_pageset_count(&deltas->pages) - 1,
        .pgno = pgno};
}

static const struct ramet_delta_shape no_shape;

/* Write some of the pages as deltas, if the model wants any. */
static enum ramet_rc
try_delta(struct model *model, struct ramet_commit_object *commit,
          struct ramet_delta_writer *writer, const struct written *written,
          uint32_t pgno, uint32_t least, struct ramet_err *err)
{
    const uint32_t base_pgno = choose_base(model, pgno, least);
    uint8_t *const page = malloc(2u * commit->page_size);
    uint8_t *const base = page + commit->page_size;
    uint32_t length = 0;
    enum ramet_rc rc = RAMET_OK;

    assert_non_null(page);
    if (base_pgno != 0) {
        const uint64_t content =
            model->versions[model->lsn].images[base_pgno - 1];

        model_fill(page, commit->page_size, content_of(written, pgno));
        model_fill(base, commit->page_size, content);
        rc = ramet_delta_writer_try(writer, base, &no_shape, page, &no_shape,
                                    UINT32_MAX, &length, err);
        if (rc == RAMET_OK && length > 0)
            rc = ramet_delta_writer_take(writer, err);
        if (rc == RAMET_OK && length > 0) {
            model->bases[ramet_pageset_count(&model->deltas)] = content;
            if (ramet_pageset_add(&commit->deltas.pages, pgno) != RAMET_OK ||
                ramet_pageset_add(&model->deltas, pgno) != RAMET_OK)
                rc = RAMET_FAIL(err, RAMET_ENOMEM, "test: set of deltas");
            else if (base_pgno != pgno)
                name_base(&commit->deltas, base_pgno);
        }
    }
    free(page);
    return rc;
}

static enum ramet_rc
choose_deltas(struct model *model, struct ramet_commit_object *commit,
              struct ramet_delta_writer *writer, const struct written *written,
              uint32_t least, struct ramet_err *err)
{
    uint32_t pgno = 0;
    enum ramet_rc rc = RAMET_OK;

    ramet_pageset_clear(&model->deltas);
    free(model->bases);
    model->bases = calloc((size_t)ramet_pageset_count(written->pages) + 1, 8);
    assert_non_null(model->bases);
    if (model->delta_percent == 0 || model->lsn == 0 || least == 0 ||
        commit->page_size != model->versions[model->lsn].page_size)
        return RAMET_OK;
    while (rc == RAMET_OK &&
           (pgno = ramet_pageset_next(written->pages, pgno)) != 0) {
        if (model_random(model, 100) < model->delta_percent)
            rc = try_delta(model, commit, writer, written, pgno, least, err);
    }
    if (rc == RAMET_OK &&
        ramet_pageset_remove_set(&commit->changed, &commit->deltas.pages) !=
            RAMET_OK)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "test: set of deltas");
    return rc;
}

static enum ramet_rc
place_deltas(struct model *model, struct ramet_commit_object *commit,
             struct ramet_delta_writer *writer, uint8_t **io_inline,
             struct ramet_err *err)
{
    size_t inline_len = commit->inline_length_bytes;
    enum ramet_rc rc;

    if (commit->deltas.pages.run_count == 0)
        return RAMET_OK;
    rc = ramet_delta_writer_extent(writer, model->store, &model->volume,
                                   !model->never_inline, io_inline, &inline_len,
                                   &commit->deltas.extent, err);
    commit->has_inline = *io_inline != NULL;
    commit->inline_length_bytes = (uint32_t)inline_len;
    return rc;
}

void
model_use_dict(struct model *model, uint64_t content, uint8_t **out_dict)
{
    enum { COUNT = 2000, SIZE = 512 };
    uint8_t *const samples = malloc(COUNT * SIZE);
    bool is_worth = false;
    size_t len = 0;

    assert_non_null(samples);
    for (uint64_t i = 0; i < COUNT; i++)
        model_fill(samples + i * SIZE, SIZE, content + i);
    assert_int_equal(
        ramet_dict_train(samples, COUNT, SIZE, &is_worth, out_dict, &len, NULL),
        RAMET_OK);
    assert_true(is_worth);
    assert_int_equal(ramet_dict_store(model->store, &model->volume, *out_dict,
                                      len, &model->dict_extent, NULL),
                     RAMET_OK);
    model->dict = *out_dict;
    model->dict_len = len;
    free(samples);
}

enum ramet_rc
model_encode(struct model *model, const struct ramet_head *base,
             const struct model_change *change, const struct ramet_cid *id,
             uint64_t first_content, struct ramet_buf *out,
             struct ramet_err *err)
{
    const struct written written = {&change->changed, first_content};
    struct ramet_delta_writer *writer;
    struct ramet_commit_object commit;
    uint8_t *inline_bytes = NULL;
    enum ramet_rc rc;

    rc = ramet_delta_writer_new(change->page_size, 1, 1u << 20, &writer, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_commit_init(&commit);
    commit.id = *id;
    commit.kind = RAMET_KIND_SQLITE;
    commit.page_size = change->page_size;
    commit.page_count = change->page_count;
    commit.byte_length = (uint64_t)change->page_count * change->page_size;
    commit.least_page_count = change->least;
    rc = ramet_pageset_copy(&commit.changed, &change->changed);
    if (rc == RAMET_OK)
        rc =
            choose_deltas(model, &commit, writer, &written, change->least, err);
    if (rc == RAMET_OK)
        rc = add_segments(model, &commit, &written, &inline_bytes, err);
    if (rc == RAMET_OK)
        rc = place_deltas(model, &commit, writer, &inline_bytes, err);
    if (rc == RAMET_OK)
        rc = ramet_history_prepare(model->history, base, &commit, err);
    if (rc == RAMET_OK)
        rc = ramet_commit_encode(&commit, inline_bytes, out, err);
    ramet_delta_writer_free(writer);
    ramet_free(inline_bytes);
    ramet_commit_done(&commit);
    return rc;
}

/* The model's own idea of what the change does. */
static void
apply(struct model *model, const struct model_change *change)
{
    const struct model_version *const old = &model->versions[model->lsn];
    struct model_version now = {.page_size = change->page_size,
                                .page_count = change->page_count};
    uint32_t pgno = 0;

    now.pages = calloc(change->page_count + 1u, sizeof(now.pages[0]));
    now.images = calloc(change->page_count + 1u, sizeof(now.images[0]));
    assert_true(now.pages != NULL && now.images != NULL);
    for (uint32_t i = 0; i < old->page_count && i < change->page_count; i++) {
        if (i < change->least && old->page_size == now.page_size) {
            now.pages[i] = old->pages[i];
            now.images[i] = old->images[i];
        }
    }
    while ((pgno = ramet_pageset_next(&change->changed, pgno)) != 0) {
        now.pages[pgno - 1] = model->next_content++;
        now.images[pgno - 1] = ramet_pageset_contains(&model->deltas, pgno)
                                   ? model->bases[rank_of(&model->deltas, pgno)]
                                   : now.pages[pgno - 1];
    }
    model->lsn++;
    model->versions =
        realloc(model->versions, (model->lsn + 1) * sizeof(model->versions[0]));
    assert_non_null(model->versions);
    model->versions[model->lsn] = now;
}

void
model_commit(struct model *model, const struct model_change *change)
{
    const struct ramet_cid id = model_new_cid();
    struct ramet_err err = {.text = ""};
    struct ramet_head base;
    struct ramet_buf out;
    enum ramet_rc rc;

    ramet_buf_init(&out, 256u << 20);
    rc = ramet_history_newest(model->history, &base, &err);
    if (rc == RAMET_OK)
        rc = model_encode(model, &base, change, &id, model->next_content, &out,
                          &err);
    if (rc == RAMET_OK)
        rc = ramet_history_validate(model->history, out.data, out.len, &err);
    if (rc == RAMET_OK)
        rc =
            ramet_history_append(model->history, out.data, out.len, NULL, &err);
    if (rc != RAMET_OK)
        fail_msg("LSN %u: %s", (unsigned)model->lsn + 1, err.text);
    assert_int_equal(ramet_get_le64(out.data + 16), model->lsn + 1);
    model->last_object_bytes = out.len;
    model->last_head_bytes = ramet_get_le32(out.data + 8);
    ramet_buf_done(&out);
    apply(model, change);
}

static void
start_change(struct model *model, struct model_change *change)
{
    const struct model_version *const now = &model->versions[model->lsn];

    change->page_size = now->page_size > 0 ? now->page_size : 512;
    change->page_count = now->page_count;
    change->least = now->page_count;
    ramet_pageset_init(&change->changed);
}

void
model_write(struct model *model, uint32_t first, uint32_t count)
{
    const struct ramet_run run = {first, first + count - 1};
    struct model_change change;

    start_change(model, &change);
    if (run.last > change.page_count)
        change.page_count = run.last;
    assert_int_equal(ramet_pageset_add_run(&change.changed, run), RAMET_OK);
    model_commit(model, &change);
    ramet_pageset_done(&change.changed);
}

void
model_write_random(struct model *model, uint32_t count)
{
    struct model_change change;

    start_change(model, &change);
    while (ramet_pageset_count(&change.changed) < count)
        assert_int_equal(
            ramet_pageset_add(&change.changed,
                              (uint32_t)model_random(model, change.page_count) +
                                  1),
            RAMET_OK);
    model_commit(model, &change);
    ramet_pageset_done(&change.changed);
}

/* Grow, shrink, shrink and grow again, or another page size. */
static void
resize_randomly(struct model *model, struct model_change *change)
{
    switch (model_random(model, 12)) {
    case 0:
    case 1:
        change->page_count += (uint32_t)model_random(model, 300);
        break;
    case 2: /* sparse: far past the end */
        change->page_count += (uint32_t)model_random(model, 40000);
        break;
    case 3:
        change->page_count =
            (uint32_t)model_random(model, change->page_count + 1u);
        change->least = change->page_count;
        break;
    case 4: /* cut, then grown again */
        change->least = (uint32_t)model_random(model, change->least + 1u);
        change->page_count = change->least + (uint32_t)model_random(model, 500);
        break;
    case 5:
        if (model_random(model, 6) == 0) {
            change->page_size = change->page_size == 512 ? 1024 : 512;
            change->least = 0;
            change->page_count = (uint32_t)model_random(model, 400);
        }
        break;
    default:
        break;
    }
}

static void
change_randomly(struct model *model, struct model_change *change)
{
    uint32_t writes = (uint32_t)model_random(model, 12);

    if (model_random(model, 40) == 0)
        writes = (uint32_t)model_random(model, 3000);
    for (uint32_t i = 0; i < writes && change->page_count > 0; i++) {
        const uint32_t first =
            (uint32_t)model_random(model, change->page_count) + 1;
        const uint32_t count = (uint32_t)model_random(model, 8) + 1;
        struct ramet_run run = {first, first + count - 1};

        if (run.last > change->page_count)
            run.last = change->page_count;
        assert_int_equal(ramet_pageset_add_run(&change->changed, run),
                         RAMET_OK);
    }
}

void
model_random_commit(struct model *model)
{
    struct model_change change;

    start_change(model, &change);
    resize_randomly(model, &change);
    change_randomly(model, &change);
    model->segment_pages = model_random(model, 3) == 0
                               ? (uint32_t)model_random(model, 300) + 1
                               : 0;
    if (model->segment_pages == 1)
        model->segment_pages = 40;
    model->never_inline = model_random(model, 4) == 0;
    model->pages_per_frame = (uint32_t)model_random(model, 5) + 1;
    model->delta_percent =
        model_random(model, 4) == 0 ? 0 : (unsigned)model_random(model, 101);
    model_commit(model, &change);
    ramet_pageset_done(&change.changed);
}

struct checking {
    const struct model_version *version;
    uint8_t *expected;
    uint8_t *seen; /* by page */
    uint64_t lsn;
};

static enum ramet_rc
check_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct checking *const c = ctx;

    (void)err;
    assert_in_range(pgno, 1, c->version->page_count);
    assert_int_equal(c->seen[pgno], 0);
    c->seen[pgno] = 1;
    model_fill(c->expected, c->version->page_size, c->version->pages[pgno - 1]);
    if (memcmp(page, c->expected, c->version->page_size) != 0)
        fail_msg("LSN %u page %u: content %u, should be %u", (unsigned)c->lsn,
                 pgno, (unsigned)ramet_get_le64(page),
                 (unsigned)c->version->pages[pgno - 1]);
    return RAMET_OK;
}

void
model_check_lsn(struct model *model, uint64_t lsn)
{
    const struct model_version *const v = &model->versions[lsn];
    struct checking c = {.version = v, .lsn = lsn};
    uint32_t *const pgnos = malloc((v->page_count + 1u) * sizeof(pgnos[0]));
    const uint32_t step = 1 + (uint32_t)model_random(model, 3);
    const bool extra = model_random(model, 2) == 0;
    struct ramet_err err = {.text = ""};
    size_t count = 0;
    enum ramet_rc rc;

    c.expected = malloc(RAMET_PAGE_SIZE_MAX);
    c.seen = calloc(v->page_count + 2u, 1);
    assert_true(pgnos != NULL && c.expected != NULL && c.seen != NULL);
    for (uint32_t pgno = 1; pgno <= v->page_count; pgno += step)
        pgnos[count++] = pgno;
    rc = ramet_history_read_pages(model->history, point_at(model->history, lsn),
                                  pgnos, count, extra, check_page, &c, &err);
    if (rc != RAMET_OK)
        fail_msg("LSN %u: %s", (unsigned)lsn, err.text);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(c.seen[pgnos[i]], 1);
    free(pgnos);
    free(c.expected);
    free(c.seen);
}

void
model_check_changed(struct model *model, uint64_t from, uint64_t to)
{
    const struct model_version *const a = &model->versions[from];
    const struct model_version *const b = &model->versions[to];
    struct ramet_err err = {.text = ""};
    struct ramet_pageset set;
    enum ramet_rc rc;

    ramet_pageset_init(&set);
    rc = ramet_history_changed(model->history, point_at(model->history, from),
                               point_at(model->history, to), &set, &err);
    if (rc != RAMET_OK)
        fail_msg("changed %u to %u: %s", (unsigned)from, (unsigned)to,
                 err.text);
    for (uint32_t i = 0; i < b->page_count; i++) {
        const bool differs = a->page_size != b->page_size ||
                             i >= a->page_count || a->pages[i] != b->pages[i];

        if (differs && !ramet_pageset_contains(&set, i + 1))
            fail_msg("changed %u to %u lacks page %u", (unsigned)from,
                     (unsigned)to, i + 1);
    }
    assert_int_equal(ramet_pageset_next(&set, b->page_count), 0);
    ramet_pageset_done(&set);
}
