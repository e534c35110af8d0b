/*
 * ask_process.c - see ask_process.h.
 */
#include "server/ask_process.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t
ramet_ask_process_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static bool
exists(const char *path)
{
    return access(path, X_OK) == 0;
}

bool
ramet_ask_process_find(char *out, size_t size)
{
    static const char *const places[] = {"ramet-ask", "../libexec/ramet-ask"};
    char own[PATH_MAX];
    const ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
    char *slash;

    if (len <= 0)
        return false;
    own[len] = '\0';
    slash = strrchr(own, '/');
    if (slash == NULL)
        return false;
    slash[1] = '\0';
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
        if ((size_t)snprintf(out, size, "%s%s", own, places[i]) < size &&
            exists(out))
            return true;
    return false;
}

/* Invariant (1). `fd` is its end of the socket. */
static int
spawn(const char *helper, int fd, pid_t *out_pid)
{
    char name[] = "ramet-ask";
    char *const arguments[] = {name, NULL};
    char *const environment[] = {NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int failed;

    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    failed = posix_spawn_file_actions_init(&files);
    if (failed != 0)
        return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed == 0) {
        (void)posix_spawnattr_setsigmask(&attributes, &none);
        (void)posix_spawnattr_setsigdefault(&attributes, &all);
        (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                                        POSIX_SPAWN_SETSIGDEF |
                                                        POSIX_SPAWN_SETSID);
        failed = posix_spawn_file_actions_adddup2(&files, fd, STDIN_FILENO);
        if (failed == 0)
            failed =
                posix_spawn_file_actions_adddup2(&files, fd, STDOUT_FILENO);
        if (failed == 0)
            failed = posix_spawn_file_actions_addclosefrom_np(&files, 2);
        if (failed == 0)
            failed = posix_spawn(out_pid, helper, &files, &attributes,
                                 arguments, environment);
        (void)posix_spawnattr_destroy(&attributes);
    }
    (void)posix_spawn_file_actions_destroy(&files);
    return failed;
}

enum ramet_rc
ramet_ask_process_begin(struct ramet_ask_process *process, const char *helper,
                        struct ramet_err *err)
{
    int ends[2], failed;

    assert(helper != NULL);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return RAMET_FAIL_OS(err, -errno, "a socket for a question");
    failed = spawn(helper, ends[1], &process->pid);
    (void)close(ends[1]);
    if (failed != 0) {
        (void)close(ends[0]);
        /* Not the client's rights, whichever error it is. */
        return ramet_err_set(err, RAMET_EIO, failed, "%.200s", helper);
    }
    process->fd = ends[0];
    return RAMET_OK;
}

/* Invariant (2). */
int
ramet_ask_process_end(struct ramet_ask_process *process)
{
    int status = 0;

    assert(process->pid > 0 && process->fd >= 0);
    (void)close(process->fd);
    (void)kill(process->pid, SIGKILL);
    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static bool
is_over(const struct ramet_ask_process *process)
{
    return ramet_ask_process_now_ms() >= process->until_ms;
}

static bool
wait_for(struct ramet_ask_process *process, short events)
{
    struct pollfd poller = {.fd = process->fd, .events = events};
    const uint64_t now = ramet_ask_process_now_ms();

    assert(process->fd >= 0);
    if (now >= process->until_ms)
        return false;
    return poll(&poller, 1, (int)(process->until_ms - now)) > 0;
}

bool
ramet_ask_process_receive(struct ramet_ask_process *process, void *out,
                          size_t len)
{
    uint8_t *at = out;

    assert(out != NULL || len == 0);
    /* One that always has something more to say is not waited for. */
    while (len > 0 && !is_over(process)) {
        const ssize_t got = recv(process->fd, at, len, MSG_DONTWAIT);

        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!wait_for(process, POLLIN))
                return false;
            continue;
        }
        if (got <= 0)
            return false;
        at += got;
        len -= (size_t)got;
    }
    return len == 0;
}

bool
ramet_ask_process_send(struct ramet_ask_process *process, const void *data,
                       size_t len)
{
    const uint8_t *at = data;

    assert(data != NULL || len == 0);
    while (len > 0 && !is_over(process)) {
        const ssize_t put =
            send(process->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (put < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!wait_for(process, POLLOUT))
                return false;
            continue;
        }
        if (put <= 0)
            return false;
        at += put;
        len -= (size_t)put;
    }
    return len == 0;
}
