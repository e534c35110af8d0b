/*
 * os_fixture.c - see os_fixture.h.
 */
#include "tests/core/os_fixture.h"

#include "tests/support/child.h"
#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What waits for longer hangs: it dies, child or parent, and the test fails. */
#define PATIENCE_S 60

int
os_setup(void **state)
{
    struct os_fixture *const f = calloc(1, sizeof(*f));

    alarm(PATIENCE_S);
    f->os = ramet_os_system();
    strcpy(f->path, "/tmp/ramet-test-os-XXXXXX");
    if (mkdtemp(f->path) == NULL)
        return -1;
    f->dirfd = f->os->open(NULL, AT_FDCWD, f->path, O_RDONLY | O_DIRECTORY, 0);
    f->fd =
        f->os->open(NULL, f->dirfd, "file", O_RDWR | O_CREAT | O_EXCL, 0600);
    *state = f;
    return f->dirfd >= 0 && f->fd >= 0 ? 0 : -1;
}

static int
remove_entry(void *ctx, const char *name, bool is_dir)
{
    const struct os_fixture *const f = ctx;

    return f->os->unlink(NULL, f->dirfd, name, is_dir);
}

int
os_teardown(void **state)
{
    struct os_fixture *const f = *state;

    f->os->list(NULL, f->dirfd, ".", remove_entry, f);
    f->os->close(NULL, f->fd);
    f->os->close(NULL, f->dirfd);
    rmdir(f->path);
    free(f);
    alarm(0);
    return 0;
}

pid_t
os_start_child(int (*body)(struct os_fixture *f), struct os_fixture *f)
{
    const pid_t pid = child_fork();

    if (pid == 0) {
        alarm(PATIENCE_S);
        _exit(body(f));
    }
    return pid;
}

int
os_wait_child(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
