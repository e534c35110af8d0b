/*
 * test_sandbox.c - what a process can do that has locked itself down: compute, and
 * talk over what it has.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/ask_sandbox.h"

/* In a child: 0 if every attempt of `attempts` failed with EPERM. */
static int
run_locked(int (*const attempts[])(void), size_t count)
{
    int status = 0;
    const pid_t child = fork();

    if (child == 0) {
        if (!ramet_ask_lock_down())
            _exit(100);
        for (size_t i = 0; i < count; i++) {
            errno = 0;
            if (attempts[i]() >= 0 || errno != EPERM)
                _exit((int)i + 1);
        }
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static int
open_file(void)
{
    return open("/etc/passwd", O_RDONLY);
}

static int
open_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static int
start_process(void)
{
    return fork();
}

static int
start_program(void)
{
    char *const arguments[] = {(char[]){"sh"}, NULL};

    return execve("/bin/sh", arguments, arguments + 1);
}

static int
signal_parent(void)
{
    return kill(getppid(), 0);
}

static int
make_code(void)
{
    return mprotect((void *)0x10000, 4096, PROT_READ | PROT_EXEC);
}

static int
copy_descriptor(void)
{
    return dup(0);
}

static void
test_the_process_opens_nothing(void **state)
{
    int (*const attempts[])(void) = {
        open_file,     open_socket, start_process,  start_program,
        signal_parent, make_code,   copy_descriptor};

    (void)state;
    assert_int_equal(
        run_locked(attempts, sizeof(attempts) / sizeof(attempts[0])), 0);
}

static int
take_memory(void)
{
    size_t total = 0;

    for (void *p; total < (1u << 30) && (p = malloc(1u << 20)) != NULL;
         total += 1u << 20)
        memset(p, 1, 1u << 20);
    errno = EPERM;
    return total < (1u << 30) ? -1 : 0;
}

static void
test_the_process_has_little_memory(void **state)
{
    int (*const attempts[])(void) = {take_memory};

    (void)state;
    assert_int_equal(run_locked(attempts, 1), 0);
}

static int
take_time(void)
{
    for (volatile unsigned i = 0;; i++)
        ;
    return 0;
}

static void
test_the_process_has_little_time(void **state)
{
    int (*const attempts[])(void) = {take_time};
    int status;

    (void)state;
    status = run_locked(attempts, 1);
    assert_true(WIFSIGNALED(status));
    assert_true(WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_process_opens_nothing),
        cmocka_unit_test(test_the_process_has_little_memory),
        cmocka_unit_test(test_the_process_has_little_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
