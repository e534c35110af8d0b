/*
 * test_thread.c - threads block signals, conditions time out, names are cut.
 */
#include "tests/support/cmocka_all.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "core/os.h"
#include "core/thread.h"

struct shared {
    struct ramet_mutex mutex;
    struct ramet_cond cond;
    int turn;
    int total;
};

static void
shared_init(struct shared *shared)
{
    memset(shared, 0, sizeof(*shared));
    ramet_mutex_init(&shared->mutex);
    ramet_cond_init(&shared->cond);
}

static void
shared_done(struct shared *shared)
{
    ramet_cond_done(&shared->cond);
    ramet_mutex_done(&shared->mutex);
}

static void *
count_up(void *arg)
{
    struct shared *const shared = arg;

    for (int i = 0; i < 10000; i++) {
        ramet_mutex_lock(&shared->mutex);
        shared->total++;
        ramet_mutex_unlock(&shared->mutex);
    }
    return NULL;
}

static void
mutex__keeps_threads_apart(void **state)
{
    struct ramet_thread threads[4] = {{0}};
    struct shared shared;

    (void)state;
    shared_init(&shared);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ramet_thread_start(&threads[i], "count-up-with-a-name",
                                            count_up, &shared, NULL),
                         RAMET_OK);
    for (int i = 0; i < 4; i++)
        ramet_thread_join(&threads[i]);
    assert_int_equal(shared.total, 40000);
    assert_false(threads[0].running);
    ramet_thread_join(&threads[0]); /* again: nothing */
    shared_done(&shared);
}

static void *
answer_turns(void *arg)
{
    struct shared *const shared = arg;

    ramet_mutex_lock(&shared->mutex);
    for (int i = 0; i < 100; i++) {
        while (shared->turn % 2 == 0)
            ramet_cond_wait(&shared->cond, &shared->mutex);
        shared->turn++;
        ramet_cond_broadcast(&shared->cond);
    }
    ramet_mutex_unlock(&shared->mutex);
    return NULL;
}

static void
cond__passes_turns(void **state)
{
    struct ramet_thread thread = {0};
    struct shared shared;

    (void)state;
    shared_init(&shared);
    assert_int_equal(
        ramet_thread_start(&thread, "turns", answer_turns, &shared, NULL),
        RAMET_OK);
    ramet_mutex_lock(&shared.mutex);
    for (int i = 0; i < 100; i++) {
        shared.turn++;
        ramet_cond_signal(&shared.cond);
        while (shared.turn % 2 == 1)
            assert_true(
                ramet_cond_wait_ms(&shared.cond, &shared.mutex, UINT64_MAX));
    }
    ramet_mutex_unlock(&shared.mutex);
    ramet_thread_join(&thread);
    assert_int_equal(shared.turn, 200);
    shared_done(&shared);
}

static void
cond_wait_until_ms__is_not_early(void **state)
{
    const struct ramet_os *const os = ramet_os_system();
    struct shared shared;
    uint64_t until_ms;

    (void)state;
    shared_init(&shared);
    ramet_mutex_lock(&shared.mutex);
    until_ms = os->mono_ns(NULL) / 1000000 + 20;
    while (ramet_cond_wait_until_ms(&shared.cond, &shared.mutex, until_ms))
        continue; /* a spurious wakeup is allowed */
    assert_true(os->mono_ns(NULL) / 1000000 >= until_ms);
    assert_false(ramet_cond_wait_until_ms(&shared.cond, &shared.mutex, 0));
    ramet_mutex_unlock(&shared.mutex);
    shared_done(&shared);
}

static void
cond_wait_ms__returns_false_after_its_time(void **state)
{
    const struct ramet_os *const os = ramet_os_system();
    struct shared shared;
    uint64_t before;

    (void)state;
    shared_init(&shared);
    ramet_mutex_lock(&shared.mutex);
    before = os->mono_ns(NULL);
    while (ramet_cond_wait_ms(&shared.cond, &shared.mutex, 20))
        continue; /* a spurious wakeup is allowed */
    assert_true(os->mono_ns(NULL) - before >= 20000000);
    assert_false(ramet_cond_wait_ms(&shared.cond, &shared.mutex, 0));
    ramet_mutex_unlock(&shared.mutex);
    shared_done(&shared);
}

static void *
try_lock(void *arg)
{
    return ramet_mutex_trylock(arg) ? arg : NULL;
}

static void
mutex_trylock__fails_while_held(void **state)
{
    struct ramet_mutex mutex = RAMET_MUTEX_INIT;
    pthread_t native;
    void *result;

    (void)state;
    assert_true(ramet_mutex_trylock(&mutex));
    assert_int_equal(pthread_create(&native, NULL, try_lock, &mutex), 0);
    assert_int_equal(pthread_join(native, &result), 0);
    assert_null(result);
    ramet_mutex_unlock(&mutex);
    ramet_mutex_done(&mutex);
}

static void *
read_mask(void *arg)
{
    pthread_sigmask(SIG_SETMASK, NULL, arg);
    return NULL;
}

static void
thread__blocks_signals_and_leaves_ours_alone(void **state)
{
    struct ramet_thread thread = {0};
    sigset_t before;
    sigset_t after;
    sigset_t inside;

    (void)state;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    sigemptyset(&inside);
    assert_int_equal(
        ramet_thread_start(&thread, "mask", read_mask, &inside, NULL),
        RAMET_OK);
    ramet_thread_join(&thread);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_true(sigismember(&inside, SIGINT));
    assert_true(sigismember(&inside, SIGTERM));
    assert_true(sigismember(&inside, SIGALRM));
    for (int sig = 1; sig < 32; sig++)
        assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutex__keeps_threads_apart),
        cmocka_unit_test(cond__passes_turns),
        cmocka_unit_test(cond_wait_until_ms__is_not_early),
        cmocka_unit_test(cond_wait_ms__returns_false_after_its_time),
        cmocka_unit_test(mutex_trylock__fails_while_held),
        cmocka_unit_test(thread__blocks_signals_and_leaves_ours_alone),
    };
    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
