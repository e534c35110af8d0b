/*
 * powercut.c - see powercut.h.
 */
#include "tests/support/powercut.h"

#include "tests/support/cmocka_all.h"

void
powercut_begin(struct powercut *cut, struct faultos *faults)
{
    *cut = (struct powercut){.faults = faults, .round = -1, .stopped = true};
}

bool
powercut_next(struct powercut *cut)
{
    if (!cut->stopped)
        return false;
    cut->round++;
    assert_true(cut->round < POWERCUT_ROUNDS_MAX);
    return true;
}

void
powercut_arm(const struct powercut *cut)
{
    faultos_stop_at(cut->faults, cut->round);
}

/* What was tried is over: did it end before the power went? */
static void
disarm(struct powercut *cut)
{
    cut->stopped = faultos_has_stopped(cut->faults);
    faultos_stop_at(cut->faults, -1);
}

void
powercut_strike(struct powercut *cut)
{
    disarm(cut);
    if (cut->stopped)
        faultos_crash(cut->faults, (uint64_t)cut->round);
}

void
powercut_strike_always(struct powercut *cut, uint64_t seed)
{
    disarm(cut);
    faultos_crash(cut->faults, seed);
}
