/*
 * sched.c - see sched.h.
 */
#define _GNU_SOURCE
#include "tests/sim/sched.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STACK_BYTES (1u << 20)
#define STEP_NS 1500u
#define MEMORY_STEP_NS 20u
#define MEMORY_CALM 12u              /* a step in memory is so much calmer */
#define STEPS_MAX UINT64_C(40000000) /* somebody goes in circles */

struct sim_thread {
    struct sim_thread *next;
    struct sim_process *process;
    void *(*run)(void *);
    void *arg;
    sem_t turn;
    enum { IS_READY, IS_WAITING, HAS_ENDED } state;
    const void *object;
    uint64_t until_ns;
    bool was_woken;
    bool is_dying; /* invariant (3) */
    jmp_buf end;
    pthread_t native; /* not of the first */
    char name[24];
};

static struct {
    struct sim_thread *threads; /* the first one last */
    struct sim_thread *current;
    uint64_t rng;
    uint64_t now_ns;
    uint64_t steps;
    unsigned calm;
    bool is_traced;
    struct sim_thread *first;
    const struct sim_process *watched; /* by the first, for its steps */
    uint64_t steps_left;
    bool waits_for_moment;            /* the first does */
    const struct sim_process *chosen; /* whose moment it was */
} sched;

/* ---- random numbers -------------------------------------------------------- */

uint64_t
sim_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint64_t
sim_below(uint64_t *state, uint64_t bound)
{
    return sim_random(state) % bound;
}

bool
sim_chance(uint64_t *state, unsigned percent)
{
    return sim_below(state, 100) < percent;
}

/* ---- whose turn it is ------------------------------------------------------ */

static bool
is_ready(const struct sim_thread *thread)
{
    return thread->state == IS_READY ||
           (thread->state == IS_WAITING && thread->until_ns <= sched.now_ns);
}

/* Everybody waits: the moment that comes first. */
static void
let_time_pass(void)
{
    uint64_t first = SIM_FOREVER;

    for (const struct sim_thread *t = sched.threads; t != NULL; t = t->next)
        if (t->state == IS_WAITING && t->until_ns < first)
            first = t->until_ns;
    if (first == SIM_FOREVER) {
        for (const struct sim_thread *t = sched.threads; t != NULL; t = t->next)
            if (t->state == IS_WAITING)
                fprintf(stderr, "  %s waits for %p\n", t->name, t->object);
        sim_fail("nobody can go on: all wait for each other");
    }
    sched.now_ns = first;
}

static struct sim_thread *
choose(void)
{
    unsigned ready = 0;
    uint64_t nth;

    for (;;) {
        for (const struct sim_thread *t = sched.threads; t != NULL; t = t->next)
            ready += is_ready(t);
        if (ready > 0)
            break;
        let_time_pass();
    }
    nth = ready == 1 ? 0 : sim_below(&sched.rng, ready);
    for (struct sim_thread *t = sched.threads; t != NULL; t = t->next)
        if (is_ready(t) && nth-- == 0)
            return t;
    abort();
}

static void
wait_for_turn(struct sim_thread *self)
{
    while (sem_wait(&self->turn) != 0)
        continue;
    self->state = IS_READY;
    if (self->is_dying)
        longjmp(self->end, 1);
}

static void
give_turn_to(struct sim_thread *next)
{
    sched.current = next;
    sem_post(&next->turn);
}

/* The caller's state says whether, and when, it is to be chosen again. */
static void
switch_from(struct sim_thread *self)
{
    struct sim_thread *const next = choose();

    if (next == self) {
        self->state = IS_READY;
        return;
    }
    give_turn_to(next);
    wait_for_turn(self);
}

static void
step(uint64_t ns, unsigned calm)
{
    sched.now_ns += ns;
    if (++sched.steps > STEPS_MAX)
        sim_fail("more than %llu steps", (unsigned long long)STEPS_MAX);
    if (sched.watched != NULL && sched.current->process == sched.watched &&
        --sched.steps_left == 0) {
        struct sim_thread *const self = sched.current;

        sched.watched = NULL;
        sched.first->state = IS_READY;
        give_turn_to(sched.first);
        wait_for_turn(self);
    } else if (sim_below(&sched.rng, calm) == 0) {
        switch_from(sched.current);
    }
}

void
sim_yield(void)
{
    step(STEP_NS, sched.calm);
}

void
sim_step(void)
{
    step(MEMORY_STEP_NS, sched.calm * MEMORY_CALM);
}

void
sim_moment(unsigned percent)
{
    if (!sched.waits_for_moment || !sim_chance(&sched.rng, percent))
        return;
    sched.waits_for_moment = false;
    sched.chosen = sched.current->process;
    sim_wake(&sched.chosen, false);
    switch_from(sched.current);
}

const struct sim_process *
sim_wait_for_moment(uint64_t until_ns)
{
    sched.chosen = NULL;
    sched.waits_for_moment = true;
    sim_wait(&sched.chosen, until_ns);
    sched.waits_for_moment = false;
    return sched.chosen;
}

void
sim_wait_for_steps(const struct sim_process *process, uint64_t steps,
                   uint64_t until_ns)
{
    sched.watched = process;
    sched.steps_left = steps;
    sim_wait(&sched.watched, until_ns);
    sched.watched = NULL;
}

bool
sim_wait(const void *object, uint64_t until_ns)
{
    struct sim_thread *const self = sched.current;

    sched.steps++;
    self->state = IS_WAITING;
    self->object = object;
    self->until_ns = until_ns;
    self->was_woken = false;
    switch_from(self);
    self->object = NULL;
    return self->was_woken;
}

void
sim_wake(const void *object, bool all)
{
    unsigned waiting = 0;
    uint64_t nth;

    for (const struct sim_thread *t = sched.threads; t != NULL; t = t->next)
        waiting += t->state == IS_WAITING && t->object == object;
    if (waiting == 0)
        return;
    nth = all || waiting == 1 ? 0 : sim_below(&sched.rng, waiting);
    for (struct sim_thread *t = sched.threads; t != NULL; t = t->next)
        if (t->state == IS_WAITING && t->object == object) {
            if (all || nth == 0) {
                t->state = IS_READY;
                t->object = NULL;
                t->was_woken = true;
            }
            if (!all && nth-- == 0)
                return;
        }
}

void
sim_sleep_ns(uint64_t ns)
{
    static const char nothing;

    sim_wait(&nothing, sched.now_ns + (ns == 0 ? 1 : ns));
}

uint64_t
sim_now_ns(void)
{
    return sched.now_ns;
}

uint64_t
sim_steps(void)
{
    return sched.steps;
}

/* ---- threads --------------------------------------------------------------- */

static void *
thread_main(void *arg)
{
    struct sim_thread *const self = arg;

    if (setjmp(self->end) == 0) {
        wait_for_turn(self);
        self->run(self->arg);
    }
    self->state = HAS_ENDED;
    sim_wake(self, true);
    give_turn_to(choose());
    return NULL;
}

static struct sim_thread *
thread_new(struct sim_process *process, const char *name)
{
    struct sim_thread *const thread = calloc(1, sizeof(*thread));

    if (thread == NULL)
        abort();
    thread->process = process;
    snprintf(thread->name, sizeof(thread->name), "%s", name);
    sem_init(&thread->turn, 0, 0);
    thread->next = sched.threads;
    sched.threads = thread;
    return thread;
}

struct sim_thread *
sim_thread_start(struct sim_process *process, const char *name,
                 void *(*run)(void *), void *arg)
{
    struct sim_thread *const thread = thread_new(process, name);
    pthread_attr_t attr;

    thread->run = run;
    thread->arg = arg;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    if (pthread_create(&thread->native, &attr, thread_main, thread) != 0) {
        perror("sim: pthread_create");
        abort();
    }
    pthread_attr_destroy(&attr);
    return thread;
}

void
sim_thread_join(struct sim_thread *thread)
{
    while (thread->state != HAS_ENDED)
        sim_wait(thread, SIM_FOREVER);
}

struct sim_process *
sim_process_of_caller(void)
{
    return sched.current->process;
}

const char *
sim_thread_name(void)
{
    return sched.current->name;
}

unsigned
sim_threads_alive(const struct sim_process *process)
{
    unsigned alive = 0;

    for (const struct sim_thread *t = sched.threads; t != NULL; t = t->next)
        alive += t->process == process && t->state != HAS_ENDED;
    return alive;
}

void
sim_threads_kill(const struct sim_process *process)
{
    struct sim_thread *const self = sched.current;

    for (struct sim_thread *t = sched.threads; t != NULL; t = t->next)
        if (t->process == process && t->state != HAS_ENDED) {
            t->is_dying = true;
            t->state = IS_READY;
        }
    for (struct sim_thread *t = sched.threads; t != NULL; t = t->next)
        while (t->process == process && t->state != HAS_ENDED) {
            /* It ends at once, and chooses who is next: perhaps not us. */
            self->state = IS_WAITING;
            self->until_ns = sched.now_ns;
            give_turn_to(t);
            wait_for_turn(self);
        }
}

void
sim_sched_begin(uint64_t seed, unsigned calm)
{
    const bool is_traced = sched.is_traced;

    memset(&sched, 0, sizeof(sched));
    sched.is_traced = is_traced;
    sched.rng = seed;
    sched.calm = calm;
    sched.now_ns = UINT64_C(1000000000);
    sched.current = sched.first = thread_new(NULL, "fate");
}

void
sim_sched_end(void)
{
    struct sim_thread *next;

    for (struct sim_thread *t = sched.threads; t != NULL; t = next) {
        next = t->next;
        if (t->native != 0)
            pthread_join(t->native, NULL);
        sem_destroy(&t->turn);
        free(t);
    }
    sched.threads = NULL;
}

/* ---- what is said ---------------------------------------------------------- */

void
sim_trace_to(bool is_on)
{
    sched.is_traced = is_on;
}

static void
say(const char *mark, const char *fmt, va_list args)
{
    char text[1200];

    vsnprintf(text, sizeof(text), fmt, args);
    fprintf(stderr, "%s%10.3f ms  %-14s %s\n", mark,
            (double)sched.now_ns / 1e6 - 1000.0,
            sched.current != NULL ? sched.current->name : "", text);
}

void
sim_trace(const char *fmt, ...)
{
    va_list args;

    if (!sched.is_traced)
        return;
    va_start(args, fmt);
    say("", fmt, args);
    va_end(args);
}

static struct {
    char *text;
    size_t size;
} failure;

void
sim_fail_into(char *text, size_t size)
{
    failure.text = text;
    failure.size = size;
}

void
sim_fail(const char *fmt, ...)
{
    va_list args;

    if (failure.text != NULL) {
        va_start(args, fmt);
        vsnprintf(failure.text, failure.size, fmt, args);
        va_end(args);
    }
    va_start(args, fmt);
    say("FAILED ", fmt, args);
    va_end(args);
    fflush(stderr);
    _exit(1);
}
