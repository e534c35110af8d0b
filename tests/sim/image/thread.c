/*
 * thread.c - in the place of core/thread.c: the same mutexes, conditions and
 * threads, by the simulator's turns.
 *
 * One thread runs at a time, so a mutex is a word: whether somebody has it.
 */
#include "core/thread.h"

#include <assert.h>
#include <string.h>

#include "tests/sim/image/image.h"

/* What is written over a pthread_mutex_t; all zero is free, as its
 * initializer leaves it. */
struct word {
    uint32_t is_held;
    uint32_t waiting;
};

static struct word *
word_of(struct ramet_mutex *mutex)
{
    return (struct word *)(void *)&mutex->native;
}

void
ramet_mutex_init(struct ramet_mutex *mutex)
{
    memset(mutex, 0, sizeof(*mutex));
}

void
ramet_mutex_done(struct ramet_mutex *mutex)
{
    assert(word_of(mutex)->is_held == 0);
    (void)mutex;
}

void
ramet_mutex_lock(struct ramet_mutex *mutex)
{
    struct word *const word = word_of(mutex);

    sim_yield();
    while (word->is_held) {
        word->waiting++;
        sim_wait(mutex, SIM_FOREVER);
        word->waiting--;
    }
    word->is_held = 1;
}

bool
ramet_mutex_trylock(struct ramet_mutex *mutex)
{
    struct word *const word = word_of(mutex);

    sim_yield();
    if (word->is_held)
        return false;
    word->is_held = 1;
    return true;
}

void
ramet_mutex_unlock(struct ramet_mutex *mutex)
{
    struct word *const word = word_of(mutex);

    assert(word->is_held);
    word->is_held = 0;
    if (word->waiting > 0)
        sim_wake(mutex, false);
}

void
ramet_mutex_hold_across_fork(struct ramet_mutex *mutex)
{
    (void)mutex; /* nobody forks here */
}

void
ramet_cond_init(struct ramet_cond *cond)
{
    memset(cond, 0, sizeof(*cond));
}

void
ramet_cond_done(struct ramet_cond *cond)
{
    (void)cond;
}

static bool
wait_until(struct ramet_cond *cond, struct ramet_mutex *mutex,
           uint64_t until_ns)
{
    bool was_woken;

    ramet_mutex_unlock(mutex);
    was_woken = sim_wait(cond, until_ns);
    ramet_mutex_lock(mutex);
    return was_woken;
}

bool
ramet_cond_wait_ms(struct ramet_cond *cond, struct ramet_mutex *mutex,
                   uint64_t timeout_ms)
{
    const uint64_t far_ms = UINT64_C(1000000000);

    return wait_until(cond, mutex,
                      sim_now_ns() +
                          (timeout_ms < far_ms ? timeout_ms : far_ms) *
                              UINT64_C(1000000));
}

bool
ramet_cond_wait_until_ms(struct ramet_cond *cond, struct ramet_mutex *mutex,
                         uint64_t until_ms)
{
    const uint64_t now_ns = sim_now_ns();
    const uint64_t until_ns = until_ms * UINT64_C(1000000);

    return wait_until(cond, mutex, until_ns > now_ns ? until_ns : now_ns);
}

void
ramet_cond_wait(struct ramet_cond *cond, struct ramet_mutex *mutex)
{
    wait_until(cond, mutex, SIM_FOREVER);
}

void
ramet_cond_signal(struct ramet_cond *cond)
{
    sim_wake(cond, false);
}

void
ramet_cond_broadcast(struct ramet_cond *cond)
{
    sim_wake(cond, true);
}

enum ramet_rc
ramet_thread_start(struct ramet_thread *thread, const char *name,
                   void *(*run)(void *), void *arg, struct ramet_err *err)
{
    struct sim_thread *const started =
        sim_thread_start(sim_env->process, name, run, arg);

    (void)err;
    memcpy(&thread->native, &started, sizeof(started));
    thread->running = true;
    return RAMET_OK;
}

void
ramet_thread_join(struct ramet_thread *thread)
{
    struct sim_thread *started;

    if (!thread->running)
        return;
    memcpy(&started, &thread->native, sizeof(started));
    sim_thread_join(started);
    thread->running = false;
}
