/*
 * pipeline_idle.c - how many threads of all pipelines wait for something to do.
 *
 * A thread that is there saves a miss the start of one; but a thousand volumes in a
 * process, each with one or two that wait, are too many. Beyond a few that wait one
 * ends as soon as it has nothing to do.
 */
#include <assert.h>

#include "client/remote/pipeline_impl.h"
#include "core/thread.h"

#define IDLE_MOST 16u

static struct {
    struct ramet_mutex mutex; /* taken last */
    unsigned fork_count;
    unsigned count;
} idle = {.mutex = RAMET_MUTEX_INIT};

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&idle.mutex);
}

bool
ramet_pipeline_may_idle(void)
{
    bool may;

    ramet_mutex_lock(&idle.mutex);
    if (idle.fork_count !=
        ramet_os_fork_count()) { /* its parent's are not here */
        idle.fork_count = ramet_os_fork_count();
        idle.count = 0;
    }
    may = idle.count < IDLE_MOST;
    if (may)
        idle.count++;
    assert(idle.count <= IDLE_MOST);
    ramet_mutex_unlock(&idle.mutex);
    return may;
}

void
ramet_pipeline_idled(void)
{
    ramet_mutex_lock(&idle.mutex);
    assert(idle.count > 0);
    idle.count--;
    ramet_mutex_unlock(&idle.mutex);
}
