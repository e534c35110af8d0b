/*
 * compressor.c - a ring of batches between one caller and some workers.
 *
 * Batch number n stands in ring[n % ring_count]; numbers only grow.
 *   (1) drained <= taken <= submitted <= drained + ring_count
 *   (2) the caller alone owns batches >= submitted, and a batch whose `done`
 *       it saw under the mutex; a worker owns the batch it took, until `done`
 *   (3) without workers, taken and submitted move together, on the caller's
 *       thread
 *
 * Layer: pagestore.
 */
#include "pagestore/compressor.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "pagestore/codec.h"

#define BATCH_BYTES (256u << 10)
/* A frame holds at most this many bytes of pages, so that one that does not
 * compress stays below RAMET_FRAME_BYTES_MAX, and memory small. */
#define FRAME_PAGES_BYTES_MAX (1u << 20)
#define FRAME_PAGES_BYTES_USUAL 4096u
#define WORKERS_MAX 8u

struct batch {
    uint8_t *pages;
    uint32_t page_count;
    struct ramet_packed_frame *frames; /* pages_max */
    uint32_t frame_count;
    uint8_t *bodies;
    size_t bodies_len;
    bool done;
    enum ramet_rc rc;
};

struct worker {
    struct ramet_compressor *owner;
    struct ramet_thread thread;
    ZSTD_CCtx *cctx;
};

struct ramet_compressor {
    uint32_t page_size;
    uint32_t pages_per_frame;
    uint32_t pages_max; /* of a batch; as many frames, if none are neighbours */
    ramet_compressor_sink *sink;
    void *ctx;
    const ZSTD_CDict *cdict; /* NULL without a dictionary */
    void *cdict_block;       /* where it lives */
    int level;

    struct batch *ring;
    unsigned ring_count;
    uint64_t submitted; /* invariant (1) */
    uint64_t taken;
    uint64_t drained;
    bool stopping;
    struct ramet_mutex mutex;
    struct ramet_cond work; /* submitted or stopping changed */
    struct ramet_cond done; /* some batch is done */

    struct worker workers[WORKERS_MAX];
    unsigned wanted;       /* workers to start when a second batch begins */
    unsigned worker_count; /* running; 0: the caller compresses, by [0].cctx */
};

/* ---- compressing ---------------------------------------------------------- */

static ZSTD_CCtx *
new_context(const struct ramet_compressor *compressor)
{
    ZSTD_CCtx *cctx = ZSTD_createCCtx_advanced(ramet_codec_mem);

    assert(compressor->level != 0);
    if (cctx == NULL)
        return NULL;
    if (ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel,
                                            compressor->level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_dictIDFlag, 0)) ||
        ZSTD_isError(ZSTD_CCtx_refCDict(cctx, compressor->cdict))) {
        ZSTD_freeCCtx(cctx);
        return NULL;
    }
    return cctx;
}

/* Room for any batch: a frame of n pages is bounded by n times what one page
 * is bounded by. */
static size_t
bodies_capacity(const struct ramet_compressor *compressor)
{
    assert(compressor->pages_max > 0);
    return compressor->pages_max * ZSTD_compressBound(compressor->page_size);
}

/* All frames of a batch. Only memory can fail: bodies has room for the worst
 * case of each frame. */
static enum ramet_rc
compress_batch(const struct ramet_compressor *compressor, ZSTD_CCtx *cctx,
               struct batch *batch)
{
    const size_t capacity = bodies_capacity(compressor);
    const uint8_t *pages = batch->pages;
    size_t at = 0;

    assert(batch->frame_count > 0 && batch->frame_count <= batch->page_count);
    assert(!batch->done);
    for (uint32_t i = 0; i < batch->frame_count; i++) {
        struct ramet_packed_frame *frame = &batch->frames[i];
        const size_t len = (size_t)frame->page_count * compressor->page_size;
        const size_t got =
            ZSTD_compress2(cctx, batch->bodies + at, capacity - at, pages, len);

        if (ZSTD_isError(got))
            return RAMET_ENOMEM;
        frame->length_bytes = (uint32_t)got;
        frame->hash = ramet_hash128(batch->bodies + at, got);
        at += got;
        pages += len;
    }
    assert(at <= capacity && pages == batch->pages + (size_t)batch->page_count *
                                                         compressor->page_size);
    batch->bodies_len = at;
    return RAMET_OK;
}

static void *
run_worker(void *arg)
{
    struct worker *worker = arg;
    struct ramet_compressor *compressor = worker->owner;

    assert(worker->cctx != NULL && compressor->ring_count > 1);
    ramet_mutex_lock(&compressor->mutex);
    for (;;) {
        struct batch *batch;

        while (!compressor->stopping &&
               compressor->taken == compressor->submitted)
            ramet_cond_wait(&compressor->work, &compressor->mutex);
        if (compressor->stopping)
            break;
        batch = &compressor->ring[compressor->taken++ % compressor->ring_count];
        assert(compressor->taken <= compressor->submitted); /* invariant (1) */
        ramet_mutex_unlock(&compressor->mutex);

        batch->rc = compress_batch(compressor, worker->cctx, batch);

        ramet_mutex_lock(&compressor->mutex);
        batch->done = true;
        ramet_cond_signal(&compressor->done);
    }
    ramet_mutex_unlock(&compressor->mutex);
    return NULL;
}

/* ---- the caller's side ---------------------------------------------------- */

static struct batch *
current_batch(struct ramet_compressor *compressor)
{
    assert(compressor->submitted <
           compressor->drained + compressor->ring_count);
    return &compressor->ring[compressor->submitted % compressor->ring_count];
}

/* Wait for the oldest batch and give it to the sink. */
static enum ramet_rc
drain_oldest(struct ramet_compressor *compressor, struct ramet_err *err)
{
    struct batch *batch =
        &compressor->ring[compressor->drained % compressor->ring_count];
    struct ramet_packed packed;
    enum ramet_rc rc;

    assert(compressor->drained < compressor->submitted);
    ramet_mutex_lock(&compressor->mutex);
    while (!batch->done)
        ramet_cond_wait(&compressor->done, &compressor->mutex);
    ramet_mutex_unlock(&compressor->mutex);

    packed = (struct ramet_packed){batch->frames, batch->frame_count,
                                   batch->bodies, batch->bodies_len};
    assert(batch->frame_count > 0); /* an empty one is not submitted */
    rc = batch->rc;
    if (rc != RAMET_OK)
        rc = RAMET_FAIL(err, rc, "compression: no memory");
    else
        rc = compressor->sink(compressor->ctx, &packed, err);
    batch->done = false;
    batch->page_count = 0;
    batch->frame_count = 0;
    compressor->drained++; /* read by the caller alone */
    return rc;
}

static void
start_workers(struct ramet_compressor *compressor)
{
    assert(compressor->worker_count == 0 && compressor->wanted <= WORKERS_MAX);
    assert(compressor->taken == compressor->submitted); /* invariant (3) */
    for (unsigned i = 0; i < compressor->wanted; i++) {
        struct worker *worker = &compressor->workers[i];

        worker->owner = compressor;
        if (worker->cctx == NULL)
            worker->cctx = new_context(compressor);
        if (worker->cctx == NULL ||
            ramet_thread_start(&worker->thread, "ramet-compress", run_worker,
                               worker, NULL) != RAMET_OK)
            break;
        compressor->worker_count++;
    }
    compressor->wanted = 0;
}

/* The current batch is complete: have it compressed, and free the next.
 * Threads are for segments of more than one batch: `more` will follow. */
static enum ramet_rc
submit(struct ramet_compressor *compressor, bool more, struct ramet_err *err)
{
    struct batch *batch = current_batch(compressor);
    enum ramet_rc rc = RAMET_OK;

    assert(batch->page_count > 0 && !batch->done);
    if (more && compressor->wanted > 0)
        start_workers(compressor);
    if (compressor->worker_count == 0) {
        batch->rc =
            compress_batch(compressor, compressor->workers[0].cctx, batch);
        batch->done = true;
        compressor->taken++;
        compressor->submitted++;
        return drain_oldest(compressor, err);
    }
    ramet_mutex_lock(&compressor->mutex);
    compressor->submitted++;
    assert(compressor->drained <= compressor->taken && /* invariant (1) */
           compressor->taken <= compressor->submitted &&
           compressor->submitted <=
               compressor->drained + compressor->ring_count);
    ramet_cond_signal(&compressor->work);
    ramet_mutex_unlock(&compressor->mutex);
    if (compressor->submitted - compressor->drained == compressor->ring_count)
        rc = drain_oldest(compressor, err);
    return rc;
}

/* Does `pgno` continue the last frame of `batch`? */
static bool
continues_frame(const struct ramet_compressor *compressor,
                const struct batch *batch, uint32_t pgno)
{
    const struct ramet_packed_frame *frame;

    if (batch->frame_count == 0)
        return false;
    frame = &batch->frames[batch->frame_count - 1];
    assert(frame->page_count > 0 &&
           frame->page_count <= compressor->pages_per_frame);
    return frame->page_count < compressor->pages_per_frame &&
           frame->first_pgno + frame->page_count == pgno;
}

enum ramet_rc
ramet_compressor_add(struct ramet_compressor *compressor, uint32_t pgno,
                     const uint8_t *page, struct ramet_err *err)
{
    struct batch *batch = current_batch(compressor);
    const bool continues = continues_frame(compressor, batch, pgno);

    assert(pgno != 0);
    assert(page != NULL);
    if (!continues && batch->page_count + compressor->pages_per_frame >
                          compressor->pages_max) {
        const enum ramet_rc rc = submit(compressor, true, err);

        if (rc != RAMET_OK)
            return rc;
        batch = current_batch(compressor);
    }
    if (continues)
        batch->frames[batch->frame_count - 1].page_count++;
    else
        batch->frames[batch->frame_count++] =
            (struct ramet_packed_frame){.first_pgno = pgno, .page_count = 1};
    assert(batch->page_count < compressor->pages_max);
    memcpy(batch->pages + (size_t)batch->page_count * compressor->page_size,
           page, compressor->page_size);
    batch->page_count++;
    return RAMET_OK;
}

enum ramet_rc
ramet_compressor_flush(struct ramet_compressor *compressor,
                       struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    if (current_batch(compressor)->page_count > 0)
        rc = submit(compressor, false, err);
    while (rc == RAMET_OK && compressor->drained < compressor->submitted)
        rc = drain_oldest(compressor, err);
    assert(rc != RAMET_OK || compressor->drained == compressor->submitted);
    return rc;
}

/* ---- making and freeing --------------------------------------------------- */

static void
choose_sizes(struct ramet_compressor *compressor, uint32_t page_size,
             uint32_t pages_per_frame)
{
    const uint32_t most = FRAME_PAGES_BYTES_MAX / page_size;
    uint32_t count = pages_per_frame;

    assert(ramet_page_size_valid(page_size));
    if (count == 0)
        count = FRAME_PAGES_BYTES_USUAL / page_size;
    count = count < 1 ? 1 : count;
    count = count < most ? count : most;
    count = count < RAMET_FRAME_PAGES_MAX ? count : RAMET_FRAME_PAGES_MAX;
    assert(count >= 1 && (size_t)count * page_size <= FRAME_PAGES_BYTES_MAX);
    compressor->page_size = page_size;
    compressor->pages_per_frame = count;
    compressor->pages_max = BATCH_BYTES / page_size;
    if (compressor->pages_max < count)
        compressor->pages_max = count;
}

static bool
alloc_ring(struct ramet_compressor *compressor, unsigned count)
{
    assert(count >= 1 && count <= WORKERS_MAX + 2);
    compressor->ring = ramet_calloc(count, sizeof(*compressor->ring));
    if (compressor->ring == NULL)
        return false;
    compressor->ring_count = count;
    for (unsigned i = 0; i < count; i++) {
        struct batch *batch = &compressor->ring[i];

        batch->pages =
            ramet_alloc((size_t)compressor->pages_max * compressor->page_size);
        batch->frames =
            ramet_alloc(compressor->pages_max * sizeof(*batch->frames));
        batch->bodies = ramet_alloc(bodies_capacity(compressor));
        if (batch->pages == NULL || batch->frames == NULL ||
            batch->bodies == NULL)
            return false;
    }
    return true;
}

static bool
alloc_dict(struct ramet_compressor *compressor, const struct ramet_codec *codec)
{
    assert(codec->dict == NULL || codec->dict_len > 0);
    if (codec->dict == NULL)
        return true;
    compressor->cdict = ramet_codec_cdict(
        codec->dict, codec->dict_len, compressor->level,
        (size_t)compressor->pages_per_frame * compressor->page_size,
        &compressor->cdict_block);
    return compressor->cdict != NULL;
}

enum ramet_rc
ramet_compressor_new(uint32_t page_size, const struct ramet_codec *codec,
                     ramet_compressor_sink *sink, void *ctx,
                     struct ramet_compressor **out_compressor,
                     struct ramet_err *err)
{
    struct ramet_compressor *compressor = ramet_calloc(1, sizeof(*compressor));

    assert(ramet_page_size_valid(page_size));
    assert(sink != NULL);
    if (compressor == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "compression: no memory");
    ramet_mutex_init(&compressor->mutex);
    ramet_cond_init(&compressor->work);
    ramet_cond_init(&compressor->done);
    compressor->sink = sink;
    compressor->ctx = ctx;
    compressor->level =
        codec->level == 0 ? RAMET_CODEC_LEVEL_DEFAULT : codec->level;
    choose_sizes(compressor, page_size, codec->pages_per_frame);
    if (codec->threads > 1)
        compressor->wanted =
            codec->threads < WORKERS_MAX ? codec->threads : WORKERS_MAX;
    if (alloc_dict(compressor, codec))
        compressor->workers[0].cctx = new_context(compressor);
    if (compressor->workers[0].cctx == NULL ||
        !alloc_ring(compressor,
                    compressor->wanted > 1 ? compressor->wanted + 2 : 1)) {
        ramet_compressor_free(compressor);
        return RAMET_FAIL(err, RAMET_ENOMEM, "compression: no memory");
    }
    *out_compressor = compressor;
    return RAMET_OK;
}

void
ramet_compressor_free(struct ramet_compressor *compressor)
{
    if (compressor == NULL)
        return;
    assert(compressor->drained <= compressor->submitted); /* invariant (1) */
    ramet_mutex_lock(&compressor->mutex);
    compressor->stopping = true;
    ramet_cond_broadcast(&compressor->work);
    ramet_mutex_unlock(&compressor->mutex);
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        ramet_thread_join(&compressor->workers[i].thread);
        ZSTD_freeCCtx(compressor->workers[i].cctx);
    }
    ramet_free(compressor->cdict_block);
    for (unsigned i = 0; i < compressor->ring_count; i++) {
        ramet_free(compressor->ring[i].pages);
        ramet_free(compressor->ring[i].frames);
        ramet_free(compressor->ring[i].bodies);
    }
    ramet_free(compressor->ring);
    ramet_cond_done(&compressor->work);
    ramet_cond_done(&compressor->done);
    ramet_mutex_done(&compressor->mutex);
    ramet_free(compressor);
}
