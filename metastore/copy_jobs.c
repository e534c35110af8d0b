/*
 * copy_jobs.c - the workers of a copy; see copy_impl.h.
 */
#include <assert.h>

#include "core/alloc.h"
#include "metastore/copy_impl.h"

#define WORKERS_MAX 8u

void
ramet_copy_fail(struct ramet_copying *copy, enum ramet_rc rc,
                const struct ramet_err *err)
{
    assert(rc != RAMET_OK);
    if (copy->rc == RAMET_OK) {
        copy->rc = rc;
        copy->err = *err;
    }
    ramet_cond_broadcast(&copy->turn);
}

void
ramet_copy_tell(struct ramet_copying *copy)
{
    struct ramet_err err;

    assert(copy->progress.lsn <= copy->progress.lsn_total);
    if (copy->rc == RAMET_OK && !copy->step(copy->ctx, &copy->progress))
        ramet_copy_fail(copy, RAMET_FAIL(&err, RAMET_ECANCELLED, "interrupted"),
                        &err);
}

static void *
work(void *arg)
{
    struct ramet_copy_worker *const worker = arg;
    struct ramet_copying *const copy = worker->copy;

    ramet_mutex_lock(&copy->mutex);
    while (copy->rc == RAMET_OK && copy->next_job < copy->job_count) {
        const uint64_t index = copy->next_job++;
        struct ramet_err err = {0};
        enum ramet_rc rc;

        ramet_mutex_unlock(&copy->mutex);
        rc = copy->job(worker, index, &err);
        ramet_mutex_lock(&copy->mutex);
        if (rc != RAMET_OK)
            ramet_copy_fail(copy, rc, &err);
        ramet_copy_tell(copy);
    }
    ramet_mutex_unlock(&copy->mutex);
    return NULL;
}

static void
note_damage(void *ctx, bool damaged, const char *text, uint64_t done,
            uint64_t total)
{
    struct ramet_copy_worker *const worker = ctx;

    assert(worker->copy != NULL);
    (void)done;
    (void)total;
    if (damaged && worker->damage.code == RAMET_OK)
        (void)RAMET_FAIL(&worker->damage, RAMET_ECORRUPT, "%s", text);
}

static enum ramet_rc
worker_begin(struct ramet_copy_worker *worker, struct ramet_copying *copy,
             struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(worker->copy == NULL);
    worker->copy = copy;
    rc = ramet_verify_begin(&worker->source, copy->from, copy->from,
                            note_damage, worker, err);
    if (rc == RAMET_OK)
        rc = ramet_verify_begin(&worker->target, copy->from, copy->to,
                                note_damage, worker, err);
    worker->piece = ramet_alloc(RAMET_COPY_PIECE_BYTES);
    if (rc == RAMET_OK && worker->piece == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "copy");
    return rc;
}

static void
worker_done(struct ramet_copy_worker *worker)
{
    assert(worker->copy != NULL || worker->piece == NULL);
    if (worker->copy == NULL)
        return;
    ramet_free(worker->piece);
    ramet_verify_done(&worker->target);
    ramet_verify_done(&worker->source);
}

enum ramet_rc
ramet_copy_run(struct ramet_copying *copy, uint64_t count,
               enum ramet_rc (*job)(void *worker, uint64_t index,
                                    struct ramet_err *err),
               struct ramet_err *err)
{
    const size_t workers = count < WORKERS_MAX ? (size_t)count : WORKERS_MAX;
    struct ramet_copy_worker *const pool =
        ramet_calloc(WORKERS_MAX, sizeof(pool[0]));
    struct ramet_err why;
    enum ramet_rc rc = RAMET_OK;

    assert(job != NULL && copy->rc == RAMET_OK);
    if (pool == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "copy");
    copy->job = job;
    copy->job_count = count;
    copy->next_job = 0;
    for (size_t i = 0; rc == RAMET_OK && i < workers; i++)
        rc = worker_begin(&pool[i], copy, &why);
    for (size_t i = 0; rc == RAMET_OK && i < workers; i++)
        rc = ramet_thread_start(&pool[i].thread, "ramet-copy", work, &pool[i],
                                &why);
    if (rc != RAMET_OK) {
        ramet_mutex_lock(&copy->mutex);
        ramet_copy_fail(copy, rc, &why);
        ramet_mutex_unlock(&copy->mutex);
    }
    for (size_t i = 0; i < workers; i++)
        ramet_thread_join(&pool[i].thread);
    for (size_t i = 0; i < workers; i++)
        worker_done(&pool[i]);
    ramet_free(pool);
    if (copy->rc != RAMET_OK && err != NULL)
        *err = copy->err;
    return copy->rc;
}

void
ramet_copy_count(struct ramet_copying *copy, uint64_t bytes)
{
    ramet_mutex_lock(&copy->mutex);
    copy->progress.objects++;
    copy->progress.bytes += bytes;
    ramet_copy_tell(copy);
    ramet_mutex_unlock(&copy->mutex);
}

bool
ramet_copy_is_ended(struct ramet_copying *copy)
{
    bool ended;

    assert(copy->job != NULL);
    ramet_mutex_lock(&copy->mutex);
    ended = copy->rc != RAMET_OK;
    ramet_mutex_unlock(&copy->mutex);
    return ended;
}
