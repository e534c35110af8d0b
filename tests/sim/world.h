/*
 * world.h - one schedule: machines, what is wrong with them, and their fate.
 */
#ifndef RAMET_TESTS_SIM_WORLD_H
#define RAMET_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/model.h"

#define SIM_STEPS_MAX 512u

/* What a schedule may have; shortening takes it away. */
enum {
    SIM_MAY_KILL = 1 << 0,
    SIM_MAY_CUT_POWER = 1 << 1,
    SIM_MAY_LOSE_REQUESTS = 1 << 2,
    SIM_MAY_CUT_NETWORK = 1 << 3,
    SIM_MAY_FAIL_CALLS = 1 << 4,
    SIM_MAY_KILL_SERVERS = 1 << 5,
    SIM_MAY_RESET = 1 << 6,   /* connections, in the midst of a body */
    SIM_MAY_RESTORE = 1 << 7, /* the store, from a copy */
    SIM_MAY_ROT = 1 << 8,     /* bits of files and objects */
    SIM_MAY_REBIND = 1 << 9,
    SIM_MAY_LEAVE = 1 << 10, /* a replica its remote */
    SIM_MAY_ALL = (1 << 11) - 1
};

struct sim_plan {
    uint64_t seed;
    unsigned may;          /* of these */
    unsigned machines_max; /* 0: as the seed has it; and so on */
    unsigned processes_max;
    unsigned handles_max;
    unsigned steps_max;
    unsigned calm;
    struct sim_step_id skips[SIM_STEPS_MAX]; /* not taken */
    unsigned skip_count;
};

/* Steps that a schedule took, for who leaves some out. */
struct sim_taken {
    struct sim_step_id steps[SIM_STEPS_MAX];
    unsigned count;
};

/* Play it. Returns when all is well; else the process ends by sim_fail(). */
void
sim_play_schedule(const struct sim_plan *plan, struct sim_taken *out_taken);

#endif
