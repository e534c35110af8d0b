/*
 * test_ask_process.c - what the server waits for of a process, and for how long.
 */
#include "tests/support/cmocka_all.h"

#include <sys/socket.h>
#include <unistd.h>

#include "server/ask_process.h"

#define HOUR_MS 3600000u

/* A process that has all it was asked for ready, and takes all that it is sent. */
static void
process__is_not_heard_once_its_time_is_over(void **state)
{
    struct ramet_ask_process process = {.pid = -1};
    char buf[4] = "";
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends),
                     0);
    process.fd = ends[0];
    assert_int_equal(send(ends[1], "onetwo", 6, MSG_NOSIGNAL), 6);
    process.until_ms = ramet_ask_process_now_ms() + HOUR_MS;
    assert_true(ramet_ask_process_receive(&process, buf, 3));
    assert_string_equal(buf, "one");
    assert_true(ramet_ask_process_send(&process, buf, 3));
    process.until_ms = ramet_ask_process_now_ms();
    assert_false(ramet_ask_process_receive(&process, buf, 3));
    assert_false(ramet_ask_process_send(&process, buf, 3));
    assert_true(ramet_ask_process_receive(&process, buf, 0)); /* nothing */
    process.until_ms += HOUR_MS;
    assert_true(ramet_ask_process_receive(&process, buf, 3));
    assert_string_equal(buf, "two");
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* It is gone in the midst of what it says. */
static void
process__that_hangs_up_is_not_waited_for(void **state)
{
    struct ramet_ask_process process = {.pid = -1};
    char buf[4] = "";
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends),
                     0);
    process.fd = ends[0];
    process.until_ms = ramet_ask_process_now_ms() + HOUR_MS;
    assert_int_equal(send(ends[1], "on", 2, MSG_NOSIGNAL), 2);
    (void)close(ends[1]);
    assert_false(ramet_ask_process_receive(&process, buf, 3));
    assert_false(ramet_ask_process_send(&process, buf, 3));
    (void)close(ends[0]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(process__is_not_heard_once_its_time_is_over),
        cmocka_unit_test(process__that_hangs_up_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
