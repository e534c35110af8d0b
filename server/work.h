/*
 * work.h - the threads that may block, and the queue before them.
 *
 * Event threads never touch a disk or a store: they hand over a job. New
 * requests are admitted up to a bound and refused past it (the caller answers
 * 429); what continues a request that was admitted is always taken, so that
 * nothing that was begun starves.
 *
 *   (1) A job is run exactly once, unless submit refused it.
 *   (2) ramet_work_free() returns after the last job has run.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_WORK_H
#define RAMET_SERVER_WORK_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

#define RAMET_WORK_THREADS_MAX 64u

struct ramet_work;

/* Embedded in whatever is to be done; must live until `run` was called. */
struct ramet_job {
    void (*run)(struct ramet_job *job);
    struct ramet_job *next; /* the queue's own */
};

RAMET_NODISCARD enum ramet_rc
ramet_work_new(unsigned threads, size_t admit_max, struct ramet_work **out_work,
               struct ramet_err *err);
/* Runs what is queued, then ends the threads. NULL is fine. */
void ramet_work_free(struct ramet_work *work);

/* A new request's job: false when `admit_max` jobs wait already. */
bool ramet_work_admit(struct ramet_work *work, struct ramet_job *job);
/* A job that continues something: never refused. */
void ramet_work_continue(struct ramet_work *work, struct ramet_job *job);
size_t ramet_work_waiting(struct ramet_work *work);

#endif
