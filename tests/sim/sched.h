/*
 * sched.h - threads of which one runs at a time, and the clock that they have.
 *
 * A simulated thread is a real one that waits for its turn. It gives the turn
 * away where it yields, sleeps, waits or ends, and nowhere else; a seed decides
 * who is next. So a schedule is repeated exactly by its seed, and a thread can
 * be interrupted wherever the product calls the system, takes a mutex or waits.
 *
 *   (1) at any moment one thread runs: nothing here needs a lock
 *   (2) the clock moves with each step a little, and on to the next moment that
 *       somebody waits for when all wait
 *   (3) a thread that is killed never returns from the call it was in
 */
#ifndef RAMET_TESTS_SIM_SCHED_H
#define RAMET_TESTS_SIM_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the images of processes use of the simulator. */
#define SIM_API __attribute__((visibility("default")))
#define SIM_FOREVER UINT64_MAX

struct sim_process;
struct sim_thread;

/* Begin a schedule: the caller is its first thread. `calm`: 1 in so many steps
 * goes to another thread. */
void sim_sched_begin(uint64_t seed, unsigned calm);
/* All others have ended. */
void sim_sched_end(void);

/* `process` NULL: the simulator's own. */
SIM_API struct sim_thread *
sim_thread_start(struct sim_process *process, const char *name,
                 void *(*run)(void *), void *arg);
SIM_API void sim_thread_join(struct sim_thread *thread);
struct sim_process *sim_process_of_caller(void);
SIM_API const char *sim_thread_name(void);
/* All threads of the process end where they stand; returns when they have.
 * Not to be called by one of them. */
void sim_threads_kill(const struct sim_process *process);
unsigned sim_threads_alive(const struct sim_process *process);

/* Wait until the process has made so many steps more, or the moment: the caller
 * goes on in the midst of the last of them. For the first thread. */
void sim_wait_for_steps(const struct sim_process *process, uint64_t steps,
                        uint64_t until_ns);
/* Sleep until then, or to the next moment that is chosen: whose it is. For the
 * first thread. */
const struct sim_process *sim_wait_for_moment(uint64_t until_ns);

/* Perhaps somebody else's turn. */
SIM_API void sim_yield(void);
/* The same at a step that is a memory access: it is rarer there. */
SIM_API void sim_step(void);
/* Something worth a fate begins or has just ended: perhaps the first thread,
 * where it waits for one, goes on soon, in the midst of what the caller does
 * then. */
SIM_API void sim_moment(unsigned percent);
SIM_API void sim_sleep_ns(uint64_t ns);
/* Until sim_wake(object) or the moment; false: that came first. */
SIM_API bool sim_wait(const void *object, uint64_t until_ns);
SIM_API void sim_wake(const void *object, bool all);
SIM_API uint64_t sim_now_ns(void);
uint64_t sim_steps(void);

/* Random numbers: splitmix64. */
SIM_API uint64_t sim_random(uint64_t *state);
SIM_API uint64_t sim_below(uint64_t *state, uint64_t bound);
SIM_API bool sim_chance(uint64_t *state, unsigned percent);

/* A promise is broken: say so, with the schedule that leads there, and end. */
SIM_API void
sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Where sim_fail() leaves what it says, besides; NULL: nowhere. `size` bytes. */
void sim_fail_into(char *text, size_t size);
/* Into the trace, if one is wanted. */
SIM_API void
sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sim_trace_to(bool is_on);

#endif
