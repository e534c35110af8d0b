/*
 * system.c - in the place of core/os.c and core/os_fork.c: the system is the
 * simulator's, and nobody forks.
 */
#include "tests/sim/image/image.h"

struct sim_env *sim_env;

const struct ramet_os *
ramet_os_system(void)
{
    return sim_env->os;
}

unsigned
ramet_os_fork_count(void)
{
    return 0;
}
