/*
 * thread.h - mutexes, conditions and threads, thin over POSIX.
 *
 * Threads made here block every signal, so that a library's thread never runs
 * an application's handler. Conditions wait on the monotonic clock.
 *
 * Layer: core.
 */
#ifndef RAMET_CORE_THREAD_H
#define RAMET_CORE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

struct ramet_mutex {
    pthread_mutex_t native;
};
struct ramet_cond {
    pthread_cond_t native;
};
struct ramet_thread {
    pthread_t native;
    bool running;
};

#define RAMET_MUTEX_INIT                                                       \
    {                                                                          \
        PTHREAD_MUTEX_INITIALIZER                                              \
    }

void ramet_mutex_init(struct ramet_mutex *mutex);
void ramet_mutex_done(struct ramet_mutex *mutex);
void ramet_mutex_lock(struct ramet_mutex *mutex);
bool ramet_mutex_trylock(struct ramet_mutex *mutex);
void ramet_mutex_unlock(struct ramet_mutex *mutex);
/* A mutex of the library as a whole: the thread that forks holds it across
 * fork(), so that a child finds it free and what it guards in order. Called
 * while the library is loaded; such mutexes are not taken inside each other. */
void ramet_mutex_hold_across_fork(struct ramet_mutex *mutex);
void ramet_cond_init(struct ramet_cond *cond);
void ramet_cond_done(struct ramet_cond *cond);
/* False when `timeout_ms` passed first. */
bool ramet_cond_wait_ms(struct ramet_cond *cond, struct ramet_mutex *mutex,
                        uint64_t timeout_ms);
/* The same until the monotonic clock is at `until_ms`: for who keeps a time in whole
 * ms, and would wait up to one too long if he waited for the difference. */
bool ramet_cond_wait_until_ms(struct ramet_cond *cond,
                              struct ramet_mutex *mutex, uint64_t until_ms);
void ramet_cond_wait(struct ramet_cond *cond, struct ramet_mutex *mutex);
void ramet_cond_signal(struct ramet_cond *cond);
void ramet_cond_broadcast(struct ramet_cond *cond);
/* `name` shows in /proc and top: at most 15 characters. */
RAMET_NODISCARD enum ramet_rc
ramet_thread_start(struct ramet_thread *thread, const char *name,
                   void *(*run)(void *), void *arg, struct ramet_err *err);
void ramet_thread_join(struct ramet_thread *thread); /* no-op if not running */

#endif
