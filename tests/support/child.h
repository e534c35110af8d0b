/*
 * child.h - a part of a test that runs in a process of its own, and dies there.
 *
 *     const pid_t child = child_fork();
 *
 *     if (child == 0) {
 *         ... ;
 *         _exit(0);
 *     }
 *     child_await(child);
 *
 * What is not as it should be in the child ends it with another status than 0,
 * which the parent reports.
 */
#ifndef RAMET_TESTS_SUPPORT_CHILD_H
#define RAMET_TESTS_SUPPORT_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct ramet_err;

/* 0 in the child. No output that the parent buffered is written twice. */
pid_t child_fork(void);
/* Until it has ended, by itself and with this status. */
int child_status(pid_t child);
/* The same, which must be 0. */
void child_await(pid_t child);
/* The same, by this signal. */
void child_await_signal(pid_t child, int signal);
/* Killed, unless it had ended, which fails the test. */
void child_kill(pid_t child);
/* In the child: else it ends here, with words. `err` may be NULL. */
void child_require(bool ok, const char *what, const struct ramet_err *err);

#endif
