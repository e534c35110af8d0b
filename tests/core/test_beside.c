/*
 * test_beside.c - core/beside: what runs beside its caller.
 */
#include "tests/support/cmocka_all.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "core/beside.h"
#include "core/waiting.h"

struct job {
    struct ramet_mutex mutex;
    struct ramet_cond changed;
    bool may_go;
    pthread_t thread;
    unsigned asked;
};

static void
job_init(struct job *job)
{
    memset(job, 0, sizeof(*job));
    ramet_mutex_init(&job->mutex);
    ramet_cond_init(&job->changed);
}

static void
job_done(struct job *job)
{
    ramet_cond_done(&job->changed);
    ramet_mutex_done(&job->mutex);
}

static enum ramet_rc
wait_to_go(void *ctx, struct ramet_err *err)
{
    struct job *const job = ctx;

    ramet_mutex_lock(&job->mutex);
    job->thread = pthread_self();
    while (!job->may_go)
        ramet_cond_wait(&job->changed, &job->mutex);
    ramet_mutex_unlock(&job->mutex);
    return RAMET_FAIL(err, RAMET_ENOTFOUND, "as planned");
}

static void
it__runs_while_its_caller_goes_on_and_tells_what_it_came_to(void **state)
{
    struct ramet_beside beside;
    struct ramet_err err;
    struct job job;

    (void)state;
    job_init(&job);
    ramet_beside_start(&beside, "beside", wait_to_go, &job);
    ramet_mutex_lock(&job.mutex); /* it can't end before */
    job.may_go = true;
    ramet_cond_signal(&job.changed);
    ramet_mutex_unlock(&job.mutex);
    assert_int_equal(ramet_beside_end(&beside, &err), RAMET_ENOTFOUND);
    assert_string_equal(err.text, "as planned");
    assert_false(pthread_equal(job.thread, pthread_self()));
    job_done(&job);
}

static enum ramet_rc
wait_for_the_caller_to_have_enough(void *ctx, struct ramet_err *err)
{
    (void)ctx;
    while (!ramet_waiting_is_over())
        sched_yield();
    return RAMET_FAIL(err, RAMET_ECANCELLED, "not waited for");
}

static bool
has_enough_when_asked_again(void *ctx)
{
    struct job *const job = ctx;

    assert_true(pthread_equal(job->thread, pthread_self()));
    return ++job->asked > 1;
}

static void
waiter__is_asked_by_the_callers_thread_alone_and_heard_by_the_other(
    void **state)
{
    struct job job = {.thread = pthread_self()};
    const struct ramet_waiter waiter = {.is_over = has_enough_when_asked_again,
                                        .ctx = &job};
    struct ramet_beside beside;

    (void)state;
    (void)ramet_waiting_set(&waiter);
    ramet_beside_start(&beside, "beside", wait_for_the_caller_to_have_enough,
                       NULL);
    assert_int_equal(ramet_beside_end(&beside, NULL), RAMET_ECANCELLED);
    (void)ramet_waiting_set(NULL);
    assert_true(job.asked > 1);
}

static void
one_that_is_given_up__has_had_enough(void **state)
{
    struct ramet_beside beside;

    (void)state;
    ramet_beside_start(&beside, "beside", wait_for_the_caller_to_have_enough,
                       NULL);
    ramet_beside_give_up(&beside);
    assert_int_equal(ramet_beside_end(&beside, NULL), RAMET_ECANCELLED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            it__runs_while_its_caller_goes_on_and_tells_what_it_came_to),
        cmocka_unit_test(
            waiter__is_asked_by_the_callers_thread_alone_and_heard_by_the_other),
        cmocka_unit_test(one_that_is_given_up__has_had_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
