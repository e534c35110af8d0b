/*
 * test_ask_process.c - what the server waits for of a process, and for how long.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/ask_process.h"

#define HOUR_MS 3600000u

/* One that has said something, and has an hour; the process's own end. */
static int
begin_process(struct ramet_ask_process *process, const char *text)
{
    const ssize_t len = (ssize_t)strlen(text);
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends),
                     0);
    *process = (struct ramet_ask_process){
        .pid = -1,
        .fd = ends[0],
        .until_ms = ramet_ask_process_now_ms() + HOUR_MS,
    };
    assert_int_equal(send(ends[1], text, (size_t)len, MSG_NOSIGNAL), len);
    return ends[1];
}

/* A process that has all it was asked for ready, and takes all that it is sent. */
static void
process__is_not_heard_once_its_time_is_over(void **state)
{
    struct ramet_ask_process process;
    const int end = begin_process(&process, "onetwo");
    char buf[4] = "";

    (void)state;
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
    (void)close(process.fd);
    (void)close(end);
}

/* It is gone in the midst of what it says. */
static void
process__that_hangs_up_is_not_waited_for(void **state)
{
    struct ramet_ask_process process;
    const int end = begin_process(&process, "on");
    char buf[4] = "";

    (void)state;
    (void)close(end);
    assert_false(ramet_ask_process_receive(&process, buf, 3));
    assert_false(ramet_ask_process_send(&process, buf, 3));
    (void)close(process.fd);
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
