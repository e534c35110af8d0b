/*
 * test_locks.c - what a session knows of the locks that it has.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/shared/locks.h"
#include "client/store/store.h"

static enum ramet_rc
try_lock(struct ramet_session *session, enum ramet_lock_byte byte)
{
    return ramet_lock(session, byte, RAMET_LOCK_EXCLUSIVE, 0, "held", NULL);
}

static void
lock__is_known_until_it_is_given_back(void **state)
{
    static const enum ramet_lock_byte bytes[] = {
        RAMET_LOCK_WRITE, RAMET_LOCK_PUSH, RAMET_LOCK_CHECKPOINT,
        RAMET_LOCK_UNPINNED, RAMET_LOCK_MARK};
    struct place *const p = *state;
    struct ramet_session *const a = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const b = place_open(p, RAMET_OPEN_CREATE);

    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        assert_int_equal(try_lock(a, bytes[i]), RAMET_OK);
        assert_true(ramet_holds(a, bytes[i]));
        assert_true(ramet_is_held(b->replica, bytes[i]));
        assert_int_equal(try_lock(b, bytes[i]), RAMET_EBUSY);
        assert_false(ramet_holds(b, bytes[i]));
        ramet_unlock(a, bytes[i]);
        assert_false(ramet_is_held(b->replica, bytes[i]));
        assert_int_equal(try_lock(b, bytes[i]), RAMET_OK);
        ramet_unlock(b, bytes[i]);
    }
    ramet_session_close(b);
    ramet_session_close(a);
}

/* Whoever begins a transaction meanwhile waits for the holder. */
static void
write_lock__held_internally__is_known_to_be_so_until_it_is_released(
    void **state)
{
    struct place *const p = *state;
    struct ramet_session *const a = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const b = place_open(p, RAMET_OPEN_CREATE);

    OK(ramet_write_lock_internally(a, 0, e));
    assert_true(ramet_holds(a, RAMET_LOCK_INTERNAL));
    assert_int_equal(ramet_write_lock_internally(b, 0, NULL), RAMET_EBUSY);
    assert_false(ramet_holds(b, RAMET_LOCK_INTERNAL));
    ramet_write_unlock(a);
    assert_false(ramet_holds(a, RAMET_LOCK_INTERNAL));
    OK(ramet_session_pin(a, e));
    OK(ramet_session_reserve(a, e)); /* a transaction: nobody waits for it */
    assert_false(ramet_holds(a, RAMET_LOCK_INTERNAL));
    assert_int_equal(ramet_write_lock_internally(b, 0, NULL), RAMET_EBUSY);
    assert_false(ramet_holds(b, RAMET_LOCK_INTERNAL));
    OK(ramet_session_pin(b, e));
    assert_int_equal(ramet_session_reserve(b, NULL), RAMET_EBUSY);
    ramet_session_unpin(b);
    ramet_session_release(a);
    ramet_session_unpin(a);
    OK(ramet_write_lock_internally(b, 0, e));
    ramet_write_unlock(b);
    ramet_session_close(b);
    ramet_session_close(a);
}

/* The system's table, but for a holder who gives the write lock back between the
 * refusal of somebody who tried it and his next look. */
static struct {
    struct ramet_os os;
    struct ramet_session *holder;
} late;

static int
lock_too_late(void *ctx, int fd, uint64_t offset, uint64_t len,
              enum ramet_lock_mode mode)
{
    struct ramet_session *const holder = late.holder;
    const int result = ramet_os_system()->lock(ctx, fd, offset, len, mode);

    if (result == -EAGAIN && holder != NULL) {
        late.holder = NULL;
        ramet_write_unlock(holder);
    }
    return result;
}

static void
write_lock__released_as_its_holder_is_looked_for__is_taken(void **state)
{
    struct place *const p = *state;
    struct ramet_session *a, *b;

    late.os = *ramet_os_system();
    late.os.lock = lock_too_late;
    a = place_open_on(p, RAMET_OPEN_CREATE, &late.os);
    b = place_open_on(p, RAMET_OPEN_CREATE, &late.os);
    OK(ramet_session_pin(b, e));
    OK(ramet_write_lock_internally(a, 0, e));
    late.holder = a;
    OK(ramet_session_reserve(b, e));
    assert_null(late.holder);
    ramet_session_release(b);
    ramet_session_unpin(b);
    ramet_session_close(b);
    ramet_session_close(a);
}

static void
locks__go_with_their_session(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const stays = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const goes = place_open(p, RAMET_OPEN_CREATE);

    OK(ramet_session_lock_push(goes, e));
    assert_int_equal(ramet_session_lock_push(stays, NULL), RAMET_EBUSY);
    ramet_session_close(goes);
    assert_false(ramet_is_held(stays->replica, RAMET_LOCK_PUSH));
    OK(ramet_session_lock_push(stays, e));
    ramet_session_unlock_push(stays);
    ramet_session_close(stays);
}

static void
lock__of_base_or_log__allows_what_it_is_for(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    assert_false(ramet_is_alone(session->replica)); /* it is ready: shared */
    assert_false(ramet_may_write_base(session->replica));
    assert_false(ramet_may_publish(session->replica));
    OK(ramet_base_lock(session, 0, e));
    assert_true(ramet_may_write_base(session->replica));
    assert_false(ramet_may_publish(session->replica));
    ramet_base_unlock(session);
    OK(ramet_write_lock_internally(session, 0, e));
    assert_true(ramet_may_publish(session->replica));
    assert_false(ramet_may_write_base(session->replica));
    ramet_write_unlock(session);
    ramet_session_close(session);
}

#ifndef NDEBUG
/* Two that did so could wait for each other for ever. */
static void
waiting__against_the_order__is_our_own_error(void **state)
{
    struct place *const p = *state;
    pid_t child;

    ramet_session_close(place_open(p, RAMET_OPEN_CREATE));
    child = child_fork();
    if (child == 0) {
        struct ramet_session *const session = place_open_in_child(p);

        (void)!freopen("/dev/null", "w", stderr);
        child_require(ramet_base_lock(session, 0, NULL) == RAMET_OK,
                      "the base lock", NULL);
        (void)!ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE,
                          1, "held", NULL);
        _exit(0);
    }
    child_await_signal(child, SIGABRT);
}
#endif

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(lock__is_known_until_it_is_given_back),
        T(write_lock__held_internally__is_known_to_be_so_until_it_is_released),
        T(write_lock__released_as_its_holder_is_looked_for__is_taken),
        T(locks__go_with_their_session),
        T(lock__of_base_or_log__allows_what_it_is_for),
#ifndef NDEBUG
        T(waiting__against_the_order__is_our_own_error),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
