/*
 * work.c - see work.h for the contract.
 */
#include "server/work.h"

#include <assert.h>

#include "core/alloc.h"
#include "core/thread.h"

struct ramet_work {
    struct ramet_mutex lock;
    struct ramet_cond wake;
    struct ramet_job *head; /* lock; a queue, linked by job->next */
    struct ramet_job **tail;
    size_t waiting; /* lock */
    size_t admit_max;
    bool stopping; /* lock */
    unsigned thread_count;
    struct ramet_thread threads[RAMET_WORK_THREADS_MAX];
};

static struct ramet_job *
take_job(struct ramet_work *work)
{
    struct ramet_job *job;

    ramet_mutex_lock(&work->lock);
    while (work->head == NULL && !work->stopping)
        ramet_cond_wait(&work->wake, &work->lock);
    job = work->head;
    if (job != NULL) {
        work->head = job->next;
        if (work->head == NULL)
            work->tail = &work->head;
        work->waiting--;
        job->next = NULL;
    }
    ramet_mutex_unlock(&work->lock);
    return job;
}

static void *
run_jobs(void *arg)
{
    struct ramet_work *work = arg;
    struct ramet_job *job;

    assert(work != NULL);
    while ((job = take_job(work)) != NULL)
        job->run(job);
    return NULL;
}

enum ramet_rc
ramet_work_new(unsigned threads, size_t admit_max, struct ramet_work **out_work,
               struct ramet_err *err)
{
    struct ramet_work *work;
    enum ramet_rc rc = RAMET_OK;

    if (threads == 0 || threads > RAMET_WORK_THREADS_MAX)
        return RAMET_FAIL(err, RAMET_EINVAL, "workers: %u is not in 1 to %u",
                          threads, RAMET_WORK_THREADS_MAX);
    work = ramet_calloc(1, sizeof(*work));
    if (work == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "workers: out of memory");
    ramet_mutex_init(&work->lock);
    ramet_cond_init(&work->wake);
    work->tail = &work->head;
    work->admit_max = admit_max;
    for (unsigned i = 0; i < threads && rc == RAMET_OK; i++) {
        rc = ramet_thread_start(&work->threads[i], "ramet-work", run_jobs, work,
                                err);
        if (rc == RAMET_OK)
            work->thread_count++;
    }
    if (rc != RAMET_OK) {
        ramet_work_free(work);
        return rc;
    }
    *out_work = work;
    return RAMET_OK;
}

void
ramet_work_free(struct ramet_work *work)
{
    if (work == NULL)
        return;
    ramet_mutex_lock(&work->lock);
    work->stopping = true;
    ramet_cond_broadcast(&work->wake);
    ramet_mutex_unlock(&work->lock);
    for (unsigned i = 0; i < work->thread_count; i++)
        ramet_thread_join(&work->threads[i]);
    assert(work->head == NULL);
    ramet_cond_done(&work->wake);
    ramet_mutex_done(&work->lock);
    ramet_free(work);
}

static bool
submit(struct ramet_work *work, struct ramet_job *job, bool bounded)
{
    bool taken = false;

    assert(job->run != NULL);
    ramet_mutex_lock(&work->lock);
    if (!bounded || work->waiting < work->admit_max) {
        job->next = NULL;
        *work->tail = job;
        work->tail = &job->next;
        work->waiting++;
        taken = true;
        ramet_cond_signal(&work->wake);
    }
    ramet_mutex_unlock(&work->lock);
    return taken;
}

bool
ramet_work_admit(struct ramet_work *work, struct ramet_job *job)
{
    return submit(work, job, true);
}

void
ramet_work_continue(struct ramet_work *work, struct ramet_job *job)
{
    (void)submit(work, job, false);
}

size_t
ramet_work_waiting(struct ramet_work *work)
{
    size_t waiting;

    ramet_mutex_lock(&work->lock);
    waiting = work->waiting;
    ramet_mutex_unlock(&work->lock);
    return waiting;
}
