/*
 * child.c - see child.h.
 */
#include "tests/support/child.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/err.h"
#include "tests/support/cmocka_all.h"

pid_t
child_fork(void)
{
    pid_t child;

    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    return child;
}

int
child_status(pid_t child)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

void
child_await(pid_t child)
{
    assert_int_equal(child_status(child), 0);
}

void
child_await_signal(pid_t child, int signal)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != signal)
        fail_msg("a process ended by itself: status %#x", (unsigned)status);
}

void
child_kill(pid_t child)
{
    kill(child, SIGKILL);
    child_await_signal(child, SIGKILL);
}

void
child_require(bool ok, const char *what, const struct ramet_err *err)
{
    if (ok)
        return;
    fprintf(stderr, "process %d: %s: %s\n", (int)getpid(), what,
            err == NULL ? "" : err->text);
    fflush(stderr);
    _exit(1);
}
