/*
 * os_fixture.h - an empty folder of a test's own, and children of the test.
 */
#ifndef RAMET_TESTS_CORE_OS_FIXTURE_H
#define RAMET_TESTS_CORE_OS_FIXTURE_H

#include <sys/types.h>

#include "core/os.h"

struct os_fixture {
    const struct ramet_os *os;
    char path[64];
    int dirfd;
    int fd; /* "file", empty */
};

/* For cmocka; *state is the fixture. */
int os_setup(void **state);
int os_teardown(void **state);

/* Run `body` in a child; its result is the exit status. Assertions don't work
 * there. */
pid_t os_start_child(int (*body)(struct os_fixture *f), struct os_fixture *f);
int os_wait_child(pid_t pid);

#endif
