/*
 * thread.c - see thread.h. What POSIX calls an error here is either our own
 * mistake (a mutex used wrongly), asserted, or want of resources at a thread's
 * start, returned.
 */
#include "core/thread.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define NAME_SIZE 16 /* the kernel's limit, NUL included */
#define HELD_MAX 16u /* mutexes held across a fork: one a file that has lists */

static struct ramet_mutex *held[HELD_MAX];
static unsigned held_count;

/* Results that are only asserted. */
static void
must_be_zero(int result)
{
    assert(result == 0);
    (void)result;
}

void
ramet_mutex_init(struct ramet_mutex *mutex)
{
    must_be_zero(pthread_mutex_init(&mutex->native, NULL));
}

void
ramet_mutex_done(struct ramet_mutex *mutex)
{
    must_be_zero(pthread_mutex_destroy(&mutex->native));
}

void
ramet_mutex_lock(struct ramet_mutex *mutex)
{
    must_be_zero(pthread_mutex_lock(&mutex->native));
}

bool
ramet_mutex_trylock(struct ramet_mutex *mutex)
{
    const int result = pthread_mutex_trylock(&mutex->native);

    assert(result == 0 || result == EBUSY);
    return result == 0;
}

void
ramet_mutex_unlock(struct ramet_mutex *mutex)
{
    must_be_zero(pthread_mutex_unlock(&mutex->native));
}

/* ---- across fork() -------------------------------------------------------- */

static void
hold_for_fork(void)
{
    for (unsigned i = 0; i < held_count; i++)
        ramet_mutex_lock(held[i]);
}

static void
let_go_after_fork(void)
{
    for (unsigned i = held_count; i-- > 0;)
        ramet_mutex_unlock(held[i]);
}

void
ramet_mutex_hold_across_fork(struct ramet_mutex *mutex)
{
    assert(held_count < HELD_MAX);
    if (held_count == 0)
        must_be_zero(pthread_atfork(hold_for_fork, let_go_after_fork,
                                    let_go_after_fork));
    held[held_count++] = mutex;
}

/* ---- conditions ------------------------------------------------------------ */

void
ramet_cond_init(struct ramet_cond *cond)
{
    pthread_condattr_t attr;

    must_be_zero(pthread_condattr_init(&attr));
    must_be_zero(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    must_be_zero(pthread_cond_init(&cond->native, &attr));
    must_be_zero(pthread_condattr_destroy(&attr));
}

void
ramet_cond_done(struct ramet_cond *cond)
{
    must_be_zero(pthread_cond_destroy(&cond->native));
}

/* Now plus `ms` on the monotonic clock, bounded to a century. */
static struct timespec
deadline_after(uint64_t ms)
{
    const uint64_t century_ms = UINT64_C(100) * 365 * 24 * 3600 * 1000;
    struct timespec at;

    if (ms > century_ms)
        ms = century_ms;
    must_be_zero(clock_gettime(CLOCK_MONOTONIC, &at));
    at.tv_sec += (time_t)(ms / 1000);
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

static bool
wait_until(struct ramet_cond *cond, struct ramet_mutex *mutex,
           const struct timespec *at)
{
    const int result =
        pthread_cond_timedwait(&cond->native, &mutex->native, at);

    assert(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

bool
ramet_cond_wait_ms(struct ramet_cond *cond, struct ramet_mutex *mutex,
                   uint64_t timeout_ms)
{
    const struct timespec at = deadline_after(timeout_ms);

    return wait_until(cond, mutex, &at);
}

bool
ramet_cond_wait_until_ms(struct ramet_cond *cond, struct ramet_mutex *mutex,
                         uint64_t until_ms)
{
    const struct timespec at = {.tv_sec = (time_t)(until_ms / 1000),
                                .tv_nsec = (long)(until_ms % 1000) * 1000000};

    return wait_until(cond, mutex, &at);
}

void
ramet_cond_wait(struct ramet_cond *cond, struct ramet_mutex *mutex)
{
    must_be_zero(pthread_cond_wait(&cond->native, &mutex->native));
}

void
ramet_cond_signal(struct ramet_cond *cond)
{
    must_be_zero(pthread_cond_signal(&cond->native));
}

void
ramet_cond_broadcast(struct ramet_cond *cond)
{
    must_be_zero(pthread_cond_broadcast(&cond->native));
}

enum ramet_rc
ramet_thread_start(struct ramet_thread *thread, const char *name,
                   void *(*run)(void *), void *arg, struct ramet_err *err)
{
    char short_name[NAME_SIZE];
    sigset_t all;
    sigset_t before;
    pthread_t native;
    int result;

    /* A new thread inherits the mask, so that no signal can slip in. */
    must_be_zero(sigfillset(&all));
    must_be_zero(pthread_sigmask(SIG_SETMASK, &all, &before));
    result = pthread_create(&native, NULL, run, arg);
    must_be_zero(pthread_sigmask(SIG_SETMASK, &before, NULL));
    if (result != 0)
        return RAMET_FAIL_OS(err, -result, "start thread %s", name);

    snprintf(short_name, sizeof(short_name), "%s", name);
    pthread_setname_np(native, short_name); /* for people only */
    thread->native = native;
    thread->running = true;
    return RAMET_OK;
}

void
ramet_thread_join(struct ramet_thread *thread)
{
    if (!thread->running)
        return;
    must_be_zero(pthread_join(thread->native, NULL));
    thread->running = false;
}
