/*
 * builder.c - see builder.h.
 *
 * Layer: client.
 */
#include "client/sync/builder.h"

#include <assert.h>
#include <string.h>

#include "client/remote/remote_client.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/deltas.h"
#include "client/sync/layout.h"
#include "core/alloc.h"
#include "core/beside.h"
#include "core/bytes.h"

#define READ_BYTES (256u << 10) /* at once; a multiple of every page size */
#define THREADS_FROM_BYTES (4u << 20)
#define DICT_FROM_BYTES (1u << 20) /* a dictionary of 64 KiB pays from here */
#define DICT_SAMPLE_BYTES (4u << 20)
#define OBJECT_BYTES_MAX                                                       \
    ((size_t)RAMET_COMMIT_HEAD_MAX + RAMET_SEGMENT_INLINE_MAX)

/* A full segment whose end is waited for while the next one is filled: its last
 * bytes, the object's completion, a sync. */
struct ending {
    struct ramet_segment_writer *writer; /* NULL: none is */
    struct ramet_segment_info info;
    struct ramet_beside beside;
};

/* A new dictionary that goes out while pages are compressed with it. */
struct dict_put {
    struct ramet_objstore *store;
    struct ramet_dict_object object;
    bool is_under_way;
    struct ramet_beside beside;
};

/* One run of the builder. */
struct build {
    const struct ramet_builder *job;
    struct ramet_commit_object *commit;
    struct ramet_codec codec;
    uint8_t *dict; /* codec.dict */
    uint8_t *buf;  /* READ_BYTES */
    struct ramet_segment_writer *writer;
    struct dict_put dict_put;
    struct ending ending;        /* of the segment before it */
    struct ramet_layout *layout; /* NULL: images go as they come */
    struct ramet_deltas *deltas;
    uint8_t *inline_bytes;
    size_t inline_len;
    size_t segment_capacity;
};

static enum ramet_rc
read_pages(struct build *build, uint32_t first, uint32_t count, uint8_t *out,
           struct ramet_err *err)
{
    const uint32_t page_size = build->commit->page_size;
    const size_t len = (size_t)count * page_size;
    size_t got = 0;
    enum ramet_rc rc;

    assert(first >= 1 && count >= 1);
    rc = ramet_session_read(build->job->session,
                            (uint64_t)(first - 1) * page_size, out, len, &got,
                            err);
    if (rc == RAMET_OK)
        memset(out + got, 0, len - got); /* the last page of a blob */
    return rc;
}

/* ---- the dictionary ------------------------------------------------------- */

/* The nth (from 0) page of the set, walking on from run `*run`, before which
 * lie `*before` pages. */
static uint32_t
nth_page(const struct ramet_pageset *set, uint64_t nth, size_t *run,
         uint64_t *before)
{
    assert(*run < set->run_count && nth >= *before);
    for (;; (*run)++) {
        const struct ramet_run r = set->runs[*run];
        const uint64_t len = (uint64_t)r.last - r.first + 1;

        if (nth - *before < len)
            return r.first + (uint32_t)(nth - *before);
        *before += len;
    }
}

/* Read pages spread evenly over the set into `samples`. */
static enum ramet_rc
read_samples(struct build *build, uint64_t total, uint8_t *samples,
             uint32_t count, struct ramet_err *err)
{
    size_t run = 0;
    uint64_t before = 0;

    assert(count >= 1 && count <= total);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t pgno =
            nth_page(build->job->pages, total * i / count, &run, &before);
        const enum ramet_rc rc =
            read_pages(build, pgno, 1,
                       samples + (size_t)i * build->commit->page_size, err);

        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

static enum ramet_rc
put_dict(void *ctx, struct ramet_err *err)
{
    const struct dict_put *const put = ctx;

    assert(put->store != NULL);
    return ramet_dict_put(put->store, &put->object, err);
}

/* Where a request takes a round trip it is not waited for here. */
static enum ramet_rc
send_dict(struct build *build, size_t len, struct ramet_err *err)
{
    struct ramet_objstore *const store =
        ramet_remote_client_store(build->job->client);
    struct dict_put *const put = &build->dict_put;
    enum ramet_rc rc = ramet_dict_pack(&build->job->volume, build->dict, len,
                                       &put->object, err);

    assert(!build->dict_put.is_under_way && build->dict != NULL);
    if (rc != RAMET_OK)
        return rc;
    build->codec.dict_extent = put->object.extent;
    if (store->traits == 0)
        return ramet_dict_put(store, &put->object, err);
    put->store = store;
    put->is_under_way = true;
    ramet_beside_start(&put->beside, "ramet-dict", put_dict, put);
    return RAMET_OK;
}

/* What a commit names is there before it. */
static enum ramet_rc
await_dict(struct build *build, struct ramet_err *err)
{
    struct dict_put *const put = &build->dict_put;

    if (!put->is_under_way)
        return RAMET_OK;
    put->is_under_way = false;
    return ramet_beside_end(&put->beside, err);
}

static void
give_up_dict(struct build *build)
{
    struct dict_put *const put = &build->dict_put;

    if (put->is_under_way) {
        ramet_beside_give_up(&put->beside);
        (void)!ramet_beside_end(&put->beside, NULL);
    }
    ramet_free(put->object.bytes);
}

static enum ramet_rc
train_dict(struct build *build, uint64_t total, struct ramet_err *err)
{
    const uint32_t page_size = build->commit->page_size;
    const uint64_t most = DICT_SAMPLE_BYTES / page_size;
    const uint32_t count = (uint32_t)(total < most ? total : most);
    uint8_t *const samples = ramet_alloc((size_t)count * page_size);
    size_t len = 0;
    bool worth = false;
    enum ramet_rc rc;

    assert(build->codec.dict == NULL && total >= 1);
    if (samples == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "dictionary: no memory");
    rc = read_samples(build, total, samples, count, err);
    if (rc == RAMET_OK)
        rc = ramet_dict_train(samples, count, page_size, &worth, &build->dict,
                              &len, err);
    ramet_free(samples);
    if (rc != RAMET_OK || !worth)
        return rc;
    build->codec.dict = build->dict;
    build->codec.dict_len = len;
    return send_dict(build, len, err);
}

/* The dictionary that the volume has, else a new one if there is enough to
 * learn from. */
static enum ramet_rc
choose_dict(struct build *build, uint64_t total, struct ramet_err *err)
{
    struct ramet_extent extent = {.length_bytes = 0};
    enum ramet_rc rc;

    assert(build->dict == NULL);
    if (build->job->base->lsn > 0) {
        if (!ramet_remote_client_seeks_dict(build->job->client,
                                            &build->job->volume,
                                            total * build->commit->page_size))
            return RAMET_OK; /* which is too little to train one as well */
        rc = ramet_history_dict(build->job->history, build->job->base, &extent,
                                err);
        if (rc != RAMET_OK)
            return rc;
    }
    if (extent.length_bytes > 0) {
        size_t len = 0;

        rc = ramet_remote_client_dict(build->job->client, &build->job->volume,
                                      &extent, total * build->commit->page_size,
                                      &build->dict, &len, err);
        if (rc != RAMET_OK || build->dict == NULL)
            return rc;
        build->codec.dict = build->dict;
        build->codec.dict_len = len;
        build->codec.dict_extent = extent;
        return RAMET_OK;
    }
    if (total * build->commit->page_size < DICT_FROM_BYTES)
        return RAMET_OK;
    return train_dict(build, total, err);
}

/* ---- segments ------------------------------------------------------------- */

/* The segment is the commit's from now on; a failure frees it. */
static enum ramet_rc
note_segment(struct build *build, struct ramet_segment_info *info,
             struct ramet_err *err)
{
    struct ramet_commit_object *const commit = build->commit;

    assert(build->commit->segment_count <= build->segment_capacity);
    if (commit->segment_count == build->segment_capacity) {
        const size_t capacity =
            build->segment_capacity > 0 ? build->segment_capacity * 2 : 4;
        struct ramet_segment_info *const segments = ramet_realloc(
            commit->segments, capacity * sizeof(*commit->segments));

        if (segments == NULL) {
            ramet_segment_info_done(info);
            return RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory");
        }
        commit->segments = segments;
        build->segment_capacity = capacity;
    }
    commit->segments[commit->segment_count++] = *info;
    return RAMET_OK;
}

static bool
is_one_ending(const struct build *build)
{
    return build->ending.writer != NULL;
}

static enum ramet_rc
end_segment(void *ctx, struct ramet_err *err)
{
    struct ending *const ending = ctx;
    uint8_t *inline_bytes = NULL;
    size_t inline_len = 0;
    const enum ramet_rc rc = ramet_segment_writer_finish(
        ending->writer, false, &ending->info, &inline_bytes, &inline_len, err);

    assert(inline_bytes == NULL);
    return rc;
}

/* Wait for the one that is ending, if there is one. */
static enum ramet_rc
take_ended(struct build *build, struct ramet_err *err)
{
    struct ending *const ending = &build->ending;
    enum ramet_rc rc;

    assert(build->job != NULL);
    if (!is_one_ending(build))
        return RAMET_OK;
    rc = ramet_beside_end(&ending->beside, err);
    ending->writer = NULL; /* whose finish freed it */
    return rc == RAMET_OK ? note_segment(build, &ending->info, err) : rc;
}

static void
give_up_ending(struct build *build)
{
    if (!is_one_ending(build))
        return;
    ramet_beside_give_up(&build->ending.beside);
    if (ramet_beside_end(&build->ending.beside, NULL) == RAMET_OK)
        ramet_segment_info_done(&build->ending.info);
    build->ending.writer = NULL;
}

/* It is full, and another follows. */
static enum ramet_rc
turn_segment(struct build *build, struct ramet_err *err)
{
    const enum ramet_rc rc = take_ended(build, err);

    if (rc != RAMET_OK)
        return rc;
    assert(!is_one_ending(build) && build->writer != NULL);
    build->ending.writer = build->writer;
    build->writer = NULL;
    memset(&build->ending.info, 0, sizeof(build->ending.info));
    ramet_beside_start(&build->ending.beside, "ramet-finish", end_segment,
                       &build->ending);
    return RAMET_OK;
}

/* It is the last one, perhaps the only one, which may stand in the commit. */
static enum ramet_rc
finish_last(struct build *build, struct ramet_err *err)
{
    struct ramet_segment_writer *const writer = build->writer;
    const bool is_only =
        build->commit->segment_count == 0 && !is_one_ending(build);
    struct ramet_segment_info info = {.frame_count = 0};
    enum ramet_rc rc;

    assert(build->writer != NULL && build->inline_bytes == NULL);
    build->writer = NULL; /* finish() frees it, whatever it returns */
    rc = ramet_segment_writer_finish(
        writer, is_only, &info, &build->inline_bytes, &build->inline_len, err);
    if (rc != RAMET_OK)
        return rc;
    rc = take_ended(build, err);
    if (rc != RAMET_OK)
        ramet_segment_info_done(&info);
    return rc == RAMET_OK ? note_segment(build, &info, err) : rc;
}

static uint32_t
segments_so_far(const struct build *build)
{
    assert(build->commit->segment_count <= RAMET_COMMIT_SEGMENTS_MAX);
    return build->commit->segment_count + is_one_ending(build);
}

/* A page of zeros above the least page count is there without one. */
static bool
needs_image(const struct build *build, uint32_t pgno, const uint8_t *page)
{
    const struct ramet_commit_object *const commit = build->commit;

    assert(pgno >= 1 && pgno <= build->commit->page_count);
    return pgno <= commit->least_page_count ||
           !ramet_bytes_are_zero(page, commit->page_size);
}

/* ramet_layout_put: the next image. A segment that is full ends where it may. */
static enum ramet_rc
put_page(void *ctx, uint32_t pgno, const uint8_t *page, bool may_turn,
         struct ramet_err *err)
{
    struct build *const build = ctx;
    enum ramet_rc rc;

    if (may_turn && build->writer != NULL &&
        ramet_segment_writer_size(build->writer) >= RAMET_SEGMENT_BYTES_MAX) {
        rc = turn_segment(build, err);
        if (rc != RAMET_OK)
            return rc;
    }
    if (build->writer == NULL) {
        if (segments_so_far(build) == RAMET_COMMIT_SEGMENTS_MAX)
            return RAMET_FAIL(err, RAMET_ETOOBIG,
                              "push: more than %u segments in one commit",
                              RAMET_COMMIT_SEGMENTS_MAX);
        rc = ramet_segment_writer_new(
            ramet_remote_client_store(build->job->client), &build->job->volume,
            build->commit->page_size, &build->codec, &build->writer, err);
        if (rc != RAMET_OK)
            return rc;
    }
    assert(build->writer != NULL);
    return ramet_segment_writer_add(build->writer, pgno, page, err);
}

static enum ramet_rc
add_page(struct build *build, uint32_t pgno, const uint8_t *page,
         struct ramet_err *err)
{
    if (ramet_pageset_add(&build->commit->changed, pgno) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory");
    return build->layout != NULL
               ? ramet_layout_add(build->layout, pgno, page, err)
               : put_page(build, pgno, page, true, err);
}

/* As many pages from `pgno` on as are zeros and need no image, unread. */
static enum ramet_rc
count_unread_zeros(const struct build *build, uint32_t pgno, uint32_t most,
                   uint32_t *out_count, struct ramet_err *err)
{
    assert(pgno >= 1 && most >= 1);
    *out_count = 0;
    if (pgno <= build->commit->least_page_count)
        return RAMET_OK;
    return ramet_session_hole(build->job->session, pgno, most, out_count, err);
}

/* Some pages from `pgno` on; *out_count is how many. */
static enum ramet_rc
add_some(struct build *build, uint32_t pgno, uint32_t most, uint32_t *out_count,
         struct ramet_err *err)
{
    const uint32_t page_size = build->commit->page_size;
    const uint32_t at_once = READ_BYTES / page_size;
    enum ramet_rc rc;

    assert(build->buf != NULL && most >= 1);
    rc = count_unread_zeros(build, pgno, most, out_count, err);
    if (rc != RAMET_OK || *out_count > 0)
        return rc;
    *out_count = most < at_once ? most : at_once;
    rc = read_pages(build, pgno, *out_count, build->buf, err);
    /* A right checksum of wrong bytes would last for ever. */
    if (rc == RAMET_OK)
        rc = ramet_session_check_pages(build->job->session, pgno, *out_count,
                                       build->buf, err);
    if (rc == RAMET_OK)
        ramet_session_note_pages(build->job->session, pgno, *out_count,
                                 build->buf);
    for (uint32_t i = 0; rc == RAMET_OK && i < *out_count; i++) {
        const uint8_t *const page = build->buf + (size_t)i * page_size;
        bool taken;

        if (!needs_image(build, pgno + i, page))
            continue;
        rc = ramet_deltas_take(build->deltas, pgno + i, page, &taken, err);
        if (rc == RAMET_OK && !taken)
            rc = add_page(build, pgno + i, page, err);
    }
    return rc;
}

static enum ramet_rc
add_run(struct build *build, struct ramet_run run, struct ramet_err *err)
{
    uint64_t pgno = run.first;
    enum ramet_rc rc = RAMET_OK;

    assert(run.first >= 1 && run.first <= run.last);
    while (rc == RAMET_OK && pgno <= run.last) {
        uint32_t count;

        rc = add_some(build, (uint32_t)pgno, (uint32_t)(run.last - pgno + 1),
                      &count, err);
        if (rc == RAMET_OK && build->job->step != NULL)
            rc = build->job->step(build->job->step_ctx, count, err);
        assert(rc != RAMET_OK || count >= 1); /* so that it ends */
        pgno += count;
    }
    return rc;
}

static enum ramet_rc
build_segments(struct build *build, struct ramet_err *err)
{
    const struct ramet_pageset *const pages = build->job->pages;
    const uint32_t page_count = build->commit->page_count;
    enum ramet_rc rc = RAMET_OK;

    assert(build->writer == NULL && build->deltas != NULL);
    for (size_t i = 0; rc == RAMET_OK && i < pages->run_count; i++) {
        struct ramet_run run = pages->runs[i];

        if (run.first > page_count)
            break;
        if (run.last > page_count)
            run.last = page_count;
        rc = add_run(build, run, err);
    }
    if (rc == RAMET_OK && build->layout != NULL)
        rc = ramet_layout_end(build->layout, err);
    if (rc == RAMET_OK && build->writer != NULL)
        rc = finish_last(build, err);
    return rc == RAMET_OK
               ? ramet_deltas_finish(build->deltas, &build->inline_bytes,
                                     &build->inline_len, err)
               : rc;
}

static enum ramet_rc
build_object(struct build *build, struct ramet_buf *out, struct ramet_err *err)
{
    struct ramet_commit_object *const commit = build->commit;
    enum ramet_rc rc;

    assert((build->inline_bytes != NULL) == (build->inline_len != 0));
    commit->has_inline = build->inline_bytes != NULL;
    commit->inline_length_bytes = (uint32_t)build->inline_len;
    rc = ramet_history_prepare(build->job->history, build->job->base, commit,
                               err);
    if (rc != RAMET_OK)
        return rc;
    return ramet_commit_encode(commit, build->inline_bytes, out, err);
}

enum ramet_rc
ramet_builder_run(const struct ramet_builder *builder,
                  struct ramet_commit_object *commit,
                  struct ramet_buf *out_object, struct ramet_err *err)
{
    struct build build = {.job = builder, .commit = commit};
    const uint64_t total = ramet_pageset_count(builder->pages);
    enum ramet_rc rc = RAMET_OK;

    assert(commit->segment_count == 0);
    assert(commit->least_page_count <= commit->page_count);
    ramet_buf_init(out_object, OBJECT_BYTES_MAX);
    build.codec.threads =
        total * commit->page_size >= THREADS_FROM_BYTES ? 2 : 1;
    if (total > 0 && commit->page_count > 0) {
        build.buf = ramet_alloc(READ_BYTES);
        if (build.buf == NULL) {
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory");
            goto done;
        }
        rc = choose_dict(&build, total, err);
        if (rc == RAMET_OK)
            rc = ramet_deltas_new(builder, commit, build.codec.dict,
                                  build.codec.dict_len, &build.deltas, err);
        if (rc == RAMET_OK)
            rc = ramet_layout_new(builder, commit, total, put_page, &build,
                                  &build.layout, err);
        if (rc == RAMET_OK)
            rc = build_segments(&build, err);
        if (rc == RAMET_OK)
            rc = await_dict(&build, err);
    }
    if (rc == RAMET_OK)
        rc = build_object(&build, out_object, err);

done:
    give_up_ending(&build);
    give_up_dict(&build);
    ramet_segment_writer_abort(build.writer);
    ramet_deltas_free(build.deltas);
    ramet_layout_free(build.layout);
    ramet_free(build.inline_bytes);
    ramet_free(build.dict);
    ramet_free(build.buf);
    return rc;
}
