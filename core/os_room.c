/*
 * os_room.c - see os_room.h.
 */
#include "core/os_room.h"

#include <assert.h>
#include <limits.h>
#include <sys/resource.h>

void
ramet_os_want_descriptors(unsigned count)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count ||
        limit.rlim_cur == limit.rlim_max)
        return;
    assert(limit.rlim_cur < limit.rlim_max);
    limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
    /* If not, whoever opens one too many is told. */
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

unsigned
ramet_os_descriptors(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < UINT_MAX
               ? (unsigned)limit.rlim_cur
               : UINT_MAX;
}
