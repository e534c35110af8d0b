/*
 * test_crew.c - core/crew: a few threads for many who have something to do.
 */
#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "core/crew.h"
#include "core/thread.h"
#include "tests/support/child.h"

#define MANY 200u
#define FAR_MS 3000000u

struct part {
    struct ramet_crew_member member;
    unsigned calls; /* by the crew alone */
    atomic_bool is_called;
    atomic_bool overlapped;
    atomic_uint seen;  /* `calls`, for the test */
    atomic_bool holds; /* a call does not end while it is set */
    uint64_t wait_ms;
};

static uint64_t
work(void *ctx)
{
    struct part *const part = ctx;

    if (atomic_exchange(&part->is_called, true))
        atomic_store(&part->overlapped, true);
    atomic_store(&part->seen, ++part->calls);
    while (atomic_load(&part->holds))
        usleep(100);
    atomic_store(&part->is_called, false);
    return part->wait_ms;
}

static void
part_join(struct part *part, uint64_t wait_ms)
{
    memset(part, 0, sizeof(*part));
    part->member.work = work;
    part->member.ctx = part;
    part->wait_ms = wait_ms;
    assert_int_equal(ramet_crew_join(&part->member, NULL), RAMET_OK);
}

/* Ends by itself, however long that takes; or the test's time-out does. */
static void
wait_for_calls(struct part *part, unsigned calls)
{
    while (atomic_load(&part->seen) < calls)
        usleep(200);
}

static unsigned
count_threads(void)
{
    DIR *const tasks = opendir("/proc/self/task");
    unsigned count = 0;

    assert_non_null(tasks);
    for (struct dirent *e = readdir(tasks); e != NULL; e = readdir(tasks))
        count += e->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static void
member__is_called_when_it_joins_and_again_when_it_wants(void **state)
{
    struct part soon, never;

    (void)state;
    part_join(&never, FAR_MS);
    part_join(&soon, 1);
    wait_for_calls(&soon, 5);
    wait_for_calls(&never, 1);
    ramet_crew_leave(&soon.member);
    ramet_crew_leave(&never.member);
    assert_int_equal(atomic_load(&never.seen), 1);
}

static void
many_members__are_called_by_few_threads_and_leave_none(void **state)
{
    static struct part parts[MANY];
    const unsigned before = count_threads();

    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        part_join(&parts[i], FAR_MS);
    for (unsigned i = 0; i < MANY; i++)
        wait_for_calls(&parts[i], 1);
    assert_true(count_threads() <= before + RAMET_CREW_MAX);
    for (unsigned i = 0; i < MANY; i++)
        ramet_crew_leave(&parts[i].member);
    assert_int_equal(count_threads(), before);
}

static void
wake__is_heard_also_while_the_member_is_called(void **state)
{
    struct part part;

    (void)state;
    part_join(&part, FAR_MS);
    wait_for_calls(&part, 1);
    ramet_crew_wake(&part.member);
    wait_for_calls(&part, 2);
    atomic_store(&part.holds, true);
    ramet_crew_wake(&part.member);
    wait_for_calls(&part, 3);
    ramet_crew_wake(&part.member); /* it is being called */
    atomic_store(&part.holds, false);
    wait_for_calls(&part, 4);
    ramet_crew_leave(&part.member);
    assert_false(atomic_load(&part.overlapped));
}

static void
one_that_takes_long__holds_up_no_other(void **state)
{
    struct part slow, quick;

    (void)state;
    memset(&slow, 0, sizeof(slow));
    part_join(&slow, FAR_MS);
    wait_for_calls(&slow, 1);
    atomic_store(&slow.holds, true);
    ramet_crew_wake(&slow.member);
    wait_for_calls(&slow, 2);
    part_join(&quick, 1);
    wait_for_calls(&quick, 20);
    assert_true(atomic_load(&slow.is_called));
    atomic_store(&slow.holds, false);
    ramet_crew_leave(&slow.member);
    ramet_crew_leave(&quick.member);
}

static void
woken_by_many_threads__is_called_by_one_at_a_time(void **state)
{
    struct part parts[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        part_join(&parts[i], 0);
    for (unsigned round = 0; round < 3000; round++)
        ramet_crew_wake(&parts[round % 3].member);
    for (unsigned i = 0; i < 3; i++) {
        wait_for_calls(&parts[i], 100);
        ramet_crew_leave(&parts[i].member);
        assert_false(atomic_load(&parts[i].overlapped));
        assert_int_equal(atomic_load(&parts[i].seen), parts[i].calls);
    }
}

struct turn {
    struct ramet_crew_member member;
    atomic_uint place; /* in the order of calls, from 1 */
};

static atomic_uint turns;

static uint64_t
take_turn(void *ctx)
{
    struct turn *const turn = ctx;

    atomic_store(&turn->place, atomic_fetch_add(&turns, 1) + 1);
    return FAR_MS;
}

/* All threads of the crew are held. */
static void
hold_all(struct part held[RAMET_CREW_MAX])
{
    for (unsigned i = 0; i < RAMET_CREW_MAX; i++) {
        part_join(&held[i], FAR_MS);
        wait_for_calls(&held[i], 1);
    }
    for (unsigned i = 0; i < RAMET_CREW_MAX; i++) {
        atomic_store(&held[i].holds, true);
        ramet_crew_wake(&held[i].member);
        wait_for_calls(&held[i], 2);
    }
}

static void
wake__of_one_that_is_due_leaves_it_its_turn(void **state)
{
    static struct part held[RAMET_CREW_MAX];
    struct turn parts[3];

    (void)state;
    hold_all(held);
    for (unsigned i = 0; i < 3; i++) {
        memset(&parts[i], 0, sizeof(parts[i]));
        parts[i].member.work = take_turn;
        parts[i].member.ctx = &parts[i];
        assert_int_equal(ramet_crew_join(&parts[i].member, NULL), RAMET_OK);
        usleep(5000); /* their times are in ms, and differ */
    }
    ramet_crew_wake(&parts[1].member);
    atomic_store(&held[0].holds, false); /* one thread for all three */
    while (atomic_load(&turns) < 3)
        usleep(200);
    for (unsigned i = 0; i < 3; i++)
        ramet_crew_leave(&parts[i].member);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(atomic_load(&parts[i].place), i + 1);
    for (unsigned i = 0; i < RAMET_CREW_MAX; i++) {
        atomic_store(&held[i].holds, false);
        ramet_crew_leave(&held[i].member);
    }
}

#ifndef __SANITIZE_THREAD__ /* which bears no threads in a child */
static void
child__has_a_crew_of_its_own(void **state)
{
    struct part part;
    pid_t pid;

    (void)state;
    part_join(&part, FAR_MS);
    wait_for_calls(&part, 1);
    pid = child_fork();
    if (pid == 0) {
        struct part own;

        part_join(&own, FAR_MS);
        wait_for_calls(&own, 1);
        ramet_crew_leave(&own.member);
        _exit(count_threads() == 1 ? 0 : 1);
    }
    child_await(pid);
    ramet_crew_wake(&part.member);
    wait_for_calls(&part, 2);
    ramet_crew_leave(&part.member);
}
#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            member__is_called_when_it_joins_and_again_when_it_wants),
        cmocka_unit_test(
            many_members__are_called_by_few_threads_and_leave_none),
        cmocka_unit_test(wake__is_heard_also_while_the_member_is_called),
        cmocka_unit_test(one_that_takes_long__holds_up_no_other),
        cmocka_unit_test(woken_by_many_threads__is_called_by_one_at_a_time),
        cmocka_unit_test(wake__of_one_that_is_due_leaves_it_its_turn),
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(child__has_a_crew_of_its_own),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
