/*
 * ask_sandbox.c - see ask_sandbox.h.
 */
#include "server/ask_sandbox.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MEMORY_BYTES (192u << 20)
#define CPU_SECONDS 2u

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0 /* none that is known here: invariant (3) */
#endif

/* What malloc, a socket that is open already, and the end need. */
static const unsigned calls[] = {
    __NR_read,         __NR_write,     __NR_exit,         __NR_exit_group,
    __NR_brk,          __NR_mmap,      __NR_munmap,       __NR_mremap,
    __NR_madvise,      __NR_futex,     __NR_rt_sigreturn, __NR_clock_gettime,
    __NR_gettimeofday, __NR_getrandom, __NR_getpid,       __NR_gettid,
};
#define CALL_COUNT (sizeof(calls) / sizeof(calls[0]))

static bool
bound(int resource, rlim_t most)
{
    const struct rlimit limit = {most, most};

    return setrlimit(resource, &limit) == 0;
}

static bool
filter_calls(void)
{
    struct sock_filter filter[4 + 2 * CALL_COUNT + 1];
    struct sock_fprog program = {.filter = filter};
    size_t n = 0;

    filter[n++] = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    filter[n++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    filter[n++] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    filter[n++] = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < CALL_COUNT; i++) {
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                                   calls[i], 0, 1);
        filter[n++] =
            (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
                                               SECCOMP_RET_ERRNO | EPERM);
    assert(n == sizeof(filter) / sizeof(filter[0]));
    program.len = (unsigned short)n;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

bool
ramet_ask_lock_down(void)
{
    return ARCH != 0 && bound(RLIMIT_CORE, 0) && bound(RLIMIT_FSIZE, 0) &&
           bound(RLIMIT_NOFILE, 3) && bound(RLIMIT_AS, MEMORY_BYTES) &&
           bound(RLIMIT_CPU, CPU_SECONDS) &&
           prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && filter_calls();
}
